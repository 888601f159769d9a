//! The operations that are measured, as each peer writes them.

use std::os::fd::{BorrowedFd, RawFd};

use io_uring::{opcode, squeue, types};
use ringway::Sqe;
use ringway::prep::{Fixed, RecvFlags, SendFlags};

/// An operation. Its memory stays until it has completed: loads see to that.
#[derive(Clone, Copy)]
pub enum Op {
    Nop,
    Read(Span),
    /// `fd` is an index of the registered files; buffer 0 of the registered ones.
    ReadFixed(Span),
    Recv(Span),
    Send(Span),
}

/// Where the bytes are.
#[derive(Clone, Copy)]
pub struct Span {
    pub fd: RawFd,
    pub at: *mut u8,
    pub len: u32,
    pub offset: u64,
}

impl Op {
    /// A NOP that posts no CQE.
    pub const SILENT: [u64; 8] = [1 << 14, 0, 0, 0, 0, 0, 0, 0];

    /// As the `io-uring` crate writes it.
    #[inline(always)]
    pub fn entry(self, user_data: u64) -> squeue::Entry {
        let entry = match self {
            Op::Nop => opcode::Nop::new().build(),
            Op::Read(s) => {
                let read = opcode::Read::new(types::Fd(s.fd), s.at, s.len);
                read.offset(s.offset).build()
            }
            Op::ReadFixed(s) => {
                let file = types::Fixed(s.fd as u32);
                let read = opcode::ReadFixed::new(file, s.at, s.len, 0);
                read.offset(s.offset).build()
            }
            Op::Recv(s) => opcode::Recv::new(types::Fd(s.fd), s.at, s.len).build(),
            Op::Send(s) => opcode::Send::new(types::Fd(s.fd), s.at, s.len).build(),
        };
        entry.user_data(user_data)
    }

    /// As ringway writes it.
    #[inline(always)]
    pub fn prep(self, sqe: &mut Sqe, user_data: u64) {
        // SAFETY: the descriptor is open for as long as its load runs.
        let fd = |s: Span| unsafe { BorrowedFd::borrow_raw(s.fd) };
        // SAFETY: a load keeps the memory and the descriptor until the CQE.
        unsafe {
            match self {
                Op::Nop => sqe.prep_nop(),
                Op::Read(s) => sqe.prep_read(fd(s), s.at, s.len, s.offset),
                Op::ReadFixed(s) => {
                    sqe.prep_read_fixed(Fixed(s.fd as u32), s.at, s.len, s.offset, 0)
                }
                Op::Recv(s) => sqe.prep_recv(fd(s), s.at, s.len, 0, RecvFlags::NONE),
                Op::Send(s) => sqe.prep_send(fd(s), s.at, s.len, 0, SendFlags::NONE),
            }
        }
        .user_data(user_data);
    }

    /// By hand: all 64 bytes.
    #[inline(always)]
    pub fn words(self, user_data: u64) -> [u64; 8] {
        const FIXED_FILE: u64 = 1 << 8;
        let file = |opcode: u64, s: Span| {
            let first = opcode | (s.fd as u32 as u64) << 32;
            [
                first,
                s.offset,
                s.at as u64,
                u64::from(s.len),
                user_data,
                0,
                0,
                0,
            ]
        };
        match self {
            Op::Nop => [0, 0, 0, 0, user_data, 0, 0, 0],
            Op::Read(s) => file(22, s),
            Op::ReadFixed(s) => file(4 | FIXED_FILE, s),
            Op::Send(s) => file(26, s),
            Op::Recv(s) => file(27, s),
        }
    }
}
