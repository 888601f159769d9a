//! Moving data between pipes and files, and making pipes.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use ringway::prep::{CURRENT_POSITION, Direct, Fixed, SpliceFlags, Target};

use super::child::{knows, linux, skip, tried};
use super::gate::held;
use super::open::is_cloexec;
use super::*;

const NONE: SpliceFlags = SpliceFlags::NONE;
const HERE: u64 = CURRENT_POSITION;

/// A pipe with these bytes in it.
fn pipe(bytes: &[u8]) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(bytes).unwrap();
    (reader, writer)
}

/// What is in the pipe, and will ever be.
fn drain((mut reader, writer): (PipeReader, PipeWriter)) -> String {
    drop(writer);
    io::read_to_string(&mut reader).unwrap()
}

/// The result of closing each place of the table.
fn close_all<const N: usize>(ring: &Ring) -> [Result<u32, i32>; N] {
    std::array::from_fn(|index| {
        run(ring, |sqe| {
            // SAFETY: no operation uses the file.
            unsafe { sqe.prep_close_direct(Fixed(index as u32)) }
        })
    })
}

const EMPTY: Result<u32, i32> = Err(libc::EBADF);

#[test]
fn splice_moves_at_offsets() {
    let ring = ring();
    let (path, mut file) = file("splice", b"0123456789");
    let pipe = pipe(b"abcde");
    let (reader, writer) = &pipe;
    for (from, from_offset, to, to_offset, len, want) in [
        (Target::from(reader), HERE, Target::from(&file), 2, 3, Ok(3)), // abc to the file
        ((&file).into(), 1, writer.into(), HERE, 4, Ok(4)),             // 1abc to the pipe
        ((&file).into(), 8, writer.into(), HERE, 4, Ok(2)),             // 89, and the end
        ((&file).into(), 10, writer.into(), HERE, 4, Ok(0)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: file and pipe are open until the CQE.
            unsafe { sqe.prep_splice(from, from_offset, to, to_offset, len, NONE) }
        });
        assert_eq!(got, want, "{from:?} {from_offset}");
    }
    assert_eq!(fs::read(path).unwrap(), b"01abc56789");
    assert_eq!(file.stream_position().unwrap(), 0);
    assert_eq!(drain(pipe), "de1abc89");
    tried("OP_SPLICE");
}

#[test]
fn splice_at_the_current_position() {
    let ring = ring();
    let (path, mut file) = file("splice_current", b"0123456789");
    let pipe = pipe(b"ab");
    let (reader, writer) = &pipe;
    file.seek(SeekFrom::Start(3)).unwrap();
    for (from, to) in [
        (Target::from(reader), Target::from(&file)),
        ((&file).into(), writer.into()),
    ] {
        let got = run(&ring, |sqe| {
            let flags = SpliceFlags::MOVE | SpliceFlags::MORE;
            // SAFETY: file and pipe are open until the CQE.
            unsafe { sqe.prep_splice(from, HERE, to, HERE, 2, flags) }
        });
        assert_eq!(got, Ok(2));
    }
    assert_eq!(file.stream_position().unwrap(), 7);
    assert_eq!(fs::read(path).unwrap(), b"012ab56789");
    assert_eq!(drain(pipe), "56");
}

#[test]
fn splice_between_fixed_files() {
    let ring = ring();
    let (_, from) = file("splice_fixed", b"0123456789");
    let (reader, writer) = io::pipe().unwrap();
    let files = [None, Some(from.as_fd()), None, Some(writer.as_fd())];
    register_files(&ring, &files);
    for (from, to, want) in [
        (Target::from(Fixed(1)), Target::from(Fixed(3)), Ok(2)),
        ((&from).into(), Fixed(3).into(), Ok(2)),
        (Fixed(1).into(), (&writer).into(), Ok(2)),
        (Fixed(0).into(), (&writer).into(), Err(libc::EBADF)),
        (Fixed(4).into(), (&writer).into(), Err(libc::EBADF)),
        (Fixed(u32::MAX).into(), (&writer).into(), Err(libc::EBADF)),
        ((&from).into(), Fixed(0).into(), Err(libc::EBADF)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: file and pipe are open until the CQE, or the ring holds them.
            unsafe { sqe.prep_splice(from, HERE, to, HERE, 2, NONE) }
        });
        assert_eq!(got, want, "{from:?} {to:?}");
    }
    assert_eq!(close_all(&ring), [EMPTY, Ok(0), EMPTY, Ok(0)]);
    assert_eq!(drain((reader, writer)), "012345");
}

