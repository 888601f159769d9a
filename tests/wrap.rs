//! The ring counters past 2^32: at once on the simulated ring, in minutes on the
//! kernel's.

use ringway::{Cqe, Local, Order, ResizeError, Ring};
use std::time::{Duration, Instant};

const ORDERS: [Order; 2] = [Order::Any, Order::Claim];

#[cfg(feature = "sim")]
mod simulated {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Mutex;

    /// Pushes `len` NOPs numbered from `next`, as a batch or one by one, and reaps them.
    fn lap(ring: &Ring, next: u64, len: u32, is_batch: bool) {
        let (sq, cq) = (ring.sq(), ring.cq());
        let numbers = next..next + u64::from(len);
        if is_batch {
            let mut batch = sq.pop_batch(len).expect("an empty ring");
            for (sqe, number) in batch.iter_mut().zip(numbers.clone()) {
                // SAFETY: a NOP holds no pointer.
                unsafe { sqe.prep_nop() }.user_data(number);
            }
            batch.push();
        } else {
            for number in numbers.clone() {
                let mut slot = sq.pop().expect("an empty ring");
                // SAFETY: a NOP holds no pointer.
                unsafe { slot.prep_nop() }.user_data(number);
                slot.push();
            }
        }
        assert_eq!(sq.in_use(), len);
        assert_eq!(sq.pop_batch(sq.entries() - len + 1).map(|b| b.len()), None);
        ring.submit().expect("submit");
        assert_eq!((sq.in_use(), cq.ready()), (0, len));
        let mut cqes = vec![Cqe::default(); len as usize + 1];
        assert_eq!(cq.reap_batch(&mut cqes), len as usize);
        assert!(
            cqes.iter()
                .zip(numbers)
                .all(|(cqe, number)| cqe.user_data() == number)
        );
        assert_eq!(cq.reap(), None);
    }

    /// Laps of all sizes from `before` the wrap to past it, and at least `laps`; those for
    /// which `is_batch` says so are batches.
    fn over_the_wrap(
        (entries, order): (u32, Order),
        before: u32,
        laps: usize,
        is_batch: impl Fn(usize) -> bool,
    ) {
        let start = u32::MAX - before;
        let (ring, kernel) = Ring::simulated(entries)
            .order(order)
            .counters_at(start)
            .build();
        let mut next = 0;
        // Parts of the ring: the wrap comes at each place of a lap.
        let lens = [entries, entries.div_ceil(2), 1, entries - entries / 4];
        for (i, len) in lens.into_iter().cycle().enumerate() {
            if i >= laps && next > u64::from(before) {
                break;
            }
            lap(&ring, next, len, is_batch(i));
            next += u64::from(len);
        }
        assert_eq!((kernel.consumed(), kernel.overflowed()), (next, 0));
        let all = ring.sq().pop_batch(entries).map(|batch| batch.len());
        assert_eq!(all, Some(entries as usize));
    }

    #[test]
    fn small_rings_pass_the_wrap_from_everywhere() {
        for order in ORDERS {
            for entries in [1, 2, 4, 64] {
                for before in 0..2 * entries {
                    over_the_wrap((entries, order), before, 12, |_| true);
                    over_the_wrap((entries, order), before, 12, |_| false);
                }
            }
        }
    }

    fn a_large_ring(order: Order) {
        for before in 0..2048 {
            let is_batch = |lap: usize| (before as usize + lap).is_multiple_of(2);
            over_the_wrap((1024, order), before, 1, is_batch);
        }
    }

    #[test]
    fn a_large_ring_passes_the_wrap_from_everywhere_in_any_order() {
        a_large_ring(Order::Any);
    }

    #[test]
    fn a_large_ring_passes_the_wrap_from_everywhere_in_claim_order() {
        a_large_ring(Order::Claim);
    }

    /// Far more than the test takes.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn threads_pass_the_wrap() {
        const PRODUCERS: u64 = 4;
        const EACH: u64 = 2_000;
        for order in ORDERS {
            for entries in [2, 64] {
                // Halfway through, for both queues.
                let start = u32::MAX - (PRODUCERS * EACH / 2) as u32;
                let (ring, kernel) = Ring::simulated(entries)
                    .order(order)
                    .counters_at(start)
                    .build();
                let seen = Mutex::new(HashSet::new());
                let begun = Instant::now();
                std::thread::scope(|scope| {
                    for producer in 0..PRODUCERS {
                        let sq = ring.sq();
                        scope.spawn(move || {
                            let end = (producer + 1) * EACH;
                            let mut next = producer * EACH;
                            while next < end {
                                assert!(begun.elapsed() < LONG, "no slot for {next}");
                                let len = (1 + next % 3).min(end - next).min(entries.into());
                                if let Some(mut batch) = sq.pop_batch(len as u32) {
                                    for (sqe, number) in batch.iter_mut().zip(next..) {
                                        // SAFETY: a NOP holds no pointer.
                                        unsafe { sqe.prep_nop() }.user_data(number);
                                    }
                                    batch.push();
                                    next += len;
                                }
                                sq.submit().expect("submit");
                            }
                        });
                    }
                    for _ in 0..2 {
                        let (ring, cq, seen) = (&ring, ring.cq(), &seen);
                        scope.spawn(move || reap_all(ring, &cq, seen, PRODUCERS * EACH));
                    }
                });
                assert_eq!(seen.into_inner().unwrap().len() as u64, PRODUCERS * EACH);
                assert_eq!(kernel.consumed(), PRODUCERS * EACH);
                assert_eq!((ring.sq().in_use(), ring.cq().ready()), (0, 0));
            }
        }
    }

    /// Posted for each reaper when all has been seen.
    const STOP: u64 = u64::MAX;

    fn reap_all(ring: &Ring, cq: &ringway::Cq, seen: &Mutex<HashSet<u64>>, expected: u64) {
        let (mut cqes, begun) = ([Cqe::default()], Instant::now());
        loop {
            // Both reap at once; only who finds nothing waits.
            let count = match cq.reap_batch(&mut cqes) {
                0 => cq.wait_reap(&mut cqes, Some(LONG)).expect("wait"),
                count => count,
            };
            assert!(begun.elapsed() < LONG, "completions are missing");
            for cqe in &cqes[..count] {
                if cqe.user_data() == STOP {
                    return;
                }
                let mut seen = seen.lock().unwrap();
                assert!(cqe.user_data() < expected, "{cqe:?} was never pushed");
                assert!(seen.insert(cqe.user_data()), "{cqe:?} came twice");
                if seen.len() as u64 == expected {
                    (0..2).for_each(|_| ring.wake(STOP).expect("wake"));
                }
            }
        }
    }
}

