//! What all handles of a ring share.

use super::cq::CqQueue;
use super::kernel::{By, Enter, Kernel};
#[cfg(not(ringway_loom))]
use super::sq::local::detour;
use super::sq::{Claim, SqQueue};
use super::submit::Submitter;
use super::view::{CqView, SqView};
use super::wait::Seat;
use super::{Batch, EnterError, Owner, Ring, Slot};
use crate::abi::{Cqe, Params, enter, setup};
use crate::mapping::Pointers;
use crate::setup::Order;
use crate::sync::ReadMarks;
use crossbeam_utils::CachePadded;

pub(crate) struct Core {
    pub(super) sq: SqQueue,
    pub(super) cq: CqQueue,
    pub(crate) submitter: CachePadded<Submitter>,
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
        max_passes: u32,
    ) -> Self {
        let has = |flag| params.flags & flag != 0;
        // SAFETY: the caller's promise; the kernel is dropped after the views.
        let (sq, cq) = unsafe { (SqView::new(pointers), CqView::new(pointers)) };
        let start = u64::from(sq.tail());
        Self {
            sq: SqQueue::new(sq, order),
            cq: CqQueue::new(cq, cq_marks),
            submitter: CachePadded::new(Submitter::new(start)),
            seat: CachePadded::new(Seat::new()),
            #[cfg(not(ringway_loom))]
            params,
            is_sqpoll: has(setup::SQPOLL),
            must_poll: (has(setup::IOPOLL) && !has(setup::SQPOLL))
                || (has(setup::COOP_TASKRUN | setup::DEFER_TASKRUN) && !has(setup::TASKRUN_FLAG)),
            max_passes,
            kernel,
        }
    }

    /// The core of a ring that one thread uses (rule L1).
    #[cfg(not(ringway_loom))]
    pub(super) fn owned(mut self) -> Self {
        let detours = self.detours();
        self.sq = self.sq.owned(detours);
        self
    }

    /// Those that a local ring begins with (rule L4).
    #[cfg(not(ringway_loom))]
    pub(super) fn detours(&self) -> u32 {
        let is_big = self.sq.view.sqes().are_big() || !self.cq.is_small();
        let of = |has, why| if has { why } else { 0 };
        of(is_big, detour::BIG) | of(self.is_sqpoll, detour::SQ_THREAD)
    }

    /// Posts a CQE, without the submission queue.
    pub(crate) fn post(&self, user_data: u64) -> Result<(), EnterError> {
        self.kernel.post(user_data).map_err(EnterError::of)
    }

    /// Submits everything and waits for `want` completions, by the one thread that enters.
    pub(crate) fn submit_and_wait(&self, want: u32) -> Result<(), EnterError> {
        self.check_poison()?;
        let tail = self.sq.publish_all() as u32;
        // Exact: after a submit of less than it was asked for, the kernel does not wait.
        let request = Enter {
            to_submit: tail.wrapping_sub(self.sq.view.head_hint()),
            min_complete: want,
            flags: enter::GETEVENTS,
            ..Enter::default()
        };
        self.waited(self.kernel.enter(request))?;
        match self.sq.view.head_hint() == tail {
            true => Ok(()),
            false => Err(EnterError::Busy),
        }
    }

    /// Whether this is a forked child of the process that made the ring: it has none of the
    /// ring's memory, and may only drop what it inherited.
    pub(crate) fn is_inherited(&self) -> bool {
        match &self.kernel {
            #[cfg(not(ringway_loom))]
            Kernel::Real(real) => !real.mapping.is_ours(),
            #[cfg(any(feature = "sim", ringway_loom))]
            Kernel::Simulated(_) => false,
        }
    }

    /// What lies in the CQ; whoever calls has entered for what does not.
    pub(crate) fn reap_ready(&self, out: &mut [Cqe]) -> usize {
        self.cq.pop_batch::<Ring>(out)
    }

    /// Changes when the kernel has taken SQEs.
    pub(crate) fn taken(&self) -> u32 {
        self.sq.view.head_hint()
    }

    /// Whether what was dropped can be silent.
    pub(super) fn can_skip_cqes(&self) -> bool {
        match &self.kernel {
            #[cfg(not(ringway_loom))]
            Kernel::Real(_) => self.params.features & crate::abi::features::CQE_SKIP != 0,
            #[cfg(any(feature = "sim", ringway_loom))]
            Kernel::Simulated(_) => true,
        }
    }

    pub(crate) fn is_sqpoll(&self) -> bool {
        self.is_sqpoll
    }

    /// Whether the SQ is full of what an SQ thread has yet to take.
    pub(crate) fn awaits_sq_thread(&self) -> bool {
        let view = &self.sq.view;
        self.is_sqpoll && view.tail().wrapping_sub(view.head_hint()) == view.entries()
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Slot<'_>> {
        self.sq.pop::<Ring>().map(|claim| Slot::new(self, claim))
    }

    #[inline(always)]
    pub(crate) fn pop_batch(&self, len: u32) -> Option<Batch<'_>> {
        let claim = self.sq.pop_batch::<Ring>(len)?;
        Some(Batch::new(self, claim))
    }

    #[inline(always)]
    pub(super) fn push<R: Owner>(&self, claim: Claim) {
        if self.sq.push::<R>(claim) {
            self.fill_gap();
        }
    }

    /// Submits for those who found this push's slot unready (rule S6). A refusal is
    /// noted as a debt (rule E5).
    #[cold]
    pub(super) fn fill_gap(&self) {
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
        // Two attempts: a ring that is full of pushed operations has room after a submit; or
        // with an SQ thread, when that has taken some.
        let mut attempts = 2;
        while attempts > 0 {
            if let Some(claim) = self.sq.pop::<Ring>() {
                let mut slot = Slot::<Ring>::new(self, claim);
                // SAFETY: a NOP holds no pointer.
                unsafe { slot.prep_nop() }.user_data(user_data);
                slot.push();
                return self.submit();
            }
            self.submit()?;
            match self.awaits_sq_thread() {
                true => self.wait_for_space(By::Ring)?,
                false => attempts -= 1,
            }
        }
        Err(EnterError::Busy)
    }
}
