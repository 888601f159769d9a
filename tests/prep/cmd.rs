//! Commands to a device or a socket.

use std::ffi::c_int;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use libc::{SO_BROADCAST, SO_RCVBUF, SOL_SOCKET};
use ringway::prep::{CancelFlags, Fixed, SocketCmd, Target, TxStage, TxTimestamp, UringCmdFlags};
use ringway::{Cqe32, Waited};

use super::child::{has, knows, linux, skip, tried};
use super::*;

const URING_CMD128: u8 = 64;
const NONE: UringCmdFlags = UringCmdFlags::NONE;

/// A number that outlives every operation.
fn number(value: c_int) -> &'static mut c_int {
    Box::leak(Box::new(value))
}

/// An option of a socket, as the system call tells it.
fn option(socket: &impl AsRawFd, level: c_int, option: c_int) -> c_int {
    let mut value = 0;
    let mut len = 4;
    let to = (&raw mut value).cast();
    // SAFETY: the call writes four bytes, and their number.
    let got = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, to, &raw mut len) };
    assert_eq!((got, len), (0, 4));
    value
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[test]
fn who_takes_commands() {
    let ring = ring();
    let (_, file) = file("cmd", b"");
    let null = File::open("/dev/null").unwrap();
    let unknown = UringCmdFlags::from_bits(1 << 31);
    for (target, flags, want) in [
        (Target::from(&null), NONE, Ok(0)),
        (Target::from(&null), unknown, Err(libc::EINVAL)),
        (Target::from(&file), NONE, Err(libc::EOPNOTSUPP)),
        (Fixed(0).into(), NONE, Err(libc::EBADF)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the files stay open; no command names memory.
            unsafe { sqe.prep_uring_cmd(77, target, flags, 0) }
        });
        assert_eq!(got, want, "{target:?} {flags:?}");
    }
}

/// As large as it says: the SQEs next to it are not touched.
#[test]
fn the_command_area() {
    let null = File::open("/dev/null").unwrap();
    for (builder, len) in [(Ring::builder(4), 16), (Ring::builder(4).sqe128(), 80)] {
        let ring = builder.build().unwrap();
        let sq = ring.sq();
        for _ in 0..2 {
            let mut slots = [(); 4].map(|()| sq.pop().unwrap());
            for (slot, user_data) in slots.iter_mut().zip(0..) {
                // SAFETY: the file stays open; the command names no memory.
                unsafe { slot.prep_uring_cmd(5, &null, NONE, 0) }.user_data(user_data);
            }
            for slot in &mut slots {
                // SAFETY: it holds no pointers.
                let command = unsafe { slot.command_mut() };
                assert_eq!(command, vec![0; len]);
                command.fill(0xFF);
                // SAFETY: as above.
                let sqe = unsafe { slot.as_bytes_mut() };
                assert_eq!(sqe[48..], [0xFF; 16]);
            }
            slots.into_iter().for_each(|slot| slot.push());
            ring.submit().unwrap();
            let done = [0, 1, 2, 3].map(|user_data| (user_data, Ok(0)));
            assert_eq!(results(&ring), done);
        }
    }
}

#[test]
fn a_command_of_128_bytes() {
    let big = Ring::builder(4).sqe128().build().unwrap();
    if !knows(&big, URING_CMD128, "OP_URING_CMD128") {
        return;
    }
    let udp = udp();
    udp.send_to(b"123", udp.local_addr().unwrap()).unwrap();
    udp.peek(&mut [0; 9]).unwrap();
    let sq = big.sq();
    let mut slot = sq.pop128().expect("a ring of 128-byte SQEs");
    // SAFETY: the socket stays open; the command names no memory.
    unsafe { slot.prep_uring_cmd128(SocketCmd::SIOCINQ.0, &udp, NONE, 0) };
    slot.push();
    big.submit().unwrap();
    assert_eq!(result(next(&big)), Ok(3));
    tried("OP_URING_CMD128");
}

