//! Timeouts.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use ringway::prep::{CancelFlags, TimeoutFlags, TimeoutUpdateFlags, Timespec};

use super::child::{has, linux, skip, tried};
use super::*;

const HOUR: Timespec = Timespec::new(3600, 0);
const SOON: Timespec = Timespec::new(0, 10_000_000);
const CANCELED: Result<u32, i32> = Err(libc::ECANCELED);

/// An hour with this `user_data`.
fn start_hour(ring: &Ring, count: u32, flags: TimeoutFlags, user_data: u64) {
    start(ring, |sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_timeout(&HOUR, count, flags) }.user_data(user_data)
    });
}

fn now(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut now) }, 0);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

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
    tried("OP_TIMEOUT");
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
    if !has(6, 4, "time::expires_again_and_again", "MULTISHOT timeouts") {
        return;
    }
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
    tried("OP_TIMEOUT");
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
        (HOUR, TimeoutFlags::MULTISHOT | TimeoutFlags::ABS),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the time stays until the CQE.
            unsafe { sqe.prep_timeout(&time, 0, flags) }
        });
        assert_eq!(got, Err(libc::EINVAL), "{time:?} {flags:?}");
    }
}

#[test]
fn remove_ends_timeouts_only() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    start_hour(&ring, 0, TimeoutFlags::NONE, 1);
    start_hour(&ring, 0, TimeoutFlags::NONE, 2);
    start_timed_read(&ring, &reader, HOUR);
    for user_data in [READ, LIMIT, 5] {
        let got = run(&ring, |sqe| {
            // SAFETY: a removal names no memory.
            unsafe { sqe.prep_timeout_remove(user_data) }
        });
        assert_eq!(got, Err(libc::ENOENT));
    }
    start(&ring, |sqe| {
        // SAFETY: a removal names no memory.
        unsafe { sqe.prep_timeout_remove(1) }.user_data(100)
    });
    assert_eq!(results(&ring), [(1, CANCELED), (100, Ok(0))]);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(READ, Ok(1)), (LIMIT, CANCELED)]);
    tried("OP_TIMEOUT_REMOVE");
}

#[test]
fn update_gives_another_time() {
    let ring = ring();
    for flags in [TimeoutFlags::NONE, TimeoutFlags::REALTIME] {
        start_hour(&ring, 0, flags, 1);
        let mut time = SOON;
        let started = Instant::now();
        start(&ring, |sqe| {
            // SAFETY: the time stays until submit.
            unsafe { sqe.prep_timeout_update(&time, 1, TimeoutUpdateFlags::NONE) }.user_data(100)
        });
        time = HOUR;
        assert_eq!(results(&ring), [(1, Err(libc::ETIME)), (100, Ok(0))]);
        assert!(started.elapsed() >= Duration::from_millis(10));
        assert_eq!(time, HOUR);
    }
    tried("OP_TIMEOUT_REMOVE");
}

#[test]
fn update_to_a_moment_of_its_clock() {
    let ring = ring();
    for (clock, flag) in [
        (libc::CLOCK_MONOTONIC, TimeoutFlags::NONE),
        (libc::CLOCK_BOOTTIME, TimeoutFlags::BOOTTIME),
        (libc::CLOCK_REALTIME, TimeoutFlags::REALTIME),
    ] {
        start_hour(&ring, 0, flag, 1);
        let moment = now(clock) + Duration::from_millis(20);
        let time = Timespec::from(moment);
        start(&ring, |sqe| {
            // SAFETY: the time stays until the CQE.
            unsafe { sqe.prep_timeout_update(&time, 1, TimeoutUpdateFlags::ABS) }.user_data(100)
        });
        assert_eq!(results(&ring), [(1, Err(libc::ETIME)), (100, Ok(0))]);
        assert!(now(clock) >= moment);
    }
}

