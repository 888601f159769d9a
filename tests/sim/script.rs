//! Scripts: chains, operations that are held, panics.

use super::{NOW, errno, push, push_chain, reaped};
use ringway::sim::{Head, Kernel};
use ringway::{EnterError, Ring, Sqe};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Operation 2 makes the script panic.
fn panicking(head: Head) -> (Ring, Kernel) {
    Ring::simulated(4)
        .head(head)
        .script(|sqe, fate| {
            fate.more(7);
            assert_ne!(sqe.get_user_data(), 2, "the script's panic");
            match sqe.get_user_data() {
                1 => fate.hold(),
                _ => fate.complete(0),
            }
        })
        .faults(|call| errno(libc::EAGAIN).filter(|_| call == 0))
        .build()
}

const PANICKED: [(u64, i32); 5] = [(1, 7), (2, 7), (2, -libc::EFAULT), (3, 7), (3, 0)];

#[test]
fn a_script_that_panics_fails_the_operation_only() {
    for head in [Head::Late, Head::Early] {
        for is_submit in [true, false] {
            let (ring, kernel) = panicking(head);
            (1..=3).for_each(|user_data| push(&ring, user_data));
            assert_eq!(ring.submit(), Err(EnterError::Busy));
            let run = AssertUnwindSafe(|| match is_submit {
                true => ring.submit().unwrap(),
                false => _ = kernel.consume(),
            });
            let thrown = catch_unwind(run).expect_err("the panic comes out");
            let message = thrown.downcast::<String>().expect("the message");
            assert!(message.contains("the script's panic"), "{message}");
            assert_eq!(reaped(&ring), PANICKED);
            assert_eq!((ring.sq().in_use(), kernel.consumed()), (0, 3));
            assert_eq!(kernel.in_flight(), 1);
            assert!(kernel.complete(1, 5));
            push(&ring, 3);
            ring.submit().unwrap();
            assert_eq!(reaped(&ring), [(1, 5), (3, 7), (3, 0)]);
        }
    }
}

#[test]
fn a_script_that_panics_in_a_chain_cancels_the_rest() {
    let (ring, kernel) = panicking(Head::Late);
    assert_eq!(ring.cq().wait(NOW), Err(EnterError::Busy));
    let sq = ring.sq();
    let mut batch = sq.pop_batch(3).unwrap();
    for (sqe, user_data) in batch.iter_mut().zip(1..) {
        // SAFETY: a NOP holds no pointer.
        unsafe { sqe.prep_nop() }.user_data(user_data).link();
    }
    batch.push();
    ring.submit().unwrap();
    let complete = AssertUnwindSafe(|| kernel.complete(1, 0));
    catch_unwind(complete).expect_err("the panic comes out");
    let rest = [
        (1, 7),
        (1, 0),
        (2, 7),
        (2, -libc::EFAULT),
        (3, -libc::ECANCELED),
    ];
    assert_eq!((reaped(&ring), kernel.in_flight()), (rest.to_vec(), 0));
}

#[test]
fn a_failure_ends_a_chain_unless_the_link_is_hard() {
    let failing = || {
        Ring::simulated(4).script(|sqe, fate| {
            fate.complete(if sqe.get_user_data() == 1 { -5 } else { 0 });
        })
    };
    let (ring, _kernel) = failing().build();
    push_chain(&ring, Sqe::hardlink);
    ring.submit().unwrap();
    assert_eq!(reaped(&ring), [(1, -5), (2, 0)]);
    push_chain(&ring, Sqe::link);
    ring.submit().unwrap();
    assert_eq!(reaped(&ring), [(1, -5), (2, -libc::ECANCELED)]);
}

#[test]
fn a_held_operation_holds_its_chain_and_its_flags() {
    let (ring, kernel) = Ring::simulated(4)
        .script(|sqe, fate| match sqe.get_user_data() {
            1 => fate.hold(),
            _ => fate.complete(0),
        })
        .build();
    for (res, then) in [
        (0, vec![(2, 0)]),
        (-5, vec![(1, -5), (2, -libc::ECANCELED)]),
    ] {
        push_chain(&ring, |sqe| sqe.link().skip_success());
        ring.submit().unwrap();
        assert_eq!((reaped(&ring), kernel.in_flight()), (vec![], 1));
        assert!(kernel.complete(1, res));
        assert_eq!(reaped(&ring), then);
        assert!(!kernel.complete(1, res), "completed twice");
    }
}
