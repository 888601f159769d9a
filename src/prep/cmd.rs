//! Commands to a device or a socket.

use super::{Target, Timespec, address};
use crate::abi::{self, Cqe32, Sqe, op, socket_cmd, timestamp};
use crate::flags::flags;
use crate::{Owner, Slot128};
use libc::{c_void, sockaddr, socklen_t};

flags! {
    /// Flags of [`Sqe::prep_uring_cmd`].
    UringCmdFlags: u32 {
        /// The command transfers to or from the registered buffer of the index that is
        /// given. Linux 6.1.
        FIXED = abi::uring_cmd::FIXED,
    }
}

/// What [`Sqe::prep_cmd_sock`] asks of a socket; the number is the kernel's
/// (`SOCKET_URING_OP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketCmd(pub u32);

impl SocketCmd {
    /// See [`Sqe::prep_cmd_siocinq`].
    pub const SIOCINQ: Self = Self(socket_cmd::SIOCINQ);
    /// See [`Sqe::prep_cmd_siocoutq`].
    pub const SIOCOUTQ: Self = Self(socket_cmd::SIOCOUTQ);
    /// See [`Sqe::prep_cmd_getsockopt`].
    pub const GETSOCKOPT: Self = Self(socket_cmd::GETSOCKOPT);
    /// See [`Sqe::prep_cmd_setsockopt`].
    pub const SETSOCKOPT: Self = Self(socket_cmd::SETSOCKOPT);
    /// See [`Sqe::prep_cmd_tx_timestamp`].
    pub const TX_TIMESTAMP: Self = Self(socket_cmd::TX_TIMESTAMP);
}

