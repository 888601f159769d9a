//! Reaping: rules C1 to C5.

use crate::harness::{Log, Model, simulated, together, witness};
use ringway::Cq;
use ringway::Order::Any;
use ringway::sim::Simulation;

pub const MODELS: &[Model] = &[
    Model {
        aims: &["CQ_TAIL"],
        witnesses: &["reaped while posting", "found nothing"],
        floor: 360,
        ..Model::new("reap_post", reap_post)
    },
    Model {
        aims: &["CQ_CLAIM"],
        witnesses: &["slot reused"],
        floor: 1_200,
        ..Model::new("reap_reuse", reap_reuse)
    },
    Model {
        aims: &["CQ_HEAD", "CQ_CLAIM"],
        bound: Some(3),
        witnesses: &["both reaped", "CQEs lost"],
        floor: 110_000,
        ..Model::new("reap_reap_post", reap_reap_post)
    },
    Model {
        bound: Some(3),
        witnesses: &["both reaped"],
        floor: 60_000,
        ..Model::new("batch_batch_post", batch_batch_post)
    },
    Model {
        aims: &["LAP_UNCHECKED"],
        bound: Some(3),
        witnesses: &["both reaped", "lap seen"],
        floor: 10_000,
        ..Model::new("reap_more_than_fits", reap_more_than_fits)
    },
    Model {
        aims: &["STALE_READ_KEPT"],
        bound: Some(3),
        witnesses: &["both reaped", "CQEs lost"],
        floor: 11_000,
        ..Model::new("big_big_post", || {
            big_big_post(simulated(1, Any).cq_entries(2).cqe32())
        })
    },
    Model {
        aims: &["STALE_READ_KEPT"],
        bound: Some(3),
        witnesses: &["both reaped", "CQEs lost"],
        floor: 18_000,
        ..Model::new("mixed_mixed_post", || {
            // One slot before the end of a lap: the first big CQE is padded.
            big_big_post(
                simulated(1, Any)
                    .cq_entries(4)
                    .cqe_mixed()
                    .counters_at(u32::MAX),
            )
        })
    },
    Model {
        aims: &["PADDING_IS_ALL"],
        bound: Some(3),
        witnesses: &["behind padding"],
        floor: 800,
        ..Model::new("padding_overflow", padding_overflow)
    },
    Model {
        aims: &["NO_FLUSH"],
        bound: Some(3),
        witnesses: &["overflowed", "flushed in time"],
        floor: 30_000,
        ..Model::new("overflow", overflow)
    },
];

/// Reaps up to `tries` times, recording what came; results say which CQE they are.
fn reap(cq: &Cq, tries: u32, log: &Log) {
    for _ in 0..tries {
        if let Some(cqe) = cq.reap() {
            assert_eq!(
                cqe.res(),
                cqe.user_data() as i32 + 100,
                "a torn or stale CQE"
            );
            log.record(cqe.user_data());
        }
    }
}

/// One reaper, while the kernel posts.
fn reap_post() {
    let (ring, kernel) = simulated(1, Any).cq_entries(2).build();
    let (cq, log) = (ring.cq(), Log::default());
    let post = kernel.clone();
    together(
        || {
            reap(&cq, 1, &log);
            witness(if log.all().is_empty() {
                "found nothing"
            } else {
                "reaped while posting"
            });
        },
        [Box::new(move || {
            for i in 1..=2 {
                post.post(i, i as i32 + 100, 0);
            }
        })],
    );
    reap(&cq, 2, &log);
    assert_eq!(log.all(), [1, 2]);
}

/// One slot, two completions: the kernel overwrites what was reaped.
fn reap_reuse() {
    let (ring, kernel) = simulated(1, Any).cq_entries(1).build();
    let (cq, log) = (ring.cq(), Log::default());
    kernel.post(1, 101, 0);
    let post = kernel.clone();
    together(
        || reap(&cq, 2, &log),
        [Box::new(move || {
            post.post(2, 102, 0);
            if post.overflowed() == 0 {
                witness("slot reused");
            }
        })],
    );
    reap(&cq, 2, &log);
    assert_eq!(log.all(), [1, 2]);
}

/// Two reapers and a kernel that fills each slot twice: each completion comes once.
fn reap_reap_post() {
    let (ring, kernel) = simulated(1, Any).cq_entries(1).build();
    let (one, two, log) = (ring.cq(), ring.cq(), Log::default());
    kernel.post(1, 101, 0);
    let theirs = Log::default();
    let (record, post) = (theirs.clone(), kernel.clone());
    together(
        || reap(&one, 2, &log),
        [
            Box::new(move || reap(&two, 1, &record)),
            Box::new(move || post.post(2, 102, 0)),
        ],
    );
    if !log.all().is_empty() && !theirs.all().is_empty() {
        witness("both reaped");
    }
    reap(&one, 2, &log);
    let all = [log.all(), theirs.all()].concat();
    assert!(
        all == [1, 2] || all == [2, 1],
        "completions came as {all:?}"
    );
    assert_eq!(ring.cq().ready(), 0);
}

