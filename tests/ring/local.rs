//! The ring of one thread.

use super::LOST;
use super::child::{has, in_child, orders, tried};
use super::refuse::deny;
use ringway::{Builder, Cqe, EnterError, Errno, Local, Ring, SqPoll, Wait, Waited};
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

fn local(change: impl FnOnce(Builder<'static>) -> Builder<'static>) -> Local {
    let built = change(Ring::builder(8)).build_local();
    built.unwrap_or_else(|refused| panic!("{refused}"))
}

/// Rings with all the flags that the kernel has.
fn modes(test: &str) -> Vec<Local> {
    let orders = orders(test).into_iter();
    let mut modes: Vec<Local> = orders
        .map(|order| local(|builder| builder.order(order)))
        .collect();
    modes.extend([
        local(|builder| builder.coop_taskrun().taskrun_flag()),
        local(|builder| builder.single_issuer().defer_taskrun()),
        local(|builder| builder.single_issuer().register_ring_fd()),
    ]);
    modes
}

#[test]
fn submits_and_waits_for_a_read_that_is_not_ready() {
    for ring in modes("local::submits_and_waits_for_a_read_that_is_not_ready") {
        let (read, mut write) = std::io::pipe().unwrap();
        let mut buffer = [0u8; 5];
        let mut slot = ring.pop().unwrap();
        // SAFETY: the buffer and the pipe stay until the CQE, which is reaped below.
        unsafe { slot.prep_read(read.as_fd(), buffer.as_mut_ptr(), 5, u64::MAX) }.user_data(3);
        slot.push();
        let soon = Some(Duration::from_millis(5));
        // The kernel tells that it submitted, not that the time passed.
        assert_eq!(ring.submit_and_wait(1, soon), Ok(Waited::Maybe));
        assert_eq!(ring.reap(), None);
        assert_eq!(ring.submit_and_wait(1, soon), Ok(Waited::TimedOut));
        write.write_all(b"hello").unwrap();
        assert_eq!(ring.wait(Some(LOST)), Ok(Waited::Maybe));
        let cqe = ring.reap().expect("the wait ended for it");
        assert_eq!((cqe.user_data(), cqe.result()), (3, Ok(5)));
        assert_eq!(&buffer, b"hello");
    }
    tried("ENTER_GETEVENTS");
    tried("ENTER_EXT_ARG");
}

#[test]
fn submits_batches_and_waits_for_all() {
    for ring in modes("local::submits_batches_and_waits_for_all") {
        for round in 0..100 {
            let mut batch = ring.pop_batch(5).unwrap();
            for (sqe, i) in batch.iter_mut().zip(0..) {
                // SAFETY: a NOP holds no pointer.
                unsafe { sqe.prep_nop() }.user_data(round * 5 + i);
            }
            batch.push();
            assert_eq!(ring.submit_and_wait(5, Some(LOST)), Ok(Waited::Maybe));
            let mut cqes = [Cqe::default(); 8];
            assert_eq!(ring.reap_batch(&mut cqes), 5);
            for (cqe, i) in cqes[..5].iter().zip(0..) {
                assert_eq!(cqe.user_data(), round * 5 + i);
            }
        }
    }
}

#[test]
fn another_thread_wakes_it() {
    let test = "local::another_thread_wakes_it";
    if !has(6, 13, test, "SEND_MSG_RING") {
        return;
    }
    for ring in modes(test) {
        let waker = ring.waker().expect("a ring with a descriptor");
        std::thread::scope(|scope| {
            scope.spawn(move || waker.wake(9).unwrap());
            loop {
                if let Some(cqe) = ring.reap() {
                    assert_eq!(cqe.user_data(), 9);
                    break;
                }
                assert_eq!(ring.wait(Some(LOST)), Ok(Waited::Maybe));
            }
        });
    }
}

#[test]
fn overflow_is_reaped() {
    for ring in modes("local::overflow_is_reaped") {
        for _ in 0..8 {
            ring.pop_batch(8).unwrap().push();
            ring.submit().unwrap();
        }
        let mut cqes = [Cqe::default(); 64];
        let mut count = 0;
        while count < 64 {
            match ring.reap_batch(&mut cqes) {
                0 => break,
                reaped => count += reaped,
            }
        }
        assert_eq!(count, 64);
    }
}

#[test]
fn it_belongs_to_the_thread_that_enables_it() {
    const ENABLE_RINGS: u32 = 12;
    let builder = Ring::builder(8).single_issuer().defer_taskrun();
    let disabled = builder.build_disabled().unwrap();
    std::thread::spawn(move || {
        let ring = disabled.enable_local().unwrap();
        ring.pop().unwrap().push();
        assert_eq!(ring.submit_and_wait(1, Some(LOST)), Ok(Waited::Maybe));
        assert_eq!(ring.reap().map(|cqe| cqe.result()), Some(Ok(0)));
        // SAFETY: the opcode takes no argument.
        let again = unsafe {
            ring.registrar()
                .register(ENABLE_RINGS, std::ptr::null_mut(), 0)
        };
        assert_eq!(again, Err(Errno::from_raw(libc::EBADFD)));
    })
    .join()
    .unwrap();
    tried("REGISTER_ENABLE_RINGS");
}

/// Full, and nobody has told the SQ thread: after the wait there is room. (But for a signal,
/// and the end of another ring of this thread: so neither ring ends before both are done.)
#[test]
fn a_full_queue_is_waited_for() {
    let orders = orders("local::a_full_queue_is_waited_for").into_iter();
    let rings: Vec<Local> = orders
        .map(|order| local(|builder| builder.order(order).sqpoll(SqPoll::new())))
        .collect();
    for ring in &rings {
        let mut pushed = 0;
        let mut cqes = [Cqe::default(); 8];
        for _ in 0..200 {
            while let Some(slot) = ring.pop() {
                slot.push();
                pushed += 1;
            }
            assert_eq!(ring.wait_for_space(), Ok(()));
            assert!(ring.in_use() < 8, "no room");
            pushed -= ring.reap_batch(&mut cqes);
        }
        for _ in 0..pushed {
            assert!(ring.wait_one(Some(LOST)).unwrap().is_some(), "lost");
        }
    }
    tried("ENTER_SQ_WAIT");
}

pub fn push_nops(ring: &Local, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut slot = ring.pop().unwrap();
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(number);
        slot.push();
    }
    ring.submit().unwrap();
}

