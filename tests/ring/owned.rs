//! The queues of a local ring: random calls, each answer compared with that of a model.

use super::child::orders;
use super::random::{Random, Seed};
use ringway::{Batch, Cqe, Local, Order, Ring, Sqe};
use std::collections::VecDeque;

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
fn reap(ring: &mut Local, way: u64, most: usize) -> Vec<u64> {
    let mut cqes = [Cqe::default(); 2 * ENTRIES as usize];
    match way % 3 {
        0 => {
            let count = ring.reap_batch(&mut cqes[..most]);
            cqes[..count].iter().map(Cqe::user_data).collect()
        }
        1 => {
            let one = |_| ring.reap().map(|cqe| cqe.user_data());
            (0..most).map_while(one).collect()
        }
        _ => ring
            .reap_iter()
            .take(most)
            .map(|cqe| cqe.user_data())
            .collect(),
    }
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

/// Calls until the slots are to be given up, which a reap by iterator asks for.
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
            let mut ring = Ring::builder(ENTRIES).order(order).build_local().unwrap();
            let (mut next, mut expected) = (0, Expected::default());
            for _ in 0..6 {
                calls(&ring, order, &mut random, &mut next, &mut expected);
                let most = random.next() as usize % (2 * ENTRIES as usize);
                let reaped = reap(&mut ring, random.next(), most);
                let count = most.min(expected.completed.len());
                assert!(expected.completed.drain(..count).eq(reaped));
            }
            filled += expected.filled;
        }
    }
    assert!(filled > 0, "no submit met a gap");
}
