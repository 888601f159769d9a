//! Jobs: how they are taken, and every way in which one can end.

use super::*;
use ringway::Errno;
use ringway::pool::{
    Batching, Carrier, Job, Offload, OffloadBuilder, OffloadError, OpId, Outcome, Refusal,
    Submission,
};
use ringway::prep::Nop;
use ringway::register::register_sync_msg;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

pub type Boxed = Box<dyn FnOnce() -> Result<u32, Errno> + Send>;

pub const CARRIERS: [Carrier; 3] = [Carrier::Message, Carrier::Nop, Carrier::PlainNop];

pub fn offload<J: Job + 'static>(driver: &Driver, settings: OffloadBuilder) -> Offload<J> {
    settings.build(driver).unwrap()
}

/// A driver, and an offload of one thread for jobs of all kinds.
pub fn one_thread() -> (Driver, Offload<Boxed>) {
    let driver = driver(8, 16, Driver::builder());
    let offload = offload(&driver, Offload::builder().threads(1));
    (driver, offload)
}

/// Offloads a job that runs until it is let go, and waits until it runs.
pub fn hold(offload: &Offload<Boxed>, user_data: u64) -> (OpId, Sender<()>) {
    let (started, has_started) = channel();
    let (let_go, is_let_go) = channel::<()>();
    let job: Boxed = Box::new(move || {
        started.send(()).unwrap();
        let _ = is_let_go.recv();
        Ok(1)
    });
    let id = offload.try_offload(job, user_data).unwrap();
    has_started.recv_timeout(LOST).unwrap();
    (id, let_go)
}

