//! Messages to rings.

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use ringway::Local;
use ringway::prep::{Direct, Fixed, MsgRingFlags, Target};

use super::child::{has, here, tried};
use super::*;

const NONE: MsgRingFlags = MsgRingFlags::NONE;
const SENT: (u64, Result<u32, i32>) = (0, Ok(0));

fn fd(ring: &Ring) -> BorrowedFd<'_> {
    ring.fd().expect("a real ring has a descriptor")
}

/// A ring that is not enabled.
fn disabled() -> OwnedFd {
    const R_DISABLED: u32 = 1 << 6;
    // The third word of `struct io_uring_params` is the flags.
    let mut params = [0u32; 30];
    params[2] = R_DISABLED;
    // SAFETY: the call reads and writes 120 bytes; the descriptor is ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_io_uring_setup, 8, &raw mut params);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd as i32)
    }
}

fn local() -> Local {
    let local = Ring::builder(8).single_issuer().defer_taskrun();
    local.build_local().unwrap()
}

#[track_caller]
fn next_of(local: &Local) -> Cqe {
    let cqe = local.wait_one(Some(Duration::from_secs(20))).unwrap();
    cqe.expect("a completion within 20 s")
}

/// From prep to result.
fn send<'fd>(from: &Ring, to: impl Into<Target<'fd>>, res: i32, data: u64) -> Result<u32, i32> {
    run(from, |sqe| {
        // SAFETY: the tests keep the rings open, and know what they sent.
        unsafe { sqe.prep_msg_ring(to, res, data, NONE) }
    })
}

#[test]
fn a_message_is_a_cqe() {
    let (sender, receiver) = (ring(), ring());
    for (res, data) in [(0, 0), (42, 7), (-1, u64::MAX), (i32::MIN, 1)] {
        assert_eq!(send(&sender, fd(&receiver), res, data), Ok(0));
        let message = next(&receiver);
        assert_eq!((message.res(), message.user_data()), (res, data));
        assert_eq!(message.flags(), 0);
    }
    assert_idle(&receiver);
    tried("OP_MSG_RING");
}

#[test]
fn a_message_to_the_ring_itself() {
    let ring = ring();
    start(&ring, |sqe| {
        // SAFETY: the ring is open, and the test knows what it sent.
        unsafe { sqe.prep_msg_ring(fd(&ring), 3, 9, NONE) }
    });
    assert_eq!(results(&ring), [SENT, (9, Ok(3))]);
}

#[test]
fn a_message_wakes_who_waits() {
    let (sender, receiver) = (ring(), ring());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| next(&receiver).user_data());
        assert_eq!(send(&sender, fd(&receiver), 0, 5), Ok(0));
        assert_eq!(waiter.join().unwrap(), 5);
    });
}

#[test]
fn messages_to_and_from_a_ring_of_one_thread() {
    let shared = ring();
    let local = local();
    assert_eq!(send(&shared, local.fd().unwrap(), 1, 2), Ok(0));
    let message = next_of(&local);
    assert_eq!((message.res(), message.user_data()), (1, 2));

    let mut slot = local.pop().unwrap();
    // SAFETY: the rings are open, and the test knows what it sent.
    unsafe { slot.prep_msg_ring(fd(&shared), 3, 4, NONE) };
    slot.push();
    local.submit().unwrap();
    assert_eq!(results(&shared), [(4, Ok(3))]);
    let sent = next_of(&local);
    assert_eq!((sent.user_data(), result(sent)), SENT);

    // From another thread, to one that waits.
    let to = local.fd().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let there = self::local();
            let mut slot = there.pop().unwrap();
            // SAFETY: as above.
            unsafe { slot.prep_msg_ring(to, 5, 6, NONE) };
            slot.push();
            there.submit().unwrap();
            assert_eq!(result(next_of(&there)), Ok(0));
        });
        let message = next_of(&local);
        assert_eq!((message.res(), message.user_data()), (5, 6));
    });
}

#[test]
fn more_messages_than_fit() {
    let sender = ring();
    let receiver = Ring::builder(2).cq_entries(2).build().unwrap();
    for data in 0..9 {
        assert_eq!(send(&sender, fd(&receiver), 0, data), Ok(0));
    }
    for data in 0..9 {
        assert_eq!(next(&receiver).user_data(), data);
    }
    assert_idle(&receiver);
}

