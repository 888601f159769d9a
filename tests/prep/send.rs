//! Sending.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::{ptr, thread};

use libc::{MSG_DONTWAIT, MSG_OOB, MSG_WAITALL};
use ringway::prep::{CancelFlags, Fixed, SendFlags, Target};

use super::child::{has, here, in_child, tried};
use super::net::{
    BufferRing, Control, RawAddr, assert_receives, loopbacks, message, message_with, tcp, udp,
};
use super::*;

/// Sends constant bytes.
fn send<'sqe, 'fd>(
    sqe: &'sqe mut Sqe,
    socket: impl Into<Target<'fd>>,
    bytes: &'static [u8],
    flags: i32,
    how: SendFlags,
) -> &'sqe mut Sqe {
    // SAFETY: the bytes are constant, the tests keep their sockets open.
    unsafe { sqe.prep_send(socket, bytes.as_ptr(), bytes.len() as u32, flags, how) }
}

/// Writes until the socket is full. It never blocks from now on.
fn fill(socket: &mut UnixStream) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut filled = 0;
    loop {
        match socket.write(&[0; 4096]) {
            Ok(count) => filled += count,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return filled;
            }
        }
    }
}

#[test]
fn send_sends() {
    for ip in loopbacks("send_sends") {
        let ring = ring();
        let (here, mut there) = tcp(ip);
        register_files(&ring, &[None, Some(here.as_fd())]);
        let buf = memory::<8>();
        buf.copy_from_slice(b"01234567");
        for (target, len) in [
            (Target::from(&here), 8),
            (Target::from(&here), 3),
            (Fixed(1).into(), 5),
        ] {
            let got = run(&ring, |sqe| {
                // SAFETY: the memory stays, the socket is open until the CQE.
                unsafe { sqe.prep_send(target, buf.as_ptr(), len, 0, SendFlags::NONE) }
            });
            assert_eq!(got, Ok(len));
            assert_receives(&mut there, &buf[..len as usize]);
        }

        // The flags reach the socket.
        let how = SendFlags::NONE;
        assert_eq!(
            run(&ring, |sqe| send(sqe, &here, b"!", MSG_OOB, how)),
            Ok(1)
        );
        let (fd, mut urgent) = (there.as_raw_fd(), 0u8);
        // SAFETY: the call writes one byte.
        let ret = unsafe { libc::recv(fd, (&raw mut urgent).cast(), 1, MSG_OOB) };
        assert_eq!((ret, urgent), (1, b'!'));
    }
    tried("OP_SEND");
}

/// Also in a socket that never blocks.
#[test]
fn send_waits_for_room() {
    let ring = ring();
    let how = SendFlags::NONE;
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let filled = fill(&mut here);
    let got = run(&ring, |sqe| send(sqe, &here, b"data", MSG_DONTWAIT, how));
    assert_eq!(got, Err(libc::EAGAIN));
    start(&ring, |sqe| send(sqe, &here, b"data", 0, how));
    assert_idle(&ring);
    assert_receives(&mut there, &vec![0; filled]);
    assert_eq!(result(next(&ring)), Ok(4));
    assert_receives(&mut there, b"data");

    fill(&mut here);
    start(&ring, |sqe| send(sqe, &here, b"data", 0, how).user_data(1));
    assert_idle(&ring);
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
    });
    assert_eq!(results(&ring), [(1, Err(libc::ECANCELED)), (2, Ok(0))]);
}

/// More than a socket has room for.
const MUCH: usize = 4 << 20;

