//! Making and connecting sockets.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use libc::{AF_INET, AF_INET6, AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM};
use ringway::prep::{CancelFlags, Direct, Fixed, RecvFlags, SendFlags, Target};

use super::child::{knows, tried};
use super::net::{RawAddr, descriptor, fd_flags, listener, loopbacks, option, queue};
use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BIND: u8 = 56;
const LISTEN: u8 = 57;

fn family(ip: IpAddr) -> i32 {
    match ip {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

#[test]
fn socket_is_what_was_asked_for() {
    let ring = ring();
    for (domain, kind, protocol, flags) in [
        (
            AF_INET,
            SOCK_STREAM | SOCK_CLOEXEC,
            libc::IPPROTO_TCP,
            [true, false],
        ),
        (
            AF_INET,
            SOCK_DGRAM | SOCK_NONBLOCK,
            libc::IPPROTO_UDP,
            [false, true],
        ),
        (AF_UNIX, libc::SOCK_SEQPACKET, 0, [false, false]),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: nothing has to stay.
            unsafe { sqe.prep_socket(domain, kind, protocol, 0) }
        });
        let socket = descriptor(got);
        assert_eq!(option(&socket, libc::SOL_SOCKET, libc::SO_DOMAIN), domain);
        let kind = kind & !(SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_eq!(option(&socket, libc::SOL_SOCKET, libc::SO_TYPE), kind);
        assert_eq!(
            option(&socket, libc::SOL_SOCKET, libc::SO_PROTOCOL),
            protocol
        );
        assert_eq!(fd_flags(&socket), flags);
    }
    for (domain, kind, protocol, flags, errno) in [
        (-1, SOCK_STREAM, 0, 0, libc::EAFNOSUPPORT),
        (
            AF_INET,
            SOCK_STREAM,
            libc::IPPROTO_UDP,
            0,
            libc::EPROTONOSUPPORT,
        ),
        (AF_INET, SOCK_STREAM | 0x10, 0, 0, libc::EINVAL),
        (AF_INET, SOCK_STREAM, 0, 1, libc::EINVAL),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: nothing has to stay.
            unsafe { sqe.prep_socket(domain, kind, protocol, flags) }
        });
        assert_eq!(got, Err(errno), "{domain} {kind} {protocol} {flags}");
    }
    tried("OP_SOCKET");
}

/// A fixed socket at each place: one that connects and sends.
#[test]
fn socket_direct_is_a_fixed_file() {
    let ring = ring();
    register_files(&ring, &[None, None]);
    let (listener, addr) = listener(LOCALHOST);
    let addr = RawAddr::from(addr);
    let make = |ring: &Ring, direct| {
        run(ring, |sqe| {
            // SAFETY: nothing has to stay.
            unsafe { sqe.prep_socket_direct(AF_INET, SOCK_STREAM, 0, direct, 0) }
        })
    };
    let make_anywhere = |ring: &Ring| {
        run(ring, |sqe| {
            // SAFETY: nothing has to stay.
            unsafe { sqe.prep_socket_direct_alloc(AF_INET, SOCK_STREAM, 0, 0) }
        })
    };
    assert_eq!(make(&ring, Direct::at(Fixed(1))), Ok(0));
    assert_eq!(make_anywhere(&ring), Ok(0));
    assert_eq!(make_anywhere(&ring), Err(libc::ENFILE));
    for index in [0, 1] {
        let got = run(&ring, |sqe| {
            // SAFETY: the address stays until the CQE, the ring holds the socket.
            unsafe { sqe.prep_connect(Fixed(index), addr.as_ptr(), addr.len) }
        });
        assert_eq!(got, Ok(0));
        let byte = [index as u8];
        let got = run(&ring, |sqe| {
            // SAFETY: the byte stays until the CQE, the ring holds the socket.
            unsafe { sqe.prep_send(Fixed(index), byte.as_ptr(), 1, 0, SendFlags::NONE) }
        });
        assert_eq!(got, Ok(1));
        let mut received = [9];
        let (mut peer, _) = listener.accept().unwrap();
        peer.read_exact(&mut received).unwrap();
        assert_eq!(received, byte);
    }
    // A new socket takes the place of the connected one, which ends.
    assert_eq!(make(&ring, Direct::at(Fixed(1))), Ok(0));
    let got = run(&ring, |sqe| {
        // SAFETY: the byte is constant, the ring holds the socket.
        unsafe { sqe.prep_send(Fixed(1), b"!".as_ptr(), 1, 0, SendFlags::NONE) }
    });
    assert_eq!(got, Err(libc::EPIPE));

    assert_eq!(make(&ring, Direct::at(Fixed(2))), Err(libc::EINVAL));
    let got = run(&ring, |sqe| {
        let kind = SOCK_STREAM | SOCK_CLOEXEC;
        // SAFETY: nothing has to stay.
        unsafe { sqe.prep_socket_direct_alloc(AF_INET, kind, 0, 0) }
    });
    assert_eq!(got, Err(libc::EINVAL));
    let without_table = super::ring();
    assert_eq!(make(&without_table, Direct::at(Fixed(0))), Err(libc::ENXIO));
    assert_eq!(make_anywhere(&without_table), Err(libc::ENFILE));
}