#[test]
fn splice_fails() {
    let ring = ring();
    let (_, file) = file("splice_fails", b"0123456789");
    let (reader, writer) = &pipe(b"abc");
    let (empty, _writer) = &pipe(b"");
    let nonblock = SpliceFlags::NONBLOCK;
    let unknown = SpliceFlags::from_bits(1 << 20);
    // A pipe has no offsets: the number is not ignored.
    for (from, from_offset, to, to_offset, flags, errno) in [
        (
            Target::from(reader),
            0,
            Target::from(&file),
            0,
            NONE,
            libc::ESPIPE,
        ),
        ((&file).into(), 0, writer.into(), 0, NONE, libc::ESPIPE),
        (reader.into(), 1, (&file).into(), 0, NONE, libc::ESPIPE),
        ((&file).into(), 0, (&file).into(), 0, NONE, libc::EINVAL), // no pipe at all
        (reader.into(), HERE, writer.into(), HERE, NONE, libc::EINVAL), // into itself
        (
            empty.into(),
            HERE,
            (&file).into(),
            0,
            nonblock,
            libc::EAGAIN,
        ),
        (
            reader.into(),
            HERE,
            (&file).into(),
            0,
            unknown,
            libc::EINVAL,
        ),
        (writer.into(), HERE, (&file).into(), 0, NONE, libc::EBADF),
        ((&file).into(), 0, reader.into(), HERE, NONE, libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: file and pipes are open until the CQE.
            unsafe { sqe.prep_splice(from, from_offset, to, to_offset, 3, flags) }
        });
        assert_eq!(got, Err(errno), "{from:?} {from_offset} {to:?} {to_offset}");
    }
}

#[test]
fn a_short_splice_breaks_a_chain() {
    let ring = ring();
    let (_, file) = file("splice_short", b"0123456789");
    let (reader, _writer) = &pipe(b"abc");
    let (_reader, other) = &pipe(b"");
    for (len, then) in [(3, Ok(0)), (4, Err(libc::ECANCELED))] {
        push(&ring, |sqe| {
            // SAFETY: the pipes are open until the CQE.
            unsafe { sqe.prep_tee(reader, other, len, NONE) }.link()
        });
        start(&ring, |sqe| nop(sqe).user_data(1));
        assert_eq!(results(&ring), [(0, Ok(3)), (1, then)], "tee {len}");
        push(&ring, |sqe| {
            // SAFETY: file and pipe are open until the CQE.
            unsafe { sqe.prep_splice(&file, 7, other, HERE, len, NONE) }.link()
        });
        start(&ring, |sqe| nop(sqe).user_data(1));
        assert_eq!(results(&ring), [(0, Ok(3)), (1, then)], "splice {len}");
    }
}

#[test]
fn tee_leaves_the_bytes_where_they_are() {
    let ring = ring();
    let (from, to) = (pipe(b"abcde"), pipe(b"+"));
    register_files(&ring, &[Some(from.0.as_fd()), Some(to.1.as_fd())]);
    for (reader, writer, len) in [
        (Target::from(&from.0), Target::from(&to.1), 2),
        (Fixed(0).into(), Fixed(1).into(), 3),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the pipes are open until the CQE.
            unsafe { sqe.prep_tee(reader, writer, len, NONE) }
        });
        assert_eq!(got, Ok(len));
    }
    assert_eq!(close_all(&ring), [Ok(0); 2]);
    assert_eq!(drain(from), "abcde");
    assert_eq!(drain(to), "+ababc");
    tried("OP_TEE");
}

#[test]
fn tee_fails() {
    let ring = ring();
    let (_, file) = file("tee_fails", b"0123456789");
    let (reader, writer) = &pipe(b"abc");
    let (empty, _writer) = &pipe(b"");
    let nonblock = SpliceFlags::NONBLOCK;
    for (from, to, flags, errno) in [
        (
            Target::from(&file),
            Target::from(writer),
            NONE,
            libc::EINVAL,
        ),
        (reader.into(), (&file).into(), NONE, libc::EINVAL),
        (empty.into(), writer.into(), nonblock, libc::EAGAIN),
        (Fixed(0).into(), writer.into(), NONE, libc::EBADF),
        (reader.into(), Fixed(0).into(), NONE, libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: file and pipes are open until the CQE.
            unsafe { sqe.prep_tee(from, to, 3, flags) }
        });
        assert_eq!(got, Err(errno), "{from:?} {to:?}");
    }
}

#[test]
fn a_splice_waits_for_data() {
    let ring = ring();
    let (path, file) = file("splice_waits", b"");
    let (reader, mut writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: file and pipe are open until the CQE.
        unsafe { sqe.prep_splice(&reader, HERE, &file, 0, 10, NONE) }
    });
    assert_idle(&ring);
    writer.write_all(b"data").unwrap();
    assert_eq!(result(next(&ring)), Ok(4));
    assert_eq!(fs::read(path).unwrap(), b"data");

    drop(writer);
    let got = run(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_splice(&reader, HERE, &file, 0, 10, NONE) }
    });
    assert_eq!(got, Ok(0), "no writer is left");
}

/// A number that is no descriptor.
const UNWRITTEN: RawFd = -7;

