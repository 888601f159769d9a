//! Reading again and again.

use std::ptr;

use ringway::prep::CancelFlags;

use super::super::buf::provide;
use super::*;

/// Of `struct io_uring_sqe`.
const FLAGS: usize = 1;
const LEN: usize = 24;

/// Starts to read a pipe into buffers of group 5.
fn read(ring: &Ring, reader: &io::PipeReader) {
    start(ring, |sqe| {
        // SAFETY: the pipe is open until the CQE, the memory of the buffers stays.
        unsafe { sqe.prep_read_multishot(reader, 0, 5) }
    });
}

/// The next CQE: its result, its buffer, and whether there will be another.
fn next(ring: &Ring) -> (Result<u32, i32>, Option<u16>, bool) {
    let cqe = super::next(ring);
    (result(cqe), cqe.buffer_id(), cqe.has_more())
}

#[test]
fn reads_whenever_something_comes() {
    let ring = ring();
    if !knows(&ring, 49, "OP_READ_MULTISHOT") {
        return;
    }
    let (reader, mut writer) = io::pipe().unwrap();
    let buffers: *mut [u8; 16] = memory();
    provide(&ring, buffers, 4, 5, 70);
    read(&ring, &reader);
    assert_idle(&ring);
    writer.write_all(b"ab").unwrap();
    assert_eq!(next(&ring), (Ok(2), Some(70), true));
    // More than a buffer holds.
    writer.write_all(b"ABCDEF").unwrap();
    assert_eq!(next(&ring), (Ok(4), Some(71), true));
    assert_eq!(next(&ring), (Ok(2), Some(72), true));
    assert_idle(&ring);
    drop(writer);
    let (end, _, more) = next(&ring);
    assert_eq!((end, more), (Ok(0), false));
    // SAFETY: the read is over.
    assert_eq!(unsafe { &*buffers }, b"ab..ABCDEF......");
    tried("OP_READ_MULTISHOT");
}

#[test]
fn ends_without_buffers() {
    let ring = ring();
    if !knows(&ring, 49, "OP_READ_MULTISHOT") {
        return;
    }
    let (reader, mut writer) = io::pipe().unwrap();
    provide(&ring, memory::<4>(), 4, 5, 0);
    read(&ring, &reader);
    writer.write_all(b"abc").unwrap();
    assert_eq!(next(&ring), (Ok(3), Some(0), true));
    writer.write_all(b"d").unwrap();
    assert_eq!(next(&ring), (Err(libc::ENOBUFS), None, false));
    // What has come is still there.
    provide(&ring, memory::<4>(), 4, 5, 1);
    read(&ring, &reader);
    assert_eq!(next(&ring), (Ok(1), Some(1), true));
}

#[test]
fn ends_by_a_cancel() {
    let ring = ring();
    if !knows(&ring, 49, "OP_READ_MULTISHOT") {
        return;
    }
    let (reader, mut writer) = io::pipe().unwrap();
    provide(&ring, memory::<8>(), 4, 5, 0);
    read(&ring, &reader);
    writer.write_all(b"abc").unwrap();
    assert_eq!(next(&ring), (Ok(3), Some(0), true));
    start(&ring, |sqe| {
        // SAFETY: nothing has to stay alive.
        unsafe { sqe.prep_cancel64(0, CancelFlags::NONE) }.user_data(1)
    });
    assert_eq!(results(&ring), [(0, Err(libc::ECANCELED)), (1, Ok(0))]);
    writer.write_all(b"d").unwrap();
    assert_idle(&ring);
}

#[test]
fn a_multishot_read_fails() {
    let ring = ring();
    if !knows(&ring, 49, "OP_READ_MULTISHOT") {
        return;
    }
    let (_, file) = file("multishot", b"0123456789");
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"abc").unwrap();
    provide(&ring, memory::<4>(), 4, 5, 0);
    // The bytes as the prep leaves them, a length as in liburing's prep, and no flag.
    type Change = fn(&mut [u8; 64]);
    let cases: [(Target, Change, i32); 4] = [
        ((&file).into(), |_| (), libc::EBADFD),
        ((&writer).into(), |_| (), libc::EBADF),
        (
            (&reader).into(),
            |sqe| sqe[LEN..][..4].fill(1),
            libc::EINVAL,
        ),
        ((&reader).into(), |sqe| sqe[FLAGS] = 0, libc::EINVAL),
    ];
    for (target, change, errno) in cases {
        start(&ring, |sqe| {
            // SAFETY: the file is open until the CQE, the memory of the buffers stays.
            unsafe {
                sqe.prep_read_multishot(target, 0, 5);
                change(sqe.as_bytes_mut());
            }
            sqe
        });
        assert_eq!(next(&ring), (Err(errno), None, false));
    }
    // The group is as it was.
    let empty: *mut u8 = ptr::null_mut();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE, the memory of the buffer stays.
        unsafe { sqe.prep_read(&reader, empty, 4, 0) }.buffer_select(5)
    });
    assert_eq!(next(&ring), (Ok(3), Some(0), false));
}
