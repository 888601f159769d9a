//! The numbers of a driver.

use super::driver::Shared;
use crate::ring::EnterError;
use crate::sync::Tally;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::syscall::Errno;
use crossbeam_utils::CachePadded;

/// What a [`Driver`](super::Driver) has done so far, and what is under way; each number by
/// itself, taken while the others go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Permits held: completions that may be on their way.
    pub in_flight: u32,
    /// Permits there are.
    pub permits: u32,
    /// Operations taken so far: those that have completed, and those in the table now.
    pub accepted: u64,
    /// Operations that have ended: their last CQE was reaped.
    pub completed: u64,
    /// Times that a submit was asked of the ring; several that meet share one enter.
    pub submits: u64,
    /// Times that the kernel was entered, to submit, wait or flush.
    pub enters: u64,
    /// CQEs reaped.
    pub cqes: u64,
    /// Batches that they came in.
    pub batches: u64,
    /// Times that the kernel held completions back for want of room, or of this thread's
    /// attention, and was entered for them.
    pub flushes: u64,
    /// CQEs that named no operation in flight.
    pub stale: u64,
    /// Wakes sent.
    pub wakes: u64,
    /// Times that the kernel would not submit or wait; each was, or will be, tried again.
    pub refusals: u64,
}

/// Counted where they happen; each side on a line of its own.
pub(super) struct Counters {
    pub(super) submits: CachePadded<Tally>,
    pub(super) cqes: CachePadded<Tally>,
    pub(super) batches: Tally,
    pub(super) completed: Tally,
    pub(super) stale: Tally,
    pub(super) wakes: Tally,
    refusals: Tally,
    /// Set for good when the ring is of no use any more.
    fatal: AtomicU32,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            submits: CachePadded::default(),
            cqes: CachePadded::default(),
            batches: Tally::default(),
            completed: Tally::default(),
            stale: Tally::default(),
            wakes: Tally::default(),
            refusals: Tally::default(),
            fatal: AtomicU32::new(0),
        }
    }

    /// Remembers what the kernel said.
    #[cold]
    pub(super) fn refused(&self, error: EnterError) {
        self.refusals.add(1);
        if matches!(error, EnterError::CompletionLost | EnterError::SqThreadDead) {
            self.end(error);
        }
    }

    /// The ring is of no use any more.
    pub(super) fn end(&self, error: EnterError) {
        // Ordering: Relaxed; a flag that stands for itself.
        self.fatal
            .store(error.errno().raw().cast_unsigned(), Relaxed);
    }

    #[inline(always)]
    pub(super) fn fatal(&self) -> Option<EnterError> {
        // Ordering: Relaxed; a flag that stands for itself.
        match self.fatal.load(Relaxed) {
            0 => None,
            raw => Some(EnterError::of(Errno::from_raw(raw.cast_signed()))),
        }
    }
}

impl Shared {
    pub(super) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let completed = counters.completed.get();
        Stats {
            accepted: completed + self.table.count(),
            completed,
            in_flight: self.permits.held(),
            permits: self.permits.total(),
            submits: counters.submits.get(),
            enters: self.ring.core.submitter.enters(),
            flushes: self.ring.core.submitter.flushes.get(),
            cqes: counters.cqes.get(),
            batches: counters.batches.get(),
            stale: counters.stale.get(),
            wakes: counters.wakes.get(),
            refusals: counters.refusals.get(),
        }
    }
}
