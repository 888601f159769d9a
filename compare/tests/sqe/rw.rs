//! Nothing, reading and writing, buffers that the kernel picks from.

use io_uring::opcode;
use ringway::prep::{IoPriority, RwFlags};

use crate::fields::Pair;
use crate::random::Random;
use crate::{Case, on_file};

pub const CASES: [Case; 12] = [
    ("Nop", nop),
    ("Readv", readv),
    ("Writev", writev),
    ("Read", read),
    ("Write", write),
    ("ReadFixed", read_fixed),
    ("WriteFixed", write_fixed),
    ("ReadvFixed", readv_fixed),
    ("WritevFixed", writev_fixed),
    ("ReadMulti", read_multishot),
    ("ProvideBuffers", provide_buffers),
    ("RemoveBuffers", remove_buffers),
];

/// What any read or write may carry.
struct Options {
    offset: u64,
    flags: i32,
    ioprio: u16,
    stream: u8,
    group: Option<u16>,
}

impl Options {
    fn of(random: &mut Random) -> Self {
        Self {
            offset: random.u64(),
            flags: random.i32(),
            ioprio: random.u16(),
            stream: random.u8(),
            group: random.option(Random::u16),
        }
    }

    fn flags(&self) -> RwFlags {
        RwFlags::from_bits(self.flags.cast_unsigned())
    }

    fn ioprio(&self) -> IoPriority {
        IoPriority::from_bits(self.ioprio)
    }
}

fn nop(_: &mut Random) -> Pair {
    Pair::new(|sqe| unsafe { sqe.prep_nop() }, opcode::Nop::new().build())
}

fn readv(random: &mut Random) -> Pair {
    let (iovecs, count, with) = (random.pointer(), random.u32(), Options::of(random));
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_readv2(file, iovecs, count, with.offset, with.flags())
                .ioprio(with.ioprio())
        },
        opcode::Readv::new(fd, iovecs, count)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .buf_group(with.group.unwrap_or_default())
            .build(),
    ))
    .select(with.group)
}

fn writev(random: &mut Random) -> Pair {
    let (iovecs, count, with) = (random.pointer(), random.u32(), Options::of(random));
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_writev2(file, iovecs, count, with.offset, with.flags())
                .ioprio(with.ioprio())
                .write_stream(with.stream)
        },
        opcode::Writev::new(fd, iovecs, count)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .write_stream(with.stream)
            .build(),
    ))
}

fn read(random: &mut Random) -> Pair {
    let (buf, len, with) = (random.pointer(), random.u32(), Options::of(random));
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_read(file, buf, len, with.offset)
                .rw_flags(with.flags())
                .ioprio(with.ioprio())
        },
        opcode::Read::new(fd, buf, len)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .buf_group(with.group.unwrap_or_default())
            .build(),
    ))
    .select(with.group)
}

fn write(random: &mut Random) -> Pair {
    let (buf, len, with) = (random.pointer(), random.u32(), Options::of(random));
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_write(file, buf, len, with.offset)
                .rw_flags(with.flags())
                .ioprio(with.ioprio())
                .write_stream(with.stream)
        },
        opcode::Write::new(fd, buf, len)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .write_stream(with.stream)
            .build(),
    ))
}

fn read_fixed(random: &mut Random) -> Pair {
    let (buf, len, index, with) = (
        random.pointer(),
        random.u32(),
        random.u16(),
        Options::of(random),
    );
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_read_fixed(file, buf, len, with.offset, index)
                .rw_flags(with.flags())
                .ioprio(with.ioprio())
        },
        opcode::ReadFixed::new(fd, buf, len, index)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .build(),
    ))
}

fn write_fixed(random: &mut Random) -> Pair {
    let (buf, len, index, with) = (
        random.pointer(),
        random.u32(),
        random.u16(),
        Options::of(random),
    );
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_write_fixed(file, buf, len, with.offset, index)
                .rw_flags(with.flags())
                .ioprio(with.ioprio())
                .write_stream(with.stream)
        },
        opcode::WriteFixed::new(fd, buf, len, index)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .write_stream(with.stream)
            .build(),
    ))
}

fn readv_fixed(random: &mut Random) -> Pair {
    let (iovecs, count, index, with) = (
        random.pointer(),
        random.u32(),
        random.u16(),
        Options::of(random),
    );
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_readv_fixed(file, iovecs, count, with.offset, with.flags(), index)
                .ioprio(with.ioprio())
        },
        opcode::ReadvFixed::new(fd, iovecs, count, index)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .build(),
    ))
}

fn writev_fixed(random: &mut Random) -> Pair {
    let (iovecs, count, index, with) = (
        random.pointer(),
        random.u32(),
        random.u16(),
        Options::of(random),
    );
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_writev_fixed(file, iovecs, count, with.offset, with.flags(), index)
                .ioprio(with.ioprio())
                .write_stream(with.stream)
        },
        opcode::WritevFixed::new(fd, iovecs, count, index)
            .offset(with.offset)
            .rw_flags(with.flags)
            .ioprio(with.ioprio)
            .write_stream(with.stream)
            .build(),
    ))
}

fn read_multishot(random: &mut Random) -> Pair {
    // The kernel refuses every length but 0, and ringway asks for none.
    let (offset, group) = (random.u64(), random.u16());
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe { sqe.prep_read_multishot(file, offset, group) },
        opcode::ReadMulti::new(fd, 0, group).offset(offset).build(),
    ))
}

fn provide_buffers(random: &mut Random) -> Pair {
    let (addr, len) = (random.pointer(), random.u32());
    let (count, group, first) = (random.u16(), random.u16(), random.u16());
    Pair::new(
        |sqe| unsafe { sqe.prep_provide_buffers(addr, len, count, group, first) },
        opcode::ProvideBuffers::new(addr, len.cast_signed(), count, group, first).build(),
    )
}

fn remove_buffers(random: &mut Random) -> Pair {
    let (count, group) = (random.u16(), random.u16());
    Pair::new(
        |sqe| unsafe { sqe.prep_remove_buffers(count, group) },
        opcode::RemoveBuffers::new(count, group).build(),
    )
}
