//! Messages to a member that has gone reach nobody.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use std::{fs, thread};

use ringway::prep::MsgRingFlags;
use ringway::set::{Peer, SendError, Set};
use ringway::{Local, Ring};

use super::child::{self, has, in_child, patiently};
use super::{each_way, member, next, patient, send, set};

/// A member that has come and gone.
fn departed(set: &Set) -> Peer {
    let set = set.clone();
    let thread = thread::spawn(move || member(&set).peer().clone());
    thread.join().unwrap()
}

fn ring() -> Ring {
    patiently(|| Ring::builder(8).build()).unwrap()
}

/// That none of these rings got anything.
fn untouched(rings: &[Ring]) {
    for ring in rings {
        assert_eq!(ring.cq().reap(), None);
    }
}

#[test]
fn a_message_is_refused_and_no_other_ring_gets_it() {
    for builder in each_way() {
        let set = builder.build().unwrap();
        let here = member(&set);
        let gone = departed(&set);
        // Were the number free, one of these would have it.
        let rings = [(); 16].map(|()| ring());
        for ring in &rings {
            let number = ring.fd().unwrap().as_raw_fd();
            assert_ne!(number, gone.as_fd().as_raw_fd());
        }
        assert!(gone.is_gone());
        assert_eq!(set.peer(gone.id()).map(|peer| peer.id()), None);
        // SAFETY: `gone` stays until the CQE.
        unsafe { send(&here, &gone, 1, 1, 7) };
        let cqe = next(&here);
        assert_eq!(cqe.user_data(), 7);
        assert_eq!(cqe.result().unwrap_err().raw(), libc::EBADFD);
        assert_eq!(gone.send(1, 1), Err(SendError::Gone));
        assert_eq!(gone.wake(1), Err(SendError::Gone));
        untouched(&rings);
    }
}

/// The kernel looks the number up when the message's turn has come: here long after.
#[test]
fn a_message_that_waits_while_the_member_goes() {
    let set = set();
    let here = member(&set);
    let (come, go) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    let there = thread::spawn({
        let set = set.clone();
        move || {
            let member = member(&set);
            come.0.send(member.peer().clone()).unwrap();
            let _ = go.1.recv();
        }
    });
    let to = come.1.recv().unwrap();

    let (reader, mut writer) = std::io::pipe().unwrap();
    let byte = Box::leak(Box::new([0u8; 1]));
    let mut batch = here.pop_batch(2).unwrap();
    let mut sqes = batch.iter_mut();
    // SAFETY: the byte stays for ever, pipe and peer until the CQEs.
    unsafe {
        let read = sqes.next().unwrap();
        read.prep_read(reader.as_fd(), byte.as_mut_ptr(), 1, u64::MAX);
        read.user_data(1).link();
        let message = sqes.next().unwrap();
        message.prep_msg_ring(&to, 0, 9, MsgRingFlags::NONE);
        message.user_data(2);
    }
    batch.push();
    here.submit().unwrap();
    drop(go.0);
    there.join().unwrap();
    let rings = [(); 16].map(|()| ring());
    writer.write_all(b"x").unwrap();

    let cqe = next(&here);
    assert_eq!((cqe.user_data(), cqe.result()), (1, Ok(1)));
    let cqe = next(&here);
    assert_eq!(cqe.user_data(), 2);
    // Where a worker does the read, as kernels before 6.4 have pipes read, the ring was looked
    // up before: the message is lost.
    let expected = child::here(&[("5.18", Ok(0)), ("6.4", Err(libc::EBADFD))]);
    assert_eq!(cqe.result().map_err(|errno| errno.raw()), expected);
    untouched(&rings);
}

#[test]
fn a_descriptor_is_refused_too() {
    let set = set();
    let here = member(&set);
    let gone = departed(&set);
    let null = fs::File::open("/dev/null").unwrap();
    here.registrar()
        .register_files(&[Some(null.as_fd())])
        .unwrap();
    let mut slot = here.pop().unwrap();
    let source = ringway::prep::Fixed(0);
    // SAFETY: `gone` stays until the CQE.
    unsafe { slot.prep_msg_ring_fd_alloc(&gone, source, 1, MsgRingFlags::NONE) };
    slot.push();
    here.submit().unwrap();
    assert_eq!(next(&here).result().unwrap_err().raw(), libc::EBADFD);
}

/// What came before is there, what comes after is refused, and the ring goes on.
#[test]
fn a_retired_member_reaps_what_was_accepted() {
    let sync = has(
        6,
        13,
        "gone::a_retired_member_reaps_what_was_accepted",
        "SEND_MSG_RING",
    );
    for builder in each_way() {
        let set = builder.build().unwrap();
        let here = member(&set);
        let peer = here.peer().clone();
        let id = here.id();
        let from = set.clone();
        thread::spawn(move || {
            let member = member(&from);
            let peer = from.peer(id).expect("it is there");
            // SAFETY: the peer stays until the CQE.
            unsafe { send(&member, &peer, 1, 11, 7) };
            assert_eq!(next(&member).result(), Ok(0));
            if sync {
                peer.send(2, 22).unwrap();
            }
        })
        .join()
        .unwrap();
        here.retire();
        assert!(peer.is_gone());
        assert_eq!(peer.send(3, 33), Err(SendError::Gone));
        assert!(set.peers().is_empty());
        let cqe = next(&here);
        assert_eq!((cqe.user_data(), cqe.res()), (1, 11));
        if sync {
            let cqe = next(&here);
            assert_eq!((cqe.user_data(), cqe.res()), (2, 22));
        }
        assert_eq!(here.reap(), None);
        let mut slot = here.pop().unwrap();
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(4);
        slot.push();
        here.submit().unwrap();
        assert_eq!(next(&here).user_data(), 4);
    }
}

/// Rings that this process has open.
fn open_rings() -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap();
    let links = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    links
        .filter(|link| link.to_string_lossy().contains("io_uring"))
        .count()
}

fn mapped_rings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| line.contains("io_uring"))
        .count()
}

/// An address keeps a number, and no ring.
#[test]
fn a_ring_goes_with_its_thread() {
    in_child("gone::a_ring_goes_with_its_thread", || {
        let before = super::child::traces();
        let set = set();
        let kept = thread::spawn({
            let set = set.clone();
            move || patient(|| set.with(|ring| ring.peer().clone())).unwrap()
        });
        let kept = kept.join().unwrap();
        let held = departed(&set);
        assert_eq!((open_rings(), mapped_rings()), (0, 0));
        let here = member(&set);
        assert_eq!(open_rings(), 2);
        assert_ne!(mapped_rings(), 0);
        drop((here, set, kept, held));
        assert_eq!(super::child::traces(), before);
    });
}

/// An address is good for any ring, also one outside the set.
#[test]
fn a_foreign_ring_may_send_too() {
    let set = set();
    let here = member(&set);
    let foreign: Local = patiently(|| Ring::builder(8).build_local()).unwrap();
    let mut slot = foreign.pop().unwrap();
    // SAFETY: the member stays until the CQE, and knows 5.
    unsafe { slot.prep_msg_ring(here.peer(), 6, 5, MsgRingFlags::NONE) };
    slot.push();
    foreign.submit().unwrap();
    let sent = foreign.wait_one(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(sent.expect("a CQE").result(), Ok(0));
    let cqe = next(&here);
    assert_eq!((cqe.user_data(), cqe.res()), (5, 6));
}
