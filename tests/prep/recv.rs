//! Receiving.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;
use std::time::Duration;

use libc::{MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, MSG_WAITALL};
use ringway::Builder;
use ringway::prep::{CancelFlags, Fixed, RecvFlags, Target};

use super::child::{has, linux, tried, untried};
use super::net::{BufferRing, loopbacks, tcp, udp};
use super::*;

const NONE: RecvFlags = RecvFlags::NONE;

/// Receives into memory that stays for ever.
fn recv<'sqe, 'fd>(
    sqe: &'sqe mut Sqe,
    socket: impl Into<Target<'fd>>,
    buf: &mut [u8; 8],
    flags: i32,
    how: RecvFlags,
) -> &'sqe mut Sqe {
    // SAFETY: the tests take `memory()`, and keep their sockets open.
    unsafe { sqe.prep_recv(socket, buf.as_mut_ptr(), 8, flags, how) }
}

/// Receives into provided buffers.
fn select<'sqe, 'fd>(
    sqe: &'sqe mut Sqe,
    socket: impl Into<Target<'fd>>,
    len: u32,
    how: RecvFlags,
    group: u16,
) -> &'sqe mut Sqe {
    // SAFETY: provided buffers stay, the tests keep their sockets open.
    unsafe { sqe.prep_recv(socket, ptr::null_mut(), len, 0, how) }.buffer_select(group)
}

/// Receives into provided buffers again and again.
fn multishot<'sqe, 'fd>(
    sqe: &'sqe mut Sqe,
    socket: impl Into<Target<'fd>>,
    len: u32,
    how: RecvFlags,
    group: u16,
) -> &'sqe mut Sqe {
    // SAFETY: provided buffers stay, the tests keep their sockets open.
    unsafe { sqe.prep_recv_multishot(socket, len, 0, how) }.buffer_select(group)
}

/// Result, buffer and `MORE` of the next CQE.
type Told = (Result<u32, i32>, Option<u16>, bool);

#[track_caller]
fn told(ring: &Ring) -> Told {
    let cqe = next(ring);
    (result(cqe), cqe.buffer_id(), cqe.has_more())
}

#[track_caller]
fn cancel(ring: &Ring, user_data: u64) {
    start(ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(user_data, CancelFlags::NONE) }.user_data(u64::MAX)
    });
    let cqes = [next(ring), next(ring)];
    let found = cqes.iter().find(|cqe| cqe.user_data() == u64::MAX).unwrap();
    assert_eq!(result(*found), Ok(0));
    let last = cqes
        .iter()
        .find(|cqe| cqe.user_data() == user_data)
        .unwrap();
    assert_eq!(result(*last), Err(libc::ECANCELED));
    assert!(!last.has_more() && last.buffer_id().is_none());
    assert_idle(ring);
}

#[test]
fn recv_receives() {
    for ip in loopbacks("recv_receives") {
        let ring = ring();
        let (here, mut there) = tcp(ip);
        register_files(&ring, &[None, Some(here.as_fd())]);
        // A socket that never blocks is waited for like another.
        here.set_nonblocking(true).unwrap();
        for target in [Target::from(&here), Fixed(1).into()] {
            let buf = memory();
            start(&ring, |sqe| recv(sqe, target, buf, 0, NONE));
            assert_idle(&ring);
            there.write_all(b"data").unwrap();
            let cqe = next(&ring);
            assert_eq!((result(cqe), cqe.sock_nonempty()), (Ok(4), false));
            assert_eq!(buf, b"data....");
        }
        there.write_all(b"0123456789").unwrap();
        for (bytes, non_empty) in [(b"01234567", true), (b"89......", false)] {
            let buf = memory();
            start(&ring, |sqe| recv(sqe, &here, buf, 0, NONE));
            assert_eq!(next(&ring).sock_nonempty(), non_empty);
            assert_eq!(buf, bytes);
        }
        drop(there);
        assert_eq!(run(&ring, |sqe| recv(sqe, &here, memory(), 0, NONE)), Ok(0));
    }
    tried("OP_RECV");
}

#[test]
fn flags_reach_the_socket() {
    let ring = ring();
    let (here, there) = UnixDatagram::pair().unwrap();
    there.send(b"0123456789").unwrap();
    for (flags, want) in [
        (MSG_PEEK, Ok(8)),
        (MSG_PEEK | MSG_TRUNC, Ok(10)),
        (MSG_TRUNC, Ok(10)),
        (MSG_DONTWAIT, Err(libc::EAGAIN)),
    ] {
        let buf = memory();
        assert_eq!(run(&ring, |sqe| recv(sqe, &here, buf, flags, NONE)), want);
        assert_eq!(
            buf,
            if want.is_ok() {
                b"01234567"
            } else {
                b"........"
            }
        );
    }
}

