//! Real threads: waiting, waking, sharing.

use super::*;

#[test]
fn a_thread_that_panics_loses_no_slot() {
    for order in ORDERS {
        let (ring, kernel) = Ring::simulated(4).order(order).build();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let sq = ring.sq();
                let mut slot = sq.pop().unwrap();
                // SAFETY: a NOP holds no pointer.
                unsafe { slot.prep_nop() }.user_data(9);
                let _batch = sq.pop_batch(2).unwrap();
                panic!("with a slot and a batch");
            });
            assert!(thread.join().is_err());
        });
        push(&ring, 1);
        ring.submit().unwrap();
        assert_eq!((reaped(&ring), kernel.consumed()), (vec![(1, 0)], 4));
        assert_eq!(ring.sq().in_use(), 0);
    }
}

#[test]
fn a_waiter_sleeps_until_something_is_posted() {
    type Wake = fn(&Ring, &Kernel);
    let wakes: [Wake; 4] = [
        |_, kernel| kernel.post(5, 0, 0),
        |ring, _| ring.wake(5).unwrap(),
        |_, kernel| assert!(kernel.complete(5, 0)),
        |ring, _| {
            push(ring, 6);
            ring.submit().unwrap();
        },
    ];
    for (wake, user_data) in wakes.into_iter().zip([5, 5, 5, 6]) {
        let (ring, kernel) = Ring::simulated(4)
            .script(|sqe, fate| match sqe.get_user_data() {
                5 => fate.hold(),
                _ => fate.complete(0),
            })
            .build();
        push(&ring, 5);
        ring.submit().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| (ring.cq().wait(Some(LONG)), ring.cq().reap()));
            // The submit was the first enter. Once the second has begun it sleeps.
            until(|| kernel.enters() == 2);
            assert!(!waiter.is_finished());
            wake(&ring, &kernel);
            let (waited, cqe) = waiter.join().unwrap();
            assert_eq!(waited, Ok(Waited::Maybe));
            assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(user_data));
        });
    }
}

#[test]
fn one_waiter_enters_and_all_are_woken() {
    const WAITERS: u64 = 4;
    let (ring, kernel) = Ring::simulated(8).build();
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WAITERS {
            scope.spawn(|| {
                let mut one = [Cqe::default()];
                until(|| ring.cq().wait_reap(&mut one, Some(LONG)) == Ok(1));
                seen.lock().unwrap().push(one[0].user_data());
            });
        }
        until(|| kernel.enters() == 1);
        // One after the other: each time a follower has to take the place of the leader.
        for user_data in 1..=WAITERS {
            ring.wake(user_data).unwrap();
            until(|| seen.lock().unwrap().len() as u64 == user_data);
        }
    });
    assert_eq!(seen.into_inner().unwrap(), [1, 2, 3, 4]);
    assert!(kernel.enters() <= WAITERS, "{} enters", kernel.enters());
}

#[test]
fn waits_end_with_their_timeouts() {
    let short = Some(Duration::from_millis(2));
    let (ring, kernel) = Ring::simulated(4).build();
    let cq = ring.cq();
    let start = Instant::now();
    assert_eq!(cq.wait(short), Ok(Waited::TimedOut));
    assert!(start.elapsed() >= Duration::from_millis(2));
    assert_eq!(cq.wait(NOW), Ok(Waited::TimedOut));
    assert_eq!(cq.wait_reap(&mut [Cqe::default()], short), Ok(0));
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| ring.cq().wait(Some(LONG)));
        until(|| kernel.enters() == 4);
        // Behind a leader that waits for longer.
        assert_eq!(cq.wait(short), Ok(Waited::TimedOut));
        assert_eq!((kernel.enters(), leader.is_finished()), (4, false));
        ring.wake(1).unwrap();
        assert_eq!(leader.join().unwrap(), Ok(Waited::Maybe));
    });
}

/// What several reapers have seen, and when they stop.
struct Seen {
    cqes: Mutex<Vec<Cqe>>,
    expected: usize,
}

impl Seen {
    const REAPERS: u64 = 2;
    const STOP: u64 = u64::MAX;

    fn new(expected: usize) -> Self {
        let cqes = Mutex::new(Vec::new());
        Self { cqes, expected }
    }

    fn reap(&self, ring: &Ring) {
        let (cq, mut out) = (ring.cq(), [Cqe::default()]);
        until(|| {
            let count = cq.wait_reap(&mut out, Some(LONG)).expect("wait");
            if count == 1 && out[0].user_data() == Self::STOP {
                return true;
            }
            let mut cqes = self.cqes.lock().unwrap();
            cqes.extend_from_slice(&out[..count]);
            if count == 1 && cqes.len() == self.expected {
                (0..Self::REAPERS).for_each(|_| ring.wake(Self::STOP).unwrap());
            }
            false
        });
    }

