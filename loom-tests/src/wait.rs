//! Waiting: rules W1 to W5. A lost wake-up is a deadlock, which loom reports.

use crate::harness::{Log, Model, push, recorded, simulated, together, witness};
use ringway::Order::{Any, Claim};
use ringway::sim::Kernel;
use ringway::{Cq, EnterError, Errno, Ring, Waited};
use std::time::Duration;

pub const MODELS: &[Model] = &[
    Model {
        witnesses: &["slept", "did not sleep"],
        floor: 2_800,
        ..Model::new("wait_post", wait_post)
    },
    Model {
        aims: &["NO_BATON"],
        bound: Some(2),
        witnesses: &["follower sleeps", "follower leads"],
        floor: 130_000,
        ..Model::new("leader_hand_over", || two_waiters(wait_then_reap))
    },
    Model {
        aims: &["NO_BATON"],
        bound: Some(2),
        witnesses: &["follower sleeps", "follower leads"],
        floor: 55_000,
        ..Model::new("leader_reaps_first", || two_waiters(wait_reap))
    },
    Model {
        aims: &["LEAVE_WOKEN"],
        bound: Some(2),
        witnesses: &["follower sleeps", "follower leads", "timed out"],
        floor: 170_000,
        ..Model::new("follower_times_out", follower_times_out)
    },
    Model {
        witnesses: &["slept", "did not sleep"],
        floor: 670,
        ..Model::new("wake_park", wake_park)
    },
    Model {
        aims: &["SEAT_FREED", "SEAT_TAKEN"],
        bound: Some(2),
        witnesses: &["both told"],
        floor: 170,
        ..Model::new("poisoned_wait", poisoned_wait)
    },
    Model {
        bound: Some(3),
        witnesses: &["waited for space"],
        floor: 31_000,
        ..Model::new("sqpoll_wait_for_space", sqpoll_wait_for_space)
    },
    Model {
        aims: &["NO_BATON"],
        bound: Some(1),
        witnesses: &["follower sleeps", "stopped with work done"],
        floor: 12_000,
        ..Model::new("shutdown_park", shutdown_park)
    },
    Model {
        aims: &["LEAD_LOST"],
        bound: Some(2),
        witnesses: &["lead kept", "follower sleeps", "follower leads"],
        floor: 93_000,
        ..Model::new("lead_kept", lead_kept)
    },
];

/// Under loom: at the next opportunity.
const SOON: Duration = Duration::from_nanos(1);

/// Reaps one, waiting for it.
fn wait_then_reap(cq: &Cq) -> u64 {
    loop {
        if let Some(cqe) = cq.reap() {
            return cqe.user_data();
        }
        cq.wait(None).unwrap();
    }
}

/// The same in one call.
fn wait_reap(cq: &Cq) -> u64 {
    let mut one = [Default::default()];
    loop {
        if cq.wait_reap(&mut one, None).unwrap() == 1 {
            return one[0].user_data();
        }
    }
}

fn ring() -> (Ring, Kernel) {
    simulated(2, Any).build()
}

/// One waiter, one completion.
fn wait_post() {
    let (ring, kernel) = ring();
    let cq = ring.cq();
    let post = kernel.clone();
    together(
        || {
            assert_eq!(wait_then_reap(&cq), 1);
            witness(if kernel.enters() > 0 {
                "slept"
            } else {
                "did not sleep"
            });
        },
        [Box::new(move || post.post(1, 0, 0))],
    );
}

/// Two waiters, two completions, one after the other: both return.
fn two_waiters(wait: fn(&Cq) -> u64) {
    let (ring, kernel) = ring();
    let (one, two) = (ring.cq(), ring.cq());
    let log = Log::default();
    let (first, second) = (log.clone(), log.clone());
    together(
        || {
            kernel.post(1, 0, 0);
            kernel.post(2, 0, 0);
        },
        [
            Box::new(move || first.record(wait(&one))),
            Box::new(move || second.record(wait(&two))),
        ],
    );
    log.assert_each_once(&[1, 2]);
}

