//! The end of a window whose threads sleep in the kernel.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types};

/// What has not completed by then never does.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The user_data of a message that means nothing but to look again. liburing keeps all
/// ones for itself.
pub const WAKE: u64 = 1 << 63;

/// Who watches over the threads of a window.
pub struct Watch {
    rings: Mutex<Vec<RawFd>>,
    over: AtomicBool,
    abandoned: AtomicBool,
    left: AtomicU32,
    threads: u32,
}

impl Watch {
    pub fn new(threads: u32) -> Self {
        Self {
            rings: Mutex::default(),
            over: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            left: AtomicU32::new(0),
            threads,
        }
    }

    /// A thread waits on this ring, until it leaves.
    pub fn add(&self, ring: RawFd) {
        let mut rings = self.rings.lock().expect("no panic");
        if !rings.contains(&ring) {
            rings.push(ring);
        }
    }

    /// No new work from now on.
    #[inline(always)]
    pub fn is_over(&self) -> bool {
        self.over.load(Acquire)
    }

    /// The window is wrong already: what is in flight is not waited for.
    pub fn abandon(&self) {
        self.abandoned.store(true, Release);
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Acquire)
    }

    /// The calling thread waits no more.
    pub fn leave(&self) {
        self.left.fetch_add(1, Release);
    }

    pub fn all_left(&self) -> bool {
        self.left.load(Acquire) == self.threads
    }

    pub fn stop(&self) {
        self.over.store(true, Release);
    }

    /// Wakes the threads until all have left.
    ///
    /// From a ring of its own: no design is relied on to wake its threads at the end, and
    /// one that has lost a completion has its window abandoned.
    pub fn end(&self) {
        self.stop();
        let rings = self.rings.lock().expect("no panic");
        let mut messages = IoUring::new(8).expect("io_uring");
        let start = Instant::now();
        while !self.all_left() {
            let waited = start.elapsed();
            if waited > PATIENCE {
                self.abandon();
            }
            if waited > 2 * PATIENCE {
                eprintln!("a design's threads sleep on, whatever completes on their rings");
                std::process::abort();
            }
            let missing = self.threads - self.left.load(Acquire);
            for _ in 0..missing.div_ceil(rings.len().max(1) as u32) {
                rings.iter().for_each(|&ring| wake(&mut messages, ring));
            }
            thread::sleep(Duration::from_micros(300));
        }
    }
}

/// What comes of it does not matter: it is tried again.
fn wake(messages: &mut IoUring, ring: RawFd) {
    debug_assert_ne!(messages.as_raw_fd(), ring);
    let message = opcode::MsgRingData::new(types::Fd(ring), 0, WAKE, None).build();
    // SAFETY: no memory is named.
    let is_pushed = unsafe { messages.submission().push(&message) }.is_ok();
    if is_pushed {
        let _ = messages.submit_and_wait(1);
    }
    messages.completion().for_each(drop);
}
