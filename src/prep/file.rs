//! Opening, closing and syncing files.

use std::ffi::c_char;
use std::os::fd::RawFd;

use super::{Dir, Target, address};
use crate::abi::{self, Sqe, op};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_fsync`].
    FsyncFlags: u32 {
        /// Data, and only the metadata that reading it back needs, as fdatasync(2).
        DATASYNC = abi::fsync::DATASYNC,
    }
}

impl Sqe {
    /// Brings what was written to the file to stable storage.
    ///
    /// It covers writes that have completed: it does not wait for those that are in
    /// flight, so link it behind them or submit it after their CQEs. One CQE: `res`
    /// is 0. Linux 5.1; `io_uring_prep_fsync(3)`, `fsync(2)`.
    ///
    /// # Safety
    /// The file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_fsync<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        flags: FsyncFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            op_flags: flags.0,
            ..file.into().sqe(op::FSYNC)
        })
    }

    /// Opens the file at `path`, relative to `dir` or [`Dir::CWD`].
    ///
    /// `flags` are `libc::O_*`; `O_CLOEXEC` is not implied. `mode` is for files that
    /// `O_CREAT` or `O_TMPFILE` makes, less the umask. One CQE: `res` is the new
    /// descriptor, and the caller owns it, also if it has lost interest by then.
    /// Linux 5.6; `io_uring_prep_openat(3)`, `openat(2)`.
    ///
    /// ```
    /// use std::fs::File;
    /// use std::os::fd::{FromRawFd, OwnedFd};
    ///
    /// use ringway::{Ring, prep::Dir};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: the path is a constant.
    /// unsafe { slot.prep_openat(Dir::CWD, c"/proc/version".as_ptr(), flags, 0) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = loop {
    ///     match cq.reap() {
    ///         Some(cqe) => break cqe,
    ///         None => cq.wait(None)?,
    ///     };
    /// };
    /// // SAFETY: the kernel has just made this descriptor for us.
    /// let fd = unsafe { OwnedFd::from_raw_fd(cqe.result()?.try_into()?) };
    /// assert!(std::io::read_to_string(File::from(fd))?.starts_with("Linux"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `path` must point to a string that ends in NUL and stays until submit; the
    /// directory stays open until the CQE.
    #[inline]
    pub unsafe fn prep_openat<'fd>(
        &mut self,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
        flags: i32,
        mode: u32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::OPENAT,
            fd: dir.into().fd,
            addr: address(path),
            len: mode,
            op_flags: flags.cast_unsigned(),
            ..Sqe::default()
        })
    }

    /// Closes a descriptor of the process.
    ///
    /// One CQE: `res` is 0. The descriptor is gone also after an `EIO` or `ENOSPC`
    /// that an earlier write left behind; it is still open, and still the caller's,
    /// after `ECANCELED`. Operations that have started on the file keep it open, they
    /// are not cancelled. Linux 5.6; `io_uring_prep_close(3)`, `close(2)`.
    ///
    /// # Safety
    /// The caller owns `fd` (`into_raw_fd` of its owner gives it) and hands it over:
    /// nobody uses or closes it any more.
    #[inline]
    pub unsafe fn prep_close(&mut self, fd: RawFd) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::CLOSE,
            fd,
            ..Sqe::default()
        })
    }
}
