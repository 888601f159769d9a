//! Cancelling.

use std::io::{self, Write};
use std::time::Duration;

use ringway::prep::{CancelFlags, Fixed, Target, TimeoutFlags, Timespec};

use super::child::{has, tried};
use super::*;

/// A read that has nothing to read.
fn start_read<'fd>(ring: &Ring, reader: impl Into<Target<'fd>>, user_data: u64) {
    let buf = memory::<1>();
    start(ring, |sqe| {
        // SAFETY: the memory stays; the tests reap the CQE before they close the pipe.
        unsafe { sqe.prep_read(reader, buf.as_mut_ptr(), 1, 0) }.user_data(user_data)
    });
}

fn cancel(ring: &Ring, user_data: u64, flags: CancelFlags) {
    start(ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(user_data, flags) }.user_data(100)
    });
}

const CANCELED: Result<u32, i32> = Err(libc::ECANCELED);

#[test]
fn by_user_data() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    start_read(&ring, &reader, 1);
    start_read(&ring, &reader, 2);
    cancel(&ring, 1, CancelFlags::NONE);
    assert_eq!(results(&ring), [(1, CANCELED), (100, Ok(0))]);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(2, Ok(1))]);
    tried("OP_ASYNC_CANCEL");
}

#[test]
fn by_an_address() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    let (mine, other) = (Box::new(0u8), Box::new(0u8));
    let (mine, other): (*const u8, *const u8) = (&*mine, &*other);
    start_read(&ring, &reader, mine.addr() as u64);
    for (pointer, found) in [(other, Err(libc::ENOENT)), (mine, Ok(0))] {
        start(&ring, |sqe| {
            // SAFETY: a cancel request names no memory.
            unsafe { sqe.prep_cancel(pointer, CancelFlags::NONE) }.user_data(0)
        });
        let cqe = next(&ring);
        assert_eq!((cqe.user_data(), result(cqe)), (0, found));
    }
    assert_eq!(results(&ring), [(mine.addr() as u64, CANCELED)]);
}

#[test]
fn all_with_one_user_data() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    for user_data in [1, 1, 2, 1] {
        start_read(&ring, &reader, user_data);
    }
    cancel(&ring, 1, CancelFlags::ALL);
    assert_eq!(
        results(&ring),
        [(1, CANCELED), (1, CANCELED), (1, CANCELED), (100, Ok(3))]
    );
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(2, Ok(1))]);
}

#[test]
fn any() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    let (another, _writer) = io::pipe().unwrap();
    start_read(&ring, &reader, 1);
    start_read(&ring, &another, 2);
    cancel(&ring, 77, CancelFlags::ANY);
    assert_eq!(results(&ring), [(1, CANCELED), (2, CANCELED), (100, Ok(2))]);
}

#[test]
fn finds_nothing() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    cancel(&ring, 1, CancelFlags::ANY);
    assert_eq!(results(&ring), [(100, Ok(0))]);

    start_read(&ring, &reader, 1);
    cancel(&ring, 2, CancelFlags::NONE);
    assert_eq!(results(&ring), [(100, Err(libc::ENOENT))]);
    cancel(&ring, 2, CancelFlags::ALL);
    assert_eq!(results(&ring), [(100, Ok(0))]);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(1, Ok(1))]);
}

#[test]
fn by_file() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    let (another, mut writer) = io::pipe().unwrap();
    for user_data in [1, 2] {
        start_read(&ring, &reader, user_data);
    }
    start_read(&ring, &another, 3);
    // A duplicate is the same file under another number.
    let duplicate = reader.try_clone().unwrap();
    start_read(&ring, &duplicate, 4);

    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_cancel_fd(&reader, CancelFlags::ALL) }.user_data(100)
    });
    assert_eq!(
        results(&ring),
        [(1, CANCELED), (2, CANCELED), (4, CANCELED), (100, Ok(3))]
    );
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(3, Ok(1))]);
}

#[test]
fn one_by_file() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    for _ in 0..2 {
        start_read(&ring, &reader, 1);
    }
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_cancel_fd(&reader, CancelFlags::NONE) }.user_data(100)
    });
    assert_eq!(results(&ring), [(1, CANCELED), (100, Ok(0))]);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(1, Ok(1))]);
}

#[test]
fn by_fixed_file() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    let (another, mut writer) = io::pipe().unwrap();
    register_files(&ring, &[Some(another.as_fd()), Some(reader.as_fd())]);
    start_read(&ring, Fixed(1), 1);
    start_read(&ring, Fixed(0), 2);
    start(&ring, |sqe| {
        // SAFETY: the ring holds the file.
        unsafe { sqe.prep_cancel_fd(Fixed(1), CancelFlags::ALL) }.user_data(100)
    });
    assert_eq!(results(&ring), [(1, CANCELED), (100, Ok(1))]);
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(2, Ok(1))]);
}

#[test]
fn by_file_fails() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    for (target, errno) in [
        (Target::from(&reader), libc::ENOENT),
        // There is no table, though there is a descriptor 0.
        (Fixed(0).into(), libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the pipe is open until the CQE.
            unsafe { sqe.prep_cancel_fd(target, CancelFlags::NONE) }
        });
        assert_eq!(got, Err(errno));
    }
}

const READ: u8 = 22;
const POLL_ADD: u8 = 6;
const TIMEOUT: u8 = 11;

