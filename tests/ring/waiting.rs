//! Waits, wakes, timeouts, the SQ thread's sleep.

use super::child::orders;
use super::{LOST, next, push_nop, ring};
use ringway::{Order, Ring, SqPoll, Waited};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const STOP: u64 = u64::MAX;

#[test]
fn a_wait_ends_with_its_timeout() {
    let ring = ring(4, Order::Any);
    let cq = ring.cq();
    assert_eq!(cq.wait(Some(Duration::ZERO)), Ok(Waited::TimedOut));
    let start = Instant::now();
    let timeout = Duration::from_millis(30);
    // As leader, and as followers of one that waits longer.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(cq.wait(Some(timeout)), Ok(Waited::TimedOut)));
        }
    });
    assert!(start.elapsed() >= timeout);
    push_nop(&ring.sq(), 1);
    ring.submit().unwrap();
    assert_eq!(cq.wait(Some(Duration::ZERO)), Ok(Waited::Maybe));
}

/// Each of 16 waiting threads is stopped by one wake; nobody sleeps on.
#[test]
fn each_wake_stops_one_of_sixteen() {
    for _ in 0..20 {
        let ring = ring(4, Order::Any);
        let stopped = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    assert_eq!(next(&ring).user_data(), STOP);
                    stopped.fetch_add(1, Relaxed);
                });
            }
            (0..16).for_each(|_| ring.wake(STOP).unwrap());
        });
        assert_eq!(stopped.into_inner(), 16);
        assert_eq!(ring.cq().reap(), None);
    }
}

/// Faster than an SQ thread takes SQEs, where wakes are such: none is refused.
#[test]
fn wakes_in_a_row_wait_for_the_sq_thread() {
    let builder = Ring::builder(2).sqpoll(SqPoll::new());
    let ring = builder.build().expect("io_uring");
    (0..100).for_each(|user_data| ring.wake(user_data).expect("wake"));
    let mut seen: Vec<u64> = (0..100).map(|_| next(&ring).user_data()).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..100));
}

/// How often this thread has gone to sleep.
fn sleeps() -> u64 {
    // SAFETY: the call fills the structure, which may be all zeroes.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage
    };
    usage.ru_nvcsw as u64
}

/// One completion at a time for 16 waiting threads: it comes to one, and wakes at most
/// one more.
#[test]
fn a_completion_wakes_at_most_two_of_sixteen() {
    const COMPLETIONS: u64 = 300;
    const THREADS: u64 = 16;
    let ring = ring(4, Order::Any);
    let (slept, seen) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let before = sleeps();
                while next(&ring).user_data() != STOP {
                    seen.fetch_add(1, Relaxed);
                }
                slept.fetch_add(sleeps() - before, Relaxed);
            });
        }
        let sq = ring.sq();
        for user_data in 0..COMPLETIONS {
            push_nop(&sq, user_data);
            sq.submit().unwrap();
            while seen.load(Relaxed) <= user_data {
                std::thread::yield_now();
            }
        }
        (0..THREADS).for_each(|_| ring.wake(STOP).unwrap());
    });
    assert_eq!(seen.into_inner(), COMPLETIONS);
    // A thread that is woken sleeps again. At the start and at the end each sleeps as
    // often as the stops, two threads for each, make it.
    let slept = slept.into_inner();
    let most = 2 * COMPLETIONS + 4 * THREADS;
    assert!(
        slept <= most,
        "{slept} sleeps for {COMPLETIONS} completions"
    );
}

/// Submissions spread over the edge at which the SQ thread goes to sleep. Without the
/// fence before NEED_WAKEUP, about one in ten thousand is never seen.
#[test]
fn sqpoll_wakes_for_every_submission() {
    for order in orders("waiting::sqpoll_wakes_for_every_submission") {
        near_idle(order, 300);
    }
}

#[test]
#[ignore = "minutes: cargo xtask stress"]
fn stress_sqpoll_near_idle() {
    for order in orders("waiting::stress_sqpoll_near_idle") {
        near_idle(order, 10_000);
    }
}

