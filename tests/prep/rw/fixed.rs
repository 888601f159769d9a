//! Reading into and writing from registered buffers.

use std::ptr;

use super::*;

/// Two registered buffers of 8 dots.
fn registered(ring: &Ring) -> [*mut u8; 2] {
    let buffers: [*mut [u8; 8]; 2] = [memory(), memory()];
    let buffers = buffers.map(|buffer| buffer.cast());
    register_buffers(ring, &buffers.map(|buffer| part(buffer, 8)));
    buffers
}

/// What is in the buffer.
fn bytes(buffer: *mut u8) -> [u8; 8] {
    // SAFETY: the buffer is one of `registered`, which nothing uses now.
    unsafe { *buffer.cast() }
}

fn part(start: *mut u8, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: start.cast(),
        iov_len: len,
    }
}

#[test]
fn read_fixed() {
    let ring = ring();
    let (_, file) = file("read_fixed", b"0123456789");
    let read = |ring, buf, len, offset, index| {
        run(ring, |sqe| {
            // SAFETY: the memory stays if the kernel takes it, and the file is open.
            unsafe { sqe.prep_read_fixed(&file, buf, len, offset, index) }
        })
    };
    let [a, b] = registered(&ring);
    assert_eq!(read(&ring, b.wrapping_add(2), 4, 3, 1), Ok(4));
    assert_eq!(bytes(b), *b"..3456..");
    assert_eq!(read(&ring, a, 8, 6, 0), Ok(4), "the end is near");
    assert_eq!(bytes(a), *b"6789....");
    assert_eq!(read(&ring, a, 8, 10, 0), Ok(0));

    for (buf, len, index) in [
        (a, 1, 2), // no such buffer
        (a, 1, u16::MAX),
        (a, 1, 1),                 // it is the other one
        (b.wrapping_add(4), 5, 1), // too long
        (b.wrapping_sub(1), 2, 1),
        (ptr::null_mut(), 1, 1),
    ] {
        let got = read(&ring, buf, len, 0, index);
        assert_eq!(got, Err(libc::EFAULT), "{buf:?} {len} {index}");
    }
    assert_eq!((bytes(a), bytes(b)), (*b"6789....", *b"..3456.."));
    let without = super::ring();
    assert_eq!(read(&without, a, 1, 0, 0), Err(libc::EFAULT));
    tried("OP_READ_FIXED");
}

#[test]
fn write_fixed() {
    let ring = ring();
    let (path, file) = file("write_fixed", b"0123456789");
    let read_only = File::open(&path).unwrap();
    let [a, b] = registered(&ring);
    // SAFETY: the kernel does not use the buffers now.
    unsafe {
        ptr::copy(b"abcdefgh".as_ptr(), a, 8);
        ptr::copy(b"ABCDEFGH".as_ptr(), b, 8);
    }
    for (target, buf, len, offset, index, want) in [
        (&file, a.wrapping_add(1), 3, 2, 0, Ok(3)),
        (&file, b.wrapping_add(7), 1, 9, 1, Ok(1)),
        (&file, a, 9, 0, 0, Err(libc::EFAULT)),
        (&file, b, 1, 0, 0, Err(libc::EFAULT)),
        (&file, b, 1, 0, 2, Err(libc::EFAULT)),
        (&read_only, b, 1, 0, 1, Err(libc::EBADF)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays if the kernel takes it, and the file is open.
            unsafe { sqe.prep_write_fixed(target, buf, len, offset, index) }
        });
        assert_eq!(got, want, "{buf:?} {len} {index}");
    }
    assert_eq!(fs::read(path).unwrap(), b"01bcd5678H");
    tried("OP_WRITE_FIXED");
}

#[test]
fn readv_fixed() {
    let ring = ring();
    if !knows(&ring, 60, "OP_READV_FIXED") {
        return;
    }
    let (_, file) = file("readv_fixed", b"0123456789");
    let (reader, _writer) = io::pipe().unwrap();
    let [a, b] = registered(&ring);
    let read = |target: Target, parts: &[libc::iovec], flags, index| {
        run(&ring, |sqe| {
            let (parts, count) = (parts.as_ptr(), parts.len() as u32);
            // SAFETY: the parts stay until the CQE, their memory stays, the file is open.
            unsafe { sqe.prep_readv_fixed(target, parts, count, 1, flags, index) }
        })
    };
    let none = RwFlags::NONE;
    let parts = [part(b.wrapping_add(5), 2), part(b, 4)];
    assert_eq!(read((&file).into(), &parts, none, 1), Ok(6));
    assert_eq!(bytes(b), *b"3456.12.");
    let got = read((&reader).into(), &parts, RwFlags::NOWAIT, 1);
    assert_eq!(got, Err(libc::EAGAIN));

    for (parts, index, errno) in [
        (&parts[..], 0, libc::EFAULT),
        (&parts, 2, libc::EFAULT),
        (&[part(b, 1), part(a, 1)], 1, libc::EFAULT),
        (&[part(b, 9)], 1, libc::EFAULT),
        (&[part(b, 1), part(b, 0)], 1, libc::EFAULT), // preadv(2) steps over an empty one
        (&[part(b, 1); 1025], 1, libc::EINVAL),
    ] {
        let got = read((&file).into(), parts, none, index);
        assert_eq!(got, Err(errno), "{} parts of {index}", parts.len());
    }
    assert_eq!((bytes(a), bytes(b)), (*b"........", *b"3456.12."));
    tried("OP_READV_FIXED");
}

#[test]
fn writev_fixed() {
    let ring = ring();
    if !knows(&ring, 61, "OP_WRITEV_FIXED") {
        return;
    }
    let (path, file) = file("writev_fixed", b"0123456789");
    let [a, b] = registered(&ring);
    // SAFETY: the kernel does not use the buffer now.
    unsafe { ptr::copy(b"ABCDEFGH".as_ptr(), b, 8) };
    let write = |parts: &[libc::iovec], flags, index| {
        run(&ring, |sqe| {
            let (parts, count) = (parts.as_ptr(), parts.len() as u32);
            // SAFETY: the parts stay until the CQE, their memory stays, the file is open.
            unsafe { sqe.prep_writev_fixed(&file, parts, count, 3, flags, index) }
        })
    };
    let parts = [part(b.wrapping_add(6), 2), part(b, 1)];
    assert_eq!(write(&parts, RwFlags::NONE, 1), Ok(3));
    assert_eq!(write(&parts[1..], RwFlags::APPEND, 1), Ok(1));
    for (parts, index) in [(&parts[..], 0), (&parts, 2), (&[part(a, 1)], 1)] {
        assert_eq!(write(parts, RwFlags::NONE, index), Err(libc::EFAULT));
    }
    assert_eq!(fs::read(path).unwrap(), b"012GHA6789A");
    tried("OP_WRITEV_FIXED");
}
