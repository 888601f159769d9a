//! What names a ring in system calls: a descriptor, an index of this thread's, or both.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::{ffi::c_void, ptr};

use crate::abi::{self, enter, features, register};
use crate::syscall::{self, Errno};

/// What names the ring in system calls.
#[derive(Debug)]
pub(crate) enum RingFd {
    /// A file descriptor, closed on exec. Shared with those who post to the ring from
    /// other threads.
    Owned(Arc<OwnedFd>),
    /// A descriptor, and an index that the ring is entered by. Only for a ring that stays
    /// on its thread.
    Both(RegisteredIndex, Arc<OwnedFd>),
    /// `REGISTERED_FD_ONLY`. Setup makes it for a local ring that is not disabled
    /// only: one that stays on its thread.
    Registered(RegisteredIndex),
}

/// One of the thread's places for registered rings; given back when dropped, which closes
/// the ring if nothing else holds it open. Whoever owns it keeps it on its thread.
#[derive(Debug)]
pub(crate) struct RegisteredIndex {
    index: u32,
    /// Whose thread's it is: a forked child has places of its own.
    process: u32,
    /// Before Linux 6.3, `io_uring_register` takes the descriptor only.
    registers_by: Option<Arc<OwnedFd>>,
}

impl RingFd {
    pub(crate) fn owned(fd: OwnedFd) -> Self {
        Self::Owned(Arc::new(fd))
    }

    pub(crate) fn registered(index: u32) -> Self {
        Self::Registered(RegisteredIndex::new(index, None))
    }

    /// The ring by an index of the calling thread as well.
    pub(crate) fn register_index(self, features: u32) -> Result<Self, Errno> {
        match self {
            Self::Owned(fd) => Ok(Self::Both(RegisteredIndex::of(&fd, features)?, fd)),
            has_one => Ok(has_one),
        }
    }

    /// What `io_uring_enter` takes as `fd`, and what it takes in its flags for that.
    pub(crate) fn to_enter(&self) -> (i32, u32) {
        match self {
            Self::Owned(fd) => (fd.as_raw_fd(), 0),
            Self::Both(index, _) | Self::Registered(index) => index.to_enter(),
        }
    }

    /// The file descriptor, if there is one.
    pub(crate) fn borrow(&self) -> Option<BorrowedFd<'_>> {
        self.shared().map(|fd| fd.as_fd())
    }

    pub(crate) fn shared(&self) -> Option<&Arc<OwnedFd>> {
        match self {
            Self::Owned(fd) | Self::Both(_, fd) => Some(fd),
            Self::Registered(_) => None,
        }
    }

    /// `io_uring_register(2)` on this ring.
    ///
    /// # Safety
    /// As for [`syscall::io_uring_register`].
    pub(crate) unsafe fn register(&self, op: u32, arg: *mut c_void, nr: u32) -> Result<u32, Errno> {
        let (fd, registered) = match self {
            Self::Owned(fd) => (fd.as_raw_fd(), 0),
            Self::Both(index, _) | Self::Registered(index) => index.to_register(),
        };
        // SAFETY: the caller's promise, passed on.
        unsafe { syscall::io_uring_register(fd, op | registered, arg, nr) }
    }
}

impl RegisteredIndex {
    fn new(index: u32, registers_by: Option<Arc<OwnedFd>>) -> Self {
        let process = std::process::id();
        Self {
            index,
            process,
            registers_by,
        }
    }

    /// A place for this ring, among those of the calling thread.
    pub(crate) fn of(fd: &Arc<OwnedFd>, features: u32) -> Result<Self, Errno> {
        let mut update = abi::RsrcUpdate {
            // Any place that is free; the kernel writes which.
            offset: u32::MAX,
            // A descriptor is not negative.
            data: fd.as_raw_fd() as u64,
            ..abi::RsrcUpdate::default()
        };
        // SAFETY: the kernel reads and writes one update during the call.
        unsafe {
            syscall::io_uring_register(
                fd.as_raw_fd(),
                register::RING_FDS,
                ptr::from_mut(&mut update).cast(),
                1,
            )
        }?;
        let registers_by = (features & features::REG_REG_RING == 0).then(|| fd.clone());
        Ok(Self::new(update.offset, registers_by))
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// As [`RingFd::to_enter`].
    pub(crate) fn to_enter(&self) -> (i32, u32) {
        (self.raw(), enter::REGISTERED_RING)
    }

    /// What `io_uring_register` takes as `fd`, and in its opcode for that.
    fn to_register(&self) -> (i32, u32) {
        match &self.registers_by {
            Some(fd) => (fd.as_raw_fd(), 0),
            None => (self.raw(), register::USE_REGISTERED_RING),
        }
    }

    fn raw(&self) -> i32 {
        // An index is 0 to 15.
        self.index as i32
    }
}

impl Drop for RegisteredIndex {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        let mut update = abi::RsrcUpdate {
            offset: self.index,
            ..abi::RsrcUpdate::default()
        };
        let (fd, registered) = self.to_register();
        // SAFETY: the kernel reads one update during the call. If it refuses (a restriction
        // forbids it), the place is taken until the thread exits.
        let _ = unsafe {
            syscall::io_uring_register(
                fd,
                register::UNREGISTER_RING_FDS | registered,
                ptr::from_mut(&mut update).cast(),
                1,
            )
        };
    }
}
