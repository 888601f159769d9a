//! What the tests of sockets share: addresses, connections, buffer rings.

use std::io::Read;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::slice;

use ringway::Ring;
use ringway::register::{BufRing, BufRingFlags};

use super::child::skip;

/// The loopback addresses of this machine; says so if there is none of IPv6.
pub fn loopbacks(test: &str) -> Vec<IpAddr> {
    let mut loopbacks = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => loopbacks.push(Ipv6Addr::LOCALHOST.into()),
        Err(error) => skip(test, &format!("IPv6: {error}")),
    }
    loopbacks
}

/// A listener that nobody else knows.
pub fn listener(ip: IpAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// How many connections wait at a listening socket, and how many may.
pub fn queue(listener: &impl AsRawFd) -> (u32, u32) {
    // SAFETY: the structure is numbers, which may be 0.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    let fd = listener.as_raw_fd();
    // SAFETY: the call writes at most `len` bytes to the structure.
    let ret = unsafe {
        let info = (&raw mut info).cast();
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info, &mut len)
    };
    assert_eq!(ret, 0, "{}", std::io::Error::last_os_error());
    (info.tcpi_unacked, info.tcpi_sacked)
}

/// Connections that wait to be accepted, each of them.
pub fn waiting<const N: usize>(listener: &TcpListener) -> [TcpStream; N] {
    let addr = listener.local_addr().unwrap();
    let clients = [(); N].map(|()| TcpStream::connect(addr).unwrap());
    // To the client it is connected before the listener has heard the last word.
    while (queue(listener).0 as usize) < N {
        std::thread::yield_now();
    }
    clients
}

/// Both ends of a TCP connection.
pub fn tcp(ip: IpAddr) -> (TcpStream, TcpStream) {
    let (listener, addr) = listener(ip);
    let client = TcpStream::connect(addr).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Two UDP sockets, not connected.
pub fn udp(ip: IpAddr) -> (UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind((ip, 0)).unwrap();
    (bind(), bind())
}

/// An address as system calls take it.
#[derive(Clone)]
pub struct RawAddr {
    storage: libc::sockaddr_storage,
    pub len: libc::socklen_t,
}

impl RawAddr {
    pub fn empty() -> Self {
        Self {
            // SAFETY: a sockaddr_storage is numbers, which may be 0.
            storage: unsafe { std::mem::zeroed() },
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    pub fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the storage was zeroed, so every byte of it is initialised.
        unsafe { slice::from_raw_parts(self.as_ptr().cast(), size_of_val(&self.storage)) }
    }
}

impl From<SocketAddr> for RawAddr {
    fn from(addr: SocketAddr) -> Self {
        let mut raw = Self::empty();
        let place = raw.as_mut_ptr();
        match addr {
            SocketAddr::V4(addr) => {
                let addr = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: addr.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(addr.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                raw.len = size_of_val(&addr) as libc::socklen_t;
                // SAFETY: a sockaddr_storage has room for any address.
                unsafe { place.cast::<libc::sockaddr_in>().write(addr) };
            }
            SocketAddr::V6(addr) => {
                let addr = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: addr.ip().octets(),
                    },
                    sin6_scope_id: addr.scope_id(),
                };
                raw.len = size_of_val(&addr) as libc::socklen_t;
                // SAFETY: a sockaddr_storage has room for any address.
                unsafe { place.cast::<libc::sockaddr_in6>().write(addr) };
            }
        }
        raw
    }
}

/// What the bytes of a `sockaddr_in` or `sockaddr_in6` say.
pub fn address(bytes: &[u8]) -> SocketAddr {
    let (family, rest) = bytes.split_first_chunk().unwrap();
    let (port, rest) = rest.split_first_chunk().unwrap();
    let port = u16::from_be_bytes(*port);
    match libc::c_int::from(libc::sa_family_t::from_ne_bytes(*family)) {
        libc::AF_INET => (*rest.first_chunk::<4>().unwrap(), port).into(),
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(*rest[4..].first_chunk::<16>().unwrap());
            SocketAddrV6::new(ip, port, 0, 0).into()
        }
        family => panic!("address family {family}"),
    }
}

