//! The kernel as the ring sees it: one that is entered, real or simulated.

use crate::syscall::Errno;
#[cfg(not(ringway_loom))]
use crate::{
    abi::{self, enter, msg_ring, op, register},
    mapping::Mapping,
    setup::RingFd,
    syscall,
};
#[cfg(not(ringway_loom))]
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// What `io_uring_enter(2)` is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Enter {
    /// SQEs to consume at most.
    pub(crate) to_submit: u32,
    /// CQEs to wait for; looked at only with GETEVENTS.
    pub(crate) min_complete: u32,
    /// `IORING_ENTER_*`, without those that describe the arguments.
    pub(crate) flags: u32,
    /// How long to wait; `None` is without limit.
    pub(crate) timeout: Option<Duration>,
}

/// The other side of a simulated ring.
#[cfg(any(feature = "sim", ringway_loom))]
pub(crate) trait Simulated: Send + Sync {
    fn enter(&self, enter: Enter) -> Result<u32, Errno>;
    fn post(&self, user_data: u64) -> Result<(), Errno>;
}

/// A ring of the real kernel. The mapping goes before the descriptor.
#[cfg(not(ringway_loom))]
pub(crate) struct Real {
    /// What the views point into.
    pub(super) _mapping: Mapping,
    pub(super) fd: RingFd,
}

pub(crate) enum Kernel {
    #[cfg(not(ringway_loom))]
    Real(Real),
    #[cfg(any(feature = "sim", ringway_loom))]
    Simulated(Box<dyn Simulated>),
}

impl Kernel {
    #[inline(always)]
    pub(crate) fn enter(&self, enter: Enter) -> Result<u32, Errno> {
        match self {
            #[cfg(not(ringway_loom))]
            Kernel::Real(real) => enter_real(&real.fd, enter),
            #[cfg(any(feature = "sim", ringway_loom))]
            Kernel::Simulated(kernel) => kernel.enter(enter),
        }
    }

    /// Posts a CQE without the submission queue.
    pub(crate) fn post(&self, user_data: u64) -> Result<(), Errno> {
        match self {
            #[cfg(not(ringway_loom))]
            Kernel::Real(real) => post_real(&real.fd, user_data),
            #[cfg(any(feature = "sim", ringway_loom))]
            Kernel::Simulated(kernel) => kernel.post(user_data),
        }
    }
}

#[cfg(not(ringway_loom))]
#[inline(always)]
fn enter_real(fd: &RingFd, request: Enter) -> Result<u32, Errno> {
    let Enter {
        to_submit,
        min_complete,
        flags,
        timeout,
    } = request;
    let flags = flags | fd.enter_flag();
    let Some(timeout) = timeout else {
        // SAFETY: without EXT_ARG the kernel reads no argument; what the SQEs point to
        // was promised by the prep functions.
        return unsafe {
            syscall::io_uring_enter(
                fd.raw(),
                to_submit,
                min_complete,
                flags,
                std::ptr::null(),
                0,
            )
        };
    };
    let timeout = abi::Timespec::from(timeout);
    let argument = abi::GetEventsArg {
        ts: &raw const timeout as u64,
        ..Default::default()
    };
    // SAFETY: the argument and the timeout it points to outlive the call, and the
    // size is theirs.
    unsafe {
        syscall::io_uring_enter(
            fd.raw(),
            to_submit,
            min_complete,
            flags | enter::EXT_ARG,
            (&raw const argument).cast(),
            size_of_val(&argument),
        )
    }
}

#[cfg(not(ringway_loom))]
fn post_real(fd: &RingFd, user_data: u64) -> Result<(), Errno> {
    let ring = fd.borrow().ok_or(Errno::from_raw(libc::EBADF))?;
    message(ring, 0, user_data, 0)
}

/// `IORING_REGISTER_SEND_MSG_RING`, Linux 6.13: a message from no ring to this one.
#[cfg(not(ringway_loom))]
pub(crate) fn message(
    ring: BorrowedFd<'_>,
    len: u32,
    user_data: u64,
    cqe_flags: u32,
) -> Result<(), Errno> {
    // MSG_RING: `off` becomes the CQE's user_data and `len` its result.
    let mut message = abi::Sqe {
        opcode: op::MSG_RING,
        fd: ring.as_raw_fd(),
        off: user_data,
        len,
        op_flags: msg_ring::FLAGS_PASS,
        file_index: cqe_flags,
        ..Default::default()
    };
    // SAFETY: the kernel copies one SQE from the pointer during the call.
    unsafe { syscall::io_uring_register(-1, register::SEND_MSG_RING, (&raw mut message).cast(), 1) }
        .map(|_| ())
}
