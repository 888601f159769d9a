//! Opening files.

use std::ffi::c_char;

use super::{Dir, Direct, address};
use crate::abi::{Sqe, op};
use crate::flags::flags;

flags! {
    /// What the walk along a path may do (`RESOLVE_*`): for [`OpenHow`]. Linux 5.6,
    /// see `openat2(2)`.
    ResolveFlags: u64 {
        // The values of linux/openat2.h, for which libc has no names on Android.
        /// Stays on the mount that it starts from; `EXDEV`.
        NO_XDEV = 0x01,
        /// Follows no magic link, such as `/proc/self/fd/0`; `ELOOP`.
        NO_MAGICLINKS = 0x02,
        /// Follows no symbolic link at all; `ELOOP`.
        NO_SYMLINKS = 0x04,
        /// Stays below the directory that it starts from; `EXDEV`.
        BENEATH = 0x08,
        /// Takes the directory that it starts from for the root.
        IN_ROOT = 0x10,
        /// Goes only by what is in the kernel's cache; `EAGAIN`. Linux 5.12.
        CACHED = 0x20,
    }
}

/// How to open a file (`struct open_how`). See `openat2(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl OpenHow {
    /// `flags` are `libc::O_*`, `mode` the permissions of a file that is made. The kernel
    /// answers `EINVAL` to flags that it does not know, and to a mode for a file that is
    /// not made.
    pub const fn new(flags: u64, mode: u32, resolve: ResolveFlags) -> Self {
        Self {
            flags,
            mode: mode as u64,
            resolve: resolve.0,
        }
    }
}

impl Sqe {
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
    /// let cqe = cq.wait_one(None)?.expect("waited without a limit");
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
        self.reset_to(openat(dir.into(), path, flags, mode))
    }

    /// As [`prep_openat`](Sqe::prep_openat), but the file goes to a place in the table of
    /// registered files and gets no descriptor.
    ///
    /// `O_CLOEXEC` ends in `EINVAL`: there is no descriptor for an exec to close. One CQE:
    /// `res` is as [`Direct`] says. Linux 5.15; `io_uring_prep_openat_direct(3)`.
    ///
    /// # Safety
    /// As for [`prep_openat`](Sqe::prep_openat).
    #[inline]
    pub unsafe fn prep_openat_direct<'fd>(
        &mut self,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
        flags: i32,
        mode: u32,
        place: Direct,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            file_index: place.field(),
            ..openat(dir.into(), path, flags, mode)
        })
    }

    /// [`prep_openat`](Sqe::prep_openat) from [`Dir::CWD`]. `io_uring_prep_open(3)`,
    /// `open(2)`.
    ///
    /// # Safety
    /// As for [`prep_openat`](Sqe::prep_openat).
    #[inline]
    pub unsafe fn prep_open(&mut self, path: *const c_char, flags: i32, mode: u32) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_openat(Dir::CWD, path, flags, mode) }
    }

    /// [`prep_openat_direct`](Sqe::prep_openat_direct) from [`Dir::CWD`].
    /// `io_uring_prep_open_direct(3)`.
    ///
    /// # Safety
    /// As for [`prep_openat`](Sqe::prep_openat).
    #[inline]
    pub unsafe fn prep_open_direct(
        &mut self,
        path: *const c_char,
        flags: i32,
        mode: u32,
        place: Direct,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_openat_direct(Dir::CWD, path, flags, mode, place) }
    }

    /// As [`prep_openat`](Sqe::prep_openat), and says how the path may be walked.
    ///
    /// One CQE: `res` is the new descriptor, which the caller owns. Linux 5.6;
    /// `io_uring_prep_openat2(3)`, `openat2(2)`.
    ///
    /// # Safety
    /// `path` must point to a string that ends in NUL, `how` must be valid for reads, both
    /// until submit; the directory stays open until the CQE.
    #[inline]
    pub unsafe fn prep_openat2<'fd>(
        &mut self,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
        how: *const OpenHow,
    ) -> &mut Sqe {
        self.reset_to(openat2(dir.into(), path, how))
    }

    /// As [`prep_openat2`](Sqe::prep_openat2), but the file goes to a place in the table
    /// of registered files and gets no descriptor.
    ///
    /// CQE, `res` and `O_CLOEXEC` as for [`prep_openat_direct`](Sqe::prep_openat_direct).
    /// Linux 5.15; `io_uring_prep_openat2_direct(3)`.
    ///
    /// # Safety
    /// As for [`prep_openat2`](Sqe::prep_openat2).
    #[inline]
    pub unsafe fn prep_openat2_direct<'fd>(
        &mut self,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
        how: *const OpenHow,
        place: Direct,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            file_index: place.field(),
            ..openat2(dir.into(), path, how)
        })
    }
}

#[inline(always)]
fn openat(dir: Dir, path: *const c_char, flags: i32, mode: u32) -> Sqe {
    Sqe {
        addr: address(path),
        len: mode,
        op_flags: flags.cast_unsigned(),
        ..dir.sqe(op::OPENAT)
    }
}

#[inline(always)]
fn openat2(dir: Dir, path: *const c_char, how: *const OpenHow) -> Sqe {
    Sqe {
        off: address(how),
        addr: address(path),
        len: size_of::<OpenHow>() as u32,
        ..dir.sqe(op::OPENAT2)
    }
}