#[test]
fn update_forgets_the_count() {
    let ring = ring();
    for (flags, time) in [
        (TimeoutFlags::NONE, HOUR),
        (TimeoutFlags::MULTISHOT, Timespec::new(0, 1_000_000)),
    ] {
        let test = "time::update_forgets_the_count";
        let what = "forgetting the count of a MULTISHOT timeout";
        if flags == TimeoutFlags::MULTISHOT && !has(6, 18, test, what) {
            continue;
        }
        start_hour(&ring, 2, flags, 1);
        start(&ring, |sqe| {
            // SAFETY: the time stays until submit.
            unsafe { sqe.prep_timeout_update(&time, 1, TimeoutUpdateFlags::NONE) }.user_data(100)
        });
        let cqe = next(&ring);
        assert_eq!((cqe.user_data(), result(cqe)), (100, Ok(0)));
        for _ in 0..4 {
            if flags == TimeoutFlags::MULTISHOT {
                let cqe = next(&ring);
                assert_eq!((result(cqe), cqe.has_more()), (Err(libc::ETIME), true));
            } else {
                assert_eq!(run(&ring, |sqe| nop(sqe).user_data(5)), Ok(0));
                assert_idle(&ring);
            }
        }
        start(&ring, |sqe| {
            // SAFETY: a removal names no memory.
            unsafe { sqe.prep_timeout_remove(1) }.user_data(100)
        });
        // It may have expired once more before the removal.
        let mut end = next(&ring);
        while end.user_data() == 100 || end.has_more() {
            end = next(&ring);
        }
        assert_eq!((end.user_data(), result(end)), (1, CANCELED));
        while ring.cq().reap().is_some() {}
    }
}

#[test]
fn update_fails() {
    let ring = ring();
    let boottime = TimeoutUpdateFlags::from_bits(TimeoutFlags::BOOTTIME.bits());
    start_hour(&ring, 0, TimeoutFlags::NONE, 1);
    for (user_data, time, flags, errno) in [
        (2, HOUR, TimeoutUpdateFlags::NONE, libc::ENOENT),
        (1, HOUR, TimeoutUpdateFlags::LINK, libc::ENOENT),
        (1, HOUR, boottime, libc::EINVAL),
        (
            1,
            Timespec::new(-1, 0),
            TimeoutUpdateFlags::NONE,
            libc::EINVAL,
        ),
        (
            1,
            Timespec::new(0, -1),
            TimeoutUpdateFlags::NONE,
            libc::EINVAL,
        ),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the time stays until submit.
            unsafe { sqe.prep_timeout_update(&time, user_data, flags) }
        });
        assert_eq!(got, Err(errno), "{user_data} {time:?} {flags:?}");
    }
}

const READ: u64 = 1000;
const LIMIT: u64 = 1001;

/// A read with a time limit, as one chain. The tests keep the pipe open.
fn start_timed_read(ring: &Ring, reader: &io::PipeReader, time: Timespec) {
    let buf = memory::<1>();
    let sq = ring.sq();
    let mut batch = sq.pop_batch(2).unwrap();
    let mut sqes = batch.iter_mut();
    let (read, limit) = (sqes.next().unwrap(), sqes.next().unwrap());
    // SAFETY: the memory stays, the pipe too; the time stays until submit.
    unsafe {
        read.prep_read(reader, buf.as_mut_ptr(), 1, 0)
            .user_data(READ)
            .link();
        limit
            .prep_link_timeout(&time, TimeoutFlags::NONE)
            .user_data(LIMIT);
    }
    batch.push();
    ring.submit().unwrap();
}

#[test]
fn link_timeout_cancels_the_operation() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    start_timed_read(&ring, &reader, SOON);
    assert_eq!(
        results(&ring),
        [(READ, CANCELED), (LIMIT, Err(libc::ETIME))]
    );
    // And the other way round.
    start_timed_read(&ring, &reader, HOUR);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(READ, Ok(1)), (LIMIT, CANCELED)]);
    tried("OP_LINK_TIMEOUT");
}

#[test]
fn link_timeout_breaks_the_chain_whatever_its_flags() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    let buf = memory::<1>();
    for flags in [
        TimeoutFlags::NONE,
        TimeoutFlags::ETIME_SUCCESS,
        TimeoutFlags::MULTISHOT,
    ] {
        let test = "time::link_timeout_breaks_the_chain_whatever_its_flags";
        if flags == TimeoutFlags::MULTISHOT && !has(6, 4, test, "MULTISHOT timeouts") {
            continue;
        }
        push(&ring, |sqe| {
            // SAFETY: the memory stays, the pipe is open until the CQE.
            unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }.link()
        });
        push(&ring, |sqe| {
            // SAFETY: the time is constant.
            unsafe { sqe.prep_link_timeout(&SOON, flags) }
                .user_data(1)
                .link()
        });
        start(&ring, |sqe| nop(sqe).user_data(2));
        let expired = (1, Err(libc::ETIME));
        assert_eq!(results(&ring), [(0, CANCELED), expired, (2, CANCELED)]);
        assert_idle(&ring);
    }
}

