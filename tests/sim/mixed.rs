//! Entries of mixed sizes: what takes two slots is never cut, and padding never seen.

use super::{Random, Seed};
use ringway::sim::{Kernel, Simulation};
use ringway::{Cqe32, Order, Ring, Sq};
use std::sync::{Arc, Mutex};

/// What an operation of this number looks like to the kernel: the second half, if it has
/// one, and the answer, which the number decides.
fn half_of(number: u64) -> Option<[u8; 64]> {
    number.is_multiple_of(3).then_some([number as u8; 64])
}

fn extra_of(number: u64) -> Option<[u64; 2]> {
    (number % 5 < 2).then_some([number, !number])
}

/// A ring of mixed sizes; what the kernel saw that was not as it was prepared.
fn mixed(simulation: Simulation) -> (Ring, Kernel, Arc<Mutex<Vec<u64>>>) {
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let seen = wrong.clone();
    let (ring, kernel) = simulation
        .order(Order::Claim)
        .sqe_mixed()
        .cqe_mixed()
        .script(move |sqe, fate| {
            let number = sqe.get_user_data();
            // What a dropped slot, and padding, became: the first number is 1.
            if number == 0 {
                return fate.complete(0);
            }
            if fate.second_half().copied() != half_of(number) {
                seen.lock().unwrap().push(number);
            }
            match extra_of(number) {
                Some(extra) => fate.complete_big(number as i32, extra),
                None => fate.complete(number as i32),
            }
        })
        .build();
    (ring, kernel, wrong)
}

/// Prepares and pushes an operation, unless the ring is full.
fn push(sq: &Sq, number: u64) -> bool {
    match half_of(number) {
        Some(half) => sq.pop128().map(|mut slot| {
            // SAFETY: the command is numbers to an operation that does not look at it.
            unsafe {
                slot.prep_nop128().user_data(number);
                slot.command_mut()[16..].copy_from_slice(&half);
            }
            slot.push();
        }),
        None => sq.pop().map(|mut slot| {
            // SAFETY: a NOP holds no pointer.
            unsafe { slot.prep_nop() }.user_data(number);
            slot.push();
        }),
    }
    .is_some()
}

/// The number, if all of the CQE is its.
fn number(cqe: Cqe32) -> u64 {
    let number = cqe.user_data();
    assert_eq!(cqe.result(), Ok(number as u32));
    assert_eq!(cqe.extra(), extra_of(number).unwrap_or_default());
    assert_eq!(cqe.is_big(), extra_of(number).is_some());
    number
}

#[test]
fn each_operation_arrives_whole_and_is_answered_whole() {
    for seed in 0..3_000 {
        let _seed = Seed(seed);
        let mut random = Random::new(seed);
        let sq_entries = 2 << (random.next() >> 62);
        let cq_entries = sq_entries << (random.next() >> 63);
        let simulation = Ring::simulated(sq_entries)
            .cq_entries(cq_entries)
            .counters_at(0u32.wrapping_sub((random.next() >> 58) as u32));
        let (ring, kernel, wrong) = mixed(simulation);
        let (sq, cq) = (ring.sq(), ring.cq());
        let (mut pushed, mut reaped) = (0, 0);
        for _ in 0..60 {
            match random.next() >> 61 {
                0..3 => pushed += u64::from(push(&sq, pushed + 1)),
                // Dropped slots, of either size, are gaps that nobody sees.
                3 if random.next() >> 63 == 0 => drop(sq.pop128()),
                3 => drop(sq.pop()),
                4 | 5 => sq.submit().unwrap(),
                _ => {
                    if let Some(cqe) = cq.reap_big() {
                        reaped += 1;
                        assert_eq!(number(cqe), reaped);
                    }
                }
            }
        }
        sq.submit().unwrap();
        while let Some(cqe) = cq.reap_big() {
            reaped += 1;
            assert_eq!(number(cqe), reaped);
        }
        assert_eq!((reaped, sq.in_use()), (pushed, 0), "{kernel:?}");
        assert_eq!(*wrong.lock().unwrap(), [0; 0]);
    }
}

