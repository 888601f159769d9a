//! Back pressure: how many completions may be on their way.

use super::edges;
use super::gate::Gate;
use crate::sync::atomic::{AtomicU32, Ordering, Ordering::Relaxed};
use crate::sync::reached;

/// Set when no more are given out.
const CLOSED: u32 = 1 << 31;

/// As many permits as CQEs can be taken in. An operation holds one for each CQE of its own
/// that may lie unreaped at a time, from before its push until its last CQE was reaped.
///
/// Rule P1: permits are given back after the head has moved past the CQEs, so whoever gets
/// them enters a kernel that sees the room.
pub(super) struct Permits {
    /// CLOSED, and how many are free.
    word: AtomicU32,
    total: u32,
}

/// Why there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPermit {
    Full,
    Closed,
}

impl Permits {
    pub(super) fn new(total: u32) -> Self {
        Self {
            word: AtomicU32::new(total),
            total,
        }
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    pub(super) fn free(&self) -> u32 {
        // Ordering: Relaxed; a snapshot.
        self.word.load(Relaxed) & !CLOSED
    }

    pub(super) fn acquire(&self, count: u32) -> Result<(), NoPermit> {
        // Ordering: Relaxed; a stale word fails the CAS, or says "full" to a caller that
        // looks again behind the gate's fence.
        let mut word = self.word.load(Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(NoPermit::Closed);
            }
            let Some(next) = word.checked_sub(count) else {
                reached("no permit");
                return Err(NoPermit::Full);
            };
            // Ordering: Acquire, see `PERMIT_TAKEN`. Relaxed on failure: tried again.
            let taken = edges::PERMIT_TAKEN.order();
            match (self.word).compare_exchange(word, next, taken, Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Gives permits back, and says so to those who wait.
    pub(super) fn release(&self, count: u32, gate: &Gate) {
        // Ordering: Release, see `PERMIT_GIVEN`.
        self.word.fetch_add(count, edges::PERMIT_GIVEN.order());
        gate.open();
    }

    /// Gives out no more; those who wait learn it.
    pub(super) fn close(&self, gate: &Gate) {
        // Ordering: Relaxed; a flag that stands for itself.
        self.word.fetch_or(CLOSED, Relaxed);
        gate.open();
    }

    pub(super) fn is_closed(&self) -> bool {
        // Ordering: Relaxed; a flag that stands for itself.
        self.word.load(Relaxed) & CLOSED != 0
    }

    /// How many are held.
    pub(super) fn held(&self) -> u32 {
        self.total - self.free()
    }

    /// As [`Permits::held`], in this order with what was given back.
    pub(super) fn held_now(&self, order: Ordering) -> u32 {
        self.total - (self.word.load(order) & !CLOSED)
    }
}
