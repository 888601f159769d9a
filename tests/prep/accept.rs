//! Accepting.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::ptr;

use libc::{SOCK_CLOEXEC, SOCK_NONBLOCK};
use ringway::prep::{AcceptFlags, CancelFlags, Direct, Fixed, SendFlags, Target};

use super::child::{has, tried};
use super::net::{RawAddr, address, descriptor, fd_flags, listener, loopbacks, waiting};
use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What all forms of an accept are told. What it names stays until the last CQE.
#[derive(Clone, Copy)]
struct Accept<'fd> {
    socket: Target<'fd>,
    addr: *mut libc::sockaddr,
    addrlen: *mut libc::socklen_t,
    flags: i32,
    how: AcceptFlags,
}

impl<'fd> Accept<'fd> {
    fn new(socket: impl Into<Target<'fd>>) -> Self {
        Self {
            socket: socket.into(),
            addr: ptr::null_mut(),
            addrlen: ptr::null_mut(),
            flags: 0,
            how: AcceptFlags::NONE,
        }
    }
}

struct Form {
    name: &'static str,
    /// Into the table of fixed files.
    direct: bool,
    multishot: bool,
    prep: for<'sqe> fn(&'sqe mut Sqe, Accept) -> &'sqe mut Sqe,
}

/// Where the form that can choose puts its connection.
const PLACE: u32 = 2;

const FORMS: [Form; 4] = [
    Form {
        name: "accept",
        direct: false,
        multishot: false,
        // SAFETY: what an Accept names stays.
        prep: |sqe, a| unsafe { sqe.prep_accept(a.socket, a.addr, a.addrlen, a.flags, a.how) },
    },
    Form {
        name: "accept_direct",
        direct: true,
        multishot: false,
        prep: |sqe, a| {
            let place = Direct::at(Fixed(PLACE));
            // SAFETY: what an Accept names stays.
            unsafe { sqe.prep_accept_direct(a.socket, a.addr, a.addrlen, a.flags, place, a.how) }
        },
    },
    Form {
        name: "multishot_accept",
        direct: false,
        multishot: true,
        prep: |sqe, a| {
            // SAFETY: what an Accept names stays.
            unsafe { sqe.prep_multishot_accept(a.socket, a.addr, a.addrlen, a.flags, a.how) }
        },
    },
    Form {
        name: "multishot_accept_direct",
        direct: true,
        multishot: true,
        prep: |sqe, a| {
            // SAFETY: what an Accept names stays.
            unsafe { sqe.prep_multishot_accept_direct(a.socket, a.addr, a.addrlen, a.flags, a.how) }
        },
    },
];

/// A ring with a table of three fixed files.
fn ring_with_table() -> Ring {
    let ring = ring();
    register_files(&ring, &[None, None, None]);
    ring
}

/// The connection that the CQE speaks of is the one to this client.
#[track_caller]
fn assert_connected(ring: &Ring, form: &Form, cqe: Cqe, client: &mut TcpStream) {
    let accepted = result(cqe).unwrap();
    let fd;
    let target: Target = if form.direct {
        match form.multishot {
            true => Fixed(accepted).into(),
            false => {
                assert_eq!(accepted, 0);
                Fixed(PLACE).into()
            }
        }
    } else {
        fd = descriptor(Ok(accepted));
        (&fd).into()
    };
    let got = run(ring, |sqe| {
        // SAFETY: the bytes are constant, the socket is open until the CQE.
        unsafe { sqe.prep_send(target, b"!".as_ptr(), 1, 0, SendFlags::NONE) }
    });
    assert_eq!(got, Ok(1), "{}", form.name);
    client.read_exact(&mut [0]).unwrap();
}

#[test]
fn each_form_accepts() {
    for ip in loopbacks("each_form_accepts") {
        for form in &FORMS {
            let ring = ring_with_table();
            let (listener, addr) = listener(ip);
            // A listener that never blocks is waited for like another.
            listener.set_nonblocking(true).unwrap();
            let peer = Box::leak(Box::new(RawAddr::empty()));
            let accept = Accept {
                addr: peer.as_mut_ptr(),
                addrlen: &raw mut peer.len,
                ..Accept::new(&listener)
            };
            start(&ring, |sqe| (form.prep)(sqe, accept).user_data(1));
            for _ in 0..if form.multishot { 3 } else { 1 } {
                assert_idle(&ring);
                let mut client = TcpStream::connect(addr).unwrap();
                let cqe = next(&ring);
                assert_eq!(cqe.has_more(), form.multishot, "{}", form.name);
                assert_eq!(address(peer.bytes()), client.local_addr().unwrap());
                assert_connected(&ring, form, cqe, &mut client);
            }
            let again = Accept::new(&listener);
            if !form.multishot {
                start(&ring, |sqe| (form.prep)(sqe, again).user_data(1));
            }
            start(&ring, |sqe| {
                // SAFETY: a cancel request names no memory.
                unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
            });
            let cqes = [next(&ring), next(&ring)];
            let last = cqes.iter().find(|cqe| cqe.user_data() == 1).unwrap();
            assert_eq!(
                (result(*last), last.has_more()),
                (Err(libc::ECANCELED), false)
            );
        }
    }
    tried("OP_ACCEPT");
}