    /// Every CQE once.
    fn all(self) -> Vec<Cqe> {
        let cqes = self.cqes.into_inner().unwrap();
        let distinct = cqes.iter().map(|cqe| (cqe.user_data(), cqe.res()));
        assert_eq!(distinct.collect::<HashSet<_>>().len(), self.expected);
        assert_eq!(cqes.len(), self.expected);
        cqes
    }
}

/// Pushes its share, and again when there was no room.
fn produce(ring: &Ring, numbers: std::ops::Range<u64>) {
    let sq = ring.sq();
    for number in numbers {
        until(|| {
            let slot = sq.pop().map(|mut slot| {
                // SAFETY: a NOP holds no pointer.
                unsafe { slot.prep_nop() }.user_data(number);
                slot.push();
            });
            ring.submit().expect("submit");
            slot.is_some()
        });
    }
}

#[test]
fn threads_lose_nothing_to_reordering_multishot_and_overflow() {
    const EACH: u64 = 300;
    for (order, head) in ORDERS.into_iter().zip([Head::Late, Head::Early]) {
        let (ring, kernel) = Ring::simulated(4)
            .cq_entries(4)
            .order(order)
            .head(head)
            .completions(CompletionOrder::Backward)
            .script(|sqe, fate| {
                fate.more(1);
                fate.more(2);
                match sqe.get_user_data() % 2 {
                    0 => fate.complete(0),
                    _ => fate.hold(),
                }
            })
            .build();
        let seen = Seen::new(3 * 3 * EACH as usize);
        std::thread::scope(|scope| {
            for producer in 0..3 {
                let ring = &ring;
                scope.spawn(move || produce(ring, producer * EACH..(producer + 1) * EACH));
            }
            (0..Seen::REAPERS).for_each(|_| _ = scope.spawn(|| seen.reap(&ring)));
            // The device: completes what is in flight, the last first.
            scope.spawn(|| {
                for number in (0..3 * EACH).filter(|number| number % 2 == 1).rev() {
                    until(|| kernel.complete(number, 0));
                }
            });
        });
        let has_more = |cqe: &&Cqe| cqe.has_more();
        assert_eq!(seen.all().iter().filter(has_more).count() as u64, 6 * EACH);
        assert!(kernel.overflowed() > 0, "never overflowed");
        assert_eq!((ring.sq().in_use(), ring.cq().ready()), (0, 0));
        assert_eq!(kernel.in_flight(), 0);
    }
}

#[test]
fn multishot_completions_come_in_order_through_an_overflow() {
    const SHOTS: i32 = 1000;
    let (ring, kernel) = Ring::simulated(2)
        .script(|_, fate| {
            (0..SHOTS).for_each(|i| fate.more(i));
            fate.complete(SHOTS);
        })
        .build();
    push(&ring, 1);
    ring.submit().unwrap();
    let cq = ring.cq();
    for i in 0..=SHOTS {
        let cqe = cq.reap().expect("one more");
        assert_eq!((cqe.res(), cqe.has_more()), (i, i < SHOTS));
    }
    assert_eq!(cq.reap(), None);
    assert_eq!(kernel.overflowed(), 1 + SHOTS as u64 - 4);
}

/// Stops the SQ thread also when the test fails, so that it fails and does not hang.
struct Stop<'k>(&'k Kernel);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn an_sq_thread_that_sleeps_is_woken() {
    for order in ORDERS {
        let (ring, kernel) = Ring::simulated(4).order(order).sqpoll().build();
        std::thread::scope(|scope| {
            let _stop = Stop(&kernel);
            scope.spawn(|| kernel.sq_thread());
            let mut pushed = 0;
            // Nothing else enters: each enter is a wake-up of a thread that slept.
            until(|| {
                push(&ring, pushed);
                ring.submit().unwrap();
                let mut seen = Vec::new();
                until(|| {
                    seen.extend(reaped(&ring));
                    !seen.is_empty()
                });
                assert_eq!(seen, [(pushed, 0)]);
                pushed += 1;
                kernel.enters() >= 100
            });
            assert_eq!(kernel.consumed(), pushed);
        });
    }
}

#[test]
fn a_wait_for_space_sleeps_until_the_sq_thread_takes_something() {
    let (ring, kernel) = Ring::simulated(2).sqpoll().build();
    [1, 2]
        .into_iter()
        .for_each(|user_data| push(&ring, user_data));
    assert!(ring.sq().pop().is_none());
    std::thread::scope(|scope| {
        let _stop = Stop(&kernel);
        let waiter = scope.spawn(|| ring.sq().wait_for_space());
        until(|| kernel.enters() == 1);
        assert!(!waiter.is_finished());
        scope.spawn(|| kernel.sq_thread());
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert!(ring.sq().pop().is_some());
    });
    assert_eq!(reaped(&ring), [(1, 0), (2, 0)]);
}
