//! Slots: SQEs that a thread owns between pop and push.

use super::sq::{Claim, Walk};
use super::view::Sqes;
use super::{Core, Owner, Ring};
use crate::abi::Sqe;
use crate::sync::UnsafeCell;
use std::fmt;
use std::hint::cold_path;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A free SQE, owned: prepare it with a `prep_*` method, then [`push`](Slot::push) it.
/// One that is pushed without a prep is a NOP with `user_data` 0.
///
/// A slot is a linear token. It cannot be copied, it stays tied to the ring it came
/// from, and one thread may prepare what another pushes; only the slots of a `Local` ring
/// stay on its thread. A slot that is dropped
/// unpushed, or unwound through by a panic, is pushed as a NOP that posts no CQE: the
/// SQE is not lost and nobody waits for it. (A kernel that has seen such a NOP refuses
/// `IOSQE_IO_DRAIN` on that ring with EOPNOTSUPP from then on. On the kernels that
/// [`Builder::legacy`](crate::Builder::legacy) is for, it posts a CQE.)
///
/// One that is forgotten (`std::mem::forget`) is lost for as long as the ring lives: in any
/// order the ring has one SQE less; in claim order nothing that was popped after it is ever
/// submitted.
///
/// ```
/// # let ring = ringway::Ring::builder(8).build()?;
/// let sq = ring.sq();
/// let mut slot = sq.pop().expect("an empty ring has free slots");
/// unsafe { slot.prep_nop() }.user_data(7);
/// slot.push();
/// sq.submit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a dropped slot becomes a NOP"]
pub struct Slot<'r, R: Owner = Ring> {
    batch: Batch<'r, R>,
    sqe: &'r UnsafeCell<Sqe>,
}

// SAFETY: the slot has one owner, whichever thread that is on (rule S1); one of a ring
// that belongs to a thread stays there.
unsafe impl<R: Owner + Send> Send for Slot<'_, R> {}

impl<'r, R: Owner> Slot<'r, R> {
    #[inline(always)]
    pub(crate) fn new(core: &'r Core, claim: Claim) -> Self {
        let mut batch = Batch::new(core, claim);
        batch.stale = 0;
        // SAFETY: the slot is the ring's.
        let sqe = unsafe { core.sq.view.sqes().of(claim.slot) };
        // SAFETY: the claim made the slot ours, and there is no reference into it yet.
        sqe.with_mut(|sqe| unsafe { sqe.write(Sqe::default()) });
        Self { batch, sqe }
    }

    /// Makes the operation ready for the next submit, by whichever thread.
    ///
    /// Lock-free; enters the kernel only if another thread's submit came between this
    /// slot's pop and push and left to this push what lies behind it. If the kernel then
    /// refuses, that is a debt, as after a failed submit: the next submit or wait of any
    /// thread tries again.
    #[inline(always)]
    pub fn push(self) {
        self.batch.push();
    }

    /// The command area of the SQE: 16 bytes, or 80 on a ring with 128-byte SQEs.
    ///
    /// # Safety
    ///
    /// For commands that hold pointers: what they point to must stay as the command
    /// requires it. The bytes mean nothing to other operations.
    #[cfg(not(ringway_loom))]
    pub unsafe fn command_mut(&mut self) -> &mut [u8] {
        // SAFETY: the slot is ours, and `&mut self` keeps other references away.
        unsafe { self.batch.command(self.batch.core.sq.view.sqes().are_big()) }
    }
}

impl<R: Owner> Deref for Slot<'_, R> {
    type Target = Sqe;

    #[inline(always)]
    fn deref(&self) -> &Sqe {
        // SAFETY: the slot is ours, and `&self` keeps `&mut` references away.
        self.sqe.with_mut(|sqe| unsafe { &*sqe })
    }
}

impl<R: Owner> DerefMut for Slot<'_, R> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Sqe {
        // SAFETY: the slot is ours, and `&mut self` keeps other references away.
        self.sqe.with_mut(|sqe| unsafe { &mut *sqe })
    }
}

impl<R: Owner> fmt::Debug for Slot<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.batch.claim.slot).finish()
    }
}

/// Several free SQEs, owned together: the kernel sees all of them or none, in this
/// order, with no other SQE in between. A chain of links needs that. (A kernel that runs out of
/// memory stops where it is, also in the middle: a chain is cut there, and its rest is submitted
/// later, as a chain of its own.)
///
/// SQEs that are not prepared are NOPs with `user_data` 0. Dropped unpushed, all of them
/// become NOPs that post no CQE; forgotten, all are lost; see [`Slot`].
#[must_use = "a dropped batch becomes NOPs"]
pub struct Batch<'r, R: Owner = Ring> {
    core: &'r Core,
    /// Whose slots these are, and so whether they may leave the thread.
    ring: PhantomData<R>,
    claim: Claim,
    /// How many of them, up to the last, still hold their last operation.
    stale: u32,
}

impl<'r, R: Owner> Batch<'r, R> {
    #[inline(always)]
    pub(crate) fn new(core: &'r Core, claim: Claim) -> Self {
        Self {
            core,
            ring: PhantomData,
            claim,
            stale: claim.len,
        }
    }

    /// A batch whose SQEs have been written.
    pub(super) fn prepared(core: &'r Core, claim: Claim) -> Self {
        Self {
            core,
            ring: PhantomData,
            claim,
            stale: 0,
        }
    }

