//! The slots of a claim, one after the other, and both halves of each.

use super::{Claim, SqQueue};
use crate::abi::Sqe;
use crate::sync::UnsafeCell;
use std::ops::Range;

/// The slots of a claim, in order.
pub(crate) struct Walk<'q> {
    /// Any order: the slot after each.
    pub(super) links: Option<&'q [UnsafeCell<u32>]>,
    pub(super) mask: u32,
    pub(super) next: u32,
    /// Slots to come.
    pub(crate) left: u32,
}

impl Walk<'_> {
    /// All of them, where they lie one after the other: not by links, nor round the end.
    #[inline(always)]
    pub(crate) fn run(&self) -> Option<Range<u32>> {
        let is_run = self.links.is_none() && self.left <= self.mask - self.next + 1;
        is_run.then(|| self.next..self.next + self.left)
    }
}

impl Iterator for Walk<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let slot = self.next;
        self.next = match self.links {
            None => slot.wrapping_add(1) & self.mask,
            // SAFETY: the walker owns the claim, and so the links of its slots (rule S1).
            Some(links) if self.left > 0 => links[slot as usize].with_mut(|link| unsafe { *link }),
            Some(_) => slot,
        };
        Some(slot)
    }
}

impl SqQueue {
    /// Makes NOPs of the second halves of SQEs, where they have some: what is prepared is the
    /// first.
    #[inline(always)]
    pub(super) fn clear_if_big(&self, claim: Claim) {
        if self.view.sqes().are_big() {
            self.clear_second_halves(claim);
        }
    }

    #[cold]
    fn clear_second_halves(&self, claim: Claim) {
        // SAFETY: the claim made the slots the caller's, and there is no reference into them yet.
        for slot in unsafe { self.walk(claim) } {
            // SAFETY: as above; the caller has seen that SQEs are big.
            unsafe {
                let half = self.view.sqes().second_half_of(slot);
                half.with_mut(|half| half.write(Sqe::default()));
            }
        }
    }
}
