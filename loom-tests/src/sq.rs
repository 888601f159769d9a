//! Claiming, pushing, publishing: rules S1 to S5.

use crate::harness::{Log, Model, prepared, push, recorded, simulated, together, witness};
use ringway::Order::{self, Any, Claim};
use ringway::{Slot, Sq};

pub const MODELS: &[Model] = &[
    Model {
        witnesses: &["claim lost"],
        floor: 8_100,
        ..Model::new("pop_pop_any", || pop_pop(Any))
    },
    Model {
        witnesses: &["claim lost"],
        floor: 130,
        ..Model::new("pop_pop_claim", || pop_pop(Claim))
    },
    Model {
        witnesses: &["saw full"],
        floor: 650,
        ..Model::new("pop_last_any", || pop_last(Any))
    },
    Model {
        witnesses: &["saw full"],
        floor: 130,
        ..Model::new("pop_last_claim", || pop_last(Claim))
    },
    Model {
        aims: &["STRADDLE"],
        bound: Some(3),
        witnesses: &["padded", "side by side"],
        floor: 6_000,
        ..Model::new("pair_beside_single", pair_beside_single)
    },
    Model {
        bound: Some(3),
        witnesses: &["saw full", "both pushed"],
        floor: 17_000,
        ..Model::new("pair_pair", pair_pair)
    },
    Model {
        aims: &["SQ_CLAIM.rel", "SQ_CLAIM.acq"],
        witnesses: &["foreign cell"],
        floor: 68_000,
        ..Model::new("cell_overwritten", cell_overwritten)
    },
    Model {
        aims: &["SQ_TICKET.rel", "SQ_TICKET.acq"],
        witnesses: &["foreign cell"],
        bound: Some(2),
        floor: 170,
        ..Model::new("cell_overwritten_by_ticket", cell_overwritten_by_ticket)
    },
    Model {
        aims: &["SQ_PUBLISH"],
        witnesses: &["kernel was faster"],
        floor: 460,
        ..Model::new("publish_any", || publish(Any))
    },
    Model {
        aims: &["SQ_PUBLISH"],
        witnesses: &["kernel was faster"],
        floor: 460,
        ..Model::new("publish_claim", || publish(Claim))
    },
    Model {
        aims: &["SQ_READY.rel", "SQ_STAMP_SEEN"],
        witnesses: &["published for another", "found nothing"],
        floor: 70,
        ..Model::new("publish_for_another_any", || publish_for_another(Any))
    },
    Model {
        aims: &["SQ_READY.rel", "SQ_STAMP_SEEN"],
        witnesses: &["published for another", "found nothing"],
        floor: 53,
        ..Model::new("publish_for_another_claim", || publish_for_another(Claim))
    },
    Model {
        aims: &["SQ_HEAD"],
        witnesses: &["slot reused", "saw full"],
        floor: 31,
        ..Model::new("slot_reuse_any", || slot_reuse(Any))
    },
    Model {
        aims: &["SQ_HEAD"],
        witnesses: &["slot reused", "saw full"],
        floor: 74,
        ..Model::new("slot_reuse_claim", || slot_reuse(Claim))
    },
    Model {
        aims: &["SQ_LIMIT_RAISED", "SQ_LIMIT_SEEN"],
        witnesses: &["both reused"],
        bound: Some(2),
        floor: 1_300,
        ..Model::new("slot_reuse_by_two_any", || slot_reuse_by_two(Any))
    },
    Model {
        aims: &["SQ_LIMIT_RAISED", "SQ_LIMIT_SEEN"],
        witnesses: &["both reused"],
        bound: Some(2),
        floor: 930,
        ..Model::new("slot_reuse_by_two_claim", || slot_reuse_by_two(Claim))
    },
    Model {
        aims: &["STAMP_PER_SQE"],
        bound: Some(3),
        witnesses: &["chain first", "single first"],
        floor: 9_800,
        ..Model::new("chain_stays_whole_any", || chain_stays_whole(Any))
    },
    Model {
        aims: &["STAMP_PER_SQE"],
        bound: Some(3),
        witnesses: &["chain first", "single first"],
        floor: 3_800,
        ..Model::new("chain_stays_whole_claim", || chain_stays_whole(Claim))
    },
    Model {
        bound: Some(3),
        witnesses: &["batch refused", "claim lost"],
        floor: 90,
        ..Model::new("batch_batch_any", || batch_batch(Any, false))
    },
    Model {
        bound: Some(3),
        witnesses: &["batch refused", "claim lost", "slots linked"],
        floor: 300,
        ..Model::new("batch_batch_linked", || batch_batch(Any, true))
    },
    Model {
        bound: Some(3),
        witnesses: &["batch refused", "claim lost"],
        floor: 36,
        ..Model::new("batch_batch_claim", || batch_batch(Claim, false))
    },
    Model {
        aims: &["DROP_LOSES"],
        bound: Some(3),
        witnesses: &["dropped first"],
        floor: 42,
        ..Model::new("dropped_slot_any", || dropped_slot(Any, |slot| drop(slot)))
    },
    Model {
        aims: &["DROP_LOSES"],
        bound: Some(3),
        witnesses: &["dropped first", "gap filled"],
        floor: 17,
        ..Model::new("dropped_slot_claim", || {
            dropped_slot(Claim, |slot| drop(slot))
        })
    },
    Model {
        aims: &["DROP_LOSES"],
        bound: Some(3),
        witnesses: &["dropped first", "gap filled"],
        floor: 17,
        ..Model::new("slot_in_a_panic", || dropped_slot(Claim, panic_with))
    },
];