/// Singly and in batches of all sizes, counters going round the ring many times.
#[test]
fn reaps_in_order_however_many_are_asked_for() {
    for ring in modes("local::reaps_in_order_however_many_are_asked_for") {
        let mut seen = Vec::new();
        let mut cqes = [Cqe::default(); 16];
        for round in 0..100 {
            push_nops(&ring, round * 8..round * 8 + 8);
            let asked = round as usize % 9;
            let count = ring.reap_batch(&mut cqes[..asked]);
            assert_eq!(count, asked);
            seen.extend(cqes[..count].iter().map(Cqe::user_data));
            seen.extend(ring.reap().map(|cqe| cqe.user_data()));
            let count = ring.reap_batch(&mut cqes);
            seen.extend(cqes[..count].iter().map(Cqe::user_data));
            assert_eq!(ring.reap(), None);
        }
        assert!(seen.into_iter().eq(0..800));
    }
}

#[test]
fn reaps_what_the_kernel_held_back() {
    fn by_batch(ring: &Local) -> Vec<u64> {
        let mut cqes = [Cqe::default(); 8];
        let count = ring.reap_batch(&mut cqes);
        cqes[..count].iter().map(Cqe::user_data).collect()
    }
    fn by_iterator(ring: &Local) -> Vec<u64> {
        ring.reap_iter().map(|cqe| cqe.user_data()).collect()
    }
    let ways: [fn(&Local) -> Vec<u64>; 2] = [by_batch, by_iterator];
    for reap in ways {
        let ring = local(|builder| builder.cq_entries(8));
        for round in 0..3 {
            push_nops(&ring, round * 8..round * 8 + 8);
        }
        let mut seen = Vec::new();
        while seen.len() < 24 {
            let reaped = reap(&ring);
            assert!(!reaped.is_empty(), "{seen:?}");
            seen.extend(reaped);
        }
        assert!(seen.iter().copied().eq(0..24), "{seen:?}");
    }
}

