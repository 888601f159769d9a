//! Why the kernel was not entered, or not for all.

use crate::syscall::Errno;
use std::fmt;

/// Why entering the kernel failed. The result of an operation comes in its CQE.
///
/// | error | what returns it | then |
/// |---|---|---|
/// | `Busy` | submit, wait, wake | reap, then submit or wait again |
/// | `Interrupted` | submit | submit again |
/// | `WrongThread` | submit, with DEFER_TASKRUN also wait | enter from the ring's thread |
/// | `SqThreadDead` | submit, wait; with SQPOLL | fatal: make a new ring |
/// | `CompletionLost` | submit, wait, once a wait or a reap has met it | fatal: make a new ring |
/// | `Kernel` | submit, wait, wake | as a rule the same call fails again |
///
/// A wait first submits what an earlier submit had to leave, and fails as that does. A signal
/// that ends the wait itself is [`Waited::Maybe`](super::Waited), not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnterError {
    /// The kernel has no memory or no room now (EAGAIN, EBUSY, ENOMEM, EOVERFLOW), or took
    /// only some of the SQEs. The others are still in the ring, in order.
    Busy,
    /// A signal came at each attempt (EINTR). Everything pushed is still in the ring.
    Interrupted,
    /// The ring belongs to another thread (EEXIST: SINGLE_ISSUER).
    WrongThread,
    /// The kernel's SQ thread has died (EOWNERDEAD). What it had not taken will not run.
    SqThreadDead,
    /// The kernel ran out of memory and lost at least one completion (EBADR; before Linux
    /// 5.19 it does not say so). Some operation will never be heard of again, and its
    /// buffers must never be reused. What lies ready can still be reaped.
    CompletionLost,
    /// Another error of `io_uring_enter(2)`.
    Kernel(Errno),
}

impl EnterError {
    /// Whether the same call may succeed a moment later, with nothing lost meanwhile: `Busy` and
    /// `Interrupted`.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Busy | Self::Interrupted)
    }

    pub(crate) fn of(errno: Errno) -> Self {
        match errno.raw() {
            libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::EOVERFLOW => Self::Busy,
            libc::EINTR => Self::Interrupted,
            libc::EEXIST => Self::WrongThread,
            libc::EOWNERDEAD => Self::SqThreadDead,
            libc::EBADR => Self::CompletionLost,
            _ => Self::Kernel(errno),
        }
    }

    /// One that says the same.
    pub(crate) fn errno(self) -> Errno {
        match self {
            Self::Busy => Errno::from_raw(libc::EAGAIN),
            Self::Interrupted => Errno::from_raw(libc::EINTR),
            Self::WrongThread => Errno::from_raw(libc::EEXIST),
            Self::SqThreadDead => Errno::from_raw(libc::EOWNERDEAD),
            Self::CompletionLost => Errno::from_raw(libc::EBADR),
            Self::Kernel(errno) => errno,
        }
    }
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => {
                f.write_str("the kernel is out of room: reap completions, then submit again")
            }
            Self::Interrupted => f.write_str("interrupted by signals: submit again"),
            Self::WrongThread => {
                f.write_str("the ring may be entered only by the thread it belongs to")
            }
            Self::SqThreadDead => f.write_str("the kernel's SQ thread has died: make a new ring"),
            Self::CompletionLost => f.write_str(
                "the kernel lost a completion: make a new ring, never reuse the buffers in flight",
            ),
            Self::Kernel(errno) => write!(f, "io_uring_enter failed: {errno}"),
        }
    }
}

impl std::error::Error for EnterError {}

impl From<EnterError> for std::io::Error {
    fn from(error: EnterError) -> Self {
        std::io::Error::other(error)
    }
}