/// Whether the kernel has commands for sockets.
fn has_socket_commands(test: &str) -> bool {
    has(6, 7, test, "commands for sockets")
}

#[test]
fn how_much_there_is_to_read() {
    if !has_socket_commands("cmd::how_much_there_is_to_read") {
        return;
    }
    let ring = ring();
    let siocinq = |socket: &dyn AsFd| {
        run(&ring, |sqe| {
            // SAFETY: the socket stays open.
            unsafe { sqe.prep_cmd_siocinq(socket.as_fd()) }
        })
    };
    let (mut tcp, peer) = connected();
    assert_eq!(siocinq(&peer), Ok(0));
    for count in [10, 20] {
        tcp.write_all(b"0123456789").unwrap();
        // It has come once it can be looked at.
        while peer.peek(&mut [0; 99]).unwrap() < count {}
        assert_eq!(siocinq(&peer), Ok(count as u32));
    }
    let udp = udp();
    let to = udp.local_addr().unwrap();
    for datagram in [&b"123"[..], b"12345"] {
        udp.send_to(datagram, to).unwrap();
    }
    udp.peek(&mut [0; 99]).unwrap();
    assert_eq!(siocinq(&udp), Ok(3));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(siocinq(&listener), Err(libc::EINVAL));
    let (unix, _peer) = UnixStream::pair().unwrap();
    assert_eq!(siocinq(&unix), Err(libc::EOPNOTSUPP));
    let (reader, _writer) = io::pipe().unwrap();
    assert_eq!(siocinq(&reader), Err(libc::EOPNOTSUPP));
    tried("OP_URING_CMD");
}

#[test]
fn how_much_is_not_sent() {
    if !has_socket_commands("cmd::how_much_is_not_sent") {
        return;
    }
    let ring = ring();
    let (tcp, peer) = connected();
    let siocoutq = || {
        run(&ring, |sqe| {
            // SAFETY: the socket stays open.
            unsafe { sqe.prep_cmd_siocoutq(&tcp) }
        })
    };
    assert_eq!(siocoutq(), Ok(0));
    // The peer does not read: in the end nothing moves any more.
    tcp.set_nonblocking(true).unwrap();
    while (&tcp).write(&[0; 100_000]).is_ok() {}
    let unsent = || {
        let mut unsent = 0;
        // SAFETY: the call writes one number.
        let got = unsafe { libc::ioctl(tcp.as_raw_fd(), libc::TIOCOUTQ, &raw mut unsent) };
        assert_eq!(got, 0);
        unsent
    };
    // It may still move a little: between two equal answers it did not.
    let (before, told, after) = loop {
        let answers = (unsent(), siocoutq(), unsent());
        if answers.0 == answers.2 {
            break answers;
        }
    };
    assert_eq!((told, before), (Ok(after as u32), after));
    assert!(before > 0);
    drop(peer);
}

#[test]
fn options() {
    if !has_socket_commands("cmd::options") {
        return;
    }
    let ring = ring();
    let udp = udp();
    register_files(&ring, &[Some(udp.as_fd())]);
    for (target, wanted) in [(Target::from(&udp), 1), (Fixed(0).into(), 0)] {
        let value = ptr::from_mut(number(wanted)).cast();
        let got = run(&ring, |sqe| {
            // SAFETY: the number stays, the socket too.
            unsafe { sqe.prep_cmd_setsockopt(target, SOL_SOCKET, SO_BROADCAST, value, 4) }
        });
        assert_eq!(got, Ok(0));
        assert_eq!(option(&udp, SOL_SOCKET, SO_BROADCAST), wanted);
        let value = number(-1);
        let to = ptr::from_mut(value).cast();
        let got = run(&ring, |sqe| {
            // SAFETY: as above.
            unsafe { sqe.prep_cmd_getsockopt(target, SOL_SOCKET, SO_BROADCAST, to, 4) }
        });
        assert_eq!((got, *value), (Ok(4), wanted));
    }

    // Another level can be written and not read.
    let (tcp, _peer) = connected();
    let (level, nodelay) = (libc::IPPROTO_TCP, libc::TCP_NODELAY);
    let value: *mut _ = ptr::from_mut(number(1)).cast();
    let set = run(&ring, |sqe| {
        // SAFETY: the number stays, the socket too.
        unsafe { sqe.prep_cmd_setsockopt(&tcp, level, nodelay, value, 4) }
    });
    assert_eq!((set, option(&tcp, level, nodelay)), (Ok(0), 1));
    let got = run(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_cmd_getsockopt(&tcp, level, nodelay, value, 4) }
    });
    assert_eq!(got, Err(libc::EOPNOTSUPP));
    tried("OP_URING_CMD");
}