/// A job that says when it is dropped.
pub fn told(dropped: &Arc<AtomicU32>) -> Boxed {
    struct Tells(Arc<AtomicU32>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let tells = Tells(dropped.clone());
    Box::new(move || {
        let _tells = tells;
        Ok(2)
    })
}

pub fn is(completion: Completion) -> (u64, Outcome) {
    assert!(completion.is_last());
    (completion.user_data(), completion.outcome())
}

/// Waits once, and adds what comes.
pub fn take(driver: &Driver, found: &mut Vec<(u64, Outcome)>) {
    let take = |event| match event {
        Event::Completed(completion) => found.push(is(completion)),
        Event::Stale(cqe) => panic!("{cqe:?}"),
    };
    driver.wait_reap(Some(LOST), take).unwrap();
}

/// Completions until nothing is in flight, in their order.
pub fn all(driver: &Driver) -> Vec<(u64, Outcome)> {
    let mut found = Vec::new();
    while driver.in_flight() > 0 {
        take(driver, &mut found);
    }
    assert_eq!(driver.stats().stale, 0);
    found
}

/// What each result becomes.
const RESULTS: [(Result<u32, Errno>, Outcome); 12] = {
    const fn errno(errno: i32) -> Result<u32, Errno> {
        Err(Errno::from_raw(errno))
    }
    const fn failed(errno: i32) -> Outcome {
        Outcome::Failed(Errno::from_raw(errno))
    }
    [
        (Ok(0), Outcome::Done(0)),
        (Ok(7), Outcome::Done(7)),
        (Ok(i32::MAX as u32), Outcome::Done(i32::MAX as u32)),
        (Ok(1 << 31), failed(libc::EOVERFLOW)),
        (Ok(u32::MAX), failed(libc::EOVERFLOW)),
        (errno(libc::ENOENT), failed(libc::ENOENT)),
        (errno(libc::ECANCELED), Outcome::Cancelled),
        (errno(libc::ETIME), Outcome::TimedOut),
        (errno(0), failed(libc::EINVAL)),
        (errno(-libc::EIO), failed(libc::EINVAL)),
        (errno(i32::MIN), failed(libc::EINVAL)),
        // In the same slot of the table as the one before.
        (Ok(0), Outcome::Done(0)),
    ]
};

fn each_result(driver: &Driver, settings: OffloadBuilder) {
    let offload = offload(driver, settings.threads(1));
    for (i, (result, expected)) in RESULTS.into_iter().enumerate() {
        let id = offload.try_offload(move || result, i as u64).unwrap();
        let completion = next(driver);
        assert_eq!(
            (is(completion), completion.op()),
            ((i as u64, expected), id)
        );
        // Negative exactly when it is an error; and the slot's next result is its own.
        let is_done = matches!(expected, Outcome::Done(_));
        assert_eq!(
            completion.cqe().result().is_ok(),
            is_done,
            "{settings:?} {result:?}"
        );
    }
}

#[test]
fn results_come_as_they_are() {
    for carrier in CARRIERS {
        each_result(
            &driver(8, 16, Driver::builder()),
            Offload::builder().carrier(carrier),
        );
        let driver = driver(
            8,
            16,
            Driver::builder().submission(Submission::Dedicated(Batching::default())),
        );
        thread::scope(|threads| {
            threads.spawn(|| driver.serve());
            each_result(&driver, Offload::builder().carrier(carrier));
            driver.stop_serving();
        });
    }
}

/// What this kernel has, found in another way, is what is used.
#[test]
fn the_carrier_is_what_the_kernel_has() {
    let ring = Ring::builder(8).build().unwrap();
    let has_messages = register_sync_msg(ring.fd().unwrap(), 0, 0).is_ok();
    let results = driver(8, 16, Driver::builder());
    let mut sqe = Sqe::default();
    // SAFETY: a NOP names nothing.
    unsafe { sqe.prep_nop_with(Nop::new().inject_result(7)) };
    results.try_submit(sqe).unwrap();
    let nop = match next(&results).outcome() {
        Outcome::Done(7) => Carrier::Nop,
        _ => Carrier::PlainNop,
    };
    let message = if has_messages { Carrier::Message } else { nop };
    let carrier = |submission, settings: OffloadBuilder| {
        let driver = driver(8, 16, Driver::builder().submission(submission));
        let offload: Offload<Boxed> = settings.build_without_threads(&driver).unwrap();
        offload.carrier()
    };
    let dedicated = Submission::Dedicated(Batching::default());
    let unsaid = Offload::builder();
    assert_eq!(carrier(Submission::Combining, unsaid), message);
    assert_eq!(carrier(dedicated, unsaid), nop);
    for (asked, found) in CARRIERS.into_iter().zip([message, nop, Carrier::PlainNop]) {
        for submission in [Submission::Combining, dedicated] {
            assert_eq!(carrier(submission, unsaid.carrier(asked)), found);
        }
    }
}

/// A task is woken when there is room, and not before.
#[test]
fn a_task_waits_for_room() {
    struct Woken(AtomicU32);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let driver = driver(8, 16, Driver::builder());
    let offload = Offload::builder().queue(1);
    let offload: Offload<Boxed> = offload.build_without_threads(&driver).unwrap();
    let id = offload.try_offload(Box::new(|| Ok(1)), 1).unwrap();
    let woken = Arc::new(Woken(AtomicU32::new(0)));
    let waker = woken.clone().into();
    let context = &mut Context::from_waker(&waker);
    let mut job: Option<Boxed> = Some(Box::new(|| Ok(2)));
    for _ in 0..3 {
        assert!(offload.poll_offload(context, &mut job, 2).is_pending());
        assert!(job.is_some());
    }
    assert_eq!(woken.0.load(Relaxed), 0);
    assert!(offload.cancel(id));
    assert_eq!(woken.0.load(Relaxed), 1);
    let Poll::Ready(Ok(_)) = offload.poll_offload(context, &mut job, 2) else {
        panic!("there is room");
    };
    offload.close();
    let mut job: Option<Boxed> = Some(Box::new(|| Ok(3)));
    let Poll::Ready(Err(refused)) = offload.poll_offload(context, &mut job, 3) else {
        panic!("it is closed");
    };
    assert_eq!((refused.why, (refused.op)()), (Refusal::Closed, Ok(3)));
    offload.serve();
    assert_eq!(
        all(&driver),
        [(1, Outcome::Cancelled), (2, Outcome::Done(2))]
    );
}

#[test]
fn a_queued_job_is_cancelled_and_a_running_one_is_not() {
    let (driver, offload) = one_thread();
    let dropped = Arc::new(AtomicU32::new(0));
    let (running, let_go) = hold(&offload, 1);
    let ids = [2, 3, 4].map(|i| offload.try_offload(told(&dropped), i).unwrap());
    assert_eq!((offload.queued(), driver.in_flight()), (3, 4));
    assert!(offload.cancel(ids[1]));
    assert_eq!((dropped.load(Relaxed), offload.queued()), (1, 2));
    // At once, though the thread is busy.
    let completion = next(&driver);
    assert_eq!(is(completion), (3, Outcome::Cancelled));
    assert_eq!(completion.op(), ids[1]);
    assert!(!offload.cancel(ids[1]), "it was cancelled before");
    assert!(!offload.cancel(running));
    let other: Offload<Boxed> = Offload::builder().build_without_threads(&driver).unwrap();
    assert!(!other.cancel(ids[0]), "a job of another offload");
    drop(let_go);
    let expected = [(1, 1), (2, 2), (4, 2)].map(|(i, res)| (i, Outcome::Done(res)));
    assert_eq!(all(&driver), expected);
    assert!(!offload.cancel(ids[0]), "it has ended");
    assert_eq!(dropped.load(Relaxed), 3);
}

#[test]
fn a_full_offload_gives_the_job_back() {
    let driver = driver(8, 16, Driver::builder().permits(4));
    let settings = Offload::builder().threads(1).queue(1);
    let offload: Offload<Boxed> = offload(&driver, settings);
    let (_, let_go) = hold(&offload, 1);
    offload.try_offload(Box::new(|| Ok(2)), 2).unwrap();
    let refused = offload.try_offload(Box::new(|| Ok(33)), 3).unwrap_err();
    assert_eq!((refused.why, driver.in_flight()), (Refusal::Full, 2));
    let job = refused.op;
    let short = Some(Duration::from_millis(1));
    let refused = offload.offload(job, 3, short).unwrap_err();
    assert_eq!((refused.why, driver.in_flight()), (Refusal::Full, 2));
    let job = refused.op;
    // The thread makes room in the queue.
    let offload = &offload;
    thread::scope(|threads| {
        let waits = threads.spawn(move || offload.offload(job, 3, Some(LOST)).unwrap());
        drop(let_go);
        waits.join().unwrap();
    });
    let expected = [(1, 1), (2, 2), (3, 33)].map(|(i, res)| (i, Outcome::Done(res)));
    assert_eq!(all(&driver), expected);
    // And whoever reaps makes permits.
    for i in 0..4 {
        driver.try_submit(nop(i)).unwrap();
    }
    let refused = offload.try_offload(Box::new(|| Ok(5)), 5).unwrap_err();
    assert_eq!((refused.why, offload.queued()), (Refusal::Full, 0));
    thread::scope(|threads| {
        let waits = threads.spawn(|| offload.offload(refused.op, 5, Some(LOST)).unwrap());
        next_of::<4>(&driver);
        waits.join().unwrap();
    });
    assert_eq!(all(&driver), [(5, Outcome::Done(5))]);
}

#[test]
fn a_closed_offload_gives_the_job_back_and_runs_what_it_has() {
    let driver = driver(8, 16, Driver::builder());
    let settings = Offload::builder().threads(1).queue(1);
    let offload: Offload<Boxed> = offload(&driver, settings);
    let (_, let_go) = hold(&offload, 1);
    offload.try_offload(Box::new(|| Ok(2)), 2).unwrap();
    thread::scope(|threads| {
        let waits = threads.spawn(|| offload.offload(Box::new(|| Ok(3)), 3, Some(LOST)));
        offload.close();
        let refused = waits.join().unwrap().unwrap_err();
        assert_eq!(refused.why, Refusal::Closed);
        assert_eq!((refused.op)(), Ok(3));
    });
    let refused = offload.try_offload(Box::new(|| Ok(4)), 4).unwrap_err();
    assert_eq!((refused.why, driver.in_flight()), (Refusal::Closed, 2));
    drop(let_go);
    assert_eq!(all(&driver), [1, 2].map(|i| (i, Outcome::Done(i as u32))));
    driver.close();
    let other: Offload<Boxed> = Offload::builder().build_without_threads(&driver).unwrap();
    let refused = other.try_offload(refused.op, 5).unwrap_err();
    assert_eq!(refused.why, Refusal::Closed);
}

#[test]
fn threads_of_ones_own_run_jobs_that_borrow() {
    let driver = driver(8, 16, Driver::builder());
    let count = AtomicU32::new(0);
    let offload = Offload::builder().build_without_threads(&driver).unwrap();
    thread::scope(|threads| {
        threads.spawn(|| offload.serve());
        threads.spawn(|| offload.serve());
        for i in 0..8 {
            let job = || Ok(count.fetch_add(1, Relaxed));
            offload.try_offload(job, i).unwrap();
        }
        assert_eq!(all(&driver).len(), 8);
        assert_eq!(offload.shutdown(Some(LOST)).leaked, 0);
    });
    assert_eq!(count.load(Relaxed), 8);
}

#[test]
fn an_offload_of_nothing_is_refused() {
    let driver = driver(8, 16, Driver::builder());
    let refused = |settings: OffloadBuilder| settings.build::<Boxed>(&driver).unwrap_err();
    let no_threads = refused(Offload::builder().threads(0));
    assert!(
        matches!(no_threads, OffloadError::NoThreads),
        "{no_threads}"
    );
    let no_queue = refused(Offload::builder().queue(0));
    assert!(matches!(no_queue, OffloadError::NoQueue), "{no_queue}");
}

/// Four threads offload, one cancels what it finds, one reaps; every job that was accepted
/// completes once, as what it was.
fn many(submission: Submission, carrier: Carrier) {
    const EACH: u64 = 2_000;
    let driver = driver(2, 16, Driver::builder().submission(submission).permits(8));
    let settings = Offload::builder().threads(3).queue(4).carrier(carrier);
    let offload = &offload(&driver, settings);
    let ran = &Arc::new(AtomicU64::new(0));
    let (last, is_over) = (&Mutex::new(None), &AtomicBool::new(false));
    let driver = &driver;
    let ended = thread::scope(|threads| {
        let submitter = threads.spawn(|| driver.serve());
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                threads.spawn(move || {
                    for i in worker * EACH..(worker + 1) * EACH {
                        let ran = ran.clone();
                        let job = move || {
                            ran.fetch_add(1, Relaxed);
                            Ok(i as u32)
                        };
                        let id = offload.offload(job, i, Some(LOST)).unwrap();
                        *last.lock().unwrap() = Some(id);
                        if i % 3 == 0 {
                            driver.submit(nop(u64::MAX), Some(LOST)).unwrap();
                        }
                    }
                })
            })
            .collect();
        let canceller = threads.spawn(move || {
            let mut cancelled = 0;
            while !is_over.load(Relaxed) {
                let id = last.lock().unwrap().take();
                cancelled += u64::from(id.is_some_and(|id| offload.cancel(id)));
                thread::yield_now();
            }
            cancelled
        });
        let mut ended = Vec::new();
        let (mut cancelled, mut nops) = (0, 0);
        while ended.len() < 4 * EACH as usize {
            let take = |event| match event {
                Event::Completed(completion) => match is(completion) {
                    (u64::MAX, outcome) => {
                        assert_eq!(outcome, Outcome::Done(0));
                        nops += 1;
                    }
                    (user_data, outcome) => {
                        match outcome {
                            Outcome::Cancelled => cancelled += 1,
                            _ => assert_eq!(outcome, Outcome::Done(user_data as u32)),
                        }
                        ended.push(user_data);
                    }
                },
                Event::Stale(cqe) => panic!("{cqe:?}"),
            };
            driver.wait_reap(Some(LOST), take).unwrap();
        }
        while driver.in_flight() > 0 {
            driver.wait_reap(Some(LOST), |_| nops += 1).unwrap();
        }
        workers.into_iter().for_each(|it| it.join().unwrap());
        is_over.store(true, Relaxed);
        assert_eq!(canceller.join().unwrap(), cancelled);
        assert_eq!(ran.load(Relaxed) + cancelled, 4 * EACH);
        println!("{submission:?}, {carrier:?}: {cancelled} cancelled, {nops} NOPs");
        driver.stop_serving();
        submitter.join().unwrap();
        ended
    });
    let mut ended = ended;
    ended.sort_unstable();
    assert!(ended.into_iter().eq(0..4 * EACH), "each once");
    assert_eq!(driver.ring().cq_overflow(), 0);
}

