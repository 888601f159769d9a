//! The submission queue of one thread: no locked instruction, and no stamp where slots are
//! pushed as they were popped. Rules L1 and L2 of
//! [`crate::ring`].

use super::{Claim, SqQueue};
use crate::ring::index::{Found, Stamp};
use crate::setup::Order;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

#[derive(Default)]
pub(super) struct State {
    /// All users are one thread.
    pub(super) is_so: bool,
    /// In claim order, slots that were pushed behind a gap.
    early: AtomicU32,
    /// A submit found some.
    is_gap_wanted: AtomicBool,
}

impl SqQueue {
    /// As the queue of one thread, before it is used.
    pub(in crate::ring) fn owned(self) -> Self {
        Self {
            local: State {
                is_so: true,
                ..self.local
            },
            ..self
        }
    }

    /// As [`SqQueue::push`]. In either order the cells of what is pushed as it was popped are as
    /// they should be.
    #[inline(always)]
    pub(super) fn push_local(&self, claim: Claim) -> bool {
        // Ordering: Relaxed, here and below; of one thread (rule L1).
        let ready = self.tickets.load(Relaxed);
        if claim.position != ready {
            return self.push_displaced(claim.position, claim.slot, claim.len, claim.linked);
        }
        let next = ready.wrapping_add(u64::from(claim.len));
        self.tickets.store(next, Relaxed);
        self.local.early.load(Relaxed) > 0 && self.fill_gap_local(next)
    }

    /// Pushes before what was popped earlier, or after it, when others have taken its place. The
    /// claim by its fields: so it need not lie in memory where it is not displaced.
    #[cold]
    fn push_displaced(&self, position: u64, slot: u32, len: u32, linked: u32) -> bool {
        match self.order {
            Order::Any => {
                let claim = Claim {
                    position,
                    slot,
                    len,
                    linked,
                };
                let ready = self.tickets.load(Relaxed);
                self.set_indices(ready, claim);
                let next = ready.wrapping_add(u64::from(len));
                self.tickets.store(next, Relaxed);
            }
            Order::Claim => {
                let stamp = Stamp::ready(position, len);
                self.stamp_of(position).store(stamp.0, Relaxed);
                self.local
                    .early
                    .store(self.local.early.load(Relaxed) + len, Relaxed);
            }
        }
        false
    }

    /// Takes what was pushed early behind the gap that ends at `ready` now. True if a submit
    /// wanted it.
    #[cold]
    fn fill_gap_local(&self, mut ready: u64) -> bool {
        let mut early = self.local.early.load(Relaxed);
        while let Found::Ready(len) = self.look_early(ready) {
            ready = ready.wrapping_add(u64::from(len));
            early -= len;
        }
        self.tickets.store(ready, Relaxed);
        self.local.early.store(early, Relaxed);
        let is_wanted = self.local.is_gap_wanted.load(Relaxed);
        self.local.is_gap_wanted.store(false, Relaxed);
        is_wanted
    }

    fn look_early(&self, ticket: u64) -> Found {
        Stamp(self.stamp_of(ticket).load(Relaxed)).look(ticket)
    }

    /// As [`SqQueue::publish`]. There is nothing to walk over.
    #[inline(always)]
    pub(in crate::ring) fn publish_local(&self) -> u64 {
        let ready = self.tickets.load(Relaxed);
        if self.local.early.load(Relaxed) > 0 {
            self.local.is_gap_wanted.store(true, Relaxed);
        }
        self.view.set_tail(ready as u32);
        ready
    }
}