#[test]
fn a_short_send_breaks_a_chain_only_with_waitall() {
    let much = vec![0; MUCH].leak();
    let chain = |ring: &Ring, socket: &UnixStream, flags| {
        push(ring, |sqe| {
            let how = SendFlags::NONE;
            // SAFETY: the memory stays, the socket is open until the CQE.
            unsafe { sqe.prep_send(socket, much.as_ptr(), MUCH as u32, flags, how) }.link()
        });
        start(ring, |sqe| nop(sqe).user_data(1));
    };
    let ring = ring();
    let (here, _there) = UnixStream::pair().unwrap();
    chain(&ring, &here, 0);
    let [(_, sent), second] = results(&ring);
    assert!((1..MUCH as u32).contains(&sent.unwrap()), "{sent:?}");
    assert_eq!(second, (1, Ok(0)));

    let (here, mut there) = UnixStream::pair().unwrap();
    chain(&ring, &here, MSG_WAITALL);
    assert_idle(&ring);
    let reader = thread::spawn(move || there.read_exact(&mut vec![0; MUCH]));
    assert_eq!(results(&ring), [(0, Ok(MUCH as u32)), (1, Ok(0))]);
    reader.join().unwrap().unwrap();

    let (here, there) = UnixStream::pair().unwrap();
    chain(&ring, &here, MSG_WAITALL);
    assert_idle(&ring);
    drop(there);
    let [(_, sent), second] = results(&ring);
    assert!((1..MUCH as u32).contains(&sent.unwrap()), "{sent:?}");
    assert_eq!(second, (1, Err(libc::ECANCELED)));
}

#[test]
fn a_peer_that_has_gone_is_no_signal() {
    in_child("send::a_peer_that_has_gone_is_no_signal", || {
        // SAFETY: Rust ignores this signal; here it would end the process.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let ring = ring();
        let (here, _) = UnixStream::pair().unwrap();
        let got = run(&ring, |sqe| send(sqe, &here, b"!", 0, SendFlags::NONE));
        assert_eq!(got, Err(libc::EPIPE));
        let msg = message(&mut []);
        let got = run(&ring, |sqe| {
            // SAFETY: the message stays until the CQE, the socket is open until then.
            unsafe { sqe.prep_sendmsg(&here, &msg, 0, SendFlags::NONE) }
        });
        assert_eq!(got, Err(libc::EPIPE));
    });
}

/// Without waiting, and without trying: what remains is `EAGAIN`, although there is room.
#[test]
fn poll_first() {
    let ring = ring();
    let (here, mut there) = UnixStream::pair().unwrap();
    let data = memory::<4>();
    let mut iovecs = [iovec(data)];
    let msg = message(&mut iovecs);
    for (flags, how, want) in [
        (MSG_DONTWAIT, SendFlags::POLL_FIRST, Err(libc::EAGAIN)),
        (MSG_DONTWAIT, SendFlags::NONE, Ok(4)),
        (0, SendFlags::POLL_FIRST, Ok(4)),
    ] {
        let sent = run(&ring, |sqe| send(sqe, &here, b"data", flags, how));
        let message_sent = run(&ring, |sqe| {
            // SAFETY: the message stays until the CQE, the socket is open until then.
            unsafe { sqe.prep_sendmsg(&here, &msg, flags, how) }
        });
        assert_eq!([sent, message_sent], [want; 2]);
        if want.is_ok() {
            assert_receives(&mut there, b"data....");
        }
    }
    there.set_nonblocking(true).unwrap();
    assert!(there.read(&mut [0]).is_err(), "nothing more was sent");
}

#[test]
fn sendto_sends_to_an_address() {
    for ip in loopbacks("sendto_sends_to_an_address") {
        let ring = ring();
        let (here, there) = udp(ip);
        let peer = RawAddr::from(there.local_addr().unwrap());
        let mut addr = peer.clone();
        start(&ring, |sqe| {
            let (buf, how) = (b"data".as_ptr(), SendFlags::NONE);
            // SAFETY: the bytes are constant, the address stays until submit.
            unsafe { sqe.prep_sendto(&here, buf, 3, 0, addr.as_ptr(), addr.len, how) }.force_async()
        });
        addr = RawAddr::empty();
        assert_eq!(result(next(&ring)), Ok(3));
        // The address was in use up to here: the overwriting was not optimised away.
        assert_eq!(addr.bytes()[0], 0);
        let mut received = [0; 8];
        let (count, from) = there.recv_from(&mut received).unwrap();
        assert_eq!(&received[..count], b"dat");
        assert_eq!(from, here.local_addr().unwrap());

        // The last length is that of the address when only 16 bits of it are looked at.
        for (addr, len, errno) in [
            (ptr::null(), 0, libc::EDESTADDRREQ),
            (peer.as_ptr(), 3, libc::EINVAL),
            (peer.as_ptr(), 129, libc::EINVAL),
            (peer.as_ptr(), (1 << 16) + peer.len, libc::EINVAL),
        ] {
            let got = run(&ring, |sqe| {
                let sqe = send(sqe, &here, b"data", 0, SendFlags::NONE);
                // SAFETY: the address stays, and nobody reads so much.
                unsafe { sqe.send_set_addr(addr, len) }
            });
            assert_eq!(got, Err(errno), "{len}");
        }
    }
}