/// Without waiting, and without trying: what remains is `EAGAIN`, although there is data.
#[test]
fn poll_first() {
    let ring = ring();
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut group = BufferRing::new(&ring, 5, 4, 8);
    group.give([0]);
    there.write_all(b"data").unwrap();
    let first = RecvFlags::POLL_FIRST;
    for (how, want) in [(first, Err(libc::EAGAIN)), (NONE, Ok(4))] {
        let got = run(&ring, |sqe| {
            recv(sqe, &here, memory(), MSG_DONTWAIT | MSG_PEEK, how)
        });
        assert_eq!(got, want);
    }
    start(&ring, |sqe| {
        // SAFETY: provided buffers stay, the socket is open until the last CQE.
        unsafe { sqe.prep_recv_multishot(&here, 0, MSG_DONTWAIT, first) }.buffer_select(5)
    });
    assert_eq!(told(&ring), (Err(libc::EAGAIN), None, false));

    let buf = memory();
    assert_eq!(run(&ring, |sqe| recv(sqe, &here, buf, 0, first)), Ok(4));
    assert_eq!(buf, b"data....");
    start(&ring, |sqe| multishot(sqe, &here, 0, first, 5));
    there.write_all(b"more").unwrap();
    assert_eq!(told(&ring), (Ok(4), Some(0), true));
}

#[test]
fn a_short_receive_breaks_a_chain_only_with_waitall() {
    for (flags, after, second) in [
        (0, None, Ok(0)),
        (MSG_WAITALL, Some(&b"4567"[..]), Ok(0)),
        (MSG_WAITALL, Some(&b""[..]), Err(libc::ECANCELED)),
    ] {
        let ring = ring();
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(b"0123").unwrap();
        let buf = memory();
        push(&ring, |sqe| recv(sqe, &here, buf, flags, NONE).link());
        start(&ring, |sqe| nop(sqe).user_data(1));
        let mut count = 4;
        if let Some(bytes) = after {
            assert_idle(&ring);
            there.write_all(bytes).unwrap();
            drop(there);
            count += bytes.len();
        }
        assert_eq!(results(&ring), [(0, Ok(count as u32)), (1, second)]);
        assert_eq!(buf[..count], b"01234567"[..count]);
    }
}

#[test]
fn can_be_cancelled() {
    let ring = ring();
    let (here, _there) = UnixStream::pair().unwrap();
    start(&ring, |sqe| {
        recv(sqe, &here, memory(), 0, NONE).user_data(1)
    });
    assert_idle(&ring);
    cancel(&ring, 1);
}

#[test]
fn provided_buffers() {
    let ring = ring();
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut group = BufferRing::new(&ring, 5, 4, 8);
    there.write_all(b"0123456789").unwrap();
    start(&ring, |sqe| select(sqe, &here, 0, NONE, 4));
    assert_eq!(told(&ring), (Err(libc::ENOBUFS), None, false));
    start(&ring, |sqe| select(sqe, &here, 0, NONE, 5));
    assert_eq!(told(&ring), (Err(libc::ENOBUFS), None, false));
    group.give([3, 1]);
    for (len, want, bytes) in [
        (1, (Ok(1), Some(3), false), &b"0"[..]),
        (0, (Ok(8), Some(1), false), b"12345678"),
    ] {
        start(&ring, |sqe| select(sqe, &here, len, NONE, 5));
        assert_eq!(told(&ring), want);
        assert_eq!(group.bytes(want.1.unwrap(), want.0.unwrap()), bytes);
    }
}

/// A group of small buffers, and the order in which the kernel takes them.
struct Small {
    group: BufferRing,
    order: std::collections::VecDeque<u16>,
}

impl Small {
    const SIZE: u32 = 4;

    /// As group 5, with buffers whose order is not that of their numbers.
    fn new(ring: &Ring) -> Self {
        let mut group = BufferRing::new(ring, 5, 16, Self::SIZE as usize);
        let order = std::collections::VecDeque::from_iter((0..16).map(|n| n * 7 % 16));
        group.give(order.iter().copied());
        Self { group, order }
    }

    /// The bytes that a CQE speaks of, and in how many buffers they are.
    #[track_caller]
    fn take(&mut self, (res, id, _): Told) -> (Vec<u8>, usize) {
        let (mut bytes, mut count, mut left) = (Vec::new(), 0, res.unwrap());
        assert_eq!(id, self.order.front().copied());
        while left > 0 {
            let id = self.order.pop_front().unwrap();
            let len = left.min(Self::SIZE);
            bytes.extend(self.group.bytes(id, len));
            (count, left) = (count + 1, left - len);
        }
        (bytes, count)
    }
}

