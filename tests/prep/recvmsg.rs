//! Receiving messages.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use libc::{MSG_CTRUNC, MSG_DONTWAIT, MSG_TRUNC, MSG_WAITALL};
use ringway::prep::{CancelFlags, ControlMessage, Fixed, RecvFlags, RecvmsgOut, Target};

use super::child::tried;
use super::net::{
    BufferRing, Control, RawAddr, address, loopbacks, message, message_with, set_option, udp,
};
use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NONE: RecvFlags = RecvFlags::NONE;

/// A message that outlives every operation.
fn leak(msg: libc::msghdr) -> &'static mut libc::msghdr {
    Box::leak(Box::new(msg))
}

/// The array is copied at submit; `msg` itself is written to when the message is there,
/// whatever `io_uring_prep_recvmsg(3)` says of data that is passed in.
#[test]
fn recvmsg_receives_a_message() {
    for ip in loopbacks("recvmsg_receives_a_message") {
        let ring = ring();
        let (here, there) = udp(ip);
        let (a, b) = (memory::<2>(), memory::<4>());
        let addr = Box::leak(Box::new(RawAddr::empty()));
        let mut iovecs = [iovec(a), iovec(b)];
        let msg = leak(message(&mut iovecs));
        msg.msg_name = addr.as_mut_ptr().cast();
        msg.msg_namelen = addr.len;
        start(&ring, |sqe| {
            // SAFETY: the memory stays, the array stays until submit.
            unsafe { sqe.prep_recvmsg(&here, msg, 0, NONE) }
        });
        iovecs.fill(iovec(&mut []));
        msg.msg_namelen = 77;
        msg.msg_flags = 77;
        assert_idle(&ring);
        there
            .send_to(b"01234567", here.local_addr().unwrap())
            .unwrap();
        assert_eq!(result(next(&ring)), Ok(6));
        assert_eq!((&*a, &*b), (b"01", b"2345"));
        let sender = there.local_addr().unwrap();
        assert_eq!(address(addr.bytes()), sender);
        assert_eq!(msg.msg_namelen, RawAddr::from(sender).len);
        assert_eq!(msg.msg_flags, MSG_TRUNC);
        assert_eq!(iovecs[0].iov_len, 0);
    }
    tried("OP_RECVMSG");
}

#[test]
fn recvmsg_receives_a_descriptor() {
    let ring = ring();
    let (here, there) = UnixStream::pair().unwrap();
    register_files(&ring, &[None, Some(here.as_fd())]);
    let (reader, writer) = io::pipe().unwrap();
    let mut control = Control::rights(writer.as_raw_fd());
    let mut iovecs = [iovec(memory::<1>())];
    let msg = message_with(&mut iovecs, &mut control);
    let received = Box::leak(Box::new(Control([0; 64])));
    let with_room = leak(message_with(&mut iovecs, received));
    let without = leak(message(&mut iovecs));
    for (msg_in, flags) in [(with_room, 0), (without, MSG_CTRUNC)] {
        start(&ring, |sqe| {
            // SAFETY: the memory stays, the array stays until the CQE.
            unsafe { sqe.prep_recvmsg(Fixed(1), msg_in, 0, NONE) }
        });
        // SAFETY: what the message names is valid.
        let ret = unsafe { libc::sendmsg(there.as_raw_fd(), &msg, 0) };
        assert_eq!(ret, 1);
        assert_eq!(result(next(&ring)), Ok(1));
        assert_eq!(msg_in.msg_flags, flags);
        let len = if flags == 0 { Control::len() } else { 0 };
        assert_eq!(msg_in.msg_controllen, len);
    }
    drop(writer);
    File::from(received.descriptor()).write_all(b"!").unwrap();
    assert_eq!(io::read_to_string(reader).unwrap(), "!");
}

