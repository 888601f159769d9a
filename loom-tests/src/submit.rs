//! Entering for everybody: rules S6, S7 and E1 to E5.

use crate::harness::{Model, prepared, push, recorded, simulated, together, witness};
use ringway::Order::{self, Any, Claim};
use ringway::{EnterError, Errno};
use std::time::Duration;

pub const MODELS: &[Model] = &[
    Model {
        aims: &["SUBMIT_REQUEST.rel", "SUBMIT_AGAIN", "LEAVE_BLINDLY"],
        bound: Some(3),
        witnesses: &["asked again", "one enter for both"],
        floor: 9_800,
        ..Model::new("hand_off_any", || hand_off(Any))
    },
    Model {
        aims: &["SUBMIT_REQUEST.rel", "SUBMIT_AGAIN", "LEAVE_BLINDLY"],
        bound: Some(3),
        witnesses: &["asked again", "one enter for both"],
        floor: 3_800,
        ..Model::new("hand_off_claim", || hand_off(Claim))
    },
    Model {
        aims: &["SUBMIT_LAST", "TAIL_STORE"],
        bound: Some(2),
        witnesses: &["last pass", "tail moved by another"],
        floor: 29_000,
        ..Model::new("last_pass_any", || last_pass(Any))
    },
    Model {
        aims: &["SUBMIT_LAST", "TAIL_STORE"],
        bound: Some(2),
        witnesses: &["last pass", "tail moved by another"],
        floor: 16_000,
        ..Model::new("last_pass_claim", || last_pass(Claim))
    },
    Model {
        aims: &["NO_GAP_MARK", "SQ_GAP", "SQ_READY.acq"],
        witnesses: &["gap marked", "gap filled"],
        floor: 60,
        ..Model::new("gap_claim", gap_claim)
    },
    Model {
        aims: &["NO_GAP_MARK", "SQ_GAP", "SQ_READY.acq"],
        bound: Some(3),
        witnesses: &["gap marked", "gap filled", "gap closed"],
        floor: 650,
        ..Model::new("gap_any", gap_any)
    },
    Model {
        aims: &["SUBMIT_REQUEST.acq"],
        bound: Some(3),
        witnesses: &["refused", "paid by another"],
        floor: 70,
        ..Model::new("refused_any", || refused(Any))
    },
    Model {
        aims: &["SUBMIT_REQUEST.acq"],
        bound: Some(3),
        witnesses: &["refused", "paid by another"],
        floor: 70,
        ..Model::new("refused_claim", || refused(Claim))
    },
    Model {
        aims: &["SUBMIT_OWED", "SUBMIT_REQUEST.acq"],
        bound: Some(3),
        witnesses: &["refused", "paid by another"],
        floor: 1_300,
        ..Model::new("refused_for_another", refused_for_another)
    },
    Model {
        aims: &["SQPOLL_FENCE"],
        bound: Some(3),
        witnesses: &["woken", "was awake"],
        floor: 1_600,
        ..Model::new("sqpoll_sleep_any", || sqpoll_sleep(Any))
    },
    Model {
        aims: &["SQPOLL_FENCE"],
        bound: Some(3),
        witnesses: &["woken", "was awake"],
        floor: 1_600,
        ..Model::new("sqpoll_sleep_claim", || sqpoll_sleep(Claim))
    },
];

/// Two threads push and submit: nothing is left when both have returned.
fn hand_off(order: Order) {
    let (ring, kernel, log) = recorded(simulated(2, order));
    let (one, two) = (ring.sq(), ring.sq());
    together(
        || {
            assert!(push(&one, 1));
            one.submit().unwrap();
        },
        [Box::new(move || {
            assert!(push(&two, 2));
            two.submit().unwrap();
        })],
    );
    log.assert_each_once(&[1, 2]);
    if kernel.enters() == 1 {
        witness("one enter for both");
    }
}

