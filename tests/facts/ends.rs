//! Threads that end, and rings that are closed.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::raw_ring::*;
use super::{Tid, WOKEN};

/// Closing wakes nobody: the thread inside keeps the ring.
#[test]
fn closing_wakes_nobody() {
    let ring = Raw::make(params(0));
    let other = ring.duplicate();
    let (tid, is_over) = (Tid::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let (ring, tid, is_over) = (&ring, &tid, &is_over);
        scope.spawn(move || {
            tid.tell();
            let answer = ring.enter(0, 1, GETEVENTS);
            is_over.store(true, Ordering::Release);
            assert_eq!(answer, Ok(0));
        });
        tid.wait_for_sleep();
        // In place of the descriptor there is now that of a file; the ring lives on by the
        // other one, as it would by the thread alone.
        let null = std::fs::File::open("/dev/null").unwrap();
        let number = ring.descriptor();
        // SAFETY: replaces a descriptor that this test alone uses.
        assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
        let start = Instant::now();
        while start.elapsed() < WOKEN {
            assert!(!is_over.load(Ordering::Acquire), "it was woken");
            thread::yield_now();
        }
        // SAFETY: as above, the other way round.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        ring.push_nop();
        assert_eq!(ring.submit(), Ok(1));
    });
}

/// A poll belongs to the thread that submitted it. When that has ended, the poll is
/// cancelled; not at once, but when the event comes.
#[test]
fn a_thread_that_ends_takes_its_polls_along() {
    const POLL_ADD: u64 = 6;
    const IN: u64 = 1;
    let ring = Raw::make(params(0));
    let (reader, mut writer) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut poll = [0; 8];
            poll[0] = POLL_ADD | (reader.as_raw_fd() as u64) << 32;
            poll[3] = IN << 32;
            poll[4] = 7;
            ring.push(poll);
            assert_eq!(ring.submit(), Ok(1));
        });
    });
    // The thread may be on its way out for a while.
    thread::sleep(WOKEN);
    assert_eq!(ring.enter(0, 0, GETEVENTS), Ok(0));
    assert_eq!(ring.reap(), None);
    writer.write_all(b"!").unwrap();
    assert_eq!(ring.enter(0, 1, GETEVENTS), Ok(0));
    assert_eq!(ring.reap(), Some((7, -libc::ECANCELED)));
}
