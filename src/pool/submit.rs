//! Taking operations, one by one, as batches and as chains.

use super::driver::{Driver, Shared};
use super::op::{Id, Op, OpId, Refusal, Refused, deadline_sqe};
use super::permits::NoPermit;
use crate::abi::{Sqe, sqe_flags};
use crate::ring::Batch;
use std::task::{Context, Poll};
use std::time::Duration;

impl Driver {
    /// Submits an operation, or gives it back.
    ///
    /// Takes no lock. Enters the kernel if the driver combines; wakes the submitter if it
    /// sleeps and this is what it waits for.
    ///
    /// # Errors
    ///
    /// [`Refused`] holds the operation, and says why.
    #[inline]
    pub fn try_submit(&self, op: impl Into<Op>) -> Result<OpId, Refused<Op>> {
        let op = op.into();
        if op.sqe.flags & sqe_flags::CQE_SKIP_SUCCESS != 0 {
            let why = Refusal::NoCqe;
            return Err(Refused { op, why });
        }
        let weight = op.weight();
        let id = match self
            .shared
            .admit(weight, op.sqe.user_data, op.deadline.is_some())
        {
            Ok(id) => id,
            Err(why) => return Err(Refused { op, why }),
        };
        let count = 1 + u32::from(op.deadline.is_some());
        let Some(mut batch) = self.shared.slots(count) else {
            self.shared.withdraw(id, weight);
            let why = Refusal::Full;
            return Err(Refused { op, why });
        };
        let mut sqes = batch.iter_mut();
        if let Some(sqe) = sqes.next() {
            *sqe = op.sqe;
            sqe.user_data = id.0;
            if let Some(deadline) = op.deadline {
                sqe.flags |= sqe_flags::IO_LINK;
                let time = self.shared.table.set_deadline(id, deadline.into());
                if let Some(sqe) = sqes.next() {
                    *sqe = deadline_sqe(id, time);
                }
            }
        }
        batch.push();
        self.shared.pushed(count);
        Ok(OpId(id))
    }

    /// Submits operations that the kernel sees together and in order, as links need it, or
    /// gives all back. Each has a name and a completion of its own; deadlines are not looked
    /// at.
    ///
    /// # Errors
    ///
    /// As [`Driver::try_submit`].
    pub fn try_submit_batch<const N: usize>(
        &self,
        sqes: [Sqe; N],
    ) -> Result<[OpId; N], Refused<[Sqe; N]>> {
        let mut ids = [OpId(Id(0)); N];
        let refuse = |op, why| Err(Refused { op, why });
        if sqes
            .iter()
            .any(|sqe| sqe.flags & sqe_flags::CQE_SKIP_SUCCESS != 0)
        {
            return refuse(sqes, Refusal::NoCqe);
        }
        let mut why = None;
        let mut admitted = 0;
        for (id, sqe) in ids.iter_mut().zip(&sqes) {
            match self.shared.admit(1, sqe.user_data, false) {
                Ok(new) => *id = OpId(new),
                Err(refusal) => {
                    why = Some(refusal);
                    break;
                }
            }
            admitted += 1;
        }
        let batch = match why {
            None => self.shared.slots(N as u32),
            Some(_) => None,
        };
        let Some(mut batch) = batch else {
            for id in &ids[..admitted] {
                self.shared.withdraw(id.0, 1);
            }
            return refuse(sqes, why.unwrap_or(Refusal::Full));
        };
        for ((place, sqe), id) in batch.iter_mut().zip(sqes).zip(ids) {
            *place = sqe;
            place.user_data = id.0.0;
        }
        batch.push();
        self.shared.pushed(N as u32);
        Ok(ids)
    }

