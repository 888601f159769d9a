//! The local ring that kernels before 5.18 can make, as its documentation says it.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ringway::{Builder, EnterError, Errno, Local, Ring, SetupError, SqPoll, Waited};

use super::child::{linux, patiently};
use super::here;

fn legacy(change: impl Fn(Builder<'static>) -> Builder<'static>) -> Local {
    let built = patiently(|| change(Ring::builder(8).legacy()).build_local());
    built.unwrap_or_else(|refused| panic!("{refused}"))
}

fn push_nop(ring: &Local, user_data: u64) {
    let mut slot = ring.pop().expect("a free slot");
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(user_data);
    slot.push();
}

/// The next completion, waited for without a limit.
fn next(ring: &Local) -> (u64, Result<u32, i32>) {
    let cqe = ring.wait_one(None).unwrap().expect("no limit has passed");
    (cqe.user_data(), cqe.result().map_err(|errno| errno.raw()))
}

#[test]
fn submits_waits_and_reaps() {
    type Set = fn(Builder<'static>) -> Builder<'static>;
    let sets: [Set; 4] = [
        |builder| builder,
        |builder| builder.cq_entries(8),
        |builder| builder.clamp(),
        |builder| builder.sqpoll(SqPoll::new()),
    ];
    for ring in sets.map(legacy) {
        for round in 0..100 {
            // An SQ thread may not have taken all that was there before.
            while ring.in_use() > 3 {
                ring.wait_for_space().unwrap();
                thread::yield_now();
            }
            (0..5).for_each(|number| push_nop(&ring, round * 5 + number));
            ring.submit().unwrap();
            (0..5).for_each(|number| assert_eq!(next(&ring), (round * 5 + number, Ok(0))));
        }
        assert_eq!(ring.reap(), None);
    }
}

/// Submits when the SQ thread is awake, asleep, and on its way there.
#[test]
fn an_sq_thread_that_sleeps_is_woken() {
    let idle = Duration::from_millis(1);
    let ring = legacy(|builder| builder.sqpoll(SqPoll::new().idle(idle)));
    for round in 0..300 {
        push_nop(&ring, round);
        ring.submit().unwrap();
        // Not a wait, which would enter the kernel.
        let patience = Instant::now() + Duration::from_secs(20);
        let cqe = loop {
            match ring.reap() {
                None if Instant::now() < patience => thread::yield_now(),
                reaped => break reaped,
            }
        };
        assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(round));
        thread::sleep(idle * (round % 4) as u32);
    }
    assert_eq!(ring.reap(), None);
}

#[test]
fn a_disabled_one_is_enabled() {
    let disabled = Ring::builder(8).legacy().build_disabled().unwrap();
    let ring = disabled.enable_local().unwrap();
    push_nop(&ring, 3);
    assert_eq!(ring.submit_and_wait(1, None), Ok(Waited::Maybe));
    assert_eq!(next(&ring), (3, Ok(0)));
    // Threads cannot share one.
    let shared = Ring::builder(8).legacy().build_disabled().unwrap().enable();
    let refused = |error| matches!(error, SetupError::Refused { flag: "legacy", .. });
    assert!(refused(shared.unwrap_err()));
    assert!(refused(Ring::builder(8).legacy().build().unwrap_err()));
}

/// A chain whose middle waits for data; the files are not registered.
#[test]
fn reads_from_a_pipe_in_a_chain() {
    let ring = legacy(|builder| builder);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let buffer = Box::leak(Box::new([0u8; 5]));
    let mut batch = ring.pop_batch(3).unwrap();
    for (sqe, number) in batch.iter_mut().zip(0..) {
        let sqe = match number {
            // SAFETY: the buffer stays, and the pipe until the CQE.
            1 => unsafe { sqe.prep_read(reader.as_fd(), buffer.as_mut_ptr(), 5, 0) },
            // SAFETY: a NOP holds no pointer.
            _ => unsafe { sqe.prep_nop() },
        };
        sqe.user_data(number);
        if number < 2 {
            sqe.link();
        }
    }
    batch.push();
    ring.submit().unwrap();
    assert_eq!(next(&ring), (0, Ok(0)));
    assert_eq!(ring.reap(), None);
    std::io::Write::write_all(&mut writer, b"hello").unwrap();
    assert_eq!(next(&ring), (1, Ok(5)));
    assert_eq!(next(&ring), (2, Ok(0)));
    assert_eq!(buffer, b"hello");
}

/// What is behind an SQE that is refused waits for the next submit.
#[test]
fn a_refused_sqe_ends_the_submit() {
    let ring = legacy(|builder| builder);
    push_nop(&ring, 1);
    let mut slot = ring.pop().unwrap();
    // SAFETY: there is no such opcode.
    unsafe { slot.as_bytes_mut()[0] = 0xFF };
    slot.user_data(2);
    slot.push();
    push_nop(&ring, 3);
    assert_eq!(ring.submit(), Err(EnterError::Busy));
    let (done, refused) = ((1, Ok(0)), (2, Err(libc::EINVAL)));
    // Old kernels tell of the refusal first.
    let order = here(&[("5.10", [refused, done]), ("6.12", [done, refused])]);
    assert_eq!([next(&ring), next(&ring)], order);
    assert_eq!(ring.reap(), None);
    assert_eq!(ring.submit(), Ok(()));
    assert_eq!(next(&ring), (3, Ok(0)));
}

/// A wait has a timeout where the kernel has EXT_ARG.
#[test]
fn a_timeout_is_refused_by_old_kernels() {
    let ring = legacy(|builder| builder);
    // A stable 5.10 may have it.
    let has = ring.features().ext_arg();
    assert!(has || !linux(5, 11));
    let expected = match has {
        true => Ok(Waited::TimedOut),
        false => Err(EnterError::Kernel(Errno::from_raw(libc::EINVAL))),
    };
    let soon = Some(Duration::from_millis(5));
    assert_eq!(ring.wait(soon), expected);
    assert_eq!(ring.submit_and_wait(1, soon), expected);
    // What lies ready needs no wait.
    push_nop(&ring, 1);
    ring.submit().unwrap();
    assert_eq!(ring.wait(soon), Ok(Waited::Maybe));
}

/// A slot that is dropped posts nothing where the kernel has CQE_SKIP.
#[test]
fn a_dropped_slot_may_post() {
    let ring = legacy(|builder| builder);
    assert_eq!(ring.features().cqe_skip(), linux(5, 17));
    for round in 1..20 {
        drop(ring.pop().unwrap());
        push_nop(&ring, round);
        ring.submit().unwrap();
        if !linux(5, 17) {
            assert_eq!(next(&ring), (0, Ok(0)));
        }
        assert_eq!(next(&ring), (round, Ok(0)));
    }
    assert_eq!((ring.reap(), ring.in_use()), (None, 0));
}

/// More completions than the queue has room for.
#[test]
fn overflow_is_reaped() {
    let ring = legacy(|builder| builder);
    for number in 0..64 {
        push_nop(&ring, number);
        ring.submit().unwrap();
    }
    for number in 0..64 {
        assert_eq!(ring.reap().map(|cqe| cqe.user_data()), Some(number));
    }
    assert_eq!((ring.reap(), ring.cq_overflow()), (None, 0));
}
