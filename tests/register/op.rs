//! Operations, to see what a registration does to them.

use std::os::fd::AsFd;
use std::ptr;
use std::time::Duration;

use ringway::{Cqe, Errno, Ring, Sqe};

/// Prepares one operation and pushes it.
pub fn push(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) {
    let sq = ring.sq();
    let mut slot = sq.pop().expect("16 slots are enough");
    prep(&mut slot);
    slot.push();
}

/// Prepares one operation and submits it. This thread is the only one at the ring.
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

/// The result in a CQE, errors as numbers.
pub fn result(cqe: Cqe) -> Result<u32, i32> {
    cqe.result().map_err(|errno| errno.raw())
}

/// The number of a refusal, 0 if there was none.
pub fn refusal<T>(answer: Result<T, Errno>) -> i32 {
    answer.err().map_or(0, |errno| errno.raw())
}

#[track_caller]
pub fn assert_idle(ring: &Ring) {
    assert_eq!(ring.cq().reap(), None);
}

/// Memory that outlives every operation, also those of a test that fails.
pub fn memory(len: usize) -> &'static mut [u8] {
    vec![b'.'; len].leak()
}
