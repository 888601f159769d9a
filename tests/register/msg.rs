//! Messages from no ring.

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use ringway::register::{register_sync_msg, register_sync_msg_cqe_flags};

use super::child::{has, tried};
use super::*;

#[test]
fn arrive_as_they_were_sent() {
    if !has(6, 13, "msg::arrive_as_they_were_sent", "SEND_MSG_RING") {
        return;
    }
    let ring = ring();
    let fd = ring.fd().unwrap();
    register_sync_msg(fd, 3, 7).unwrap();
    register_sync_msg(fd, u32::MAX, u64::MAX).unwrap();
    // F_MORE, and the buffer 5.
    let flags = 1 << 1 | 1 | 5 << 16;
    register_sync_msg_cqe_flags(fd, 0, 8, flags).unwrap();
    let seen = [(); 3].map(|()| {
        let cqe = ring.cq().reap().expect("there when the call returned");
        (cqe.user_data(), cqe.res(), cqe.flags())
    });
    assert_eq!(seen, [(7, 3, 0), (u64::MAX, -1, 0), (8, 0, flags)]);
    assert_eq!(ring.cq().reap(), None);
    tried("REGISTER_SEND_MSG_RING");
}

/// From a thread that has no ring, to one whose thread waits.
#[test]
fn wake_a_waiting_thread() {
    if !has(6, 13, "msg::wake_a_waiting_thread", "SEND_MSG_RING") {
        return;
    }
    let local = Ring::builder(8)
        .single_issuer()
        .defer_taskrun()
        .build_local()
        .unwrap();
    let fd = local.fd().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| register_sync_msg(fd, 0, 7).unwrap());
        let cqe = local.wait_one(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(cqe.expect("the message within 20 s").user_data(), 7);
    });
}

#[test]
fn what_is_refused() {
    if !has(6, 13, "msg::what_is_refused", "SEND_MSG_RING") {
        return;
    }
    let send = |to, flags| {
        let sent = register_sync_msg_cqe_flags(to, 0, 0, flags);
        sent.map_err(|errno| errno.raw())
    };
    let file = File::open("/dev/null").unwrap();
    assert_eq!(send(file.as_fd(), 0), Err(libc::EBADFD));

    let ring = ring();
    // F_32 and F_SKIP.
    for flags in [1 << 15, 1 << 5, 1 << 15 | 1 << 1] {
        assert_eq!(send(ring.fd().unwrap(), flags), Err(libc::EINVAL));
    }
    assert_eq!(ring.cq().ready(), 0);
}
