//! Reading and writing.

use super::{Target, address};
use crate::abi::{Sqe, op};
use crate::flags::flags;

/// The offset that means "at the file's own position, and advance it", as read(2)
/// and write(2) do. Operations that run at the same time share that one position.
/// Linux 5.6.
pub const CURRENT_POSITION: u64 = u64::MAX;

flags! {
    /// Flags of one read or write (`RWF_*`). See `preadv2(2)`.
    RwFlags: u32 {
        /// Polls for completion where the device can. Needs an `IOPOLL` ring.
        HIPRI = libc::RWF_HIPRI.cast_unsigned(),
        /// The data of this write is on stable storage when it completes.
        DSYNC = libc::RWF_DSYNC.cast_unsigned(),
        /// The data and metadata of this write are on stable storage when it completes.
        SYNC = libc::RWF_SYNC.cast_unsigned(),
        /// Ends in `EAGAIN` instead of waiting.
        NOWAIT = libc::RWF_NOWAIT.cast_unsigned(),
        /// Writes at the end of the file, whatever the offset.
        APPEND = libc::RWF_APPEND.cast_unsigned(),
    }
}

impl Sqe {
    /// Reads up to `len` bytes at `offset` into `buf`.
    ///
    /// `offset` is in bytes; 0 or [`CURRENT_POSITION`] for what has no positions (a
    /// pipe, a socket). One CQE: `res` is the number of bytes read, which may be less
    /// than `len` and is always less than 2 GiB; 0 is the end of the file. Linux 5.6;
    /// `io_uring_prep_read(3)`, `pread(2)`.
    ///
    /// ```
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let mut magic = [0u8; 4];
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `magic` and `file` are kept, and left alone, until the CQE is here.
    /// unsafe { slot.prep_read(&file, magic.as_mut_ptr(), 4, 0) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = loop {
    ///     match cq.reap() {
    ///         Some(cqe) => break cqe,
    ///         None => cq.wait(None)?,
    ///     };
    /// };
    /// assert_eq!(cqe.result()?, 4);
    /// assert_eq!(&magic, b"\x7fELF");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `buf` must be valid for writes of `len` bytes, and nobody else may access
    /// them, until the CQE; the file stays open until the CQE. With
    /// [`buffer_select`](Sqe::buffer_select) `buf` is not used.
    #[inline]
    pub unsafe fn prep_read<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        buf: *mut u8,
        len: u32,
        offset: u64,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(buf),
            len,
            ..file.into().sqe(op::READ)
        })
    }

    /// Writes up to `len` bytes from `buf` at `offset`.
    ///
    /// `offset` is in bytes; 0 or [`CURRENT_POSITION`] for what has no positions. One
    /// CQE: `res` is the number of bytes written, which may be less than `len` and
    /// is always less than 2 GiB. Linux 5.6; `io_uring_prep_write(3)`, `pwrite(2)`.
    ///
    /// # Safety
    /// `buf` must be valid for reads of `len` bytes, and nobody may write to them,
    /// until the CQE; the file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_write<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        buf: *const u8,
        len: u32,
        offset: u64,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(buf),
            len,
            ..file.into().sqe(op::WRITE)
        })
    }

    /// Reads at `offset` into `count` buffers, filling one after the other.
    ///
    /// For one buffer [`prep_read`](Sqe::prep_read) is cheaper. At most 1024 buffers.
    /// One CQE, `res` as for [`prep_read`](Sqe::prep_read). Linux 5.1;
    /// `io_uring_prep_readv(3)`, `preadv(2)`.
    ///
    /// # Safety
    /// `iovecs` must be valid for reads of `count` elements until submit. The buffers
    /// that they name must be valid for writes, and nobody else may access them, until
    /// the CQE; the file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_readv<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_readv2(file, iovecs, count, offset, RwFlags::NONE) }
    }

    /// [`prep_readv`](Sqe::prep_readv) with flags. `io_uring_prep_readv2(3)`,
    /// `preadv2(2)`, which gives the kernel of each flag.
    ///
    /// # Safety
    /// As for [`prep_readv`](Sqe::prep_readv).
    #[inline]
    pub unsafe fn prep_readv2<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
        flags: RwFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(iovecs),
            len: count,
            op_flags: flags.0,
            ..file.into().sqe(op::READV)
        })
    }

    /// Writes `count` buffers, one after the other, at `offset`.
    ///
    /// For one buffer [`prep_write`](Sqe::prep_write) is cheaper. At most 1024
    /// buffers. One CQE, `res` as for [`prep_write`](Sqe::prep_write). Linux 5.1;
    /// `io_uring_prep_writev(3)`, `pwritev(2)`.
    ///
    /// # Safety
    /// `iovecs` must be valid for reads of `count` elements until submit. The buffers
    /// that they name must be valid for reads, and nobody may write to them, until the
    /// CQE; the file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_writev<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_writev2(file, iovecs, count, offset, RwFlags::NONE) }
    }

    /// [`prep_writev`](Sqe::prep_writev) with flags. `io_uring_prep_writev2(3)`,
    /// `pwritev2(2)`, which gives the kernel of each flag.
    ///
    /// # Safety
    /// As for [`prep_writev`](Sqe::prep_writev).
    #[inline]
    pub unsafe fn prep_writev2<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
        flags: RwFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(iovecs),
            len: count,
            op_flags: flags.0,
            ..file.into().sqe(op::WRITEV)
        })
    }
}
