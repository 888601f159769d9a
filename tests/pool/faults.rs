//! The pool on the simulated kernel, which fails: nothing is lost, nobody hangs.
//! What was accepted has completed or is reported as leaked; the rest was given back.

use super::*;
use ringway::pool::{Batching, Outcome, Pool, PoolBuilder, Refusal, Shutdown, Submission};
use ringway::sim::{Kernel, Simulation};
use ringway::{EnterError, Errno, op};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

const POLICIES: [Submission; 3] = [
    Submission::Combining,
    Submission::Dedicated(Batching {
        size: 1,
        delay: Duration::ZERO,
    }),
    Submission::Dedicated(Batching {
        size: 3,
        delay: Duration::from_millis(1),
    }),
];

/// The test's `user_data` of what stays in flight until everything is cancelled, and of what
/// posts two CQEs.
pub const HELD: u64 = 1 << 40;
const TWICE: u64 = 1 << 41;

/// The simulation sees the pool's own `user_data`; the test's is in the offset.
pub fn operation(user_data: u64) -> Op {
    let mut sqe = Sqe::default();
    let memory = std::ptr::null_mut();
    // SAFETY: the simulation touches no memory.
    unsafe { sqe.prep_read(&std::io::stdin(), memory, 0, user_data) }.user_data(user_data);
    Op::from(sqe).cqes(1 + u32::from(user_data & TWICE != 0))
}

/// Opcode and offset.
fn parts(sqe: &Sqe) -> (u8, u64) {
    // SAFETY: an SQE is 64 bytes, all of them written.
    let words = unsafe { std::ptr::from_ref(sqe).cast::<[u64; 2]>().read() };
    (words[0].to_ne_bytes()[0], words[1])
}

/// A kernel that holds and cancels: what its script says to the thread that completes.
pub struct Script {
    pub says: Sender<Said>,
    heard: Mutex<Receiver<Said>>,
}

pub enum Said {
    Held(u64),
    Cancel,
    Over,
}

impl Default for Script {
    fn default() -> Self {
        let (says, heard) = channel();
        let heard = Mutex::new(heard);
        Self { says, heard }
    }
}

impl Script {
    pub fn simulation(&self, sq: u32, cq: u32) -> Simulation {
        let says = self.says.clone();
        Ring::simulated(sq).cq_entries(cq).script(move |sqe, fate| {
            let (opcode, offset) = parts(sqe);
            match opcode {
                op::ASYNC_CANCEL => {
                    says.send(Said::Cancel).unwrap();
                    return fate.complete(0);
                }
                op::READ => {}
                // What a slot became that was given back, or a wake.
                _ => return fate.complete(0),
            }
            if offset & TWICE != 0 {
                fate.more(1);
            }
            if offset & HELD != 0 {
                says.send(Said::Held(sqe.get_user_data())).unwrap();
            } else {
                fate.complete(0);
            }
        })
    }

    /// Completes what is held, from the first cancel on, until it is over.
    pub fn cancel(&self, kernel: &Kernel) {
        let mut held = Vec::new();
        let mut is_cancelled = false;
        for said in &*self.heard.lock().unwrap() {
            match said {
                Said::Held(user_data) => held.push(user_data),
                Said::Cancel => is_cancelled = true,
                Said::Over => return,
            }
            if is_cancelled {
                for user_data in held.drain(..) {
                    assert!(kernel.complete(user_data, -libc::ECANCELED));
                }
            }
        }
    }
}

/// What came of a run.
struct Ran {
    accepted: u64,
    refused: u64,
    /// Last completions that the handler was told of.
    completed: u64,
    /// Of them those with a result.
    done: u64,
    shutdown: Shutdown<u64>,
    enters: u64,
}