#[test]
fn bundle_fills_many_buffers() {
    if !has(6, 10, "recv::bundle_fills_many_buffers", "bundles") {
        return;
    }
    let data = b"0123456789abcdefghijklmnopqr";
    for again_and_again in [false, true] {
        let ring = ring();
        let mut small = Small::new(&ring);
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(data).unwrap();
        if again_and_again {
            start(&ring, |sqe| multishot(sqe, &here, 0, RecvFlags::BUNDLE, 5));
        }
        let (mut received, mut most) = (Vec::new(), 0);
        while received.len() < data.len() {
            if !again_and_again {
                start(&ring, |sqe| select(sqe, &here, 0, RecvFlags::BUNDLE, 5));
            }
            let told = told(&ring);
            assert_eq!(told.2, again_and_again);
            let (bytes, count) = small.take(told);
            received.extend(bytes);
            most = most.max(count);
        }
        assert_eq!(received, data);
        // Bundles began with one buffer at a time.
        assert_eq!(most > 1, linux(6, 18), "{most} buffers filled at once");
    }
    let ring = ring();
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(data).unwrap();
    start(&ring, |sqe| select(sqe, &here, 0, RecvFlags::BUNDLE, 4));
    assert_eq!(told(&ring), (Err(libc::ENOENT), None, false));
}

#[test]
fn multishot_receives_again_and_again() {
    let ring = ring();
    let mut small = Small::new(&ring);
    let (here, mut there) = UnixStream::pair().unwrap();
    start(&ring, |sqe| multishot(sqe, &here, 0, NONE, 5).user_data(1));
    for bytes in [&b"0123"[..], b"4", b"56"] {
        assert_idle(&ring);
        there.write_all(bytes).unwrap();
        let told = told(&ring);
        assert!(told.2);
        assert_eq!(small.take(told), (bytes.to_vec(), 1));
    }
    cancel(&ring, 1);

    // The end of the stream.
    there.write_all(b"0123456").unwrap();
    drop(there);
    start(&ring, |sqe| multishot(sqe, &here, 0, NONE, 5));
    for (bytes, more) in [(b"0123", true), (b"456.", true)] {
        let told = told(&ring);
        assert_eq!(told.2, more);
        let received = small.take(told).0;
        assert_eq!(received, bytes[..received.len()]);
    }
    assert_eq!(told(&ring), (Ok(0), None, false));
}

#[test]
fn multishot_ends_without_buffers() {
    let ring = ring();
    let mut group = BufferRing::new(&ring, 5, 2, 4);
    group.give([1, 0]);
    let (here, mut there) = UnixStream::pair().unwrap();
    start(&ring, |sqe| multishot(sqe, &here, 0, NONE, 5));
    there.write_all(b"0123456789").unwrap();
    assert_eq!(told(&ring), (Ok(4), Some(1), true));
    assert_eq!(told(&ring), (Ok(4), Some(0), true));
    assert_eq!(told(&ring), (Err(libc::ENOBUFS), None, false));
    // What was not received is still there.
    group.give([1]);
    start(&ring, |sqe| multishot(sqe, &here, 0, NONE, 5));
    assert_eq!(told(&ring), (Ok(2), Some(1), true));
    assert_eq!(group.bytes(1, 2), b"89");
}

/// The last CQE, too, has data.
#[test]
fn multishot_ends_when_the_cq_is_full() {
    let ring = Ring::builder(2).cq_entries(2).build().unwrap();
    let mut small = Small::new(&ring);
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(b"0123456789abcdefghij").unwrap();
    start(&ring, |sqe| multishot(sqe, &here, 0, NONE, 5));
    for (bytes, more) in [(b"0123", true), (b"4567", true), (b"89ab", false)] {
        let told = told(&ring);
        assert_eq!(told.2, more);
        assert_eq!(small.take(told).0, bytes);
    }
    assert_idle(&ring);
}

/// As much at a time, and as much in all.
#[test]
fn multishot_with_limits() {
    if !has(
        6,
        17,
        "recv::multishot_with_limits",
        "limits of a multishot receive",
    ) {
        return;
    }
    let ring = ring();
    let mut small = Small::new(&ring);
    let (here, mut there) = UnixStream::pair().unwrap();
    let data = b"0123456789abcdefghij";
    there.write_all(data).unwrap();
    start(&ring, |sqe| {
        let sqe = multishot(sqe, &here, 3, NONE, 5);
        // SAFETY: this is a multishot receive.
        unsafe { sqe.recv_limit(7) }
    });
    for (bytes, more) in [(b"012", true), (b"345", true), (b"678", false)] {
        let told = told(&ring);
        assert_eq!(told.2, more);
        assert_eq!(small.take(told).0, bytes);
    }
    start(&ring, |sqe| {
        let sqe = multishot(sqe, &here, 0, RecvFlags::BUNDLE, 5);
        // SAFETY: this is a multishot receive.
        unsafe { sqe.recv_limit(5) }
    });
    let mut received = Vec::new();
    loop {
        let told = told(&ring);
        received.extend(small.take(told).0);
        if !told.2 {
            break;
        }
    }
    assert!((5..11).contains(&received.len()), "{}", received.len());
    assert_eq!(received, data[9..9 + received.len()]);
    assert_idle(&ring);
}

