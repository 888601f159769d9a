//! Each prep on the real kernel: what it does, and how it fails.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

use ringway::{Cqe, Ring, Sqe, Waited};

mod cancel;
#[path = "../child/mod.rs"]
mod child;
mod file;
mod poll;
mod rw;
mod setters;
mod time;

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
    let cq = ring.cq();
    loop {
        if let Some(cqe) = cq.reap() {
            return cqe;
        }
        let waited = cq.wait(Some(Duration::from_secs(20))).unwrap();
        assert_ne!(waited, Waited::TimedOut, "no completion for 20 s");
    }
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

/// `io_uring_register(2)`, for the opcodes that the ring has no method for. An empty
/// table is none.
fn register(ring: &Ring, opcode: u32, table: &[RawFd]) -> u32 {
    let fd = ring.fd().expect("the ring has a descriptor").as_raw_fd();
    let first = table.first().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the opcodes used here read the table, and keep nothing of it.
    let ret = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, opcode, first, table.len()) };
    u32::try_from(ret).unwrap_or_else(|_| panic!("{}", io::Error::last_os_error()))
}

/// Makes these the ring's fixed files, from index 0 on; -1 leaves an empty place.
fn register_files(ring: &Ring, files: &[RawFd]) {
    const REGISTER_FILES: u32 = 2;
    register(ring, REGISTER_FILES, files);
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

#[test]
fn nop_completes_with_its_user_data() {
    let ring = ring();
    for user_data in [0, 7, u64::MAX] {
        start(&ring, |sqe| nop(sqe).user_data(user_data));
        let cqe = next(&ring);
        assert_eq!((cqe.user_data(), result(cqe)), (user_data, Ok(0)));
    }
}

#[test]
fn a_prep_drops_what_was_set_before() {
    let ring = ring();
    start(&ring, |sqe| {
        sqe.skip_success().personality(77).user_data(5);
        nop(sqe)
    });
    let cqe = next(&ring);
    assert_eq!((cqe.user_data(), result(cqe)), (0, Ok(0)));
}
