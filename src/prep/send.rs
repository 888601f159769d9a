//! Sending.
//!
//! All preps of this family take two kinds of flags: `flags`, the `libc::MSG_*` of the
//! system call, and [`SendFlags`], io_uring's own.

use super::{Target, address};
use crate::abi::{self, Cqe, Sqe, cqe_flags, op};
use crate::flags::flags;

flags! {
    /// How a send goes about it: io_uring's own flags, beside the `MSG_*` of `send(2)`.
    ///
    /// A flag that the operation does not take ends in `EINVAL`.
    SendFlags: u16 {
        /// Waits for room first, without the attempt that would find none. With
        /// `MSG_DONTWAIT` it always ends in `EAGAIN`. Linux 5.19.
        POLL_FIRST = abi::sendrecv::POLL_FIRST,
        /// The memory is a registered buffer. Set by
        /// [`prep_send_zc_fixed`](Sqe::prep_send_zc_fixed) and
        /// [`prep_sendmsg_zc_fixed`](Sqe::prep_sendmsg_zc_fixed), which say which; of no
        /// use without zero-copy. Linux 6.0.
        FIXED_BUF = abi::sendrecv::FIXED_BUF,
        /// The notification says whether the data was copied: [`ZcUsage`]. Zero-copy
        /// only. Linux 6.2.
        ZC_REPORT_USAGE = abi::sendrecv::ZC_REPORT_USAGE,
        /// Sends several provided buffers at once. Set by
        /// [`prep_send_bundle`](Sqe::prep_send_bundle). Linux 6.10.
        BUNDLE = abi::sendrecv::BUNDLE,
        /// `buf` is an array of `libc::iovec`, and `len` their number, 1024 at most. For
        /// the preps that take a `buf`, but not for a registered one. Linux 6.17.
        VECTORIZED = abi::sendrecv::VECTORIZED,
    }
}

/// What the notification of a zero-copy send says of the data, if
/// [`SendFlags::ZC_REPORT_USAGE`] asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZcUsage {
    /// All of it was sent from where it lay.
    InPlace,
    /// It was copied, in part at least, or nothing was sent: zero-copy did not pay here.
    /// What is sent to the same machine is always copied.
    Copied,
}

impl ZcUsage {
    /// `None` for a CQE that is no notification ([`Cqe::is_notif`]). A notification that
    /// was not asked reads as [`InPlace`](Self::InPlace).
    pub fn of(cqe: &Cqe) -> Option<Self> {
        let copied = cqe.res().cast_unsigned() & abi::notif::ZC_COPIED != 0;
        (cqe.flags() & cqe_flags::NOTIF != 0).then_some(match copied {
            true => Self::Copied,
            false => Self::InPlace,
        })
    }
}