/// Two threads pop at once: two different slots.
fn pop_pop(order: Order) {
    let (ring, _, log) = recorded(simulated(2, order));
    let (one, two) = (ring.sq(), ring.sq());
    together(
        || assert!(push(&one, 1)),
        [Box::new(move || assert!(push(&two, 2)))],
    );
    ring.submit().unwrap();
    log.assert_each_once(&[1, 2]);
}

/// Two threads pop the last slot: one gets it.
fn pop_last(order: Order) {
    let (ring, _, log) = recorded(simulated(1, order));
    let (one, two) = (ring.sq(), ring.sq());
    let other = loom::thread::spawn(move || push(&two, 2));
    let mine = push(&one, 1);
    let theirs = other.join().unwrap();
    assert!(mine != theirs, "one slot popped twice, or not at all");
    witness("saw full");
    ring.submit().unwrap();
    log.assert_each_once(if mine { &[1] } else { &[2] });
}

/// Pops, prepares and pushes an operation of 128 bytes; false if the ring was full.
fn push_pair(sq: &Sq, user_data: u64) -> bool {
    let Some(mut slot) = sq.pop128() else {
        return false;
    };
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop128() }.user_data(user_data);
    slot.push();
    true
}

/// One thread takes two slots side by side, the other one. Two slots before the end of a
/// lap: the pair fits there, or behind padding.
fn pair_beside_single() {
    let (ring, kernel, log) = recorded(simulated(4, Claim).sqe_mixed());
    let (one, two) = (ring.sq(), ring.sq());
    together(
        || {
            assert!(push_pair(&one, 1));
            one.submit().unwrap();
        },
        [Box::new(move || {
            assert!(push(&two, 2));
            two.submit().unwrap();
        })],
    );
    ring.submit().unwrap();
    witness(match kernel.consumed() {
        3 => "side by side",
        _ => "padded",
    });
    log.assert_each_once(&[1, 2]);
}

/// Two threads take pairs where there is room for one or both.
fn pair_pair() {
    let (ring, _, log) = recorded(simulated(4, Claim).sqe_mixed().counters_at(u32::MAX));
    let (one, two) = (ring.sq(), ring.sq());
    let other = loom::thread::spawn(move || {
        let is_pushed = push_pair(&two, 2);
        two.submit().unwrap();
        is_pushed
    });
    let mine = push_pair(&one, 1);
    one.submit().unwrap();
    let theirs = other.join().unwrap();
    ring.submit().unwrap();
    log.assert_each_once(match (mine, theirs) {
        (true, true) => {
            witness("both pushed");
            &[1, 2]
        }
        (true, false) => &[1],
        (false, true) => &[2],
        (false, false) => panic!("there is room for one"),
    });
    if !(mine && theirs) {
        witness("saw full");
    }
}