#[test]
fn recvmsg_into_provided_buffers() {
    let ring = ring();
    let mut group = BufferRing::new(&ring, 5, 4, 8);
    group.give([2, 3]);
    let (here, there) = UnixDatagram::pair().unwrap();
    let mut nowhere = [iovec(&mut []); 2];
    nowhere[0].iov_len = 3;
    for (iovecs, want, bytes) in [
        (0, (Ok(8), Some(2)), &b"01234567"[..]),
        (1, (Ok(3), Some(3)), b"012"),
        (2, (Err(libc::EINVAL), None), b""),
        (0, (Err(libc::ENOBUFS), None), b""),
    ] {
        there.send(b"0123456789").unwrap();
        let msg = leak(message(&mut nowhere[..iovecs]));
        start(&ring, |sqe| {
            // SAFETY: provided buffers stay, as the message does; the array stays until
            // the CQE.
            unsafe { sqe.prep_recvmsg(&here, msg, 0, NONE) }.buffer_select(5)
        });
        let cqe = next(&ring);
        assert_eq!((result(cqe), cqe.buffer_id()), want);
        if let (Ok(len), Some(id)) = want {
            assert_eq!(group.bytes(id, len), bytes);
        }
    }
}

/// Without waiting, and without trying: what remains is `EAGAIN`, although there is data.
#[test]
fn poll_first() {
    let ring = ring();
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(b"0123").unwrap();
    let first = RecvFlags::POLL_FIRST;
    for (flags, how, want) in [
        (MSG_DONTWAIT, first, Err(libc::EAGAIN)),
        (MSG_DONTWAIT, NONE, Ok(2)),
        (0, first, Ok(2)),
        (MSG_DONTWAIT, NONE, Err(libc::EAGAIN)),
    ] {
        let mut iovecs = [iovec(memory::<2>())];
        let msg = leak(message(&mut iovecs));
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the array stays until the CQE.
            unsafe { sqe.prep_recvmsg(&here, msg, flags, how) }
        });
        assert_eq!(got, want, "{flags} {how:?}");
    }
}

#[test]
fn fails() {
    let ring = ring();
    let (pipe, _writer) = io::pipe().unwrap();
    let (here, there) = UnixDatagram::pair().unwrap();
    there.send(b"data").unwrap();
    let mut iovecs = vec![iovec(&mut []); 1025];
    let too_many = child::here(&[("5.18", libc::EINVAL), ("6.18", libc::EMSGSIZE)]);
    for (target, count, how, errno) in [
        (Target::from(&pipe), 0, NONE, libc::ENOTSOCK),
        (Fixed(0).into(), 0, NONE, libc::EBADF),
        (Target::from(&here), 1025, NONE, too_many),
        (Target::from(&here), 0, RecvFlags::BUNDLE, libc::EINVAL),
        (Target::from(&here), 0, RecvFlags::MULTISHOT, libc::EINVAL),
        (
            Target::from(&here),
            0,
            RecvFlags::from_bits(1 << 15),
            libc::EINVAL,
        ),
    ] {
        let msg = leak(message(&mut iovecs[..count]));
        let got = run(&ring, |sqe| {
            // SAFETY: the message stays, the array stays until the CQE.
            unsafe { sqe.prep_recvmsg(target, msg, 0, how) }
        });
        assert_eq!(got, Err(errno), "{how:?}");
    }
}

/// A message that gives so much room to name and control data.
fn room(name: u32, control: usize) -> libc::msghdr {
    let mut msg = message(&mut []);
    msg.msg_namelen = name;
    msg.msg_controllen = control as _;
    msg
}

fn multishot<'sqe, 'fd>(
    sqe: &'sqe mut Sqe,
    socket: impl Into<Target<'fd>>,
    msg: &'static libc::msghdr,
    flags: i32,
) -> &'sqe mut Sqe {
    // SAFETY: message and provided buffers stay, the tests keep their sockets open.
    unsafe { sqe.prep_recvmsg_multishot(socket, msg, flags, NONE) }.buffer_select(5)
}

