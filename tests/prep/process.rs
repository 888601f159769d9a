//! Processes.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr;

use libc::{P_PID, P_PIDFD, WEXITED, WNOHANG, WNOWAIT, WSTOPPED};
use ringway::prep::{CancelFlags, TimeoutFlags, Timespec};

use super::child::{here, knows, tried};
use super::*;

const WAITID: u8 = 50;

/// A process that lives until its standard input is closed.
fn start_child() -> Child {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::null());
    cat.spawn().expect("start a child")
}

fn start_exit(code: &str) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exit {code}")]);
    shell.spawn().expect("start a child")
}

/// A siginfo that outlives every operation, with every bit set.
fn info() -> &'static mut libc::siginfo_t {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: it is made of integers, and of all its bytes.
    unsafe {
        info.as_mut_ptr()
            .cast::<u8>()
            .write_bytes(0xFF, size_of_val(&info));
        Box::leak(Box::new(info.assume_init()))
    }
}

/// Signal, code, process, status.
fn told(info: &libc::siginfo_t) -> (i32, i32, u32, i32) {
    // SAFETY: the kernel has written that of a child, or they are integers all the same.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    (info.si_signo, info.si_code, pid as u32, status)
}

fn wait(
    ring: &Ring,
    (idtype, id): (libc::idtype_t, u32),
    info: *mut libc::siginfo_t,
    options: i32,
) {
    start(ring, |sqe| {
        // SAFETY: the siginfo stays, or is null.
        unsafe { sqe.prep_waitid(idtype, id, info, options) }
    });
}

#[test]
fn an_exit_and_a_kill() {
    let ring = ring();
    if !knows(&ring, WAITID, "OP_WAITID") {
        return;
    }
    let exits = start_exit("3");
    let info_of_exit = info();
    wait(&ring, (P_PID, exits.id()), info_of_exit, WEXITED);
    assert_eq!(result(next(&ring)), Ok(0));
    let want = (libc::SIGCHLD, libc::CLD_EXITED, exits.id(), 3);
    assert_eq!(told(info_of_exit), want);

    let mut killed = start_child();
    let info_of_kill = info();
    wait(&ring, (P_PID, killed.id()), info_of_kill, WEXITED);
    assert_idle(&ring);
    killed.kill().unwrap();
    assert_eq!(result(next(&ring)), Ok(0));
    let want = (libc::SIGCHLD, libc::CLD_KILLED, killed.id(), libc::SIGKILL);
    assert_eq!(told(info_of_kill), want);

    // Both are gone.
    for child in [exits, killed] {
        wait(&ring, (P_PID, child.id()), ptr::null_mut(), WEXITED);
        assert_eq!(result(next(&ring)), Err(libc::ECHILD));
    }
    tried("OP_WAITID");
}

#[test]
fn without_an_info_and_by_a_descriptor() {
    let ring = ring();
    if !knows(&ring, WAITID, "OP_WAITID") {
        return;
    }
    let mut child = start_exit("0");
    // SAFETY: no memory; the descriptor is ours.
    let pidfd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, child.id(), 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd as i32)
    };
    let by_fd = (P_PIDFD, pidfd.as_raw_fd() as u32);
    let info = info();
    wait(&ring, by_fd, info, WEXITED | WNOWAIT);
    assert_eq!(result(next(&ring)), Ok(0));
    let want = (libc::SIGCHLD, libc::CLD_EXITED, child.id(), 0);
    assert_eq!(told(info), want);
    // It was only looked at.
    wait(&ring, by_fd, ptr::null_mut(), WEXITED);
    assert_eq!(result(next(&ring)), Ok(0));
    wait(&ring, by_fd, ptr::null_mut(), WEXITED);
    assert_eq!(result(next(&ring)), Err(libc::ECHILD));
    assert!(child.wait().is_err());
}

#[test]
fn a_stop() {
    let ring = ring();
    if !knows(&ring, WAITID, "OP_WAITID") {
        return;
    }
    let mut child = start_child();
    let info = info();
    wait(&ring, (P_PID, child.id()), info, WSTOPPED);
    // SAFETY: the child is there until it is waited for, below.
    unsafe { libc::kill(child.id() as i32, libc::SIGSTOP) };
    assert_eq!(result(next(&ring)), Ok(0));
    let want = (libc::SIGCHLD, libc::CLD_STOPPED, child.id(), libc::SIGSTOP);
    assert_eq!(told(info), want);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn nothing_yet_and_a_cancel() {
    let ring = ring();
    if !knows(&ring, WAITID, "OP_WAITID") {
        return;
    }
    let mut child = start_child();
    let info_now = info();
    wait(&ring, (P_PID, child.id()), info_now, WEXITED | WNOHANG);
    assert_eq!(result(next(&ring)), Ok(0));
    assert_eq!(told(info_now), (0, 0, 0, 0));

    let info_of_cancel = info();
    wait(&ring, (P_PID, child.id()), info_of_cancel, WEXITED);
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel_matching(None, None, Some(WAITID), CancelFlags::NONE) }
            .user_data(1)
    });
    // 0 for other operations, and so says the manual page.
    assert_eq!(results(&ring), [(0, Err(libc::ECANCELED)), (1, Ok(1))]);
    assert_eq!(info_of_cancel.si_signo, 0);

    let soon = Timespec::new(0, 10_000_000);
    push(&ring, |sqe| {
        // SAFETY: there is no siginfo.
        unsafe { sqe.prep_waitid(P_PID, child.id(), ptr::null_mut(), WEXITED) }.link()
    });
    start(&ring, |sqe| {
        // SAFETY: the time stays until submit.
        unsafe { sqe.prep_link_timeout(&soon, TimeoutFlags::NONE) }.user_data(1)
    });
    // ETIME for other operations, and so says the manual page.
    let expired = here(&[("6.7", Err(libc::ETIME)), ("6.18", Ok(1))]);
    assert_eq!(results(&ring), [(0, Err(libc::ECANCELED)), (1, expired)]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn fails() {
    let ring = ring();
    if !knows(&ring, WAITID, "OP_WAITID") {
        return;
    }
    let unmapped = ptr::without_provenance_mut(8);
    let mut child = start_exit("0");
    for (who, info, options, errno) in [
        (
            (P_PID, std::process::id()),
            ptr::null_mut(),
            WEXITED,
            libc::ECHILD,
        ),
        ((P_PID, child.id()), ptr::null_mut(), 0, libc::EINVAL),
        ((P_PID, 0), ptr::null_mut(), WEXITED, libc::EINVAL),
        ((P_PIDFD, u32::MAX), ptr::null_mut(), WEXITED, libc::EINVAL),
        ((77, child.id()), ptr::null_mut(), WEXITED, libc::EINVAL),
        ((P_PID, child.id()), unmapped, WEXITED, libc::EFAULT),
    ] {
        wait(&ring, who, info, options);
        assert_eq!(result(next(&ring)), Err(errno), "{who:?} {options}");
    }
    // It was waited for, though nobody could be told.
    assert!(child.wait().is_err());
}
