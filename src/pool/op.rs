//! Operations as the pool takes and completes them.

use crate::abi::{self, Cqe, Sqe, op, sqe_flags};
use crate::syscall::Errno;
use std::fmt;
use std::time::Duration;

/// An operation for a [`Driver`](super::Driver): a prepared SQE, and what the pool has to
/// know of it. Made from an [`Sqe`] by `into()`.
///
/// The SQE's `user_data` comes back in the [`Completion`]; any value.
#[derive(Debug)]
pub struct Op {
    pub(super) sqe: Sqe,
    pub(super) cqes: u32,
    pub(super) deadline: Option<Duration>,
}

impl Op {
    /// How many CQEs the operation may have unreaped at a time, and so how many permits it
    /// holds: 1 if nothing is said, 2 for a zero-copy send.
    ///
    /// A multishot operation posts CQEs as events come: say how many can lie unreaped at most,
    /// such as the number of its provided buffers, plus 1. If there are more than was said, the
    /// CQ may overflow: that costs time, and
    /// [completions only for want of memory](crate::EnterError::CompletionLost). While the CQ
    /// is full the kernel may also end the operation: [`Completion::is_last`], with a result as
    /// any other.
    pub fn cqes(mut self, cqes: u32) -> Self {
        self.cqes = cqes.max(1);
        self
    }

    /// Cancels the operation when it takes longer: it then completes as
    /// [`Outcome::TimedOut`]. Holds one permit and one SQE more.
    ///
    /// What the kernel cannot cancel ([`Driver::cancel`](super::Driver::cancel)) ends by
    /// itself all the same. So does, from Linux 6.15 on and in stable kernels since May 2025,
    /// what a worker blocks in without having been tried before
    /// ([`Sqe::force_async`], splices): its time starts when the worker is done.
    /// Of a zero-copy send Linux 6.1 tells the end before the timer's, and so the outcome is
    /// [`Outcome::Cancelled`]; 6.12 does not.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Permits that the operation holds.
    pub(super) fn weight(&self) -> u32 {
        self.cqes.saturating_add(self.deadline.is_some().into())
    }
}

impl From<Sqe> for Op {
    fn from(sqe: Sqe) -> Self {
        Self {
            cqes: cqes_of(&sqe),
            sqe,
            deadline: None,
        }
    }
}

/// How many CQEs an operation has unreaped at a time, as far as the SQE says it.
pub(super) fn cqes_of(sqe: &Sqe) -> u32 {
    let is_zero_copy = matches!(sqe.opcode, op::SEND_ZC | op::SENDMSG_ZC);
    1 + u32::from(is_zero_copy)
}

/// Whether the SQE can be submitted by itself: it tells of its end.
pub(super) fn check_cqe(sqe: &Sqe) -> Result<(), Refusal> {
    match sqe.flags & sqe_flags::CQE_SKIP_SUCCESS {
        0 => Ok(()),
        _ => Err(Refusal::NoCqe),
    }
}

/// Whether the SQE can be the last that is submitted together: what is pushed next may be
/// anybody's.
pub(super) fn check_end(sqe: &Sqe) -> Result<(), Refusal> {
    match sqe.flags & (sqe_flags::IO_LINK | sqe_flags::IO_HARDLINK) {
        0 => Ok(()),
        _ => Err(Refusal::Linked),
    }
}

/// Names one operation for as long as the driver lives: a later one that takes its place in
/// the table has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpId(pub(super) Id);

/// What the kernel gets as `user_data`: 36 bits of generation, 8 of place in a chain, 16 of
/// slot, 4 of kind. A slot's generations repeat after 2^35 operations in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(pub(super) u64);

/// Whose CQE it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The operation's.
    Op = 1,
    /// Its deadline's.
    Deadline = 2,
    /// Of a job that has run.
    Job = 3,
    /// Of a job that has panicked.
    Panicked = 4,
    /// A cancel request's.
    Control = 5,
    /// Nobody's: it made somebody look.
    Wake = 6,
}

impl Id {
    pub(super) const GENERATIONS: u64 = (1 << 36) - 1;

    pub(super) fn new(kind: Kind, slot: u32, generation: u64) -> Self {
        Self(kind as u64 | u64::from(slot as u16) << 4 | (generation & Self::GENERATIONS) << 28)
    }

    pub(super) fn with_kind(self, kind: Kind) -> Self {
        Self(self.0 & !0xf | kind as u64)
    }

    pub(super) fn with_member(self, member: u8) -> Self {
        Self(self.0 & !(0xff << 20) | u64::from(member) << 20)
    }

