//! SQ_REWIND, which ringway does not offer: why.

use super::child::has;
use super::raw_ring::*;

const NO_SQARRAY: u32 = 1 << 16;
const SQ_REWIND: u32 = 1 << 20;

/// Each enter begins at the first entry again, and looks at no tail: a slot that another
/// thread has claimed and not yet filled would be taken, or one be taken twice.
#[test]
fn each_enter_begins_at_the_first_entry() {
    if !has(
        7,
        0,
        "rewind::each_enter_begins_at_the_first_entry",
        "SQ_REWIND",
    ) {
        assert_eq!(
            Raw::new(params(NO_SQARRAY | SQ_REWIND)).err(),
            Some(libc::EINVAL)
        );
        return;
    }
    let ring = Raw::make(params(NO_SQARRAY | SQ_REWIND));
    let mut nop = [0; 8];
    for number in [5, 6] {
        nop[4] = number;
        // SAFETY: the kernel reads the entry during the enter only.
        unsafe { ring.first_sqe().write(nop) };
        assert_eq!(ring.enter(1, 0, 0), Ok(1));
        assert_eq!(ring.reap(), Some((number, 0)));
    }
    // Again, though nothing was put there.
    assert_eq!(ring.enter(1, 0, 0), Ok(1));
    assert_eq!(ring.reap(), Some((6, 0)));
    // It needs the queue without an index array, and no thread that polls it.
    for flags in [SQ_REWIND, SQ_REWIND | NO_SQARRAY | SQPOLL] {
        assert_eq!(Raw::new(params(flags)).err(), Some(libc::EINVAL));
    }
}