impl Sqe {
    /// Gives a command to what stands behind the file: a driver, a file system.
    ///
    /// `command` is a number of theirs; what they read from the SQE, and what they answer,
    /// is theirs too. Most read the command area, 16 bytes, or 80 on a ring with
    /// [`sqe128`](crate::Builder::sqe128): fill it after the prep, by
    /// [`Slot::command_mut`](crate::Slot::command_mut). For other fields there is
    /// [`as_bytes_mut`](Sqe::as_bytes_mut). `buffer` is the index for
    /// [`FIXED`](UringCmdFlags::FIXED), and 0 without.
    ///
    /// Usually one CQE. `EOPNOTSUPP`: the file takes no commands. Linux 5.19;
    /// `io_uring_prep_uring_cmd(3)`.
    ///
    /// # Safety
    /// As the command requires it, of the memory and the descriptors that it names. The
    /// file stays open until the CQE. The kernel has its own copy of the SQE and its
    /// command area after the submit.
    #[inline]
    pub unsafe fn prep_uring_cmd<'fd>(
        &mut self,
        command: u32,
        file: impl Into<Target<'fd>>,
        flags: UringCmdFlags,
        buffer: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            op_flags: flags.0,
            buf_index: buffer,
            ..file.into().command(op::URING_CMD, command)
        })
    }

    /// Gives a command to a socket; the functions for each command say what it makes of
    /// the arguments.
    ///
    /// One CQE, unless they say otherwise. `EOPNOTSUPP` for an unknown command, for
    /// what is no socket, and for a socket whose protocol has no ioctls: TCP, UDP and raw
    /// sockets have them, Unix sockets do not. Linux 6.7; `io_uring_prep_cmd_sock(3)`.
    ///
    /// # Safety
    /// What `value` must be is said there; the socket stays open until the CQE.
    #[inline]
    pub unsafe fn prep_cmd_sock<'fd>(
        &mut self,
        command: SocketCmd,
        socket: impl Into<Target<'fd>>,
        level: i32,
        option: i32,
        value: *mut c_void,
        len: socklen_t,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            addr: halves(level.cast_unsigned(), option.cast_unsigned()),
            file_index: len,
            addr3: address(value),
            ..socket.into().command(op::URING_CMD, command.0)
        })
    }

    /// Asks how much there is to read: `res` is the bytes in the receive buffer of a TCP
    /// socket, the size of the next datagram of a UDP socket.
    ///
    /// `EINVAL` for a socket that listens. Otherwise as
    /// [`prep_cmd_sock`](Sqe::prep_cmd_sock). Linux 6.7; `tcp(7)`, `udp(7)`.
    ///
    /// # Safety
    /// The socket stays open until the CQE.
    #[inline]
    pub unsafe fn prep_cmd_siocinq<'fd>(&mut self, socket: impl Into<Target<'fd>>) -> &mut Sqe {
        // SAFETY: the command uses no value.
        unsafe { self.prep_cmd_sock(SocketCmd::SIOCINQ, socket, 0, 0, std::ptr::null_mut(), 0) }
    }

    /// Asks how much is not sent yet: `res` is the bytes in the send buffer, which for a
    /// TCP socket are those that the peer has not acknowledged.
    ///
    /// `EINVAL` for a socket that listens. Otherwise as
    /// [`prep_cmd_sock`](Sqe::prep_cmd_sock). Linux 6.7; `tcp(7)`, `udp(7)`.
    ///
    /// # Safety
    /// The socket stays open until the CQE.
    #[inline]
    pub unsafe fn prep_cmd_siocoutq<'fd>(&mut self, socket: impl Into<Target<'fd>>) -> &mut Sqe {
        // SAFETY: the command uses no value.
        unsafe { self.prep_cmd_sock(SocketCmd::SIOCOUTQ, socket, 0, 0, std::ptr::null_mut(), 0) }
    }

    /// Reads an option of a socket. `level` must be `libc::SOL_SOCKET`, otherwise
    /// `EOPNOTSUPP`; `option` is one of `libc::SO_*`.
    ///
    /// `res` is the size of the value, which is cut to `len`. Otherwise as
    /// [`prep_cmd_sock`](Sqe::prep_cmd_sock). Linux 6.7; `getsockopt(2)`.
    ///
    /// ```
    /// use std::ffi::c_int;
    /// use std::net::UdpSocket;
    ///
    /// use libc::{SO_BROADCAST, SOL_SOCKET};
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_broadcast(true)?;
    /// let value: &mut c_int = Box::leak(Box::new(-1)); // stays, also if a `?` returns early
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// let to = (&raw mut *value).cast();
    /// // SAFETY: `value` is never freed, and left alone until the CQE is here; `socket` is
    /// // open while the operation starts.
    /// unsafe { slot.prep_cmd_getsockopt(&socket, SOL_SOCKET, SO_BROADCAST, to, 4) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("there is no timeout");
    /// # if cqe.res() == -libc::EOPNOTSUPP {
    /// #     return Ok(()); // older than Linux 6.7
    /// # }
    /// assert_eq!((cqe.result()?, *value), (4, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `value` must be valid for writes of `len` bytes, and nobody else may access them,
    /// until the CQE; the socket stays open until the CQE.
    #[inline]
    pub unsafe fn prep_cmd_getsockopt<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        level: i32,
        option: i32,
        value: *mut c_void,
        len: socklen_t,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_cmd_sock(SocketCmd::GETSOCKOPT, socket, level, option, value, len) }
    }

    /// Sets an option of a socket, of any level.
    ///
    /// `res` is 0. Otherwise as [`prep_cmd_sock`](Sqe::prep_cmd_sock). Linux 6.7;
    /// `setsockopt(2)`.
    ///
    /// # Safety
    /// `value` must be valid for reads of `len` bytes, and nobody may write to them, until
    /// the CQE; the socket stays open until the CQE.
    #[inline]
    pub unsafe fn prep_cmd_setsockopt<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        level: i32,
        option: i32,
        value: *const c_void,
        len: socklen_t,
    ) -> &mut Sqe {
        let value = value.cast_mut();
        // SAFETY: the contract is the same, and this command does not write.
        unsafe { self.prep_cmd_sock(SocketCmd::SETSOCKOPT, socket, level, option, value, len) }
    }

    /// Reports when what the socket sends is sent.
    ///
    /// The socket must have been told to take these times, by `SO_TIMESTAMPING` with
    /// `SOF_TIMESTAMPING_OPT_TSONLY` among its flags. For a ring with 32-byte or mixed CQEs,
    /// otherwise `EINVAL`. Any number of CQEs with the `MORE` flag, which
    /// [`TxTimestamp::decode`] reads; the last one, without it, comes by a cancel or an
    /// error. Otherwise as [`prep_cmd_sock`](Sqe::prep_cmd_sock). Linux 6.17; the kernel's
    /// `Documentation/networking/timestamping.rst`.
    ///
    /// # Safety
    /// The socket stays open until the last CQE.
    #[inline]
    pub unsafe fn prep_cmd_tx_timestamp<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
    ) -> &mut Sqe {
        let command = SocketCmd::TX_TIMESTAMP;
        // SAFETY: the command uses no value.
        unsafe { self.prep_cmd_sock(command, socket, 0, 0, std::ptr::null_mut(), 0) }
    }

    /// Gives the address of the socket, or with `peer` that of the other end.
    ///
    /// `len` holds the size of the memory at `addr`, and becomes that of the address; the
    /// address is cut to fit. `res` is 0; `ENOTCONN` (there is no other end). Otherwise as
    /// [`prep_cmd_sock`](Sqe::prep_cmd_sock). Linux 6.19;
    /// `io_uring_prep_cmd_getsockname(3)`, `getsockname(2)`, `getpeername(2)`.
    ///
    /// # Safety
    /// `len` must be valid for reads and writes and `addr` for writes of that many bytes,
    /// and nobody else may access either, until the CQE; the socket stays open until the
    /// CQE.
    #[inline]
    pub unsafe fn prep_cmd_getsockname<'fd>(
        &mut self,
        socket: impl Into<Target<'fd>>,
        addr: *mut sockaddr,
        len: *mut socklen_t,
        peer: bool,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            addr: address(addr),
            file_index: peer.into(),
            addr3: address(len),
            ..socket
                .into()
                .command(op::URING_CMD, socket_cmd::GETSOCKNAME)
        })
    }

    /// Tells a block device that these bytes are not needed any more; what they hold
    /// afterwards is the device's affair.
    ///
    /// Both `offset` and `len` are in bytes, multiples of the logical block size. Reads and
    /// writes of the same bytes that are in flight are not kept apart from it. One CQE:
    /// `res` is 0. `EOPNOTSUPP` for a device that cannot, and for what is no block device;
    /// `EINVAL` for bytes that the device does not have; `EBADF` for a file that is not open
    /// for writing. Linux 6.12; `io_uring_prep_cmd_discard(3)`.
    ///
    /// # Safety
    /// The device stays open until the CQE.
    #[inline]
    pub unsafe fn prep_cmd_discard<'fd>(
        &mut self,
        device: impl Into<Target<'fd>>,
        offset: u64,
        len: u64,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            addr: offset,
            addr3: len,
            ..device
                .into()
                .command(op::URING_CMD, abi::block_cmd::DISCARD)
        })
    }

    /// Resets all zones of a zoned block device that must be written in order: their data
    /// is gone.
    ///
    /// One CQE: `res` is 0. `EOPNOTSUPP` for a device without zones, and for what is no
    /// block device. Newer than Linux 7.0: `EINVAL` before;
    /// `io_uring_prep_cmd_zone_reset_all(3)`.
    ///
    /// # Safety
    /// The device stays open until the CQE.
    #[inline]
    pub unsafe fn prep_cmd_zone_reset_all<'fd>(
        &mut self,
        device: impl Into<Target<'fd>>,
    ) -> &mut Sqe {
        let command = abi::block_cmd::ZONE_RESET_ALL;
        self.reset_to(device.into().command(op::URING_CMD, command))
    }
}

