//! Receiving.
//!
//! All preps of this family take two kinds of flags: `flags`, the `libc::MSG_*` of the
//! system call, and [`RecvFlags`], io_uring's own.

use std::mem::offset_of;

use super::{Target, address};
use crate::abi::{self, Cqe32, Sqe, op, zcrx_area};
use crate::flags::flags;

flags! {
    /// How a receive goes about it: io_uring's own flags, beside the `MSG_*` of `recv(2)`.
    ///
    /// A flag that the operation does not take ends in `EINVAL`.
    RecvFlags: u16 {
        /// Waits for data first, without the attempt that would find none. With
        /// `MSG_DONTWAIT` it always ends in `EAGAIN`. Linux 5.19.
        POLL_FIRST = abi::sendrecv::POLL_FIRST,
        /// Receives again and again. Set by the multishot preps. Linux 6.0.
        MULTISHOT = abi::sendrecv::MULTISHOT,
        /// Fills several provided buffers at once: those that follow each other in a
        /// buffer ring, from the one that the CQE names on, as far as `res` reaches. For
        /// [`prep_recv`](Sqe::prep_recv) and
        /// [`prep_recv_multishot`](Sqe::prep_recv_multishot). Linux 6.10.
        BUNDLE = abi::sendrecv::BUNDLE,
    }
}