/// What is not taken of an iteration is not lost; CQEs of 32 bytes are iterated as well.
#[test]
fn an_iteration_ends_where_it_is_left() {
    let rings = [local(|builder| builder), local(|builder| builder.cqe32())];
    for ring in rings {
        let mut seen = Vec::new();
        for round in 0..100 {
            push_nops(&ring, round * 8..round * 8 + 8);
            seen.extend(ring.reap_iter().take(5).map(|cqe| cqe.user_data()));
            assert_eq!(ring.ready(), 3);
            seen.extend(ring.reap_iter().map(|cqe| cqe.user_data()));
            assert_eq!(ring.reap_iter().next(), None);
        }
        assert!(seen.into_iter().eq(0..800));
    }
}

/// Entries of other sizes, pushed in turn and out of turn: each second half is clean, and each
/// CQE is seen.
#[test]
fn entries_are_as_large_as_they_are() {
    for order in orders("local::entries_are_as_large_as_they_are") {
        let big = || Ring::builder(8).order(order).sqe128();
        for (ring, is_backwards) in [(local(|_| big()), false), (local(|_| big().cqe32()), true)] {
            rounds(&ring, is_backwards);
        }
    }
    fn rounds(ring: &Local, is_backwards: bool) {
        for round in 0..5 {
            let mut slots = [(); 4].map(|()| ring.pop().unwrap());
            for (slot, number) in slots.iter_mut().zip(0..) {
                // SAFETY: a NOP holds no pointer.
                unsafe { slot.prep_nop() }.user_data(number);
                // SAFETY: as above.
                let command = unsafe { slot.command_mut() };
                assert_eq!(command, [0; 80]);
                command[16..].fill(0xFF);
            }
            if is_backwards && round % 2 == 1 {
                slots.reverse();
            }
            slots.into_iter().for_each(|slot| slot.push());
            ring.submit().unwrap();
            let seen = ring.reap_iter().map(|cqe| cqe.user_data());
            let mut seen: Vec<_> = seen.collect();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3], "round {round}, {is_backwards}");
        }
    }
}

/// Two at a time are refused, any other number is not: a wait tries again, with the whole ring.
#[test]
fn a_wait_submits_what_was_refused() {
    type Call = fn(&Local) -> Result<Waited, EnterError>;
    let submits: [Call; 2] = [
        |ring| ring.submit().map(|()| Waited::Maybe),
        |ring| ring.submit_and_wait(1, Some(LOST)),
    ];
    let waits: [Call; 3] = [
        |ring| ring.wait(Some(LOST)),
        |ring| ring.wait_with(2, Wait::new().timeout(LOST)),
        |ring| {
            let cqe = ring.wait_one(Some(LOST))?;
            Ok(cqe.map_or(Waited::TimedOut, |_| Waited::Maybe))
        },
    ];
    in_child("local::a_wait_submits_what_was_refused", || {
        let ring = local(|builder| builder);
        let to_submit = 1;
        deny(libc::SYS_io_uring_enter, Some((to_submit, 2)), libc::EAGAIN);
        for (submit, wait) in submits
            .iter()
            .flat_map(|submit| waits.map(|wait| (submit, wait)))
        {
            ring.pop_batch(2).unwrap().push();
            assert_eq!(submit(&ring), Err(EnterError::Busy));
            assert_eq!((ring.ready(), ring.in_use()), (0, 2));
            assert_eq!(wait(&ring), Ok(Waited::Maybe));
            assert_eq!(ring.in_use(), 0);
            while ring.reap().is_some() {}
        }
    });
}

/// From then on each call says so, also where it has nothing to do.
#[test]
fn a_lost_completion_is_told() {
    in_child("local::a_lost_completion_is_told", || {
        let ring = local(|builder| builder);
        deny(libc::SYS_io_uring_enter, None, libc::EBADR);
        let lost = Err(EnterError::CompletionLost);
        assert_eq!(ring.submit(), Ok(()), "there was nothing to submit");
        assert_eq!(ring.wait(None).map(|_| ()), lost);
        assert_eq!(ring.submit(), lost);
    });
}
