//! Taking operations, one by one, as batches and as chains.

use super::driver::{Driver, Shared};
use super::op::{Id, Op, OpId, Refusal, Refused, check_cqe, check_end, cqes_of, deadline_sqe};
use super::permits::NoPermit;
use crate::abi::{Sqe, op, sqe_flags};
use crate::ring::Batch;
use std::task::{Context, Poll};
use std::time::Duration;

impl Driver {
    /// Submits an operation, or gives it back.
    ///
    /// Takes no lock, but one for cancel requests that wait. Enters the kernel if the driver
    /// combines; wakes the submitter if it sleeps and this is what it waits for. An
    /// [`Owner`](super::Owner) is woken by a message, which is repeated while the kernel has no
    /// memory for it.
    ///
    /// # Errors
    ///
    /// [`Refused`] holds the operation, and says why.
    #[inline]
    pub fn try_submit(&self, op: impl Into<Op>) -> Result<OpId, Refused<Op>> {
        let (id, batch) = self.prepared(op.into())?;
        self.shared.push(batch);
        Ok(id)
    }

    /// As [`Driver::try_submit`], but does not enter the kernel: for several operations, and
    /// [`Driver::flush`] after them. Any other submit of any thread takes them as well; a wait
    /// does not. A dedicated submitter, and an owner, are woken as always.
    ///
    /// ```
    /// # use ringway::{Sqe, pool::Driver};
    /// # let driver = Driver::builder().build(ringway::Ring::builder(8).build()?)?;
    /// for number in 1..=3 {
    ///     let mut sqe = Sqe::default();
    ///     // SAFETY: a NOP names no memory and no file.
    ///     unsafe { sqe.prep_nop() }.user_data(number);
    ///     driver.try_push(sqe).map_err(|refused| refused.why)?;
    /// }
    /// driver.flush(); // one enter
    /// let mut sum = 0;
    /// while sum < 6 {
    ///     driver.wait_reap(None, |event| sum += event.completed().map_or(0, |it| it.user_data()))?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Driver::try_submit`]. Where the SQ is full, what lies in it is submitted first.
    pub fn try_push(&self, op: impl Into<Op>) -> Result<OpId, Refused<Op>> {
        let (id, batch) = self.prepared(op.into())?;
        self.shared.push_for_later(batch);
        Ok(id)
    }

    /// Takes an operation, and says what is to be pushed for it.
    #[inline(always)]
    fn prepared(&self, op: Op) -> Result<(OpId, Batch<'_>), Refused<Op>> {
        if let Err(why) = check_cqe(&op.sqe).and(check_end(&op.sqe)) {
            return Err(Refused { op, why });
        }
        let weight = op.weight();
        let has_deadline = op.deadline.is_some();
        let count = 1 + u32::from(has_deadline);
        let id = match (self.shared).admit(count, weight, op.sqe.user_data, has_deadline) {
            Ok(id) => id,
            Err(why) => return Err(Refused { op, why }),
        };
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
        Ok((OpId(id), batch))
    }

    /// Submits operations that the kernel sees together and in order, as links need it, or
    /// gives all back. Each has a name and a completion of its own, also a time limit
    /// ([`Sqe::prep_link_timeout`]), and the permits of an [`Op`] made of it.
    ///
    /// # Errors
    ///
    /// As [`Driver::try_submit`].
    pub fn try_submit_batch<const N: usize>(
        &self,
        sqes: [Sqe; N],
    ) -> Result<[OpId; N], Refused<[Sqe; N]>> {
        const { assert!(N > 0, "a batch has operations") };
        let shared = &*self.shared;
        let count = N as u32;
        let weights = sqes.each_ref().map(cqes_of);
        let weight = weights.iter().sum();
        let admitted = (sqes.iter().try_for_each(check_cqe))
            .and_then(|()| check_end(&sqes[N - 1]))
            .and_then(|()| shared.permit(count, weight));
        if let Err(why) = admitted {
            return Err(Refused { op: sqes, why });
        }
        let Some(mut batch) = shared.slots(count) else {
            shared.permits.give_back(weight, &shared.gate);
            let why = Refusal::Full;
            return Err(Refused { op: sqes, why });
        };
        let mut ids = [OpId(Id(0)); N];
        let parts = sqes.into_iter().zip(weights).zip(&mut ids);
        for (place, ((sqe, weight), id)) in batch.iter_mut().zip(parts) {
            let name = shared.table.insert(sqe.user_data, weight, false);
            *id = OpId(name.expect("whoever holds a permit finds a slot"));
            *place = sqe;
            place.user_data = id.0.0;
        }
        shared.push(batch);
        Ok(ids)
    }

