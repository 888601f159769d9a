//! The queues of a local ring: random calls, each answer compared with that of a model.

use super::child::orders;
use super::local::push_nops;
use super::random::{Random, Seed};
use ringway::prep::{TimeoutFlags, Timespec};
use ringway::{Batch, Cqe, EnterError, Local, Order, Ring, Sqe, Wait, Waited};
use std::collections::VecDeque;
use std::time::Duration;

const ENTRIES: u32 = 8;

/// A batch as the model sees it: its numbers, none of one that was dropped, and whether it was
/// pushed.
struct Pushed {
    numbers: Vec<u64>,
    is_ready: bool,
}

/// What the ring should do.
#[derive(Default)]
struct Expected {
    /// By the place of its claim; in any order by the push.
    batches: VecDeque<(u64, Pushed)>,
    claims: u64,
    /// A submit found something behind a gap (rule S6).
    is_wanted: bool,
    /// Pushes that submitted for it.
    filled: u32,
    completed: VecDeque<u64>,
}

impl Expected {
    fn push(&mut self, order: Order, claim: u64, numbers: Vec<u64>) {
        let pushed = Pushed {
            numbers,
            is_ready: true,
        };
        if order == Order::Any {
            return self.batches.push_back((claim, pushed));
        }
        let is_first = self.batches[0].0 == claim;
        let mut batches = self.batches.iter_mut();
        let found = batches.find(|(place, _)| *place == claim);
        found.expect("a claim").1 = pushed;
        if is_first && self.is_wanted {
            self.filled += 1;
            self.submit();
        }
    }

    fn submit(&mut self) {
        while self
            .batches
            .front()
            .is_some_and(|(_, batch)| batch.is_ready)
        {
            let (_, batch) = self.batches.pop_front().expect("seen");
            self.completed.extend(batch.numbers);
        }
        self.is_wanted = self.batches.iter().any(|(_, batch)| batch.is_ready);
    }

    fn pop(&mut self, order: Order) -> u64 {
        self.claims += 1;
        if order == Order::Claim {
            let unready = Pushed {
                numbers: Vec::new(),
                is_ready: false,
            };
            self.batches.push_back((self.claims, unready));
        }
        self.claims
    }
}

/// What a thread holds.
struct Held<'r> {
    batch: Batch<'r, Local>,
    claim: u64,
}

/// Reaps by one of the ways, at most so many.
fn reap(ring: &Local, way: u64, most: usize) -> Vec<u64> {
    let one = |_| ring.reap().map(|cqe| cqe.user_data());
    let numbers = |cqe: Cqe| cqe.user_data();
    match way % 6 {
        0 => reap_batch(ring, most),
        1 => (0..most).map_while(one).collect(),
        2 => ring.reap_iter().take(most).map(numbers).collect(),
        3 => {
            let big = |_| ring.reap_big().map(|big| big.cqe().user_data());
            (0..most).map_while(big).collect()
        }
        4 => {
            // What it has read stays read, though it never says so.
            let mut iter = ring.reap_iter();
            let reaped = iter.by_ref().take(most).map(numbers).collect();
            std::mem::forget(iter);
            reaped
        }
        _ => {
            // While one iterator is at it, others go on from where it is.
            let mut reaped = Vec::new();
            let mut iter = ring.reap_iter();
            while reaped.len() < most {
                let Some(cqe) = iter.next() else { break };
                reaped.push(cqe.user_data());
                let rest = (most - reaped.len()).min((way >> 8) as usize % 3);
                match (way >> 16) % 3 {
                    0 => reaped.extend(reap_batch(ring, rest)),
                    1 => reaped.extend(ring.reap_iter().take(rest).map(numbers)),
                    _ => reaped.extend((0..rest).map_while(one)),
                }
            }
            reaped
        }
    }
}

fn reap_batch(ring: &Local, most: usize) -> Vec<u64> {
    let mut cqes = [Cqe::default(); 2 * ENTRIES as usize];
    let count = ring.reap_batch(&mut cqes[..most]);
    cqes[..count].iter().map(Cqe::user_data).collect()
}

/// SQEs one after the other, or all of them by one call, or both.
fn prep(batch: &mut Batch<'_, Local>, numbers: &[u64], way: u64) {
    let mut numbers = numbers.iter();
    let mut prep = |sqe: &mut Sqe| {
        let number = numbers.next().expect("as many as SQEs");
        // SAFETY: a NOP holds no pointer.
        unsafe { sqe.prep_nop() }.user_data(*number);
    };
    let mut sqes = batch.iter_mut();
    for _ in 0..way % 3 {
        sqes.next().into_iter().for_each(&mut prep);
    }
    sqes.for_each(prep);
    // Once more, it keeps what was prepared.
    batch.iter_mut().for_each(drop);
}

