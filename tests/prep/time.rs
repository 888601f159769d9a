//! Timeouts.

use std::time::{Duration, Instant};

use ringway::prep::{CancelFlags, TimeoutFlags, Timespec};

use super::*;

const HOUR: Timespec = Timespec::new(3600, 0);

#[test]
fn expires() {
    let ring = ring();
    let started = Instant::now();
    let time = Timespec::from(Duration::from_millis(30));
    let got = run(&ring, |sqe| {
        // SAFETY: the time stays until the CQE.
        unsafe { sqe.prep_timeout(&time, 0, TimeoutFlags::NONE) }
    });
    assert_eq!(got, Err(libc::ETIME));
    assert!(started.elapsed() >= Duration::from_millis(30));
}

#[test]
fn the_time_is_copied_at_submit() {
    let ring = ring();
    let mut time = Timespec::from(Duration::from_millis(30));
    start(&ring, |sqe| {
        // SAFETY: the time stays until submit.
        unsafe { sqe.prep_timeout(&time, 0, TimeoutFlags::NONE) }
    });
    time = HOUR;
    assert_eq!(result(next(&ring)), Err(libc::ETIME));
    assert_eq!(time, HOUR);
}

#[test]
fn ends_when_enough_others_have_completed() {
    let ring = ring();
    start(&ring, |sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_timeout(&HOUR, 2, TimeoutFlags::NONE) }.user_data(9)
    });
    start(&ring, |sqe| nop(sqe).user_data(1));
    assert_eq!(next(&ring).user_data(), 1);
    assert_idle(&ring);
    start(&ring, |sqe| nop(sqe).user_data(1));
    assert_eq!(results(&ring), [(1, Ok(0)), (9, Ok(0))]);
}

#[test]
fn at_a_moment_of_a_clock() {
    let ring = ring();
    let now = |clock| {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the call writes one timespec.
        assert_eq!(unsafe { libc::clock_gettime(clock, &mut now) }, 0);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    for (clock, flag) in [
        (libc::CLOCK_MONOTONIC, TimeoutFlags::NONE),
        (libc::CLOCK_BOOTTIME, TimeoutFlags::BOOTTIME),
        (libc::CLOCK_REALTIME, TimeoutFlags::REALTIME),
    ] {
        let moment = now(clock) + Duration::from_millis(20);
        let time = Timespec::from(moment);
        let got = run(&ring, |sqe| {
            // SAFETY: the time stays until the CQE.
            unsafe { sqe.prep_timeout(&time, 0, TimeoutFlags::ABS | flag) }
        });
        assert_eq!(got, Err(libc::ETIME));
        // Another clock starts elsewhere: the moment would be over, or far away.
        assert!(now(clock) >= moment);
        assert!(now(clock) < moment + Duration::from_secs(10));
    }
}

#[test]
fn expires_again_and_again() {
    let ring = ring();
    let time = Timespec::from(Duration::from_millis(2));
    start(&ring, |sqe| {
        // SAFETY: the time stays until the last CQE.
        unsafe { sqe.prep_timeout(&time, 3, TimeoutFlags::MULTISHOT) }.user_data(4)
    });
    for has_more in [true, true, false] {
        let cqe = next(&ring);
        assert_eq!(cqe.user_data(), 4);
        assert_eq!(result(cqe), Err(libc::ETIME));
        assert_eq!(cqe.has_more(), has_more);
    }
}

#[test]
fn breaks_a_chain_unless_told_otherwise() {
    let ring = ring();
    let time = Timespec::from(Duration::from_millis(1));
    for (flags, second) in [
        (TimeoutFlags::NONE, Err(libc::ECANCELED)),
        (TimeoutFlags::ETIME_SUCCESS, Ok(0)),
    ] {
        push(&ring, |sqe| {
            // SAFETY: the time stays until the CQE.
            unsafe { sqe.prep_timeout(&time, 0, flags) }.link()
        });
        start(&ring, |sqe| nop(sqe).user_data(1));
        assert_eq!(results(&ring), [(0, Err(libc::ETIME)), (1, second)]);
    }
}

#[test]
fn can_be_cancelled() {
    let ring = ring();
    start(&ring, |sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_timeout(&HOUR, 0, TimeoutFlags::NONE) }.user_data(4)
    });
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(4, CancelFlags::NONE) }.user_data(5)
    });
    assert_eq!(results(&ring), [(4, Err(libc::ECANCELED)), (5, Ok(0))]);
}

#[test]
fn fails() {
    let ring = ring();
    let two_clocks = TimeoutFlags::BOOTTIME | TimeoutFlags::REALTIME;
    for (time, flags) in [
        (Timespec::new(-1, 0), TimeoutFlags::NONE),
        (Timespec::new(0, -1), TimeoutFlags::NONE),
        (HOUR, two_clocks),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the time stays until the CQE.
            unsafe { sqe.prep_timeout(&time, 0, flags) }
        });
        assert_eq!(got, Err(libc::EINVAL), "{time:?} {flags:?}");
    }
}