/// 3 workers submit 3 jobs of 40 operations each; two CQEs, held ones. Then the end.
fn ran(builder: PoolBuilder, simulation: Simulation, script: &Script) -> Ran {
    let (ring, kernel) = simulation.build();
    let (accepted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let completed: Arc<[AtomicU64; 2]> = Arc::default();
    let work = {
        let (accepted, refused) = (accepted.clone(), refused.clone());
        move |driver: &Driver, job: u64| {
            for i in 0..40 {
                let kind = match i {
                    3 => HELD,
                    5 | 20 | 21 => TWICE,
                    _ => 0,
                };
                match driver.submit(operation(job * 100 + i + kind), Some(LOST)) {
                    Ok(_) => accepted.fetch_add(1, Relaxed),
                    Err(given_back) => {
                        assert_ne!(given_back.why, Refusal::Full, "nobody made room");
                        refused.fetch_add(1, Relaxed)
                    }
                };
            }
        }
    };
    let handler = {
        let completed = completed.clone();
        move |_: &Driver, completion: Completion| {
            if completion.is_last() {
                completed[0].fetch_add(1, Relaxed);
                let is_done = completion.outcome() == Outcome::Done(0);
                completed[1].fetch_add(is_done.into(), Relaxed);
            }
        }
    };
    let pool = builder.workers(2).both(1).reapers(1).name("sim");
    let pool = pool.build(ring, work, handler).unwrap();
    let shutdown = thread::scope(|scope| {
        scope.spawn(|| script.cancel(&kernel));
        for job in 0..3 {
            pool.give(job).unwrap();
        }
        until(|| pool.jobs_run() == 3);
        let shutdown = pool.shutdown(Some(LOST)).unwrap();
        script.says.send(Said::Over).unwrap();
        shutdown
    });
    assert_eq!(kernel.overflowed(), 0, "more in flight than permits");
    Ran {
        accepted: accepted.load(Relaxed),
        refused: refused.load(Relaxed),
        completed: completed[0].load(Relaxed),
        done: completed[1].load(Relaxed),
        shutdown,
        enters: kernel.enters(),
    }
}

impl Ran {
    /// Everything was accepted, and has completed.
    #[track_caller]
    fn assert_whole(&self, what: std::fmt::Arguments<'_>) {
        let Ran { shutdown, .. } = self;
        assert!(shutdown.is_clean(), "{what}: {shutdown:?}");
        assert_eq!((self.accepted, self.refused), (120, 0), "{what}");
        assert_eq!((self.completed, self.done), (120, 117), "{what}");
        assert_eq!(shutdown.stats.completed, 120, "{what}");
        assert_eq!(shutdown.panics, 0, "{what}");
    }
}

const PASSING: [i32; 4] = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];

pub fn errno(raw: i32) -> Errno {
    Errno::from_raw(raw)
}

/// Each enter of a run fails once, in turn.
#[test]
fn no_fault_at_any_enter_loses_anything() {
    for policy in POLICIES {
        let builder = || Pool::builder().submission(policy);
        let script = Script::default();
        let without = ran(builder(), script.simulation(4, 16), &script);
        without.assert_whole(format_args!("{policy:?}"));
        assert!(without.enters > 20, "{} enters", without.enters);
        for raw in PASSING {
            for at in 0..without.enters.min(40) {
                let script = Script::default();
                let simulation = script
                    .simulation(4, 16)
                    .faults(move |call| (call == at).then_some(errno(raw)));
                let ran = ran(builder(), simulation, &script);
                ran.assert_whole(format_args!("{raw} at {at}, {policy:?}"));
            }
        }
    }
}

/// Several in a row fail, and others take less than they are given.
#[test]
fn a_kernel_that_is_short_of_everything_loses_nothing() {
    for policy in POLICIES {
        for seed in 0..40_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = move || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random >> 8
            };
            let mut other = next;
            let script = Script::default();
            let simulation = script
                .simulation(4, 16)
                .faults(move |_| (next() % 2 == 0).then(|| errno(PASSING[next() as usize % 4])))
                .short_submits(move |_| other() as u32 % 4);
            let builder = Pool::builder().submission(policy);
            let ran = ran(builder, simulation, &script);
            ran.assert_whole(format_args!("seed {seed}, {policy:?}"));
        }
    }
}

/// A ring that is of no use any more: everybody is told, and what is in flight is leaked.
#[test]
fn a_dead_ring_hangs_nobody() {
    let dead = [
        (libc::EBADR, EnterError::CompletionLost),
        (libc::EOWNERDEAD, EnterError::SqThreadDead),
    ];
    for (raw, error) in dead {
        let mut leaked = 0;
        for policy in POLICIES {
            for at in 0..40 {
                let script = Script::default();
                let simulation = script
                    .simulation(4, 16)
                    .faults(move |call| (call >= at).then_some(errno(raw)));
                let start = Instant::now();
                let ran = ran(Pool::builder().submission(policy), simulation, &script);
                let what = format_args!("{raw} from {at} on, {policy:?}");
                assert!(start.elapsed() < LOST / 2, "{what}");
                let n = ran.shutdown.leaked.as_ref().map_or(0, |leaked| {
                    assert_eq!(leaked.n, leaked.user_data.len());
                    leaked.n as u64
                });
                leaked += n;
                assert_eq!(ran.accepted + ran.refused, 120, "{what}");
                assert_eq!(ran.accepted, ran.completed + n, "{what}");
                let stats = ran.shutdown.stats;
                assert_eq!(
                    (stats.accepted, stats.completed),
                    (ran.accepted, ran.completed)
                );
                assert_eq!(ran.shutdown.threads_left, 0, "{what}");
            }
        }
        assert!(leaked > 0, "{error}: never in flight");
    }
}