#[test]
fn many_jobs() {
    for carrier in CARRIERS {
        many(Submission::Combining, carrier);
        many(Submission::Dedicated(Batching::default()), carrier);
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use super::*;

    #[test]
    fn results_come_without_the_kernel() {
        let (ring, _) = Ring::simulated(4).build();
        let driver = Driver::builder().control_reserve(2).build(ring).unwrap();
        for carrier in CARRIERS {
            each_result(&driver, Offload::builder().carrier(carrier));
        }
    }

    /// The kernel takes no SQE for a while: the job's thread waits, and does not spin.
    #[test]
    fn a_completion_waits_for_an_sqe() {
        let takes = Arc::new(AtomicBool::new(true));
        let most = takes.clone();
        let (ring, kernel) = Ring::simulated(2)
            .cq_entries(16)
            .short_submits(move |_| if most.load(Relaxed) { u32::MAX } else { 0 })
            .build();
        let driver = Driver::builder().build(ring).unwrap();
        let offload: Offload<Boxed> = Offload::builder().threads(1).build(&driver).unwrap();
        let (_, let_go) = hold(&offload, 1);
        takes.store(false, Relaxed);
        driver.try_submit(nop(2)).unwrap();
        driver.try_submit(nop(3)).unwrap();
        let before = kernel.enters();
        drop(let_go);
        let start = Instant::now();
        while kernel.enters() == before && start.elapsed() < LOST {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(20));
        let tries = kernel.enters() - before;
        assert!((1..10).contains(&tries), "{tries} tries");
        assert_eq!(driver.in_flight(), 3);
        takes.store(true, Relaxed);
        driver.flush();
        let expected = [(2, 0), (3, 0), (1, 1)].map(|(i, res)| (i, Outcome::Done(res)));
        assert_eq!(all(&driver), expected);
    }
}