    pub(super) fn kind(self) -> Option<Kind> {
        Some(match self.0 & 0xf {
            1 => Kind::Op,
            2 => Kind::Deadline,
            3 => Kind::Job,
            4 => Kind::Panicked,
            5 => Kind::Control,
            6 => Kind::Wake,
            _ => return None,
        })
    }

    pub(super) fn slot(self) -> u32 {
        (self.0 >> 4) as u16 as u32
    }

    pub(super) fn member(self) -> u8 {
        (self.0 >> 20) as u8
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> 28
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was asked for, or a part: a count, a descriptor. Of a zero-copy send's
    /// notification ([`Cqe::is_notif`]): what it says, in flags, of the copy
    /// ([`ZcUsage::of`](crate::prep::ZcUsage::of)).
    Done(u32),
    /// Somebody cancelled it, or an operation before it in its chain failed.
    Cancelled,
    /// Its deadline passed; or it is a timer, and its time came.
    TimedOut,
    /// It failed. EINTR, and 512 from some operations: it was cancelled while a worker was
    /// blocked in it.
    Failed(Errno),
    /// The job panicked.
    Panicked,
}

/// The kernel's own errno of an interrupted system call that would begin again. Splices end
/// with it.
const ERESTARTSYS: i32 = 512;

impl Outcome {
    /// `timer` is the result of the linked timeout.
    pub(super) fn of(cqe: &Cqe, timer: Option<i32>) -> Self {
        // A notification's result is flags.
        if cqe.res >= 0 || cqe.is_notif() {
            return Outcome::Done(cqe.res.cast_unsigned());
        }
        match cqe.res.wrapping_neg() {
            libc::ETIME => Outcome::TimedOut,
            // Interrupted: how an operation that is running in a worker is cancelled.
            libc::ECANCELED | libc::EINTR | ERESTARTSYS if timer.is_some_and(has_expired) => {
                Outcome::TimedOut
            }
            libc::ECANCELED => Outcome::Cancelled,
            errno => Outcome::Failed(Errno::from_raw(errno)),
        }
    }
}

/// Whether a linked timeout with this result has expired. It says what its cancel request
/// came to: ETIME for 0, otherwise how many were cancelled, or that there was none (ENOENT,
/// EALREADY), which it also says when it has interrupted a worker. ECANCELED: the operation
/// was faster, or the thread that entered for both is gone. Others: there was no timer.
fn has_expired(timer: i32) -> bool {
    timer > 0 || [-libc::ETIME, -libc::ENOENT, -libc::EALREADY].contains(&timer)
}

/// One completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub(super) op: OpId,
    pub(super) member: u8,
    pub(super) cqe: Cqe,
    pub(super) outcome: Outcome,
    pub(super) is_last: bool,
    pub(super) sequence: u32,
}

impl Completion {
    /// Which operation.
    pub fn op(&self) -> OpId {
        self.op
    }

    /// The `user_data` that the operation was submitted with.
    pub fn user_data(&self) -> u64 {
        self.cqe.user_data()
    }

    /// How it ended, or for one of several CQEs what this one says.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The CQE, with the `user_data` that the operation was submitted with.
    pub fn cqe(&self) -> &Cqe {
        &self.cqe
    }

    /// Whether the operation has ended: the kernel is done with its memory, and its permits
    /// are free.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// The how-many-th completion of the operation this is, from 0. With several reapers,
    /// the handlers of one operation's completions may run in another order.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Of a chain: which operation this is, from 0: the last one if the chain went through,
    /// otherwise the one that broke it.
    pub fn member(&self) -> u8 {
        self.member
    }
}

/// Why an operation, or a job, was not taken; it comes back unharmed.
pub struct Refused<T> {
    /// What was to be submitted.
    pub op: T,
    /// Why not.
    pub why: Refusal,
}

