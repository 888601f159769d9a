//! Entering for everybody: rules S6, S7 and E1 to E5.

use crate::harness::{
    Log, Model, prepared, prepared_batch, push, recorded, simulated, together, witness,
};
use ringway::Order::{self, Any, Claim};
use ringway::{Cqe, EnterError, Errno};
use std::time::Duration;

/// What brings one thread's stamps to another that holds the role.
const HAND_OFF: &[&str] = &[
    "SUBMIT_ASKED",
    "SUBMIT_LEFT",
    "ROLE_TAKEN",
    "ROLE_FREED",
    "LEAVE_BLINDLY",
];

pub const MODELS: &[Model] = &[
    Model {
        aims: HAND_OFF,
        bound: Some(3),
        witnesses: &["asked again", "one enter for both"],
        floor: 53_000,
        ..Model::new("hand_off_any", || hand_off(Any))
    },
    Model {
        aims: HAND_OFF,
        bound: Some(3),
        witnesses: &["asked again", "one enter for both"],
        floor: 32_000,
        ..Model::new("hand_off_claim", || hand_off(Claim))
    },
    Model {
        aims: &["SUBMIT_LEFT", "TAIL_STORE"],
        bound: Some(1),
        witnesses: &["last pass", "tail moved by another"],
        floor: 180_000,
        ..Model::new("last_pass_any", || last_pass(Any))
    },
    Model {
        aims: &["SUBMIT_LEFT", "TAIL_STORE"],
        bound: Some(1),
        witnesses: &["last pass", "tail moved by another"],
        floor: 120_000,
        ..Model::new("last_pass_claim", || last_pass(Claim))
    },
    Model {
        aims: &["OFFER_LEFT"],
        bound: Some(2),
        witnesses: &["offer taken", "offer withdrawn"],
        floor: 240_000,
        ..Model::new("role_offered", role_offered)
    },
    Model {
        aims: &["LEAVE_BLINDLY"],
        bound: Some(2),
        witnesses: &["asked again", "an enter for each half"],
        floor: 4_900,
        ..Model::new("cut", || cut(4))
    },
    Model {
        aims: &["LEAVE_BLINDLY"],
        bound: Some(2),
        witnesses: &[
            "cut at the end",
            "rest left to another",
            "an enter for each half",
        ],
        floor: 110_000,
        ..Model::new("cut_at_the_end", || cut(2))
    },
    Model {
        bound: Some(3),
        witnesses: &["one reaped for both", "refused"],
        floor: 50_000,
        ..Model::new("submit_and_reap", submit_and_reap)
    },
    Model {
        aims: &["NO_GAP_MARK", "SQ_GAP", "SQ_READY.acq"],
        witnesses: &["gap marked", "gap filled"],
        floor: 87,
        ..Model::new("gap_claim", gap_claim)
    },
    Model {
        aims: &["NO_GAP_MARK", "SQ_GAP", "SQ_READY.acq"],
        bound: Some(3),
        witnesses: &["gap marked", "gap filled", "gap closed"],
        floor: 1_400,
        ..Model::new("gap_any", gap_any)
    },
    Model {
        aims: &["NO_GAP_MARK"],
        bound: Some(3),
        witnesses: &["gap marked", "gap filled"],
        floor: 33,
        ..Model::new("gap_before_a_batch", gap_before_a_batch)
    },
    Model {
        bound: Some(3),
        witnesses: &["gap filled", "refused"],
        floor: 57,
        ..Model::new("gap_filled_in_vain", gap_filled_in_vain)
    },
    Model {
        bound: Some(3),
        witnesses: &["refused", "paid by another"],
        floor: 190,
        ..Model::new("refused_any", || refused(Any))
    },
    Model {
        bound: Some(3),
        witnesses: &["refused", "paid by another"],
        floor: 190,
        ..Model::new("refused_claim", || refused(Claim))
    },
    Model {
        bound: Some(3),
        witnesses: &["refused", "paid by another"],
        floor: 4_000,
        ..Model::new("refused_for_another", || refused_for_another(8))
    },
    Model {
        aims: &["SUBMIT_OWED"],
        bound: Some(3),
        witnesses: &["refused", "paid by another"],
        floor: 100,
        ..Model::new("refused_late_for_another", || refused_for_another(1))
    },
    Model {
        aims: &["DEBT_TAKEN"],
        bound: Some(2),
        witnesses: &["refused", "paid by another"],
        floor: 19_000,
        ..Model::new("refused_late_for_a_submit", refused_for_a_submit)
    },
    Model {
        aims: &["LAST_PASS_FORGETS"],
        bound: Some(3),
        witnesses: &["refused", "last pass"],
        floor: 200_000,
        ..Model::new("refused_in_the_last_pass", refused_in_the_last_pass)
    },
    Model {
        aims: &["LEFT_IS_DONE"],
        bound: Some(3),
        witnesses: &["left behind"],
        floor: 59_000,
        ..Model::new("short_submit", short_submit)
    },
    Model {
        aims: &["COUNTED_SUBMIT"],
        bound: Some(2),
        witnesses: &["kernel was faster"],
        floor: 24_000,
        ..Model::new("chain_published_between", chain_published_between)
    },
    Model {
        bound: Some(3),
        witnesses: &["stale tail"],
        floor: 27_000,
        ..Model::new("lapped", lapped)
    },
    Model {
        aims: &["SQPOLL_FENCE"],
        bound: Some(3),
        witnesses: &["woken", "was awake"],
        floor: 1_800,
        ..Model::new("sqpoll_sleep_any", || sqpoll_sleep(Any))
    },
    Model {
        aims: &["SQPOLL_FENCE"],
        bound: Some(3),
        witnesses: &["woken", "was awake"],
        floor: 1_800,
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

/// A thread comes back while another has taken its role over, and offers it.
fn role_offered() {
    let (ring, _, log) = recorded(simulated(4, Claim).max_passes(1));
    let (one, two) = (ring.sq(), ring.sq());
    let submit = |sq: &ringway::Sq, user_data| {
        assert!(push(sq, user_data));
        sq.submit().unwrap();
    };
    together(
        || (1..=2).for_each(|user_data| submit(&one, user_data)),
        [Box::new(move || submit(&two, 3))],
    );
    log.assert_each_once(&[1, 2, 3]);
}

/// Two threads push half the ring each: one pass does not publish both halves.
fn cut(max_passes: u32) {
    let (ring, kernel, log) = recorded(simulated(16, Claim).max_passes(max_passes));
    let work = |first: u64| {
        let sq = ring.sq();
        Box::new(move || {
            prepared_batch(&sq, 8, first).push();
            sq.submit().unwrap();
        })
    };
    let (one, two) = (work(1), work(9));
    together(one, [two]);
    log.assert_each_once(&Vec::from_iter(1..=16));
    if kernel.enters() == 2 {
        witness("an enter for each half");
    }
}

/// Two threads push, and reap if they were the one to enter, which the kernel refuses the
/// second time.
fn submit_and_reap() {
    let refused = |call| (call == 1).then(|| Errno::from_raw(libc::EAGAIN));
    let (ring, _, ran) = recorded(simulated(2, Claim).faults(refused));
    let reaped = Log::default();
    let work = |user_data| {
        let (ring, reaped) = (ring.clone(), reaped.clone());
        Box::new(move || {
            assert!(push(&ring.sq(), user_data));
            let mut count = 0;
            let mut cqes = [Cqe::default(); 1];
            let submitted = ring.submit_and_reap(&mut cqes, |cqes| {
                count += cqes.len();
                cqes.iter().for_each(|cqe| reaped.record(cqe.user_data()));
            });
            if submitted.is_err() {
                witness("refused");
            }
            if count == 2 {
                witness("one reaped for both");
            }
        })
    };
    let (one, two) = (work(1), work(2));
    together(one, [two]);
    // The debt of a refused enter.
    ring.submit().unwrap();
    while let Some(cqe) = ring.cq().reap() {
        reaped.record(cqe.user_data());
    }
    ran.assert_each_once(&[1, 2]);
    reaped.assert_each_once(&[1, 2]);
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

/// The gap is a batch, and so is what lies behind it.
fn gap_before_a_batch() {
    let (ring, _, log) = recorded(simulated(4, Claim));
    let (owner, worker) = (ring.sq(), ring.sq());
    let first = prepared_batch(&owner, 2, 1);
    let second = prepared_batch(&worker, 2, 3);
    together(
        || first.push(),
        [Box::new(move || {
            second.push();
            worker.submit().unwrap();
        })],
    );
    log.assert_each_once(&[1, 2, 3, 4]);
}

/// The push that fills a gap submits, and is refused: the debt is paid by the next wait.
fn gap_filled_in_vain() {
    let simulation =
        simulated(2, Claim).faults(|call| (call == 0).then(|| Errno::from_raw(libc::EAGAIN)));
    let (ring, kernel, log) = recorded(simulation);
    let (owner, worker) = (ring.sq(), ring.sq());
    let slot = prepared(&owner, 1);
    together(
        || slot.push(),
        [Box::new(move || {
            assert!(push(&worker, 2));
            if worker.submit().is_err() {
                witness("refused");
            }
        })],
    );
    ring.cq().wait(Some(Duration::ZERO)).unwrap();
    log.assert_each_once(&[1, 2]);
    assert!(kernel.enters() >= 2);
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
fn refused_for_another(max_passes: u32) {
    let simulation = simulated(2, Any)
        .max_passes(max_passes)
        .faults(|call| (call == 0).then(|| Errno::from_raw(libc::EAGAIN)));
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

/// Who takes the debt over by a submit, with nothing of its own to go by, submits it.
fn refused_for_a_submit() {
    let simulation = simulated(2, Any)
        .max_passes(1)
        .faults(|call| (call == 0).then(|| Errno::from_raw(libc::EAGAIN)));
    let (ring, _, log) = recorded(simulation);
    let (worker, submitter, payer, seen) = (ring.sq(), ring.sq(), ring.sq(), log.clone());
    let other = loom::thread::spawn(move || assert!(push(&worker, 1)));
    let payer = loom::thread::spawn(move || {
        let _ = payer.submit();
        if !seen.all().is_empty() {
            witness("paid by another");
        }
    });
    let refused = submitter.submit();
    other.join().unwrap();
    payer.join().unwrap();
    if refused.is_err() {
        witness("refused");
        ring.cq().wait(Some(Duration::ZERO)).unwrap();
        log.assert_each_once(&[1]);
    }
}

/// A holder that has given the role up, and is refused in its last pass, leaves a debt too.
fn refused_in_the_last_pass() {
    let simulation = simulated(2, Any)
        .max_passes(1)
        .faults(|call| (call == 0).then(|| Errno::from_raw(libc::EAGAIN)));
    let (ring, _, log) = recorded(simulation);
    let (one, two) = (ring.sq(), ring.sq());
    let submit = |sq: ringway::Sq, user_data| {
        assert!(push(&sq, user_data));
        if sq.submit().is_err() {
            witness("refused");
        }
    };
    together(|| submit(one, 1), [Box::new(move || submit(two, 2))]);
    ring.cq().wait(Some(Duration::ZERO)).unwrap();
    log.assert_each_once(&[1, 2]);
}

/// The kernel takes one SQE of two and says no error: what is left is a debt.
fn short_submit() {
    let simulation = simulated(2, Any).short_submits(|call| if call == 0 { 1 } else { u32::MAX });
    let (ring, _, log) = recorded(simulation);
    let (one, two) = (ring.sq(), ring.sq());
    let submit = |sq: ringway::Sq, user_data| {
        assert!(push(&sq, user_data));
        if sq.submit() == Err(EnterError::Busy) {
            witness("left behind");
        }
    };
    together(|| submit(one, 1), [Box::new(move || submit(two, 2))]);
    // A wait with something to reap does nothing else.
    while ring.cq().reap().is_some() {}
    ring.cq().wait(Some(Duration::ZERO)).unwrap();
    log.assert_each_once(&[1, 2]);
}

/// Between one thread's publication and its enter the kernel consumes what it published,
/// and another publishes a chain: the enter takes all of the chain or nothing.
fn chain_published_between() {
    let log = Log::default();
    let record = log.clone();
    let (ring, kernel) = simulated(4, Claim)
        .max_passes(1)
        .script(move |sqe, fate| {
            record.record(sqe.get_user_data());
            let is_first = sqe.get_user_data() == 1;
            fate.complete(if is_first { -libc::EIO } else { 0 });
        })
        .build();
    let (single, chain) = (ring.sq(), ring.sq());
    let slot = prepared(&single, 3);
    together(
        || {
            slot.push();
            single.submit().unwrap();
        },
        [
            Box::new(move || {
                let mut batch = prepared_batch(&chain, 2, 1);
                if let Some(first) = batch.iter_mut().next() {
                    first.link();
                }
                batch.push();
                chain.submit().unwrap();
            }),
            Box::new(move || {
                if kernel.consume() > 0 {
                    witness("kernel was faster");
                }
            }),
        ],
    );
    ring.submit().unwrap();
    let mut all = log.all();
    all.sort_unstable();
    assert_eq!(all, [1, 3], "of the chain 1-2 and the single 3, these ran");
}

/// A submitter's view of the tail may be a lap old: it must not take that for the end.
fn lapped() {
    let (ring, _, log) = recorded(simulated(2, Claim));
    let (one, two) = (ring.sq(), ring.sq());
    let (first, second) = (prepared(&one, 1), prepared(&two, 2));
    together(
        || {
            first.push();
            one.submit().unwrap();
            push(&one, 3);
        },
        [Box::new(move || {
            second.push();
            two.submit().unwrap();
        })],
    );
    let all = log.all();
    assert!(
        all.contains(&1) && all.contains(&2),
        "submitted and left behind: only {all:?} ran"
    );
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