impl Target<'_> {
    /// The start of every prep of a command, whose number has the first half of `off`. The
    /// second stays 0.
    #[inline(always)]
    fn command(self, opcode: u8, command: u32) -> Sqe {
        Sqe {
            off: halves(command, 0),
            ..self.sqe(opcode)
        }
    }
}

/// Two fields of 32 bits in the place of one, the first at the lower address.
#[inline(always)]
const fn halves(first: u32, second: u32) -> u64 {
    let (first, second) = (first as u64, second as u64);
    if cfg!(target_endian = "big") {
        first << 32 | second
    } else {
        second << 32 | first
    }
}

/// What a CQE of [`Sqe::prep_cmd_tx_timestamp`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxTimestamp {
    /// Which send: with `SOF_TIMESTAMPING_OPT_ID` a count of the datagrams, or the offset
    /// of the last byte in a stream; otherwise 0.
    pub key: u32,
    /// What happened to it.
    pub stage: TxStage,
    /// Whether the device took the time, by a clock of its own; otherwise the kernel, by
    /// `CLOCK_REALTIME`.
    pub hardware: bool,
    /// When.
    pub time: Timespec,
}

/// What happened at a [`TxTimestamp`] (`SCM_TSTAMP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TxStage {
    /// It went to the device, or from there to the wire: `SOF_TIMESTAMPING_TX_SOFTWARE`,
    /// `TX_HARDWARE`.
    Sent,
    /// It came to the packet scheduler: `TX_SCHED`.
    Scheduled,
    /// The peer has acknowledged it: `TX_ACK`.
    Acknowledged,
    /// Something that this library does not know, by its number.
    Other(u32),
}

