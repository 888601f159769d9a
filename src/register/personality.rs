//! Registered credentials.

use std::ptr;

use super::Registrar;
use crate::abi::register;
use crate::syscall::Errno;

impl Registrar<'_> {
    /// Registers the credentials that this thread has now, for
    /// [`Sqe::personality`](crate::Sqe::personality); the answer is their id. Linux 5.6;
    /// `io_uring_register_personality(3)`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn register_personality(self) -> Result<u16, Errno> {
        // SAFETY: the opcode takes no argument.
        let id = unsafe { self.register(register::PERSONALITY, ptr::null_mut(), 0) }?;
        // The kernel gives ids that fit the SQE's field.
        u16::try_from(id).map_err(|_| Errno::from_raw(libc::EOVERFLOW))
    }
}
