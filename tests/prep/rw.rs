//! Reading and writing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};

use ringway::prep::{CURRENT_POSITION, Fixed, RwFlags, Target};

use super::child::{here, knows, tried};
use super::*;

mod besides;
mod fixed;
mod multishot;

#[test]
fn read_at_an_offset() {
    let ring = ring();
    let (_, mut file) = file("read", b"0123456789");
    for (offset, count, bytes) in [
        (3, 4, b"3456...."),
        (6, 4, b"6789...."), // short: the end is near
        (10, 0, b"........"),
    ] {
        let buf = memory::<8>();
        let len = if offset == 3 { 4 } else { 8 };
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_read(&file, buf.as_mut_ptr(), len, offset) }
        });
        assert_eq!(got, Ok(count));
        assert_eq!(buf, bytes);
    }
    assert_eq!(file.stream_position().unwrap(), 0);
    tried("OP_READ");
}

#[test]
fn read_at_the_current_position() {
    let ring = ring();
    let (_, mut file) = file("read_current", b"0123456789");
    file.seek(io::SeekFrom::Start(2)).unwrap();
    for bytes in [b"234", b"567"] {
        let buf = memory::<3>();
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_read(&file, buf.as_mut_ptr(), 3, CURRENT_POSITION) }
        });
        assert_eq!(got, Ok(3));
        assert_eq!(buf, bytes);
    }
    assert_eq!(file.stream_position().unwrap(), 8);
}

/// The manual wants 0 or -1 as the offset; the kernel does not look at it.
#[test]
fn read_from_a_pipe_when_data_comes() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    for offset in [0, 5, CURRENT_POSITION] {
        let buf = memory::<8>();
        start(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 8, offset) }
        });
        assert_idle(&ring);
        writer.write_all(b"data").unwrap();
        assert_eq!(result(next(&ring)), Ok(4));
        assert_eq!(buf, b"data....");
    }
}

#[test]
fn read_fails() {
    let ring = ring();
    let (path, _) = file("read_fails", b"0123456789");
    let write_only = OpenOptions::new().write(true).open(&path).unwrap();
    let directory = File::open(path.parent().unwrap()).unwrap();
    for (target, errno) in [
        (Target::from(&write_only), libc::EBADF),
        (Fixed(0).into(), libc::EBADF), // there is no table, though there is an fd 0
        (Fixed(u32::MAX).into(), libc::EBADF),
        (Target::from(&directory), libc::EISDIR),
    ] {
        let buf = memory::<4>();
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_read(target, buf.as_mut_ptr(), 4, 0) }
        });
        assert_eq!(got, Err(errno));
        assert_eq!(buf, b"....");
    }
}

#[test]
fn write_at_an_offset() {
    let ring = ring();
    let (path, mut file) = file("write", b"0123456789");
    let got = run(&ring, |sqe| {
        // SAFETY: the bytes are constant.
        unsafe { sqe.prep_write(&file, b"abcdef".as_ptr(), 3, 4) }
    });
    assert_eq!(got, Ok(3));
    assert_eq!(fs::read(path).unwrap(), b"0123abc789");
    assert_eq!(file.stream_position().unwrap(), 0);
    tried("OP_WRITE");
}

#[test]
fn write_at_the_current_position() {
    let ring = ring();
    let (path, mut file) = file("write_current", b"0123456789");
    file.seek(io::SeekFrom::Start(8)).unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the bytes are constant.
        unsafe { sqe.prep_write(&file, b"abc".as_ptr(), 3, CURRENT_POSITION) }
    });
    assert_eq!(got, Ok(3));
    assert_eq!(fs::read(path).unwrap(), b"01234567abc");
}

#[test]
fn write_fails() {
    let ring = ring();
    let (path, _) = file("write_fails", b"0123456789");
    let read_only = File::open(&path).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (target, errno) in [
        (Target::from(&read_only), libc::EBADF),
        (Fixed(1).into(), libc::EBADF),
        (Target::from(&full), libc::ENOSPC),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the bytes are constant.
            unsafe { sqe.prep_write(target, b"abc".as_ptr(), 3, 0) }
        });
        assert_eq!(got, Err(errno));
    }
    assert_eq!(fs::read(path).unwrap(), b"0123456789");
}

#[test]
fn readv_scatters() {
    let ring = ring();
    let (_, file) = file("readv", b"0123456789");
    let (a, b) = (memory::<3>(), memory::<8>());
    let iovecs = [iovec(a), iovec(b)];
    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays, the iovecs stay until the CQE.
        unsafe { sqe.prep_readv(&file, iovecs.as_ptr(), 2, 1) }
    });
    assert_eq!(got, Ok(9));
    assert_eq!((&*a, &*b), (b"123", b"456789.."));
    tried("OP_READV");
}

#[test]
fn writev_gathers() {
    let ring = ring();
    let (path, file) = file("writev", b"0123456789");
    let (a, b) = (memory::<1>(), memory::<2>());
    a.copy_from_slice(b"a");
    b.copy_from_slice(b"bc");
    let iovecs = [iovec(b), iovec(a)];
    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays, the iovecs stay until the CQE.
        unsafe { sqe.prep_writev(&file, iovecs.as_ptr(), 2, 5) }
    });
    assert_eq!(got, Ok(3));
    assert_eq!(fs::read(path).unwrap(), b"01234bca89");
    tried("OP_WRITEV");
}

