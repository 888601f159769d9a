//! What the tables of files and of buffers have in common.

use std::ffi::c_void;
use std::ptr;

use super::Registrar;
use crate::syscall::Errno;

impl Registrar<'_> {
    /// For the opcodes that take one structure and its size.
    ///
    /// # Safety
    /// What the structure points to is as the opcode needs it.
    pub(super) unsafe fn register_sized<T>(self, opcode: u32, mut arg: T) -> Result<u32, Errno> {
        const { assert!(size_of::<T>() < 256) };
        let size = size_of::<T>() as u32;
        let arg: *mut c_void = ptr::from_mut(&mut arg).cast();
        // SAFETY: the argument outlives the call; for the rest, the caller's promise.
        unsafe { self.register(opcode, arg, size) }
    }
}

/// The address of a table, for a field of a structure that the kernel reads.
pub(super) fn address<T>(table: &[T]) -> u64 {
    table.as_ptr().expose_provenance() as u64
}

/// The address of the tags of a table: as many as it has places.
pub(super) fn tags_of<T>(table: &[T], tags: &[u64]) -> Result<u64, Errno> {
    if table.len() != tags.len() {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    Ok(address(tags))
}
