//! Back pressure: how many completions may be on their way.

use super::edges;
use super::gate::Gate;
use crate::ring::edges as ring_edges;
use crate::sync::atomic::{AtomicU32, Ordering, Ordering::Relaxed};
use crate::sync::reached;

/// Set when no more are given out.
const CLOSED: u32 = 1 << 31;

/// Set when somebody was refused for want of permits.
const DENIED: u32 = 1 << 30;

/// How many are free.
const FREE: u32 = DENIED - 1;

/// As many permits as CQEs can be taken in. An operation holds one for each CQE of its own
/// that may lie unreaped at a time, from before its push until its last CQE was reaped.
///
/// Rule P1: permits are given back after the head has moved past the CQEs, so whoever gets
/// them enters a kernel that sees the room.
pub(super) struct Permits {
    /// CLOSED, DENIED, and how many are free.
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
        self.word.load(Relaxed) & FREE
    }

    pub(super) fn acquire(&self, count: u32) -> Result<(), NoPermit> {
        // Ordering: Relaxed; a stale word fails the CAS.
        let mut word = self.word.load(Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(NoPermit::Closed);
            }
            if word & FREE < count {
                // Ordering: Relaxed; either this sees what was given back, or whoever gives
                // back sees this.
                word = self.word.fetch_or(DENIED, Relaxed) | DENIED;
                if word & CLOSED == 0 && word & FREE < count {
                    reached("no permit");
                    return Err(NoPermit::Full);
                }
                continue;
            }
            let next = word - count;
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

    /// Gives back permits that were not used, and says so to those who were refused
    /// meanwhile. Not to others who wait: the caller, who waits for something else, would
    /// wake itself.
    pub(super) fn give_back(&self, count: u32, gate: &Gate) {
        // Ordering: Release, see `PERMIT_GIVEN`.
        let before = self.word.fetch_add(count, edges::PERMIT_GIVEN.order());
        if before & DENIED != 0 && !ring_edges::broken("DENIED_SLEEPS") {
            // Ordering: Relaxed; a flag that stands for itself.
            self.word.fetch_and(!DENIED, Relaxed);
            reached("refused for nothing");
            gate.open();
        }
    }

    /// Gives out no more; those who wait learn it.
    pub(super) fn close(&self, gate: &Gate) {
        // Ordering: Relaxed; a flag that stands for itself.
        self.word.fetch_or(CLOSED, Relaxed);
        gate.open();
    }

    /// How many are held.
    pub(super) fn held(&self) -> u32 {
        self.total - self.free()
    }

    /// As [`Permits::held`], in this order with what was given back.
    pub(super) fn held_now(&self, order: Ordering) -> u32 {
        self.total - (self.word.load(order) & FREE)
    }
}
