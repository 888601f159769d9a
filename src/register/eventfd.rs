//! An eventfd that tells of completions.

use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::Registrar;
use crate::abi::{cq_flags, register};
use crate::ring::{Core, Local, Ring};
use crate::syscall::Errno;

/// An eventfd that is signalled when completions are posted: for a program that waits by
/// `poll(2)` or `epoll(7)` already. A ring has at most one, and keeps the eventfd itself, so
/// the descriptor may be closed.
///
/// It is a hint: one signal may stand for several completions, one may come without any,
/// and its count is not their number. Read it first and reap afterwards, until there is
/// nothing.
impl Registrar<'_> {
    /// Signals this eventfd whenever completions are posted.
    ///
    /// Linux 5.2; `io_uring_register_eventfd(3)`.
    ///
    /// ```
    /// use std::os::fd::{FromRawFd, OwnedFd};
    ///
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// // SAFETY: no pointers.
    /// let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    /// assert!(fd >= 0);
    /// // SAFETY: the kernel has just made this descriptor for us.
    /// let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
    /// ring.registrar().register_eventfd(&eventfd)?;
    ///
    /// ring.wake(7)?;
    /// let mut count = [0u8; 8];
    /// std::io::Read::read_exact(&mut std::fs::File::from(eventfd), &mut count)?;
    /// assert!(u64::from_ne_bytes(count) > 0);
    /// assert_eq!(ring.cq().reap().expect("what it tells of").user_data(), 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is one already; `EINVAL` for a file that is no eventfd; `ENOMEM`.
    pub fn register_eventfd(self, eventfd: impl AsFd) -> Result<(), Errno> {
        self.eventfd(register::EVENTFD, &eventfd)
    }

    /// As [`register_eventfd`](Self::register_eventfd), but only by kernel worker threads:
    /// for operations that had to be given to one, or were with
    /// [`force_async`](crate::Sqe::force_async).
    ///
    /// Not for one that waited until its file was ready: the thread that submitted it
    /// completes it. Linux 5.6; `io_uring_register_eventfd_async(3)`.
    ///
    /// # Errors
    ///
    /// As [`register_eventfd`](Self::register_eventfd).
    pub fn register_eventfd_async(self, eventfd: impl AsFd) -> Result<(), Errno> {
        self.eventfd(register::EVENTFD_ASYNC, &eventfd)
    }

    fn eventfd(self, opcode: u32, eventfd: &impl AsFd) -> Result<(), Errno> {
        let mut fd = eventfd.as_fd().as_raw_fd();
        // SAFETY: the kernel reads one descriptor during the call.
        unsafe { self.register(opcode, ptr::from_mut(&mut fd).cast(), 1) }.map(|_| ())
    }

    /// Signals the eventfd no more.
    ///
    /// Linux 5.2; `io_uring_unregister_eventfd(3)`.
    ///
    /// # Errors
    ///
    /// `ENXIO` when there is none.
    pub fn unregister_eventfd(self) -> Result<(), Errno> {
        // SAFETY: the opcode takes no argument.
        unsafe { self.register(register::UNREGISTER_EVENTFD, ptr::null_mut(), 0) }.map(|_| ())
    }
}

impl Ring {
    /// Switches the signals of a registered eventfd off or on, without a system call.
    ///
    /// A completion that is posted meanwhile may still signal, or no longer; so after
    /// switching on, reap once more before waiting for a signal. Whether an eventfd is
    /// registered makes no difference, and registering one does not switch on. Linux 5.8;
    /// `io_uring_cq_eventfd_toggle(3)`.
    pub fn cq_eventfd_toggle(&self, enabled: bool) {
        self.core.cq_eventfd_toggle(enabled);
    }

    /// Whether the signals are on, as they are at the start.
    ///
    /// `io_uring_cq_eventfd_enabled(3)`.
    pub fn cq_eventfd_enabled(&self) -> bool {
        self.core.cq_eventfd_enabled()
    }
}

impl Local {
    /// See [`Ring::cq_eventfd_toggle`].
    pub fn cq_eventfd_toggle(&self, enabled: bool) {
        self.core.cq_eventfd_toggle(enabled);
    }

    /// See [`Ring::cq_eventfd_enabled`].
    pub fn cq_eventfd_enabled(&self) -> bool {
        self.core.cq_eventfd_enabled()
    }
}

impl Core {
    fn cq_eventfd_toggle(&self, enabled: bool) {
        // The only flag there is.
        self.cq_view().set_flags(match enabled {
            true => 0,
            false => cq_flags::EVENTFD_DISABLED,
        });
    }

    fn cq_eventfd_enabled(&self) -> bool {
        self.cq_view().flags() & cq_flags::EVENTFD_DISABLED == 0
    }
}