#[test]
fn connections_that_wait_are_accepted_at_once() {
    for form in &FORMS {
        let ring = ring_with_table();
        let (listener, _) = listener(LOCALHOST);
        let mut clients = waiting::<2>(&listener);
        let mut non_empty = [false; 2];
        let mut cqes = [Cqe::default(); 2];
        if form.multishot {
            start(&ring, |sqe| (form.prep)(sqe, Accept::new(&listener)));
            cqes = cqes.map(|_| next(&ring));
        }
        for (i, client) in clients.iter_mut().enumerate() {
            if !form.multishot {
                start(&ring, |sqe| (form.prep)(sqe, Accept::new(&listener)));
                cqes[i] = next(&ring);
            }
            non_empty[i] = cqes[i].sock_nonempty();
            assert_connected(&ring, form, cqes[i], client);
        }
        if has(6, 10, form.name, "an accept that says if more wait") {
            assert_eq!(non_empty, [true, false], "{}", form.name);
        }
    }
}

/// The address and its length are read and written when a connection is there, not at
/// submit, whatever `io_uring_prep_accept(3)` says of data that is passed in.
#[test]
fn the_room_for_the_address_is_looked_at_late() {
    let ring = ring();
    let (listener, addr) = listener(LOCALHOST);
    let peer = Box::leak(Box::new(RawAddr::empty()));
    let accept = Accept {
        addr: peer.as_mut_ptr(),
        addrlen: &raw mut peer.len,
        ..Accept::new(&listener)
    };
    start(&ring, |sqe| (FORMS[0].prep)(sqe, accept));
    peer.len = 2;
    assert_idle(&ring);
    let client = TcpStream::connect(addr).unwrap();
    drop(descriptor(result(next(&ring))));
    assert_eq!(peer.len, 16, "the length before it was cut off");
    let family = u16::from_ne_bytes(*peer.bytes().first_chunk().unwrap());
    assert_eq!(i32::from(family), libc::AF_INET);
    assert_eq!(peer.bytes()[2..16], [0; 14], "{:?}", client.local_addr());
}

#[test]
fn flags_are_for_the_new_descriptor() {
    for form in FORMS.iter().filter(|form| !form.direct) {
        for (flags, want) in [
            (0, [false, false]),
            (SOCK_CLOEXEC, [true, false]),
            (SOCK_NONBLOCK, [false, true]),
        ] {
            let ring = ring();
            let (listener, addr) = listener(LOCALHOST);
            listener.set_nonblocking(true).unwrap();
            let _client = TcpStream::connect(addr).unwrap();
            let accept = Accept::new(&listener);
            let got = run(&ring, |sqe| (form.prep)(sqe, Accept { flags, ..accept }));
            assert_eq!(fd_flags(&descriptor(got)), want, "{} {flags}", form.name);
        }
    }
    for form in FORMS.iter().filter(|form| form.direct) {
        let ring = ring_with_table();
        let (listener, addr) = listener(LOCALHOST);
        let mut client = TcpStream::connect(addr).unwrap();
        let begin = |flags| {
            let accept = Accept::new(&listener);
            start(&ring, |sqe| (form.prep)(sqe, Accept { flags, ..accept }));
            next(&ring)
        };
        assert_eq!(result(begin(SOCK_CLOEXEC)), Err(libc::EINVAL));
        assert_connected(&ring, form, begin(SOCK_NONBLOCK), &mut client);
    }
}