/// Who waits for room is told, and whoever comes later.
#[test]
fn a_dead_ring_refuses() {
    let script = Script::default();
    let is_dead = Arc::new(AtomicBool::new(false));
    let dies = is_dead.clone();
    let simulation =
        (script.simulation(4, 8)).faults(move |_| dies.load(Relaxed).then_some(errno(libc::EBADR)));
    let (ring, _) = simulation.build();
    let builder = Pool::builder().permits(1).submission(POLICIES[0]);
    let pool = builder
        .build(ring, |_: &Driver, _: ()| (), |_: &Driver, _: Completion| ())
        .unwrap();
    pool.driver().try_submit(operation(HELD)).unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| pool.driver().submit(operation(1), Some(LOST)));
        until(|| pool.stats().submits > 1);
        is_dead.store(true, Relaxed);
        // The reaper enters again, and learns it.
        pool.driver().wake().unwrap();
        let why = waits.join().unwrap().unwrap_err().why;
        assert_eq!(why, Refusal::Ring(EnterError::CompletionLost));
    });
    let why = pool.driver().try_submit(operation(1)).unwrap_err().why;
    assert_eq!(why, Refusal::Ring(EnterError::CompletionLost));
    let shutdown = pool.shutdown(None).unwrap();
    let leaked = shutdown.leaked.unwrap();
    assert_eq!((leaked.n, leaked.user_data), (1, vec![HELD]));
}

/// A refused submit with nothing else going on, and everybody asleep.
#[test]
fn a_refused_submit_is_tried_again_though_all_sleep() {
    for policy in POLICIES {
        let script = Script::default();
        let simulation = (script.simulation(4, 8))
            .faults(|call| (1..4).contains(&call).then_some(errno(libc::EAGAIN)));
        let (ring, kernel) = simulation.build();
        let (done, completions) = channel();
        let builder = Pool::builder().submission(policy);
        let handler = move |_: &Driver, completion: Completion| done.send(completion).unwrap();
        let pool = builder
            .build(ring, |_: &Driver, _: ()| (), handler)
            .unwrap();
        // The reaper waits in the kernel.
        until(|| kernel.enters() == 1);
        pool.driver().try_submit(operation(1)).unwrap();
        let completion = completions.recv_timeout(LOST).expect("it is submitted");
        assert_eq!(completion.user_data(), 1);
    }
}

/// Ends the submitter, also of a test that fails.
pub struct Stop<'d>(pub &'d Driver);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop_serving();
    }
}

/// As above, with nobody who waits: the submitter tries again by itself.
#[test]
fn a_submitter_tries_again() {
    let script = Script::default();
    let simulation =
        (script.simulation(4, 8)).faults(|call| (call < 3).then_some(errno(libc::ENOMEM)));
    let (ring, _) = simulation.build();
    let settings = Driver::builder().submission(POLICIES[1]);
    let driver = settings.build(ring).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| driver.serve());
        let _stop = Stop(&driver);
        driver.try_submit(operation(1)).unwrap();
        until(|| driver.reap(|_| ()) == 1);
    });
    assert!(driver.stats().refusals >= 3);
}

/// The first cancel comes too early for an operation that is just being pushed.
#[test]
fn what_is_pushed_behind_the_cancel_is_cancelled_too() {
    let script = Script::default();
    let (ring, kernel) = script.simulation(4, 8).build();
    let driver = Driver::builder().build(ring).unwrap();
    driver.try_submit(operation(HELD)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let heard = script.heard.lock().unwrap();
            let Ok(Said::Held(user_data)) = heard.recv() else {
                panic!("not held");
            };
            for _ in 0..3 {
                let said = heard.recv_timeout(LOST / 4);
                assert!(matches!(said, Ok(Said::Cancel)), "no cancel");
            }
            assert!(kernel.complete(user_data, -libc::ECANCELED));
        });
        assert_eq!(driver.quiesce(Some(LOST), |_| ()), Ok(()));
    });
    assert_eq!(driver.stats().completed, 1);
}

/// A wake that could not be sent stands for no later one.
#[test]
fn a_wake_that_fails_is_sent_again() {
    let script = Script::default();
    let (ring, kernel) = script.simulation(4, 8).without_messages().build();
    let driver = Driver::builder().build(ring.clone()).unwrap();
    let sq = ring.sq();
    let all = sq.pop_batch(4).unwrap();
    assert_eq!(driver.wake(), Err(EnterError::Busy));
    drop(all);
    ring.submit().unwrap();
    let before = kernel.consumed();
    assert_eq!((driver.wake(), driver.wake()), (Ok(()), Ok(())));
    // The second stood for the first.
    assert_eq!(kernel.consumed(), before + 1);
}

