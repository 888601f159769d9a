//! Threads with shared handles only; each pops, prepares, pushes, submits and reaps,
//! and every `user_data` is seen exactly once.
#![allow(
    clippy::disallowed_types,
    reason = "what the test counts is not what the ring shares"
)]

mod child;

use child::{has, orders};
use ringway::{Builder, Cqe, EnterError, Order, Ring, SqPoll};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const THREADS: u64 = 8;
/// Longer than an SQ thread is ever without its CPU.
const LOST: Duration = Duration::from_secs(20);

/// Of each thread; RINGWAY_NOPS for machines on which that takes too long.
static NOPS: LazyLock<u64> = LazyLock::new(|| match std::env::var("RINGWAY_NOPS") {
    Ok(nops) => nops.parse().expect("RINGWAY_NOPS is a number"),
    Err(_) => 20_000,
});

/// Which of the `user_data` came, and how often any came again.
struct Seen {
    words: Vec<AtomicU64>,
    count: AtomicU64,
}

impl Seen {
    fn new(expected: u64) -> Self {
        let words = (0..expected.div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Self {
            words,
            count: AtomicU64::new(0),
        }
    }

    /// How many have come with this one.
    fn record(&self, user_data: u64) -> u64 {
        let bit = 1 << (user_data % 64);
        let word = self
            .words
            .get((user_data / 64) as usize)
            .unwrap_or_else(|| panic!("user_data {user_data} was never pushed"));
        let before = word.fetch_or(bit, Relaxed);
        assert_eq!(before & bit, 0, "user_data {user_data} came twice");
        self.count.fetch_add(1, Relaxed) + 1
    }
}

/// Tells a thread that every completion has been seen.
const STOP: u64 = u64::MAX;

/// What all threads work on.
struct Run {
    ring: Ring,
    seen: Seen,
    nops: u64,
    batch: u32,
}

impl Run {
    /// Records completions; whoever records the last posts a STOP for each thread. True
    /// if a STOP came for this one.
    fn record(&self, cqes: &[Cqe]) -> bool {
        let mut is_over = false;
        for cqe in cqes {
            assert_eq!(cqe.result(), Ok(0));
            match cqe.user_data() {
                // A second one is another thread's.
                STOP if is_over => self.stop(),
                STOP => is_over = true,
                user_data => {
                    if self.seen.record(user_data) == THREADS * self.nops {
                        (0..THREADS).for_each(|_| self.stop());
                    }
                }
            }
        }
        is_over
    }

    /// Before Linux 6.13 a stop needs a slot, and other threads may have all of them.
    fn stop(&self) {
        while let Err(error) = self.ring.wake(STOP) {
            assert_eq!(error, EnterError::Busy);
            std::thread::yield_now();
        }
    }

