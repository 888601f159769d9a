//! Threads in their roles: jobs, completions, wakes, panics, what is refused.

use super::child::in_child;
use super::*;
use ringway::SqPoll;
use ringway::pool::{
    Batching, Handler, Observed, OnPanic, Outcome, Panicked, Pool, PoolError, Refusal, Role,
    Submission,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A job of any kind.
type Job = Box<dyn FnOnce(&Driver) + Send>;

fn run(driver: &Driver, job: Job) {
    job(driver);
}

/// A handler that sends what completed, and with it the channel's other end.
fn sending() -> (
    impl Fn(&Driver, Completion) + Send + Sync + 'static,
    Receiver<Completion>,
) {
    let (sender, receiver) = channel();
    let handler = move |_: &Driver, completion| _ = sender.send(completion);
    (handler, receiver)
}

#[track_caller]
fn received<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LOST).expect("it comes")
}

/// The threads whose names begin with this: name and thread number.
pub fn threads_of(prefix: &str) -> BTreeMap<String, i32> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap();
        // A thread may end meanwhile.
        let Ok(name) = fs::read_to_string(task.path().join("comm")) else {
            continue;
        };
        if name.starts_with(prefix) {
            let tid = task.file_name().to_str().unwrap().parse().unwrap();
            found.insert(name.trim_end().to_owned(), tid);
        }
    }
    found
}

/// 3 workers only prepare, 1 submitter only enters, 2 reapers only reap.
#[test]
fn each_thread_keeps_to_its_role() {
    in_child("roles::each_thread_keeps_to_its_role", || {
        let operations: u64 = if cfg!(debug_assertions) {
            90_000
        } else {
            1_000_000
        };
        let (count, sum) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let handler = {
            let (count, sum) = (count.clone(), sum.clone());
            move |_: &Driver, completion: Completion| {
                // Those that are cancelled at the end do not count.
                if completion.outcome() == Outcome::Done(0) {
                    sum.fetch_add(completion.user_data(), Relaxed);
                    count.fetch_add(1, Relaxed);
                }
            }
        };
        let steady = AtomicU64::new(0);
        let most = Arc::new(AtomicU64::new(0));
        let seen = most.clone();
        let work = move |driver: &Driver, job: std::ops::Range<u64>| {
            for user_data in job {
                driver.submit(nop(user_data), Some(LOST)).unwrap();
                seen.fetch_max(driver.in_flight().into(), Relaxed);
            }
        };
        let pool = Pool::builder()
            .workers(3)
            .reapers(2)
            .name("crew")
            .build(ring(8, 16), work, handler)
            .unwrap();
        let start = Instant::now();
        let parts = 10;
        let size = operations / parts;
        for part in 0..parts {
            pool.give_wait(part * size..(part + 1) * size, Some(LOST))
                .unwrap();
        }
        let all = parts * size;
        until(|| count.load(Relaxed) > all / 100);
        steady.store(ALLOCATED.load(Relaxed), Relaxed);
        // As long as it goes on, however slowly.
        while count.load(Relaxed) < all {
            let before = count.load(Relaxed);
            until(|| count.load(Relaxed) > before);
        }
        let allocated = ALLOCATED.load(Relaxed) - steady.into_inner();
        let took = start.elapsed();
        assert_eq!(sum.load(Relaxed), all * (all - 1) / 2);
        assert!(
            most.load(Relaxed) <= 12,
            "{most:?} in flight with 12 permits"
        );
        let stats = pool.stats();
        println!("{all} operations in {took:?}, {allocated} bytes allocated, {stats:?}");
        assert_eq!((stats.permits, stats.flushes, stats.stale), (12, 0, 0));
        assert_eq!(pool.driver().ring().cq_overflow(), 0);
        assert_eq!(pool.driver().ring().sq_dropped(), 0);
        assert_eq!((stats.accepted, stats.completed), (all, all));
        assert!(allocated < 1024, "{allocated} bytes allocated on the way");
        let (reader, _writer) = std::io::pipe().unwrap();
        for _ in 0..12 {
            pool.driver()
                .submit(pending(&reader, 0), Some(LOST))
                .unwrap();
        }
        let start = Instant::now();
        let shutdown = pool.shutdown(Some(LOST)).unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "shut down in {took:?}");
        println!("shut down in {took:?}");
        assert!(shutdown.is_clean(), "{shutdown:?}");
        assert_eq!(shutdown.stats.completed, all + 12);
        until(|| threads_of("crew").is_empty());
    });
}

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
    let build = |builder: ringway::pool::PoolBuilder| {
        let (handler, _) = sending();
        builder.name("refused").build(ring(8, 16), run, handler)
    };
    let builder = || Pool::builder();
    let refused = [
        (builder().reapers(0), "NoReapers"),
        (builder().workers(0), "NoWorkers"),
        (builder().jobs(0), "NoJobs"),
        (
            builder().permits(13),
            "Driver(Permits { asked: 13, room: 12 })",
        ),
        (
            builder().permits(0),
            "Driver(Permits { asked: 0, room: 12 })",
        ),
        (builder().control_reserve(1), "Driver(Reserve { asked: 1 })"),
    ];
    for (builder, expected) in refused {
        let error = build(builder).expect_err(expected);
        assert_eq!(format!("{error:?}"), expected);
    }
    let (handler, _) = sending();
    let name = builder().name("a\0b").build(ring(8, 16), run, handler);
    assert!(matches!(name, Err(PoolError::Name)));
    until(|| threads_of("refused").is_empty());
}