/// Why the driver does not take an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There are not as many permits left as it takes, or all SQEs are taken: reap, then try
    /// again.
    Full,
    /// The driver is shutting down.
    Closed,
    /// The operation needs more permits than there are.
    TooHeavy {
        /// Permits that it needs.
        needs: u32,
        /// Permits that there are.
        total: u32,
    },
    /// The operation, with those submitted together with it, or with its deadline, needs
    /// more SQEs than there are.
    TooLong {
        /// SQEs that it needs.
        needs: u32,
        /// SQEs that there are.
        entries: u32,
    },
    /// The operation asks for no CQE ([`Sqe::skip_success`]), so nobody would know when it
    /// ends. Submit it as a part of a chain.
    NoCqe,
    /// The last operation, or the only one, is linked ([`Sqe::link`], [`Sqe::hardlink`]) to
    /// whatever somebody pushes next. Submit it together with what it is linked to.
    Linked,
    /// There is a time limit ([`Sqe::prep_link_timeout`]) in a chain, whose one completion
    /// would be the limit's. Submit the operations as a batch.
    LinkTimeout,
    /// The ring is of no use any more.
    Ring(crate::EnterError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full: reap completions, then submit again"),
            Self::Closed => f.write_str("shutting down"),
            Self::TooHeavy { needs, total } => {
                write!(f, "needs {needs} permits of {total}: make a larger CQ")
            }
            Self::TooLong { needs, entries } => {
                write!(f, "needs {needs} SQEs of {entries}: make a larger SQ")
            }
            Self::NoCqe => f.write_str("asks for no CQE: submit it as part of a chain"),
            Self::Linked => {
                f.write_str("ends in a link: submit it together with what it is linked to")
            }
            Self::LinkTimeout => f.write_str("a chain with a link timeout: submit it as a batch"),
            Self::Ring(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl<T> std::error::Error for Refused<T> {}

/// The SQE that cancels an operation when its time is over, linked behind it.
pub(super) fn deadline_sqe(id: Id, time: *const abi::Timespec) -> Sqe {
    Sqe {
        opcode: op::LINK_TIMEOUT,
        fd: -1,
        addr: time.expose_provenance() as u64,
        len: 1,
        user_data: id.with_kind(Kind::Deadline).0,
        ..Sqe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::cqe_flags;

    #[test]
    fn an_id_keeps_its_parts() {
        for slot in [0, 1, 65535] {
            for generation in [1, 3, Id::GENERATIONS] {
                let id = Id::new(Kind::Op, slot, generation).with_member(200);
                assert_eq!(id.kind(), Some(Kind::Op));
                assert_eq!((id.slot(), id.generation()), (slot, generation));
                assert_eq!(id.member(), 200);
                let timer = id.with_kind(Kind::Deadline).with_member(0);
                assert_eq!(timer.kind(), Some(Kind::Deadline));
                assert_eq!((timer.slot(), timer.generation()), (slot, generation));
                assert_eq!(timer.member(), 0);
            }
        }
        assert_eq!(Id(0).kind(), None);
        assert_eq!(Id(u64::MAX).kind(), None);
    }

    fn cqe(res: i32, flags: u32) -> Cqe {
        Cqe {
            res,
            flags,
            ..Cqe::default()
        }
    }

    #[test]
    fn four_different_answers() {
        let failed = |errno| Outcome::Failed(Errno::from_raw(errno));
        let (cancelled, interrupted) = (-libc::ECANCELED, -libc::EINTR);
        for (res, timer, outcome) in [
            (0, None, Outcome::Done(0)),
            (i32::MAX, None, Outcome::Done(i32::MAX as u32)),
            (5, Some(cancelled), Outcome::Done(5)),
            (5, Some(-libc::ETIME), Outcome::Done(5)),
            (cancelled, None, Outcome::Cancelled),
            (cancelled, Some(cancelled), Outcome::Cancelled),
            // The timer was refused, and the operation with it.
            (cancelled, Some(-libc::ENOMEM), Outcome::Cancelled),
            (cancelled, Some(-libc::ETIME), Outcome::TimedOut),
            (cancelled, Some(-libc::ENOENT), Outcome::TimedOut),
            (cancelled, Some(-libc::EALREADY), Outcome::TimedOut),
            (cancelled, Some(1), Outcome::TimedOut),
            (interrupted, Some(-libc::ENOENT), Outcome::TimedOut),
            (-ERESTARTSYS, Some(-libc::ENOENT), Outcome::TimedOut),
            (-libc::ETIME, None, Outcome::TimedOut),
            (-libc::EIO, Some(-libc::ETIME), failed(libc::EIO)),
            (interrupted, None, failed(libc::EINTR)),
            (interrupted, Some(cancelled), failed(libc::EINTR)),
            (i32::MIN, Some(i32::MIN), failed(i32::MIN)),
        ] {
            assert_eq!(Outcome::of(&cqe(res, 0), timer), outcome, "{res} {timer:?}");
        }
    }

    #[test]
    fn a_notification_has_no_errno() {
        for res in [0, i32::MIN, -libc::ECANCELED] {
            let outcome = Outcome::of(&cqe(res, cqe_flags::NOTIF), Some(-libc::ETIME));
            assert_eq!(outcome, Outcome::Done(res.cast_unsigned()));
        }
    }
}