impl Sqe {
    /// Receives up to `len` bytes into `buf`.
    ///
    /// Waits for data, also if the socket is `O_NONBLOCK`; with `MSG_DONTWAIT` it ends in
    /// `EAGAIN`. One CQE: `res` is the number of bytes received, which is always less
    /// than 2 GiB; 0 is the end of a stream, or an empty datagram. On a stream it may be
    /// less than `len`, and that breaks a chain only with `MSG_WAITALL`, which goes on
    /// until all is there or the stream ends. `sock_nonempty` says that more data waits.
    ///
    /// With [`buffer_select`](Sqe::buffer_select) the CQE names the buffer that was
    /// filled, `len` bytes of it at most, the whole of it for 0; see
    /// [`RecvFlags::BUNDLE`]. Linux 5.6; `io_uring_prep_recv(3)`, `recv(2)`.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// use ringway::{Ring, prep::RecvFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (here, mut there) = UnixStream::pair()?;
    /// let hello = Box::leak(Box::new([0u8; 8])); // stays, also if a `?` returns early
    ///
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `hello` is never freed, and left alone until the CQE is here; `here` is open
    /// // while the operation starts.
    /// unsafe { slot.prep_recv(&here, hello.as_mut_ptr(), 8, 0, RecvFlags::NONE) };
    /// slot.push();
    /// ring.submit()?;
    /// there.write_all(b"hello")?;
    ///
    /// let cqe = ring.cq().wait_one(None)?.expect("there is no time limit");
    /// assert_eq!(cqe.result()?, 5);
    /// assert_eq!(&hello[..5], b"hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `buf` must be valid for writes of `len` bytes, and nobody else may access them,
    /// until the CQE; the socket stays open until the CQE. With
    /// [`buffer_select`](Sqe::buffer_select) `buf` is not used.
    #[inline]
    pub unsafe fn prep_recv<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        buf: *mut u8,
        len: u32,
        flags: i32,
        how: RecvFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            ioprio: how.0,
            addr: address(buf),
            len,
            op_flags: flags.cast_unsigned(),
            ..socket.into().sqe(op::RECV)
        })
    }

    /// Receives again and again, each time into a provided buffer.
    ///
    /// The group is named afterwards: [`buffer_select`](Sqe::buffer_select), without which
    /// this ends in `EINVAL`, as with `MSG_WAITALL`. `len` limits what is received at a
    /// time (Linux 6.17; `EINVAL` before), 0 does not; see also
    /// [`recv_limit`](Sqe::recv_limit).
    ///
    /// Any number of CQEs, all but the last with the `MORE` flag; the last one comes at
    /// the end of the stream or with an empty datagram (`res` is 0), when the group is
    /// empty (`ENOBUFS`), by a cancel or an error, or when the CQ was full, and then has
    /// data as well. `res` and buffer as for [`prep_recv`](Sqe::prep_recv). Linux 6.0;
    /// `io_uring_prep_recv_multishot(3)`.
    ///
    /// # Safety
    /// The socket stays open until the last CQE. What the kernel may write to was said
    /// when the buffers were provided.
    #[inline]
    pub unsafe fn prep_recv_multishot<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        len: u32,
        flags: i32,
        how: RecvFlags,
    ) -> &mut Sqe {
        let how = how | RecvFlags::MULTISHOT;
        // SAFETY: with MULTISHOT the kernel takes no buffer but provided ones.
        unsafe { self.prep_recv(socket, std::ptr::null_mut(), len, flags, how) }
    }

    /// Ends a [`prep_recv_multishot`](Sqe::prep_recv_multishot) once it has received this
    /// many bytes in all, or some more, as they come; 0 is no limit. For after the prep.
    /// Linux 6.17; liburing has no name for it.
    ///
    /// # Safety
    /// The field means other things to other operations: this SQE was prepared by
    /// [`prep_recv_multishot`](Sqe::prep_recv_multishot).
    #[inline]
    pub unsafe fn recv_limit(&mut self, bytes: u32) -> &mut Sqe {
        // The header's `optlen` is in this place.
        self.file_index = bytes;
        self
    }

    /// Receives a message: into several buffers, with an address and control data.
    ///
    /// At most 1024 buffers (`EMSGSIZE`), and one with
    /// [`buffer_select`](Sqe::buffer_select), of which only the length counts. CQE as for
    /// [`prep_recv`](Sqe::prep_recv). Before it the kernel writes the lengths of name and
    /// control data, and the flags, to `msg`. Linux 5.3; `io_uring_prep_recvmsg(3)`,
    /// `recvmsg(2)`.
    ///
    /// # Safety
    /// The array of iovecs must be valid for reads until submit. Until the CQE `msg` must
    /// be valid for reads and writes; name, control data and buffers must be valid for
    /// writes, and nobody else may access any of them. The socket stays open until the
    /// CQE.
    #[inline]
    pub unsafe fn prep_recvmsg<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        msg: *mut libc::msghdr,
        flags: i32,
        how: RecvFlags,
    ) -> &mut Sqe {
        self.reset_to(recvmsg(socket.into(), msg, flags, how))
    }

    /// Receives message after message, each into a provided buffer that holds everything:
    /// [`RecvmsgOut`] takes it apart.
    ///
    /// Of `msg` only the lengths count: `msg_namelen` and `msg_controllen` are the room
    /// that each buffer gives to name and control data; a buffer with no room for them
    /// and the 16 bytes of a header ends it in `EFAULT`. No iovec is needed, and more than
    /// one is `EINVAL`. The group is named afterwards:
    /// [`buffer_select`](Sqe::buffer_select), without which this ends in `EINVAL`, as with
    /// `MSG_WAITALL`.
    ///
    /// CQEs as for [`prep_recv_multishot`](Sqe::prep_recv_multishot), but `res` counts all
    /// of the buffer that is used, header and room included. The last one has a buffer,
    /// too, if it was an empty datagram, or if the buffer had room for nothing of it.
    /// Linux 6.0; `io_uring_prep_recvmsg_multishot(3)`.
    ///
    /// # Safety
    /// `msg` and its iovec must be valid for reads until submit; the socket stays open
    /// until the last CQE. What the kernel may write to was said when the buffers were
    /// provided.
    #[inline]
    pub unsafe fn prep_recvmsg_multishot<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        msg: *const libc::msghdr,
        flags: i32,
        how: RecvFlags,
    ) -> &mut Sqe {
        let how = how | RecvFlags::MULTISHOT;
        self.reset_to(recvmsg(socket.into(), msg, flags, how))
    }

    /// Receives TCP data again and again, without a copy, into the area of the interface
    /// queue `ifq` that was registered with the ring.
    ///
    /// `len` is the number of bytes after which it ends, 0 for no limit. `how` may be
    /// [`RecvFlags::POLL_FIRST`]. For a ring of 32-byte CQEs that one thread owns, with
    /// DEFER_TASKRUN.
    ///
    /// Any number of CQEs, all but the last with the `MORE` flag: `res` is a number of
    /// bytes, and [`ZcrxCqe`] says where in the area they are; they are the caller's until
    /// given back through the refill ring. The last CQE has none: `res` is 0 at the end of
    /// the stream or at `len`, or an error: `EINVAL` for an unknown `ifq`, `ENOSPC` when
    /// the CQ was full. Linux 6.15; there is no manual page: see
    /// `Documentation/networking/iou-zcrx.rst` of the kernel.
    ///
    /// # Safety
    /// The socket stays open until the last CQE. What the kernel may write to was said
    /// when the area was registered.
    #[inline]
    pub unsafe fn prep_recv_zc<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        len: u32,
        ifq: u32,
        how: RecvFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            // The kernel knows no other form.
            ioprio: (how | RecvFlags::MULTISHOT).0,
            len,
            // The header's `zcrx_ifq_idx` is in this place.
            file_index: ifq,
            ..socket.into().sqe(op::RECV_ZC)
        })
    }
}

