//! Waiting for readiness.

use std::io::{self, Read, Write};

use ringway::prep::{CancelFlags, Fixed};

use super::*;

const POLLIN: u32 = libc::POLLIN as u32;
const POLLOUT: u32 = libc::POLLOUT as u32;
const POLLHUP: u32 = libc::POLLHUP as u32;

#[test]
fn completes_when_the_file_is_ready() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&reader, POLLIN) }
    });
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    let cqe = next(&ring);
    assert_eq!((result(cqe), cqe.has_more()), (Ok(POLLIN), false));
}

#[test]
fn completes_at_once_if_the_file_is_ready() {
    let ring = ring();
    let (_reader, writer) = io::pipe().unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&writer, POLLIN | POLLOUT) }
    });
    assert_eq!(got, Ok(POLLOUT));
}

#[test]
fn reports_a_hang_up_unasked() {
    let ring = ring();
    let (reader, writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&reader, POLLIN) }
    });
    drop(writer);
    assert_eq!(result(next(&ring)), Ok(POLLHUP));
}

#[test]
fn multishot_reports_each_event() {
    let ring = ring();
    let (mut reader, mut writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the last CQE.
        unsafe { sqe.prep_poll_multishot(&reader, POLLIN) }.user_data(1)
    });
    for _ in 0..3 {
        assert_idle(&ring);
        writer.write_all(b"!").unwrap();
        let cqe = next(&ring);
        assert_eq!((result(cqe), cqe.has_more()), (Ok(POLLIN), true));
        reader.read_exact(&mut [0]).unwrap();
    }
    start(&ring, |sqe| {
        // SAFETY: a removal names no memory.
        unsafe { sqe.prep_poll_remove(1) }.user_data(2)
    });
    let cqes = [next(&ring), next(&ring)];
    let last = cqes.iter().find(|cqe| cqe.user_data() == 1).unwrap();
    assert_eq!(result(*last), Err(libc::ECANCELED));
    assert!(!last.has_more());
    let removal = cqes.iter().find(|cqe| cqe.user_data() == 2).unwrap();
    assert_eq!(result(*removal), Ok(0));
}

#[test]
fn remove_finds_polls_only() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    let buf = memory::<1>();
    start(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }.user_data(1)
    });
    for user_data in [1, 2] {
        let got = run(&ring, |sqe| {
            // SAFETY: a removal names no memory.
            unsafe { sqe.prep_poll_remove(user_data) }
        });
        assert_eq!(got, Err(libc::ENOENT));
    }
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(1, Ok(1))]);
}

#[test]
fn fixed_files() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    register_files(&ring, &[None, Some(reader.as_fd())]);
    start(&ring, |sqe| {
        // SAFETY: the ring holds the file.
        unsafe { sqe.prep_poll_multishot(Fixed(1), POLLIN) }
    });
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    assert_eq!(result(next(&ring)), Ok(POLLIN));
}

#[test]
fn can_be_cancelled() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&reader, POLLIN) }.user_data(1)
    });
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
    });
    assert_eq!(results(&ring), [(1, Err(libc::ECANCELED)), (2, Ok(0))]);
}

#[test]
fn fails() {
    let ring = ring();
    let got = run(&ring, |sqe| {
        // SAFETY: there is no such fixed file.
        unsafe { sqe.prep_poll_add(Fixed(0), POLLIN) }
    });
    assert_eq!(got, Err(libc::EBADF));

    let (reader, _writer) = io::pipe().unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_multishot(&reader, POLLIN) }.skip_success()
    });
    assert_eq!(got, Err(libc::EINVAL));
}