#[test]
fn multishot_receives_message_after_message() {
    for ip in loopbacks("multishot_receives_message_after_message") {
        let ring = ring();
        let mut group = BufferRing::new(&ring, 5, 4, 256);
        group.give([2, 0, 3]);
        let (here, there) = udp(ip);
        let (level, option, kind) = match ip {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, libc::IP_PKTINFO),
            IpAddr::V6(_) => (
                libc::IPPROTO_IPV6,
                libc::IPV6_RECVPKTINFO,
                libc::IPV6_PKTINFO,
            ),
        };
        set_option(&here, level, option, 1);
        set_option(&here, libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1);
        let mut submitted = room(28, 96);
        start(&ring, |sqe| {
            // SAFETY: provided buffers stay, the message stays until submit.
            unsafe { sqe.prep_recvmsg_multishot(&here, &submitted, 0, NONE) }
                .buffer_select(5)
                .user_data(1)
        });
        submitted.msg_namelen = 0;
        // It was in use up to here: the overwriting was not optimised away.
        assert_eq!(submitted.msg_namelen, 0);

        for (id, bytes) in [(2, &b"one"[..]), (0, b"three")] {
            assert_idle(&ring);
            there.send_to(bytes, here.local_addr().unwrap()).unwrap();
            let cqe = next(&ring);
            assert_eq!((cqe.buffer_id(), cqe.has_more()), (Some(id), true));
            let buf = group.bytes(id, result(cqe).unwrap());
            assert_eq!(buf.len(), 16 + 28 + 96 + bytes.len());
            let out = RecvmsgOut::parse(&buf, &room(28, 96)).unwrap();
            assert_eq!(address(out.name()), there.local_addr().unwrap());
            assert_eq!(out.namelen() as usize, out.name().len());
            assert_eq!(
                (out.payload(), out.payloadlen()),
                (bytes, bytes.len() as u32)
            );
            assert_eq!(out.flags(), 0);
            let messages: Vec<ControlMessage> = out.control_messages().collect();
            assert_eq!(messages.len(), 2, "{messages:?}");
            let time = (libc::SOL_SOCKET, libc::SCM_TIMESTAMP);
            assert!(messages.iter().any(|it| (it.level, it.kind) == time));
            // The address that the packet went to is in it.
            let packet = messages.iter().find(|it| it.level == level).unwrap();
            assert_eq!(packet.kind, kind);
            let found = match ip {
                IpAddr::V4(ip) => packet.data[8..12] == ip.octets(),
                IpAddr::V6(ip) => packet.data[..16] == ip.octets(),
            };
            assert!(found, "{packet:?}");
        }
        // An empty one looks like the end of a stream, but has a buffer.
        there.send_to(b"", here.local_addr().unwrap()).unwrap();
        let cqe = next(&ring);
        assert_eq!((cqe.buffer_id(), cqe.has_more()), (Some(3), false));
        let buf = group.bytes(3, result(cqe).unwrap());
        let out = RecvmsgOut::parse(&buf, &room(28, 96)).unwrap();
        assert_eq!(address(out.name()), there.local_addr().unwrap());
        assert_eq!((out.payload(), out.payloadlen()), (&b""[..], 0));
        assert_idle(&ring);
    }
}

#[test]
fn multishot_cuts_off_what_has_no_room() {
    let (here, there) = udp(LOCALHOST);
    set_option(&here, libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1);
    // Name and control data have too little room, then the data.
    for (name, control, size, flags, want) in [
        (4, 8, 64, 0, (4, &b"01234567"[..], 8, MSG_CTRUNC)),
        (16, 64, 100, 0, (16, b"0123", 4, MSG_TRUNC)),
        (16, 64, 100, MSG_TRUNC, (16, b"0123", 8, MSG_TRUNC)),
    ] {
        let ring = ring();
        let mut group = BufferRing::new(&ring, 5, 1, size);
        group.give([0]);
        let msg = leak(room(name, control));
        start(&ring, |sqe| multishot(sqe, &here, msg, flags));
        there
            .send_to(b"01234567", here.local_addr().unwrap())
            .unwrap();
        let len = result(next(&ring)).unwrap();
        let buf = group.bytes(0, len);
        let out = RecvmsgOut::parse(&buf, msg).unwrap();
        let (name, payload, payloadlen, flags) = want;
        assert_eq!((out.name().len(), out.namelen()), (name, 16));
        assert_eq!((out.payload(), out.payloadlen()), (payload, payloadlen));
        assert_eq!(out.flags(), flags);
        assert_eq!(out.control().is_empty(), flags == MSG_CTRUNC);
    }
}