/// Buffers and address of a message; `msg` and all but the buffers are copied at submit.
#[test]
fn sendmsg_sends_a_message() {
    for ip in loopbacks("sendmsg_sends_a_message") {
        let ring = ring();
        let (here, there) = udp(ip);
        let peer = RawAddr::from(there.local_addr().unwrap());
        let (a, b) = (memory::<2>(), memory::<3>());
        a.copy_from_slice(b"ab");
        b.copy_from_slice(b"cde");
        let mut addr = peer.clone();
        let mut iovecs = [iovec(b), iovec(a)];
        let mut msg = message(&mut iovecs);
        msg.msg_name = addr.as_mut_ptr().cast();
        msg.msg_namelen = addr.len;
        start(&ring, |sqe| {
            // SAFETY: the memory stays, the message stays until submit.
            unsafe { sqe.prep_sendmsg(&here, &msg, 0, SendFlags::NONE) }.force_async()
        });
        msg = message(&mut []);
        iovecs.fill(iovec(&mut []));
        addr = RawAddr::empty();
        assert_eq!(result(next(&ring)), Ok(5));
        let mut received = [0; 8];
        let (count, from) = there.recv_from(&mut received).unwrap();
        assert_eq!(&received[..count], b"cdeab");
        assert_eq!(from, here.local_addr().unwrap());
        // All was in use up to here: the overwriting was not optimised away.
        assert_eq!(
            (msg.msg_iovlen, iovecs[1].iov_len, addr.bytes()[0]),
            (0, 0, 0)
        );
    }
    tried("OP_SENDMSG");
}

/// Control data is read when the message is sent, not at submit, whatever
/// `io_uring_prep_sendmsg(3)` says of data that is passed in.
#[test]
fn the_control_data_is_looked_at_late() {
    let ring = ring();
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let filled = fill(&mut here);
    let (first, second) = (io::pipe().unwrap(), io::pipe().unwrap());
    let control = Box::leak(Box::new(Control::rights(first.1.as_raw_fd())));
    let data = memory::<1>();
    let mut iovecs = [iovec(data)];
    let msg = message_with(&mut iovecs, control);
    start(&ring, |sqe| {
        // SAFETY: the memory stays, the message stays until submit.
        unsafe { sqe.prep_sendmsg(&here, &msg, 0, SendFlags::NONE) }
    });
    control.set_rights(second.1.as_raw_fd());
    assert_idle(&ring);
    assert_receives(&mut there, &vec![0; filled]);
    assert_eq!(result(next(&ring)), Ok(1));

    let mut received = Control([0; 64]);
    let mut msg = message_with(&mut iovecs, &mut received);
    // SAFETY: what the message names is valid.
    let ret = unsafe { libc::recvmsg(there.as_raw_fd(), &mut msg, 0) };
    assert_eq!(ret, 1);
    drop((first.1, second.1));
    let mut writer = File::from(received.descriptor());
    writer.write_all(b"!").unwrap();
    drop(writer);
    assert_eq!(io::read_to_string(second.0).unwrap(), "!");
    assert_eq!(io::read_to_string(first.0).unwrap(), "");
}