#[test]
fn link_timeout_at_a_moment_of_a_clock() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    let buf = memory::<1>();
    for (clock, flag) in [
        (libc::CLOCK_MONOTONIC, TimeoutFlags::NONE),
        (libc::CLOCK_BOOTTIME, TimeoutFlags::BOOTTIME),
        (libc::CLOCK_REALTIME, TimeoutFlags::REALTIME),
    ] {
        let moment = now(clock) + Duration::from_millis(20);
        let time = Timespec::from(moment);
        push(&ring, |sqe| {
            // SAFETY: the memory stays, the pipe is open until the CQE.
            unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }.link()
        });
        start(&ring, |sqe| {
            // SAFETY: the time stays until submit.
            unsafe { sqe.prep_link_timeout(&time, TimeoutFlags::ABS | flag) }.user_data(1)
        });
        assert_eq!(results(&ring), [(0, CANCELED), (1, Err(libc::ETIME))]);
        assert!(now(clock) >= moment);
    }
}

#[test]
fn update_of_a_link_timeout() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    start_timed_read(&ring, &reader, HOUR);
    for (flags, updated) in [
        (TimeoutUpdateFlags::NONE, Err(libc::ENOENT)),
        (TimeoutUpdateFlags::LINK, Ok(0)),
    ] {
        start(&ring, |sqe| {
            // SAFETY: the time is constant.
            unsafe { sqe.prep_timeout_update(&SOON, LIMIT, flags) }.user_data(100)
        });
        let cqe = next(&ring);
        assert_eq!((cqe.user_data(), result(cqe)), (100, updated));
    }
    assert_eq!(
        results(&ring),
        [(READ, CANCELED), (LIMIT, Err(libc::ETIME))]
    );
}

/// The manual page says that it ends when all of the chain have completed.
#[test]
fn link_timeout_is_for_one_operation() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    let (another, mut to_another) = io::pipe().unwrap();
    let buf = memory::<2>();
    push(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }.link()
    });
    push(&ring, |sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_link_timeout(&HOUR, TimeoutFlags::NONE) }
            .user_data(1)
            .link()
    });
    start(&ring, |sqe| {
        // SAFETY: as for the first.
        unsafe { sqe.prep_read(&another, buf[1..].as_mut_ptr(), 1, 0) }.user_data(2)
    });
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(0, Ok(1)), (1, CANCELED)]);
    to_another.write_all(b"?").unwrap();
    assert_eq!(results(&ring), [(2, Ok(1))]);
    assert_eq!(buf, b"!?");
}

#[test]
fn link_timeout_counts_from_the_start_of_the_operation() {
    let ring = ring();
    let (gate, mut opener) = io::pipe().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let buf = memory::<2>();
    push(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&gate, buf.as_mut_ptr(), 1, 0) }.link()
    });
    push(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_read(&reader, buf[1..].as_mut_ptr(), 1, 0) }
            .user_data(1)
            .link()
    });
    start(&ring, |sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_link_timeout(&SOON, TimeoutFlags::NONE) }.user_data(2)
    });
    // Three times as long.
    let time = Timespec::new(0, 30_000_000);
    let got = run(&ring, |sqe| {
        // SAFETY: the time stays until submit.
        unsafe { sqe.prep_timeout(&time, 0, TimeoutFlags::NONE) }
    });
    assert_eq!(got, Err(libc::ETIME));
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    opener.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(0, Ok(1)), (1, Ok(1)), (2, CANCELED)]);
}

