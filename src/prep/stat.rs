//! The metadata of files.

use std::ffi::c_char;

use super::{Dir, address};
use crate::abi::{Sqe, op};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_statx`] (`AT_*`). See `statx(2)`.
    StatxFlags: u32 {
        /// A symbolic link at the end of the path is what is asked about.
        SYMLINK_NOFOLLOW = libc::AT_SYMLINK_NOFOLLOW.cast_unsigned(),
        /// Mounts nothing that would be mounted on demand.
        NO_AUTOMOUNT = libc::AT_NO_AUTOMOUNT.cast_unsigned(),
        /// An empty path means the file that is given for the directory.
        EMPTY_PATH = libc::AT_EMPTY_PATH.cast_unsigned(),
        /// Asks the server of a remote file system.
        FORCE_SYNC = libc::AT_STATX_FORCE_SYNC.cast_unsigned(),
        /// Asks no server. Not with `FORCE_SYNC`: `EINVAL`.
        DONT_SYNC = libc::AT_STATX_DONT_SYNC.cast_unsigned(),
    }
}

impl Sqe {
    /// Asks for the metadata of the file at `path`, relative to `dir` or [`Dir::CWD`].
    ///
    /// `mask` is the set of fields that are wanted, of `libc::STATX_*`; `stx_mask` tells
    /// which are there, more or fewer. For an open file: the file as `dir`, an empty path
    /// and [`EMPTY_PATH`](StatxFlags::EMPTY_PATH). One CQE: `res` is 0, and `statx` is
    /// filled. Linux 5.6; `io_uring_prep_statx(3)`, `statx(2)`.
    ///
    /// ```
    /// use ringway::{Ring, prep::{Dir, StatxFlags}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let path = c"/proc/self/exe".as_ptr();
    /// let statx = Box::leak(Box::<libc::statx>::new_uninit()); // stays, also after a `?`
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// let (flags, mask) = (StatxFlags::NONE, libc::STATX_SIZE);
    /// // SAFETY: the path is a constant; `statx` is never freed, and left alone until the CQE
    /// // is here.
    /// unsafe { slot.prep_statx(Dir::CWD, path, flags, mask, statx.as_mut_ptr()) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("waited without a limit");
    /// cqe.result()?;
    /// // SAFETY: the kernel has filled it.
    /// let statx = unsafe { statx.assume_init_ref() };
    /// assert_eq!(statx.stx_size, std::fs::metadata("/proc/self/exe")?.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `path` must point to a string that ends in NUL and stays until submit. `statx` must
    /// be valid for writes, and nobody else may access it, until the CQE; the directory
    /// stays open until the CQE.
    #[inline]
    pub unsafe fn prep_statx<'fd>(
        &mut self,
        dir: impl Into<Dir<'fd>>,
        path: *const c_char,
        flags: StatxFlags,
        mask: u32,
        statx: *mut libc::statx,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: address(statx),
            addr: address(path),
            len: mask,
            op_flags: flags.0,
            ..dir.into().sqe(op::STATX)
        })
    }
}
