//! What the types let the threads of a process do on one ring. What the kernel would is in
//! `tests/facts/matrix.rs`.

use std::thread;
use std::time::Duration;

use ringway::SetupError;
use ringway::register::register_sync_msg;

use super::child::{has, patiently};
use super::ops::{next, nop, start};
use super::*;

#[test]
fn what_the_types_allow() {
    // A shared ring is everybody's.
    let ring = ring();
    thread::scope(|scope| {
        let other = || {
            start(&ring, nop);
            assert_eq!(next(&ring).result(), Ok(0));
            assert!(ring.probe().is_ok());
        };
        scope.spawn(other).join().unwrap();
    });
    // One with an issuer is no shared ring, and deferring needs the issuer.
    for (builder, flag) in [
        (Ring::builder(8).single_issuer(), "SINGLE_ISSUER"),
        (Ring::builder(8).defer_taskrun(), "DEFER_TASKRUN"),
    ] {
        let refused = builder.build().unwrap_err().to_string();
        assert!(refused.contains(flag), "{refused}");
    }
    let alone = Ring::builder(8).defer_taskrun().build_local();
    assert!(matches!(alone, Err(SetupError::Needs { .. })), "{alone:?}");
}

/// A disabled ring goes to the thread that enables it, and a local one can be told from
/// elsewhere.
#[test]
fn a_local_ring_is_its_enablers() {
    let test = "threads::a_local_ring_is_its_enablers";
    if !has(6, 13, test, "SEND_MSG_RING") {
        return;
    }
    let builder = Ring::builder(8).single_issuer().defer_taskrun();
    let disabled = patiently(|| builder.build_disabled()).unwrap();
    assert!(disabled.registrar().register_files(&[None]).is_ok());
    let enabler = move || {
        let local = disabled.enable_local().unwrap();
        let mut slot = local.pop().expect("an empty ring");
        nop(&mut slot);
        slot.push();
        local.submit().unwrap();
        assert!(local.probe().is_ok());
        let fd = local.fd().unwrap();
        let sent = thread::scope(|scope| {
            let other = || register_sync_msg(fd, 0, 7);
            scope.spawn(other).join().unwrap()
        });
        assert_eq!(sent, Ok(()));
        let seen = [(); 2].map(|()| {
            let cqe = local.wait_one(Some(Duration::from_secs(20))).unwrap();
            cqe.expect("a completion within 20 s").user_data()
        });
        assert_eq!(seen, [0, 7]);
    };
    thread::spawn(enabler).join().unwrap();
}
