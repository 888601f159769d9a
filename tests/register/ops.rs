//! Operations of which the result is enough.

use ringway::{Ring, Sqe};

pub use super::op::{next, result, start};

/// One operation, from prep to result.
#[track_caller]
pub fn run(
    ring: &Ring,
    prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe,
) -> Result<u32, i32> {
    result(super::op::run(ring, prep))
}

pub fn nop(sqe: &mut Sqe) -> &mut Sqe {
    // SAFETY: a NOP names nothing.
    unsafe { sqe.prep_nop() }
}
