//! What is done to an open file: closing, syncing, allocating, advising.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::ptr;

use ringway::prep::{FallocateFlags, Fixed, FsyncFlags, RwFlags, SyncFileRangeFlags, Target};

use super::child::{has, knows, linux, skip, tried, untried};
use super::gate::held;
use super::open::peek;
use super::*;

const POLLHUP: u32 = libc::POLLHUP as u32;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The last offset that a file can have.
const END: u64 = i64::MAX as u64;

/// The pages of `len` bytes from `offset` on, 0 for all, by `cachestat(2)`: how many are
/// in memory, and how many of them not on the disk yet.
fn pages(file: &File, offset: u64, len: u64) -> io::Result<(u64, u64)> {
    const CACHESTAT: libc::c_long = 451;
    let range = [offset, len];
    // Cached, dirty, under writeback, evicted, evicted lately.
    let mut pages = [0u64; 5];
    // SAFETY: two and five numbers of 64 bits are what the call reads and writes.
    let ret = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            &raw const range,
            &raw mut pages,
            0,
        )
    };
    match ret {
        0 => Ok((pages[0], pages[1] + pages[2])),
        _ => Err(io::Error::last_os_error()),
    }
}

fn unsynced_pages(file: &File) -> io::Result<u64> {
    pages(file, 0, 0).map(|(_, unsynced)| unsynced)
}

/// Why the pages cannot be counted.
fn without_cachestat(error: &io::Error) -> String {
    match linux(6, 5) {
        true => format!("cachestat(2): {error}"),
        false => "cachestat(2) came with Linux 6.5".into(),
    }
}

/// Writes to the file; false, and says so, where that leaves no dirty pages.
fn dirty(op: &str, mut file: &File) -> bool {
    file.write_all(&[7; 100_000]).unwrap();
    match unsynced_pages(file) {
        Ok(0) => untried(op, "this file system keeps no dirty pages"),
        Err(error) => untried(op, &without_cachestat(&error)),
        Ok(_) => return true,
    }
    false
}

#[test]
fn fsync_brings_the_file_to_the_disk() {
    let ring = ring();
    let (_, file) = file("fsync", b"");
    for flags in [FsyncFlags::NONE, FsyncFlags::DATASYNC] {
        if !dirty("OP_FSYNC", &file) {
            return;
        }
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_fsync(&file, flags) }
        });
        assert_eq!(got, Ok(0));
        assert_eq!(unsynced_pages(&file).unwrap(), 0);
    }
    tried("OP_FSYNC");
}
#[test]
fn sync_flags_of_a_write() {
    let ring = ring();
    let (_, file) = file("write_sync", b"");
    let buf = memory::<100_000>();
    let iovecs = [iovec(buf)];
    for flags in [RwFlags::DSYNC, RwFlags::SYNC] {
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the iovec stays until the CQE.
            unsafe { sqe.prep_writev2(&file, iovecs.as_ptr(), 1, 0, flags) }
        });
        assert_eq!(got, Ok(100_000));
        match unsynced_pages(&file) {
            Err(error) => return skip("sync_flags_of_a_write", &without_cachestat(&error)),
            Ok(pages) => assert_eq!(pages, 0),
        }
    }
}

#[test]
fn fsync_fails() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    for (target, errno) in [
        (Target::from(&reader), libc::EINVAL),
        (Fixed(0).into(), libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_fsync(target, FsyncFlags::NONE) }
        });
        assert_eq!(got, Err(errno));
    }
}

#[test]
fn sync_file_range_brings_the_pages_to_the_disk() {
    let ring = ring();
    let (_, file) = file("sync_file_range", b"");
    let flags = SyncFileRangeFlags::WAIT_BEFORE
        | SyncFileRangeFlags::WRITE
        | SyncFileRangeFlags::WAIT_AFTER;
    for len in [0, u32::MAX] {
        if !dirty("OP_SYNC_FILE_RANGE", &file) {
            return;
        }
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_sync_file_range(&file, len, 0, flags) }
        });
        assert_eq!(got, Ok(0));
        assert_eq!(unsynced_pages(&file).unwrap(), 0);
    }
    tried("OP_SYNC_FILE_RANGE");
}

