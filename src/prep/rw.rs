//! Reading and writing.

use super::{Target, address};
use crate::abi::{AttrPi, Sqe, op, rw_attr};
use crate::flags::flags;

/// The offset that means "at the file's own position, and advance it", as read(2)
/// and write(2) do. Operations that run at the same time share that one position.
/// Linux 5.6.
pub const CURRENT_POSITION: u64 = u64::MAX;

flags! {
    /// Flags of one read or write (`RWF_*`), see `preadv2(2)`: for
    /// [`Sqe::prep_readv2`] and the like, and for [`Sqe::rw_flags`]. What the file cannot
    /// do ends in `EOPNOTSUPP`.
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
        /// Writes at the offset, also to a file that was opened with `O_APPEND`.
        /// Linux 6.9.
        NOAPPEND = libc::RWF_NOAPPEND.cast_unsigned(),
        /// After a crash all of this write is there, or nothing of it. For `O_DIRECT`,
        /// with lengths and offsets that the file allows: see `statx(2)`. Linux 6.11.
        ATOMIC = libc::RWF_ATOMIC.cast_unsigned(),
        /// Goes through the page cache and leaves nothing in it. Linux 6.14.
        DONTCACHE = libc::RWF_DONTCACHE.cast_unsigned(),
        /// No `SIGPIPE` when a pipe or socket has no reader any more; `EPIPE` still.
        /// Linux 6.18.
        // RWF_NOSIGNAL: libc does not have it.
        NOSIGNAL = 1 << 8,
    }
}

flags! {
    /// What the device checks of a [`PiAttribute`] (`IO_INTEGRITY_CHK_*`).
    PiFlags: u16 {
        /// The guard tag: a checksum of the data.
        GUARD = 1,
        /// The reference tag: a block's place, counted from the seed.
        REFTAG = 1 << 1,
        /// The application tag.
        APPTAG = 1 << 2,
    }
}

/// Protection information that goes with a read or a write, one tuple for each block of
/// a device that keeps such metadata: for [`Sqe::pi_attribute`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct PiAttribute(AttrPi);

impl PiAttribute {
    /// The tuples lie in the `len` bytes at `buf`: a write takes them from there, a read
    /// puts them there.
    pub fn new(buf: *mut u8, len: u32, flags: PiFlags) -> Self {
        Self(AttrPi {
            flags: flags.0,
            len,
            addr: address(buf),
            ..AttrPi::default()
        })
    }

    /// What [`PiFlags::APPTAG`] compares with; 0 unless told.
    #[must_use]
    pub fn app_tag(mut self, app_tag: u16) -> Self {
        self.0.app_tag = app_tag;
        self
    }

    /// Where [`PiFlags::REFTAG`] counts from; 0 unless told.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }
}

/// How urgent a read or write is to the device's scheduler, for [`Sqe::ioprio`]. See
/// `ioprio_set(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IoPriority(u16);

impl IoPriority {
    /// Only when nobody else needs the device.
    pub const IDLE: Self = Self::class(3, 0);

    /// Before all that is not real-time; 0 is the first of the 8 levels, and a level
    /// above 7 is 7. `EPERM` without `CAP_SYS_NICE` or `CAP_SYS_ADMIN`.
    pub const fn real_time(level: u8) -> Self {
        Self::class(1, level)
    }

    /// The usual class; 0 is the first of the 8 levels, 4 the usual one, and a level
    /// above 7 is 7.
    pub const fn best_effort(level: u8) -> Self {
        Self::class(2, level)
    }

    /// This value of `ioprio_set(2)`: with hints (Linux 6.5), or of a later kernel.
    /// `EINVAL` if the kernel does not know it.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The value as the kernel takes it.
    pub const fn bits(self) -> u16 {
        self.0
    }

