//! Threads that wait on one ring: whom a completion wakes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::raw_ring::*;
use super::{Tid, WOKEN, here};

/// Lets threads wait for as many completions as `wants` says, in that order, then posts
/// one. How many waits it ended; all have ended when this returns.
fn ended_by_one(wants: &[u32]) -> usize {
    let ring = Raw::make(params(0));
    let ended = AtomicUsize::new(0);
    let tids: Vec<Tid> = wants.iter().map(|_| Tid::default()).collect();
    thread::scope(|scope| {
        for (&want, tid) in wants.iter().zip(&tids) {
            let (ring, ended) = (&ring, &ended);
            scope.spawn(move || {
                tid.tell();
                assert_eq!(ring.enter(0, want, GETEVENTS), Ok(0));
                ended.fetch_add(1, Ordering::Release);
            });
            tid.wait_for_sleep();
        }
        let submit = || {
            ring.push_nop();
            assert_eq!(ring.submit(), Ok(1));
        };
        submit();
        // Those that are woken are so before the submit returns; they need a CPU to show it.
        let start = Instant::now();
        while start.elapsed() < WOKEN && ended.load(Ordering::Acquire) < wants.len() {
            thread::yield_now();
        }
        let count = ended.load(Ordering::Acquire);
        while ended.load(Ordering::Acquire) < wants.len() {
            assert!(start.elapsed() < PATIENCE, "a thread sleeps for ever");
            submit();
            thread::sleep(WOKEN / 30);
        }
        count
    })
}

/// Why there is one leader: kernels of today wake all for one completion.
#[test]
fn a_completion_ends_one_wait_or_all() {
    let expected = here(&[((5, 10), 1), ((5, 19), 4)]);
    assert_eq!(ended_by_one(&[1, 1, 1, 1]), expected);
}

/// Why a shared ring waits for one completion only: a thread that wants more stands in
/// front of the others, and hides the wake-up from them.
#[test]
fn one_that_waits_for_more_hides_the_wake_up() {
    assert_eq!(ended_by_one(&[1, 2]), 1, "the first gets it");
    let expected = here(&[((5, 10), 0)]);
    assert_eq!(ended_by_one(&[2, 1]), expected, "the second sleeps on");
}

/// To submit more than there is, is to not wait.
#[test]
fn a_submit_of_less_than_was_said_does_not_wait() {
    let ring = Raw::make(params(0));
    ring.push_nop();
    assert_eq!(ring.enter(2, 8, GETEVENTS), Ok(1));
    assert_eq!(ring.ready(), 1);
}
