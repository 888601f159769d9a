//! What an operation works on: a descriptor, a fixed file, a directory.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::abi::{self, Sqe, sqe_flags};

/// An index into the ring's table of registered files.
///
/// An index outside the table, or of an empty slot, ends the operation in `EBADF`.
/// See `io_uring_register(2)`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fixed(pub u32);

/// The file that an operation works on: a descriptor or a [`Fixed`] file.
///
/// A prep takes anything that converts: `&file`, `file.as_fd()`, `Fixed(3)`.
///
/// ```
/// use ringway::prep::{Fixed, Target};
///
/// let file = std::fs::File::open("/dev/null")?;
/// let of_the_process: Target = (&file).into();
/// let of_the_ring: Target = Fixed(3).into();
/// # let _ = (of_the_process, of_the_ring);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Target<'fd> {
    pub(super) fd: i32,
    pub(super) sqe_flags: u8,
    lifetime: PhantomData<BorrowedFd<'fd>>,
}

impl Target<'_> {
    /// The start of every prep that names a file.
    #[inline(always)]
    pub(super) fn sqe(self, opcode: u8) -> Sqe {
        Sqe {
            opcode,
            flags: self.sqe_flags,
            fd: self.fd,
            ..Sqe::default()
        }
    }
}

impl<'fd> From<BorrowedFd<'fd>> for Target<'fd> {
    #[inline(always)]
    fn from(fd: BorrowedFd<'fd>) -> Self {
        Target {
            fd: fd.as_raw_fd(),
            sqe_flags: 0,
            lifetime: PhantomData,
        }
    }
}

impl<'fd, F: AsFd + ?Sized> From<&'fd F> for Target<'fd> {
    #[inline(always)]
    fn from(file: &'fd F) -> Self {
        file.as_fd().into()
    }
}

impl From<Fixed> for Target<'_> {
    #[inline(always)]
    fn from(index: Fixed) -> Self {
        Target {
            // The kernel reads the field as unsigned when the flag is set.
            fd: index.0.cast_signed(),
            sqe_flags: sqe_flags::FIXED_FILE,
            lifetime: PhantomData,
        }
    }
}

/// Where a new file goes, for the operations that make one without a descriptor: a place
/// in the ring's table of registered files. Their names end in `_direct`.
///
/// The table must have been registered, and the operation gives the file no descriptor:
/// it is reached as [`Fixed`], and closed by
/// [`prep_close_direct`](Sqe::prep_close_direct). See
/// `io_uring_register_files_sparse(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Direct(u32);

impl Direct {
    /// A free place of the kernel's choice, whose index is the operation's result;
    /// `ENFILE` when there is none. Linux 5.19; see
    /// `io_uring_register_file_alloc_range(3)`.
    pub const ALLOC: Self = Self(abi::file_index::ALLOC);

    /// This place; what was in it is replaced. The operation's result is 0; `EINVAL` for
    /// an index outside the table, `ENXIO` without a table.
    pub const fn at(index: Fixed) -> Self {
        // The field holds one more than the index. No table is so large that what is cut
        // here would be inside it.
        let last = i32::MAX.cast_unsigned();
        Self(if index.0 < last { index.0 } else { last } + 1)
    }

    /// As the field takes it in which 0 means no place: one more than the index.
    #[inline(always)]
    pub(super) fn field(self) -> u32 {
        self.0
    }

    /// As the field takes it that always holds a place: the index.
    #[inline(always)]
    pub(super) fn index(self) -> u32 {
        match self {
            Self::ALLOC => abi::file_index::ALLOC,
            Self(field) => field - 1,
        }
    }
}

/// The directory that a relative path starts from. Never a fixed file: the kernel
/// takes none here.
#[derive(Clone, Copy, Debug)]
pub struct Dir<'fd> {
    pub(super) fd: RawFd,
    lifetime: PhantomData<BorrowedFd<'fd>>,
}

impl Dir<'static> {
    /// The working directory of the thread that submits (`AT_FDCWD`), for which an
    /// absolute path makes no difference.
    pub const CWD: Self = Dir {
        fd: libc::AT_FDCWD,
        lifetime: PhantomData,
    };
}

impl Dir<'_> {
    /// The start of every prep that names a directory.
    #[inline(always)]
    pub(super) fn sqe(self, opcode: u8) -> Sqe {
        Sqe {
            opcode,
            fd: self.fd,
            ..Sqe::default()
        }
    }
}

impl<'fd> From<BorrowedFd<'fd>> for Dir<'fd> {
    #[inline(always)]
    fn from(fd: BorrowedFd<'fd>) -> Self {
        Dir {
            fd: fd.as_raw_fd(),
            lifetime: PhantomData,
        }
    }
}

impl<'fd, F: AsFd + ?Sized> From<&'fd F> for Dir<'fd> {
    #[inline(always)]
    fn from(file: &'fd F) -> Self {
        file.as_fd().into()
    }
}
