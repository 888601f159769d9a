//! 1,000,000 NOPs from three workers to two reapers: through the pool, and through one
//! `Arc<Mutex<io_uring::IoUring>>`, by turns.
//!
//! `million [OPERATIONS [ROUNDS]]`
#![allow(
    clippy::disallowed_types,
    reason = "what the peers count is not what the ring shares"
)]

use io_uring::{IoUring, opcode};
use ringway::pool::{Batching, Completion, Driver, Op, Pool, Submission};
use ringway::{Ring, Sqe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const WORKERS: u64 = 3;
const REAPERS: u32 = 2;
const SQ: u32 = 256;

/// A name, and what takes so many operations of each worker.
type Peer = (&'static str, fn(u64) -> Duration);

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let operations = args.next().map_or(1_000_000, |n| n.expect("a number"));
    let rounds = args.next().map_or(5, |n| n.expect("a number"));
    let each = operations / WORKERS;
    let peers: [Peer; 4] = [
        ("mutex", mutex),
        ("pool, combining", |each| pool(each, Submission::Combining)),
        ("pool, dedicated", |each| {
            pool(each, Submission::Dedicated(Batching::default()))
        }),
        ("pool, owned", owned),
    ];
    let mut times = [const { Vec::new() }; 4];
    for round in 0..rounds as usize {
        for i in 0..peers.len() {
            let at = (round + i) % peers.len();
            times[at].push(peers[at].1(each));
        }
    }
    for ((name, _), times) in peers.iter().zip(&mut times) {
        times.sort();
        let [least, median, most] = [0, times.len() / 2, times.len() - 1].map(|i| times[i]);
        println!("{name:<16} {median:>10.3?} [{least:.3?} to {most:.3?}]");
    }
}

/// The sum of the numbers, which all must come to.
struct Seen {
    count: AtomicU64,
    sum: AtomicU64,
}

impl Seen {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        })
    }

    fn add(&self, number: u64) {
        self.sum.fetch_add(number, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    fn check(&self, all: u64) {
        assert_eq!(
            self.sum.load(Relaxed),
            all * (all - 1) / 2,
            "lost or doubled"
        );
    }
}

fn nop(user_data: u64) -> Op {
    let mut sqe = Sqe::default();
    // SAFETY: a NOP names nothing.
    unsafe { sqe.prep_nop() }.user_data(user_data);
    sqe.into()
}

fn settings() -> ringway::pool::PoolBuilder {
    Pool::builder().workers(WORKERS as u32).reapers(REAPERS)
}

fn work(driver: &Driver, numbers: std::ops::Range<u64>) {
    for number in numbers {
        driver.submit(nop(number), None).expect("the pool is open");
    }
}

fn timed(pool: Pool<std::ops::Range<u64>>, seen: &Seen, each: u64) -> Duration {
    let all = each * WORKERS;
    let start = Instant::now();
    for worker in 0..WORKERS {
        let numbers = worker * each..(worker + 1) * each;
        pool.give_wait(numbers, None).expect("the pool is open");
    }
    while seen.count.load(Relaxed) < all {
        thread::sleep(Duration::from_micros(200));
    }
    let time = start.elapsed();
    seen.check(all);
    let stats = pool.stats();
    assert_eq!((stats.flushes, stats.stale), (0, 0));
    eprintln!(
        "{:.3} enters an operation",
        stats.enters as f64 / all as f64
    );
    time
}

fn handler(seen: &Arc<Seen>) -> impl Fn(&Driver, Completion) + Send + Sync + 'static {
    let seen = seen.clone();
    move |_, completion| seen.add(completion.user_data())
}

fn pool(each: u64, submission: Submission) -> Duration {
    let seen = Seen::new();
    let ring = Ring::builder(SQ).build().expect("io_uring");
    let pool = settings().submission(submission);
    let pool = pool.build(ring, work, handler(&seen)).expect("a pool");
    timed(pool, &seen, each)
}

fn owned(each: u64) -> Duration {
    let seen = Seen::new();
    let ring = Ring::builder(SQ).single_issuer().defer_taskrun();
    let ring = ring.build_disabled().expect("io_uring");
    let pool = settings().build_owned(ring, work, handler(&seen));
    timed(pool.expect("a pool"), &seen, each)
}

/// What one writes first: a lock round the ring, taken to push and submit, and to reap.
fn mutex(each: u64) -> Duration {
    let all = each * WORKERS;
    let ring = Arc::new(Mutex::new(IoUring::new(SQ).expect("io_uring")));
    let (seen, is_over) = (Seen::new(), AtomicBool::new(false));
    let in_flight = AtomicU64::new(0);
    let start = Instant::now();
    thread::scope(|threads| {
        for worker in 0..WORKERS {
            let (ring, in_flight) = (ring.clone(), &in_flight);
            threads.spawn(move || {
                for number in worker * each..(worker + 1) * each {
                    let nop = opcode::Nop::new().build().user_data(number);
                    // As the pool: never more in flight than the CQ holds.
                    while in_flight.fetch_add(1, Relaxed) >= 2 * u64::from(SQ) {
                        in_flight.fetch_sub(1, Relaxed);
                        thread::yield_now();
                    }
                    let mut ring = ring.lock().expect("no panic");
                    // SAFETY: a NOP names nothing.
                    unsafe { ring.submission().push(&nop) }.expect("each is submitted at once");
                    ring.submit().expect("submit");
                }
            });
        }
        for _ in 0..REAPERS {
            threads.spawn(|| {
                while !is_over.load(Relaxed) {
                    let mut ring = ring.lock().expect("no panic");
                    let cqes: Vec<u64> = ring.completion().map(|cqe| cqe.user_data()).collect();
                    drop(ring);
                    in_flight.fetch_sub(cqes.len() as u64, Relaxed);
                    cqes.iter().for_each(|number| seen.add(*number));
                    if cqes.is_empty() {
                        thread::yield_now();
                    }
                }
            });
        }
        while seen.count.load(Relaxed) < all {
            thread::sleep(Duration::from_micros(200));
        }
        is_over.store(true, Relaxed);
    });
    let time = start.elapsed();
    seen.check(all);
    time
}
