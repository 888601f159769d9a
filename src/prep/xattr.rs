//! Extended attributes.

use std::ffi::c_char;

use super::{Target, address};
use crate::abi::{Sqe, op};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_setxattr`] and [`Sqe::prep_fsetxattr`] (`XATTR_*`). Without any
    /// the attribute is made or replaced.
    XattrFlags: u32 {
        /// Only makes it; `EEXIST` if it is there.
        CREATE = libc::XATTR_CREATE.cast_unsigned(),
        /// Only replaces it; `ENODATA` if it is not there.
        REPLACE = libc::XATTR_REPLACE.cast_unsigned(),
    }
}

impl Sqe {
    /// Reads an extended attribute of the file at `path`.
    ///
    /// A relative path starts from the working directory; symbolic links are followed.
    /// `name` has its namespace, as in `user.mime_type`. One CQE: `res` is the size of the
    /// value, with a `len` of 0 as well, which writes nothing; `ERANGE` when the value is
    /// longer than `len`, `ENODATA` when there is none, `EOPNOTSUPP` for a file system
    /// without attributes. Linux 5.19; `io_uring_prep_getxattr(3)`, `getxattr(2)`.
    ///
    /// # Safety
    /// `name` and `path` must point to strings that end in NUL, until submit. `value` must
    /// be valid for writes of `len` bytes, and nobody else may access them, until the CQE.
    #[inline]
    pub unsafe fn prep_getxattr(
        &mut self,
        name: *const c_char,
        value: *mut u8,
        path: *const c_char,
        len: u32,
    ) -> &mut Sqe {
        let of_path = Sqe {
            opcode: op::GETXATTR,
            addr3: address(path),
            ..Sqe::default()
        };
        self.reset_to(xattr(of_path, name, value, XattrFlags::NONE, len))
    }

    /// Sets an extended attribute of the file at `path` to `len` bytes.
    ///
    /// Path and name as for [`prep_getxattr`](Sqe::prep_getxattr). One CQE: `res` is 0;
    /// `EOPNOTSUPP` for a file system without attributes or a namespace that it does not
    /// have, `E2BIG` above 64 KiB. Linux 5.19; `io_uring_prep_setxattr(3)`, `setxattr(2)`.
    ///
    /// # Safety
    /// `name` and `path` must point to strings that end in NUL, `value` must be valid for
    /// reads of `len` bytes, all until submit.
    #[inline]
    pub unsafe fn prep_setxattr(
        &mut self,
        name: *const c_char,
        value: *const u8,
        path: *const c_char,
        flags: XattrFlags,
        len: u32,
    ) -> &mut Sqe {
        let of_path = Sqe {
            opcode: op::SETXATTR,
            addr3: address(path),
            ..Sqe::default()
        };
        self.reset_to(xattr(of_path, name, value, flags, len))
    }

    /// [`prep_getxattr`](Sqe::prep_getxattr) of an open file.
    ///
    /// Linux 5.19, for fixed files 6.13, `EBADF` before; `io_uring_prep_fgetxattr(3)`,
    /// `fgetxattr(2)`.
    ///
    /// # Safety
    /// As for [`prep_getxattr`](Sqe::prep_getxattr), and the file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_fgetxattr<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        name: *const c_char,
        value: *mut u8,
        len: u32,
    ) -> &mut Sqe {
        let of_file = file.into().sqe(op::FGETXATTR);
        self.reset_to(xattr(of_file, name, value, XattrFlags::NONE, len))
    }

    /// [`prep_setxattr`](Sqe::prep_setxattr) of an open file.
    ///
    /// Linux 5.19, for fixed files 6.13, `EBADF` before; `io_uring_prep_fsetxattr(3)`,
    /// `fsetxattr(2)`.
    ///
    /// ```
    /// use ringway::{Ring, prep::XattrFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let file = tempfile::tempfile()?;
    /// let (name, flags) = (c"user.kind".as_ptr(), XattrFlags::CREATE);
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: name and value are constants, `file` stays open until the CQE.
    /// unsafe { slot.prep_fsetxattr(&file, name, b"plain".as_ptr(), flags, 5) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("waited without a limit");
    /// match cqe.result() {
    ///     Ok(_) => println!("set"),
    ///     Err(errno) if errno.raw() == libc::EOPNOTSUPP => println!("no attributes here"),
    ///     Err(errno) => return Err(errno.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// As for [`prep_setxattr`](Sqe::prep_setxattr), and the file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_fsetxattr<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        name: *const c_char,
        value: *const u8,
        flags: XattrFlags,
        len: u32,
    ) -> &mut Sqe {
        let of_file = file.into().sqe(op::FSETXATTR);
        self.reset_to(xattr(of_file, name, value, flags, len))
    }
}

#[inline(always)]
fn xattr(of: Sqe, name: *const c_char, value: *const u8, flags: XattrFlags, len: u32) -> Sqe {
    Sqe {
        off: address(value),
        addr: address(name),
        len,
        op_flags: flags.0,
        ..of
    }
}