#[test]
fn with_the_flags_of_the_cqe() {
    if !has(
        6,
        3,
        "msg::with_the_flags_of_the_cqe",
        "MSG_RING_FLAGS_PASS",
    ) {
        return;
    }
    let (sender, receiver) = (ring(), ring());
    for cqe_flags in [0, 1 << 1, 0x0007_0001] {
        let got = run(&sender, |sqe| {
            // SAFETY: the ring is open, and the test knows what it sent.
            unsafe { sqe.prep_msg_ring_cqe_flags(fd(&receiver), 1, 2, NONE, cqe_flags) }
        });
        assert_eq!(got, Ok(0));
        let message = next(&receiver);
        assert_eq!((message.res(), message.user_data()), (1, 2));
        assert_eq!(message.flags(), cqe_flags);
    }
    tried("OP_MSG_RING");
}

#[test]
fn with_flags_that_say_how_large_it_is() {
    const TEST: &str = "msg::with_flags_that_say_how_large_it_is";
    if !has(6, 18, TEST, "rings of mixed CQEs") {
        return;
    }
    let sender = ring();
    let receiver = Ring::builder(8).cqe_mixed().build().unwrap();
    let (skip, big) = (1 << 5, 1 << 15);
    for data in 0..8 {
        for (data, cqe_flags) in [(data, 0), (100, skip), (200, big), (100, skip | big)] {
            let got = run(&sender, |sqe| {
                // SAFETY: the ring is open, and the test knows what it sent.
                unsafe { sqe.prep_msg_ring_cqe_flags(fd(&receiver), 1, data, NONE, cqe_flags) }
            });
            assert_eq!(got, Ok(0));
        }
        for want in [(data, 0), (200, big)] {
            let message = next(&receiver);
            assert_eq!((message.user_data(), message.flags()), want);
        }
        assert_idle(&receiver);
    }
}

#[test]
fn fails() {
    let (sender, receiver) = (ring(), ring());
    let disabled = disabled();
    let (reader, _writer) = io::pipe().unwrap();
    for (target, errno) in [
        (Target::from(&reader), libc::EBADFD),
        (Target::from(&disabled), libc::EBADFD),
        (Fixed(0).into(), libc::EBADF),
    ] {
        assert_eq!(send(&sender, target, 0, 0), Err(errno));
    }
    for flags in [MsgRingFlags::CQE_SKIP, MsgRingFlags::from_bits(1 << 31)] {
        let got = run(&sender, |sqe| {
            // SAFETY: as above.
            unsafe { sqe.prep_msg_ring(fd(&receiver), 0, 0, flags) }
        });
        assert_eq!(got, Err(libc::EINVAL));
    }
    let id = sender.registrar().register_personality().unwrap();
    let got = run(&sender, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_msg_ring(fd(&receiver), 0, 0, NONE) }.personality(id)
    });
    assert_eq!(got, Err(libc::EINVAL));
    assert_idle(&receiver);
}

/// A ring with the reading end of a pipe as its fixed file 1, and the other end.
fn ring_with_a_pipe() -> (Ring, io::PipeWriter) {
    let ring = ring();
    let (reader, writer) = io::pipe().unwrap();
    register_files(&ring, &[None, Some(reader.as_fd())]);
    (ring, writer)
}

/// Reads a byte through a fixed file.
fn read(ring: &Ring, index: u32) -> Result<u8, i32> {
    let buf = memory::<1>();
    run(ring, |sqe| {
        // SAFETY: the memory stays, the ring holds the file.
        unsafe { sqe.prep_read(Fixed(index), buf.as_mut_ptr(), 1, 0) }
    })
    .map(|_| buf[0])
}

fn send_file(
    from: &Ring,
    to: BorrowedFd,
    source: u32,
    place: Direct,
    flags: MsgRingFlags,
) -> Result<u32, i32> {
    run(from, |sqe| {
        // SAFETY: the tests keep the rings open, and know what they sent.
        unsafe { sqe.prep_msg_ring_fd(to, Fixed(source), place, 9, flags) }
    })
}