/// Without waiting, and without trying: what remains is `EAGAIN`, even with a connection
/// that waits.
#[test]
fn dontwait_and_poll_first() {
    let (dontwait, poll_first) = (AcceptFlags::DONTWAIT, AcceptFlags::POLL_FIRST);
    for form in &FORMS {
        if !has(6, 10, form.name, "ACCEPT_DONTWAIT") {
            return;
        }
        let ring = ring_with_table();
        let (listener, _) = listener(LOCALHOST);
        let begin = |how| {
            let accept = Accept::new(&listener);
            start(&ring, |sqe| (form.prep)(sqe, Accept { how, ..accept }));
            next(&ring)
        };
        let again = Err(libc::EAGAIN);
        assert_eq!(result(begin(dontwait)), again, "{}", form.name);

        let [mut client] = waiting(&listener);
        let cqe = begin(dontwait | poll_first);
        assert_eq!(result(cqe), again, "{}", form.name);
        let cqe = begin(dontwait);
        if form.multishot {
            assert_eq!(result(next(&ring)), again);
        }
        assert_connected(&ring, form, cqe, &mut client);

        let [mut client] = waiting(&listener);
        assert_connected(&ring, form, begin(poll_first), &mut client);
    }
}

#[test]
fn multishot_ends_when_the_table_is_full() {
    let ring = ring();
    register_files(&ring, &[None]);
    let (listener, addr) = listener(LOCALHOST);
    start(&ring, |sqe| (FORMS[3].prep)(sqe, Accept::new(&listener)));
    let mut clients = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
    let first = next(&ring);
    assert_eq!((result(first), first.has_more()), (Ok(0), true));
    let last = next(&ring);
    assert_eq!((result(last), last.has_more()), (Err(libc::ENFILE), false));
    assert_connected(&ring, &FORMS[3], first, &mut clients[0]);
    assert_eq!(clients[1].read(&mut [0]).unwrap(), 0, "this one was closed");
}

/// The last CQE, too, has a connection.
#[test]
fn multishot_ends_when_the_cq_is_full() {
    let ring = Ring::builder(2).cq_entries(2).build().unwrap();
    let (listener, _) = listener(LOCALHOST);
    let mut clients = waiting::<4>(&listener);
    start(&ring, |sqe| (FORMS[2].prep)(sqe, Accept::new(&listener)));
    let cqes = [(); 3].map(|()| next(&ring));
    assert_eq!(cqes.map(|cqe| cqe.has_more()), [true, true, false]);
    for (cqe, client) in cqes.into_iter().zip(&mut clients) {
        assert_connected(&ring, &FORMS[2], cqe, client);
    }
    assert_idle(&ring);
}

#[test]
fn fails() {
    let (listener, addr) = listener(LOCALHOST);
    let (pipe, _writer) = io::pipe().unwrap();
    let stream = TcpStream::connect(addr).unwrap();
    let udp = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    for form in &FORMS {
        let ring = ring_with_table();
        let good = Accept::new(&listener);
        let how = AcceptFlags::from_bits(1 << 15);
        for (accept, errno) in [
            (Accept::new(&stream), libc::EINVAL),
            (Accept { flags: 1, ..good }, libc::EINVAL),
            (Accept { how, ..good }, libc::EINVAL),
            (Accept::new(&udp), libc::EOPNOTSUPP),
            (Accept::new(&pipe), libc::ENOTSOCK),
            (Accept::new(Fixed(0)), libc::EBADF),
        ] {
            start(&ring, |sqe| (form.prep)(sqe, accept));
            let cqe = next(&ring);
            assert_eq!(result(cqe), Err(errno), "{}", form.name);
            assert!(!cqe.has_more());
        }
    }
}

/// What has been accepted is lost when there is no place for it, or for its address.
#[test]
fn fails_with_a_connection() {
    let (listener, _) = listener(LOCALHOST);
    let in_place = |ring: &Ring, place| {
        let (null, len) = (ptr::null_mut(), ptr::null_mut());
        run(ring, |sqe| {
            // SAFETY: no address is asked for, the listener is open until the CQE.
            unsafe { sqe.prep_accept_direct(&listener, null, len, 0, place, AcceptFlags::NONE) }
        })
    };
    let (ring, without_table) = (ring_with_table(), ring());
    for (ring, place, errno) in [
        (&without_table, Direct::at(Fixed(0)), libc::ENXIO),
        (&without_table, Direct::ALLOC, libc::ENFILE),
        (&ring, Direct::at(Fixed(3)), libc::EINVAL),
    ] {
        let [mut client] = waiting(&listener);
        assert_eq!(in_place(ring, place), Err(errno));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    let [mut client] = waiting(&listener);
    let addr = Box::leak(Box::new(RawAddr::empty())).as_mut_ptr();
    let accept = Accept::new(&listener);
    let got = run(&ring, |sqe| (FORMS[0].prep)(sqe, Accept { addr, ..accept }));
    assert_eq!(got, Err(libc::EFAULT));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}
