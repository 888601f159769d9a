//! Each prep on the real kernel: what it does, and how it fails.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringway::{Cqe, Ring, Sqe};

mod accept;
mod buf;
mod cancel;
#[path = "../child/mod.rs"]
mod child;
mod cmd;
mod dir;
mod epoll;
mod file;
mod fixed;
mod futex;
mod gate;
mod msg;
mod net;
mod nop;
mod open;
#[path = "../child/ops.rs"]
mod ops;
mod poll;
mod process;
mod recv;
mod recvmsg;
mod rw;
mod send;
mod setters;
mod socket;
mod splice;
mod stat;
mod time;
mod xattr;
mod zc;

use ops::{assert_idle, next, nop, push, result, ring, run, start};

/// The next `N` CQEs as (`user_data`, result), in the order of `user_data`.
#[track_caller]
fn results<const N: usize>(ring: &Ring) -> [(u64, Result<u32, i32>); N] {
    let mut results = [(); N].map(|()| {
        let cqe = next(ring);
        (cqe.user_data(), result(cqe))
    });
    results.sort();
    results
}

/// Memory that outlives every operation, also those of a test that fails.
fn memory<const N: usize>() -> &'static mut [u8; N] {
    Box::leak(Box::new([b'.'; N]))
}

/// An empty directory of this test's own.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prep-{test}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A file with these bytes, opened for both.
fn file(test: &str, bytes: &[u8]) -> (PathBuf, File) {
    let path = directory(test).join("file");
    fs::write(&path, bytes).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path);
    (path, file.unwrap())
}

/// Makes these the ring's fixed files, from index 0 on; `None` leaves a place empty.
fn register_files(ring: &Ring, files: &[Option<BorrowedFd>]) {
    ring.registrar().register_files(files).unwrap();
}

/// Makes these the ring's registered buffers, from index 0 on. They have to stay.
fn register_buffers(ring: &Ring, buffers: &[libc::iovec]) {
    // SAFETY: the tests leak their buffers.
    unsafe { ring.registrar().register_buffers(buffers) }.unwrap();
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn iovec(buf: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    }
}