#[test]
fn bind_and_listen_make_a_server() {
    let ring = ring();
    if !knows(&ring, BIND, "OP_BIND") | !knows(&ring, LISTEN, "OP_LISTEN") {
        return;
    }
    for ip in loopbacks("bind_and_listen_make_a_server") {
        let got = run(&ring, |sqe| {
            // SAFETY: nothing has to stay.
            unsafe { sqe.prep_socket(family(ip), SOCK_STREAM | SOCK_CLOEXEC, 0, 0) }
        });
        let server = TcpListener::from(descriptor(got));
        let mut addr = RawAddr::from(SocketAddr::from((ip, 0)));
        start(&ring, |sqe| {
            // SAFETY: the address stays until submit.
            unsafe { sqe.prep_bind(&server, addr.as_ptr(), addr.len) }.force_async()
        });
        addr = RawAddr::empty();
        assert_eq!(result(next(&ring)), Ok(0));
        // The address was in use up to here: the overwriting was not optimised away.
        assert_eq!(addr.bytes()[0], 0);
        let addr = server.local_addr().unwrap();
        assert_eq!((addr.ip(), addr.port() != 0), (ip, true));

        let refused = TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let got = run(&ring, |sqe| {
            // SAFETY: the socket is open until the CQE.
            unsafe { sqe.prep_listen(&server, 7) }
        });
        assert_eq!((got, queue(&server).1), (Ok(0), 7));
        let client = TcpStream::connect(addr).unwrap();
        let (_, peer) = server.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }
    tried("OP_BIND");
    tried("OP_LISTEN");
}

#[test]
fn bind_and_listen_fail() {
    let ring = ring();
    if !knows(&ring, BIND, "OP_BIND") | !knows(&ring, LISTEN, "OP_LISTEN") {
        return;
    }
    let (_server, taken) = listener(LOCALHOST);
    let taken = RawAddr::from(taken);
    let (pipe, _writer) = io::pipe().unwrap();
    let socket = |kind| {
        let got = run(&ring, |sqe| {
            // SAFETY: nothing has to stay.
            unsafe { sqe.prep_socket(AF_INET, kind | SOCK_CLOEXEC, 0, 0) }
        });
        descriptor(got)
    };
    let (tcp, udp) = (socket(SOCK_STREAM), socket(SOCK_DGRAM));
    for (target, len, errno) in [
        (Target::from(&tcp), taken.len, libc::EADDRINUSE),
        (Target::from(&tcp), 3, libc::EINVAL),
        (Target::from(&tcp), 129, libc::EINVAL),
        (Target::from(&pipe), taken.len, libc::ENOTSOCK),
        (Fixed(0).into(), taken.len, libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the address stays until the CQE; the kernel refuses 129 unread.
            unsafe { sqe.prep_bind(target, taken.as_ptr(), len) }
        });
        assert_eq!(got, Err(errno));
    }
    for (target, errno) in [
        (Target::from(&udp), libc::EOPNOTSUPP),
        (Target::from(&pipe), libc::ENOTSOCK),
        (Fixed(0).into(), libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the socket is open until the CQE.
            unsafe { sqe.prep_listen(target, 1) }
        });
        assert_eq!(got, Err(errno));
    }
}

fn stream_socket(ip: IpAddr, flags: i32) -> OwnedFd {
    // SAFETY: the call takes no memory, and its result is a new descriptor.
    let fd = unsafe { libc::socket(family(ip), SOCK_STREAM | SOCK_CLOEXEC | flags, 0) };
    descriptor(u32::try_from(fd).map_err(|_| fd))
}