#[inline(always)]
fn recvmsg(socket: Target, msg: *const libc::msghdr, flags: i32, how: RecvFlags) -> Sqe {
    Sqe {
        ioprio: how.0,
        addr: address(msg),
        // One message.
        len: 1,
        op_flags: flags.cast_unsigned(),
        ..socket.sqe(op::RECVMSG)
    }
}

/// What [`Sqe::prep_recvmsg_multishot`] put into a provided buffer.
///
/// ```
/// use ringway::prep::RecvmsgOut;
///
/// // As the kernel writes it for 8 bytes of name and no control data.
/// let mut buf = Vec::new();
/// for number in [2u32, 0, 5, 0] {
///     buf.extend(number.to_ne_bytes());
/// }
/// buf.extend(b"me......hello");
///
/// // SAFETY: a msghdr is numbers and pointers, which may be 0 and null.
/// let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
/// msg.msg_namelen = 8;
/// let out = RecvmsgOut::parse(&buf, &msg).unwrap();
/// assert_eq!((out.name(), out.payload()), (&b"me"[..], &b"hello"[..]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RecvmsgOut<'buf> {
    name: &'buf [u8],
    control: &'buf [u8],
    payload: &'buf [u8],
    namelen: u32,
    payloadlen: u32,
    flags: i32,
}

impl<'buf> RecvmsgOut<'buf> {
    /// `buf` is the buffer's beginning, as long as `res` of the CQE says; `msg` has the
    /// lengths that were submitted. `None` if the buffer is too short for them, or says
    /// that it holds more control data than it has room for.
    ///
    /// `io_uring_recvmsg_validate(3)`.
    pub fn parse(buf: &'buf [u8], msg: &libc::msghdr) -> Option<Self> {
        #[allow(clippy::unnecessary_cast, reason = "some targets have 32 bits there")]
        let room = (msg.msg_namelen as usize, msg.msg_controllen as usize);
        let (header, rest) = buf.split_first_chunk::<HEADER>()?;
        let (name, rest) = rest.split_at_checked(room.0)?;
        let (control, payload) = rest.split_at_checked(room.1)?;

        let field = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&header[at..at + 4]);
            u32::from_ne_bytes(bytes)
        };
        let namelen = field(offset_of!(abi::RecvmsgOut, namelen));
        let controllen = field(offset_of!(abi::RecvmsgOut, controllen));
        let payloadlen = field(offset_of!(abi::RecvmsgOut, payloadlen));
        Some(Self {
            name: up_to(name, namelen),
            control: control.get(..usize::try_from(controllen).ok()?)?,
            payload: up_to(payload, payloadlen),
            namelen,
            payloadlen,
            flags: field(offset_of!(abi::RecvmsgOut, flags)).cast_signed(),
        })
    }

    /// The address of the sender, a `sockaddr` without alignment; cut off where its room
    /// ends. `io_uring_recvmsg_name(3)`.
    pub fn name(&self) -> &'buf [u8] {
        self.name
    }

    /// How long the address was before it was cut off.
    pub fn namelen(&self) -> u32 {
        self.namelen
    }

    /// The control data; `MSG_CTRUNC` in the flags says that there was more.
    pub fn control(&self) -> &'buf [u8] {
        self.control
    }

    /// The messages that the control data consists of. `io_uring_recvmsg_cmsg_firsthdr(3)`.
    pub fn control_messages(&self) -> ControlMessages<'buf> {
        ControlMessages { rest: self.control }
    }

    /// The data; cut off where the buffer ends, which for a datagram is `MSG_TRUNC` in
    /// the flags. `io_uring_recvmsg_payload(3)`.
    pub fn payload(&self) -> &'buf [u8] {
        self.payload
    }

    /// What recvmsg(2) would have returned: with `MSG_TRUNC` among the flags of the prep,
    /// how long the data was before it was cut off.
    pub fn payloadlen(&self) -> u32 {
        self.payloadlen
    }

    /// `MSG_*`, as recvmsg(2) gives them back.
    pub fn flags(&self) -> i32 {
        self.flags
    }
}