#[test]
fn by_all_that_is_named() {
    if !has(6, 6, "cancel::by_all_that_is_named", "cancelling by opcode") {
        return;
    }
    let (a, _a) = io::pipe().unwrap();
    let (b, _b) = io::pipe().unwrap();
    let hour = Timespec::new(3600, 0);
    // What runs: three reads and two polls of two files, a timeout.
    let running: [(u64, &[u8]); 6] = [
        (1, b"read a"),
        (2, b"read a"),
        (1, b"read b"),
        (1, b"poll a"),
        (2, b"poll b"),
        (3, b"time"),
    ];
    type Named<'fd> = (Option<u64>, Option<Target<'fd>>, Option<u8>);
    let cases: [(Named, &[usize]); 12] = [
        ((None, None, Some(READ)), &[0, 1, 2]),
        ((None, None, Some(POLL_ADD)), &[3, 4]),
        ((None, None, Some(TIMEOUT)), &[5]),
        ((Some(1), None, None), &[0, 2, 3]),
        ((None, Some((&a).into()), None), &[0, 1, 3]),
        ((Some(1), None, Some(READ)), &[0, 2]),
        ((Some(3), None, Some(READ)), &[]),
        ((None, Some((&b).into()), Some(READ)), &[2]),
        ((None, Some((&b).into()), Some(TIMEOUT)), &[]),
        ((Some(1), Some((&a).into()), None), &[0, 3]),
        ((Some(1), Some((&a).into()), Some(POLL_ADD)), &[3]),
        ((None, None, None), &[0, 1, 2, 3, 4, 5]),
    ];
    for ((user_data, file, opcode), found) in cases {
        for flags in [CancelFlags::ALL, CancelFlags::NONE] {
            let ring = ring();
            for (user_data, what) in running {
                let file = if what.ends_with(b"a") { &a } else { &b };
                start(&ring, |sqe| {
                    let buf = memory::<1>();
                    // SAFETY: the memory stays, and the files too; the time stays until
                    // submit.
                    let sqe = unsafe {
                        match what[0] {
                            b'r' => sqe.prep_read(file, buf.as_mut_ptr(), 1, 0),
                            b'p' => sqe.prep_poll_add(file, libc::POLLIN as u32),
                            _ => sqe.prep_timeout(&hour, 0, TimeoutFlags::NONE),
                        }
                    };
                    sqe.user_data(user_data)
                });
            }
            start(&ring, |sqe| {
                // SAFETY: the files stay open.
                unsafe { sqe.prep_cancel_matching(user_data, file, opcode, flags) }.user_data(100)
            });
            let case = format!("{user_data:?} {file:?} {opcode:?} {flags:?}");
            let is_one = flags == CancelFlags::NONE && found.len() < running.len();
            let count = if is_one { 1 } else { found.len() };
            let mut ended = Vec::new();
            let mut answer = None;
            for _ in 0..=count.min(found.len()) {
                let cqe = next(&ring);
                if cqe.user_data() == 100 {
                    answer = Some(result(cqe));
                } else {
                    assert_eq!(result(cqe), CANCELED, "{case}");
                    ended.push(cqe.user_data());
                }
            }
            let want = match (is_one, found.is_empty()) {
                (false, _) => Ok(count as u32),
                (true, false) => Ok(0),
                (true, true) => Err(libc::ENOENT),
            };
            assert_eq!(answer, Some(want), "{case}");
            let mut may_end: Vec<u64> = found.iter().map(|&i| running[i].0).collect();
            may_end.sort();
            ended.sort();
            if is_one {
                assert!(ended.iter().all(|end| may_end.contains(end)), "{case}");
            } else {
                assert_eq!(ended, may_end, "{case}");
            }
            assert_idle(&ring);
        }
    }
    tried("OP_ASYNC_CANCEL");
}

#[test]
fn any_goes_with_nothing_else() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    start_read(&ring, &reader, 1);
    for (file, opcode) in [(Some(Target::from(&reader)), None), (None, Some(READ))] {
        let got = run(&ring, |sqe| {
            // SAFETY: the pipe is open until the CQE.
            unsafe { sqe.prep_cancel_matching(None, file, opcode, CancelFlags::ANY) }
        });
        assert_eq!(got, Err(libc::EINVAL));
    }
    assert_idle(&ring);
}

/// The manual page says that what was cancelled has its CQE when the submit returns.
#[test]
fn a_deferred_ring_shows_what_was_cancelled_later() {
    let ring = Ring::builder(8).single_issuer().defer_taskrun();
    let ring = ring.build_local().unwrap();
    let (reader, _writer) = io::pipe().unwrap();
    let mut slot = ring.pop().unwrap();
    // SAFETY: the pipe is open until the CQE.
    unsafe { slot.prep_poll_add(&reader, libc::POLLIN as u32) }.user_data(1);
    slot.push();
    ring.submit().unwrap();
    let mut slot = ring.pop().unwrap();
    // SAFETY: a cancel request names no memory.
    unsafe { slot.prep_cancel64(1, CancelFlags::NONE) }.user_data(100);
    slot.push();
    ring.submit().unwrap();
    assert_eq!(ring.ready(), 1);
    for (user_data, want) in [(100, Ok(0)), (1, CANCELED)] {
        let cqe = ring.wait_one(Some(Duration::from_secs(20))).unwrap();
        let cqe = cqe.expect("a completion within 20 s");
        assert_eq!((cqe.user_data(), result(cqe)), (user_data, want));
    }
}
