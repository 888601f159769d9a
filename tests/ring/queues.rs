//! Slots, batches, chains, overflow.

use super::child::orders;
use super::{next, push_nop, ring};
use ringway::prep::Fixed;
use ringway::{Cqe, Errno, Order, Ring};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[test]
fn a_full_ring_and_an_empty_one_answer_none() {
    for order in orders("queues::a_full_ring_and_an_empty_one_answer_none") {
        let ring = ring(4, order);
        let (sq, cq) = (ring.sq(), ring.cq());
        assert_eq!(cq.reap(), None);
        assert_eq!(cq.reap_batch(&mut [Cqe::default(); 4]), 0);
        assert!(sq.pop_batch(0).is_none() && sq.pop_batch(5).is_none());
        let batch = sq.pop_batch(3).unwrap();
        assert!(sq.pop_batch(2).is_none());
        let slot = sq.pop().unwrap();
        assert!(sq.pop().is_none());
        assert_eq!(sq.in_use(), 4);
        batch.push();
        slot.push();
        assert!(sq.pop().is_none(), "pushed is not consumed");
        sq.submit().unwrap();
        assert_eq!(sq.in_use(), 0);
        assert_eq!(cq.ready(), 4, "unprepared slots are NOPs");
    }
}

#[test]
fn slots_are_pushed_in_any_order_by_any_thread() {
    for order in orders("queues::slots_are_pushed_in_any_order_by_any_thread") {
        let ring = ring(8, order);
        let sq = ring.sq();
        for round in 0..100 {
            let slots: Vec<_> = (0..8).map(|_| sq.pop().unwrap()).collect();
            std::thread::scope(|scope| {
                for (mut slot, i) in slots.into_iter().zip(0..8u32).rev() {
                    // SAFETY: a NOP holds no pointer.
                    unsafe { slot.prep_nop() }.user_data(round * 8 + u64::from(i));
                    scope.spawn(move || slot.push());
                }
            });
            sq.submit().unwrap();
            let mut seen: Vec<u64> = (0..8).map(|_| next(&ring).user_data()).collect();
            if order == Order::Claim {
                assert!(
                    seen.is_sorted(),
                    "claim order is the order of popping: {seen:?}"
                );
            }
            seen.sort_unstable();
            assert!(seen.into_iter().eq(round * 8..round * 8 + 8));
        }
    }
}

#[test]
fn a_dropped_slot_is_free_again_and_posts_nothing() {
    for order in orders("queues::a_dropped_slot_is_free_again_and_posts_nothing") {
        let ring = ring(2, order);
        let sq = ring.sq();
        for user_data in 0..100 {
            let lost = sq.pop().unwrap();
            push_nop(&sq, user_data);
            sq.submit().unwrap();
            match user_data % 2 {
                0 => drop(lost),
                _ => {
                    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        let _lost = lost;
                        std::panic::resume_unwind(Box::new("in a worker"))
                    }));
                    assert!(unwound.is_err());
                }
            }
            // In claim order the drop itself submitted what it held up.
            assert_eq!(next(&ring).user_data(), user_data);
            sq.submit().unwrap();
        }
        assert_eq!(ring.cq().reap(), None);
        assert!(sq.pop_batch(2).is_some(), "slots were lost");
    }
}

#[test]
fn drain_is_refused_after_a_dropped_slot() {
    let ring = ring(4, Order::Any);
    let sq = ring.sq();
    let drained = |user_data| {
        let mut slot = sq.pop().unwrap();
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(user_data).drain();
        slot.push();
        sq.submit().unwrap();
        next(&ring).result()
    };
    assert_eq!(drained(1), Ok(0));
    drop(sq.pop());
    sq.submit().unwrap();
    assert_eq!(drained(2), Err(Errno::from_raw(libc::EOPNOTSUPP)));
}

/// Chains of two whose first fails, from several threads beside single operations: the
/// second is always cancelled, no single one ever is.
#[test]
fn chains_are_never_cut() {
    const ROUNDS: u64 = 5_000;
    const FIRST: u64 = 1 << 32;
    const SECOND: u64 = 2 << 32;
    for order in orders("queues::chains_are_never_cut") {
        let ring = ring(8, order);
        let seen = AtomicU64::new(0);
        let expected = 2 * ROUNDS * 2 + 2 * ROUNDS;
        let reap = || {
            while let Some(cqe) = ring.cq().reap() {
                let wanted = match cqe.user_data() & !(FIRST - 1) {
                    // There is no table of files.
                    FIRST => Err(Errno::from_raw(libc::EBADF)),
                    SECOND => Err(Errno::from_raw(libc::ECANCELED)),
                    _ => Ok(0),
                };
                assert_eq!(cqe.result(), wanted, "{order:?}: {cqe:?}");
                seen.fetch_add(1, Relaxed);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let sq = ring.sq();
                    let mut buffer = [0u8; 8];
                    let mut round = 0;
                    while round < ROUNDS {
                        if let Some(mut batch) = sq.pop_batch(2) {
                            let mut sqes = batch.iter_mut();
                            let (Some(first), Some(second)) = (sqes.next(), sqes.next()) else {
                                panic!("a batch of two");
                            };
                            // SAFETY: the read fails before it looks at the buffer.
                            unsafe { first.prep_read(Fixed(0), buffer.as_mut_ptr(), 8, 0) }
                                .user_data(FIRST | round)
                                .link();
                            // SAFETY: a NOP holds no pointer.
                            unsafe { second.prep_nop() }.user_data(SECOND | round);
                            batch.push();
                            round += 1;
                        }
                        sq.submit().unwrap();
                        reap();
                    }
                });
                scope.spawn(|| {
                    let sq = ring.sq();
                    let mut round = 0;
                    while round < ROUNDS {
                        if let Some(mut slot) = sq.pop() {
                            // SAFETY: a NOP holds no pointer.
                            unsafe { slot.prep_nop() }.user_data(round);
                            slot.push();
                            round += 1;
                        }
                        sq.submit().unwrap();
                        reap();
                    }
                });
            }
        });
        reap();
        assert_eq!(seen.into_inner(), expected);
    }
}