#[test]
fn options_fail() {
    if !has_socket_commands("cmd::options_fail") {
        return;
    }
    let ring = ring();
    let udp = udp();
    let before = option(&udp, SOL_SOCKET, SO_RCVBUF);
    // Less than a number: none to set, a part to get.
    let value = number(-1);
    let at: *mut _ = ptr::from_mut(value).cast();
    let set = run(&ring, |sqe| {
        // SAFETY: the number stays, the socket too.
        unsafe { sqe.prep_cmd_setsockopt(&udp, SOL_SOCKET, SO_RCVBUF, at, 2) }
    });
    assert_eq!(set, Err(libc::EINVAL));
    assert_eq!(option(&udp, SOL_SOCKET, SO_RCVBUF), before);
    let got = run(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_cmd_getsockopt(&udp, SOL_SOCKET, SO_RCVBUF, at, 2) }
    });
    assert_eq!(got, Ok(2));
    // The rest is as it was.
    let (told, whole) = (value.to_ne_bytes(), before.to_ne_bytes());
    assert_eq!(told, [whole[0], whole[1], 0xFF, 0xFF]);

    let unknown = SocketCmd(0xFFFF);
    for (command, target, option, errno) in [
        (
            SocketCmd::GETSOCKOPT,
            Target::from(&udp),
            0xFFFF,
            libc::ENOPROTOOPT,
        ),
        (
            SocketCmd::SETSOCKOPT,
            (&udp).into(),
            0xFFFF,
            libc::ENOPROTOOPT,
        ),
        (
            SocketCmd::GETSOCKOPT,
            Fixed(0).into(),
            SO_RCVBUF,
            libc::EBADF,
        ),
        (unknown, (&udp).into(), SO_RCVBUF, libc::EOPNOTSUPP),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: as above.
            unsafe { sqe.prep_cmd_sock(command, target, SOL_SOCKET, option, at, 4) }
        });
        assert_eq!(got, Err(errno), "{command:?} {target:?}");
    }
}

#[test]
fn names_of_sockets() {
    let ring = ring();
    let (ours, theirs) = connected();
    let lonely = udp();
    for (socket, peer, want) in [
        (ours.as_fd(), false, Ok(ours.local_addr().unwrap())),
        (ours.as_fd(), true, Ok(theirs.local_addr().unwrap())),
        (lonely.as_fd(), false, Ok(lonely.local_addr().unwrap())),
        (lonely.as_fd(), true, Err(libc::ENOTCONN)),
    ] {
        let bytes = memory::<16>();
        let len = Box::leak(Box::new(16));
        let got = run(&ring, |sqe| {
            let (addr, len) = (bytes.as_mut_ptr().cast(), ptr::from_mut(len));
            // SAFETY: the memory stays, the socket too.
            unsafe { sqe.prep_cmd_getsockname(socket, addr, len, peer) }
        });
        if got == Err(libc::EOPNOTSUPP) && !linux(6, 19) {
            return skip(
                "cmd::names_of_sockets",
                "names of sockets came with Linux 6.19",
            );
        }
        assert_eq!(got, want.map(|_| 0));
        if let Ok(SocketAddr::V4(want)) = want {
            assert_eq!(*len, 16);
            assert_eq!(bytes[2..4], want.port().to_be_bytes());
            assert_eq!(bytes[4..8], want.ip().octets());
        }
    }
}

