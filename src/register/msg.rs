//! Messages to a ring, from no ring.

use std::os::fd::BorrowedFd;

use crate::ring::message;
use crate::syscall::Errno;

/// Posts a CQE with this `user_data` on a ring, which may be another process's; `len`
/// becomes its `res`. The ring is looked at no longer than the call takes.
///
/// No `user_data` of an operation in flight there: whoever reaps the message would take it for
/// that operation's CQE, and its memory for free.
///
/// [`Ring::wake`](crate::Ring::wake) does this for the ring at hand. A file cannot be sent in
/// this way, only from ring to ring. Linux 6.13; `io_uring_register_sync_msg(3)`.
///
/// ```
/// use ringway::{Ring, register::register_sync_msg};
///
/// let ring = Ring::builder(8).build()?;
/// let fd = ring.fd().expect("a real ring");
/// match register_sync_msg(fd, 3, 7) {
///     Ok(()) => {
///         let cqe = ring.cq().reap().expect("it is there when the call returns");
///         assert_eq!((cqe.user_data(), cqe.result()?), (7, 3));
///     }
///     Err(errno) => assert_eq!(errno.raw(), libc::EINVAL), // before Linux 6.13
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `EBADFD` for what is no ring, and for one that does not run yet; `EOVERFLOW` and `ENOMEM`
/// when the kernel has no memory for the CQE; `EAGAIN` for an IOPOLL ring that is in use just
/// now; `EINVAL` before Linux 6.13. That the thread is gone which a DEFER_TASKRUN ring belongs
/// to, and nobody will see the CQE, is no error.
pub fn register_sync_msg(ring: BorrowedFd<'_>, len: u32, user_data: u64) -> Result<(), Errno> {
    message(ring, len, user_data, 0)
}

/// As [`register_sync_msg`], with these flags (`IORING_CQE_F_*`) in the CQE. On a ring with
/// CQE_MIXED `F_32` makes it a CQE of 32 bytes, the second 16 of which are 0, and `F_SKIP`
/// makes it padding, which nobody gets.
///
/// # Errors
///
/// As [`register_sync_msg`]. Newer kernels answer `EINVAL` to `F_32` where CQEs have 16 bytes.
pub fn register_sync_msg_cqe_flags(
    ring: BorrowedFd<'_>,
    len: u32,
    user_data: u64,
    flags: u32,
) -> Result<(), Errno> {
    message(ring, len, user_data, flags)
}