    /// One thread's share, then whatever completions are left.
    fn work(&self, thread: u64) {
        let (sq, cq) = (self.ring.sq(), self.ring.cq());
        let mut cqes = [Cqe::default(); 32];
        let mut is_over = false;
        let mut next = thread * self.nops;
        let end = next + self.nops;
        while next < end {
            let len = u64::from(self.batch).min(end - next);
            match sq.pop_batch(len as u32) {
                Some(mut batch) => {
                    for (sqe, user_data) in batch.iter_mut().zip(next..) {
                        // SAFETY: a NOP holds no pointer.
                        unsafe { sqe.prep_nop() }.user_data(user_data);
                    }
                    batch.push();
                    next += len;
                }
                None => {
                    sq.wait_for_space().expect("wait for space");
                    std::thread::yield_now();
                }
            }
            sq.submit().expect("submit");
            let count = cq.reap_batch(&mut cqes);
            is_over |= self.record(&cqes[..count]);
        }
        while !is_over {
            let count = cq.wait_reap(&mut cqes, None).expect("wait");
            is_over = self.record(&cqes[..count]);
        }
    }
}

/// Whether there is a ring of that order; says so if not.
fn has_claim_order(test: &str) -> bool {
    has(6, 6, test, "Order::Claim (NO_SQARRAY)")
}

fn run(builder: Builder<'_>, nops: u64, batch: u32) {
    ends_whole(&share(builder, nops, batch));
}

/// An SQ thread shows the CQEs of a batch before it gives the slots back, and may lose its CPU
/// in between. Who enters by itself has them when it returns.
fn run_sqpoll(builder: Builder<'_>, nops: u64, batch: u32) {
    let ring = share(builder, nops, batch);
    let start = Instant::now();
    while ring.sq().in_use() > 0 && start.elapsed() < LOST {
        std::thread::yield_now();
    }
    ends_whole(&ring);
}

fn ends_whole(ring: &Ring) {
    let whole = ring.sq_entries();
    assert!(ring.sq().pop_batch(whole).is_some(), "slots were lost");
}

fn share(builder: Builder<'_>, nops: u64, batch: u32) -> Ring {
    let ring = builder.build().expect("io_uring");
    let run = Run {
        ring,
        seen: Seen::new(THREADS * nops),
        nops,
        batch,
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let run = &run;
            scope.spawn(move || run.work(thread));
        }
    });
    let Run { ring, seen, .. } = run;
    assert_eq!(seen.count.into_inner(), THREADS * nops);
    assert_eq!(ring.cq().reap(), None);
    assert_eq!((ring.sq_dropped(), ring.cq_overflow()), (0, 0));
    ring
}

fn plain(entries: u32, order: Order) -> Builder<'static> {
    Ring::builder(entries).order(order)
}

/// An SQ thread that goes to sleep again and again.
fn sqpoll(entries: u32, order: Order) -> Builder<'static> {
    plain(entries, order).sqpoll(SqPoll::new().idle(Duration::from_millis(1)))
}

#[test]
fn any_order_2_entries() {
    run(plain(2, Order::Any), *NOPS, 1);
}

#[test]
fn any_order_256_entries() {
    run(plain(256, Order::Any), *NOPS, 1);
}

#[test]
fn claim_order_2_entries() {
    if has_claim_order("claim_order_2_entries") {
        run(plain(2, Order::Claim), *NOPS, 1);
    }
}

#[test]
fn claim_order_256_entries() {
    if has_claim_order("claim_order_256_entries") {
        run(plain(256, Order::Claim), *NOPS, 1);
    }
}

#[test]
fn batches() {
    for order in orders("batches") {
        run(plain(256, order), *NOPS, 7);
    }
}

#[test]
fn sqpoll_2_entries() {
    for order in orders("sqpoll_2_entries") {
        run_sqpoll(sqpoll(2, order), *NOPS / 10, 1);
    }
}

#[test]
fn sqpoll_256_entries() {
    run_sqpoll(sqpoll(256, Order::Any), *NOPS, 1);
    if has_claim_order("sqpoll_256_entries") {
        run_sqpoll(sqpoll(256, Order::Claim), *NOPS, 3);
    }
}

/// `RINGWAY_RUNS` runs, an eighth of them of each kind.
#[test]
#[ignore = "minutes: cargo xtask stress"]
fn stress() {
    let runs = std::env::var("RINGWAY_RUNS").expect("RINGWAY_RUNS");
    let runs: u32 = runs.parse().expect("RINGWAY_RUNS is a number");
    type Make = fn(u32, Order) -> Builder<'static>;
    type Shared = fn(Builder<'_>, u64, u32);
    let kinds: [(&str, Make, Shared); 2] = [("", plain, run), (" SQPOLL", sqpoll, run_sqpoll)];
    for entries in [256, 2] {
        for (name, make, run) in kinds {
            for order in orders("stress") {
                let start = Instant::now();
                let each = runs.div_ceil(8);
                for _ in 0..each {
                    run(make(entries, order), *NOPS, 1);
                }
                let elapsed = start.elapsed();
                eprintln!("{each} runs, {order:?}, {entries} entries{name}: {elapsed:.1?}");
            }
        }
    }
}