/// Whenever the operation starts.
#[test]
fn the_iovecs_are_copied_at_submit() {
    type Setter = fn(&mut Sqe) -> &mut Sqe;
    let cases: [(Setter, Setter); 4] = [
        (|first| first, |readv| readv),
        (|first| first, Sqe::force_async),
        (|first| first, Sqe::drain),
        (Sqe::link, |readv| readv),
    ];
    for is_fixed in [false, true] {
        if is_fixed && !knows(&ring(), 60, "OP_READV_FIXED") {
            continue;
        }
        for (set_first, set_readv) in cases {
            let ring = ring();
            let (gate, mut opener) = io::pipe().unwrap();
            let (reader, mut writer) = io::pipe().unwrap();
            let (first, buf) = (memory::<1>(), memory::<6>());
            register_buffers(&ring, &[iovec(buf)]);
            let (a, b) = buf.split_at_mut(2);
            let mut iovecs = [iovec(a), iovec(b)];
            push(&ring, |sqe| {
                // SAFETY: the memory stays, the pipe is open until the CQE.
                set_first(unsafe { sqe.prep_read(&gate, first.as_mut_ptr(), 1, 0) })
            });
            start(&ring, |sqe| {
                let (iovecs, none) = (iovecs.as_ptr(), RwFlags::NONE);
                // SAFETY: as above, and the iovecs stay until submit.
                let sqe = unsafe {
                    match is_fixed {
                        false => sqe.prep_readv(&reader, iovecs, 2, 0),
                        true => sqe.prep_readv_fixed(&reader, iovecs, 2, 0, none, 0),
                    }
                };
                set_readv(sqe).user_data(1)
            });
            iovecs.fill(libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            });
            opener.write_all(b"!").unwrap();
            writer.write_all(b"data").unwrap();
            assert_eq!(results(&ring), [(0, Ok(1)), (1, Ok(4))]);
            assert_eq!(buf, b"data..");
            // The array was in use up to here: the overwriting was not optimised away.
            assert!(iovecs.iter().all(|iovec| iovec.iov_len == 0));
        }
    }
}

#[test]
fn vectors_with_flags() {
    let ring = ring();
    let (path, file) = file("vector_flags", b"0123456789");
    let (reader, _writer) = io::pipe().unwrap();
    let buf = memory::<2>();
    let iovecs = [iovec(buf)];
    let (iovecs, one) = (iovecs.as_ptr(), 1);

    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays, the iovec stays to the end of the test.
        unsafe { sqe.prep_writev2(&file, iovecs, one, 3, RwFlags::APPEND) }
    });
    assert_eq!(got, Ok(2));
    assert_eq!(fs::read(path).unwrap(), b"0123456789..");

    let got = run(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_readv2(&reader, iovecs, one, 0, RwFlags::NOWAIT) }
    });
    let expected = here(&[("5.18", libc::EOPNOTSUPP), ("6.4", libc::EAGAIN)]);
    assert_eq!(got, Err(expected));

    let got = run(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_readv2(&file, iovecs, one, 0, RwFlags::HIPRI) }
    });
    assert_eq!(got, Err(libc::EINVAL), "the ring is no IOPOLL ring");
}

#[test]
fn vectors_fail() {
    let ring = ring();
    let (path, _) = file("vectors_fail", b"0123456789");
    let read_only = File::open(&path).unwrap();
    let write_only = OpenOptions::new().write(true).open(&path).unwrap();
    let buf = memory::<2>();
    let iovecs = [iovec(buf)];
    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays, the iovec stays until the CQE.
        unsafe { sqe.prep_readv(&write_only, iovecs.as_ptr(), 1, 0) }
    });
    assert_eq!(got, Err(libc::EBADF));
    let got = run(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_writev(&read_only, iovecs.as_ptr(), 1, 0) }
    });
    assert_eq!(got, Err(libc::EBADF));
    assert_eq!(fs::read(path).unwrap(), b"0123456789");
}

#[test]
fn fixed_files() {
    let ring = ring();
    let (path, file) = file("fixed_files", b"0123456789");
    register_files(&ring, &[None, None, Some(file.as_fd())]);
    drop(file);

    let got = run(&ring, |sqe| {
        // SAFETY: the bytes are constant, the ring holds the file.
        unsafe { sqe.prep_write(Fixed(2), b"ab".as_ptr(), 2, 1) }
    });
    assert_eq!(got, Ok(2));
    assert_eq!(fs::read(path).unwrap(), b"0ab3456789");

    for (index, count) in [(2, Ok(4)), (1, Err(libc::EBADF)), (3, Err(libc::EBADF))] {
        let buf = memory::<4>();
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the ring holds the file.
            unsafe { sqe.prep_read(Fixed(index), buf.as_mut_ptr(), 4, 0) }
        });
        assert_eq!(got, count);
        assert_eq!(buf, if index == 2 { b"0ab3" } else { b"...." });
    }
}