#[test]
fn threads_share_a_ring_of_mixed_sizes() {
    const THREADS: u64 = 4;
    const EACH: u64 = 5_000;
    let (ring, _, wrong) = mixed(Ring::simulated(8));
    let seen = Mutex::new(Vec::new());
    let all = (THREADS * EACH) as usize;
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (sq, cq, seen) = (ring.sq(), ring.cq(), &seen);
            threads.spawn(move || {
                let reap = || {
                    while let Some(cqe) = cq.reap_big() {
                        seen.lock().unwrap().push(number(cqe));
                    }
                };
                for i in 0..EACH {
                    while !push(&sq, 1 + thread * EACH + i) {
                        sq.submit().unwrap();
                        reap();
                    }
                }
                sq.submit().unwrap();
                while seen.lock().unwrap().len() < all {
                    reap();
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(1..=THREADS * EACH));
    assert_eq!(*wrong.lock().unwrap(), [0; 0]);
}

#[test]
fn a_small_operation_in_a_big_slot_leaves_nothing_behind() {
    let (ring, kernel, _) = mixed(Ring::simulated(4).counters_at(0));
    let (sq, cq) = (ring.sq(), ring.cq());
    let mut slot = sq.pop128().unwrap();
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(1);
    slot.push();
    sq.submit().unwrap();
    assert_eq!(cq.reap_big().map(number), Some(1));
    assert_eq!(cq.reap_big(), None);
    // Two slots: the operation, and a NOP that posted nothing.
    assert_eq!(kernel.consumed(), 2);
}

#[test]
fn the_end_of_the_ring_is_padded_once() {
    let (ring, kernel, _) = mixed(Ring::simulated(2).counters_at(1));
    let sq = ring.sq();
    // The last slot becomes padding, which leaves no room for two.
    assert!(sq.pop128().is_none());
    assert!(sq.pop128().is_none());
    assert_eq!(sq.in_use(), 1);
    sq.submit().unwrap();
    assert!(push(&sq, 3));
    sq.submit().unwrap();
    assert_eq!(ring.cq().reap_big().map(number), Some(3));
    assert_eq!(kernel.consumed(), 3);
}

#[test]
fn a_ring_of_one_size_has_big_slots_or_none() {
    let (small, _) = Ring::simulated(4).build();
    assert!(small.sq().pop128().is_none());
    for order in [Order::Any, Order::Claim] {
        let (big, _) = Ring::simulated(2)
            .order(order)
            .sqe128()
            .script(|sqe, fate| {
                let is_it = fate.second_half() == Some(&[7; 64]);
                fate.complete(if is_it {
                    sqe.get_user_data() as i32
                } else {
                    -1
                });
            })
            .build();
        let (sq, cq) = (big.sq(), big.cq());
        for _ in 0..3 {
            let mut slot = sq.pop128().unwrap();
            // SAFETY: the command is numbers to an operation that does not look at it.
            unsafe {
                slot.prep_nop128().user_data(9);
                slot.command_mut()[16..].fill(7);
            }
            slot.push();
            sq.submit().unwrap();
            assert_eq!(cq.reap().unwrap().res(), 9);
        }
    }
}

#[test]
fn what_the_kernel_cannot_take_is_refused_with_its_chain() {
    // A 128-byte operation, spelled in a small slot: what no prep lets one do.
    let (ring, _, _) = mixed(Ring::simulated(4).counters_at(0));
    let sq = ring.sq();
    let mut batch = sq.pop_batch(4).unwrap();
    for (sqe, number) in batch.iter_mut().zip(1..) {
        // SAFETY: NOPs hold no pointer.
        let sqe = unsafe { sqe.prep_nop() }.user_data(number);
        if number < 4 {
            sqe.hardlink();
        } else {
            // SAFETY: as above; 63 is NOP128.
            unsafe { sqe.as_bytes_mut()[0] = 63 };
        }
    }
    batch.push();
    sq.submit().unwrap();
    let cq = ring.cq();
    let results: Vec<(u64, i32)> = std::iter::from_fn(|| cq.reap())
        .map(|cqe| (cqe.user_data(), cqe.res()))
        .collect();
    let cancelled = -libc::ECANCELED;
    assert_eq!(
        results,
        [
            (1, cancelled),
            (2, cancelled),
            (3, cancelled),
            (4, -libc::EINVAL)
        ]
    );
}

/// An operation of 64 bytes in a slot of 128 is linked to nothing: the other half would be
/// what it is linked to.
#[test]
fn what_fills_a_slot_of_128_bytes_is_linked_to_nothing() {
    let flags = Arc::new(Mutex::new(Vec::new()));
    let seen = flags.clone();
    let simulation = Ring::simulated(4).order(Order::Claim).sqe_mixed();
    let (ring, _kernel) = simulation
        .script(move |sqe, fate| {
            // SAFETY: an SQE is 64 bytes, all of them written.
            let bytes = unsafe { std::ptr::from_ref(sqe).cast::<[u8; 64]>().read() };
            seen.lock().unwrap().push(bytes[1]);
            fate.complete(0);
        })
        .build();
    let sq = ring.sq();
    let mut slot = sq.pop128().expect("room for 128 bytes");
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.link().drain();
    slot.push();
    ring.submit().unwrap();
    const DRAIN: u8 = 1 << 1;
    const SKIP_SUCCESS: u8 = 1 << 6;
    assert_eq!(*flags.lock().unwrap(), [DRAIN, SKIP_SUCCESS]);
}
