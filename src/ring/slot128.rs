//! SQEs of 128 bytes: one slot of a ring with SQE128, two neighbours with SQE_MIXED.

use super::sq::Claim;
use super::{Batch, Core, Owner, Ring, Sq};
use crate::abi::{Sqe, op, sqe_flags};
use crate::mapping::EntrySize;
use crate::sync::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A free SQE of 128 bytes, owned: for the operations that need one,
/// [`prep_uring_cmd128`](Slot128::prep_uring_cmd128) and
/// [`prep_nop128`](Slot128::prep_nop128). Otherwise as [`Slot`](super::Slot).
///
/// An operation of 64 bytes may be prepared in it as well; on a ring of mixed sizes the
/// other half is then a NOP that posts no CQE, and the operation is linked to nothing.
#[must_use = "a dropped slot becomes a NOP"]
pub struct Slot128<'r, R: Owner = Ring> {
    batch: Batch<'r, R>,
    halves: [&'r UnsafeCell<Sqe>; 2],
}

// SAFETY: the slot has one owner, whichever thread that is on (rule S1); one of a ring
// that belongs to a thread stays there.
unsafe impl<R: Owner + Send> Send for Slot128<'_, R> {}

impl<'r, R: Owner> Slot128<'r, R> {
    /// The claim is of one big slot, or of two neighbours.
    fn new(core: &'r Core, claim: Claim) -> Self {
        let sqes = core.sq.view.sqes();
        // SAFETY: the slot is the ring's, and big or not the last.
        let halves = unsafe { [sqes.of(claim.slot), sqes.second_half_of(claim.slot)] };
        for half in halves {
            // SAFETY: the claim made both halves ours, and there is no reference into them.
            half.with_mut(|half| unsafe { half.write(Sqe::default()) });
        }
        let batch = Batch::prepared(core, claim);
        Self { batch, halves }
    }

    /// Makes the operation ready for the next submit; see [`Slot::push`](super::Slot::push).
    pub fn push(mut self) {
        if self.batch.len() == 2 && self.opcode < op::NOP128 {
            // A link would be one to the other half, which then tells when the chain breaks.
            self.flags &= !(sqe_flags::IO_LINK | sqe_flags::IO_HARDLINK);
            // SAFETY: both slots are ours, and `self.sqe` is not in use.
            self.halves[1].with_mut(|half| unsafe {
                // SAFETY: a NOP holds no pointer.
                (*half).prep_nop().skip_success();
            });
        }
        self.batch.push();
    }

    /// The command area of the SQE: 80 bytes.
    ///
    /// # Safety
    ///
    /// For commands that hold pointers: what they point to must stay as the command
    /// requires it. They go with the first half that they were written for. The bytes mean
    /// nothing to operations of 64 bytes.
    #[cfg(not(ringway_loom))]
    pub unsafe fn command_mut(&mut self) -> &mut [u8] {
        // SAFETY: all 128 bytes are ours, and `&mut self` keeps other references away.
        unsafe { self.batch.command(true) }
    }
}

impl<R: Owner> Deref for Slot128<'_, R> {
    type Target = Sqe;

    fn deref(&self) -> &Sqe {
        // SAFETY: the slot is ours, and `&self` keeps `&mut` references away.
        self.halves[0].with_mut(|sqe| unsafe { &*sqe })
    }
}

impl<R: Owner> DerefMut for Slot128<'_, R> {
    fn deref_mut(&mut self) -> &mut Sqe {
        // SAFETY: the slot is ours, and `&mut self` keeps other references away.
        self.halves[0].with_mut(|sqe| unsafe { &mut *sqe })
    }
}

impl<R: Owner> fmt::Debug for Slot128<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot128").field(&self.batch).finish()
    }
}

impl Core {
    fn pop128<R: Owner>(&self) -> Option<Slot128<'_, R>> {
        loop {
            let claim = match self.sq.view.sqe_size() {
                EntrySize::Small => return None,
                EntrySize::Big => self.sq.pop::<R>()?,
                EntrySize::Mixed => self.sq.pop_pair::<R>()?,
            };
            if claim.len == 2 || self.sq.view.sqe_size() == EntrySize::Big {
                return Some(Slot128::new(self, claim));
            }
            // The last slot of the ring (rule S8): dropped, it becomes a NOP that posts nothing.
            drop(Batch::<R>::new(self, claim));
        }
    }
}

impl Sq {
    /// A free SQE of 128 bytes, or `None` when there is no room for it: see [`Sq::pop`].
    /// Always `None` on a ring with neither SQE128 nor SQE_MIXED.
    ///
    /// On a ring of mixed sizes it takes two slots side by side; in front of the end of the
    /// ring it may push a NOP without a CQE first, which takes one more.
    ///
    /// Lock-free; enters the kernel only as [`Slot::push`](super::Slot::push) does, and only
    /// if it pushed such a NOP.
    pub fn pop128(&self) -> Option<Slot128<'_>> {
        self.core.pop128()
    }
}

#[cfg(not(ringway_loom))]
impl super::Local {
    /// A free SQE of 128 bytes; see [`Sq::pop128`].
    pub fn pop128(&self) -> Option<Slot128<'_, super::Local>> {
        self.core.pop128()
    }
}
