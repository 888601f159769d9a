//! Sending without a copy.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;

use libc::MSG_DONTWAIT;
use ringway::prep::{Fixed, SendFlags, Target, ZcUsage};

use super::child::{self, has, linux, tried};
use super::net::{RawAddr, assert_receives, loopbacks, message, tcp, udp};
use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The result of a zero-copy send, and what its notification says if it has one.
type Told = (Result<u32, i32>, Option<ZcUsage>);

#[track_caller]
fn told(ring: &Ring) -> Told {
    let first = next(ring);
    assert!(!first.is_notif());
    assert_eq!(ZcUsage::of(&first), None);
    let usage = first.has_more().then(|| {
        let second = next(ring);
        assert_eq!(second.user_data(), first.user_data());
        assert!(second.is_notif() && !second.has_more());
        // `io_uring_prep_send_zc(3)` speaks of a number of bytes.
        assert!([0, i32::MIN].contains(&second.res()), "{second:?}");
        ZcUsage::of(&second).unwrap()
    });
    assert_idle(ring);
    (result(first), usage)
}

#[track_caller]
fn send(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) -> Told {
    start(ring, |sqe| prep(sqe).user_data(7));
    told(ring)
}

/// Bytes that are sent.
fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// Bytes that differ from each other, enough of them for zero-copy to be worthwhile.
fn data() -> &'static [u8] {
    (0..50_000u32)
        .map(|n| (n % 251) as u8)
        .collect::<Vec<_>>()
        .leak()
}

#[test]
fn send_zc_sends_and_tells_twice() {
    for ip in loopbacks("send_zc_sends_and_tells_twice") {
        let ring = ring();
        let (here, mut there) = tcp(ip);
        register_files(&ring, &[None, Some(here.as_fd())]);
        let data = data();
        let len = data.len() as u32;
        // Nothing leaves this machine, so that all of it is copied.
        for (target, how, usage) in [
            (Target::from(&here), SendFlags::NONE, ZcUsage::InPlace),
            (Fixed(1).into(), SendFlags::ZC_REPORT_USAGE, ZcUsage::Copied),
        ] {
            let sent = send(&ring, |sqe| {
                // SAFETY: the memory stays, the socket is open until the first CQE.
                unsafe { sqe.prep_send_zc(target, data.as_ptr(), len, libc::MSG_WAITALL, how) }
            });
            assert_eq!(sent, (Ok(len), Some(usage)), "{how:?}");
            assert_receives(&mut there, data);
        }
    }
    tried("OP_SEND_ZC");
}

#[test]
fn send_zc_to_an_address() {
    for ip in loopbacks("send_zc_to_an_address") {
        let ring = ring();
        let (here, there) = udp(ip);
        let peer = RawAddr::from(there.local_addr().unwrap());
        let mut addr = peer.clone();
        start(&ring, |sqe| {
            let (buf, none) = (b"data".as_ptr(), SendFlags::NONE);
            // SAFETY: the bytes are constant, the address stays until submit.
            unsafe {
                sqe.prep_send_zc(&here, buf, 4, 0, none)
                    .send_set_addr(addr.as_ptr(), addr.len)
            }
            .force_async()
        });
        addr = RawAddr::empty();
        assert_eq!(told(&ring), (Ok(4), Some(ZcUsage::InPlace)));
        assert_eq!(addr.bytes()[0], 0);
        let mut received = [0; 8];
        let (count, from) = there.recv_from(&mut received).unwrap();
        assert_eq!(&received[..count], b"data");
        assert_eq!(from, here.local_addr().unwrap());
    }
}

#[test]
fn send_zc_fixed_sends_from_a_registered_buffer() {
    let ring = ring();
    let (here, mut there) = tcp(LOCALHOST);
    let (other, data) = (vec![9; 4096].leak(), data());
    register_buffers(&ring, &[part(other), part(data)]);
    let send = |from: usize, len, index| {
        send(&ring, |sqe| {
            let (buf, flags) = (data.as_ptr().wrapping_add(from), libc::MSG_WAITALL);
            let how = SendFlags::ZC_REPORT_USAGE;
            // SAFETY: registered memory stays, the socket is open until the first CQE.
            unsafe { sqe.prep_send_zc_fixed(&here, buf, len, flags, how, index) }
        })
    };
    assert_eq!(send(10, 40_000, 1), (Ok(40_000), Some(ZcUsage::Copied)));
    assert_receives(&mut there, &data[10..40_010]);
    // Nothing was sent: that is reported as a copy. Old kernels report one or the other.
    for (from, len, index) in [(10, 50_000, 1), (10, 40_000, 0), (10, 40_000, 2)] {
        let sent = send(from, len, index);
        assert_eq!(sent.0, Err(libc::EFAULT));
        assert!(sent.1 == Some(ZcUsage::Copied) || !linux(6, 12));
    }
}