impl Sqe {
    /// Sends up to `len` bytes from `buf`.
    ///
    /// Waits for room in the socket, also if that is `O_NONBLOCK`; with `MSG_DONTWAIT` it
    /// ends in `EAGAIN`. A peer that has gone is `EPIPE`, never a signal. Of two sends in
    /// flight on one stream either may be first: chain them, or use
    /// [`prep_send_bundle`](Sqe::prep_send_bundle).
    ///
    /// One CQE: `res` is the number of bytes sent, which is always less than 2 GiB. On a
    /// stream it may be less than `len`, and that breaks a chain only with `MSG_WAITALL`,
    /// which goes on until all is sent. With [`buffer_select`](Sqe::buffer_select)
    /// (Linux 6.10) the next buffer of the group is sent, `len` bytes of it at most, all
    /// for 0; an unknown group is `ENOENT`. Linux 5.6; `io_uring_prep_send(3)`, `send(2)`.
    ///
    /// ```
    /// use std::io::Read;
    /// use std::os::unix::net::UnixStream;
    ///
    /// use ringway::{Ring, prep::SendFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (here, mut there) = UnixStream::pair()?;
    ///
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: the bytes are constant, `here` stays open until the CQE.
    /// unsafe { slot.prep_send(&here, b"hello".as_ptr(), 5, 0, SendFlags::NONE) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = ring.cq().wait_one(None)?.expect("there is no time limit");
    /// assert_eq!(cqe.result()?, 5);
    /// let mut hello = [0; 5];
    /// there.read_exact(&mut hello)?;
    /// assert_eq!(&hello, b"hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `buf` must be valid for reads of `len` bytes, and nobody may write to them, until
    /// the CQE; the socket stays open until the CQE. With [`SendFlags::VECTORIZED`] the
    /// array must be valid for reads until submit, and what it names until the CQE. With
    /// `MSG_ZEROCOPY` the bytes are read until the socket's error queue says that they were
    /// sent (`MSG_ZEROCOPY` in the kernel's documentation), which is after the CQE. With
    /// [`buffer_select`](Sqe::buffer_select) `buf` is not used, and what holds for it
    /// holds for the buffers of the group.
    #[inline]
    pub unsafe fn prep_send<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        buf: *const u8,
        len: u32,
        flags: i32,
        how: SendFlags,
    ) -> &mut Sqe {
        self.reset_to(send(op::SEND, socket.into(), buf, len, flags, how))
    }

    /// Sends the buffers of a group one after the other, as many at a time as it finds,
    /// until the group is empty.
    ///
    /// The group, a buffer ring, is named afterwards by
    /// [`buffer_select`](Sqe::buffer_select), without which no data is sent. Up to 256
    /// buffers go out at a time, in the order in which they were provided, and all of
    /// them, as with `MSG_WAITALL`. `len` limits how many bytes it is at a time, 0 does
    /// not; a buffer that is longer than `len` is cut off.
    ///
    /// A CQE for each time, all but the last with the `MORE` flag; the last one comes
    /// when the group is empty (`ENOBUFS` if it was from the start) or by an error, such
    /// as `ENOENT` for an unknown group. `res` is the number of bytes sent; they were in
    /// the buffer that the CQE names and in those that follow it in the ring. Linux 6.18
    /// answers [`force_async`](Sqe::force_async) with `ECANCELED`. Linux 6.10;
    /// `io_uring_prep_send_bundle(3)`.
    ///
    /// # Safety
    /// The buffers of the group must be valid for reads, and nobody may write to them,
    /// from when they are provided until a CQE covers them; the socket stays open until
    /// the last CQE.
    #[inline]
    pub unsafe fn prep_send_bundle<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        len: u32,
        flags: i32,
        how: SendFlags,
    ) -> &mut Sqe {
        let how = how | SendFlags::BUNDLE;
        let (socket, buf) = (socket.into(), std::ptr::null());
        self.reset_to(send(op::SEND, socket, buf, len, flags, how))
    }

    /// Sends `len` bytes from `buf` to an address, on a socket that is not connected.
    ///
    /// CQE as for [`prep_send`](Sqe::prep_send), and `EINVAL` for an `addrlen` above 128.
    /// Linux 6.1; `io_uring_prep_sendto(3)`, `sendto(2)`.
    ///
    /// # Safety
    /// As for [`prep_send`](Sqe::prep_send), and `addr` must be null or valid for reads of
    /// `addrlen` bytes until submit.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "sendto(2) has six")]
    pub unsafe fn prep_sendto<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        buf: *const u8,
        len: u32,
        flags: i32,
        addr: *const libc::sockaddr,
        addrlen: libc::socklen_t,
        how: SendFlags,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe {
            self.prep_send(socket, buf, len, flags, how)
                .send_set_addr(addr, addrlen)
        }
    }

    /// Sets where a send goes: for after [`prep_send`](Sqe::prep_send),
    /// [`prep_send_zc`](Sqe::prep_send_zc) and
    /// [`prep_send_zc_fixed`](Sqe::prep_send_zc_fixed).
    ///
    /// `io_uring_prep_send_set_addr(3)`.
    ///
    /// # Safety
    /// `addr` must be null or valid for reads of `addrlen` bytes until submit. The fields
    /// mean other things to other operations: one of these has prepared the SQE.
    #[inline]
    pub unsafe fn send_set_addr(
        &mut self,
        addr: *const libc::sockaddr,
        addrlen: libc::socklen_t,
    ) -> &mut Sqe {
        // The field has 16 bits. No address is so long that what is cut here would do.
        let addrlen = u16::try_from(addrlen).unwrap_or(u16::MAX);
        let [first, second] = addrlen.to_ne_bytes();
        self.off = address(addr);
        self.file_index = u32::from_ne_bytes([first, second, 0, 0]);
        self
    }

    /// Sends a message: several buffers, an address, control data.
    ///
    /// At most 1024 buffers (`EMSGSIZE`). CQE as for [`prep_send`](Sqe::prep_send), but
    /// not with [`buffer_select`](Sqe::buffer_select) (`EOPNOTSUPP`). Linux 5.3;
    /// `io_uring_prep_sendmsg(3)`, `sendmsg(2)`.
    ///
    /// # Safety
    /// `msg`, and the name and the array of iovecs that it points to, must be valid for
    /// reads until submit. The buffers and the control data must be valid for reads, and
    /// nobody may write to them, until the CQE; the socket stays open until the CQE. As for
    /// [`prep_send`](Sqe::prep_send), `MSG_ZEROCOPY` reads them for longer.
    #[inline]
    pub unsafe fn prep_sendmsg<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        msg: *const libc::msghdr,
        flags: i32,
        how: SendFlags,
    ) -> &mut Sqe {
        self.reset_to(sendmsg(op::SENDMSG, socket.into(), msg, flags, how))
    }

    /// As [`prep_send`](Sqe::prep_send), but tries to send the data from where it lies.
    ///
    /// Two CQEs: the result, as for [`prep_send`](Sqe::prep_send), with the `MORE` flag,
    /// and then the notification ([`Cqe::is_notif`]) that the memory is free again, which
    /// with TCP is when the peer has acknowledged it. `MORE` decides, also in a result
    /// that is an error: without it there is no notification, but for one case: a send that
    /// has not begun when its chain of links fails says ECANCELED without `MORE`, and its
    /// notification comes all the same. `res` of the notification is 0, or read by
    /// [`ZcUsage`].
    ///
    /// For TCP, UDP and what else supports `MSG_ZEROCOPY`, else `EOPNOTSUPP`. `ENOMEM`
    /// above the `RLIMIT_MEMLOCK` of a user without privileges. Not with
    /// [`skip_success`](Sqe::skip_success) (`EINVAL`), nor with
    /// [`buffer_select`](Sqe::buffer_select) (`EOPNOTSUPP`). To an address by
    /// [`send_set_addr`](Sqe::send_set_addr). Linux 6.0; `io_uring_prep_send_zc(3)`.
    ///
    /// # Safety
    /// `buf` must be valid for reads of `len` bytes, and nobody may write to them, until
    /// the last CQE: the notification if there is one. The socket stays open until the
    /// first. With [`SendFlags::VECTORIZED`] the array must be valid for reads until
    /// submit, and what it names until the last CQE.
    #[inline]
    pub unsafe fn prep_send_zc<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        buf: *const u8,
        len: u32,
        flags: i32,
        how: SendFlags,
    ) -> &mut Sqe {
        self.reset_to(send(op::SEND_ZC, socket.into(), buf, len, flags, how))
    }

    /// As [`prep_send_zc`](Sqe::prep_send_zc), from the registered buffer `buf_index`.
    ///
    /// `buf` may point anywhere into that buffer; `EFAULT` if the bytes are not all in it,
    /// or if there is no such buffer. Linux 6.0; `io_uring_prep_send_zc_fixed(3)`.
    ///
    /// # Safety
    /// As for [`prep_send_zc`](Sqe::prep_send_zc).
    #[inline]
    pub unsafe fn prep_send_zc_fixed<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        buf: *const u8,
        len: u32,
        flags: i32,
        how: SendFlags,
        buf_index: u16,
    ) -> &mut Sqe {
        let how = how | SendFlags::FIXED_BUF;
        self.reset_to(Sqe {
            buf_index,
            ..send(op::SEND_ZC, socket.into(), buf, len, flags, how)
        })
    }

    /// As [`prep_sendmsg`](Sqe::prep_sendmsg), but tries to send the data from where it
    /// lies.
    ///
    /// CQEs and errors as for [`prep_send_zc`](Sqe::prep_send_zc). Linux 6.1;
    /// `io_uring_prep_sendmsg_zc(3)`.
    ///
    /// # Safety
    /// As for [`prep_sendmsg`](Sqe::prep_sendmsg), but the buffers must be valid for
    /// reads, and nobody may write to them, until the last CQE: the notification if there
    /// is one.
    #[inline]
    pub unsafe fn prep_sendmsg_zc<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        msg: *const libc::msghdr,
        flags: i32,
        how: SendFlags,
    ) -> &mut Sqe {
        self.reset_to(sendmsg(op::SENDMSG_ZC, socket.into(), msg, flags, how))
    }

    /// As [`prep_sendmsg_zc`](Sqe::prep_sendmsg_zc), all of it from the registered buffer
    /// `buf_index`.
    ///
    /// `EFAULT` if an iovec leaves that buffer, or if there is no such buffer.
    /// Linux 6.15; `io_uring_prep_sendmsg_zc_fixed(3)`.
    ///
    /// # Safety
    /// As for [`prep_sendmsg_zc`](Sqe::prep_sendmsg_zc).
    #[inline]
    pub unsafe fn prep_sendmsg_zc_fixed<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        msg: *const libc::msghdr,
        flags: i32,
        how: SendFlags,
        buf_index: u16,
    ) -> &mut Sqe {
        let how = how | SendFlags::FIXED_BUF;
        self.reset_to(Sqe {
            buf_index,
            ..sendmsg(op::SENDMSG_ZC, socket.into(), msg, flags, how)
        })
    }
}

#[inline(always)]
fn send(opcode: u8, socket: Target, buf: *const u8, len: u32, flags: i32, how: SendFlags) -> Sqe {
    Sqe {
        ioprio: how.0,
        addr: address(buf),
        len,
        op_flags: flags.cast_unsigned(),
        ..socket.sqe(opcode)
    }
}

#[inline(always)]
fn sendmsg(
    opcode: u8,
    socket: Target,
    msg: *const libc::msghdr,
    flags: i32,
    how: SendFlags,
) -> Sqe {
    Sqe {
        ioprio: how.0,
        addr: address(msg),
        // One message.
        len: 1,
        op_flags: flags.cast_unsigned(),
        ..socket.sqe(opcode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_tells_usage() {
        let usage = |res, flags| {
            ZcUsage::of(&Cqe {
                user_data: 0,
                res,
                flags,
            })
        };
        assert_eq!(usage(0, cqe_flags::NOTIF), Some(ZcUsage::InPlace));
        assert_eq!(usage(i32::MIN, cqe_flags::NOTIF), Some(ZcUsage::Copied));
        assert_eq!(usage(i32::MIN, cqe_flags::MORE), None);
    }
}
