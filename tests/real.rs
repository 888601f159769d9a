//! What safe code must not be able to do to the kernel's memory, on the real kernel.

mod child;

use child::orders;
use ringway::{Cq, Cqe, Ring};
use std::fs::File;

fn reap(cq: &Cq) -> Cqe {
    loop {
        match cq.reap() {
            Some(cqe) => return cqe,
            None => _ = cq.wait(None).expect("wait"),
        }
    }
}

/// A slot of a ring whose last operation read into a buffer that is the user's again.
#[test]
fn an_unprepared_slot_writes_nowhere() {
    for order in orders("an_unprepared_slot_writes_nowhere") {
        for is_batch in [false, true] {
            let ring = Ring::builder(1).order(order).build().expect("io_uring");
            let (sq, cq) = (ring.sq(), ring.cq());
            let file = File::open("/proc/self/exe").expect("the test itself");
            let mut buf = [7u8; 64];
            let mut slot = sq.pop().expect("an empty ring");
            // SAFETY: the buffer is not touched before the CQE.
            unsafe { slot.prep_read(&file, buf.as_mut_ptr(), 64, 0) }.user_data(1);
            slot.push();
            sq.submit().expect("submit");
            assert_eq!(reap(&cq).result(), Ok(64));
            assert_ne!(buf, [7; 64]);
            buf.fill(7);
            if is_batch {
                sq.pop_batch(1).expect("an empty ring").push();
            } else {
                sq.pop().expect("an empty ring").push();
            }
            sq.submit().expect("submit");
            let cqe = reap(&cq);
            assert_eq!((cqe.user_data(), cqe.result()), (0, Ok(0)));
            assert_eq!(std::hint::black_box(buf), [7; 64], "{order:?}");
        }
    }
}

/// A slot that was prepared, and dropped: its operation does not run, and posts nothing.
#[test]
fn a_dropped_slot_writes_nowhere() {
    for order in orders("a_dropped_slot_writes_nowhere") {
        let ring = Ring::builder(2).order(order).build().expect("io_uring");
        let (sq, cq) = (ring.sq(), ring.cq());
        let file = File::open("/proc/self/exe").expect("the test itself");
        let mut buf = [7u8; 64];
        let mut slot = sq.pop().expect("an empty ring");
        // SAFETY: a slot that is dropped does not run.
        unsafe { slot.prep_read(&file, buf.as_mut_ptr(), 64, 0) }.user_data(1);
        drop(slot);
        let mut slot = sq.pop().expect("two slots");
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(2);
        slot.push();
        sq.submit().expect("submit");
        assert_eq!(reap(&cq).user_data(), 2);
        assert_eq!((cq.reap(), sq.in_use()), (None, 0));
        assert_eq!(std::hint::black_box(buf), [7; 64], "{order:?}");
    }
}