#[test]
fn pipe_makes_a_pipe() {
    let ring = ring();
    if !knows(&ring, 62, "OP_PIPE") {
        return;
    }
    for flags in [0, libc::O_CLOEXEC, libc::O_NONBLOCK | libc::O_CLOEXEC] {
        let fds = &raw mut *Box::leak(Box::new([UNWRITTEN; 2]));
        let gate = held(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_pipe(fds, flags) }
        });
        // SAFETY: the operation has not started.
        assert_eq!(unsafe { *fds }, [UNWRITTEN; 2]);
        assert_eq!(gate.open(&ring), Ok(0));
        // SAFETY: the operation has ended.
        let fds = unsafe { *fds };
        // SAFETY: the kernel has just made these descriptors for us.
        let [mut reader, mut writer] =
            fds.map(|fd| File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        for end in [&reader, &writer] {
            assert_eq!(is_cloexec(end), flags & libc::O_CLOEXEC != 0);
        }
        writer.write_all(b"data").unwrap();
        let mut buf = [0; 4];
        reader.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"data");
        if flags & libc::O_NONBLOCK != 0 {
            let empty = reader.read(&mut buf).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        }
    }

    let fds = Box::leak(Box::new([UNWRITTEN; 2]));
    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays.
        unsafe { sqe.prep_pipe(fds, libc::O_APPEND) }
    });
    assert_eq!(got, Err(libc::EINVAL));
    assert_eq!(fds, &[UNWRITTEN; 2]);
    tried("OP_PIPE");
}

/// Whether what is written to the one comes out of the other.
#[track_caller]
fn assert_pipe(ring: &Ring, reader: Fixed, writer: Fixed) {
    let got = run(ring, |sqe| {
        // SAFETY: the bytes are constant, the ring holds the file.
        unsafe { sqe.prep_write(writer, b"data".as_ptr(), 4, 0) }
    });
    assert_eq!(got, Ok(4));
    let buf = memory::<8>();
    let got = run(ring, |sqe| {
        // SAFETY: the memory stays, the ring holds the file.
        unsafe { sqe.prep_read(reader, buf.as_mut_ptr(), 8, 0) }
    });
    assert_eq!((got, &*buf), (Ok(4), b"data...."));
}

#[test]
fn pipe_direct_makes_a_pipe_in_the_table() {
    let ring = ring();
    if !knows(&ring, 62, "OP_PIPE") {
        return;
    }
    let unwritten = Fixed(77);
    let pipe = |flags, place| {
        let files = Box::leak(Box::new([unwritten; 2]));
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_pipe_direct(files, flags, place) }
        });
        (got, *files)
    };
    let at = |index| Direct::at(Fixed(index));
    assert_eq!(pipe(0, at(0)).0, Err(libc::ENXIO), "there is no table");
    let (_, file) = file("pipe_direct", b"0123456789");
    let some = Some(file.as_fd());
    register_files(&ring, &[some, None, some, some, None]);

    let (got, [reader, writer]) = pipe(0, Direct::ALLOC);
    assert_eq!(got, Ok(0));
    assert!([(1, 4), (4, 1)].contains(&(reader.0, writer.0)));
    assert_pipe(&ring, reader, writer);
    // No place is left, and no half of a pipe either.
    assert_eq!(pipe(0, Direct::ALLOC).0, Err(libc::ENFILE));

    // Places with files in them are taken all the same.
    let (got, files) = pipe(0, at(2));
    assert_eq!(got, Ok(0));
    assert_pipe(&ring, Fixed(2), Fixed(3));
    let untold = !linux(7, 0) && files == [Fixed(0); 2];
    assert!(untold || files == [Fixed(2), Fixed(3)], "{files:?}");

    assert_eq!(pipe(libc::O_CLOEXEC, at(0)).0, Err(libc::EINVAL));
    assert_eq!(pipe(0, at(5)).0, Err(libc::EINVAL));
    assert_eq!(close_all(&ring), [Ok(0); 5]);
    assert_eq!(close_all(&ring), [EMPTY; 5]);
}

#[test]
fn half_a_pipe_is_not_left_in_the_table() {
    let ring = ring();
    if !knows(&ring, 62, "OP_PIPE") {
        return;
    }
    register_files(&ring, &[None; 3]);
    let pipe = |index| {
        let files = Box::leak(Box::new([Fixed(77); 2]));
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_pipe_direct(files, 0, Direct::at(Fixed(index))) }
        });
        (got, *files)
    };
    let (got, files) = pipe(1);
    assert_eq!(got, Ok(0));
    if !linux(7, 0) && files == [Fixed(0); 2] {
        return skip("half a pipe", "this kernel does not know where it put it");
    }
    assert_eq!(files, [Fixed(1), Fixed(2)]);
    assert_eq!(close_all(&ring), [EMPTY, Ok(0), Ok(0)]);

    let failed = Err(libc::EINVAL);
    assert_eq!(pipe(2), (failed, [Fixed(77); 2]), "the last has no next");
    assert_eq!(close_all(&ring), [EMPTY; 3]);
}
