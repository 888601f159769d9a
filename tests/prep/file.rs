//! Opening, closing and syncing files.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;

use ringway::prep::{Dir, Fixed, FsyncFlags, RwFlags, Target};

use super::child::skip;
use super::*;

const POLLHUP: u32 = libc::POLLHUP as u32;

/// Pages of the file that are not on the disk yet, by `cachestat(2)`.
fn unsynced_pages(file: &File) -> io::Result<u64> {
    const CACHESTAT: libc::c_long = 451;
    let whole_file = [0u64, 0];
    // Cached, dirty, under writeback, evicted, evicted lately.
    let mut pages = [0u64; 5];
    // SAFETY: two and five numbers of 64 bits are what the call reads and writes.
    let ret = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            &raw const whole_file,
            &raw mut pages,
            0,
        )
    };
    match ret {
        0 => Ok(pages[1] + pages[2]),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn fsync_brings_the_file_to_the_disk() {
    let ring = ring();
    let (_, mut file) = file("fsync", b"");
    for flags in [FsyncFlags::NONE, FsyncFlags::DATASYNC] {
        file.write_all(&[7; 100_000]).unwrap();
        match unsynced_pages(&file) {
            Ok(0) => return skip("fsync", "this file system keeps no dirty pages"),
            Err(error) => return skip("fsync", &format!("cachestat(2): {error}")),
            Ok(_) => {}
        }
        let got = run(&ring, |sqe| {
            // SAFETY: the file is open until the CQE.
            unsafe { sqe.prep_fsync(&file, flags) }
        });
        assert_eq!(got, Ok(0));
        assert_eq!(unsynced_pages(&file).unwrap(), 0);
    }
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
            Err(error) => return skip("sync_flags_of_a_write", &format!("cachestat(2): {error}")),
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

const NEW: i32 = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;

fn opened(got: Result<u32, i32>) -> File {
    let fd = RawFd::try_from(got.unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }.into()
}

#[test]
fn openat_makes_a_file_in_a_directory() {
    let ring = ring();
    let path = directory("openat");
    let dir = File::open(&path).unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the path is constant, the directory open until the CQE.
        unsafe { sqe.prep_openat(&dir, c"new".as_ptr(), NEW, 0o600) }
    });
    let mut file = opened(got);
    file.write_all(b"hello").unwrap();
    let path = path.join("new");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // SAFETY: F_GETFD takes no memory.
    let fd_flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(fd_flags, libc::FD_CLOEXEC);
}

#[test]
fn openat_from_the_working_directory() {
    let ring = ring();
    let (path, _) = file("openat_cwd", b"0123456789");
    let path = c_path(&path);
    let got = run(&ring, |sqe| {
        // SAFETY: the path stays until the CQE.
        unsafe { sqe.prep_openat(Dir::CWD, path.as_ptr(), libc::O_CLOEXEC, 0) }
    });
    assert_eq!(io::read_to_string(opened(got)).unwrap(), "0123456789");

    // Tests run in the directory of the package.
    let got = run(&ring, |sqe| {
        // SAFETY: the path is constant.
        unsafe { sqe.prep_openat(Dir::CWD, c"Cargo.toml".as_ptr(), libc::O_CLOEXEC, 0) }
    });
    assert_eq!(
        io::read_to_string(opened(got)).unwrap(),
        fs::read_to_string("Cargo.toml").unwrap()
    );
}

#[test]
fn openat_the_path_is_copied_at_submit() {
    let ring = ring();
    let path = directory("openat_stable");
    let mut name = c_path(&path.join("new")).into_bytes_with_nul();
    start(&ring, |sqe| {
        // SAFETY: the path stays until submit.
        unsafe { sqe.prep_openat(Dir::CWD, name.as_ptr().cast(), NEW, 0o600) }.force_async()
    });
    name.fill(0);
    drop(opened(result(next(&ring))));
    assert!(path.join("new").exists());
    // The name was in use up to here: the overwriting was not optimised away.
    assert!(name.iter().all(|byte| *byte == 0));
}

#[test]
fn openat_fails() {
    let ring = ring();
    let (path, file) = file("openat_fails", b"0123456789");
    let dir = File::open(path.parent().unwrap()).unwrap();
    for (dir, name, flags, errno) in [
        (&dir, c"missing", libc::O_CLOEXEC, libc::ENOENT),
        (&dir, c"file", NEW, libc::EEXIST),
        (&dir, c"file", libc::O_DIRECTORY, libc::ENOTDIR),
        (&file, c"file", libc::O_CLOEXEC, libc::ENOTDIR),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the path is constant, the directory open until the CQE.
            unsafe { sqe.prep_openat(dir, name.as_ptr(), flags, 0o600) }
        });
        assert_eq!(got, Err(errno), "{name:?}");
    }
}

#[test]
fn close_closes() {
    let ring = ring();
    let (reader, writer) = io::pipe().unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the descriptor is ours, and given up here.
        unsafe { sqe.prep_close(writer.into_raw_fd()) }
    });
    assert_eq!(got, Ok(0));
    let left = run(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&reader, POLLHUP) }
    });
    assert_eq!(left, Ok(POLLHUP), "the last writer is gone");
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
    push(&ring, |sqe| {
        // SAFETY: there is no such fixed file.
        unsafe { sqe.prep_fsync(Fixed(0), FsyncFlags::NONE) }.link()
    });
    start(&ring, |sqe| {
        // SAFETY: the operation before it fails, so this one is not started.
        unsafe { sqe.prep_close(fd) }.user_data(1)
    });
    assert_eq!(
        results(&ring),
        [(0, Err(libc::EBADF)), (1, Err(libc::ECANCELED))]
    );
    // SAFETY: it was not closed, so it is ours still.
    let mut writer = unsafe { File::from_raw_fd(fd) };
    writer.write_all(b"!").unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 1);
}