/// What one batch of up to `N` brings.
fn reap_up_to<const N: usize>(cq: &Cq) -> Vec<u64> {
    let mut out = [Default::default(); N];
    let count = cq.reap_batch(&mut out);
    out[..count].iter().map(|cqe| cqe.user_data()).collect()
}

/// Two reapers of two at a time.
fn batch_batch_post() {
    let (ring, kernel) = simulated(1, Any).cq_entries(2).build();
    let (one, two) = (ring.cq(), ring.cq());
    kernel.post(1, 101, 0);
    let post = kernel.clone();
    let other = loom::thread::spawn(move || reap_up_to::<2>(&two));
    let poster = loom::thread::spawn(move || {
        post.post(2, 102, 0);
        post.post(3, 103, 0);
    });
    let mine = reap_up_to::<2>(&one);
    let theirs = other.join().unwrap();
    poster.join().unwrap();
    if !mine.is_empty() && !theirs.is_empty() {
        witness("both reaped");
    }
    let mut all = [mine, theirs, reap_up_to::<2>(&one), reap_up_to::<2>(&one)].concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
}

/// A reaper with room for more CQEs than the ring has, whose view of the head is a lap
/// older than its view of the tail.
fn reap_more_than_fits() {
    let (ring, kernel) = simulated(1, Any).cq_entries(1).build();
    let (one, two) = (ring.cq(), ring.cq());
    kernel.post(1, 101, 0);
    let post = kernel.clone();
    let other = loom::thread::spawn(move || reap_up_to::<4>(&two));
    let poster = loom::thread::spawn(move || post.post(2, 102, 0));
    let mine = reap_up_to::<4>(&one);
    let theirs = other.join().unwrap();
    poster.join().unwrap();
    if !mine.is_empty() && !theirs.is_empty() {
        witness("both reaped");
    }
    let mut all = [mine, theirs, reap_up_to::<4>(&one)].concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2]);
}

/// Reaps up to `tries` times, CQEs of whatever size.
fn reap_big(cq: &Cq, tries: u32, log: &Log) {
    for _ in 0..tries {
        if let Some(cqe) = cq.reap_big() {
            assert_eq!(cqe.extra(), extra(cqe.user_data()), "a torn or stale CQE");
            log.record(cqe.user_data());
        }
    }
}

/// What comes with a big CQE.
fn extra(user_data: u64) -> [u64; 2] {
    [user_data + 100, user_data + 200]
}

/// Two reapers of big CQEs: each comes once, whole.
fn big_big_post(simulation: Simulation) {
    let (ring, kernel) = simulation.build();
    let (one, two, log) = (ring.cq(), ring.cq(), Log::default());
    kernel.post_big(1, 101, 0, extra(1));
    let theirs = Log::default();
    let (record, post) = (theirs.clone(), kernel.clone());
    together(
        || reap_big(&one, 1, &log),
        [
            Box::new(move || reap_big(&two, 1, &record)),
            Box::new(move || post.post_big(2, 102, 0, extra(2))),
        ],
    );
    if !log.all().is_empty() && !theirs.all().is_empty() {
        witness("both reaped");
    }
    reap_big(&one, 2, &log);
    let mut all = [log.all(), theirs.all()].concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2]);
}

/// A CQ that is full up to its last slot, and a big CQE behind it: the flush has room for
/// padding only, until that is reaped. Reaping alone gets all.
fn padding_overflow() {
    let simulation = simulated(1, Any).cq_entries(2).cqe_mixed();
    let (ring, kernel) = simulation.counters_at(u32::MAX).build();
    let (one, two) = (ring.cq(), ring.cq());
    kernel.post(1, 101, 0);
    kernel.post(2, 102, 0);
    kernel.post_big(3, 103, 0, extra(3));
    let (log, theirs) = (Log::default(), Log::default());
    let record = theirs.clone();
    let reap = |cq: &Cq, log: &Log| cq.reap_big().map(|cqe| log.record(cqe.user_data()));
    together(
        || {
            for _ in 0..2 {
                reap(&one, &log);
            }
        },
        [Box::new(move || _ = reap(&two, &record))],
    );
    if theirs.all() == [3] {
        witness("behind padding");
    }
    let mut all = [log.all(), theirs.all()].concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3], "a completion stayed in the kernel");
}

/// More completions than room, two reapers that never wait: reaping alone gets all.
fn overflow() {
    let (ring, kernel) = simulated(1, Any).cq_entries(1).build();
    let (one, two, log) = (ring.cq(), ring.cq(), Log::default());
    kernel.post(1, 101, 0);
    kernel.post(2, 102, 0);
    let theirs = Log::default();
    let record = theirs.clone();
    together(
        || reap(&one, 2, &log),
        [Box::new(move || reap(&two, 1, &record))],
    );
    if kernel.overflowed() > 0 {
        witness("overflowed");
    }
    if log.all().len() + theirs.all().len() == 2 {
        witness("flushed in time");
    }
    reap(&one, 2, &log);
    let mut all = [log.all(), theirs.all()].concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2], "a completion stayed in the kernel");
}