/// Two threads that keep the lead over one completion: the one that has its own goes, and the
/// other, asleep or not, gets the second.
fn lead_kept() {
    let (ring, kernel) = ring();
    let log = Log::default();
    let waiter = |log: Log| {
        let mut waiter = ring.cq().waiter(1);
        Box::new(move || {
            let mut one = [Default::default()];
            while waiter.wait_reap(&mut one, None).unwrap() == 0 {}
            log.record(one[0].user_data());
        })
    };
    let (one, two) = (waiter(log.clone()), waiter(log.clone()));
    together(
        || {
            kernel.post(1, 0, 0);
            kernel.post(2, 0, 0);
        },
        [one, two],
    );
    log.assert_each_once(&[1, 2]);
}

/// The leader's time passes, and the follower it wakes is one whose time passes as
/// well: the other follower must not sleep on for that.
fn follower_times_out() {
    let (ring, kernel) = ring();
    let (leader, timed, untimed) = (ring.cq(), ring.cq(), ring.cq());
    together(
        || {
            if leader.wait(Some(SOON)).unwrap() == Waited::TimedOut {
                witness("timed out");
            }
            kernel.post(1, 0, 0);
        },
        [
            Box::new(move || {
                timed.wait(Some(SOON)).unwrap();
            }),
            Box::new(move || {
                untimed.wait(None).unwrap();
            }),
        ],
    );
}

/// A wake against a thread that is about to wait.
fn wake_park() {
    let (ring, kernel) = ring();
    let cq = ring.cq();
    together(
        || ring.wake(7).unwrap(),
        [Box::new(move || {
            assert_eq!(wait_then_reap(&cq), 7);
            witness(if kernel.enters() > 0 {
                "slept"
            } else {
                "did not sleep"
            });
        })],
    );
}

/// Two wakes against two reapers, one of which has work to do first: both stop.
fn shutdown_park() {
    const STOP: u64 = 99;
    let (ring, kernel) = ring();
    kernel.post(1, 0, 0);
    let done = Log::default();
    let reaper = |cq: Cq, done: Log| {
        Box::new(move || {
            while let work @ 0..STOP = wait_then_reap(&cq) {
                done.record(work);
            }
        })
    };
    let (one, two) = (
        reaper(ring.cq(), done.clone()),
        reaper(ring.cq(), done.clone()),
    );
    together(
        || {
            ring.wake(STOP).unwrap();
            ring.wake(STOP).unwrap();
        },
        [one, two],
    );
    done.assert_each_once(&[1]);
    witness("stopped with work done");
}

/// The kernel tells one leader that a completion is lost; whoever follows must not wait
/// for it for ever.
fn poisoned_wait() {
    let lost = |call| (call == 0).then(|| Errno::from_raw(libc::EBADR));
    let (ring, _) = simulated(2, Any).faults(lost).build();
    let (one, two) = (ring.cq(), ring.cq());
    let told = |cq: Cq| assert_eq!(cq.wait(None), Err(EnterError::CompletionLost));
    together(|| told(one), [Box::new(move || told(two))]);
    witness("both told");
}

/// A full queue, and an SQ thread that may be about to sleep.
fn sqpoll_wait_for_space() {
    let (ring, kernel, log) = recorded(simulated(1, Claim).sqpoll());
    let (sq, sq_thread) = (ring.sq(), kernel.clone());
    together(
        || {
            assert!(push(&sq, 1));
            while !push(&sq, 2) {
                sq.wait_for_space().unwrap();
                witness("waited for space");
            }
            sq.submit().unwrap();
            for _ in 0..2 {
                wait_then_reap(&ring.cq());
            }
            kernel.stop();
        },
        [Box::new(move || sq_thread.sq_thread())],
    );
    log.assert_each_once(&[1, 2]);
}