/// Calls until all slots are given up.
fn calls(ring: &Local, order: Order, random: &mut Random, next: &mut u64, expected: &mut Expected) {
    let mut held: Vec<Held<'_>> = Vec::new();
    for _ in 0..random.next() % 12 {
        let what = random.next();
        match what % 8 {
            0..3 => {
                let len = 1 + (what >> 8) as u32 % 3;
                let Some(batch) = ring.pop_batch(len) else {
                    assert!(ring.in_use() + len > ENTRIES, "there was room");
                    continue;
                };
                let claim = expected.pop(order);
                held.push(Held { batch, claim });
            }
            3..6 if !held.is_empty() => {
                let mut one = held.swap_remove((what >> 8) as usize % held.len());
                let numbers: Vec<u64> = (*next..).take(one.batch.len()).collect();
                *next += numbers.len() as u64;
                prep(&mut one.batch, &numbers, what >> 16);
                one.batch.push();
                expected.push(order, one.claim, numbers);
            }
            6 if !held.is_empty() => {
                let one = held.swap_remove((what >> 8) as usize % held.len());
                drop(one.batch);
                expected.push(order, one.claim, Vec::new());
            }
            _ => {
                ring.submit().unwrap();
                expected.submit();
            }
        }
    }
    for one in held {
        drop(one.batch);
        expected.push(order, one.claim, Vec::new());
    }
}

#[test]
fn it_answers_as_the_model_does() {
    let test = "owned::it_answers_as_the_model_does";
    let mut filled = 0;
    for seed in 0..4_000 {
        for order in orders(test) {
            let _seed = Seed(seed);
            let mut random = Random::new(seed);
            // With room for what a forgotten iterator does not give back.
            let builder = Ring::builder(ENTRIES).cq_entries(8 * ENTRIES);
            let ring = builder.order(order).build_local().unwrap();
            let (mut next, mut expected) = (0, Expected::default());
            for _ in 0..6 {
                calls(&ring, order, &mut random, &mut next, &mut expected);
                let most = random.next() as usize % (2 * ENTRIES as usize);
                let reaped = reap(&ring, random.next(), most);
                let count = most.min(expected.completed.len());
                assert!(expected.completed.drain(..count).eq(reaped));
                // In half of them: it gives back what a forgotten iterator has read.
                if seed % 2 == 0 {
                    assert_eq!(ring.ready() as usize, expected.completed.len());
                }
            }
            filled += expected.filled;
        }
    }
    let has_gaps = orders(test).contains(&Order::Claim);
    assert_eq!(filled > 0, has_gaps, "whether a submit met a gap");
}

/// What an iterator has read is not waited for again (rule L3).
#[test]
fn it_waits_for_what_no_iterator_has_read() {
    let ring = Ring::builder(ENTRIES).build_local().unwrap();
    type Ended = fn(&Local) -> Result<Waited, EnterError>;
    let waits: [Ended; 3] = [
        |ring| ring.wait(Some(Duration::ZERO)),
        |ring| ring.wait_with(1, Wait::new().timeout(Duration::ZERO)),
        |ring| ring.submit_and_wait(1, Some(Duration::ZERO)),
    ];
    for wait in waits {
        push_nops(&ring, 0..3);
        let mut iter = ring.reap_iter();
        assert_eq!(iter.by_ref().count(), 3);
        assert_eq!(wait(&ring), Ok(Waited::TimedOut));
        assert_eq!(ring.ready(), 0);
    }
    let soon = Timespec::from(Duration::from_millis(5));
    let waits: [fn(&Local) -> Option<Cqe>; 2] = [
        |ring| ring.wait_one(None).unwrap(),
        |ring| {
            let mut cqes = [Cqe::default()];
            let count = ring.wait_reap(&mut cqes, None).unwrap();
            cqes[..count].first().copied()
        },
    ];
    for wait in waits {
        let mut slot = ring.pop().unwrap();
        // SAFETY: the time stays.
        unsafe { slot.prep_timeout(&soon, 0, TimeoutFlags::NONE) }.user_data(9);
        slot.push();
        push_nops(&ring, 0..3);
        let mut iter = ring.reap_iter();
        assert_eq!(iter.by_ref().count(), 3);
        assert_eq!(wait(&ring).map(|cqe| cqe.user_data()), Some(9));
    }
}

/// Nor does it keep the kernel from giving what it has held back.
#[test]
fn one_iterator_gives_the_room_that_others_need() {
    let ways: [fn(&Local) -> Option<u64>; 3] = [
        |ring| ring.reap().map(|cqe| cqe.user_data()),
        |ring| reap_batch(ring, 1).pop(),
        |ring| ring.reap_iter().next().map(|cqe| cqe.user_data()),
    ];
    for reap in ways {
        let builder = Ring::builder(ENTRIES).cq_entries(ENTRIES);
        let ring = builder.build_local().unwrap();
        push_nops(&ring, 0..8);
        push_nops(&ring, 8..16);
        let mut iter = ring.reap_iter();
        assert_eq!(iter.by_ref().count(), 8);
        assert_eq!(reap(&ring), Some(8));
    }
}

#[test]
fn an_iterator_ends_where_others_have_read_on() {
    let ring = Ring::builder(ENTRIES).build_local().unwrap();
    push_nops(&ring, 0..3);
    let mut iter = ring.reap_iter();
    assert_eq!(iter.next().map(|cqe| cqe.user_data()), Some(0));
    push_nops(&ring, 3..5);
    assert_eq!(reap_batch(&ring, 8), [1, 2, 3, 4]);
    assert_eq!(iter.next(), None);
    drop(iter);
    push_nops(&ring, 5..6);
    assert_eq!(reap_batch(&ring, 8), [5]);
}