/// 16 CQEs of room for 5,000 completions: none is lost, and reaping alone finds them.
#[test]
fn overflow_is_reaped_in_order() {
    let ring = Ring::builder(8).cq_entries(16).build().unwrap();
    let (sq, cq) = (ring.sq(), ring.cq());
    for first in (0..5_000).step_by(8) {
        (first..first + 8).for_each(|user_data| push_nop(&sq, user_data));
        sq.submit().unwrap();
    }
    assert_eq!(cq.ready(), 16);
    let mut cqes = [Cqe::default(); 64];
    let mut expected = 0..5_000;
    loop {
        let count = cq.reap_batch(&mut cqes);
        if count == 0 {
            break;
        }
        for cqe in &cqes[..count] {
            assert_eq!(Some(cqe.user_data()), expected.next());
        }
    }
    assert_eq!(expected.next(), None);
    assert_eq!(ring.cq_overflow(), 0);
}

const THREADS: u64 = 4;
const EACH: u64 = 20_000;

/// Threads that submit and handle whatever completes, of whichever thread.
#[test]
fn submit_and_reap_hands_out_each_completion_once() {
    for order in orders("queues::submit_and_reap_hands_out_each_completion_once") {
        for passes in [1, 2, 8, 64] {
            let ring = Ring::builder(16).order(order).max_passes(passes);
            let ring = ring.build().unwrap();
            (0..3).for_each(|number| push_nop(&ring.sq(), number));
            let mut parts = Vec::new();
            let two = &mut [Cqe::default(); 2];
            ring.submit_and_reap(two, |reaped| parts.push(reaped.len()))
                .unwrap();
            assert_eq!(parts, [2, 1]);
            ring.submit_and_reap(two, |_| panic!("nothing lies ready"))
                .unwrap();
            let count = AtomicU64::new(0);
            let parts: Vec<Vec<u64>> = std::thread::scope(|threads| {
                let work = |thread: u64| {
                    let (ring, count) = (ring.clone(), &count);
                    move || submit_and_reap(&ring, thread * EACH..(thread + 1) * EACH, count)
                };
                let workers: Vec<_> = (0..THREADS).map(|i| threads.spawn(work(i))).collect();
                workers.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let mut seen = parts.concat();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..THREADS * EACH), "{order:?} {passes}");
        }
    }
}

/// The first of two passes submits half; what follows the panic is left to the next wait.
#[test]
fn a_panic_while_handling_leaves_nobodys_operation_behind() {
    for order in orders("queues::a_panic_while_handling_leaves_nobodys_operation_behind") {
        let builder = Ring::builder(16).order(order).max_passes(2);
        let ring = builder.build().unwrap();
        let mut cqes = [Cqe::default(); 16];
        (0..16).for_each(|number| push_nop(&ring.sq(), number));
        let mut handled = 0;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            ring.submit_and_reap(&mut cqes, |reaped| {
                handled += reaped.len();
                panic!("as it is meant to");
            })
        }));
        assert!(caught.is_err());
        assert_eq!(handled, 8, "half the ring");
        let rest = ring.cq().wait_reap(&mut cqes, Some(super::LOST));
        assert_eq!(rest, Ok(8));
    }
}

fn submit_and_reap(ring: &Ring, numbers: std::ops::Range<u64>, count: &AtomicU64) -> Vec<u64> {
    let sq = ring.sq();
    let mut seen = Vec::new();
    let mut cqes = [Cqe::default(); 8];
    let mut numbers = numbers.peekable();
    while count.load(Relaxed) < THREADS * EACH {
        let slot = numbers.peek().and_then(|_| sq.pop());
        if let Some(mut slot) = slot {
            // SAFETY: a NOP holds no pointer.
            unsafe { slot.prep_nop() }.user_data(numbers.next().unwrap());
            slot.push();
        }
        let before = seen.len();
        let mut take = |reaped: &[Cqe]| seen.extend(reaped.iter().map(Cqe::user_data));
        ring.submit_and_reap(&mut cqes, &mut take).unwrap();
        let rest = ring.cq().reap_batch(&mut cqes);
        take(&cqes[..rest]);
        count.fetch_add((seen.len() - before) as u64, Relaxed);
    }
    seen
}
