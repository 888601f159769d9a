//! Short times: by the time stamp counter where there is one.

use std::sync::OnceLock;
use std::time::Instant;

use hdrhistogram::Histogram;

/// The counter now: nothing before it is still under way, nothing after it has begun.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 has both.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn ticks() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The counter, beside the system's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds.
    pub tick: f64,
    /// Nanoseconds that two looks in a row are apart, the median. Part of each time.
    pub cost: f64,
}

impl Clock {
    /// Found once: takes 20 ms.
    pub fn get() -> Self {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        *CLOCK.get_or_init(|| {
            let (start, from) = (Instant::now(), ticks());
            while start.elapsed().as_millis() < 20 {
                std::hint::spin_loop();
            }
            let (time, to) = (start.elapsed(), ticks());
            let mut costs: Vec<u64> = (0..10_001)
                .map(|_| {
                    let from = ticks();
                    ticks() - from
                })
                .collect();
            costs.sort_unstable();
            let tick = time.as_nanos() as f64 / (to - from) as f64;
            Clock {
                tick,
                cost: costs[costs.len() / 2] as f64 * tick,
            }
        })
    }
}

/// Times of one kind, in ticks until they are read.
pub struct Times(Histogram<u32>);

/// Nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Times {
    /// Of up to 2^36 ticks, to 1 %.
    pub fn new() -> Self {
        Self(Histogram::new_with_max(1 << 36, 2).expect("bounds in order"))
    }

    #[inline(always)]
    pub fn add(&mut self, ticks: u64) {
        self.0.saturating_record(ticks);
    }

    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the same bounds");
    }

    pub fn spread(&self) -> Spread {
        let tick = Clock::get().tick;
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 * tick;
        Spread {
            count: self.0.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 * tick,
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}