#[test]
fn a_file_goes_to_another_ring() {
    let (sender, mut writer) = ring_with_a_pipe();
    let receiver = ring();
    register_files(&receiver, &[None, None, None]);
    writer.write_all(b"abcdefgh").unwrap();
    assert_eq!(
        send_file(&sender, fd(&receiver), 1, Direct::at(Fixed(2)), NONE),
        Ok(0)
    );
    assert_eq!(results(&receiver), [(9, Ok(0))]);
    assert_eq!(read(&receiver, 2), Ok(b'a'));
    assert_eq!(read(&receiver, 0), Err(libc::EBADF));
    // It stays where it came from.
    assert_eq!(read(&sender, 1), Ok(b'b'));

    for (place, byte) in [(0, b'c'), (1, b'd')] {
        let got = run(&sender, |sqe| {
            // SAFETY: the rings are open, and the test knows what it sent.
            unsafe { sqe.prep_msg_ring_fd_alloc(fd(&receiver), Fixed(1), 9, NONE) }
        });
        assert_eq!(got, Ok(place));
        assert_eq!(results(&receiver), [(9, Ok(place))]);
        assert_eq!(read(&receiver, place), Ok(byte));
    }
    let got = send_file(&sender, fd(&receiver), 1, Direct::ALLOC, NONE);
    assert_eq!(got, Err(libc::ENFILE));
    assert_idle(&receiver);
    tried("OP_MSG_RING");
}

/// The manual page knows no flag.
#[test]
fn a_file_goes_without_a_message() {
    let (sender, mut writer) = ring_with_a_pipe();
    let receiver = ring();
    register_files(&receiver, &[None]);
    let skip = MsgRingFlags::CQE_SKIP;
    assert_eq!(
        send_file(&sender, fd(&receiver), 1, Direct::at(Fixed(0)), skip),
        Ok(0)
    );
    assert_idle(&receiver);
    writer.write_all(b"!").unwrap();
    assert_eq!(read(&receiver, 0), Ok(b'!'));
}

#[test]
fn a_file_goes_to_a_ring_of_one_thread() {
    let (sender, mut writer) = ring_with_a_pipe();
    let local = local();
    local.registrar().register_files(&[None]).unwrap();
    start(&sender, |sqe| {
        let place = Direct::at(Fixed(0));
        let to = local.fd().unwrap();
        // SAFETY: the rings are open, and the test knows what it sent.
        unsafe { sqe.prep_msg_ring_fd(to, Fixed(1), place, 9, NONE) }
    });
    let message = next_of(&local);
    assert_eq!((message.user_data(), result(message)), (9, Ok(0)));
    assert_eq!(results(&sender), [SENT]);
    writer.write_all(b"!").unwrap();
    let buf = memory::<1>();
    let mut slot = local.pop().unwrap();
    // SAFETY: the memory stays, the ring holds the file.
    unsafe { slot.prep_read(Fixed(0), buf.as_mut_ptr(), 1, 0) };
    slot.push();
    local.submit().unwrap();
    assert_eq!(result(next_of(&local)), Ok(1));
    assert_eq!(buf, b"!");
}

#[test]
fn a_file_does_not_go() {
    let (sender, _writer) = ring_with_a_pipe();
    let (receiver, bare) = (ring(), ring());
    register_files(&receiver, &[None]);
    let disabled = disabled();
    let (reader, _another) = io::pipe().unwrap();
    let (there, first) = (fd(&receiver), Direct::at(Fixed(0)));
    // It has no table either.
    let of_a_disabled_ring = here(&[("5.18", libc::ENXIO), ("6.12", libc::EBADFD)]);
    for (to, source, place, errno) in [
        (there, 0, first, libc::EBADF),
        (there, 2, first, libc::EBADF),
        (there, 1, Direct::at(Fixed(1)), libc::EINVAL),
        (there, 1, Direct::at(Fixed(u32::MAX)), libc::EINVAL),
        (fd(&bare), 1, first, libc::ENXIO),
        (fd(&bare), 1, Direct::ALLOC, libc::ENFILE),
        (fd(&sender), 1, first, libc::EINVAL),
        (disabled.as_fd(), 1, first, of_a_disabled_ring),
        (reader.as_fd(), 1, first, libc::EBADFD),
    ] {
        let got = send_file(&sender, to, source, place, NONE);
        assert_eq!(got, Err(errno), "{to:?} {source} {place:?}");
    }
    assert_idle(&receiver);
    assert_idle(&bare);
}
