//! The ring on the simulated kernel: against a sequential model, then what the model
//! leaves out: threads, faults at every enter, panics.
#![cfg(feature = "sim")]

mod faults;
mod mixed;
#[path = "../model/mod.rs"]
mod model;
#[path = "../child/random.rs"]
mod random;
mod script;
mod threads;

use random::{Random, Seed};
use ringway::sim::{CompletionOrder, Head, Kernel};
use ringway::{Cqe, EnterError, Errno, Order, Ring, Sqe, Waited};
use std::collections::HashSet;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const ORDERS: [Order; 2] = [Order::Any, Order::Claim];
const NOW: Option<Duration> = Some(Duration::ZERO);

/// Far more than anything here takes: what is waited for so long does not come.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_ring_answers_as_the_model_does() {
    for seed in 0..20_000 {
        let _seed = Seed(seed);
        let mut random = Random::new(seed);
        let len = 16 + random.next() % 240;
        let bytes: Vec<u8> = (0..len).map(|_| (random.next() >> 56) as u8).collect();
        model::run(&bytes);
    }
}

/// Spins until it is so.
fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "it never came to be");
        std::thread::yield_now();
    }
}

fn push(ring: &Ring, user_data: u64) {
    push_as(ring, user_data, |_| ());
}

fn push_as(ring: &Ring, user_data: u64, set: impl FnOnce(&mut Sqe)) {
    let sq = ring.sq();
    let mut slot = sq.pop().expect("a free slot");
    // SAFETY: a NOP holds no pointer.
    set(unsafe { slot.prep_nop() }.user_data(user_data));
    slot.push();
}

/// Two linked operations, 1 and 2.
fn push_chain(ring: &Ring, link: impl FnOnce(&mut Sqe) -> &mut Sqe) {
    let sq = ring.sq();
    let mut batch = sq.pop_batch(2).expect("two free slots");
    let mut sqes = batch.iter_mut();
    // SAFETY: a NOP holds no pointer.
    link(unsafe { sqes.next().unwrap().prep_nop() }.user_data(1));
    // SAFETY: as above.
    unsafe { sqes.next().unwrap().prep_nop() }.user_data(2);
    batch.push();
}

fn reaped(ring: &Ring) -> Vec<(u64, i32)> {
    let cq = ring.cq();
    let cqes = std::iter::from_fn(|| cq.reap());
    cqes.map(|cqe| (cqe.user_data(), cqe.res())).collect()
}

fn errno(raw: i32) -> Option<Errno> {
    Some(Errno::from_raw(raw))
}

#[test]
fn an_unprepared_slot_is_a_nop() {
    for order in ORDERS {
        let (ring, _kernel) = Ring::simulated(2).order(order).build();
        for user_data in [41, 42] {
            push(&ring, user_data);
        }
        ring.submit().unwrap();
        assert_eq!(reaped(&ring), [(41, 0), (42, 0)]);
        ring.sq().pop().unwrap().push();
        ring.submit().unwrap();
        assert_eq!(reaped(&ring), [(0, 0)]);
        ring.sq().pop_batch(2).unwrap().push();
        ring.submit().unwrap();
        assert_eq!(reaped(&ring), [(0, 0), (0, 0)]);
    }
}

#[test]
fn a_command_area_ends_where_the_next_sqe_begins() {
    for (is_big, len) in [(false, 16), (true, 80)] {
        let simulation = Ring::simulated(2);
        let (ring, _kernel) = if is_big {
            simulation.sqe128().build()
        } else {
            simulation.build()
        };
        let sq = ring.sq();
        let mut slots = [sq.pop().unwrap(), sq.pop().unwrap()];
        for (slot, user_data) in slots.iter_mut().zip([1, 2]) {
            // SAFETY: a NOP holds no pointer.
            unsafe { slot.prep_nop() }.user_data(user_data);
        }
        for slot in &mut slots {
            // SAFETY: a NOP has no command.
            let command = unsafe { slot.command_mut() };
            assert_eq!(command.len(), len);
            command.fill(9);
        }
        slots.into_iter().for_each(|slot| slot.push());
        ring.submit().unwrap();
        assert_eq!(reaped(&ring), [(1, 0), (2, 0)]);
    }
}

#[test]
fn impossible_sizes_panic_as_documented() {
    let cases = [
        (0, 4, "0 SQEs: not a power of two"),
        (3, 4, "3 SQEs: not a power of two"),
        (65536, 65536, "65536 SQEs: more than 32768"),
        (4, 0, "0 CQEs: not a power of two"),
        (4, 6, "6 CQEs: not a power of two"),
        (4, 2, "fewer CQEs (2) than SQEs (4)"),
    ];
    for (sq, cq, message) in cases {
        let build = || Ring::simulated(sq).cq_entries(cq).build();
        let thrown = catch_unwind(build).expect_err(message);
        assert_eq!(*thrown.downcast::<String>().unwrap(), message);
    }
    let (ring, kernel) = Ring::simulated(32768).build();
    ring.sq().pop_batch(32768).unwrap().push();
    ring.submit().unwrap();
    assert_eq!((kernel.consumed(), ring.cq().ready()), (32768, 32768));
}