#[test]
fn multishot_ends() {
    let (here, there) = UnixDatagram::pair().unwrap();
    for (size, results) in [
        (64, &[Ok(16 + 28 + 4), Err(libc::ENOBUFS)][..]),
        // No byte of data has room in it, then not even what comes before.
        (16 + 28, &[Ok(16 + 28)]),
        (16 + 27, &[Err(libc::EFAULT)]),
    ] {
        let ring = ring();
        let mut group = BufferRing::new(&ring, 5, 1, size);
        group.give([0]);
        let data = [(); 2].map(|()| there.send(b"data").unwrap());
        let msg = leak(room(28, 0));
        start(&ring, |sqe| multishot(sqe, &here, msg, 0));
        for (i, want) in results.iter().enumerate() {
            let cqe = next(&ring);
            let more = i + 1 < results.len();
            assert_eq!((result(cqe), cqe.has_more()), (*want, more), "{size}");
        }
        assert_idle(&ring);
        here.set_nonblocking(true).unwrap();
        while here.recv(&mut [0; 4]).is_ok() {}
        assert_eq!(data, [4; 2]);
    }

    let ring = ring();
    let mut group = BufferRing::new(&ring, 5, 1, 64);
    group.give([0]);
    let msg = leak(room(0, 0));
    start(&ring, |sqe| multishot(sqe, &here, msg, 0).user_data(1));
    assert_idle(&ring);
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
    });
    assert_eq!(
        super::results(&ring),
        [(1, Err(libc::ECANCELED)), (2, Ok(0))]
    );
}

#[test]
fn multishot_fails() {
    let ring = ring();
    let (here, _there) = UnixDatagram::pair().unwrap();
    let mut nowhere = [iovec(&mut []); 2];
    let (good, two_buffers) = (leak(room(0, 0)), leak(message(&mut nowhere)));
    let got = run(&ring, |sqe| multishot(sqe, &here, good, MSG_WAITALL));
    assert_eq!(got, Err(libc::EINVAL));
    let got = run(&ring, |sqe| multishot(sqe, &here, two_buffers, 0));
    assert_eq!(got, Err(libc::EINVAL));
    let got = run(&ring, |sqe| {
        // SAFETY: the message stays, the socket is open until the CQE.
        unsafe { sqe.prep_recvmsg_multishot(&here, good, 0, NONE) }
    });
    assert_eq!(got, Err(libc::EINVAL), "no group");
    let got = run(&ring, |sqe| multishot(sqe, &here, good, 0));
    assert_eq!(got, Err(libc::ENOBUFS), "no such group");
}

/// A buffer as the kernel writes it.
fn written(header: [u32; 4], rest: &[u8]) -> Vec<u8> {
    let header = header.into_iter().flat_map(u32::to_ne_bytes);
    header.chain(rest.iter().copied()).collect()
}