/// The messages of control data, as [`RecvmsgOut::control_messages`] found them. Ends at
/// one that does not fit.
#[derive(Clone, Debug)]
pub struct ControlMessages<'buf> {
    rest: &'buf [u8],
}

/// One message of control data. See `cmsg(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlMessage<'buf> {
    /// The protocol that it comes from, such as `SOL_SOCKET`.
    pub level: i32,
    /// What it is there, such as `SCM_RIGHTS`.
    pub kind: i32,
    /// What it holds, without alignment.
    pub data: &'buf [u8],
}

impl<'buf> Iterator for ControlMessages<'buf> {
    type Item = ControlMessage<'buf>;

    fn next(&mut self) -> Option<Self::Item> {
        let all = self.rest;
        let (len, rest) = all.split_first_chunk::<WORD>()?;
        let (level, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        // The length includes the header, which needs no padding.
        let len = usize::from_ne_bytes(*len);
        let data = all.get(all.len() - rest.len()..len)?;
        self.rest = all.get(len.next_multiple_of(WORD)..).unwrap_or_default();
        Some(ControlMessage {
            level: i32::from_ne_bytes(*level),
            kind: i32::from_ne_bytes(*kind),
            data,
        })
    }
}

/// The size of what stands before the name.
const HEADER: usize = size_of::<abi::RecvmsgOut>();

/// What control messages are aligned to, and the size of their length.
const WORD: usize = size_of::<usize>();

/// The first `len` bytes, if there are so many.
fn up_to(bytes: &[u8], len: u32) -> &[u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    bytes.get(..len).unwrap_or(bytes)
}

/// Where the bytes are that a CQE of [`Sqe::prep_recv_zc`] speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZcrxCqe {
    off: u64,
    len: u32,
}

impl ZcrxCqe {
    /// `None` for the last CQE, which has no bytes.
    pub fn of(cqe: &Cqe32) -> Option<Self> {
        let [off, _] = cqe.extra();
        let len = cqe.result().ok()?;
        cqe.cqe().has_more().then_some(Self { off, len })
    }

    /// Where they begin, in bytes from the beginning of the area.
    pub fn offset(&self) -> u64 {
        self.off & !zcrx_area::MASK
    }

    /// How many they are.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The area, as the token that its registration returned (`rq_area_token`). With the
    /// offset it makes the `off` of an entry of the refill ring.
    pub fn area_token(&self) -> u64 {
        self.off & zcrx_area::MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Cqe, cqe_flags};

    #[test]
    fn a_zero_copy_receive_tells_area_and_offset() {
        let cqe = |res, flags| Cqe32 {
            cqe: Cqe {
                user_data: 0,
                res,
                flags,
            },
            extra: [0x0102_0304_0506_0708, 0],
        };
        let got = ZcrxCqe::of(&cqe(9, cqe_flags::MORE)).unwrap();
        assert_eq!(got.area_token(), 0x0102 << 48);
        assert_eq!((got.offset(), got.len()), (0x0304_0506_0708, 9));
        assert_eq!(ZcrxCqe::of(&cqe(0, 0)), None);
        assert_eq!(ZcrxCqe::of(&cqe(-libc::ENOSPC, cqe_flags::MORE)), None);
    }

    /// Without the hardware no effect can be seen.
    #[test]
    fn a_zero_copy_receive_is_a_multishot_of_an_interface_queue() {
        let mut sqe = Sqe::default();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_recv_zc(crate::prep::Fixed(3), 7, 9, RecvFlags::POLL_FIRST) };
        assert_eq!((sqe.ioprio, sqe.len, sqe.file_index), (3, 7, 9));
        assert_eq!((sqe.fd, sqe.addr, sqe.off, sqe.op_flags), (3, 0, 0, 0));
    }
}
