//! Directories: names of files.

use std::ffi::c_char;

use super::{Dir, address};
use crate::abi::{Sqe, op};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_renameat`] (`RENAME_*`). What a file system cannot do ends in
    /// `EINVAL`. See `renameat2(2)`.
    RenameFlags: u32 {
        // The values of linux/fs.h: libc's have another type on Android.
        /// Replaces nothing; `EEXIST`.
        NOREPLACE = 1,
        /// Both names exist, and change places.
        EXCHANGE = 2,
        /// Leaves a whiteout under the old name, for overlays. Needs `CAP_MKNOD`.
        WHITEOUT = 4,
    }
}

flags! {
    /// Flags of [`Sqe::prep_unlinkat`] and [`Sqe::prep_unlink`].
    UnlinkFlags: u32 {
        /// Removes an empty directory, and nothing else, as rmdir(2).
        REMOVEDIR = libc::AT_REMOVEDIR.cast_unsigned(),
    }
}

flags! {
    /// Flags of [`Sqe::prep_linkat`] and [`Sqe::prep_link`]. See `linkat(2)`.
    LinkFlags: u32 {
        /// A symbolic link as the old name is followed; without, it is what is linked.
        SYMLINK_FOLLOW = libc::AT_SYMLINK_FOLLOW.cast_unsigned(),
        /// An empty old path means the file that is given for the old directory. Needs
        /// `CAP_DAC_READ_SEARCH`, or, from Linux 6.10 on, the credentials that opened it.
        EMPTY_PATH = libc::AT_EMPTY_PATH.cast_unsigned(),
    }
}

impl Sqe {
    /// Gives a file another name, which may be in another directory; what had that name is
    /// replaced.
    ///
    /// One CQE: `res` is 0; `EXDEV` for a name on another mount. Linux 5.11;
    /// `io_uring_prep_renameat(3)`, `renameat2(2)`.
    ///
    /// # Safety
    /// Both paths must point to strings that end in NUL and stay until submit; the
    /// directories stay open until the CQE.
    #[inline]
    pub unsafe fn prep_renameat<'old, 'new>(
        &mut self,
        old_dir: impl Into<Dir<'old>>,
        old_path: *const c_char,
        new_dir: impl Into<Dir<'new>>,
        new_path: *const c_char,
        flags: RenameFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: address(new_path),
            addr: address(old_path),
            len: new_dir.into().fd.cast_unsigned(),
            op_flags: flags.0,
            ..old_dir.into().sqe(op::RENAMEAT)
        })
    }

    /// [`prep_renameat`](Sqe::prep_renameat) from and to [`Dir::CWD`], without flags.
    /// `io_uring_prep_rename(3)`, `rename(2)`.
    ///
    /// # Safety
    /// As for [`prep_renameat`](Sqe::prep_renameat).
    #[inline]
    pub unsafe fn prep_rename(
        &mut self,
        old_path: *const c_char,
        new_path: *const c_char,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_renameat(Dir::CWD, old_path, Dir::CWD, new_path, RenameFlags::NONE) }
    }

    /// Removes a name, and the file with its last name and last descriptor.
    ///
    /// One CQE: `res` is 0; `EISDIR` for a directory without
    /// [`REMOVEDIR`](UnlinkFlags::REMOVEDIR), `ENOTEMPTY`, `ENOTDIR` with it. Linux 5.11;
    /// `io_uring_prep_unlinkat(3)`, `unlinkat(2)`.
    ///
    /// # Safety
    /// `path` must point to a string that ends in NUL and stays until submit; the
    /// directory stays open until the CQE.
    #[inline]
    pub unsafe fn prep_unlinkat<'fd>(
        &mut self,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
        flags: UnlinkFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            addr: address(path),
            op_flags: flags.0,
            ..dir.into().sqe(op::UNLINKAT)
        })
    }

    /// [`prep_unlinkat`](Sqe::prep_unlinkat) from [`Dir::CWD`].
    /// `io_uring_prep_unlink(3)`, `unlink(2)`.
    ///
    /// # Safety
    /// As for [`prep_unlinkat`](Sqe::prep_unlinkat).
    #[inline]
    pub unsafe fn prep_unlink(&mut self, path: *const c_char, flags: UnlinkFlags) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_unlinkat(Dir::CWD, path, flags) }
    }

    /// Makes a directory.
    ///
    /// `mode` is its permissions, less the umask. One CQE: `res` is 0; `EEXIST`, also for
    /// a symbolic link of that name. Linux 5.15; `io_uring_prep_mkdirat(3)`, `mkdirat(2)`.
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let parent = tempfile::tempdir()?;
    /// let dir = File::open(&parent)?;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: the path is a constant, `dir` stays open until the CQE.
    /// unsafe { slot.prep_mkdirat(&dir, c"new".as_ptr(), 0o755) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("waited without a limit");
    /// cqe.result()?;
    /// assert!(parent.path().join("new").is_dir());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// As for [`prep_unlinkat`](Sqe::prep_unlinkat).
    #[inline]
    pub unsafe fn prep_mkdirat<'fd>(
        &mut self,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
        mode: u32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            addr: address(path),
            len: mode,
            ..dir.into().sqe(op::MKDIRAT)
        })
    }

    /// [`prep_mkdirat`](Sqe::prep_mkdirat) from [`Dir::CWD`]. `io_uring_prep_mkdir(3)`,
    /// `mkdir(2)`.
    ///
    /// # Safety
    /// As for [`prep_mkdirat`](Sqe::prep_mkdirat).
    #[inline]
    pub unsafe fn prep_mkdir(&mut self, path: *const c_char, mode: u32) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_mkdirat(Dir::CWD, path, mode) }
    }

    /// Makes a symbolic link at `path` that says `target`.
    ///
    /// `target` is text: nothing has to be there. One CQE: `res` is 0; `EEXIST` when
    /// `path` is there. Linux 5.15; `io_uring_prep_symlinkat(3)`, `symlinkat(2)`.
    ///
    /// # Safety
    /// `target` and `path` must point to strings that end in NUL and stay until submit; the
    /// directory stays open until the CQE.
    #[inline]
    pub unsafe fn prep_symlinkat<'fd>(
        &mut self,
        target: *const c_char,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: address(path),
            addr: address(target),
            ..dir.into().sqe(op::SYMLINKAT)
        })
    }

    /// [`prep_symlinkat`](Sqe::prep_symlinkat) from [`Dir::CWD`].
    /// `io_uring_prep_symlink(3)`, `symlink(2)`.
    ///
    /// # Safety
    /// As for [`prep_symlinkat`](Sqe::prep_symlinkat).
    #[inline]
    pub unsafe fn prep_symlink(&mut self, target: *const c_char, path: *const c_char) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_symlinkat(target, Dir::CWD, path) }
    }

    /// Gives a file one more name.
    ///
    /// One CQE: `res` is 0; `EEXIST` when the new name is there, `EXDEV` for one on another
    /// mount, `EPERM` for a directory. Linux 5.15; `io_uring_prep_linkat(3)`, `linkat(2)`.
    ///
    /// # Safety
    /// As for [`prep_renameat`](Sqe::prep_renameat).
    #[inline]
    pub unsafe fn prep_linkat<'old, 'new>(
        &mut self,
        old_dir: impl Into<Dir<'old>>,
        old_path: *const c_char,
        new_dir: impl Into<Dir<'new>>,
        new_path: *const c_char,
        flags: LinkFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: address(new_path),
            addr: address(old_path),
            len: new_dir.into().fd.cast_unsigned(),
            op_flags: flags.0,
            ..old_dir.into().sqe(op::LINKAT)
        })
    }

    /// [`prep_linkat`](Sqe::prep_linkat) from and to [`Dir::CWD`].
    /// `io_uring_prep_link(3)`, `link(2)`.
    ///
    /// # Safety
    /// As for [`prep_linkat`](Sqe::prep_linkat).
    #[inline]
    pub unsafe fn prep_link(
        &mut self,
        old_path: *const c_char,
        new_path: *const c_char,
        flags: LinkFlags,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_linkat(Dir::CWD, old_path, Dir::CWD, new_path, flags) }
    }
}
