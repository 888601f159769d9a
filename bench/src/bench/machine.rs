//! The machine: where threads run, how far its CPUs are apart, what else it does.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

/// How many CPUs are online, wherever this thread may run.
pub fn cpus() -> u32 {
    // SAFETY: takes no pointer.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    online.max(1) as u32
}

/// The calling thread runs on this CPU from now on, counted round.
pub fn pin(cpu: u32) {
    // SAFETY: a set of CPUs is plain data; the kernel reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET((cpu % cpus()) as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// The round trip of one cache line between the first two CPUs.
pub fn line_round_trip() -> Duration {
    const TURNS: u32 = 2_000;
    let line = crossbeam_utils::CachePadded::new(AtomicU64::new(0));
    let mut best = Duration::MAX;
    for _ in 0..5 {
        line.store(0, SeqCst);
        let time = thread::scope(|threads| {
            threads.spawn(|| {
                pin(0);
                for turn in 0..u64::from(TURNS) {
                    while line.load(Acquire) != 2 * turn + 1 {
                        std::hint::spin_loop();
                    }
                    line.store(2 * turn + 2, Release);
                }
            });
            let timed = threads.spawn(|| {
                pin(1);
                let start = Instant::now();
                for turn in 0..u64::from(TURNS) {
                    line.store(2 * turn + 1, Release);
                    while line.load(Acquire) != 2 * turn + 2 {
                        std::hint::spin_loop();
                    }
                }
                start.elapsed()
            });
            timed.join().expect("no panic")
        });
        best = best.min(time / TURNS);
    }
    best
}

/// What the scheduler says of the calling thread.
pub struct Schedule {
    start: Instant,
    waited: u64,
}

impl Schedule {
    pub fn now() -> Self {
        Self {
            waited: waited(),
            start: Instant::now(),
        }
    }

    /// The share of the time since that this thread was ready and did not run.
    pub fn delayed(&self) -> f64 {
        let waited = waited().saturating_sub(self.waited) as f64;
        waited / self.start.elapsed().as_nanos() as f64
    }
}

/// Nanoseconds on a run queue: the second number of the file.
fn waited() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let number = text.split_whitespace().nth(1);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
