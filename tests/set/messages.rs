//! Two threads, two rings: 10,000 messages in order plus one descriptor; kill and join;
//! who cannot get a ring is told so.

use std::io::Write;
use std::sync::mpsc;
use std::thread;

use ringway::prep::{Fixed, MsgRingFlags};
use ringway::set::{Member, Peer, Set};

use super::child::{has, tried};
use super::{LOST, each_way, member, next};

const MESSAGES: u64 = 10_000;
/// What is not a message's number.
const PIPE: u64 = MESSAGES;
const READ: u64 = MESSAGES + 1;
const KILL: u64 = MESSAGES + 2;

/// Starts a thread with a ring and room for files, which `body` gets; its address.
fn spawn<T: Send + 'static>(
    set: &Set,
    body: impl FnOnce(Member) -> T + Send + 'static,
) -> (Peer, thread::JoinHandle<T>) {
    let (here, there) = mpsc::sync_channel(1);
    let set = set.clone();
    let thread = thread::spawn(move || {
        let member = member(&set);
        member.registrar().register_files_sparse(4).unwrap();
        here.send(member.peer().clone()).unwrap();
        body(member)
    });
    (there.recv_timeout(LOST).expect("a ring"), thread)
}

/// Checks the order of what comes, takes a pipe's end, reads from it, and goes on until it
/// is killed. How many messages there were.
fn receive(member: &Member) -> u64 {
    let mut expected = 0;
    let text = Box::leak(Box::new([0u8; 5]));
    loop {
        let cqe = next(member);
        match cqe.user_data() {
            KILL => return expected,
            PIPE => {
                let pipe = Fixed(cqe.result().expect("a place in the table"));
                let mut slot = member.pop().unwrap();
                // SAFETY: the text stays for ever, and is looked at after the CQE.
                unsafe { slot.prep_read(pipe, text.as_mut_ptr(), 5, u64::MAX) }.user_data(READ);
                slot.push();
                member.submit().unwrap();
            }
            READ => {
                assert_eq!(cqe.result(), Ok(5));
                assert_eq!(text, b"hello");
            }
            number => {
                assert_eq!(number, expected, "out of order");
                assert_eq!(cqe.res(), number as i32);
                expected += 1;
            }
        }
    }
}

/// As many at a time as fit; half of them without a CQE here.
fn send_all(member: &Member, to: &Peer) {
    let mut sent = 0;
    while sent < MESSAGES {
        let mut batch = member.pop_batch(50).expect("the SQ is empty");
        for sqe in &mut batch {
            // SAFETY: `to` stays until the CQEs, reaped below.
            let sqe = unsafe { sqe.prep_msg_ring(to, sent as i32, sent, MsgRingFlags::NONE) };
            sqe.user_data(sent);
            if sent % 2 == 0 {
                sqe.skip_success();
            }
            sent += 1;
        }
        batch.push();
        member.submit().unwrap();
        for odd in (sent - 49..sent).step_by(2) {
            let cqe = next(member);
            assert_eq!((cqe.user_data(), cqe.result()), (odd, Ok(0)));
        }
    }
}

fn send_pipe(member: &Member, to: &Peer) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let registrar = member.registrar();
    let place = (&reader).into();
    assert_eq!(registrar.register_files_update(0, &[place]), Ok(1));
    drop(reader);
    let mut slot = member.pop().unwrap();
    // SAFETY: `to` stays until the CQE below; the receiver knows PIPE.
    unsafe { slot.prep_msg_ring_fd_alloc(to, Fixed(0), PIPE, MsgRingFlags::NONE) }.user_data(PIPE);
    slot.push();
    member.submit().unwrap();
    let cqe = next(member);
    assert_eq!(cqe.user_data(), PIPE);
    cqe.result().expect("the file was taken");
    // From here on only the receiver's table has the reading end.
    registrar.unregister_files().unwrap();
    writer.write_all(b"hello").unwrap();
}

#[test]
fn come_in_order_until_a_kill() {
    if !has(
        6,
        13,
        "messages::come_in_order_until_a_kill",
        "SEND_MSG_RING, by which a thread is killed from outside",
    ) {
        return;
    }
    for builder in each_way() {
        let set = builder.max_members(2).build().unwrap();
        let (to, receiver) = spawn(&set, |member| receive(&member));
        let (address, (sent, all_sent)) = (to.clone(), mpsc::channel());
        let (from, sender) = spawn(&set, move |member| {
            send_all(&member, &address);
            send_pipe(&member, &address);
            sent.send(()).unwrap();
            assert_eq!(next(&member).user_data(), KILL);
        });
        all_sent.recv_timeout(LOST).expect("the sender's end");
        from.send(KILL, 0).unwrap();
        sender.join().unwrap();
        assert!(from.is_gone() && !to.is_gone());
        to.send(KILL, 0).unwrap();
        assert_eq!(receiver.join().unwrap(), MESSAGES);
        assert!(to.is_gone());
        assert!(set.peers().is_empty());
    }
    tried("OP_MSG_RING");
}

/// Far more than the receiver's CQ holds, before it reaps the first.
#[test]
fn what_does_not_fit_waits_in_order() {
    for builder in each_way() {
        let set = builder.build().unwrap();
        let here = member(&set);
        let to = here.peer().clone();
        let from = set.clone();
        thread::spawn(move || send_all(&member(&from), &to))
            .join()
            .unwrap();
        assert!(u64::from(here.cq_entries()) < MESSAGES / 4);
        let mut cqes = [ringway::Cqe::default(); 64];
        let mut expected = 0;
        loop {
            let count = here.reap_batch(&mut cqes);
            for cqe in &cqes[..count] {
                assert_eq!(cqe.user_data(), expected, "out of order");
                expected += 1;
            }
            if count == 0 {
                break;
            }
        }
        assert_eq!(expected, MESSAGES);
        assert_eq!(here.cq_overflow(), 0, "some were dropped");
    }
}