/// The next CQE with what comes with it.
fn next_big(ring: &Ring) -> Cqe32 {
    loop {
        if let Some(cqe) = ring.cq().reap_big() {
            return cqe;
        }
        let waited = ring.cq().wait(Some(Duration::from_secs(20))).unwrap();
        assert_ne!(waited, Waited::TimedOut, "a completion within 20 s");
    }
}

#[test]
fn times_of_sending() {
    const TEST: &str = "cmd::times_of_sending";
    if !has(6, 17, TEST, "SOCKET_URING_OP_TX_TIMESTAMP") {
        return;
    }
    let software = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    let scheduled = 1 << 8; // SOF_TIMESTAMPING_TX_SCHED
    let flags =
        software | scheduled | libc::SOF_TIMESTAMPING_OPT_ID | libc::SOF_TIMESTAMPING_OPT_TSONLY;
    let mixed = linux(6, 18).then(|| Ring::builder(8).cqe_mixed());
    for builder in [Some(Ring::builder(8).cqe32()), mixed]
        .into_iter()
        .flatten()
    {
        let ring = builder.build().unwrap();
        let udp = udp();
        let to = udp.local_addr().unwrap();
        let value = ptr::from_mut(number(flags as c_int)).cast();
        start(&ring, |sqe| {
            // SAFETY: the number stays, the socket too.
            unsafe { sqe.prep_cmd_setsockopt(&udp, SOL_SOCKET, libc::SO_TIMESTAMPING, value, 4) }
        });
        assert_eq!(next_big(&ring).result(), Ok(0));
        start(&ring, |sqe| {
            // SAFETY: the socket stays open until the last CQE.
            unsafe { sqe.prep_cmd_tx_timestamp(&udp) }.user_data(7)
        });
        for key in 0..3 {
            udp.send_to(b"!", to).unwrap();
            let mut stages = Vec::new();
            for _ in 0..2 {
                let cqe = next_big(&ring);
                assert_eq!(cqe.user_data(), 7);
                let stamp = TxTimestamp::decode(&cqe).expect("a timestamp");
                assert_eq!((stamp.key, stamp.hardware), (key, false));
                let (seconds, nanoseconds) = (stamp.time.seconds(), stamp.time.nanoseconds());
                let time = Duration::new(seconds as u64, nanoseconds as u32);
                // The clock may be set meanwhile, but hardly by so much.
                let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
                assert!(now.abs_diff(time) < Duration::from_secs(100), "{time:?}");
                stages.push(stamp.stage);
            }
            assert_eq!(stages, [TxStage::Scheduled, TxStage::Sent]);
        }
        start(&ring, |sqe| {
            // SAFETY: a cancel request names no memory.
            unsafe { sqe.prep_cancel64(7, CancelFlags::NONE) }.user_data(8)
        });
        let mut ends = [next_big(&ring), next_big(&ring)];
        ends.sort_by_key(Cqe32::user_data);
        assert_eq!(TxTimestamp::decode(&ends[0]), None);
        let canceled = Err(libc::ECANCELED);
        assert_eq!(ends.map(|cqe| result(*cqe.cqe())), [canceled, Ok(0)]);
    }
    // There is no room for a time in a small CQE.
    let got = run(&ring(), |sqe| {
        let udp = Box::leak(Box::new(udp()));
        // SAFETY: the socket stays open.
        unsafe { sqe.prep_cmd_tx_timestamp(&*udp) }
    });
    assert_eq!(got, Err(libc::EINVAL));
    tried("OP_URING_CMD");
}

/// A block device of our own: a file seen through a loop device that nobody else has.
struct LoopDevice {
    control: File,
    number: c_int,
    device: Option<File>,
}

impl LoopDevice {
    const SET_FD: libc::Ioctl = 0x4C00;
    const CLR_FD: libc::Ioctl = 0x4C01;
    const CTL_ADD: libc::Ioctl = 0x4C80;
    const CTL_REMOVE: libc::Ioctl = 0x4C81;