/// Three threads: one may use up its passes, and publish beside the next holder. The
/// tail never goes back, and nothing is left.
fn last_pass(order: Order) {
    let (ring, _, log) = recorded(simulated(4, order).max_passes(2));
    let work = |user_data| {
        let sq = ring.sq();
        let slot = prepared(&sq, user_data);
        Box::new(move || {
            slot.push();
            sq.submit().unwrap();
        })
    };
    let (one, two, three) = (work(1), work(2), work(3));
    together(one, [two, three]);
    log.assert_each_once(&[1, 2, 3]);
}

/// A slot is owned while another thread pushes behind it and submits; the owner only
/// pushes.
fn gap_claim() {
    let (ring, _, log) = recorded(simulated(2, Claim));
    let (owner, worker) = (ring.sq(), ring.sq());
    let mut slot = owner.pop().unwrap();
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(1);
    together(
        || slot.push(),
        [Box::new(move || {
            assert!(push(&worker, 2));
            worker.submit().unwrap();
        })],
    );
    log.assert_each_once(&[1, 2]);
}

/// In any order the gap is a push that has its ticket and not yet its stamp. Whoever
/// submitted behind it must be served when both are done.
fn gap_any() {
    let (ring, _, log) = recorded(simulated(2, Any));
    let (pusher, worker) = (ring.sq(), ring.sq());
    together(
        || assert!(push(&pusher, 1)),
        [Box::new(move || {
            assert!(push(&worker, 2));
            worker.submit().unwrap();
        })],
    );
    assert!(log.all().contains(&2), "submitted and left behind");
    ring.submit().unwrap();
    log.assert_each_once(&[1, 2]);
}

/// The kernel refuses once. The debt is paid by whoever comes next, a waiter included,
/// and is not forgotten by one that sees nothing to do.
fn refused(order: Order) {
    let simulation =
        simulated(2, order).faults(|call| (call == 0).then(|| Errno::from_raw(libc::EAGAIN)));
    let (ring, kernel, log) = recorded(simulation);
    let (sq, cq, seen) = (ring.sq(), ring.cq(), log.clone());
    together(
        || {
            assert!(push(&sq, 1));
            if sq.submit() == Err(EnterError::Busy) {
                witness("refused");
            }
        },
        [Box::new(move || {
            let _ = cq.wait(Some(Duration::ZERO));
            if !seen.all().is_empty() {
                witness("paid by another");
            }
        })],
    );
    // The waiter may have taken the fault instead.
    ring.cq().wait(Some(Duration::ZERO)).unwrap();
    log.assert_each_once(&[1]);
    assert!(kernel.enters() >= 2);
}

/// As before, with a submit that was refused for the push of a third thread: whoever
/// takes the debt over must see what was published, though it has pushed nothing.
fn refused_for_another() {
    let simulation =
        simulated(2, Any).faults(|call| (call == 0).then(|| Errno::from_raw(libc::EAGAIN)));
    let (ring, _, log) = recorded(simulation);
    let (worker, submitter, cq, seen) = (ring.sq(), ring.sq(), ring.cq(), log.clone());
    let other = loom::thread::spawn(move || assert!(push(&worker, 1)));
    let waiter = loom::thread::spawn(move || {
        let _ = cq.wait(Some(Duration::ZERO));
        if !seen.all().is_empty() {
            witness("paid by another");
        }
    });
    let refused = submitter.submit();
    other.join().unwrap();
    waiter.join().unwrap();
    if refused.is_err() {
        witness("refused");
        ring.cq().wait(Some(Duration::ZERO)).unwrap();
        log.assert_each_once(&[1]);
    }
}

/// The SQ thread goes to sleep while a thread submits and waits.
fn sqpoll_sleep(order: Order) {
    let (ring, kernel, log) = recorded(simulated(2, order).sqpoll());
    let (sq, cq, sq_thread) = (ring.sq(), ring.cq(), kernel.clone());
    together(
        || {
            assert!(push(&sq, 1));
            sq.submit().unwrap();
            witness(if kernel.enters() > 0 {
                "woken"
            } else {
                "was awake"
            });
            while cq.reap().is_none() {
                cq.wait(None).unwrap();
            }
            kernel.stop();
        },
        [Box::new(move || sq_thread.sq_thread())],
    );
    log.assert_each_once(&[1]);
}