    /// Submits a chain as one operation: each starts when the one before it has succeeded,
    /// and one completion tells of the last, or of the one that failed
    /// ([`Completion::member`](super::Completion::member)). Holds the permits of its last
    /// operation: those before it post no CQE, so none of them may be multishot. Its
    /// `user_data` is the last one's.
    ///
    /// A read or write that moves less than it was asked for breaks the chain, and is the
    /// completion. If there is an operation among them that the kernel does not take as it is
    /// written (flags that it does not know, a zero-copy send that is not the last), none
    /// starts, and the completion is the first one's,
    /// [`Cancelled`](super::Outcome::Cancelled): the errno is not told. At most 256
    /// operations.
    ///
    /// # Errors
    ///
    /// As [`Driver::try_submit`]; links are the chain's own.
    pub fn try_submit_chain<const N: usize>(
        &self,
        sqes: [Sqe; N],
    ) -> Result<OpId, Refused<[Sqe; N]>> {
        const { assert!(N > 0 && N <= 256, "a chain has 1 to 256 operations") };
        let refuse = |op, why| Err(Refused { op, why });
        if sqes.iter().any(|sqe| sqe.opcode == op::LINK_TIMEOUT) {
            return refuse(sqes, Refusal::LinkTimeout);
        }
        let (count, last) = (N as u32, &sqes[N - 1]);
        let weight = cqes_of(last);
        let id = match self.shared.admit(count, weight, last.user_data, false) {
            Ok(id) => id,
            Err(why) => return refuse(sqes, why),
        };
        let Some(mut batch) = self.shared.slots(count) else {
            self.shared.withdraw(id, weight);
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
        self.shared.push(batch);
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
        let op = op.into();
        let weight = op.weight();
        let mut op = Some(op);
        let shared = &*self.shared;
        let look = || self.submit_from(&mut op);
        let answer = (shared.gate).wait(timeout, look, || shared.make_room(weight));
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
        let shared = &*self.shared;
        let weight = op.as_ref().map_or(0, Op::weight);
        let hurry = || shared.ask_for_room(weight);
        shared.gate.poll(context, || self.submit_from(op), hurry)
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
    /// Permits, and a slot of the table, for what needs so many SQEs.
    #[inline(always)]
    pub(super) fn admit(
        &self,
        sqes: u32,
        weight: u32,
        user_data: u64,
        has_deadline: bool,
    ) -> Result<Id, Refusal> {
        self.permit(sqes, weight)?;
        self.table
            .insert(user_data, weight, has_deadline)
            .ok_or(Refusal::Full)
    }

    /// Permits for what needs so many SQEs.
    #[inline(always)]
    fn permit(&self, sqes: u32, weight: u32) -> Result<(), Refusal> {
        if let Some(error) = self.counters.fatal() {
            return Err(Refusal::Ring(error));
        }
        // Every ring has one SQE: for most there is nothing to compare.
        let entries = self.ring.sq_entries();
        if sqes > 1 && sqes > entries {
            let needs = sqes;
            return Err(Refusal::TooLong { needs, entries });
        }
        let total = self.permits.total();
        if weight > total {
            let needs = weight;
            return Err(Refusal::TooHeavy { needs, total });
        }
        match self.permits.acquire(weight) {
            Ok(()) => Ok(()),
            Err(NoPermit::Full) => Err(Refusal::Full),
            Err(NoPermit::Closed) => Err(Refusal::Closed),
        }
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