/// Whoever waits for an SQE is told when a reaper has submitted what was left, at whichever
/// enter it is that the kernel takes it.
#[test]
fn who_waits_for_an_sqe_is_told_of_a_late_submit() {
    for last in 4..16 {
        let script = Script::default();
        let simulation = (script.simulation(1, 8))
            .faults(move |call| (1..last).contains(&call).then_some(errno(libc::EAGAIN)));
        let (ring, kernel) = simulation.build();
        let builder = Pool::builder().submission(POLICIES[0]);
        let pool = builder
            .build(ring, |_: &Driver, _: ()| (), |_: &Driver, _: Completion| ())
            .unwrap();
        until(|| kernel.enters() == 1);
        pool.driver().try_submit(operation(HELD)).unwrap();
        let start = Instant::now();
        let submitted = pool.driver().submit(operation(HELD), Some(LOST));
        assert!(submitted.is_ok(), "{submitted:?}");
        assert!(start.elapsed() < LOST / 2, "nobody told, at {last}");
        for _ in 0..2 {
            let Ok(Said::Held(user_data)) = script.heard.lock().unwrap().recv_timeout(LOST) else {
                panic!("not submitted");
            };
            assert!(kernel.complete(user_data, 0));
        }
    }
}

/// A request that the kernel has not answered keeps nothing of those that it has.
#[test]
fn the_file_of_an_answered_cancel_is_closed() {
    let mut requests = 0;
    let simulation = Ring::simulated(8).cq_entries(16);
    let (ring, _kernel) = simulation
        .script(move |sqe, fate| {
            requests += u32::from(parts(sqe).0 == op::ASYNC_CANCEL);
            match requests {
                0 | 1 => fate.hold(),
                _ => fate.complete(0),
            }
        })
        .build();
    let driver = Driver::builder().build(ring).unwrap();
    driver.try_submit(operation(HELD)).unwrap();
    driver.cancel_all();
    let (mut read, write) = std::io::pipe().unwrap();
    driver.cancel_file(write.as_fd()).unwrap();
    assert_eq!(driver.reap(|event| panic!("{event:?}")), 0);
    drop(write);
    // SAFETY: sets a flag of this file's.
    let flags = unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(flags, 0);
    assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
}

/// However often a wake is refused, it is one NOP; and a driver with a submitter leaves the
/// entering to it.
#[test]
fn a_wake_is_one_nop() {
    let script = Script::default();
    let faults = |call| (call < 20).then_some(errno(libc::EAGAIN));
    let simulation = script.simulation(4, 8).without_messages();
    let (ring, kernel) = simulation.faults(faults).build();
    let driver = Driver::builder().build(ring).unwrap();
    while driver.wake() == Err(EnterError::Busy) {}
    assert_eq!((driver.wake(), kernel.consumed()), (Ok(()), 1));

    let (ring, kernel) = script.simulation(4, 8).without_messages().build();
    let driver = Driver::builder().submission(POLICIES[1]).build(ring);
    let driver = driver.unwrap();
    driver.wake().unwrap();
    assert_eq!(kernel.enters(), 0);
    driver.stop_serving();
    driver.serve();
    assert_eq!(kernel.consumed(), 1);
}

/// Operations that are only pushed go with the flush, in one enter; or where the SQ is full,
/// to make room.
#[test]
fn what_is_pushed_is_submitted_by_the_flush() {
    let script = Script::default();
    let (ring, kernel) = script.simulation(4, 16).build();
    let driver = Driver::builder().build(ring).unwrap();
    let push = |i| driver.try_push(operation(i)).map(drop).unwrap();
    (0..4).for_each(push);
    assert_eq!((kernel.enters(), driver.reap(|_| ())), (0, 0));
    push(4);
    assert_eq!((kernel.enters(), kernel.consumed()), (1, 4));
    driver.flush();
    assert_eq!((kernel.enters(), kernel.consumed()), (2, 5));
    assert_eq!(
        next_of::<5>(&driver).map(|told| told.user_data()),
        [0, 1, 2, 3, 4]
    );
}

/// Where a wake is an SQE: also when the submitter has ended, which is before the others do.
#[test]
fn a_pool_ends_without_messages() {
    for policy in POLICIES {
        let script = Script::default();
        let (ring, _kernel) = script.simulation(8, 16).without_messages().build();
        let builder = Pool::builder().submission(policy).reapers(3);
        let pool = builder
            .build(ring, |_: &Driver, _: ()| (), |_: &Driver, _: Completion| ())
            .unwrap();
        for i in 0..10 {
            pool.driver().submit(operation(i), Some(LOST)).unwrap();
        }
        let shutdown = pool.shutdown(Some(LOST)).unwrap();
        assert!(shutdown.is_clean(), "{policy:?}: {shutdown:?}");
    }
}