    // IOPRIO_CLASS_* and IOPRIO_PRIO_VALUE of linux/ioprio.h: libc does not have them.
    const fn class(class: u16, level: u8) -> Self {
        let level = if level < 7 { level } else { 7 };
        Self(class << 13 | level as u16)
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
    /// let sq = ring.sq();
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let magic = Box::leak(Box::new([0u8; 4])); // stays, also if a `?` returns early
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `magic` is never freed, and left alone until the CQE is here; `file` is open
    /// // while the read starts.
    /// unsafe { slot.prep_read(&file, magic.as_mut_ptr(), 4, 0) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = ring.cq().wait_one(None)?.expect("it waits until one comes");
    /// assert_eq!(cqe.result()?, 4);
    /// assert_eq!(magic, b"\x7fELF");
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
    /// For one buffer [`prep_read`](Sqe::prep_read) is cheaper. At most 1024 buffers; with
    /// [`buffer_select`](Sqe::buffer_select) one, of which the length alone is used. One
    /// CQE, `res` as for [`prep_read`](Sqe::prep_read). Linux 5.1;
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

    /// Reads into a registered buffer: [`prep_read`](Sqe::prep_read) without the cost of
    /// pinning memory for each operation.
    ///
    /// The `len` bytes at `buf` lie anywhere in the registered buffer `buf_index`. (In one
    /// that a driver has registered, `buf` is the offset from its start.) One CQE, `res` as
    /// for [`prep_read`](Sqe::prep_read); `EFAULT` if the bytes are not all in the buffer,
    /// or there is no such buffer. Linux 5.1; `io_uring_prep_read_fixed(3)`.
    ///
    /// # Safety
    /// `buf` must be valid for writes of `len` bytes, and nobody else may access them,
    /// until the CQE; the file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_read_fixed<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        buf: *mut u8,
        len: u32,
        offset: u64,
        buf_index: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(buf),
            len,
            buf_index,
            ..file.into().sqe(op::READ_FIXED)
        })
    }

    /// Writes from a registered buffer, which is as for
    /// [`prep_read_fixed`](Sqe::prep_read_fixed).
    ///
    /// One CQE, `res` as for [`prep_write`](Sqe::prep_write); `EFAULT` as for
    /// [`prep_read_fixed`](Sqe::prep_read_fixed). Linux 5.1;
    /// `io_uring_prep_write_fixed(3)`.
    ///
    /// # Safety
    /// `buf` must be valid for reads of `len` bytes, and nobody may write to them,
    /// until the CQE; the file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_write_fixed<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        buf: *const u8,
        len: u32,
        offset: u64,
        buf_index: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(buf),
            len,
            buf_index,
            ..file.into().sqe(op::WRITE_FIXED)
        })
    }

    /// Reads into `count` parts of one registered buffer, filling one after the other.
    ///
    /// At most 1024 parts, none of them empty. One CQE, `res` as for
    /// [`prep_read`](Sqe::prep_read); `EFAULT` if a part is not in the buffer `buf_index`
    /// or is empty, or there is no such buffer. Linux 6.15;
    /// `io_uring_prep_readv_fixed(3)`.
    ///
    /// # Safety
    /// As for [`prep_readv`](Sqe::prep_readv).
    #[inline]
    pub unsafe fn prep_readv_fixed<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
        flags: RwFlags,
        buf_index: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(iovecs),
            len: count,
            op_flags: flags.0,
            buf_index,
            ..file.into().sqe(op::READV_FIXED)
        })
    }

    /// Writes `count` parts of one registered buffer, one after the other, at `offset`.
    ///
    /// The parts and `EFAULT` are as for [`prep_readv_fixed`](Sqe::prep_readv_fixed). One
    /// CQE, `res` as for [`prep_write`](Sqe::prep_write). Linux 6.15;
    /// `io_uring_prep_writev_fixed(3)`.
    ///
    /// # Safety
    /// As for [`prep_writev`](Sqe::prep_writev).
    #[inline]
    pub unsafe fn prep_writev_fixed<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        iovecs: *const libc::iovec,
        count: u32,
        offset: u64,
        flags: RwFlags,
        buf_index: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            addr: address(iovecs),
            len: count,
            op_flags: flags.0,
            buf_index,
            ..file.into().sqe(op::WRITEV_FIXED)
        })
    }

    /// Reads again and again, whenever there is something to read, each time into another
    /// buffer of the group.
    ///
    /// Any number of CQEs: each names its buffer, and `res` is the number of bytes in it.
    /// All but the last have the `MORE` flag. The last one comes at the end of the file
    /// (0), with an error, after a cancel, when the group is empty (`ENOBUFS`), or when the
    /// CQ is full. For files that can be polled: a pipe, a terminal; `EBADFD` for others,
    /// such as a regular file. `offset` is as for [`prep_read`](Sqe::prep_read).
    /// Linux 6.7; `io_uring_prep_read_multishot(3)`, whose `nbytes` the kernel wants to be
    /// 0.
    ///
    /// # Safety
    /// The file stays open until the first CQE. What the buffers need is said where they
    /// are provided.
    #[inline]
    pub unsafe fn prep_read_multishot<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        offset: u64,
        group: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: offset,
            ..file.into().sqe(op::READ_MULTISHOT)
        })
        .buffer_select(group)
    }
}

/// What a read or write can carry besides, set after its prep. Any of them: also with
/// several buffers, with registered ones, multishot.
///
/// Unsafe because other operations keep other things in the same places: the length of an
/// address, the kind of an advice.
impl Sqe {
    /// Sets the flags, in place of those that the prep was given.
    ///
    /// # Safety
    /// The last prep was one for reading or writing.
    #[inline(always)]
    pub unsafe fn rw_flags(&mut self, flags: RwFlags) -> &mut Sqe {
        self.op_flags = flags.0;
        self
    }

    /// Sets the priority; without it, it is that of the thread that submits.
    ///
    /// # Safety
    /// The last prep was one for reading or writing.
    #[inline(always)]
    pub unsafe fn ioprio(&mut self, priority: IoPriority) -> &mut Sqe {
        self.ioprio = priority.0;
        self
    }

    /// Names the device's stream that a direct write belongs to: data of one stream are
    /// laid out, and erased, together. 0, which a prep sets, names none.
    ///
    /// For a block device opened with `O_DIRECT`, whose streams count from 1: `EINVAL` for
    /// one that it does not have. All else ignores it, as does a kernel before Linux 6.16.
    /// The header of liburing does not have it.
    ///
    /// # Safety
    /// The last prep was one for reading or writing.
    #[inline(always)]
    pub unsafe fn write_stream(&mut self, stream: u8) -> &mut Sqe {
        self.file_index = u32::from_ne_bytes([stream, 0, 0, 0]);
        self
    }

    /// Attaches protection information.
    ///
    /// For a block device that keeps such metadata, opened with `O_DIRECT`: `EINVAL` or
    /// `EOPNOTSUPP` for all else. `EFAULT` for a bad address. `EILSEQ` if a check fails.
    /// Linux 6.14, where the ring has [`Features::rw_attr`]; before, it is ignored.
    ///
    /// # Safety
    /// The last prep was one for reading or writing. `attribute` must be valid for reads
    /// until submit; its buffer until the CQE, for writes by nobody else if this reads, for
    /// reads if this writes.
    ///
    /// [`Features::rw_attr`]: crate::Features::rw_attr
    #[inline]
    pub unsafe fn pi_attribute(&mut self, attribute: *const PiAttribute) -> &mut Sqe {
        self.addr3 = address(attribute);
        self.pad2 = rw_attr::PI;
        self
    }
}