/// With no memory for all of the stacks, those threads that were started go again.
#[test]
fn a_thread_that_cannot_be_started_is_an_error() {
    in_child("roles::a_thread_that_cannot_be_started_is_an_error", || {
        let before = threads_of("").len();
        let limit = libc::rlimit {
            rlim_cur: 8 << 30,
            rlim_max: libc::RLIM_INFINITY,
        };
        let ring = ring(8, 16);
        // SAFETY: the call reads the structure.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let started = Arc::new(AtomicU64::new(0));
        let (handler, _) = sending();
        let builder = Pool::builder().name("none").workers(16).stack_size(1 << 30);
        let dropped = Dropped(started.clone());
        let work = move |_: &Driver, _: Job| _ = &dropped;
        let error = builder.build(ring, work, handler).unwrap_err();
        assert!(matches!(error, PoolError::Spawn(_)), "{error:?}");
        assert_eq!(threads_of("").len(), before);
        assert_eq!(started.load(Relaxed), 1, "what was the pool's is dropped");
    });
}

/// Counts its drops.
struct Dropped(Arc<AtomicU64>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn threads_have_names_and_go_again() {
    let (handler, _) = sending();
    let builder = Pool::builder().name("nm").workers(2).reapers(1).both(1);
    let pool = builder.build(ring(8, 16), run, handler).unwrap();
    let expected = [
        "nm-both-0",
        "nm-reaper-0",
        "nm-submitter-0",
        "nm-worker-0",
        "nm-worker-1",
    ];
    until(|| threads_of("nm-").keys().eq(&expected));
    drop(pool);
    until(|| threads_of("nm-").is_empty());
}

/// Who submits makes no difference to what comes back.
#[test]
fn every_submission_policy_does() {
    let policies = [
        Some(Submission::Combining),
        Some(Submission::Dedicated(Batching::default())),
        Some(Submission::Dedicated(Batching {
            size: 5,
            delay: Duration::from_millis(1),
        })),
        None,
    ];
    for (is_sqpoll, policy) in [false, true]
        .into_iter()
        .flat_map(|is_sqpoll| policies.into_iter().map(move |policy| (is_sqpoll, policy)))
    {
        let mut builder = Ring::builder(8).cq_entries(16);
        if is_sqpoll {
            builder = builder.sqpoll(SqPoll::new().idle(Duration::from_millis(1)));
        }
        let ring = builder
            .build()
            .unwrap_or_else(|refused| panic!("{refused}"));
        let (handler, completions) = sending();
        let mut builder = Pool::builder().workers(2).both(1).name("pol");
        if let Some(policy) = policy {
            builder = builder.submission(policy);
        }
        let pool = builder.build(ring, run, handler).unwrap();
        for job in 0..10 {
            let job: Job = Box::new(move |driver| {
                for i in 0..100 {
                    driver.submit(nop(job * 100 + i), Some(LOST)).unwrap();
                }
            });
            pool.give(job).unwrap();
        }
        let mut all: Vec<_> = (0..1000)
            .map(|_| received(&completions).user_data())
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000), "{is_sqpoll} {policy:?}");
        let shutdown = pool.shutdown(Some(LOST)).unwrap();
        assert!(shutdown.is_clean(), "{shutdown:?}");
    }
}