/// Runs NOPs through one ring of the kernel, and says how fast.
fn soak_one(order: Order, nops: u64) {
    const BATCH: u32 = 512;
    let ring = Ring::builder(4096).order(order).build().expect("io_uring");
    let (sq, cq) = (ring.sq(), ring.cq());
    let mut cqes = vec![Cqe::default(); BATCH as usize];
    let (start, mut said) = (Instant::now(), Instant::now());
    let mut done = 0;
    while done < nops {
        // Several batches to each enter; a NOP has completed when the submit returns.
        for batch in 0..8 {
            let first = done + batch * u64::from(BATCH);
            let mut batch = sq.pop_batch(BATCH).expect("8 batches fill the ring");
            for (sqe, number) in batch.iter_mut().zip(first..) {
                // SAFETY: a NOP holds no pointer.
                unsafe { sqe.prep_nop() }.user_data(number);
            }
            batch.push();
        }
        sq.submit().expect("submit");
        for _ in 0..8 {
            assert_eq!(cq.reap_batch(&mut cqes), BATCH as usize, "after {done}");
            // Each by itself, in order: count and sum are exact.
            let is_next = |(cqe, number): (&Cqe, u64)| cqe.user_data() == number && cqe.res() == 0;
            assert!(cqes.iter().zip(done..).all(is_next), "after {done}");
            done += u64::from(BATCH);
        }
        if said.elapsed() >= Duration::from_secs(30) {
            said = Instant::now();
            report(order, done, nops, start.elapsed());
        }
    }
    assert_eq!(cq.reap(), None);
    assert_eq!(
        (sq.in_use(), ring.sq_dropped(), ring.cq_overflow()),
        (0, 0, 0)
    );
    report(order, done, nops, start.elapsed());
}

fn report(order: Order, done: u64, nops: u64, time: Duration) {
    let rate = done as f64 / time.as_secs_f64() / 1e6;
    eprintln!("{order:?} order: {done} of {nops} NOPs in {time:.1?}, {rate:.2} M/s");
}

/// The kernel's counters begin at 0: more than 2^32 NOPs take all of them round.
#[test]
#[ignore = "half an hour: cargo xtask stress --wrap"]
fn soak() {
    let nops = match std::env::var("RINGWAY_WRAP_NOPS") {
        Ok(nops) => nops.parse().expect("RINGWAY_WRAP_NOPS is a number"),
        Err(_) => (1 << 32) + (1 << 24),
    };
    for order in ORDERS {
        soak_one(order, nops);
    }
}

/// Resized where both queues have entries on both sides of the wrap: the kernel copies none
/// of them there.
#[test]
#[ignore = "half an hour: cargo xtask stress --wrap"]
fn soak_resize() {
    const BATCH: u64 = 32768;
    const NOPS: u64 = (1 << 32) - 20;
    let nop = |ring: &Local, number| {
        let mut slot = ring.pop().expect("a slot");
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(number);
        slot.push();
    };
    for order in ORDERS {
        let builder = Ring::builder(BATCH as u32).order(order);
        let builder = builder.single_issuer().defer_taskrun();
        let mut ring = builder.build_local().expect("io_uring");
        let mut cqes = vec![Cqe::default(); BATCH as usize];
        let start = Instant::now();
        let mut done = 0;
        while done < NOPS {
            let count = BATCH.min(NOPS - done);
            ring.pop_batch(count as u32).expect("an empty ring").push();
            ring.submit().expect("submit");
            assert_eq!(ring.reap_batch(&mut cqes), count as usize, "after {done}");
            done += count;
        }
        report(order, done, NOPS, start.elapsed());
        match ring.resize(32, 64) {
            Err(ResizeError::Kernel(errno)) if errno.raw() == libc::EINVAL => {
                eprintln!("skipped: soak_resize: RESIZE_RINGS came with Linux 6.13");
                return;
            }
            resized => resized.expect("resize"),
        }
        let next = |ring: &Local, numbers: std::ops::Range<u64>| {
            for number in numbers {
                assert_eq!(ring.reap().map(|cqe| cqe.user_data()), Some(number));
            }
        };
        // First there are SQEs on both sides of the wrap, then CQEs.
        (0..17).for_each(|number| nop(&ring, number));
        ring.submit().expect("submit");
        next(&ring, 0..5);
        (17..27).for_each(|number| nop(&ring, number));
        ring.resize(64, 256).expect("resize");
        next(&ring, 5..12);
        ring.submit_and_wait(15, None).expect("wait");
        ring.resize(16, 32).expect("resize");
        next(&ring, 12..27);
        assert_eq!((ring.reap(), ring.in_use()), (None, 0));
    }
}