#[test]
fn sendmsg_zc_sends_a_message() {
    let ring = ring();
    let (here, mut there) = tcp(LOCALHOST);
    let (low, high) = data().split_at(20_000);
    let mut iovecs = [part(high), part(low)];
    for (how, usage) in [
        (SendFlags::NONE, ZcUsage::InPlace),
        (SendFlags::ZC_REPORT_USAGE, ZcUsage::Copied),
    ] {
        let msg = message(&mut iovecs);
        let sent = send(&ring, |sqe| {
            // SAFETY: the memory stays, the message stays until the CQE.
            unsafe { sqe.prep_sendmsg_zc(&here, &msg, libc::MSG_WAITALL, how) }
        });
        assert_eq!(sent, (Ok(50_000), Some(usage)), "{how:?}");
        assert_receives(&mut there, high);
        assert_receives(&mut there, low);
    }
    tried("OP_SENDMSG_ZC");
}

/// Message and array are copied at submit.
#[test]
fn sendmsg_zc_fixed_sends_from_a_registered_buffer() {
    let test = "zc::sendmsg_zc_fixed_sends_from_a_registered_buffer";
    if !has(6, 15, test, "SENDMSG_ZC with a registered buffer") {
        return;
    }
    let ring = ring();
    let (here, mut there) = tcp(LOCALHOST);
    let (other, data) = (vec![9; 4096].leak(), data());
    register_buffers(&ring, &[part(other), part(data)]);
    let begin = |parts: [&[u8]; 2], index| {
        let mut iovecs = parts.map(part);
        let mut msg = message(&mut iovecs);
        start(&ring, |sqe| {
            let (flags, how) = (libc::MSG_WAITALL, SendFlags::ZC_REPORT_USAGE);
            // SAFETY: registered memory stays, the message stays until submit.
            unsafe { sqe.prep_sendmsg_zc_fixed(&here, &msg, flags, how, index) }.force_async()
        });
        msg = message(&mut []);
        iovecs.fill(part(&[]));
        let told = told(&ring);
        assert_eq!((msg.msg_iovlen, iovecs[0].iov_len), (0, 0));
        told
    };
    let (low, high) = data.split_at(30_000);
    let sent = begin([high, &low[..10_000]], 1);
    assert_eq!(sent, (Ok(30_000), Some(ZcUsage::Copied)));
    assert_receives(&mut there, high);
    assert_receives(&mut there, &low[..10_000]);
    for (parts, index) in [([high, other], 1), ([low, high], 0), ([low, high], 2)] {
        let sent = begin(parts, index);
        assert_eq!(sent, (Err(libc::EFAULT), Some(ZcUsage::Copied)), "{index}");
    }
}

/// The array is copied at submit.
#[test]
fn vectorized() {
    if !has(6, 17, "zc::vectorized", "SEND_VECTORIZED") {
        return;
    }
    let ring = ring();
    let (here, mut there) = tcp(LOCALHOST);
    let data = data();
    register_buffers(&ring, &[part(data)]);
    let (low, high) = data.split_at(30_000);
    let begin = |fixed| {
        let mut iovecs = [part(high), part(low)];
        start(&ring, |sqe| {
            let (array, flags) = (iovecs.as_ptr().cast(), libc::MSG_WAITALL);
            let how = SendFlags::VECTORIZED;
            // SAFETY: the memory stays, the array stays until submit.
            let sqe = unsafe {
                match fixed {
                    false => sqe.prep_send_zc(&here, array, 2, flags, how),
                    true => sqe.prep_send_zc_fixed(&here, array, 2, flags, how, 0),
                }
            };
            sqe.force_async()
        });
        iovecs.fill(part(&[]));
        let told = told(&ring);
        assert_eq!(iovecs[0].iov_len, 0);
        told
    };
    assert_eq!(begin(false), (Ok(50_000), Some(ZcUsage::InPlace)));
    assert_receives(&mut there, high);
    assert_receives(&mut there, low);
    // That is what a message is for; newer kernels do it.
    let fixed = child::here(&[
        ("6.17", Err(libc::EFAULT)),
        ("6.18.44", Err(libc::EINVAL)),
        ("7.2", Ok(50_000)),
    ]);
    assert_eq!(begin(true).0, fixed);
}