    /// Submits a chain as one operation: each starts when the one before it has succeeded,
    /// and one completion tells of the last, or of the one that failed
    /// ([`Completion::member`](super::Completion::member)). Holds one permit. Its `user_data`
    /// is the last one's.
    ///
    /// A read or write that moves less than it was asked for breaks the chain, and is the
    /// completion. At most 256 operations.
    ///
    /// # Errors
    ///
    /// As [`Driver::try_submit`].
    pub fn try_submit_chain<const N: usize>(
        &self,
        sqes: [Sqe; N],
    ) -> Result<OpId, Refused<[Sqe; N]>> {
        const { assert!(N > 0 && N <= 256, "a chain has 1 to 256 operations") };
        let refuse = |op, why| Err(Refused { op, why });
        let id = match self.shared.admit(1, sqes[N - 1].user_data, false) {
            Ok(id) => id,
            Err(why) => return refuse(sqes, why),
        };
        let Some(mut batch) = self.shared.slots(N as u32) else {
            self.shared.withdraw(id, 1);
            return refuse(sqes, Refusal::Full);
        };
        self.shared.table.set_last_member(id, (N - 1) as u8);
        for ((place, sqe), member) in batch.iter_mut().zip(sqes).zip(0..=u8::MAX) {
            *place = sqe;
            place.user_data = id.with_member(member).0;
            let silent = sqe_flags::IO_LINK | sqe_flags::CQE_SKIP_SUCCESS;
            let hard = sqe_flags::IO_HARDLINK;
            place.flags &= !(silent | hard);
            if usize::from(member) < N - 1 {
                place.flags |= silent;
            }
        }
        batch.push();
        self.shared.pushed(N as u32);
        Ok(OpId(id))
    }

    /// Submits an operation, asleep until there is room, or gives it back when the timeout
    /// has passed (`None`: no limit). Somebody else has to reap meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Driver::try_submit`]; [`Refusal::Full`] is the timeout.
    pub fn submit(
        &self,
        op: impl Into<Op>,
        timeout: Option<Duration>,
    ) -> Result<OpId, Refused<Op>> {
        let mut op = Some(op.into());
        let shared = &*self.shared;
        let look = || self.submit_from(&mut op);
        let answer = (shared.gate).wait(timeout, look, || shared.make_room(false));
        answer.unwrap_or_else(|| {
            Err(Refused {
                // Only an answer takes it for good.
                op: op.expect("the operation came back"),
                why: Refusal::Full,
            })
        })
    }

    /// The polling form: submits the operation and takes it out of `op`, or has the task
    /// woken when there may be room.
    ///
    /// # Errors
    ///
    /// As [`Driver::try_submit`], but for [`Refusal::Full`]; the operation is in the error.
    ///
    /// # Panics
    ///
    /// If `op` is `None`: it was submitted before.
    pub fn poll_submit(
        &self,
        context: &mut Context<'_>,
        op: &mut Option<Op>,
    ) -> Poll<Result<OpId, Refused<Op>>> {
        self.shared.gate.poll(context, || self.submit_from(op))
    }

    /// Submits what is in `op`, or leaves it there while there is no room.
    fn submit_from(&self, op: &mut Option<Op>) -> Option<Result<OpId, Refused<Op>>> {
        let taken = op.take().expect("an operation that is not submitted yet");
        match self.try_submit(taken) {
            Err(refused) if refused.why == Refusal::Full => {
                *op = Some(refused.op);
                None
            }
            answer => Some(answer),
        }
    }
}

impl Shared {
    /// A permit and a slot of the table.
    #[inline(always)]
    pub(super) fn admit(
        &self,
        weight: u32,
        user_data: u64,
        has_deadline: bool,
    ) -> Result<Id, Refusal> {
        if let Some(error) = self.counters.fatal() {
            return Err(Refusal::Ring(error));
        }
        let total = self.permits.total();
        if weight > total {
            let needs = weight;
            return Err(Refusal::TooHeavy { needs, total });
        }
        match self.permits.acquire(weight) {
            Ok(()) => {}
            Err(NoPermit::Full) => return Err(Refusal::Full),
            Err(NoPermit::Closed) => return Err(Refusal::Closed),
        }
        self.table
            .insert(user_data, weight, has_deadline)
            .ok_or(Refusal::Full)
    }

    #[cold]
    pub(super) fn withdraw(&self, id: Id, weight: u32) {
        self.table.withdraw(id);
        self.permits.give_back(weight, &self.gate);
    }

    /// Slots of the SQ; submits once if there are none.
    #[inline(always)]
    pub(super) fn slots(&self, count: u32) -> Option<Batch<'_>> {
        let pop = || self.ring.core.pop_batch(count);
        pop().or_else(|| {
            self.hurry_for_room();
            pop()
        })
    }
}