impl TxTimestamp {
    /// `None` for a CQE without the `MORE` flag: the last one, whose `res` is why it ended.
    pub fn decode(cqe: &Cqe32) -> Option<Self> {
        let [seconds, nanoseconds] = cqe.extra();
        let cqe = cqe.cqe();
        cqe.has_more().then(|| Self {
            key: cqe.res().cast_unsigned(),
            stage: match cqe.flags() >> timestamp::TYPE_SHIFT {
                0 => TxStage::Sent,
                1 => TxStage::Scheduled,
                2 => TxStage::Acknowledged,
                other => TxStage::Other(other),
            },
            hardware: cqe.flags() & timestamp::TSTAMP_HW != 0,
            time: Timespec::new(seconds.cast_signed(), nanoseconds.cast_signed()),
        })
    }
}

impl<R: Owner> Slot128<'_, R> {
    /// As [`prep_uring_cmd`](Sqe::prep_uring_cmd), with an SQE of 128 bytes: its command area
    /// is the 80 of [`Slot128::command_mut`].
    ///
    /// On a ring with [`sqe128`](crate::Builder::sqe128) the two do the same, and that one
    /// is older. Linux 6.19; `io_uring_prep_uring_cmd128(3)`.
    ///
    /// # Safety
    /// As for [`prep_uring_cmd`](Sqe::prep_uring_cmd). The SQE is pushed from this slot, not
    /// from a copy.
    pub unsafe fn prep_uring_cmd128<'fd>(
        &mut self,
        command: u32,
        file: impl Into<Target<'fd>>,
        flags: UringCmdFlags,
        buffer: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            op_flags: flags.0,
            buf_index: buffer,
            ..file.into().command(op::URING_CMD128, command)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Cqe;
    use crate::prep::tests::*;

    /// Where the fields lie that share a place with others.
    const COMMAND: usize = OFF;
    const LEVEL: usize = ADDR;
    const OPTION: usize = ADDR + 4;
    const OPTION_LEN: usize = 44;
    const VALUE: usize = 48;

    #[test]
    fn uring_cmds() {
        let (file, fd) = null();
        let (none, fixed) = (UringCmdFlags::NONE, UringCmdFlags::FIXED);
        for (flags, buffer) in [(none, 0), (fixed, 0x0102)] {
            let rest: [(usize, &[u8]); 4] = [
                (FD, &fd),
                (COMMAND, &n32(COUNT)),
                (OP_FLAGS, &n32(flags.0)),
                (BUF_INDEX, &n16(buffer)),
            ];
            let mut sqe = used();
            // SAFETY: nobody submits this SQE.
            unsafe { sqe.prep_uring_cmd(COUNT, &file, flags, buffer) };
            assert_fields(sqe, &[&[(OPCODE, &[46][..])], &rest[..]].concat());
        }
    }

    #[test]
    fn socket_commands() {
        let (file, fd) = null();
        let command = SocketCmd(COUNT);
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cmd_sock(command, &file, 5, -6, wild(), 7) };
        assert_fields(
            sqe,
            &[
                (OPCODE, &[46]),
                (FD, &fd),
                (COMMAND, &n32(COUNT)),
                (LEVEL, &n32(5)),
                (OPTION, &n32(-6i32 as u32)),
                (OPTION_LEN, &n32(7)),
                (VALUE, &n64(WILD as u64)),
            ],
        );
        for (peer, number) in [(false, 0), (true, 1)] {
            let mut sqe = used();
            let len = wild::<socklen_t>().wrapping_byte_add(1);
            // SAFETY: nobody submits this SQE.
            unsafe { sqe.prep_cmd_getsockname(&file, wild(), len, peer) };
            assert_fields(
                sqe,
                &[
                    (OPCODE, &[46]),
                    (FD, &fd),
                    (COMMAND, &n32(5)),
                    (ADDR, &n64(WILD as u64)),
                    (OPTION_LEN, &n32(number)),
                    (VALUE, &n64(WILD as u64 + 1)),
                ],
            );
        }
    }

    #[test]
    fn block_commands() {
        let (file, fd) = null();
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cmd_discard(&file, OFFSET, OFFSET + 1) };
        assert_fields(
            sqe,
            &[
                (OPCODE, &[46]),
                (FD, &fd),
                (COMMAND, &n32(0x1200)),
                (ADDR, &n64(OFFSET)),
                (VALUE, &n64(OFFSET + 1)),
            ],
        );
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cmd_zone_reset_all(&file) };
        assert_fields(sqe, &[(OPCODE, &[46]), (FD, &fd), (COMMAND, &n32(0x1201))]);
    }

    #[test]
    fn each_part_of_a_timestamp_is_read() {
        let cqe = |res, flags| Cqe32 {
            cqe: Cqe {
                user_data: 1,
                res,
                flags,
            },
            extra: [3, 999_999_999],
        };
        let stamp = TxTimestamp {
            key: 7,
            stage: TxStage::Sent,
            hardware: false,
            time: Timespec::new(3, 999_999_999),
        };
        for (res, flags, want) in [
            (7, 0x0002, stamp),
            (7, 0x8002, stamp), // as on a ring of mixed CQEs
            (
                -1,
                0x0002,
                TxTimestamp {
                    key: u32::MAX,
                    ..stamp
                },
            ),
            (
                7,
                0x1_0002,
                TxTimestamp {
                    hardware: true,
                    ..stamp
                },
            ),
            (
                7,
                0x2_0002,
                TxTimestamp {
                    stage: TxStage::Scheduled,
                    ..stamp
                },
            ),
            (
                7,
                0x4_0002,
                TxTimestamp {
                    stage: TxStage::Acknowledged,
                    ..stamp
                },
            ),
            (
                7,
                0xFFFE_0002,
                TxTimestamp {
                    stage: TxStage::Other(0x7FFF),
                    ..stamp
                },
            ),
        ] {
            assert_eq!(TxTimestamp::decode(&cqe(res, flags)), Some(want));
        }
        assert_eq!(TxTimestamp::decode(&cqe(-libc::ECANCELED, 0)), None);
        assert_eq!(TxTimestamp::decode(&cqe(0, 0xFFFF_FFFD)), None);
    }
}
