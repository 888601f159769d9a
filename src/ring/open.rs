//! From a builder to a ring of the real kernel.

use super::kernel::{Kernel, Real};
use super::local::{Disabled, Local};
use super::view::CqView;
use super::{Core, Ring};
use crate::setup::{Builder, Features, Mode, Opened, Probe, RingFd, SetupError};
use crate::sync::ReadMarks;
use crate::syscall::Errno;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

impl Builder<'_> {
    /// Makes a ring that threads share. Linux 5.18; with [`Order::Claim`](crate::Order) 6.6.
    ///
    /// # Errors
    ///
    /// [`SetupError`] names the argument, the flag, or why io_uring is unavailable. Refused are
    /// SQ_REWIND, flags that contradict each other, and those of local rings: SINGLE_ISSUER,
    /// DEFER_TASKRUN, COOP_TASKRUN, TASKRUN_FLAG, REGISTERED_FD_ONLY,
    /// [`register_ring_fd`](Self::register_ring_fd), [`legacy`](Self::legacy).
    pub fn build(self) -> Result<Ring, SetupError> {
        self.open(Mode::Shared, false)
            .map(Core::open)
            .map(Ring::new)
    }

    /// Makes a ring of the calling thread's own. Linux 5.18; with [`legacy`](Self::legacy)
    /// 5.10.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`]; of the flags, SQ_REWIND and those that contradict each other are
    /// refused.
    pub fn build_local(self) -> Result<Local, SetupError> {
        let opened = self.open(Mode::Local, false)?.on_its_thread()?;
        Ok(Local::new(Core::open(opened), None))
    }

    /// Makes a ring that does not run before it is enabled (R_DISABLED), by the thread that
    /// will own it. Linux 5.18; with [`legacy`](Self::legacy) 5.10.
    ///
    /// # Errors
    ///
    /// As [`Builder::build_local`]; REGISTERED_FD_ONLY is refused too. What a shared ring cannot
    /// have is refused by [`Disabled::enable`].
    pub fn build_disabled(self) -> Result<Disabled, SetupError> {
        self.open(Mode::Local, true).map(Disabled::new)
    }
}

impl Ring {
    /// Settings for a ring with this many SQEs: a power of two, 1 to 32768.
    pub fn builder<'fd>(entries: u32) -> Builder<'fd> {
        Builder::new(entries)
    }

    pub(super) fn new(core: Core) -> Self {
        Self {
            core: Arc::new(core),
        }
    }

    /// What the kernel said it can do.
    pub fn features(&self) -> Features {
        self.core.features()
    }

    /// Asks the kernel which opcodes it has. `io_uring_register(2)`, Linux 5.6.
    ///
    /// # Errors
    ///
    /// The kernel's errno: EACCES if a restriction forbids it; ENXIO for a simulated
    /// ring.
    pub fn probe(&self) -> Result<Probe, Errno> {
        self.core.probe()
    }

    /// The ring's descriptor; `None` for a simulated ring.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.core.fd()
    }
}

impl Core {
    pub(super) fn open(opened: Opened) -> Self {
        let Opened {
            fd,
            mapping,
            params,
            order,
            enter_flags,
            max_passes,
            ..
        } = opened;
        let pointers = mapping.pointers();
        let marks = ReadMarks::new(pointers.cq_entries);
        let kernel = Kernel::Real(Real::new(mapping, fd, enter_flags));
        // SAFETY: the core holds the mapping; it was made for this ring and this core.
        unsafe { Core::new(kernel, pointers, params, order, marks, max_passes) }
    }

    pub(super) fn features(&self) -> Features {
        Features::new(self.params.features)
    }

    pub(super) fn probe(&self) -> Result<Probe, Errno> {
        let fd = self.ring_fd().ok_or(Errno::from_raw(libc::ENXIO))?;
        crate::setup::probe(fd)
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.ring_fd().and_then(RingFd::borrow)
    }

    /// The completion side, for what is neither reaping nor waiting.
    pub(crate) fn cq_view(&self) -> &CqView {
        &self.cq.view
    }

    /// `None` for a simulated ring.
    pub(crate) fn ring_fd(&self) -> Option<&RingFd> {
        match &self.kernel {
            Kernel::Real(real) => Some(&real.fd),
            #[cfg(feature = "sim")]
            Kernel::Simulated(_) => None,
        }
    }
}
