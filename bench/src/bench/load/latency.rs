//! How long push and submit hold their caller, in an open loop of NOPs.

use std::os::fd::RawFd;
use std::sync::Mutex;

use super::clock::{Clock, Spread, Times, ticks};
use super::{Run, Window, nop};
use crate::design::{Design, Port, Setup};
use crate::op::Op;

/// What came of a window.
#[derive(Clone, Debug)]
pub struct Latency {
    pub window: Window,
    /// Of the calls that pushed, with the clock's cost in each.
    pub calls: Spread,
    /// Calls that found no room.
    pub refused: u64,
    /// Nanoseconds.
    pub clock: f64,
}

pub fn window<D: Design>(run: Run) -> Latency {
    let clock = Clock::get().cost;
    let design = Timed::<D>::new(run.threads, run.setup);
    let window = nop::open_on(&design, run, &nop::Nop);
    let all = design.all.into_inner().expect("no panic");
    Latency {
        window,
        calls: all.times.spread(),
        refused: all.refused,
        clock,
    }
}

/// A design that times its calls.
struct Timed<D> {
    design: D,
    all: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    times: Times,
    refused: u64,
}

struct TimedPort<'d, P> {
    port: P,
    calls: Calls,
    all: &'d Mutex<Calls>,
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
            all: Mutex::default(),
        }
    }

    fn port(&self, thread: u32) -> Self::Port<'_> {
        TimedPort {
            port: self.design.port(thread),
            calls: Calls::default(),
            all: &self.all,
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
        let from = ticks();
        let is_pushed = self.port.submit(len, next, seen);
        let time = ticks() - from;
        match (is_pushed, len) {
            (true, 1..) => self.calls.times.add(time),
            (false, 1..) => self.calls.refused += 1,
            // The end of a window, which pushes nothing.
            _ => {}
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
        let mut all = self.all.lock().expect("no panic");
        all.times.merge(&self.calls.times);
        all.refused += self.calls.refused;
    }
}
