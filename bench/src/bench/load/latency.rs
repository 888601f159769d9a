//! How long push and submit hold their caller, in an open loop of NOPs.
//!
//! Not every call is timed: the clock costs as much as a call, and a slower loop has other
//! times, since less is there for whoever submits for all.

use std::os::fd::RawFd;
use std::sync::Mutex;

use super::clock::{Clock, Spread, Times, ticks};
use super::random::Random;
use super::{Run, Window, nop};
use crate::design::{Design, Port, Setup};
use crate::op::Op;

/// Calls from one that is timed to the next, on average; at random, or they could all be of one
/// kind.
const EVERY: u64 = 32;

/// What came of a window.
#[derive(Clone, Debug)]
pub struct Latency {
    pub window: Window,
    /// Of the timed calls that pushed, with the clock's cost in each.
    pub calls: Spread,
    /// Nanoseconds.
    pub clock: f64,
}

pub fn window<D: Design>(run: Run) -> Latency {
    let clock = Clock::get().cost;
    let design = Timed::<D>::new(run.threads, run.setup);
    let window = nop::open_on(&design, run, &nop::Nop);
    let times = design.times.into_inner().expect("no panic");
    Latency {
        window,
        calls: times.spread(),
        clock,
    }
}

/// A design that times its calls.
struct Timed<D> {
    design: D,
    times: Mutex<Times>,
}

struct TimedPort<'d, P> {
    port: P,
    random: Random,
    /// Calls until one is timed.
    untimed: u64,
    times: Times,
    all: &'d Mutex<Times>,
}

impl<D: Design> Design for Timed<D> {
    type Port<'d>
        = TimedPort<'d, D::Port<'d>>
    where
        D: 'd;

    const SERVES: bool = D::SERVES;
    const SHARED: bool = D::SHARED;

    fn new(threads: u32, setup: Setup) -> Self {
        Self {
            design: D::new(threads, setup),
            times: Mutex::default(),
        }
    }

    fn port(&self, thread: u32) -> Self::Port<'_> {
        TimedPort {
            port: self.design.port(thread),
            random: Random::new(thread.into()),
            untimed: 0,
            times: Times::default(),
            all: &self.times,
        }
    }

    fn serve(&self, is_over: &dyn Fn() -> bool) {
        self.design.serve(is_over);
    }
}

impl<P: Port> Port for TimedPort<'_, P> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        seen: &mut impl FnMut(u64, i32),
    ) -> bool {
        let from = (self.untimed == 0).then(ticks);
        let is_pushed = self.port.submit(len, next, seen);
        let Some(from) = from else {
            self.untimed -= 1;
            return is_pushed;
        };
        let time = ticks() - from;
        // Whatever came of it: to time the next instead would choose among calls.
        self.untimed = self.random.below(2 * EVERY);
        if is_pushed && len > 0 {
            self.times.add(time);
        }
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.port.reap(seen)
    }

    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.port.wait(seen)
    }

    fn ring(&self) -> RawFd {
        self.port.ring()
    }
}

impl<P> Drop for TimedPort<'_, P> {
    fn drop(&mut self) {
        self.all.lock().expect("no panic").merge(&self.times);
    }
}