/// Both operations, with one byte.
fn send_byte(ring: &Ring, target: Target, flags: i32, how: SendFlags) -> [Told; 2] {
    let mut iovecs = [part(b"!")];
    let msg = message(&mut iovecs);
    // SAFETY: the byte is constant, the tests keep their sockets open.
    let sent = send(ring, |sqe| unsafe {
        sqe.prep_send_zc(target, b"!".as_ptr(), 1, flags, how)
    });
    // SAFETY: the same, and the message stays until the CQE.
    let message_sent = send(ring, |sqe| unsafe {
        sqe.prep_sendmsg_zc(target, &msg, flags, how)
    });
    [sent, message_sent]
}

/// Without waiting, and without trying: what remains is `EAGAIN`, although there is room.
#[test]
fn poll_first() {
    let ring = ring();
    let (here, mut there) = tcp(LOCALHOST);
    for (flags, how, want) in [
        (MSG_DONTWAIT, SendFlags::POLL_FIRST, Err(libc::EAGAIN)),
        (MSG_DONTWAIT, SendFlags::NONE, Ok(1)),
        (0, SendFlags::POLL_FIRST, Ok(1)),
    ] {
        let sent = send_byte(&ring, (&here).into(), flags, how);
        assert_eq!(sent, [(want, Some(ZcUsage::InPlace)); 2]);
        if want.is_ok() {
            assert_receives(&mut there, b"!!");
        }
    }
    there.set_nonblocking(true).unwrap();
    assert!(there.read(&mut [0]).is_err(), "nothing more was sent");
}

/// Failures have a notification too, or have none: `MORE` says it.
#[test]
fn fails() {
    let ring = ring();
    let (here, _there) = tcp(LOCALHOST);
    let (local, _local) = UnixStream::pair().unwrap();
    let (gone, _gone) = tcp(LOCALHOST);
    gone.shutdown(std::net::Shutdown::Write).unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let none = SendFlags::NONE;
    for (target, how, errno) in [
        (Target::from(&local), none, libc::EOPNOTSUPP),
        (Target::from(&gone), none, libc::EPIPE),
        (Target::from(&pipe), none, libc::ENOTSOCK),
        (Fixed(0).into(), none, libc::EBADF),
        // The manual has this one for zero-copy sends, as well.
        (Target::from(&here), SendFlags::BUNDLE, libc::EINVAL),
        (Target::from(&here), SendFlags::from_bits(2), libc::EINVAL),
        (
            Target::from(&here),
            SendFlags::from_bits(1 << 15),
            libc::EINVAL,
        ),
    ] {
        let sent = send_byte(&ring, target, 0, how);
        assert_eq!(sent.map(|told| told.0), [Err(errno); 2], "{how:?}");
    }
    let byte = b"!".as_ptr();
    let sent = send(&ring, |sqe| {
        // SAFETY: the byte is constant, the socket is open until the CQE.
        unsafe { sqe.prep_send_zc(&here, byte, 1, 0, none) }.skip_success()
    });
    assert_eq!(sent, (Err(libc::EINVAL), None));
    let sent = send(&ring, |sqe| {
        // SAFETY: the byte is constant, the socket is open until the CQE.
        unsafe { sqe.prep_send_zc(&here, byte, 1, 0, none) }.buffer_select(1)
    });
    assert_eq!(sent, (Err(libc::EOPNOTSUPP), None));
    let sent = send_byte(&ring, (&gone).into(), 0, none);
    assert_eq!(sent, [(Err(libc::EPIPE), Some(ZcUsage::InPlace)); 2]);
}