/// The array is copied at submit, as that of a message.
#[test]
fn vectorized() {
    if !has(6, 17, "send::vectorized", "SEND_VECTORIZED") {
        return;
    }
    let ring = ring();
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let filled = fill(&mut here);
    let (a, b) = (memory::<1>(), memory::<2>());
    let mut iovecs = [iovec(b), iovec(a)];
    start(&ring, |sqe| {
        let array = iovecs.as_ptr().cast();
        // SAFETY: the memory stays, the array stays until submit.
        unsafe { sqe.prep_send(&here, array, 2, MSG_WAITALL, SendFlags::VECTORIZED) }
    });
    iovecs.fill(iovec(&mut []));
    a.copy_from_slice(b"a");
    b.copy_from_slice(b"bc");
    assert_idle(&ring);
    assert_receives(&mut there, &vec![0; filled]);
    assert_eq!(result(next(&ring)), Ok(3));
    assert_eq!(iovecs[0].iov_len, 0);
    assert_receives(&mut there, b"bca");
}

#[test]
fn provided_buffers() {
    if !has(6, 10, "send::provided_buffers", "sending provided buffers") {
        return;
    }
    let ring = ring();
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut group = BufferRing::new(&ring, 5, 4, 8);
    let send = |group, len| {
        start(&ring, |sqe| {
            // SAFETY: provided buffers stay, the socket is open until the CQE.
            unsafe { sqe.prep_send(&here, ptr::null(), len, 0, SendFlags::NONE) }
                .buffer_select(group)
        });
        let cqe = next(&ring);
        (result(cqe), cqe.buffer_id())
    };
    assert_eq!(send(4, 0), (Err(libc::ENOENT), None));
    assert_eq!(send(5, 0), (Err(libc::ENOBUFS), None));
    group.give_bytes(3, b"three");
    group.give_bytes(1, b"one");
    assert_eq!(send(5, 0), (Ok(5), Some(3)));
    assert_eq!(send(5, 2), (Ok(2), Some(1)));
    assert_eq!(send(5, 0), (Err(libc::ENOBUFS), None));
    assert_receives(&mut there, b"threeon");
}

/// `io_uring_prep_send(3)` says that the length must be 0, and that there is one CQE.
#[test]
fn bundle_sends_many_buffers() {
    if !has(6, 10, "send::bundle_sends_many_buffers", "bundles") {
        return;
    }
    let ring = ring();
    let (here, mut there) = UnixStream::pair().unwrap();
    let begin = |group, len| {
        start(&ring, |sqe| {
            // SAFETY: provided buffers stay, the socket is open until the last CQE.
            unsafe { sqe.prep_send_bundle(&here, len, 0, SendFlags::NONE) }.buffer_select(group)
        });
    };
    let told = || {
        let cqe = next(&ring);
        (result(cqe), cqe.buffer_id(), cqe.has_more())
    };
    let mut group = BufferRing::new(&ring, 5, 4, 8);
    group.give_bytes(3, b"three");
    group.give_bytes(0, b"four");
    group.give_bytes(2, b"two");
    begin(5, 0);
    assert_eq!(told(), (Ok(12), Some(3), false));
    assert_receives(&mut there, b"threefourtwo");
    begin(5, 0);
    assert_eq!(told(), (Err(libc::ENOBUFS), None, false));

    for (id, bytes) in [(1, b"aaaa"), (3, b"bbbb"), (0, b"cccc")] {
        group.give_bytes(id, bytes);
    }
    begin(5, 8);
    assert_eq!(told(), (Ok(8), Some(1), true));
    assert_eq!(told(), (Ok(4), Some(0), false));
    assert_receives(&mut there, b"aaaabbbbcccc");
    // What is longer than all that may be sent is cut off.
    group.give_bytes(2, b"dddd");
    group.give_bytes(3, b"ee");
    begin(5, 3);
    assert_eq!(told(), (Ok(3), Some(2), true));
    assert_eq!(told(), (Ok(2), Some(3), false));
    assert_receives(&mut there, b"dddee");

    // 256 buffers at a time.
    let mut group = BufferRing::new(&ring, 6, 512, 1);
    let bytes: Vec<u8> = (0..300).map(|id| (id % 251) as u8).collect();
    for (id, byte) in (0..).zip(&bytes) {
        group.give_bytes(id, &[*byte]);
    }
    begin(6, 0);
    assert_eq!(told(), (Ok(256), Some(0), true));
    assert_eq!(told(), (Ok(44), Some(256), false));
    assert_receives(&mut there, &bytes);
    assert_idle(&ring);
}