    fn new(backing: &File) -> io::Result<Self> {
        let control = File::open("/dev/loop-control")?;
        // A new one, not one that is free: the number is the answer.
        let number = ioctl(&control, Self::CTL_ADD, -1)?;
        let mut made = Self {
            control,
            number,
            device: None,
        };
        let path = format!("/dev/loop{number}");
        let device = OpenOptions::new().read(true).write(true).open(path)?;
        ioctl(&device, Self::SET_FD, backing.as_raw_fd())?;
        made.device = Some(device);
        Ok(made)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Some(device) = self.device.take() {
            let _ = ioctl(&device, Self::CLR_FD, 0);
        }
        // A worker of the ring may hold the device a little longer than the last CQE says.
        let patience = Instant::now() + Duration::from_secs(10);
        while let Err(error) = ioctl(&self.control, Self::CTL_REMOVE, self.number) {
            if error.raw_os_error() != Some(libc::EBUSY) || Instant::now() > patience {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn ioctl(file: &File, request: libc::Ioctl, argument: c_int) -> io::Result<c_int> {
    // SAFETY: the loop driver's requests take a number.
    match unsafe { libc::ioctl(file.as_raw_fd(), request, argument) } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

#[test]
fn block_commands() {
    const TEST: &str = "cmd::block_commands";
    if !has(6, 12, TEST, "BLOCK_URING_CMD_DISCARD") {
        return;
    }
    // SAFETY: the call reads a number of the process.
    if unsafe { libc::geteuid() } != 0 {
        return skip(TEST, "only root makes a loop device");
    }
    let ring = ring();
    let (path, backing) = file("cmd_discard", &vec![7; 1 << 20]);
    let made = match LoopDevice::new(&backing) {
        Ok(made) => made,
        Err(error) => return skip(TEST, &format!("no loop device: {error}")),
    };
    let device = made.device.as_ref().expect("it is open");
    let discard = |file: &File, offset, len| {
        run(&ring, |sqe| {
            // SAFETY: the device stays open.
            unsafe { sqe.prep_cmd_discard(file, offset, len) }
        })
    };
    let got = discard(device, 8192, 16384);
    if got == Err(libc::EOPNOTSUPP) {
        return skip(TEST, "this file system punches no holes");
    }
    assert_eq!(got, Ok(0));
    let mut want = vec![7; 1 << 20];
    want[8192..][..16384].fill(0);
    let wrong = fs::read(path)
        .unwrap()
        .iter()
        .zip(&want)
        .position(|(a, b)| a != b);
    assert_eq!(wrong, None);

    let read_only = File::open(format!("/dev/loop{}", made.number)).unwrap();
    for (file, offset, len, errno) in [
        (device, 8193, 16384, libc::EINVAL),
        (device, 1 << 20, 16384, libc::EINVAL),
        (&read_only, 8192, 16384, libc::EBADF),
    ] {
        assert_eq!(discard(file, offset, len), Err(errno), "{offset}");
    }
    let got = run(&ring, |sqe| {
        // SAFETY: the device stays open.
        unsafe { sqe.prep_cmd_zone_reset_all(device) }
    });
    // A kernel that knows the command says that there are no zones.
    assert!([Err(libc::EINVAL), Err(libc::EOPNOTSUPP)].contains(&got));
    skip("cmd::zone_reset_all", "there is no zoned device");
}

#[test]
fn block_commands_to_a_file() {
    let ring = ring();
    let (path, file) = file("cmd_file", b"0123456789");
    for is_discard in [true, false] {
        let got = run(&ring, |sqe| {
            // SAFETY: the file stays open.
            unsafe {
                if is_discard {
                    sqe.prep_cmd_discard(&file, 0, 4096)
                } else {
                    sqe.prep_cmd_zone_reset_all(&file)
                }
            }
        });
        assert_eq!(got, Err(libc::EOPNOTSUPP));
    }
    assert_eq!(fs::read(path).unwrap(), b"0123456789");
}
