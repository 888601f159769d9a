//! Entries of both sizes, shared.

use crate::child::{has, orders, skip, untried};
use ringway::{Builder, Order, Ring};
use std::sync::Mutex;

const THREADS: u64 = 4;
const EACH: u64 = 10_000;

/// Every thread pushes and reaps, every third operation with 128 bytes if `has_big`; each
/// completion comes once.
fn share(builder: Builder<'_>, has_big: bool) {
    let ring = builder.build().expect("io_uring");
    let seen = Mutex::new(Vec::new());
    let all = (THREADS * EACH) as usize;
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (sq, cq, seen) = (ring.sq(), ring.cq(), &seen);
            let push = move |number: u64| {
                if has_big && number.is_multiple_of(3) {
                    let Some(mut slot) = sq.pop128() else {
                        return sq.submit().map(|()| false);
                    };
                    // SAFETY: a NOP holds no pointer.
                    unsafe { slot.prep_nop128() }.user_data(number);
                    slot.push();
                } else {
                    let Some(mut slot) = sq.pop() else {
                        return sq.submit().map(|()| false);
                    };
                    // SAFETY: a NOP holds no pointer.
                    unsafe { slot.prep_nop() }.user_data(number);
                    slot.push();
                }
                sq.submit().map(|()| true)
            };
            threads.spawn(move || {
                let reap = || {
                    while let Some(cqe) = cq.reap_big() {
                        assert_eq!(cqe.result(), Ok(0));
                        seen.lock().unwrap().push(cqe.user_data());
                    }
                };
                for i in 0..EACH {
                    while !push(thread * EACH + i).unwrap() {
                        reap();
                    }
                    reap();
                }
                while seen.lock().unwrap().len() < all {
                    reap();
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..THREADS * EACH));
}

#[test]
fn big_cqes_are_shared() {
    for order in orders("sizes::big_cqes_are_shared") {
        share(Ring::builder(2).order(order).cqe32(), false);
        share(Ring::builder(2).order(order).sqe128().cqe32(), false);
    }
}

#[test]
fn big_and_small_cqes_are_shared() {
    let test = "big_and_small_cqes_are_shared";
    if has(6, 18, test, "CQE_MIXED") {
        share(Ring::builder(2).cqe_mixed(), false);
    }
}

#[test]
fn big_and_small_sqes_are_shared() {
    let mixed = Ring::builder(8).order(Order::Claim).sqe_mixed();
    match mixed.build() {
        Ok(_) => share(mixed.cqe_mixed(), true),
        Err(refused) => {
            assert!(!crate::child::linux(6, 19), "{refused}");
            let test = "big_and_small_sqes_are_shared";
            skip(test, "SQE_MIXED came with Linux 6.19");
            untried("OP_NOP128", "SQE_MIXED came with Linux 6.19");
        }
    }
}
