//! Cancelling.

use std::io::{self, Write};

use ringway::prep::{CancelFlags, Fixed, Target};

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
