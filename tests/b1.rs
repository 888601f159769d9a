//! B1: threads with shared handles only; each pops, prepares, pushes, submits and reaps,
//! and every `user_data` is seen exactly once.
#![allow(
    clippy::disallowed_types,
    reason = "what the test counts is not what the ring shares"
)]

use ringway::{Builder, Cq, Order, Ring, Sq, SqPoll};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const THREADS: u64 = 8;
const NOPS: u64 = 20_000;

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

    fn record(&self, user_data: u64) {
        let bit = 1 << (user_data % 64);
        let word = self
            .words
            .get((user_data / 64) as usize)
            .unwrap_or_else(|| panic!("user_data {user_data} was never pushed"));
        let before = word.fetch_or(bit, Relaxed);
        assert_eq!(before & bit, 0, "user_data {user_data} came twice");
        self.count.fetch_add(1, Relaxed);
    }

    fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

/// Reaps what is there.
fn drain(cq: &Cq, seen: &Seen) {
    let mut cqes = [Default::default(); 32];
    loop {
        let count = cq.reap_batch(&mut cqes);
        for cqe in &cqes[..count] {
            assert_eq!(cqe.result(), Ok(0));
            seen.record(cqe.user_data());
        }
        if count == 0 {
            return;
        }
    }
}

/// One thread's share: singly or in batches, then reaping until everybody's are in.
fn work(sq: &Sq, cq: &Cq, seen: &Seen, first: u64, nops: u64, batch: u32) {
    let mut next = first;
    while next < first + nops {
        let len = batch.min((first + nops - next) as u32);
        match sq.pop_batch(len) {
            Some(mut slots) => {
                for (i, sqe) in slots.iter_mut().enumerate() {
                    // SAFETY: a NOP holds no pointer.
                    unsafe { sqe.prep_nop() }.user_data(next + i as u64);
                }
                slots.push();
                next += u64::from(len);
            }
            None => std::thread::yield_now(),
        }
        sq.submit().expect("submit");
        drain(cq, seen);
    }
}

/// The last completions may be reaped by any thread: wait on the ring, not on a count.
fn finish(cq: &Cq, seen: &Seen, expected: u64) {
    while seen.count() < expected {
        cq.wait(Some(Duration::from_millis(10))).expect("wait");
        drain(cq, seen);
    }
}

fn run(builder: Builder<'_>, nops: u64, batch: u32) {
    let ring = builder.build().expect("io_uring");
    let expected = THREADS * nops;
    let seen = Seen::new(expected);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sq, cq, seen) = (ring.sq(), ring.cq(), &seen);
            scope.spawn(move || {
                work(&sq, &cq, seen, thread * nops, nops, batch);
                finish(&cq, seen, expected);
            });
        }
    });
    assert_eq!(seen.count(), expected);
    assert_eq!(ring.cq().ready(), 0);
    assert_eq!(ring.sq_dropped(), 0);
    assert_eq!(ring.cq_overflow(), 0);
    let whole = ring.sq_entries();
    assert!(ring.sq().pop_batch(whole).is_some(), "slots were lost");
}

fn builder(entries: u32, order: Order) -> Builder<'static> {
    Ring::builder(entries).order(order)
}

fn sqpoll(entries: u32, order: Order) -> Builder<'static> {
    builder(entries, order).sqpoll(SqPoll::new().idle(Duration::from_millis(1)))
}

/// SQPOLL competes with the workers for the processors: one at a time.
static SQPOLL: Mutex<()> = Mutex::new(());

macro_rules! b1 {
    ($($name:ident: $make:ident($entries:expr, $order:ident), $nops:expr, $batch:expr;)*) => {
        $(#[test]
        fn $name() {
            let _alone = SQPOLL.lock().unwrap_or_else(|held| held.into_inner());
            run($make($entries, Order::$order), $nops, $batch);
        })*
    };
}

b1! {
    any_2: builder(2, Any), NOPS, 1;
    any_256: builder(256, Any), NOPS, 1;
    any_256_batches: builder(256, Any), NOPS, 7;
    claim_2: builder(2, Claim), NOPS, 1;
    claim_256: builder(256, Claim), NOPS, 1;
    claim_256_batches: builder(256, Claim), NOPS, 7;
    sqpoll_any_2: sqpoll(2, Any), 2_000, 1;
    sqpoll_any_256: sqpoll(256, Any), NOPS, 1;
    sqpoll_claim_2: sqpoll(2, Claim), 2_000, 1;
    sqpoll_claim_256: sqpoll(256, Claim), NOPS, 3;
}
