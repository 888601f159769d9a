//! Operations of which the whole CQE tells, and what else tests of buffers and files need.

use std::os::fd::AsFd;
use std::ptr;

use ringway::{Cqe, Errno, Ring, Sqe};

pub use super::ops::{assert_idle, next, nop, push, result, start};

/// One operation, from prep to CQE.
#[track_caller]
pub fn run(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) -> Cqe {
    start(ring, prep);
    next(ring)
}

/// A read into a buffer of the group's.
pub fn select(sqe: &mut Sqe, file: impl AsFd, len: u32, group: u16) -> &mut Sqe {
    // SAFETY: tests provide memory that stays, and keep the file until the CQE.
    unsafe { sqe.prep_read(file.as_fd(), ptr::null_mut(), len, 0) }.buffer_select(group)
}

/// The number of a refusal, 0 if there was none.
pub fn refusal<T>(answer: Result<T, Errno>) -> i32 {
    answer.err().map_or(0, |errno| errno.raw())
}

/// Memory that outlives every operation, also those of a test that fails.
pub fn memory(len: usize) -> &'static mut [u8] {
    vec![b'.'; len].leak()
}