/// A slot's number, as its Debug form tells it.
fn number(slot: &Slot<'_>) -> String {
    format!("{slot:?}")
}

/// A pusher overwrites the cell that another claimer has read.
fn cell_overwritten() {
    let (ring, _, log) = recorded(simulated(2, Any));
    let (reader, pusher) = (ring.sq(), ring.sq());
    let first = number(&ring.sq().pop().unwrap());
    ring.submit().unwrap();
    let second = number(&ring.sq().pop().unwrap());
    ring.submit().unwrap();
    assert_ne!(first, second);
    together(
        || std::mem::forget(reader.pop().unwrap()),
        [Box::new(move || {
            let mut slot = pusher.pop().unwrap();
            if number(&slot) == second {
                witness("foreign cell");
            }
            // SAFETY: a NOP holds no pointer.
            unsafe { slot.prep_nop() }.user_data(2);
            slot.push();
        })],
    );
    ring.submit().unwrap();
    log.assert_each_once(&[2]);
}

/// As before, with a pusher that claimed before the reader: only the tickets between
/// them say that the cell was read.
fn cell_overwritten_by_ticket() {
    let (ring, _, log) = recorded(simulated(4, Any));
    let (sq, reader, pusher) = (ring.sq(), ring.sq(), ring.sq());
    let mut early = sq.pop().unwrap();
    // SAFETY: a NOP holds no pointer.
    unsafe { early.prep_nop() }.user_data(1);
    let seen = Log::default();
    let order = seen.clone();
    together(
        || {
            early.push();
            order.record(1);
        },
        [
            Box::new(move || std::mem::forget(reader.pop().unwrap())),
            Box::new(move || {
                let mut slot = pusher.pop().unwrap();
                // Counters begin two before a lap ends: slots 2, 3, then 0.
                let is_after_reader = number(&slot) == "Slot(0)";
                // SAFETY: a NOP holds no pointer.
                unsafe { slot.prep_nop() }.user_data(2);
                slot.push();
                if is_after_reader && seen.all().is_empty() {
                    witness("foreign cell");
                }
            }),
        ],
    );
    ring.submit().unwrap();
    log.assert_each_once(&[1, 2]);
}

/// The kernel consumes in a thread of its own, as soon as it sees the tail.
fn publish(order: Order) {
    let (ring, kernel, log) = recorded(simulated(2, order));
    let sq = ring.sq();
    together(
        || {
            assert!(push(&sq, 1));
            sq.submit().unwrap();
        },
        [Box::new(move || {
            if kernel.consume() > 0 {
                witness("kernel was faster");
            }
        })],
    );
    log.assert_each_once(&[1]);
}

/// One thread only pushes, the other submits what it finds.
fn publish_for_another(order: Order) {
    let (ring, _, log) = recorded(simulated(2, order));
    let (worker, submitter, seen) = (ring.sq(), ring.sq(), log.clone());
    together(
        || {
            submitter.submit().unwrap();
            witness(if seen.all().is_empty() {
                "found nothing"
            } else {
                "published for another"
            });
        },
        [Box::new(move || assert!(push(&worker, 1)))],
    );
    ring.submit().unwrap();
    log.assert_each_once(&[1]);
}

/// A slot is popped and written again while the kernel that read it goes on.
fn slot_reuse(order: Order) {
    let (ring, _, log) = recorded(simulated(1, order));
    let (submitter, worker) = (ring.sq(), ring.sq());
    assert!(push(&worker, 1));
    let other = loom::thread::spawn(move || push(&worker, 2));
    submitter.submit().unwrap();
    let is_reused = other.join().unwrap();
    witness(if is_reused { "slot reused" } else { "saw full" });
    ring.submit().unwrap();
    log.assert_each_once(if is_reused { &[1, 2] } else { &[1] });
}