#[test]
fn sync_file_range_takes_its_numbers() {
    const WRITE: SyncFileRangeFlags = SyncFileRangeFlags::WRITE;
    let ring = ring();
    let (_, file) = file("sync_file_range_fails", b"0123456789");
    let (reader, _writer) = io::pipe().unwrap();
    let unknown = SyncFileRangeFlags::from_bits(8);
    for (target, len, offset, flags, want) in [
        (Target::from(&file), 0, END, WRITE, Ok(0)),
        ((&file).into(), 1, END, WRITE, Err(libc::EINVAL)), // which ends beyond END
        ((&file).into(), 0, END + 1, WRITE, Err(libc::EINVAL)),
        ((&file).into(), 0, 0, unknown, Err(libc::EINVAL)),
        ((&reader).into(), 0, 0, WRITE, Err(libc::ESPIPE)),
        (Fixed(0).into(), 0, 0, WRITE, Err(libc::EBADF)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_sync_file_range(target, len, offset, flags) }
        });
        assert_eq!(got, want, "{target:?} {len} {offset} {flags:?}");
    }
}

/// What becomes of the file, and of a range in it.
type Change = fn(&mut Vec<u8>, std::ops::Range<usize>);

#[test]
fn fallocate_does_as_the_mode_says() {
    // A multiple of every size of block.
    const UNIT: usize = 1 << 16;
    let ring = ring();
    let old: Vec<u8> = (0..4 * UNIT).map(|at| 1 + (at / UNIT) as u8).collect();
    let cases: [(FallocateFlags, usize, Change); 7] = [
        (FallocateFlags::NONE, 4, |file, to| file.resize(to.end, 0)),
        (FallocateFlags::KEEP_SIZE, 4, |_, _| {}),
        (
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            1,
            |file, hole| file[hole].fill(0),
        ),
        (FallocateFlags::ZERO_RANGE, 2, |file, range| {
            file[range].fill(0)
        }),
        (FallocateFlags::COLLAPSE_RANGE, 1, |file, range| {
            file.drain(range);
        }),
        (FallocateFlags::INSERT_RANGE, 1, |file, range| {
            file.splice(range.start..range.start, vec![0; range.len()]);
        }),
        (FallocateFlags::UNSHARE_RANGE, 1, |_, _| {}),
    ];
    for (mode, unit, change) in cases {
        let (path, file) = file("fallocate", &old);
        let blocks = file.metadata().unwrap().blocks();
        let range = unit * UNIT..(unit + 1) * UNIT;
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_fallocate(&file, mode, range.start as u64, UNIT as u64) }
        });
        if got == Err(libc::EOPNOTSUPP) && mode != FallocateFlags::NONE {
            skip(&format!("fallocate {mode:?}"), "not on this file system");
            continue;
        }
        assert_eq!(got, Ok(0), "{mode:?}");
        let mut new = old.clone();
        change(&mut new, range);
        assert!(fs::read(path).unwrap() == new, "{mode:?}");
        if unit == 4 {
            assert!(file.metadata().unwrap().blocks() > blocks, "{mode:?}");
        }
    }
    tried("OP_FALLOCATE");
}

#[test]
fn fallocate_reaches_beyond_4_gib() {
    let ring = ring();
    let (_, file) = file("fallocate64", b"0123456789");
    file.write_all_at(b"0123456789", 5 * GIB).unwrap();
    let got = run(&ring, |sqe| {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // SAFETY: the file is open until the CQE.
        unsafe { sqe.prep_fallocate(&file, mode, 8, 5 * GIB) }
    });
    if got == Err(libc::EOPNOTSUPP) {
        return skip("fallocate64", "no holes on this file system");
    }
    assert_eq!(got, Ok(0));
    for (at, bytes) in [(0, b"01234567\0\0"), (5 * GIB, b"\0\0\0\0\0\0\0\089")] {
        let mut got = [0; 10];
        file.read_exact_at(&mut got, at).unwrap();
        assert_eq!(&got, bytes);
    }
}

