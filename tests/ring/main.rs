//! The shared ring on the real kernel: what `exactly_once` does not touch.
#![allow(
    clippy::disallowed_types,
    reason = "what the tests count is not what the ring shares"
)]

use ringway::{Cqe, Order, Ring, Sq};
use std::time::{Duration, Instant};

#[path = "../child/mod.rs"]
mod child;
mod local;
mod owned;
mod queues;
#[path = "../child/random.rs"]
mod random;
#[path = "../child/refuse.rs"]
mod refuse;
mod resize;
mod sizes;
mod wait_args;
mod waiting;

/// Longer than anything here takes: a wait that ends by it has lost its wake-up.
const LOST: Duration = Duration::from_secs(20);

fn ring(entries: u32, order: Order) -> Ring {
    let builder = Ring::builder(entries).order(order);
    builder
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}

fn push_nop(sq: &Sq, user_data: u64) {
    let mut slot = sq.pop().expect("a free slot");
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(user_data);
    slot.push();
}

/// The next completion, waiting for it.
fn next(ring: &Ring) -> Cqe {
    let mut one = [Cqe::default()];
    let start = Instant::now();
    while ring.cq().wait_reap(&mut one, Some(LOST)).expect("wait") == 0 {
        assert!(start.elapsed() < LOST, "a completion or a wake-up was lost");
    }
    one[0]
}
