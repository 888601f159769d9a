//! The ways to use a ring, or several, from several threads.

pub mod alone;
pub mod combining;
pub mod liburing;
pub mod locked;
pub mod per_thread;
pub mod queued;
pub mod raw;
pub mod raw_locked;
pub mod raw_two;
pub mod ringway;

use std::os::fd::RawFd;

use crate::op::Op;

pub const SQ: u32 = 256;
pub const CQ: u32 = 512;
/// CQEs that one call reaps at most.
pub const REAP: usize = 128;

/// How a ring is set up: the same for all that are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Setup {
    pub no_sqarray: bool,
    /// SINGLE_ISSUER and DEFER_TASKRUN: for rings that one thread enters.
    pub defers: bool,
}

/// What threads share.
pub trait Design: Sync + Sized {
    type Port<'d>: Port
    where
        Self: 'd;

    fn new(threads: u32, setup: Setup) -> Self;

    /// The calling thread's part.
    fn port(&self, thread: u32) -> Self::Port<'_>;

    /// Runs beside the threads until `is_over` says so; most have nothing to run.
    fn serve(&self, is_over: &dyn Fn() -> bool) {
        let _ = is_over;
    }

    /// Whether `serve` wants a thread.
    const SERVES: bool = false;

    /// Whether any thread reaps what any thread has pushed.
    const SHARED: bool = true;
}

/// A thread's part.
pub trait Port {
    /// Pushes so many operations, and sees to it that they are submitted without another
    /// call of this thread's. False if there was no room, for any of them: reap, and try
    /// again. May reap.
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        seen: &mut impl FnMut(u64, i32),
    ) -> bool;

    /// Takes completions that lie ready, of whichever thread, and says how many.
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize;

    /// Sleeps in the kernel until there may be something to reap, and reaps.
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize;

    /// For registrations.
    fn ring(&self) -> RawFd;
}
