//! A completion queue that is full.

use super::here;
use super::raw_ring::*;

const CQ_OVERFLOW: u32 = 1 << 1;

fn full() -> Raw {
    let mut params = params(CQSIZE);
    params[CQ_ENTRIES] = 8;
    let ring = Raw::make(params);
    (0..8).for_each(|number| submit(&ring, number).map(drop).unwrap());
    ring
}

/// A NOP with this number.
fn submit(ring: &Raw, number: u64) -> Answer {
    let mut nop = [0; 8];
    nop[4] = number;
    ring.push(nop);
    ring.submit()
}

fn flag(ring: &Raw) -> bool {
    let flags = ring.counter(SQ_FLAGS);
    flags.load(std::sync::atomic::Ordering::Relaxed) & CQ_OVERFLOW != 0
}

#[test]
fn a_backlog_refuses_nothing() {
    let ring = full();
    assert!(!flag(&ring), "full, and nothing is held back");
    assert_eq!(submit(&ring, 8), Ok(1));
    assert!(flag(&ring), "one is held back");
    assert_eq!(submit(&ring, 9), Ok(1));
}

/// What was held back comes in order, when the kernel is entered for events and there is
/// room; not before.
#[test]
fn what_was_held_back_comes_in_order() {
    let ring = full();
    for number in 8..24 {
        assert_eq!(submit(&ring, number), Ok(1));
    }
    let mut next = 0;
    let mut reap = |ring: &Raw| {
        while let Some(cqe) = ring.reap() {
            assert_eq!(cqe, (next, 0));
            next += 1;
        }
        next
    };
    for come in [8, 16, 24] {
        assert_eq!(reap(&ring), come);
        assert_eq!(flag(&ring), come < 24);
        assert_eq!(ring.ready(), 0, "room alone is not enough");
        assert_eq!(ring.enter(0, 0, GETEVENTS), Ok(0));
    }
    assert_eq!(ring.reap(), None);
}

/// While something is held back, what completes goes behind it, though there is room. Old
/// kernels let it overtake.
#[test]
fn what_is_held_back_is_overtaken_or_not() {
    let ring = full();
    assert_eq!(submit(&ring, 8), Ok(1));
    assert_eq!(ring.reap(), Some((0, 0)));
    let numbers =
        |ring: &Raw| -> Vec<u64> { std::iter::from_fn(|| ring.reap().map(|cqe| cqe.0)).collect() };
    assert_eq!(submit(&ring, 9), Ok(1));
    let mut seen = numbers(&ring);
    assert_eq!(ring.enter(0, 0, GETEVENTS), Ok(0));
    seen.extend(numbers(&ring));
    let last = here(&[("5.10", [9, 8]), ("6.1", [8, 9])]);
    assert_eq!((seen.len(), &seen[7..]), (9, &last[..]), "{seen:?}");
}

/// Waiting with a full queue ends at once, whatever is wanted.
#[test]
fn a_full_queue_is_enough_for_any_wait() {
    assert_eq!(full().enter(0, 1000, GETEVENTS), Ok(0));
}
