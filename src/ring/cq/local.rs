//! The completion queue of one thread: no locked instruction. Rule L1 of [`crate::ring`].

use super::CqQueue;
use crate::abi::Cqe;

/// Small CQEs that lie ready, from a head on, and are nobody else's.
pub(in crate::ring) struct Run {
    head: u32,
    tail: u32,
}

impl Run {
    #[inline(always)]
    pub(in crate::ring) fn is_over(&self) -> bool {
        self.head == self.tail
    }
}

impl CqQueue {
    #[inline(always)]
    pub(super) fn pop_local(&self) -> Option<Cqe> {
        let mut run = self.run();
        let cqe = self.next_of(&mut run)?;
        self.give_back(&run);
        Some(cqe)
    }

    #[inline(always)]
    pub(super) fn pop_batch_local(&self, out: &mut [Cqe]) -> usize {
        let (head, filled) = self.filled();
        let count = out.len().min(filled as usize);
        self.view.read_all(head, &mut out[..count]);
        self.view.set_head(head.wrapping_add(count as u32));
        count
    }

    /// All that lies ready now.
    #[inline(always)]
    pub(in crate::ring) fn run(&self) -> Run {
        Run {
            head: self.view.head(),
            tail: self.view.tail(),
        }
    }

    #[inline(always)]
    pub(in crate::ring) fn next_of(&self, run: &mut Run) -> Option<Cqe> {
        if run.is_over() {
            return None;
        }
        let cqe = self.view.read_small(self.view.slot_of(run.head));
        run.head = run.head.wrapping_add(1);
        Some(cqe)
    }

    /// Lets the kernel have the slots of what was taken of a run.
    #[inline(always)]
    pub(in crate::ring) fn give_back(&self, run: &Run) {
        self.view.set_head(run.head);
    }
}
