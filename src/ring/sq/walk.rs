//! The slots of a claim, one after the other.

use crate::sync::UnsafeCell;

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
    /// Whether the slots are found by links, not side by side.
    #[inline(always)]
    pub(crate) fn are_linked(&self) -> bool {
        self.links.is_some()
    }

    /// The slot so far after the next, where they lie side by side.
    #[inline(always)]
    pub(crate) fn neighbour(&self, after: u32) -> u32 {
        self.next.wrapping_add(after) & self.mask
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
