//! Enters that fail, and wakes that have no message to send.

use super::*;

#[test]
fn a_wait_that_fails_takes_nothing() {
    let (ring, kernel) = Ring::simulated(1)
        .cq_entries(1)
        .faults(|call| errno(libc::EAGAIN).filter(|_| call == 0))
        .build();
    kernel.post(1, 0, 0);
    kernel.post(2, 0, 0);
    let cq = ring.cq();
    assert_eq!(cq.reap().map(|cqe| cqe.user_data()), Some(1));
    // The second waits in the kernel, which refuses to be entered once.
    let mut cqes = [Cqe::default()];
    assert_eq!(cq.wait_reap(&mut cqes, NOW), Err(EnterError::Busy));
    assert_eq!(reaped(&ring), [(2, 0)]);
}

/// What is pushed, submitted and reaped whatever the enters come to; with overflow,
/// multishot and held operations. Returns the number of enters.
fn run_with_fault(order: Order, at: u64, raw: i32) -> u64 {
    const OPS: u64 = 48;
    let (ring, kernel) = Ring::simulated(4)
        .cq_entries(4)
        .order(order)
        .script(|sqe, fate| {
            fate.more(1);
            match sqe.get_user_data() % 4 {
                3 => fate.hold(),
                _ => fate.complete(0),
            }
        })
        .faults(move |call| errno(raw).filter(|_| call == at))
        .build();
    let mut seen = Vec::new();
    let mut refused = 0;
    let mut note = |result: Result<(), EnterError>| match result {
        Ok(()) => {}
        Err(EnterError::Busy) => refused += 1,
        Err(other) => panic!("{other:?} for {raw} at {at}"),
    };
    for user_data in 0..OPS {
        until(|| {
            let is_full = ring.sq().in_use() == 4;
            if is_full {
                note(ring.submit());
            }
            !is_full
        });
        push(&ring, user_data);
        if user_data % 3 == 0 {
            note(ring.submit());
            note(ring.cq().wait(NOW).map(|_| ()));
        }
        if user_data % 5 == 0 {
            seen.extend(reaped(&ring));
        }
    }
    until(|| {
        note(ring.submit());
        (0..OPS).for_each(|user_data| _ = kernel.complete(user_data, 0));
        note(ring.cq().wait(NOW).map(|_| ()));
        seen.extend(reaped(&ring));
        seen.len() >= 2 * OPS as usize
    });
    let distinct: HashSet<_> = seen.iter().collect();
    assert_eq!(
        (seen.len(), distinct.len()),
        (2 * OPS as usize, 2 * OPS as usize),
        "{raw} at {at}"
    );
    assert_eq!(
        (ring.sq().in_use(), kernel.in_flight(), kernel.consumed()),
        (0, 0, OPS)
    );
    assert!(kernel.overflowed() > 0, "never overflowed");
    assert!(refused <= 1, "one fault, {refused} refusals");
    kernel.enters()
}

#[test]
fn no_fault_at_any_enter_loses_anything() {
    for order in ORDERS {
        for raw in [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM] {
            let enters = run_with_fault(order, u64::MAX, raw);
            assert!(enters > 20, "{enters} enters say little");
            // One more fails if one fails; the last does not fail at all.
            (0..=enters + 1).for_each(|at| _ = run_with_fault(order, at, raw));
        }
    }
}

#[test]
fn a_lost_completion_poisons_the_ring_at_any_enter() {
    const LOST: EnterError = EnterError::CompletionLost;
    for at in 0..12 {
        let (ring, kernel) = Ring::simulated(2)
            .cq_entries(2)
            .faults(move |call| errno(libc::EBADR).filter(|_| call == at))
            .build();
        // Submits, waits and flushes in turn, until the enter that fails.
        for user_data in 0.. {
            let was = kernel.enters() > at;
            assert_eq!(ring.submit().is_err(), was, "submit, enter {at}");
            if was {
                break;
            }
            let sq = ring.sq();
            if let Some(batch) = sq.pop_batch(1 + user_data % 2) {
                batch.push();
                let _ = ring.submit();
            }
            (0..user_data % 4).for_each(|_| kernel.post(9, 0, 0));
            while ring.cq().reap().is_some() {}
            let _ = ring.cq().wait(NOW);
        }
        let (mut one, cq) = ([Cqe::default()], ring.cq());
        while cq.reap().is_some() {}
        let enters = kernel.enters();
        kernel.post(7, 0, 0);
        assert_eq!(ring.submit(), Err(LOST));
        assert_eq!(ring.sq().wait_for_space(), Err(LOST));
        assert_eq!(
            cq.wait_reap(&mut one, NOW),
            Ok(1),
            "what has completed can be reaped"
        );
        assert_eq!(cq.wait(NOW), Err(LOST));
        assert_eq!(cq.wait_reap(&mut one, NOW), Err(LOST));
        assert_eq!(kernel.enters(), enters, "entered for a lost ring");
    }
}

#[test]
fn without_messages_a_wake_is_a_nop() {
    for order in ORDERS {
        let (ring, kernel) = Ring::simulated(2).order(order).without_messages().build();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| ring.cq().wait(Some(LONG)));
            until(|| kernel.enters() == 1);
            ring.wake(1).unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(Waited::Maybe));
        });
        assert_eq!((reaped(&ring), kernel.consumed()), (vec![(1, 0)], 1));
        // Full of pushed operations: they are submitted first.
        [2, 3]
            .into_iter()
            .for_each(|user_data| push(&ring, user_data));
        ring.wake(4).unwrap();
        assert_eq!(reaped(&ring), [(2, 0), (3, 0), (4, 0)]);
        // Full of slots that others own.
        let sq = ring.sq();
        let held = sq.pop_batch(2).unwrap();
        assert_eq!(ring.wake(5), Err(EnterError::Busy));
        held.push();
        ring.wake(6).unwrap();
        assert_eq!(reaped(&ring), [(0, 0), (0, 0), (6, 0)]);
        // Behind a slot that another owns, in claim order.
        let held = sq.pop().unwrap();
        ring.wake(7).unwrap();
        let before = reaped(&ring);
        held.push();
        ring.submit().unwrap();
        let after = reaped(&ring);
        match order {
            Order::Any => assert_eq!((before, after), (vec![(7, 0)], vec![(0, 0)])),
            Order::Claim => assert_eq!((before, after), (vec![], vec![(0, 0), (7, 0)])),
        }
    }
}
