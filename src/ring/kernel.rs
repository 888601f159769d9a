//! The kernel as the ring sees it: one that is entered, real or simulated.

#[cfg(not(ringway_loom))]
use super::wait_args::Wait;
use crate::syscall::Errno;
#[cfg(not(ringway_loom))]
use crate::{
    abi::{self, enter, msg_ring, op, register},
    mapping::Mapping,
    setup::{RegisteredIndex, RingFd},
    syscall,
};
use std::time::Duration;
#[cfg(not(ringway_loom))]
use std::{
    ffi::c_void,
    os::fd::{AsRawFd, BorrowedFd},
};

/// By which name a ring is entered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum By {
    /// Its own.
    #[default]
    Ring,
    /// An index of the calling thread's.
    #[cfg(not(ringway_loom))]
    Index(i32),
}

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
    /// A simulated ring has no name.
    #[cfg_attr(ringway_loom, allow(dead_code))]
    pub(crate) by: By,
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
    pub(super) mapping: Mapping,
    pub(super) fd: RingFd,
    /// What `fd` says to enter by.
    enter_fd: i32,
    /// Set in each enter.
    enter_flags: u32,
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
            Kernel::Real(real) => real.enter(enter),
            #[cfg(any(feature = "sim", ringway_loom))]
            Kernel::Simulated(kernel) => kernel.enter(enter),
        }
    }

    /// Posts a CQE without the submission queue.
    pub(crate) fn post(&self, user_data: u64) -> Result<(), Errno> {
        match self {
            #[cfg(not(ringway_loom))]
            Kernel::Real(real) => match real.fd.borrow() {
                Some(fd) => post(fd, user_data),
                None => Err(Errno::from_raw(libc::EBADF)),
            },
            #[cfg(any(feature = "sim", ringway_loom))]
            Kernel::Simulated(kernel) => kernel.post(user_data),
        }
    }
}

#[cfg(not(ringway_loom))]
impl Real {
    /// `flags` are set in each enter.
    pub(super) fn new(mapping: Mapping, fd: RingFd, flags: u32) -> Self {
        let (enter_fd, by_index) = fd.to_enter();
        Self {
            mapping,
            fd,
            enter_fd,
            enter_flags: flags | by_index,
        }
    }

    #[inline(always)]
    fn enter(&self, request: Enter) -> Result<u32, Errno> {
        let Some(timeout) = request.timeout else {
            // SAFETY: without EXT_ARG the kernel reads no argument.
            return unsafe { self.enter_with(request, std::ptr::null(), 0) };
        };
        Wait::new().timeout(timeout).enter(self, request)
    }

    /// Enters with an argument; the request's own timeout is not looked at.
    ///
    /// # Safety
    ///
    /// `argument` and `size` are what the request's flags say they are, and what it points
    /// to is valid for reads during the call. What the SQEs point to was promised by the
    /// prep functions.
    #[inline(always)]
    pub(super) unsafe fn enter_with(
        &self,
        request: Enter,
        argument: *const c_void,
        size: usize,
    ) -> Result<u32, Errno> {
        let (fd, flags) = match request.by {
            By::Ring => (self.enter_fd, self.enter_flags),
            By::Index(index) => (index, self.enter_flags | enter::REGISTERED_RING),
        };
        // SAFETY: the caller's promise, passed on.
        unsafe {
            syscall::io_uring_enter(
                fd,
                request.to_submit,
                request.min_complete,
                request.flags | flags,
                argument,
                size,
            )
        }
    }
}

#[cfg(not(ringway_loom))]
impl From<&RegisteredIndex> for By {
    fn from(index: &RegisteredIndex) -> Self {
        Self::Index(index.to_enter().0)
    }
}

#[cfg(not(ringway_loom))]
pub(super) fn post(ring: BorrowedFd<'_>, user_data: u64) -> Result<(), Errno> {
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
