//! Making and connecting sockets.

use super::{Direct, Target, address};
use crate::abi::{self, Sqe, op};
use crate::flags::flags;

flags! {
    /// How an accept goes about it: io_uring's own flags, beside those of `accept4(2)`.
    AcceptFlags: u16 {
        /// Accepts connection after connection. Set by the multishot preps.
        MULTISHOT = abi::accept::MULTISHOT,
        /// Ends in `EAGAIN` instead of waiting. Linux 6.10.
        DONTWAIT = abi::accept::DONTWAIT,
        /// Waits for readiness first, without the attempt that would find no
        /// connection. With [`DONTWAIT`](Self::DONTWAIT) it always ends in `EAGAIN`.
        /// Linux 6.10.
        POLL_FIRST = abi::accept::POLL_FIRST,
    }
}

impl Sqe {
    /// Makes a socket.
    ///
    /// `domain`, `kind` (with `SOCK_CLOEXEC` and `SOCK_NONBLOCK`) and `protocol` are
    /// libc's; `flags` must be 0, the kernel knows none. One CQE: `res` is the new
    /// descriptor, and the caller owns it, also if it has lost interest by then.
    /// Linux 5.19; `io_uring_prep_socket(3)`, `socket(2)`.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_socket(
        &mut self,
        domain: i32,
        kind: i32,
        protocol: i32,
        flags: u32,
    ) -> &mut Sqe {
        self.reset_to(socket(domain, kind, protocol, flags))
    }

    /// As [`prep_socket`](Sqe::prep_socket), but the socket becomes a fixed file at
    /// `place`.
    ///
    /// `SOCK_CLOEXEC` means nothing there: `EINVAL`. `res` and the errors of the table
    /// are told at [`Direct`]. Linux 5.19; `io_uring_prep_socket_direct(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_socket_direct(
        &mut self,
        domain: i32,
        kind: i32,
        protocol: i32,
        place: Direct,
        flags: u32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            file_index: place.field(),
            ..socket(domain, kind, protocol, flags)
        })
    }

    /// [`prep_socket_direct`](Sqe::prep_socket_direct) at [`Direct::ALLOC`]: `res` is the
    /// index of the new fixed file. Linux 5.19; `io_uring_prep_socket_direct_alloc(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_socket_direct_alloc(
        &mut self,
        domain: i32,
        kind: i32,
        protocol: i32,
        flags: u32,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_socket_direct(domain, kind, protocol, Direct::ALLOC, flags) }
    }

    /// Gives the socket its own address.
    ///
    /// One CQE: `res` is 0. Linux 6.11; `io_uring_prep_bind(3)`, `bind(2)`.
    ///
    /// # Safety
    /// `addr` must be valid for reads of `addrlen` bytes until submit; the socket stays
    /// open until the CQE.
    #[inline]
    pub unsafe fn prep_bind<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        addr: *const libc::sockaddr,
        addrlen: libc::socklen_t,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: addrlen.into(),
            addr: address(addr),
            ..socket.into().sqe(op::BIND)
        })
    }

    /// Lets the socket take connections, of which `backlog` may wait to be accepted.
    ///
    /// One CQE: `res` is 0. Linux 6.11; `io_uring_prep_listen(3)`, `listen(2)`.
    ///
    /// # Safety
    /// The socket stays open until the CQE.
    #[inline]
    pub unsafe fn prep_listen<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        backlog: i32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            len: backlog.cast_unsigned(),
            ..socket.into().sqe(op::LISTEN)
        })
    }

    /// Connects the socket to an address.
    ///
    /// Waits until it is connected or refused, also when the socket is `O_NONBLOCK`. One
    /// CQE: `res` is 0. A connect that was cancelled may still be under way: close the
    /// socket. Linux 5.5; `io_uring_prep_connect(3)`, `connect(2)`.
    ///
    /// # Safety
    /// `addr` must be valid for reads of `addrlen` bytes until submit; the socket stays
    /// open until the CQE.
    #[inline]
    pub unsafe fn prep_connect<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        addr: *const libc::sockaddr,
        addrlen: libc::socklen_t,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: addrlen.into(),
            addr: address(addr),
            ..socket.into().sqe(op::CONNECT)
        })
    }

    /// Accepts one connection of a listening socket.
    ///
    /// The peer's address goes to `addr`, of which `*addrlen` bytes are room, and its
    /// length to `*addrlen`, which says more than the room was if it was cut off; both
    /// may be null. `flags` are `SOCK_CLOEXEC` and `SOCK_NONBLOCK`, which is not taken
    /// over from the listening socket. Waits for a connection, also when that one is
    /// `O_NONBLOCK`; see [`AcceptFlags::DONTWAIT`].
    ///
    /// One CQE: `res` is the new descriptor, and the caller owns it, also if it has lost
    /// interest by then; a `sock_nonempty` says that further connections wait. Linux 5.5;
    /// `io_uring_prep_accept(3)`, `accept4(2)`.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::{TcpListener, TcpStream};
    /// use std::os::fd::{FromRawFd, OwnedFd};
    /// use std::ptr;
    ///
    /// use ringway::{Ring, prep::AcceptFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    ///
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// let (addr, addrlen) = (ptr::null_mut(), ptr::null_mut());
    /// // SAFETY: `listener` stays open until the CQE; no address is asked for.
    /// unsafe {
    ///     slot.prep_accept(&listener, addr, addrlen, libc::SOCK_CLOEXEC, AcceptFlags::NONE)
    /// };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// client.write_all(b"hello")?;
    ///
    /// let cqe = ring.cq().wait_one(None)?.expect("there is no time limit");
    /// // SAFETY: the kernel has just made this descriptor for us.
    /// let fd = unsafe { OwnedFd::from_raw_fd(cqe.result()?.try_into()?) };
    /// let mut hello = [0; 5];
    /// TcpStream::from(fd).read_exact(&mut hello)?;
    /// assert_eq!(&hello, b"hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `addr` and `addrlen` are read and written when the connection is there: until the
    /// CQE `addrlen` must be null or valid for both, `addr` null or valid for writes of
    /// `*addrlen` bytes, and nobody else may access them. The socket stays open until
    /// the CQE.
    #[inline]
    pub unsafe fn prep_accept<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        addr: *mut libc::sockaddr,
        addrlen: *mut libc::socklen_t,
        flags: i32,
        how: AcceptFlags,
    ) -> &mut Sqe {
        self.reset_to(accept(socket.into(), addr, addrlen, flags, how))
    }

    /// As [`prep_accept`](Sqe::prep_accept), but the connection becomes a fixed file at
    /// `place`.
    ///
    /// `SOCK_CLOEXEC` means nothing there: `EINVAL`. `res` and the errors of the table
    /// are told at [`Direct`]; a connection that finds no place in it is closed.
    /// Linux 5.15; `io_uring_prep_accept_direct(3)`.
    ///
    /// # Safety
    /// As for [`prep_accept`](Sqe::prep_accept).
    #[inline]
    pub unsafe fn prep_accept_direct<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        addr: *mut libc::sockaddr,
        addrlen: *mut libc::socklen_t,
        flags: i32,
        place: Direct,
        how: AcceptFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            file_index: place.field(),
            ..accept(socket.into(), addr, addrlen, flags, how)
        })
    }

    /// As [`prep_accept`](Sqe::prep_accept), but accepts connection after connection.
    ///
    /// Any number of CQEs, all but the last with the `MORE` flag, each with a descriptor
    /// of its own; the last one comes by a cancel or an error, or when the CQ was full,
    /// and then has a descriptor as well. `addr` and `addrlen` are the same for all, and
    /// the next connection overwrites them: null is the usual choice, getpeername(2) the
    /// other way. Linux 5.19; `io_uring_prep_multishot_accept(3)`.
    ///
    /// # Safety
    /// As for [`prep_accept`](Sqe::prep_accept), until the last CQE.
    #[inline]
    pub unsafe fn prep_multishot_accept<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        addr: *mut libc::sockaddr,
        addrlen: *mut libc::socklen_t,
        flags: i32,
        how: AcceptFlags,
    ) -> &mut Sqe {
        let how = how | AcceptFlags::MULTISHOT;
        self.reset_to(accept(socket.into(), addr, addrlen, flags, how))
    }

    /// As [`prep_multishot_accept`](Sqe::prep_multishot_accept), but each connection
    /// becomes a fixed file, whose index is the CQE's `res`: [`Direct::ALLOC`], the only
    /// place that fits more than one.
    ///
    /// Ends in `ENFILE` when the table is full; that connection is closed. Linux 5.19;
    /// `io_uring_prep_multishot_accept_direct(3)`.
    ///
    /// # Safety
    /// As for [`prep_accept`](Sqe::prep_accept), until the last CQE.
    #[inline]
    pub unsafe fn prep_multishot_accept_direct<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        addr: *mut libc::sockaddr,
        addrlen: *mut libc::socklen_t,
        flags: i32,
        how: AcceptFlags,
    ) -> &mut Sqe {
        let how = how | AcceptFlags::MULTISHOT;
        // SAFETY: the contract is the same.
        unsafe { self.prep_accept_direct(socket, addr, addrlen, flags, Direct::ALLOC, how) }
    }

    /// Ends one direction of a connection or both, for every descriptor of the socket.
    ///
    /// `how` is `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`. Operations that wait for the socket
    /// wake up and end as their system calls do. One CQE: `res` is 0. A worker thread
    /// does it. Linux 5.11; `io_uring_prep_shutdown(3)`, `shutdown(2)`.
    ///
    /// # Safety
    /// The socket stays open until the CQE.
    #[inline]
    pub unsafe fn prep_shutdown<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        how: i32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            len: how.cast_unsigned(),
            ..socket.into().sqe(op::SHUTDOWN)
        })
    }
}

#[inline(always)]
fn socket(domain: i32, kind: i32, protocol: i32, flags: u32) -> Sqe {
    Sqe {
        opcode: op::SOCKET,
        fd: domain,
        off: kind.cast_unsigned().into(),
        len: protocol.cast_unsigned(),
        op_flags: flags,
        ..Sqe::default()
    }
}

#[inline(always)]
fn accept(
    socket: Target,
    addr: *mut libc::sockaddr,
    addrlen: *mut libc::socklen_t,
    flags: i32,
    how: AcceptFlags,
) -> Sqe {
    Sqe {
        ioprio: how.0,
        off: address(addrlen),
        addr: address(addr),
        op_flags: flags.cast_unsigned(),
        ..socket.sqe(op::ACCEPT)
    }
}