/// A control message: the length that it claims, and its data with padding.
fn control_message(len: usize, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(7i32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn parse_finds_what_is_where() {
    let bytes = b"name....controlpayload";
    for (header, len, want) in [
        ([4, 3, 7, 5], 38, Some([&b"name"[..], b"con", b"payload"])),
        (
            [8, 7, 7, 5],
            38,
            Some([b"name....", b"control", b"payload"]),
        ),
        // More than there was room for, or than the buffer has.
        (
            [9, 7, 8, 5],
            38,
            Some([b"name....", b"control", b"payload"]),
        ),
        (
            [u32::MAX, 0, u32::MAX, 5],
            34,
            Some([b"name....", b"", b"pay"]),
        ),
        ([8, 7, 3, 5], 38, Some([b"name....", b"control", b"pay"])),
        ([0, 0, 0, 5], 31, Some([b""; 3])),
        ([8, 8, 7, 5], 38, None),
        ([8, u32::MAX, 7, 5], 38, None),
    ] {
        let buf = written(header, bytes);
        let out = RecvmsgOut::parse(&buf[..len], &room(8, 7));
        let found = out.map(|out| [out.name(), out.control(), out.payload()]);
        assert_eq!(found, want, "{header:?} {len}");
        if let Some(out) = out {
            let numbers = [out.namelen(), out.payloadlen(), out.flags() as u32];
            assert_eq!(numbers, [header[0], header[2], 5]);
        }
    }
    // Too short for what was submitted.
    let buf = written([0; 4], bytes);
    for len in 0..31 {
        assert!(RecvmsgOut::parse(&buf[..len], &room(8, 7)).is_none());
    }
    for (name, control) in [(u32::MAX, 0), (0, usize::MAX), (u32::MAX, usize::MAX)] {
        assert!(RecvmsgOut::parse(&buf, &room(name, control)).is_none());
    }
}

#[test]
fn control_messages_end_at_one_that_does_not_fit() {
    const WORD: usize = size_of::<usize>();
    const HEADER: usize = WORD + 8;
    let first = control_message(HEADER + WORD - 1, 1, &[b'a'; WORD]);
    let found = |last: Vec<u8>| -> Vec<(i32, Vec<u8>)> {
        let control = [&*first, &*last].concat();
        let buf = written([0, control.len() as u32, 0, 0], &control);
        let out = RecvmsgOut::parse(&buf, &room(0, control.len())).unwrap();
        let mut messages = out.control_messages();
        let found = messages.by_ref().map(|it| {
            assert_eq!(it.level, 7);
            (it.kind, it.data.to_vec())
        });
        let found = found.collect();
        assert_eq!(messages.next(), None);
        found
    };
    let one = (1, vec![b'a'; WORD - 1]);
    for (last, data) in [
        (control_message(HEADER, 2, b""), Some(&b""[..])),
        // The last one may lack its padding.
        (control_message(HEADER + 1, 2, b"b"), Some(b"b")),
        (control_message(HEADER + 2, 2, b"b"), None),
        (control_message(HEADER - 1, 2, b""), None),
        (control_message(0, 2, b""), None),
        (control_message(usize::MAX, 2, b"b"), None),
        (control_message(usize::MAX / 2 + 2, 2, b"b"), None),
        (control_message(HEADER, 2, b"")[1..].to_vec(), None),
        (vec![0], None),
        (vec![], None),
    ] {
        let want = data.map(|data| (2, data.to_vec()));
        let want: Vec<_> = [one.clone()].into_iter().chain(want).collect();
        assert_eq!(found(last), want);
    }
}

/// Whatever the bytes are.
#[test]
fn parse_never_reads_outside_the_buffer() {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut parsed = 0;
    for _ in 0..20_000 {
        let len = random(96) as usize;
        // Small numbers, so that many of them fit.
        let mut buf: Vec<u8> = (0..len).map(|_| (random(2) * random(64)) as u8).collect();
        for high in [1, 2, 3, 5, 6, 7, 9, 10, 11] {
            if let Some(byte) = buf.get_mut(high) {
                *byte *= random(16).saturating_sub(14) as u8;
            }
        }
        let msg = room(random(32) as u32, random(48) as usize);
        let Some(out) = RecvmsgOut::parse(&buf, &msg) else {
            continue;
        };
        parsed += 1;
        let inside = |part: &[u8]| {
            let (all, part) = (buf.as_ptr_range(), part.as_ptr_range());
            all.start <= part.start && part.end <= all.end
        };
        assert!(
            [out.name(), out.control(), out.payload()]
                .iter()
                .all(|it| inside(it))
        );
        assert!(out.control_messages().all(|it| inside(it.data)));
    }
    assert!(parsed > 1000, "{parsed}");
}