#[test]
fn multishot_of_datagrams() {
    for ip in loopbacks("multishot_of_datagrams") {
        let ring = ring();
        let mut small = Small::new(&ring);
        let (here, there) = udp(ip);
        let addr = here.local_addr().unwrap();
        start(&ring, |sqe| multishot(sqe, &here, 0, NONE, 5));
        // The second is cut off where its buffer ends.
        for (bytes, received) in [(&b"01"[..], &b"01"[..]), (b"234567", b"2345")] {
            there.send_to(bytes, addr).unwrap();
            let told = told(&ring);
            assert!(told.2);
            assert_eq!(small.take(told).0, received);
        }
        // An empty one looks like the end of a stream.
        there.send_to(b"", addr).unwrap();
        assert_eq!(told(&ring), (Ok(0), None, false));
    }
}

#[test]
fn fails() {
    let ring = ring();
    let (pipe, _writer) = io::pipe().unwrap();
    let (here, mut there) = UnixStream::pair().unwrap();
    there.write_all(b"data").unwrap();
    // Newer kernels would take a registered buffer, and there is none.
    let fixed = super::child::here(&[("5.18", libc::EINVAL), ("7.2", libc::EFAULT)]);
    for (target, how, errno) in [
        (Target::from(&pipe), NONE, libc::ENOTSOCK),
        (Fixed(0).into(), NONE, libc::EBADF),
        (Target::from(&here), RecvFlags::MULTISHOT, libc::EINVAL),
        (Target::from(&here), RecvFlags::from_bits(4), fixed),
        (
            Target::from(&here),
            RecvFlags::from_bits(1 << 15),
            libc::EINVAL,
        ),
    ] {
        let buf = memory();
        let got = run(&ring, |sqe| recv(sqe, target, buf, 0, how));
        assert_eq!(got, Err(errno), "{how:?}");
        assert_eq!(buf, b"........");
    }
    start(&ring, |sqe| {
        // SAFETY: the socket is open until the CQE.
        unsafe { sqe.prep_recv_multishot(&here, 0, MSG_WAITALL, NONE) }.buffer_select(5)
    });
    assert_eq!(told(&ring), (Err(libc::EINVAL), None, false));
    start(&ring, |sqe| {
        // SAFETY: the socket is open until the CQE.
        unsafe { sqe.prep_recv_multishot(&here, 0, 0, NONE) }
    });
    assert_eq!(told(&ring), (Err(libc::EINVAL), None, false));
    start(&ring, |sqe| multishot(sqe, &here, 0, NONE, 4));
    assert_eq!(told(&ring), (Err(libc::ENOBUFS), None, false));
}

/// What can be seen of it without the network card that it needs. On a kernel with
/// `ZCRX_REG_NODEV` an interface queue without a device could be registered, and data
/// received by way of copies.
#[test]
fn recv_zc_needs_an_interface_queue() {
    const RECV_ZC: u8 = 58;
    let ring = Builder::new(8).single_issuer().defer_taskrun().cqe32();
    let ring = ring.build_local().unwrap();
    if !ring.probe().unwrap().supports(RECV_ZC) {
        return untried("OP_RECV_ZC", "it came with Linux 6.15");
    }
    let (here, _there) = tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    // The second answer is none that an unknown opcode would get.
    for (group, errno) in [(None, libc::EINVAL), (Some(5), libc::EOPNOTSUPP)] {
        let mut slot = ring.pop().unwrap();
        // SAFETY: the socket is open until the CQE.
        let sqe = unsafe { slot.prep_recv_zc(&here, 0, 0, NONE) };
        if let Some(group) = group {
            sqe.buffer_select(group);
        }
        slot.push();
        ring.submit().unwrap();
        let cqe = ring
            .wait_one(Some(Duration::from_secs(20)))
            .unwrap()
            .unwrap();
        assert_eq!((result(cqe), cqe.has_more()), (Err(errno), false));
    }
    untried(
        "OP_RECV_ZC",
        "needs a network card that splits headers from data",
    );
}
