//! Messages to a ring, from no ring.

use std::os::fd::BorrowedFd;

use crate::abi::cqe_flags;
use crate::ring::message;
use crate::syscall::Errno;

/// Posts a CQE with this `user_data` on a ring, which may be another process's; `len`
/// becomes its `res`. The ring is looked at no longer than the call takes.
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
///     Err(errno) => println!("before Linux 6.13: {errno}"),
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

/// As [`register_sync_msg`], with these flags in the CQE.
///
/// # Errors
///
/// As [`register_sync_msg`]; `EINVAL` for the flags `IORING_CQE_F_32` and
/// `IORING_CQE_F_SKIP`, since the kernel would post what is no such CQE.
pub fn register_sync_msg_cqe_flags(
    ring: BorrowedFd<'_>,
    len: u32,
    user_data: u64,
    flags: u32,
) -> Result<(), Errno> {
    if flags & (cqe_flags::BIG | cqe_flags::SKIP) != 0 {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    message(ring, len, user_data, flags)
}
