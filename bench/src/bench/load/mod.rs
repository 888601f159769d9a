//! What the designs are made to do. Each window is verified.

pub mod clock;
pub mod idle;
pub mod latency;
pub mod nop;
pub mod pingpong;
mod random;
pub mod read;
pub mod wake;
pub mod watch;

use std::time::{Duration, Instant};

use crate::design::Setup;

/// One window of one design.
#[derive(Clone, Copy)]
pub struct Run {
    pub threads: u32,
    pub batch: u32,
    pub setup: Setup,
    pub window: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Window {
    pub operations: u64,
    pub time: Duration,
    /// The largest share of a thread's time that it was ready and did not run.
    pub delayed: f64,
    /// What did not happen exactly once.
    pub wrong: Option<String>,
}

impl Window {
    /// Millions of operations a second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.time.as_secs_f64() / 1e6
    }
}

/// A thread's own count of the completions that it has seen.
///
/// Numbers of one thread go from 0 up, so their count, sum and sum of squares, modulo
/// 2^64, tell a lost one and a doubled one.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Seen {
    pub count: u64,
    sum: u64,
    squares: u64,
}

/// Numbers of thread `t` start at `t << SHIFT`.
pub const SHIFT: u32 = 40;

impl Seen {
    #[inline(always)]
    pub fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(number);
        self.squares = self.squares.wrapping_add(number.wrapping_mul(number));
    }

    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.squares = self.squares.wrapping_add(other.squares);
    }

    /// What `thread` pushed.
    pub fn numbers(thread: u32, count: u64) -> Self {
        let mut all = Self::default();
        let first = u64::from(thread) << SHIFT;
        (first..first + count).for_each(|number| all.add(number));
        all
    }
}

/// How one thread of a window ended.
pub struct Part {
    pub pushed: Seen,
    pub seen: Seen,
    pub start: Instant,
    pub end: Instant,
    pub delayed: f64,
    /// Completions with an error.
    pub failed: u64,
}

/// The whole of a window.
pub fn whole(parts: &[Part]) -> Window {
    let (mut pushed, mut seen) = (Seen::default(), Seen::default());
    for part in parts {
        pushed.merge(part.pushed);
        seen.merge(part.seen);
    }
    let failed: u64 = parts.iter().map(|part| part.failed).sum();
    let wrong = match (failed, pushed == seen) {
        (0, true) => None,
        (0, false) => Some(format!("pushed {pushed:?}, seen {seen:?}")),
        _ => Some(format!("{failed} operations failed")),
    };
    let start = parts.iter().map(|part| part.start).min();
    let end = parts.iter().map(|part| part.end).max();
    Window {
        operations: seen.count,
        time: end
            .zip(start)
            .map_or(Duration::ZERO, |(end, start)| end - start),
        delayed: parts.iter().map(|part| part.delayed).fold(0.0, f64::max),
        wrong,
    }
}
