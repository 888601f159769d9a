//! Each prep on the real kernel: what it does, and how it fails.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

fn ring() -> Ring {
    Ring::builder(16)
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}

/// Prepares one operation and pushes it.
fn push(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) {
    let sq = ring.sq();
    let mut slot = sq.pop().expect("16 slots are enough");
    prep(&mut slot);
    slot.push();
}

/// Prepares one operation and submits it. This thread is the only one at the ring, so
/// the kernel has consumed the SQE on return.
fn start(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) {
    push(ring, prep);
    ring.submit().unwrap();
}

/// The next CQE.
#[track_caller]
fn next(ring: &Ring) -> Cqe {
    let cqe = ring.cq().wait_one(Some(Duration::from_secs(20))).unwrap();
    cqe.expect("a completion within 20 s")
}

/// The result in a CQE, errors as numbers.
fn result(cqe: Cqe) -> Result<u32, i32> {
    cqe.result().map_err(|errno| errno.raw())
}

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

/// One operation, from prep to result.
#[track_caller]
fn run(
    ring: &Ring,
    prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe,
) -> Result<u32, i32> {
    start(ring, prep);
    result(next(ring))
}

#[track_caller]
fn assert_idle(ring: &Ring) {
    assert_eq!(ring.cq().reap(), None);
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

fn nop(sqe: &mut Sqe) -> &mut Sqe {
    // SAFETY: a NOP names nothing.
    unsafe { sqe.prep_nop() }
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