#[test]
fn fallocate_fails() {
    let ring = ring();
    let (path, file) = file("fallocate_fails", b"0123456789");
    let read_only = File::open(&path).unwrap();
    let (_reader, writer) = io::pipe().unwrap();
    let none = FallocateFlags::NONE;
    let unknown = FallocateFlags::from_bits(1 << 30);
    for (target, mode, offset, len, errno) in [
        (Target::from(&file), none, 0, 0, libc::EINVAL),
        ((&file).into(), none, END + 1, 1, libc::EINVAL),
        ((&file).into(), none, 0, END + 1, libc::EINVAL),
        ((&file).into(), none, END, END, libc::EFBIG),
        ((&file).into(), unknown, 0, 1, libc::EOPNOTSUPP),
        ((&read_only).into(), none, 0, 1, libc::EBADF),
        ((&writer).into(), none, 0, 1, libc::ESPIPE),
        (Fixed(0).into(), none, 0, 1, libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_fallocate(target, mode, offset, len) }
        });
        assert_eq!(got, Err(errno), "{target:?} {mode:?} {offset} {len}");
    }
    assert_eq!(fs::read(path).unwrap(), b"0123456789");
}

#[test]
fn ftruncate_sets_the_length() {
    let ring = ring();
    if !knows(&ring, 55, "OP_FTRUNCATE") {
        return;
    }
    let (path, file) = file("ftruncate", b"0123456789");
    let read_only = File::open(&path).unwrap();
    register_files(&ring, &[Some(file.as_fd())]);
    let (_reader, writer) = io::pipe().unwrap();
    for (target, len, want) in [
        (Target::from(&file), 12, Ok(0)),
        (Fixed(0).into(), 4, Ok(0)),
        ((&file).into(), 6, Ok(0)),
        ((&file).into(), END + 1, Err(libc::EINVAL)),
        ((&read_only).into(), 0, Err(libc::EINVAL)),
        ((&writer).into(), 0, Err(libc::EINVAL)),
        (Fixed(1).into(), 0, Err(libc::EBADF)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_ftruncate(target, len) }
        });
        assert_eq!(got, want, "{target:?} {len}");
        if want.is_ok() {
            assert_eq!(fs::metadata(&path).unwrap().len(), len);
        }
    }
    assert_eq!(fs::read(&path).unwrap(), b"0123\0\0");

    // More than 32 bits.
    let got = run(&ring, |sqe| {
        // SAFETY: the file is open until the CQE.
        unsafe { sqe.prep_ftruncate(&file, 5 * GIB) }
    });
    assert_eq!(got, Ok(0));
    assert_eq!(file.metadata().unwrap().len(), 5 * GIB);
    tried("OP_FTRUNCATE");
}

/// A file with some bytes at 0, at 1 GiB and at 5 GiB, all of them in memory and on the
/// disk; and which of the three are in memory.
struct Cached(File);

impl Cached {
    const AT: [u64; 3] = [0, GIB, 5 * GIB];

    fn new(test: &str) -> Self {
        let (_, file) = file(test, b"");
        for at in Self::AT {
            file.write_all_at(&[7; 4096], at).unwrap();
        }
        file.sync_all().unwrap();
        Self(file)
    }

    fn there(&self) -> io::Result<[bool; 3]> {
        let mut there = [false; 3];
        for (there, at) in there.iter_mut().zip(Self::AT) {
            *there = pages(&self.0, at, MIB)?.0 > 0;
        }
        Ok(there)
    }
}