    /// The command area of the first SQE.
    ///
    /// # Safety
    ///
    /// As for `SqView::command`.
    #[cfg(not(ringway_loom))]
    pub(super) unsafe fn command(&mut self, is_big: bool) -> &mut [u8] {
        // SAFETY: the batch owns the slot; the rest is the caller's promise.
        unsafe { self.core.sq.view.command(self.claim.slot, is_big) }
    }

    /// How many SQEs; at least 1.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.claim.len as usize
    }

    /// The SQEs, in the order in which the kernel will see them. Called again, it keeps
    /// what was prepared.
    #[inline(always)]
    pub fn iter_mut(&mut self) -> SqesMut<'_> {
        // SAFETY: the batch is ours, and borrowed for as long as the walk lasts.
        let walk = unsafe { self.core.sq.walk(self.claim) };
        SqesMut {
            walk,
            sqes: self.core.sq.view.sqes(),
            stale: &mut self.stale,
        }
    }

    /// Makes all operations ready for the next submit, by whichever thread. See
    /// [`Slot::push`].
    #[inline(always)]
    pub fn push(self) {
        let core = self.core;
        if self.push_only() {
            core.fill_gap();
        }
    }

    /// As [`Batch::push`], but enters never. True if what lies behind was left to this push: the
    /// caller has it submitted (rule S6).
    #[must_use]
    #[inline(always)]
    pub(crate) fn push_only(self) -> bool {
        let (core, claim, stale) = (self.core, self.claim, self.stale);
        std::mem::forget(self);
        if stale > 0 {
            reset_rest(core, claim, stale);
        }
        core.sq.push::<R>(claim)
    }
}

/// Makes NOPs of those that were not prepared. Of a batch by its parts: so it need not lie in
/// memory where all were.
#[cold]
fn reset_rest(core: &Core, claim: Claim, stale: u32) {
    let mut rest = std::mem::ManuallyDrop::new(Batch::<Ring>::prepared(core, claim));
    rest.stale = stale;
    rest.iter_mut().for_each(drop);
}

impl<R: Owner> Drop for Batch<'_, R> {
    fn drop(&mut self) {
        if super::edges::broken("DROP_LOSES") || self.core.is_inherited() {
            return;
        }
        let is_silent = self.core.can_skip_cqes();
        for sqe in self.iter_mut() {
            // SAFETY: a NOP holds no pointer.
            let nop = unsafe { sqe.prep_nop() };
            if is_silent {
                nop.skip_success();
            }
        }
        self.core.push::<R>(self.claim);
    }
}

impl<R: Owner> fmt::Debug for Batch<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("slot", &self.claim.slot)
            .field("len", &self.claim.len)
            .finish()
    }
}

impl<'b, R: Owner> IntoIterator for &'b mut Batch<'_, R> {
    type Item = &'b mut Sqe;
    type IntoIter = SqesMut<'b>;

    #[inline(always)]
    fn into_iter(self) -> SqesMut<'b> {
        self.iter_mut()
    }
}

/// The SQEs of a [`Batch`], in order.
pub struct SqesMut<'b> {
    walk: Walk<'b>,
    sqes: Sqes<'b>,
    stale: &'b mut u32,
}

impl<'b> Iterator for SqesMut<'b> {
    type Item = &'b mut Sqe;

    #[inline(always)]
    fn next(&mut self) -> Option<&'b mut Sqe> {
        let slot = self.walk.next()?;
        // SAFETY: the slot is the ring's.
        let sqe = unsafe { self.sqes.of(slot) };
        if self.walk.left < *self.stale {
            *self.stale = self.walk.left;
            // SAFETY: the batch owns the slot; this is the first reference into it.
            sqe.with_mut(|sqe| unsafe { sqe.write(Sqe::default()) });
        }
        // SAFETY: the batch owns the slot and is borrowed mutably for `'b`; each slot
        // comes up once.
        Some(sqe.with_mut(|sqe| unsafe { &mut *sqe }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.walk.left as usize;
        (left, Some(left))
    }

    /// What `for_each` comes to: it looks once where the slots lie and whether they are stale,
    /// not at each.
    #[inline(always)]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut f: F) -> B {
        let is_stale = *self.stale == self.walk.left;
        let Some(run) = self.walk.run().filter(|_| is_stale) else {
            cold_path();
            let mut folded = init;
            for sqe in self.by_ref() {
                folded = f(folded, sqe);
            }
            return folded;
        };
        let (sqes, stale) = (self.sqes, &mut *self.stale);
        run.fold(init, |folded, slot| {
            // SAFETY: the slot is the ring's.
            let sqe = unsafe { sqes.of(slot) };
            *stale -= 1;
            // SAFETY: the batch owns the slot; this is the first reference into it.
            sqe.with_mut(|sqe| unsafe { sqe.write(Sqe::default()) });
            // SAFETY: the batch owns the slot and is borrowed mutably for `'b`; each slot
            // comes up once.
            f(folded, sqe.with_mut(|sqe| unsafe { &mut *sqe }))
        })
    }
}

impl ExactSizeIterator for SqesMut<'_> {}

impl fmt::Debug for SqesMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqesMut")
            .field("left", &self.len())
            .finish()
    }
}
