//! What all handles of a ring share.

use super::cq::CqQueue;
use super::kernel::Kernel;
use super::sq::{Claim, SqQueue};
use super::submit::{EnterError, MAX_PASSES, Submitter};
use super::view::{CqView, SqView};
use super::wait::Seat;
use crate::abi::{Params, setup};
use crate::mapping::Pointers;
use crate::setup::Order;
use crate::sync::ReadMarks;
use crossbeam_utils::CachePadded;

pub(crate) struct Core {
    pub(super) sq: SqQueue,
    pub(super) cq: CqQueue,
    pub(super) submitter: CachePadded<Submitter>,
    pub(super) seat: CachePadded<Seat>,
    /// The kernel's answer at setup.
    #[cfg(not(ringway_loom))]
    pub(super) params: Params,
    pub(super) is_sqpoll: bool,
    /// Completions are found only by entering: IOPOLL, or task work without a flag.
    pub(super) must_poll: bool,
    /// Passes of one holder (rule E2).
    pub(crate) max_passes: u32,
    /// Holds the memory that the views point into; last, so dropped last.
    pub(super) kernel: Kernel,
}

impl Core {
    /// # Safety
    ///
    /// `kernel` keeps alive what `pointers` point to (rule V1 of the views), and nobody
    /// else uses the rings' user side.
    pub(crate) unsafe fn new(
        kernel: Kernel,
        pointers: Pointers,
        params: Params,
        order: Order,
        cq_marks: ReadMarks,
    ) -> Self {
        let has = |flag| params.flags & flag != 0;
        // SAFETY: the caller's promise; the kernel is dropped after the views.
        let (sq, cq) = unsafe { (SqView::new(pointers), CqView::new(pointers)) };
        Self {
            sq: SqQueue::new(sq, order),
            cq: CqQueue::new(cq, cq_marks),
            submitter: CachePadded::new(Submitter::new()),
            seat: CachePadded::new(Seat::new()),
            #[cfg(not(ringway_loom))]
            params,
            is_sqpoll: has(setup::SQPOLL),
            must_poll: (has(setup::IOPOLL) && !has(setup::SQPOLL))
                || (has(setup::COOP_TASKRUN | setup::DEFER_TASKRUN) && !has(setup::TASKRUN_FLAG)),
            max_passes: MAX_PASSES,
            kernel,
        }
    }

    #[inline(always)]
    pub(super) fn push(&self, claim: Claim) {
        if self.sq.push(claim) {
            self.fill_gap();
        }
    }

    /// Submits for those who found this push's slot unready (rule S6). A refusal is
    /// noted as a debt (rule E5).
    #[cold]
    fn fill_gap(&self) {
        let _ = self.submit();
    }

    /// Makes whoever waits, or waits next, look: posts a CQE with this `user_data`.
    pub(super) fn wake(&self, user_data: u64) -> Result<(), EnterError> {
        match self.kernel.post(user_data) {
            Ok(()) => Ok(()),
            // Before Linux 6.13 a message needs a ring to come from.
            Err(errno) if errno.raw() == libc::EINVAL => self.wake_by_nop(user_data),
            Err(errno) => Err(EnterError::of(errno)),
        }
    }

    fn wake_by_nop(&self, user_data: u64) -> Result<(), EnterError> {
        // Two attempts: a ring that is full of pushed operations has room after a submit.
        for _ in 0..2 {
            if let Some(claim) = self.sq.pop() {
                let mut slot = super::Slot::<super::Ring>::new(self, claim);
                // SAFETY: a NOP holds no pointer.
                unsafe { slot.prep_nop() }.user_data(user_data);
                slot.push();
                return self.submit();
            }
            self.submit()?;
        }
        Err(EnterError::Busy)
    }
}