#[test]
fn a_full_queue_gives_the_job_back() {
    let (handler, _) = sending();
    let builder = Pool::builder().jobs(2).name("full");
    let pool = builder.build(ring(8, 16), run, handler).unwrap();
    let (begun, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (ran, order) = channel();
    let first: Job = {
        let (begun, gate) = (begun.clone(), gate.clone());
        Box::new(move |_| {
            begun.wait();
            gate.wait();
        })
    };
    pool.give(first).unwrap();
    begun.wait();
    let job = |number: u32| -> Job {
        let ran: Sender<u32> = ran.clone();
        Box::new(move |_| ran.send(number).unwrap())
    };
    pool.give(job(1)).unwrap();
    pool.give(job(2)).unwrap();
    let refused = pool.give(job(3)).unwrap_err();
    assert_eq!(refused.why, Refusal::Full);
    let timeout = Some(Duration::from_millis(5));
    let refused = pool.give_wait(refused.op, timeout).unwrap_err();
    assert_eq!((refused.why, pool.jobs_waiting()), (Refusal::Full, 2));
    thread::scope(|scope| {
        scope.spawn(|| pool.give_wait(refused.op, Some(LOST)).unwrap());
        gate.wait();
    });
    let ran: Vec<_> = (0..3).map(|_| received(&order)).collect();
    assert_eq!(ran, [1, 2, 3], "first in, first out");
    until(|| pool.jobs_run() == 4);
}

/// Threads that sleep on the ring are woken for jobs: each job has a thread at once,
/// whoever took the wake.
#[test]
fn a_thread_that_is_both_leaves_the_ring_for_a_job() {
    for (reapers, both, jobs) in [(0, 1, 1), (0, 3, 3), (3, 2, 2)] {
        let (handler, completions) = sending();
        let builder = Pool::builder()
            .workers(0)
            .reapers(reapers)
            .both(both)
            .name("bth");
        let pool = builder.build(ring(8, 16), run, handler).unwrap();
        for round in 0..200 {
            // Not one of them ends before all have begun.
            let all = Arc::new(Barrier::new(jobs + 1));
            for _ in 0..jobs {
                let all = all.clone();
                let job: Job = Box::new(move |_| _ = all.wait());
                pool.give(job).unwrap();
            }
            all.wait();
            pool.driver().submit(nop(round), Some(LOST)).unwrap();
            assert_eq!(received(&completions).user_data(), round);
        }
        let shutdown = pool.shutdown(Some(LOST)).unwrap();
        assert!(shutdown.is_clean(), "{shutdown:?}");
        assert_eq!(shutdown.jobs_run, 200 * jobs as u64);
    }
}

/// The reaper that took the wake is kept by a handler: another thread runs the job.
#[test]
fn a_wake_is_passed_on_by_a_thread_that_is_kept() {
    for _ in 0..50 {
        let gate = Arc::new(Barrier::new(2));
        let handler = {
            let gate = gate.clone();
            move |_: &Driver, _: Completion| _ = gate.wait()
        };
        let builder = Pool::builder().workers(0).both(2).reapers(0).name("kept");
        let pool = builder.build(ring(8, 16), run, handler).unwrap();
        let (ran, jobs) = channel();
        pool.driver().try_submit(nop(1)).unwrap();
        let job: Job = Box::new(move |_| ran.send(()).unwrap());
        pool.give(job).unwrap();
        received(&jobs);
        gate.wait();
    }
}

fn sleeps(threads: &BTreeMap<String, i32>) -> u64 {
    let of = |tid: &i32| -> u64 {
        let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.expect("the line").trim().parse().unwrap()
    };
    threads.values().map(of).sum()
}

#[test]
fn a_completion_wakes_at_most_two_of_sixteen_reapers() {
    const COMPLETIONS: u64 = 300;
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    let handler = move |_: &Driver, _: Completion| _ = count.fetch_add(1, Relaxed);
    let builder = Pool::builder()
        .workers(0)
        .jobs(0)
        .reapers(16)
        .submission(Submission::Combining)
        .name("wk");
    let pool = builder.build(ring(8, 64), run, handler).unwrap();
    until(|| threads_of("wk-").len() == 16);
    let threads = threads_of("wk-");
    // Each has gone to sleep once.
    until(|| {
        threads
            .values()
            .all(|tid| sleeps(&BTreeMap::from([(String::new(), *tid)])) > 0)
    });
    let before = sleeps(&threads);
    for user_data in 0..COMPLETIONS {
        pool.driver().try_submit(nop(user_data)).unwrap();
        until(|| seen.load(Relaxed) > user_data);
    }
    let slept = sleeps(&threads) - before;
    println!("{slept} sleeps for {COMPLETIONS} completions");
    assert!(slept <= 2 * COMPLETIONS + 64, "{slept} sleeps");
    assert!(slept >= COMPLETIONS / 4, "{slept}: not what was counted");
}

/// CPU time of these threads.
fn cpu(threads: &BTreeMap<String, i32>) -> Vec<Duration> {
    let of = |tid: &i32| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // The clock of a thread (`CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED`).
        let clock = (!tid << 3) | 6;
        // SAFETY: the call fills the structure.
        assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    threads.values().map(of).collect()
}

/// In an idle pool, with operations in flight, no thread's CPU clock moves.
#[test]
fn an_idle_pool_uses_no_cpu() {
    let (handler, completions) = sending();
    let builder = Pool::builder().workers(2).reapers(2).both(2).name("idle");
    let pool = builder.build(ring(8, 16), run, handler).unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let in_flight = pool.driver().try_submit(pending(&reader, 1)).unwrap();
    pool.give(Box::new(|_: &Driver| ())).unwrap();
    pool.driver().try_submit(nop(2)).unwrap();
    assert_eq!(received(&completions).user_data(), 2);
    // A thread names itself when it runs first.
    until(|| threads_of("idle-").len() == 7);
    let threads = threads_of("idle-");
    // From some time on nothing moves, for a fifth of a second.
    let start = Instant::now();
    loop {
        let before = cpu(&threads);
        thread::sleep(Duration::from_millis(200));
        if cpu(&threads) == before {
            break;
        }
        assert!(start.elapsed() < LOST, "{threads:?}: {:?}", cpu(&threads));
    }
    pool.driver().cancel(in_flight);
    assert_eq!(received(&completions).user_data(), 1);
}

/// Panics where it is told to, and keeps what it is told of.
struct Thrower {
    told: Mutex<Sender<String>>,
    observed: AtomicU64,
}

impl Handler for Thrower {
    fn complete(&self, _: &Driver, completion: Completion) {
        let user_data = completion.user_data();
        assert!(user_data % 3 != 1, "thrown for {user_data}");
        self.tell(format!("{user_data}"));
    }

    fn stale(&self, _: &Driver, cqe: ringway::Cqe) {
        panic!("stale {}", cqe.user_data());
    }

    fn panicked(&self, _: &Driver, panic: Panicked<'_>) {
        let message = panic.message().unwrap_or("no message");
        self.tell(format!("{:?} {} {message}", panic.role, panic.is_job));
        assert!(message != "thrown for 4", "again");
    }

    fn observe(&self, _: &Driver, what: Observed) {
        if let Observed::Reaped(count) = what {
            self.observed.fetch_add(count as u64, Relaxed);
        }
    }
}

impl Thrower {
    fn new() -> (Arc<Thrower>, Receiver<String>) {
        let (sender, told) = channel();
        let thrower = Self {
            told: Mutex::new(sender),
            observed: AtomicU64::new(0),
        };
        (Arc::new(thrower), told)
    }

    fn tell(&self, what: String) {
        self.told.lock().unwrap().send(what).unwrap();
    }
}

/// For a test to keep a hand on it.
struct Shared(Arc<Thrower>);

impl Handler for Shared {
    fn complete(&self, driver: &Driver, completion: Completion) {
        self.0.complete(driver, completion);
    }

    fn stale(&self, driver: &Driver, cqe: ringway::Cqe) {
        self.0.stale(driver, cqe);
    }

    fn panicked(&self, driver: &Driver, panic: Panicked<'_>) {
        self.0.panicked(driver, panic);
    }

    fn observe(&self, driver: &Driver, what: Observed) {
        self.0.observe(driver, what);
    }
}

#[test]
fn panics_are_contained_counted_and_told() {
    let (thrower, told) = Thrower::new();
    let builder = Pool::builder().workers(1).name("thr");
    let pool = builder
        .build(ring(8, 16), run, Shared(thrower.clone()))
        .unwrap();
    for user_data in 0..6 {
        pool.driver().submit(nop(user_data), Some(LOST)).unwrap();
    }
    let mut all: Vec<_> = (0..6).map(|_| received(&told)).collect();
    all.sort();
    let thrown = ["0", "2", "3", "5"].map(String::from).to_vec();
    let told_of = [1, 4].map(|n| format!("Reaper false thrown for {n}"));
    assert_eq!(all, [thrown, told_of.to_vec()].concat());
    pool.driver().ring().wake(9).unwrap();
    assert_eq!(received(&told), "Reaper false stale 9");
    pool.give(Box::new(|_: &Driver| panic!("{}", "a job")))
        .unwrap();
    assert_eq!(received(&told), "Worker true a job");
    pool.give(Box::new(|_: &Driver| std::panic::panic_any(5)))
        .unwrap();
    assert_eq!(received(&told), "Worker true no message");
    let (ran, jobs) = channel();
    pool.give(Box::new(move |_: &Driver| ran.send(()).unwrap()))
        .unwrap();
    received(&jobs);
    let shutdown = pool.shutdown(Some(LOST)).unwrap();
    assert!(shutdown.is_clean(), "{shutdown:?}");
    // Two for completions, one more in the telling of one of them, one stale, two jobs.
    assert_eq!((shutdown.panics, shutdown.jobs_run), (6, 3));
    assert_eq!((shutdown.stats.completed, shutdown.stats.stale), (6, 1));
    assert_eq!(thrower.observed.load(Relaxed), 7);
}

#[test]
fn a_pool_stops_after_a_panic_if_it_is_to() {
    let (thrower, told) = Thrower::new();
    let builder = Pool::builder().on_panic(OnPanic::Stop).name("stp");
    let pool = builder.build(ring(8, 16), run, Shared(thrower)).unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    pool.driver().try_submit(pending(&reader, 0)).unwrap();
    pool.driver().try_submit(nop(1)).unwrap();
    // The other one is cancelled, and told.
    let mut all = [received(&told), received(&told)];
    all.sort();
    assert_eq!(all, ["0", "Reaper false thrown for 1"]);
    let refused = pool.driver().try_submit(nop(2)).unwrap_err();
    assert_eq!(refused.why, Refusal::Closed);
    let refused = pool.give(Box::new(|_: &Driver| ())).unwrap_err();
    assert_eq!(refused.why, Refusal::Closed);
    let shutdown = pool.shutdown(Some(LOST)).unwrap();
    assert!(shutdown.is_clean(), "{shutdown:?}");
    assert_eq!((shutdown.panics, shutdown.stats.completed), (1, 2));
}

#[test]
fn roles_are_told() {
    let (thrower, told) = Thrower::new();
    let builder = Pool::builder().workers(0).reapers(0).both(1).name("rol");
    let pool = builder.build(ring(8, 16), run, Shared(thrower)).unwrap();
    pool.give(Box::new(|_: &Driver| panic!("a job"))).unwrap();
    assert_eq!(received(&told), format!("{:?} true a job", Role::Both));
}
