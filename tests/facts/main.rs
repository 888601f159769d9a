//! What kernels do, one table for each fact: what the queues rely on, and what differs from
//! one kernel to the next. A kernel that does otherwise is seen here first.
#![allow(
    clippy::disallowed_types,
    reason = "what the tests count is not what the ring shares"
)]

#[path = "../child/mod.rs"]
mod child;
mod denied;
mod ends;
mod legacy;
mod matrix;
mod modes;
mod nvme;
mod overflow;
#[path = "../child/raw_ring.rs"]
mod raw_ring;
#[path = "../child/refuse.rs"]
mod refuse;
mod rewind;
mod waiters;

use std::fs;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use child::here;
use raw_ring::PATIENCE;

/// The number by which a thread is found, told by itself.
#[derive(Default)]
struct Tid(AtomicI32);

impl Tid {
    fn tell(&self) {
        // SAFETY: the call takes nothing.
        self.0.store(unsafe { libc::gettid() }, Ordering::Release);
    }

    /// Waits until the thread has told, and sleeps: it does nothing in between that sleeps.
    #[track_caller]
    fn wait_for_sleep(&self) {
        let start = Instant::now();
        while !self.sleeps() {
            assert!(start.elapsed() < PATIENCE, "the thread does not sleep");
            thread::yield_now();
        }
    }

    fn sleeps(&self) -> bool {
        let tid = self.0.load(Ordering::Acquire);
        if tid == 0 {
            return false;
        }
        let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
        // The state is behind the name, which is in brackets.
        stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('S')))
    }
}

/// Long for a thread that has been woken to show it.
const WOKEN: Duration = Duration::from_millis(300);
