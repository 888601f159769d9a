//! The completion queue of one thread: no locked instruction. Rules L1 and L3 of
//! [`crate::ring`].

use super::CqQueue;
use crate::abi::Cqe;
use std::cell::Cell;
use std::hint::cold_path;

/// How far CQEs were read. The head that the kernel sees is as far, but while an iterator is
/// at it (rule L3).
pub(super) struct Taken(Cell<u32>);

// SAFETY: only the thread of a local ring touches it (rule L1).
unsafe impl Sync for Taken {}

impl Taken {
    pub(super) fn new(head: u32) -> Self {
        Self(Cell::new(head))
    }
}

/// Of small CQEs.
impl CqQueue {
    #[inline(always)]
    pub(super) fn pop_local(&self) -> Option<Cqe> {
        let cqe = self.take_until(self.view.tail(), &mut self.taken());
        self.give_back();
        cqe
    }

    #[inline(always)]
    pub(super) fn pop_batch_local(&self, out: &mut [Cqe]) -> usize {
        let head = self.taken.0.get();
        let filled = self.view.tail().wrapping_sub(head);
        // More, if the kernel has overrun the ring.
        let count = out.len().min(filled.min(self.view.entries()) as usize);
        self.view.read_all(head, &mut out[..count]);
        self.taken.0.set(head.wrapping_add(count as u32));
        self.give_back();
        count
    }

    /// How far CQEs were read.
    #[inline(always)]
    pub(in crate::ring) fn taken(&self) -> u32 {
        self.taken.0.get()
    }

    /// Whether a CQE lies ready before a tail.
    #[inline(always)]
    pub(in crate::ring) fn is_before(&self, tail: u32) -> bool {
        tail.wrapping_sub(self.taken()) as i32 > 0
    }

    /// The next one, if it lies before a tail; others may have read past that meanwhile. The
    /// kernel gets its slot later. `near` is how far the caller knows it was read: so it need
    /// not wait for what it stored itself.
    #[inline(always)]
    pub(in crate::ring) fn take_until(&self, tail: u32, near: &mut u32) -> Option<Cqe> {
        if *near != self.taken() {
            cold_path();
            *near = self.taken();
        }
        if !self.is_before(tail) {
            return None;
        }
        let cqe = self.view.read_small(self.view.slot_of(*near));
        *near = near.wrapping_add(1);
        self.taken.0.set(*near);
        Some(cqe)
    }

    /// Lets the kernel have the slots of all that was read.
    #[inline(always)]
    pub(in crate::ring) fn give_back(&self) {
        self.view.set_head(self.taken.0.get());
    }
}