/// One thread learns of the kernel's head, the other perhaps only of the limit that the
/// first has raised.
fn slot_reuse_by_two(order: Order) {
    let (ring, _, log) = recorded(simulated(2, order));
    let (submitter, one, two) = (ring.sq(), ring.sq(), ring.sq());
    assert!(push(&one, 1) && push(&two, 2));
    let other = loom::thread::spawn(move || push(&one, 3));
    let third = loom::thread::spawn(move || push(&two, 4));
    submitter.submit().unwrap();
    let pushed = [other.join().unwrap(), third.join().unwrap()];
    ring.submit().unwrap();
    log.assert_each_once(match pushed {
        [true, true] => {
            witness("both reused");
            &[1, 2, 3, 4]
        }
        [true, false] => &[1, 2, 3],
        [false, true] => &[1, 2, 4],
        [false, false] => &[1, 2],
    });
}

/// A chain whose first operation fails, beside a single operation: the second of the
/// chain never runs, whoever submits, and the single one always does.
fn chain_stays_whole(order: Order) {
    let log = Log::default();
    let record = log.clone();
    let (ring, _) = simulated(4, order)
        .script(move |sqe, fate| {
            record.record(sqe.get_user_data());
            fate.complete(if sqe.get_user_data() == 1 {
                -libc::EIO
            } else {
                0
            });
        })
        .build();
    let (chain, single) = (ring.sq(), ring.sq());
    together(
        || {
            let mut batch = chain.pop_batch(2).unwrap();
            for (i, sqe) in batch.iter_mut().enumerate() {
                // SAFETY: a NOP holds no pointer.
                let sqe = unsafe { sqe.prep_nop() }.user_data(i as u64 + 1);
                if i == 0 {
                    sqe.link();
                }
            }
            batch.push();
            chain.submit().unwrap();
        },
        [Box::new(move || {
            assert!(push(&single, 3));
            single.submit().unwrap();
        })],
    );
    match log.all()[..] {
        [1, 3] => witness("chain first"),
        [3, 1] => witness("single first"),
        ref other => panic!("of the chain 1-2 and the single 3, these ran: {other:?}"),
    }
}

/// Two batches of two in a ring of three quarters free: one gets its two, or both one
/// after the other; what they get is theirs alone.
fn batch_batch(order: Order, is_linked: bool) {
    let (ring, _, log) = recorded(simulated(4, order));
    if is_linked {
        let (first, second) = (prepared(&ring.sq(), 0), prepared(&ring.sq(), 0));
        second.push();
        first.push();
        ring.submit().unwrap();
    }
    assert!(push(&ring.sq(), 9));
    let push_two = |sq: ringway::Sq, user_data: u64| {
        let Some(mut batch) = sq.pop_batch(2) else {
            witness("batch refused");
            return false;
        };
        for (i, sqe) in batch.iter_mut().enumerate() {
            // SAFETY: a NOP holds no pointer.
            unsafe { sqe.prep_nop() }.user_data(user_data + i as u64);
        }
        batch.push();
        true
    };
    let (one, two) = (ring.sq(), ring.sq());
    let other = loom::thread::spawn(move || push_two(two, 3));
    let mine = push_two(one, 1);
    let theirs = other.join().unwrap();
    ring.submit().unwrap();
    assert!(
        mine != theirs,
        "three free slots held two batches of two, or none"
    );
    log.assert_each_once(if mine { &[1, 2, 9] } else { &[3, 4, 9] });
}

fn panic_with(slot: Slot<'_>) {
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _slot = slot;
        std::panic::resume_unwind(Box::new("in a worker"));
    }));
    assert!(unwound.is_err());
}

/// A slot that is popped and never pushed holds up nobody and is not lost.
fn dropped_slot(order: Order, lose: fn(Slot<'_>)) {
    let (ring, _, log) = recorded(simulated(2, order));
    let (loser, worker) = (ring.sq(), ring.sq());
    let slot = loser.pop().unwrap();
    let seen = log.clone();
    together(
        || {
            lose(slot);
            if seen.all().is_empty() {
                witness("dropped first");
            }
        },
        [Box::new(move || {
            assert!(push(&worker, 2));
            worker.submit().unwrap();
        })],
    );
    log.assert_each_once(&[2]);
    ring.submit().unwrap();
    assert!(ring.sq().pop_batch(2).is_some(), "a slot is lost");
}
