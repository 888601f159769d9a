//! Operations, from prep to result. The thread is the only one at its ring.

use std::time::Duration;

use ringway::{Cqe, Ring, Sqe};

pub fn ring() -> Ring {
    Ring::builder(16)
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}

/// Prepares one operation and pushes it.
pub fn push(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) {
    let sq = ring.sq();
    let mut slot = sq.pop().expect("16 slots are enough");
    prep(&mut slot);
    slot.push();
}

/// Prepares one operation and submits it: the kernel has consumed the SQE on return.
pub fn start(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) {
    push(ring, prep);
    ring.submit().unwrap();
}

/// The next CQE.
#[track_caller]
pub fn next(ring: &Ring) -> Cqe {
    let cqe = ring.cq().wait_one(Some(Duration::from_secs(20))).unwrap();
    cqe.expect("a completion within 20 s")
}

/// The result in a CQE, errors as numbers.
pub fn result(cqe: Cqe) -> Result<u32, i32> {
    cqe.result().map_err(|errno| errno.raw())
}

/// One operation, from prep to result.
#[track_caller]
pub fn run(
    ring: &Ring,
    prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe,
) -> Result<u32, i32> {
    start(ring, prep);
    result(next(ring))
}

#[track_caller]
pub fn assert_idle(ring: &Ring) {
    assert_eq!(ring.cq().reap(), None);
}

pub fn nop(sqe: &mut Sqe) -> &mut Sqe {
    // SAFETY: a NOP names nothing.
    unsafe { sqe.prep_nop() }
}