#[test]
fn fadvise_drops_pages() {
    const OP: &str = "OP_FADVISE";
    let ring = ring();
    let file = Cached::new("fadvise");
    match file.there() {
        Ok([true, true, true]) => {}
        Ok(_) => return untried(OP, "this file system does not tell what it keeps"),
        Err(error) => return untried(OP, &without_cachestat(&error)),
    }
    // SAFETY: an advice names no memory.
    unsafe { libc::posix_fadvise(file.0.as_raw_fd(), 0, 4096, libc::POSIX_FADV_DONTNEED) };
    if file.there().unwrap() != [false, true, true] {
        return untried(OP, "this file system keeps its pages");
    }

    let file = Cached::new("fadvise");
    let advise = |offset, len| {
        run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_fadvise(&file.0, offset, len, libc::POSIX_FADV_DONTNEED) }
        })
    };
    assert_eq!(advise(GIB, MIB as u32), Ok(0));
    assert_eq!(file.there().unwrap(), [true, false, true]);
    assert_eq!(advise(0, u32::MAX), Ok(0));
    assert_eq!(file.there().unwrap(), [false, false, true]);
    assert_eq!(advise(2 * GIB, 0), Ok(0), "all up to the end");
    assert_eq!(file.there().unwrap(), [false; 3]);
    tried(OP);

    if has(6, 11, "fadvise64", "64 bits of length") {
        let file = Cached::new("fadvise");
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe {
                let len = 5 * GIB;
                sqe.prep_fadvise64(&file.0, MIB, len, libc::POSIX_FADV_DONTNEED)
            }
        });
        assert_eq!(got, Ok(0));
        assert_eq!(file.there().unwrap(), [true, false, false]);
    }
}

#[test]
fn fadvise_takes_its_numbers() {
    let ring = ring();
    let (_, file) = file("fadvise_fails", b"0123456789");
    let (reader, _writer) = io::pipe().unwrap();
    for (target, advice, want) in [
        (Target::from(&file), libc::POSIX_FADV_RANDOM, Ok(0)),
        ((&file).into(), 77, Err(libc::EINVAL)),
        ((&reader).into(), libc::POSIX_FADV_NORMAL, Err(libc::ESPIPE)),
        (Fixed(0).into(), libc::POSIX_FADV_NORMAL, Err(libc::EBADF)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_fadvise(target, 0, 0, advice) }
        });
        assert_eq!(got, want, "{target:?} {advice}");
    }
}

fn page_size() -> usize {
    // SAFETY: sysconf takes no memory.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    size.try_into().unwrap()
}

/// Memory of whole pages that nobody else has; it is never given back.
fn map(len: usize, protection: i32) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a mapping at a place of the kernel's choice overlaps no other.
    let addr = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
    assert_ne!(addr, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    addr.cast()
}

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

#[test]
fn madvise_takes_the_content_away() {
    let ring = ring();
    let page = page_size();
    let memory = map(2 * page, READ_WRITE);
    // SAFETY: the mapping is ours, and so long.
    unsafe { memory.write_bytes(7, 2 * page) };
    let second = memory.wrapping_add(page);
    for (addr, len, advice, want) in [
        (second, page, libc::MADV_DONTNEED, Ok(0)),
        // Nothing is ever mapped there.
        (ptr::null_mut(), page, libc::MADV_RANDOM, Err(libc::ENOMEM)),
        (memory.wrapping_add(1), page, 0, Err(libc::EINVAL)),
        (memory, page, 7777, Err(libc::EINVAL)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: no reference to the memory exists.
            unsafe { sqe.prep_madvise(addr.cast(), len as u32, advice) }
        });
        assert_eq!(got, want, "{addr:?} {len} {advice}");
    }
    // SAFETY: the two pages are ours.
    let bytes = unsafe { std::slice::from_raw_parts(memory, 2 * page) };
    assert!(bytes[..page].iter().all(|byte| *byte == 7));
    assert!(bytes[page..].iter().all(|byte| *byte == 0));
    tried("OP_MADVISE");
}

#[test]
fn madvise64_reaches_beyond_4_gib() {
    let ring = ring();
    let page = page_size();
    if !has(6, 11, "madvise64", "64 bits of length") || size_of::<usize>() < 8 {
        return;
    }
    let len = 5 * GIB as usize;
    let memory = map(len, libc::PROT_NONE);
    // SAFETY: inside the mapping.
    let last = unsafe { memory.add(len - page) };
    // SAFETY: the page is ours.
    assert_eq!(unsafe { libc::mprotect(last.cast(), page, READ_WRITE) }, 0);
    // SAFETY: and can be written to now.
    unsafe { last.write(7) };
    let advise = |len| {
        run(&ring, |sqe| {
            // SAFETY: no reference to the memory exists.
            unsafe { sqe.prep_madvise64(memory.cast(), len, libc::MADV_DONTNEED) }
        })
    };
    assert_eq!(advise(GIB), Ok(0));
    // SAFETY: the page can be read.
    assert_eq!(unsafe { last.read() }, 7);
    assert_eq!(advise(len as u64), Ok(0));
    // SAFETY: as above.
    assert_eq!(unsafe { last.read() }, 0);
}

