//! Threads that wait on one ring: whom a completion wakes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::raw_ring::*;
use super::{Tid, WOKEN, here};

/// Lets threads wait for as many completions as `wants` says, in that order, then posts
/// one. Whose waits it ended; all have ended when this returns.
fn ended_by_one(wants: &[u32]) -> Vec<usize> {
    let ring = Raw::make(params(0));
    let threads: Vec<(Tid, AtomicBool)> = wants.iter().map(|_| Default::default()).collect();
    let ended = || -> Vec<usize> {
        let all = threads.iter().enumerate();
        let ended = all.filter(|(_, (_, ended))| ended.load(Ordering::Acquire));
        ended.map(|(thread, _)| thread).collect()
    };
    thread::scope(|scope| {
        for (&want, (tid, ended)) in wants.iter().zip(&threads) {
            let ring = &ring;
            scope.spawn(move || {
                tid.tell();
                assert_eq!(ring.enter(0, want, GETEVENTS), Ok(0));
                ended.store(true, Ordering::Release);
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
        while start.elapsed() < WOKEN && ended().len() < wants.len() {
            thread::yield_now();
        }
        let by_one = ended();
        while ended().len() < wants.len() {
            assert!(start.elapsed() < PATIENCE, "a thread sleeps for ever");
            submit();
            thread::sleep(WOKEN / 30);
        }
        by_one
    })
}

/// Why there is one leader: one completion wakes all.
#[test]
fn a_completion_ends_all_waits() {
    assert_eq!(ended_by_one(&[1, 1, 1, 1]), [0, 1, 2, 3]);
}

/// Why a shared ring waits for one completion only: a thread that wants more stands in
/// front of the others, and hides the wake-up from them. Not so on some kernels in between.
#[test]
fn one_that_waits_for_more_hides_the_wake_up() {
    let all: Vec<_> = (0..5).map(|_| ended_by_one(&[1, 2])).collect();
    assert_eq!(all, [(); 5].map(|()| vec![0]), "the first gets it");
    let all: Vec<_> = (0..5).map(|_| ended_by_one(&[2, 1])).collect();
    let second: &[usize] = here(&[("5.10", &[][..]), ("6.1", &[1]), ("6.18", &[])]);
    assert_eq!(all, [second; 5], "whether the second sleeps on");
}

/// To submit more than there is, is to not wait.
#[test]
fn a_submit_of_less_than_was_said_does_not_wait() {
    let ring = Raw::make(params(0));
    ring.push_nop();
    assert_eq!(ring.enter(2, 8, GETEVENTS), Ok(1));
    assert_eq!(ring.ready(), 1);
}