/// The descriptor in the result of an operation that made one.
#[track_caller]
pub fn descriptor(got: Result<u32, i32>) -> OwnedFd {
    let fd = RawFd::try_from(got.unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Whether a descriptor is closed on exec, and whether it never blocks.
pub fn fd_flags(fd: &impl AsRawFd) -> [bool; 2] {
    let fd = fd.as_raw_fd();
    // SAFETY: the calls take no memory.
    let (of_fd, of_file) = unsafe {
        (
            libc::fcntl(fd, libc::F_GETFD),
            libc::fcntl(fd, libc::F_GETFL),
        )
    };
    assert!(of_fd >= 0 && of_file >= 0);
    [
        of_fd & libc::FD_CLOEXEC != 0,
        of_file & libc::O_NONBLOCK != 0,
    ]
}

#[track_caller]
pub fn assert_receives(socket: &mut impl Read, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    socket.read_exact(&mut received).unwrap();
    assert_eq!(received, bytes);
}

/// A number that `getsockopt(2)` knows.
pub fn option(socket: &impl AsRawFd, level: i32, name: i32) -> i32 {
    let (mut value, mut len) = (0i32, size_of::<i32>() as libc::socklen_t);
    let fd = socket.as_raw_fd();
    // SAFETY: the call writes at most `len` bytes to the number.
    let ret = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &mut len) };
    assert_eq!(ret, 0, "{}", std::io::Error::last_os_error());
    value
}

pub fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: i32) {
    let len = size_of::<i32>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: the call reads one number.
    let ret = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) };
    assert_eq!(ret, 0, "{}", std::io::Error::last_os_error());
}

/// A message with these buffers, and nothing else.
pub fn message(iovecs: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: a msghdr is numbers and pointers, which may be 0 and null.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = iovecs.as_mut_ptr();
    msg.msg_iovlen = iovecs.len() as _;
    msg
}

/// A message with these buffers and this control data.
pub fn message_with(iovecs: &mut [libc::iovec], control: &mut Control) -> libc::msghdr {
    let mut msg = message(iovecs);
    msg.msg_control = control.0.as_mut_ptr().cast();
    msg.msg_controllen = Control::len() as _;
    msg
}

/// Control data of one message: a descriptor that goes to another process.
#[repr(C, align(8))]
pub struct Control(pub [u8; 64]);

impl Control {
    pub fn rights(fd: RawFd) -> Self {
        let mut control = Self([0; 64]);
        control.set_rights(fd);
        control
    }

    pub fn set_rights(&mut self, fd: RawFd) {
        let header = self.0.as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: header and descriptor fit, and the alignment is that of a header.
        unsafe {
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write(fd);
        }
    }

    /// The length of one message with a descriptor.
    pub fn len() -> usize {
        // SAFETY: it is arithmetic.
        unsafe { libc::CMSG_SPACE(4) as usize }
    }

    /// The descriptor that has come with a message.
    pub fn descriptor(&self) -> OwnedFd {
        let header = self.0.as_ptr().cast::<libc::cmsghdr>();
        // SAFETY: as above; the kernel has just made this descriptor for us.
        unsafe {
            assert_eq!((*header).cmsg_level, libc::SOL_SOCKET);
            assert_eq!((*header).cmsg_type, libc::SCM_RIGHTS);
            OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read())
        }
    }
}

/// A group of provided buffers, in memory that stays for ever.
pub struct BufferRing {
    ring: BufRing,
    count: u16,
    memory: *mut u8,
    size: usize,
}

impl BufferRing {
    /// `count` buffers of `size` bytes, none of them given yet.
    pub fn new(ring: &Ring, group: u16, count: u16, size: usize) -> Self {
        let made = ring.register_buf_ring(count.into(), group, BufRingFlags::NONE);
        Self {
            ring: made.unwrap(),
            count,
            memory: vec![0; usize::from(count) * size].leak().as_mut_ptr(),
            size,
        }
    }

    /// Gives these buffers to the kernel, one after the other, whole.
    pub fn give(&mut self, ids: impl IntoIterator<Item = u16>) {
        for id in ids {
            self.give_part(id, self.size);
        }
    }

    /// Gives a buffer that holds these bytes, and no more of it.
    pub fn give_bytes(&mut self, id: u16, bytes: &[u8]) {
        assert!(id < self.count && bytes.len() <= self.size);
        // SAFETY: this much of the memory is the buffer's, which the kernel does not have.
        unsafe {
            let buffer = self.memory.add(usize::from(id) * self.size);
            buffer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.give_part(id, bytes.len());
    }

    fn give_part(&mut self, id: u16, len: usize) {
        assert!(id < self.count);
        // SAFETY: this much of the memory is the buffer's, and stays; tests give no buffer
        // that the kernel has.
        unsafe {
            let buffer = self.memory.add(usize::from(id) * self.size);
            self.ring.add(buffer, len as u32, id);
        }
        self.ring.advance();
    }

    /// The first bytes of a buffer that the kernel has filled.
    pub fn bytes(&self, id: u16, len: u32) -> Vec<u8> {
        assert!(id < self.count && len as usize <= self.size);
        // SAFETY: this much of the memory is the buffer's, and the kernel is done with it.
        unsafe {
            let buffer = self.memory.add(usize::from(id) * self.size);
            slice::from_raw_parts(buffer, len as usize).to_vec()
        }
    }
}
