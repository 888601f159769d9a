//! The submission queue of one thread: no locked instruction, and no stamp where slots are
//! pushed as they were popped. Rules L1, L2 and L4 of
//! [`crate::ring`].

use super::{Claim, SqQueue};
use crate::ring::Local;
use crate::ring::index::{Found, Stamp};
use crate::setup::Order;
use crate::sync::atomic::Ordering::Relaxed;
use std::cell::Cell;

/// What keeps calls from the short way (rule L4).
pub(in crate::ring) mod detour {
    /// In claim order, something was pushed behind a gap.
    pub(super) const GAP: u32 = 1 << 0;
    /// In any order, a cell holds another slot than its own.
    pub(super) const SHUFFLED: u32 = 1 << 1;
    /// SQEs or CQEs are not of the smallest size.
    pub(in crate::ring) const BIG: u32 = 1 << 2;
    /// SQPOLL.
    pub(in crate::ring) const SQ_THREAD: u32 = 1 << 3;
    /// A completion was lost.
    pub(in crate::ring) const POISONED: u32 = 1 << 4;
}

#[derive(Default)]
pub(super) struct State {
    /// All users are one thread.
    pub(super) is_owned: bool,
    detours: Cell<u32>,
    /// In claim order, slots that were pushed behind a gap.
    early: Cell<u32>,
    /// A submit found some.
    is_gap_wanted: Cell<bool>,
}

// SAFETY: only the thread of a local ring touches the cells (rule L1).
unsafe impl Sync for State {}

impl SqQueue {
    /// As the queue of one thread, before it is used.
    pub(in crate::ring) fn owned(self, detours: u32) -> Self {
        let local = State {
            is_owned: true,
            detours: Cell::new(detours),
            ..self.local
        };
        Self { local, ..self }
    }

    /// Whether a local ring's calls may go the short way (rule L4).
    #[inline(always)]
    pub(in crate::ring) fn is_plain(&self) -> bool {
        self.local.detours.get() == 0
    }

    /// From now on. Of a ring that threads share nothing is noted.
    pub(in crate::ring) fn detour(&self, why: u32) {
        if self.local.is_owned {
            self.local.detours.set(self.local.detours.get() | why);
        }
    }

    /// As [`SqQueue::pop_batch`].
    #[inline(always)]
    pub(super) fn pop_local(&self, len: u32) -> Option<Claim> {
        if self.is_plain() {
            return self.pop_in_claim_order::<Local>(len);
        }
        // Ordering: Relaxed, here and below; of one thread (rule L1).
        let position = self.claims.next.load(Relaxed);
        let (slot, linked) = self.pop_detoured(len)?;
        Some(Claim {
            position,
            slot,
            len,
            linked,
        })
    }

    /// The first slot, and whether the others are linked. Not the claim: so it need not lie in
    /// memory where there is no detour.
    #[cold]
    fn pop_detoured(&self, len: u32) -> Option<(u32, u32)> {
        let claim = match self.order {
            Order::Claim => self.pop_in_claim_order::<Local>(len),
            Order::Any => self.pop_run::<Local>(len),
        }?;
        self.clear_if_big(claim);
        Some((claim.slot, claim.linked))
    }

    /// As [`SqQueue::push`]. In either order the cells of what is pushed as it was popped are as
    /// they should be.
    #[inline(always)]
    pub(super) fn push_local(&self, claim: Claim) -> bool {
        let ready = self.tickets.load(Relaxed);
        if claim.position != ready {
            return self.push_displaced(claim.position, claim.slot, claim.len, claim.linked);
        }
        let next = ready.wrapping_add(u64::from(claim.len));
        self.tickets.store(next, Relaxed);
        !self.is_plain() && self.fill_gap_local(next)
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
                self.detour(detour::SHUFFLED);
            }
            Order::Claim => {
                let stamp = Stamp::ready(position, len);
                self.stamp_of(position).store(stamp.0, Relaxed);
                self.local.early.set(self.local.early.get() + len);
                self.detour(detour::GAP);
            }
        }
        false
    }

    /// Takes what was pushed early behind the gap that ends at `ready` now. True if a submit
    /// wanted it.
    #[cold]
    fn fill_gap_local(&self, mut ready: u64) -> bool {
        let mut early = self.local.early.get();
        if early == 0 {
            return false;
        }
        while let Found::Ready(len) = self.look_early(ready) {
            ready = ready.wrapping_add(u64::from(len));
            early -= len;
        }
        self.tickets.store(ready, Relaxed);
        self.local.early.set(early);
        if early == 0 {
            let others = self.local.detours.get() & !detour::GAP;
            self.local.detours.set(others);
        }
        self.local.is_gap_wanted.replace(false)
    }

    fn look_early(&self, ticket: u64) -> Found {
        Stamp(self.stamp_of(ticket).load(Relaxed)).look(ticket)
    }

    /// As [`SqQueue::publish`]. There is nothing to walk over.
    #[inline(always)]
    pub(in crate::ring) fn publish_local(&self) -> u64 {
        if self.local.early.get() > 0 {
            self.local.is_gap_wanted.set(true);
        }
        self.publish_plain()
    }

    /// As [`SqQueue::publish_local`], where nothing lies behind a gap.
    #[inline(always)]
    pub(in crate::ring) fn publish_plain(&self) -> u64 {
        let ready = self.tickets.load(Relaxed);
        self.view.set_tail(ready as u32);
        ready
    }
}