#[test]
fn link_timeout_finds_the_operation_by_its_user_data() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    let (another, mut to_another) = io::pipe().unwrap();
    let buf = memory::<2>();
    start_timed_read(&ring, &reader, HOUR);
    start(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&another, buf.as_mut_ptr(), 1, 0) }.user_data(READ)
    });
    start(&ring, |sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_timeout_update(&SOON, LIMIT, TimeoutUpdateFlags::LINK) }
    });
    let expired = (LIMIT, Err(libc::ETIME));
    assert_eq!(results(&ring), [(0, Ok(0)), (READ, CANCELED), expired]);
    to_another.write_all(b"!").unwrap();
    assert_eq!(run(&ring, nop), Ok(0));
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(READ, Ok(1))]);
}

#[test]
fn link_timeout_fails() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    let limit = |time: Timespec, flags| {
        start(&ring, |sqe| {
            // SAFETY: the time stays until submit.
            unsafe { sqe.prep_link_timeout(&time, flags) }.user_data(2)
        });
    };
    let read = || {
        let buf = memory::<1>();
        push(&ring, |sqe| {
            // SAFETY: the memory stays, the pipe is open until the CQE.
            unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }.user_data(1)
        });
    };
    // Alone, and behind an operation that is not linked to it.
    limit(HOUR, TimeoutFlags::NONE);
    assert_eq!(results(&ring), [(2, Err(libc::EINVAL))]);
    read();
    limit(HOUR, TimeoutFlags::NONE);
    assert_eq!(results(&ring), [(2, Err(libc::EINVAL))]);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(1, Ok(1))]);

    // Those that are refused take their chain with them.
    let two_clocks = TimeoutFlags::BOOTTIME | TimeoutFlags::REALTIME;
    for (time, flags) in [
        (Timespec::new(-1, 0), TimeoutFlags::NONE),
        (Timespec::new(0, -1), TimeoutFlags::NONE),
        (HOUR, two_clocks),
    ] {
        push(&ring, |sqe| nop(sqe).user_data(1).link());
        limit(time, flags);
        assert_eq!(results(&ring), [(1, CANCELED), (2, Err(libc::EINVAL))]);
    }
    push(&ring, |sqe| nop(sqe).user_data(0).link());
    push(&ring, |sqe| {
        // SAFETY: the time is constant.
        unsafe { sqe.prep_link_timeout(&HOUR, TimeoutFlags::NONE) }
            .user_data(1)
            .link()
    });
    limit(HOUR, TimeoutFlags::NONE);
    let refused = (2, Err(libc::EINVAL));
    assert_eq!(results(&ring), [(0, CANCELED), (1, CANCELED), refused]);
}

#[test]
fn link_timeout_cannot_be_cancelled() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    start_timed_read(&ring, &reader, HOUR);
    let got = run(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(LIMIT, CancelFlags::NONE) }
    });
    assert_eq!(got, Err(libc::ENOENT));
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(READ, Ok(1)), (LIMIT, CANCELED)]);
}

#[test]
fn immediate() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    let soon = Duration::from_millis(10);
    let started = Instant::now();
    let got = run(&ring, |sqe| {
        // SAFETY: the operation names no memory.
        unsafe { sqe.prep_timeout_immediate(soon, 0, TimeoutFlags::NONE) }
    });
    let knows = got != Err(libc::EINVAL);
    assert!(knows || !linux(7, 1));
    if knows {
        assert_eq!(got, Err(libc::ETIME));
        assert!(started.elapsed() >= soon);
    }

    let einval = Err(libc::EINVAL);
    start_hour(&ring, 0, TimeoutFlags::NONE, 1);
    start(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_timeout_update_immediate(soon, 1, TimeoutUpdateFlags::NONE) }
            .user_data(100)
    });
    if knows {
        assert_eq!(results(&ring), [(1, Err(libc::ETIME)), (100, Ok(0))]);
    } else {
        assert_eq!(results(&ring), [(100, einval)]);
    }

    let buf = memory::<1>();
    push(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }
            .user_data(2)
            .link()
    });
    start(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_link_timeout_immediate(soon, TimeoutFlags::NONE) }.user_data(3)
    });
    let limit = if knows { Err(libc::ETIME) } else { einval };
    assert_eq!(results(&ring), [(2, CANCELED), (3, limit)]);
    if !knows {
        skip(
            "time::immediate",
            "TIMEOUT_IMMEDIATE_ARG came with Linux 7.1",
        );
    }
}
