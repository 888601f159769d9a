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
    let no_ring = File::open("/dev/null").unwrap();
    let sent = register_sync_msg(no_ring.as_fd(), 0, 0);
    assert_eq!(sent.unwrap_err().raw(), libc::EBADFD);
}

/// On a ring of mixed sizes the flags say how large the CQE is, round after round.
#[test]
fn of_mixed_sizes() {
    if !has(6, 18, "msg::of_mixed_sizes", "CQE_MIXED") {
        return;
    }
    let ring = Ring::builder(8).cqe_mixed().build().unwrap();
    const BIG: u32 = 1 << 15;
    const SKIP: u32 = 1 << 5;
    for round in 0..100 {
        let flags = [BIG, 0, SKIP, BIG][round as usize % 4];
        let fd = ring.fd().unwrap();
        register_sync_msg_cqe_flags(fd, 3, round, flags).unwrap();
        let expected = (flags != SKIP).then_some((round, Ok(3), [0, 0]));
        let got = ring.cq().reap_big();
        let got = got.map(|cqe| (cqe.user_data(), cqe.result(), cqe.extra()));
        assert_eq!(got, expected, "{round}");
    }
}
