//! Commands to a device or a socket.

use std::ffi::c_void;

use io_uring::opcode;
use io_uring::squeue::Entry128;
use ringway::prep::UringCmdFlags;
use ringway::{Ring, Sqe};

use crate::fields::{Pair, bytes};
use crate::random::Random;
use crate::{Case, on_file};

pub const CASES: [Case; 3] = [
    ("UringCmd16", uring_cmd16),
    ("UringCmd80", uring_cmd80),
    ("SetSockOpt", setsockopt),
];

/// What a command may have: the index of a fixed buffer, an address, the area.
struct Options<const N: usize> {
    buf_index: Option<u16>,
    addr: Option<u64>,
    area: [u8; N],
}

impl<const N: usize> Options<N> {
    fn of(random: &mut Random) -> Self {
        Self {
            buf_index: random.option(Random::u16),
            addr: random.option(Random::u64),
            area: random.bytes(),
        }
    }

    fn flags(&self) -> UringCmdFlags {
        match self.buf_index {
            Some(_) => UringCmdFlags::FIXED,
            None => UringCmdFlags::NONE,
        }
    }

    /// Ours, prepared in a slot of a ring with SQEs of the area's size: the ring knows
    /// where the area is.
    fn pair(&self, prep: impl FnOnce(&mut Sqe) -> &mut Sqe, theirs: impl Into<Entry128>) -> Pair {
        let simulation = Ring::simulated(1);
        let (ring, _kernel) = match N {
            80 => simulation.sqe128().build(),
            _ => simulation.build(),
        };
        let sq = ring.sq();
        let mut slot = sq.pop().expect("one slot for one command");
        prep(&mut slot);
        if let Some(addr) = self.addr {
            bytes(&mut slot)[16..24].copy_from_slice(&addr.to_ne_bytes());
        }
        unsafe { slot.command_mut() }.copy_from_slice(&self.area);

        let mut pair = Pair::new(
            |sqe| {
                bytes(sqe).copy_from_slice(bytes(&mut slot));
                sqe
            },
            theirs,
        );
        let behind = &unsafe { slot.command_mut() }[16..];
        pair.second_half[..behind.len()].copy_from_slice(behind);
        pair
    }
}

fn uring_cmd16(random: &mut Random) -> Pair {
    let (command, with) = (random.u32(), Options::of(random));
    let (flags, index) = (with.flags(), with.buf_index.unwrap_or_default());
    on_file!(random, |file, fd| with.pair(
        |sqe| unsafe { sqe.prep_uring_cmd(command, file, flags, index) },
        opcode::UringCmd16::new(fd, command)
            .cmd(with.area)
            .buf_index(with.buf_index)
            .addr(with.addr)
            .build(),
    ))
}

fn uring_cmd80(random: &mut Random) -> Pair {
    let (command, with) = (random.u32(), Options::of(random));
    let (flags, index) = (with.flags(), with.buf_index.unwrap_or_default());
    on_file!(random, |file, fd| with.pair(
        |sqe| unsafe { sqe.prep_uring_cmd(command, file, flags, index) },
        opcode::UringCmd80::new(fd, command)
            .cmd(with.area)
            .buf_index(with.buf_index)
            .addr(with.addr)
            .build(),
    ))
}

fn setsockopt(random: &mut Random) -> Pair {
    let (level, option, len) = (random.i32(), random.i32(), random.u32());
    let value = random.pointer::<c_void>();
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_cmd_setsockopt(socket, level, option, value, len) },
        opcode::SetSockOpt::new(
            fd,
            level.cast_unsigned(),
            option.cast_unsigned(),
            value,
            len,
        )
        .build(),
    ))
}
