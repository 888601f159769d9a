//! Waiting: rules W1 to W4. A lost wake-up is a deadlock, which loom reports.

use crate::harness::{Log, Model, simulated, together, witness};
use ringway::Order::Any;
use ringway::sim::Kernel;
use ringway::{Cq, Ring, Waited};
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
        floor: 170_000,
        ..Model::new("leader_hand_over", || two_waiters(wait_then_reap))
    },
    Model {
        aims: &["NO_BATON"],
        bound: Some(2),
        witnesses: &["follower sleeps", "follower leads"],
        floor: 100_000,
        ..Model::new("leader_reaps_first", || two_waiters(wait_reap))
    },
    Model {
        aims: &["LEAVE_WOKEN"],
        bound: Some(2),
        witnesses: &["follower sleeps", "follower leads", "timed out"],
        floor: 210_000,
        ..Model::new("follower_times_out", follower_times_out)
    },
    Model {
        witnesses: &["slept", "did not sleep"],
        floor: 670,
        ..Model::new("wake_park", wake_park)
    },
    Model {
        aims: &["NO_BATON"],
        bound: Some(1),
        witnesses: &["follower sleeps", "stopped with work done"],
        floor: 15_000,
        ..Model::new("shutdown_park", shutdown_park)
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