#[test]
fn close_closes() {
    let ring = ring();
    type Close = fn(&mut Sqe, io::PipeWriter) -> &mut Sqe;
    let by: [Close; 3] = [
        // SAFETY: the number is of a descriptor that is ours, and given up here.
        |sqe, writer| unsafe { sqe.prep_close(writer.into_raw_fd()) },
        // SAFETY: as above, and the owner says so.
        |sqe, writer| unsafe { sqe.prep_close(OwnedFd::from(writer)) },
        // SAFETY: as above.
        |sqe, writer| unsafe { sqe.prep_close(writer) },
    ];
    for close in by {
        let (reader, writer) = io::pipe().unwrap();
        assert_eq!(run(&ring, |sqe| close(sqe, writer)), Ok(0));
        assert_hung_up(&ring, &reader);
    }
    tried("OP_CLOSE");
}

/// The last writer of the pipe is gone.
#[track_caller]
fn assert_hung_up(ring: &Ring, reader: &io::PipeReader) {
    let got = run(ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(reader, POLLHUP) }
    });
    assert_eq!(got, Ok(POLLHUP));
}

#[test]
fn close_fails() {
    let ring = ring();
    for fd in [-1, RawFd::MAX] {
        let got = run(&ring, |sqe| {
            // SAFETY: no descriptor has this number.
            unsafe { sqe.prep_close(fd) }
        });
        assert_eq!(got, Err(libc::EBADF));
    }
}

#[test]
fn cancelled_close_leaves_the_descriptor_open() {
    let ring = ring();
    let (mut reader, writer) = io::pipe().unwrap();
    let fd = writer.into_raw_fd();
    let gate = held(&ring, |sqe| {
        // SAFETY: it is not started.
        unsafe { sqe.prep_close(fd) }
    });
    gate.cancel(&ring);
    // SAFETY: it was not closed, so it is ours still.
    let mut writer = unsafe { File::from_raw_fd(fd) };
    writer.write_all(b"!").unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 1);
}

#[test]
fn close_empties_a_place_in_the_table() {
    let ring = ring();
    let (reader, writer) = io::pipe().unwrap();
    let (_, file) = file("close_direct", b"0123456789");
    let close = |index| {
        run(&ring, |sqe| {
            // SAFETY: no other operation uses the table.
            unsafe { sqe.prep_close_direct(Fixed(index)) }
        })
    };
    assert_eq!(close(0), Err(libc::ENXIO), "there is no table");
    register_files(&ring, &[Some(file.as_fd()), Some(writer.as_fd())]);
    drop(writer);
    for outside in [2, i32::MAX as u32, u32::MAX - 1, u32::MAX] {
        assert_eq!(close(outside), Err(libc::EINVAL), "{outside}");
    }
    assert_eq!(close(1), Ok(0));
    assert_hung_up(&ring, &reader);
    assert_eq!(close(1), Err(libc::EBADF));
    assert_eq!(peek(&ring, Fixed(0)), Ok(b'0'));
}

#[test]
fn sync_file_range_flags_are_the_headers() {
    #[cfg(not(target_os = "android"))]
    for (flag, value) in [
        (
            SyncFileRangeFlags::WAIT_BEFORE,
            libc::SYNC_FILE_RANGE_WAIT_BEFORE,
        ),
        (SyncFileRangeFlags::WRITE, libc::SYNC_FILE_RANGE_WRITE),
        (
            SyncFileRangeFlags::WAIT_AFTER,
            libc::SYNC_FILE_RANGE_WAIT_AFTER,
        ),
    ] {
        assert_eq!(flag.bits(), value, "{flag:?}");
    }
}
