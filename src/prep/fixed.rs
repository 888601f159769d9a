//! The ring's table of registered files.

use std::os::fd::RawFd;

use super::{Direct, Fixed, Target, address};
use crate::abi::{self, Sqe, op};
use crate::flags::flags;

/// In place of a descriptor for [`Sqe::prep_files_update`]: this place stays as it is.
pub const SKIP_FILE: RawFd = abi::files::SKIP;

flags! {
    /// Flags of [`Sqe::prep_fixed_fd_install`].
    InstallFlags: u32 {
        /// The descriptor stays open across an exec; without, it has `O_CLOEXEC`.
        NO_CLOEXEC = abi::install::NO_CLOEXEC,
    }
}

impl Sqe {
    /// Puts `count` files into the table of registered files.
    ///
    /// From [`Direct::at`] on, one place after the other: a descriptor replaces what was
    /// there, -1 empties the place, [`SKIP_FILE`] leaves it. With [`Direct::ALLOC`] each
    /// file gets a free place (Linux 5.19), whose index is written over the descriptor;
    /// neither -1 nor `SKIP_FILE` is taken there. The table holds the files themselves: the
    /// descriptors may be closed after the CQE.
    ///
    /// One CQE: `res` is the number of places done, those skipped included, which may be
    /// less than `count`; or why the first one failed. `EBADF` for a descriptor that is not
    /// open, or is a ring; `EINVAL` for places outside the table and a `count` of 0;
    /// `ENFILE` without a free place; `ENXIO` without a table. Linux 5.6;
    /// `io_uring_prep_files_update(3)`.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    ///
    /// use ringway::{Ring, prep::{Direct, Fixed}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// ring.registrar().register_files(&[None; 4])?;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let fds = Box::leak(Box::new([file.as_raw_fd()])); // stays, also if a `?` returns early
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `fds` is never freed, and left alone until the CQE is here; `file` is open
    /// // while the operation runs.
    /// unsafe { slot.prep_files_update(fds.as_mut_ptr(), 1, Direct::at(Fixed(2))) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("waited without a limit");
    /// assert_eq!(cqe.result()?, 1); // `Fixed(2)` is the file
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `fds` must be valid for reads of `count` elements, with [`Direct::ALLOC`] for writes
    /// too, and nobody else may write to them, until the CQE; the descriptors stay open
    /// until the CQE. Nobody counts on the files that are replaced.
    #[inline]
    pub unsafe fn prep_files_update(
        &mut self,
        fds: *mut RawFd,
        count: u32,
        place: Direct,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::FILES_UPDATE,
            fd: -1,
            off: place.index().into(),
            addr: address(fds),
            len: count,
            ..Sqe::default()
        })
    }

    /// Gives a registered file a descriptor of the process as well.
    ///
    /// One CQE: `res` is the new descriptor, which the caller owns; the table keeps its
    /// own. `EBADF` for an empty place and an index outside the table, `EPERM` with
    /// [`personality`](Sqe::personality). Linux 6.8; `io_uring_prep_fixed_fd_install(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_fixed_fd_install(&mut self, file: Fixed, flags: InstallFlags) -> &mut Sqe {
        self.reset_to(Sqe {
            op_flags: flags.0,
            ..Target::from(file).sqe(op::FIXED_FD_INSTALL)
        })
    }
}
