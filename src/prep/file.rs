//! What is done to an open file: closing, syncing, allocating, advising.

use std::ffi::c_void;
use std::os::fd::IntoRawFd;

use super::{Direct, Fixed, Target, address};
use crate::abi::{self, Sqe, op};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_fsync`].
    FsyncFlags: u32 {
        /// Data, and only the metadata that reading it back needs, as fdatasync(2).
        DATASYNC = abi::fsync::DATASYNC,
    }
}

flags! {
    /// Flags of [`Sqe::prep_sync_file_range`] (`SYNC_FILE_RANGE_*`). Without any nothing is
    /// done.
    SyncFileRangeFlags: u32 {
        // The values of linux/fs.h, for which libc has no names on Android.
        /// Waits until the pages that are being written are written.
        WAIT_BEFORE = 1,
        /// Starts to write the pages that are dirty.
        WRITE = 2,
        /// Waits, after that, until they are written.
        WAIT_AFTER = 4,
    }
}

flags! {
    /// What [`Sqe::prep_fallocate`] does (`FALLOC_FL_*`); with none of them it allocates
    /// the range. What a file system cannot do ends in `EOPNOTSUPP`. See `fallocate(2)`.
    FallocateFlags: u32 {
        /// The size of the file stays, also if the range goes beyond its end.
        KEEP_SIZE = libc::FALLOC_FL_KEEP_SIZE.cast_unsigned(),
        /// Frees the range, which then reads as zeros. Needs `KEEP_SIZE`.
        PUNCH_HOLE = libc::FALLOC_FL_PUNCH_HOLE.cast_unsigned(),
        /// Takes the range out; what follows it moves to the front.
        COLLAPSE_RANGE = libc::FALLOC_FL_COLLAPSE_RANGE.cast_unsigned(),
        /// Makes the range read as zeros, and keeps it allocated.
        ZERO_RANGE = libc::FALLOC_FL_ZERO_RANGE.cast_unsigned(),
        /// Makes room: what follows moves to the back.
        INSERT_RANGE = libc::FALLOC_FL_INSERT_RANGE.cast_unsigned(),
        /// Gives the range blocks of its own where it shares them with another file.
        UNSHARE_RANGE = libc::FALLOC_FL_UNSHARE_RANGE.cast_unsigned(),
    }
}

impl Sqe {
    /// Closes a descriptor of the process: an owner of one (`File`, `OwnedFd`), which is
    /// used up, or its number.
    ///
    /// One CQE: `res` is 0; `EBADF` also for a ring. The descriptor is gone also after an
    /// `EIO` or `ENOSPC` that an earlier write left behind. It is still open after
    /// `ECANCELED`, and if the SQE is never submitted: who wants to close it then has kept
    /// the number. Operations that have started on the file keep it open, they are not
    /// cancelled. Linux 5.6; `io_uring_prep_close(3)`, `close(2)`.
    ///
    /// # Safety
    /// The caller owns `fd` (which an `OwnedFd` proves, and a number does not) and hands it
    /// over: nobody uses or closes it any more.
    #[inline]
    pub unsafe fn prep_close(&mut self, fd: impl IntoRawFd) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::CLOSE,
            fd: fd.into_raw_fd(),
            ..Sqe::default()
        })
    }

    /// Empties a place in the table of registered files; the file is closed when nobody
    /// else has it open and the operations that have started on it have ended.
    ///
    /// One CQE: `res` is 0; `EBADF` for an empty place, `EINVAL` for an index outside the
    /// table, `ENXIO` without a table. Linux 5.15; `io_uring_prep_close_direct(3)`.
    ///
    /// # Safety
    /// Nobody counts on the file being there any more.
    #[inline]
    pub unsafe fn prep_close_direct(&mut self, file: Fixed) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::CLOSE,
            file_index: Direct::at(file).field(),
            ..Sqe::default()
        })
    }

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

    /// Writes the dirty pages of a range to the device, or waits for that.
    ///
    /// `len` bytes from `offset` on, 0 for all up to the end. Neither metadata nor the
    /// device's own cache is covered: it is no [`prep_fsync`](Sqe::prep_fsync). One CQE:
    /// `res` is 0; `ESPIPE` for what has no pages, `EINVAL` for an `offset` above
    /// `i64::MAX`. Linux 5.2; `io_uring_prep_sync_file_range(3)`, `sync_file_range(2)`.
    ///
    /// # Safety
    /// The file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_sync_file_range<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        len: u32,
        offset: u64,
        flags: SyncFileRangeFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            len,
            op_flags: flags.0,
            ..file.into().sqe(op::SYNC_FILE_RANGE)
        })
    }

    /// Allocates a range of the file, or does to it what `mode` says.
    ///
    /// `len` bytes from `offset` on. One CQE: `res` is 0; `EINVAL` for a `len` of 0 and for
    /// numbers above `i64::MAX`, `EBADF` for a file that is not open for writing. Linux 5.6;
    /// `io_uring_prep_fallocate(3)`, `fallocate(2)`.
    ///
    /// ```
    /// use ringway::{Ring, prep::FallocateFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let file = tempfile::tempfile()?;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `file` stays open until the CQE.
    /// unsafe { slot.prep_fallocate(&file, FallocateFlags::NONE, 0, 4096) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("waited without a limit");
    /// cqe.result()?;
    /// assert_eq!(file.metadata()?.len(), 4096);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// The file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_fallocate<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        mode: FallocateFlags,
        offset: u64,
        len: u64,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            // 64 bits are needed for the length, and the field of that name has 32.
            addr: len,
            len: mode.0,
            ..file.into().sqe(op::FALLOCATE)
        })
    }

    /// Makes the file `len` bytes long: cuts it, or adds zeros.
    ///
    /// One CQE: `res` is 0; `EINVAL` for a file that is not open for writing and for a
    /// `len` above `i64::MAX`. Linux 6.9; `io_uring_prep_ftruncate(3)`, `ftruncate(2)`.
    ///
    /// # Safety
    /// The file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_ftruncate<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        len: u64,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: len,
            ..file.into().sqe(op::FTRUNCATE)
        })
    }

    /// Says how a range of the file will be used.
    ///
    /// `len` bytes from `offset` on, 0 for all up to the end; `advice` is one of
    /// `libc::POSIX_FADV_*`. One CQE: `res` is 0; `ESPIPE` for a pipe. Linux 5.6;
    /// `io_uring_prep_fadvise(3)`, `posix_fadvise(2)`.
    ///
    /// # Safety
    /// The file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_fadvise<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        offset: u64,
        len: u32,
        advice: i32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            len,
            op_flags: advice.cast_unsigned(),
            ..file.into().sqe(op::FADVISE)
        })
    }

    /// [`prep_fadvise`](Sqe::prep_fadvise) for a longer range. Linux 6.11, `EINVAL` before;
    /// `io_uring_prep_fadvise64(3)`.
    ///
    /// # Safety
    /// As for [`prep_fadvise`](Sqe::prep_fadvise).
    #[inline]
    pub unsafe fn prep_fadvise64<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        offset: u64,
        len: u64,
        advice: i32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            // Another field than the 32 bits' one, which older kernels read alone.
            addr: len,
            op_flags: advice.cast_unsigned(),
            ..file.into().sqe(op::FADVISE)
        })
    }

    /// Says how memory will be used, or what to do with it.
    ///
    /// `len` bytes from `addr` on, which begins a page; `advice` is one of `libc::MADV_*`.
    /// One CQE: `res` is 0; `EINVAL` for an `addr` inside a page, `ENOMEM` when part of the
    /// range is not mapped. Linux 5.6; `io_uring_prep_madvise(3)`, `madvise(2)`.
    ///
    /// # Safety
    /// The range must stay mapped until the CQE, and it must be the caller's to do with
    /// what the advice does: `MADV_DONTNEED`, for one, takes the content away, whoever
    /// reads it.
    #[inline]
    pub unsafe fn prep_madvise(&mut self, addr: *mut c_void, len: u32, advice: i32) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::MADVISE,
            fd: -1,
            addr: address(addr),
            len,
            op_flags: advice.cast_unsigned(),
            ..Sqe::default()
        })
    }

    /// [`prep_madvise`](Sqe::prep_madvise) for a longer range. Linux 6.11, `EINVAL` before;
    /// `io_uring_prep_madvise64(3)`.
    ///
    /// # Safety
    /// As for [`prep_madvise`](Sqe::prep_madvise).
    #[inline]
    pub unsafe fn prep_madvise64(&mut self, addr: *mut c_void, len: u64, advice: i32) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::MADVISE,
            fd: -1,
            // Another field than the 32 bits' one, which older kernels read alone.
            off: len,
            addr: address(addr),
            op_flags: advice.cast_unsigned(),
            ..Sqe::default()
        })
    }
}