#[test]
fn connect_connects() {
    let ring = ring();
    for ip in loopbacks("connect_connects") {
        for flags in [0, SOCK_NONBLOCK] {
            let (listener, peer) = listener(ip);
            let mut addr = RawAddr::from(peer);
            let client = TcpStream::from(stream_socket(ip, flags));
            start(&ring, |sqe| {
                // SAFETY: the address stays until submit.
                unsafe { sqe.prep_connect(&client, addr.as_ptr(), addr.len) }.force_async()
            });
            addr = RawAddr::empty();
            assert_eq!(result(next(&ring)), Ok(0));
            assert_eq!(addr.bytes()[0], 0);
            assert_eq!(client.peer_addr().unwrap(), peer);
            let (_, addr) = listener.accept().unwrap();
            assert_eq!(addr, client.local_addr().unwrap());
        }
    }
    tried("OP_CONNECT");
}

#[test]
fn connect_waits_and_can_be_cancelled() {
    let ring = ring();
    let (listener, addr) = listener(LOCALHOST);
    // SAFETY: the call takes no memory.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    // With this one the listener is full: it answers nobody else.
    let _full = TcpStream::connect(addr).unwrap();
    let addr = RawAddr::from(addr);
    for flags in [0, SOCK_NONBLOCK] {
        let client = stream_socket(LOCALHOST, flags);
        start(&ring, |sqe| {
            // SAFETY: the address stays until the CQE, the socket is open until then.
            unsafe { sqe.prep_connect(&client, addr.as_ptr(), addr.len) }.user_data(1)
        });
        assert_idle(&ring);
        start(&ring, |sqe| {
            // SAFETY: a cancel request names no memory.
            unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
        });
        assert_eq!(results(&ring), [(1, Err(libc::ECANCELED)), (2, Ok(0))]);
    }
}

#[test]
fn connect_fails() {
    let ring = ring();
    let (listener, addr) = listener(LOCALHOST);
    let addr = RawAddr::from(addr);
    drop(listener);
    let (pipe, _writer) = io::pipe().unwrap();
    let (connected, _peer) = UnixStream::pair().unwrap();
    let socket = stream_socket(LOCALHOST, 0);
    for (target, len, errno) in [
        (Target::from(&socket), addr.len, libc::ECONNREFUSED),
        (Target::from(&socket), 129, libc::EINVAL),
        (Target::from(&connected), addr.len, libc::EINVAL),
        (Target::from(&pipe), addr.len, libc::ENOTSOCK),
        (Fixed(0).into(), addr.len, libc::EBADF),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the address stays until the CQE; the kernel refuses 129 unread.
            unsafe { sqe.prep_connect(target, addr.as_ptr(), len) }
        });
        assert_eq!(got, Err(errno), "{len}");
    }
}

#[test]
fn shutdown_ends_a_direction() {
    let ring = ring();
    let shutdown = |target: Target, how| {
        run(&ring, |sqe| {
            // SAFETY: the socket is open until the CQE.
            unsafe { sqe.prep_shutdown(target, how) }
        })
    };
    let (mut here, mut there) = UnixStream::pair().unwrap();
    assert_eq!(shutdown((&here).into(), libc::SHUT_WR), Ok(0));
    assert_eq!(there.read(&mut [0]).unwrap(), 0);
    there.write_all(b"!").unwrap();
    here.read_exact(&mut [0]).unwrap();
    let broken = here.write(b"!").unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);

    // What waits for the socket ends.
    let buf = memory::<1>();
    start(&ring, |sqe| {
        // SAFETY: the memory stays, the socket is open until the CQE.
        unsafe { sqe.prep_recv(&here, buf.as_mut_ptr(), 1, 0, RecvFlags::NONE) }.user_data(1)
    });
    assert_idle(&ring);
    start(&ring, |sqe| {
        // SAFETY: the socket is open until the CQE.
        unsafe { sqe.prep_shutdown(&here, libc::SHUT_RD) }
    });
    assert_eq!(results(&ring), [(0, Ok(0)), (1, Ok(0))]);

    register_files(&ring, &[None, Some(there.as_fd())]);
    assert_eq!(shutdown(Fixed(1).into(), libc::SHUT_RDWR), Ok(0));
    assert_eq!(there.read(&mut [0]).unwrap(), 0);

    let (pipe, _writer) = io::pipe().unwrap();
    let udp = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    for (target, how, errno) in [
        (Target::from(&here), 3, libc::EINVAL),
        (Target::from(&udp), libc::SHUT_RD, libc::ENOTCONN),
        (Target::from(&pipe), libc::SHUT_RD, libc::ENOTSOCK),
        (Fixed(0).into(), libc::SHUT_RD, libc::EBADF),
    ] {
        assert_eq!(shutdown(target, how), Err(errno));
    }
    tried("OP_SHUTDOWN");
}