fn near_idle(order: Order, rounds: u64) {
    let idle = Duration::from_millis(1);
    let builder = Ring::builder(4)
        .order(order)
        .sqpoll(SqPoll::new().idle(idle));
    let ring = builder.build().expect("io_uring");
    let sq = ring.sq();
    for round in 0..rounds {
        push_nop(&sq, round);
        sq.submit().unwrap();
        let cq = ring.cq();
        let start = Instant::now();
        while cq.ready() == 0 {
            assert!(
                start.elapsed() < LOST,
                "{order:?}: submission {round} was never seen"
            );
            std::thread::yield_now();
        }
        assert_eq!(next(&ring).user_data(), round);
        // From well before the edge to well after it.
        let until = start + idle * 3 / 4 + idle * (round % 64) as u32 / 128;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

/// One thread handles what comes one at a time, however many wait.
#[test]
fn a_waiter_keeps_the_lead_over_little() {
    let ring = ring(8, Order::Any);
    let reaped = AtomicU64::new(0);
    let parts = std::thread::scope(|threads| {
        let reap = || {
            let mut waiter = ring.cq().waiter(2);
            let mut cqes = [Default::default(); 1];
            for turns in 0.. {
                while waiter.wait_reap(&mut cqes, Some(LOST)).unwrap() == 0 {}
                if cqes[0].user_data() == STOP {
                    return turns;
                }
                reaped.fetch_add(1, Relaxed);
            }
            unreachable!("it is stopped");
        };
        let reapers = [threads.spawn(reap), threads.spawn(reap)];
        for round in 1..=1_000 {
            push_nop(&ring.sq(), 0);
            ring.submit().unwrap();
            while reaped.load(Relaxed) < round {
                std::thread::yield_now();
            }
        }
        ring.wake(STOP).unwrap();
        ring.wake(STOP).unwrap();
        reapers.map(|reaper| reaper.join().unwrap())
    });
    // One that comes while something lies ready takes it, without waiting.
    assert!(parts.into_iter().min().unwrap() <= 20, "{parts:?}");
}

/// It gives the lead up over more than its number, and does not keep who waits next asleep.
#[test]
fn a_waiter_shares_more() {
    let ring = ring(8, Order::Any);
    let mut cqes = [Default::default(); 8];
    let mut leader = ring.cq().waiter(2);
    assert_eq!(leader.wait_reap(&mut cqes, Some(Duration::ZERO)), Ok(0));
    (0..4).for_each(|number| push_nop(&ring.sq(), number));
    ring.submit().unwrap();
    assert_eq!(leader.wait_reap(&mut cqes, None), Ok(4));
    std::thread::scope(|threads| {
        let next = threads.spawn(|| ring.cq().wait_one(Some(LOST)));
        // It is asleep by then, or takes what lies ready.
        std::thread::sleep(Duration::from_millis(20));
        push_nop(&ring.sq(), 4);
        ring.submit().unwrap();
        let start = Instant::now();
        let cqe = next.join().unwrap().unwrap();
        assert!(start.elapsed() < LOST / 2, "it woke by its timeout alone");
        assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(4));
    });
}

/// With 0 it hands over each time, also when nothing came.
#[test]
fn a_waiter_of_nothing_keeps_nothing() {
    let ring = ring(8, Order::Any);
    let mut cqes = [Default::default(); 8];
    let mut first = ring.cq().waiter(0);
    assert_eq!(first.wait_reap(&mut cqes, Some(Duration::ZERO)), Ok(0));
    std::thread::scope(|threads| {
        let next = threads.spawn(|| ring.cq().wait_one(Some(LOST)));
        // It is asleep by then, or takes what lies ready.
        std::thread::sleep(Duration::from_millis(20));
        let start = Instant::now();
        push_nop(&ring.sq(), 4);
        ring.submit().unwrap();
        let cqe = next.join().unwrap().unwrap();
        assert!(start.elapsed() < LOST / 2, "it woke by its timeout alone");
        assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(4));
    });
}