#[test]
fn bundle_waits_for_room() {
    if !has(6, 10, "send::bundle_waits_for_room", "bundles") {
        return;
    }
    let ring = ring();
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let filled = fill(&mut here);
    const SIZE: usize = 1 << 16;
    let mut group = BufferRing::new(&ring, 5, 8, SIZE);
    for id in 0..8 {
        group.give_bytes(id, &[id as u8; SIZE]);
    }
    start(&ring, |sqe| {
        // SAFETY: provided buffers stay, the socket is open until the last CQE.
        unsafe { sqe.prep_send_bundle(&here, 0, 0, SendFlags::NONE) }.buffer_select(5)
    });
    assert_idle(&ring);
    let reader = thread::spawn(move || {
        assert_receives(&mut there, &vec![0; filled]);
        for id in 0..8 {
            assert_receives(&mut there, &[id; SIZE]);
        }
    });
    let mut sent = 0;
    loop {
        let cqe = next(&ring);
        sent += result(cqe).unwrap();
        if !cqe.has_more() {
            break;
        }
    }
    assert_eq!(sent as usize, 8 * SIZE);
    reader.join().unwrap();
}

#[test]
fn fails() {
    let ring = ring();
    let (pipe, _writer) = io::pipe().unwrap();
    let (stream, _stream) = UnixStream::pair().unwrap();
    let (datagrams, _datagrams) = UnixDatagram::pair().unwrap();
    let (gone, _) = UnixStream::pair().unwrap();
    let much = vec![0; MUCH].leak();
    let none = SendFlags::NONE;
    // Newer kernels would take a registered buffer, and there is none.
    let fixed = here(&[("5.18", libc::EINVAL), ("7.2", libc::EFAULT)]);
    for (target, how, errno) in [
        (Target::from(&pipe), none, libc::ENOTSOCK),
        (Fixed(0).into(), none, libc::EBADF),
        (Target::from(&gone), none, libc::EPIPE),
        (Target::from(&datagrams), none, libc::EMSGSIZE),
        (Target::from(&stream), SendFlags::FIXED_BUF, fixed),
        (
            Target::from(&stream),
            SendFlags::ZC_REPORT_USAGE,
            libc::EINVAL,
        ),
        (Target::from(&stream), SendFlags::from_bits(2), libc::EINVAL),
        (
            Target::from(&stream),
            SendFlags::from_bits(1 << 15),
            libc::EINVAL,
        ),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the socket is open until the CQE.
            unsafe { sqe.prep_send(target, much.as_ptr(), MUCH as u32, 0, how) }
        });
        assert_eq!(got, Err(errno), "{how:?}");
        let mut iovecs = [iovec(much)];
        let msg = message(&mut iovecs);
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the message stays until the CQE.
            unsafe { sqe.prep_sendmsg(target, &msg, 0, how) }
        });
        // Messages take none.
        let is_fixed = how == SendFlags::FIXED_BUF;
        let errno = if is_fixed { libc::EINVAL } else { errno };
        assert_eq!(got, Err(errno), "{how:?}");
    }

    let mut iovecs = vec![iovec(&mut []); 1025];
    let msg = message(&mut iovecs);
    let too_many = here(&[("5.18", libc::EINVAL), ("6.18", libc::EMSGSIZE)]);
    for (how, group, errno) in [
        (none, None, too_many),
        (none, Some(5), libc::EOPNOTSUPP),
        (SendFlags::BUNDLE, None, libc::EINVAL),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the message stays until the CQE.
            let sqe = unsafe { sqe.prep_sendmsg(&stream, &msg, 0, how) };
            match group {
                Some(group) => sqe.buffer_select(group),
                None => sqe,
            }
        });
        assert_eq!(got, Err(errno), "{how:?} {group:?}");
    }
}
