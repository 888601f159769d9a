//! Operations of every kind whose deadline passes: what the kernel makes of it differs, what
//! is told does not.

use super::child::{knows, linux};
use super::*;
use ringway::op;
use ringway::pool::Outcome;
use ringway::prep::{FUTEX_MATCH_ANY, FutexFlags, SendFlags};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

const SHORT: Duration = Duration::from_millis(10);

/// Submits it with a deadline, and waits for its end.
#[track_caller]
fn ended(driver: &Driver, sqe: Sqe) -> Completion {
    let op = Op::from(sqe).deadline(SHORT);
    let id = driver.try_submit(op).unwrap();
    let completion = next(driver);
    assert_eq!(completion.op(), id);
    completion
}

fn driver_of_8() -> Driver {
    driver(8, 16, Driver::builder())
}

/// Nothing is left: no permit, and no CQE that names nobody.
#[track_caller]
fn assert_idle(driver: &Driver) {
    assert_eq!((driver.in_flight(), driver.stats().stale), (0, 0));
}

#[test]
fn of_a_wait_on_a_futex() {
    let driver = driver_of_8();
    if !knows(driver.ring(), op::FUTEX_WAIT, "OP_FUTEX_WAIT") {
        return;
    }
    let futex: *const u32 = Box::leak(Box::new(0));
    let flags = FutexFlags::SIZE_U32 | FutexFlags::PRIVATE;
    let mut sqe = Sqe::default();
    // SAFETY: the futex is leaked.
    unsafe { sqe.prep_futex_wait(futex, 0, FUTEX_MATCH_ANY, flags) };
    assert_eq!(ended(&driver, sqe).outcome(), Outcome::TimedOut);
    assert_idle(&driver);
}

#[test]
fn of_a_wait_for_a_child() {
    let driver = driver_of_8();
    if !knows(driver.ring(), op::WAITID, "OP_WAITID") {
        return;
    }
    // It lives until its standard input is closed.
    let mut cat = Command::new("cat");
    let mut cat = cat.stdin(Stdio::piped()).spawn().expect("start a child");
    let mut sqe = Sqe::default();
    // SAFETY: there is no siginfo.
    unsafe { sqe.prep_waitid(libc::P_PID, cat.id(), std::ptr::null_mut(), libc::WEXITED) };
    assert_eq!(ended(&driver, sqe).outcome(), Outcome::TimedOut);
    assert_idle(&driver);
    drop(cat.stdin.take());
    assert!(cat.wait().unwrap().success());
}

/// The kernel interrupts the worker: the operation says EINTR, and its timer that it found
/// nothing to cancel. Polled first, in vain: a listener whose backlog is full.
#[test]
fn of_what_a_worker_is_blocked_in() {
    let driver = driver_of_8();
    let dir = tempfile::tempdir().unwrap();
    let mut addr = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as u16,
        sun_path: [0; 108],
    };
    let path = dir.path().join("socket");
    let bytes = path.as_os_str().as_bytes();
    assert!(bytes.len() < addr.sun_path.len());
    for (to, from) in addr.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let (addr, len) = ((&raw const addr).cast(), size_of_val(&addr) as u32);
    let listener = socket();
    // SAFETY: the address is there, and so long.
    let bound = unsafe { libc::bind(listener.as_raw_fd(), addr, len) };
    // SAFETY: no memory is named.
    let listens = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!((bound, listens), (0, 0));
    let first = socket();
    // SAFETY: as for bind.
    assert_eq!(unsafe { libc::connect(first.as_raw_fd(), addr, len) }, 0);
    let second = socket();
    let mut connect = Sqe::default();
    // SAFETY: the address and the socket stay until the completion.
    unsafe { connect.prep_connect(&second, addr, len) };
    assert_eq!(ended(&driver, connect).outcome(), Outcome::TimedOut);
    assert_idle(&driver);
}

fn socket() -> OwnedFd {
    // SAFETY: the descriptor is new, and nobody else's.
    unsafe {
        let fd = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    }
}

/// The first of its two CQEs says that it was cancelled, behind the one of the timer.
#[test]
fn of_a_zero_copy_send() {
    let driver = driver_of_8();
    if !knows(driver.ring(), op::SEND_ZC, "OP_SEND_ZC") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _peer = listener.accept().unwrap().0;
    // Nobody reads: at some point there is no room, and none comes when what is on its way has
    // arrived.
    stream.set_nonblocking(true).unwrap();
    let bytes: &'static [u8] = vec![7; 1 << 16].leak();
    let mut has_room = libc::pollfd {
        fd: stream.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    while std::io::Write::write(&mut (&stream), bytes).is_ok() {
        while std::io::Write::write(&mut (&stream), bytes).is_ok() {}
        // SAFETY: poll(2) reads and writes one `pollfd`.
        unsafe { libc::poll(&mut has_room, 1, 500) };
    }
    let mut send = Sqe::default();
    // SAFETY: the bytes are leaked, and the socket is kept.
    unsafe { send.prep_send_zc(&stream, bytes.as_ptr(), 4096, 0, SendFlags::NONE) };
    let op = Op::from(send).deadline(SHORT);
    driver.try_submit(op).unwrap();
    let [first, notification] = next_of(&driver);
    match first.outcome() {
        // The timer's CQE came later.
        Outcome::Cancelled => assert!(!linux(6, 12), "{first:?}"),
        outcome => assert_eq!(outcome, Outcome::TimedOut),
    }
    assert!(!first.is_last());
    assert!(notification.cqe().is_notif() && notification.is_last());
    assert_eq!(notification.outcome(), Outcome::Done(0));
    assert_idle(&driver);
}
