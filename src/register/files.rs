//! The table of registered files.

use std::os::fd::BorrowedFd;
use std::ptr;

use super::{Registrar, count};
use crate::abi::register;
use crate::syscall::Errno;

impl Registrar<'_> {
    /// Makes these the ring's fixed files, from index 0 on; `None` leaves a place empty.
    ///
    /// The ring holds the files themselves: the descriptors may be closed afterwards.
    /// Linux 5.1, empty places since 5.5; `io_uring_register_files(3)`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is a table already; `EBADF` for a descriptor that is not open,
    /// or is a ring; `EMFILE` above the limit of open files; `ENOMEM`.
    pub fn register_files(self, files: &[Option<BorrowedFd<'_>>]) -> Result<(), Errno> {
        let nr = count(files)?;
        let files = ptr::from_ref(files).cast_mut().cast();
        // SAFETY: the kernel reads `nr` descriptors during the call; an Option<BorrowedFd>
        // is one, with -1 for `None`.
        unsafe { self.register(register::FILES, files, nr) }.map(|_| ())
    }
}
