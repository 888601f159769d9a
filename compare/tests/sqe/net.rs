//! Sockets.

use std::ptr;

use io_uring::opcode;
use ringway::prep::{AcceptFlags, RecvFlags, SendFlags};

use crate::fields::Pair;
use crate::random::Random;
use crate::{Case, on_file};

pub const CASES: [Case; 19] = [
    ("Socket", socket),
    ("Bind", bind),
    ("Listen", listen),
    ("Connect", connect),
    ("Accept", accept),
    ("AcceptMulti", multishot_accept),
    ("Shutdown", shutdown),
    ("Send", send),
    ("SendBundle", send_bundle),
    ("SendMsg", sendmsg),
    ("SendZc", send_zc),
    ("SendMsgZc", sendmsg_zc),
    ("Recv", recv),
    ("RecvMulti", recv_multishot),
    ("RecvBundle", recv_bundle),
    ("RecvMultiBundle", recv_multishot_bundle),
    ("RecvMsg", recvmsg),
    ("RecvMsgMulti", recvmsg_multishot),
    ("RecvZc", recv_zc),
];

fn socket(random: &mut Random) -> Pair {
    let (domain, kind, protocol) = (random.i32(), random.i32(), random.i32());
    let flags = random.u32();
    let theirs = opcode::Socket::new(domain, kind, protocol).flags(flags.cast_signed());
    match random.option(Random::place) {
        Some((place, slot)) => Pair::new(
            |sqe| unsafe { sqe.prep_socket_direct(domain, kind, protocol, place, flags) },
            theirs.file_index(Some(slot)).build(),
        ),
        None => Pair::new(
            |sqe| unsafe { sqe.prep_socket(domain, kind, protocol, flags) },
            theirs.build(),
        ),
    }
}

fn bind(random: &mut Random) -> Pair {
    let (addr, len) = (random.pointer(), random.u32());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_bind(socket, addr, len) },
        opcode::Bind::new(fd, addr, len).build(),
    ))
}

fn listen(random: &mut Random) -> Pair {
    let backlog = random.i32();
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_listen(socket, backlog) },
        opcode::Listen::new(fd, backlog).build(),
    ))
}

fn connect(random: &mut Random) -> Pair {
    let (addr, len) = (random.pointer(), random.u32());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_connect(socket, addr, len) },
        opcode::Connect::new(fd, addr, len).build(),
    ))
}

fn accept(random: &mut Random) -> Pair {
    let (addr, len, flags) = (random.pointer(), random.pointer(), random.i32());
    let (place, how) = (random.option(Random::place), AcceptFlags::NONE);
    on_file!(random, |socket, fd| {
        let theirs = opcode::Accept::new(fd, addr, len).flags(flags);
        match place {
            Some((place, slot)) => Pair::new(
                |sqe| unsafe { sqe.prep_accept_direct(socket, addr, len, flags, place, how) },
                theirs.file_index(Some(slot)).build(),
            ),
            None => Pair::new(
                |sqe| unsafe { sqe.prep_accept(socket, addr, len, flags, how) },
                theirs.build(),
            ),
        }
    })
}

fn multishot_accept(random: &mut Random) -> Pair {
    let (flags, is_direct, how) = (random.i32(), random.bool(), AcceptFlags::NONE);
    let (addr, len) = (ptr::null_mut(), ptr::null_mut());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            match is_direct {
                true => sqe.prep_multishot_accept_direct(socket, addr, len, flags, how),
                false => sqe.prep_multishot_accept(socket, addr, len, flags, how),
            }
        },
        opcode::AcceptMulti::new(fd)
            .flags(flags)
            .allocate_file_index(is_direct)
            .build(),
    ))
}

fn shutdown(random: &mut Random) -> Pair {
    let how = random.i32();
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_shutdown(socket, how) },
        opcode::Shutdown::new(fd, how).build(),
    ))
}

fn send(random: &mut Random) -> Pair {
    let (buf, len, flags, how) = (random.pointer(), random.u32(), random.i32(), random.u16());
    let (addr, addr_len) = (random.pointer(), random.u32());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            let how = SendFlags::from_bits(how);
            sqe.prep_sendto(socket, buf, len, flags, addr, addr_len, how)
        },
        opcode::Send::new(fd, buf, len)
            .flags(flags)
            .ioprio(how)
            .dest_addr(addr)
            .dest_addr_len(addr_len)
            .build(),
    ))
}

fn send_bundle(random: &mut Random) -> Pair {
    let (len, flags, group) = (random.u32(), random.i32(), random.u16());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_send_bundle(socket, len, flags, SendFlags::NONE)
                .buffer_select(group)
        },
        opcode::SendBundle::new(fd, group)
            .len(len)
            .flags(flags)
            .build(),
    ))
}

fn sendmsg(random: &mut Random) -> Pair {
    let (msg, flags, how) = (random.pointer(), random.i32(), random.u16());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_sendmsg(socket, msg, flags, SendFlags::from_bits(how)) },
        opcode::SendMsg::new(fd, msg)
            .flags(flags.cast_unsigned())
            .ioprio(how)
            .build(),
    ))
}

fn send_zc(random: &mut Random) -> Pair {
    let (buf, len, flags, how) = (random.pointer(), random.u32(), random.i32(), random.u16());
    let (addr, addr_len) = (random.pointer(), random.u32());
    let index = random.option(Random::u16);
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            let how = SendFlags::from_bits(how);
            match index {
                Some(index) => sqe.prep_send_zc_fixed(socket, buf, len, flags, how, index),
                None => sqe.prep_send_zc(socket, buf, len, flags, how),
            }
            .send_set_addr(addr, addr_len)
        },
        opcode::SendZc::new(fd, buf, len)
            .flags(flags)
            .zc_flags(how)
            .buf_index(index)
            .dest_addr(addr)
            .dest_addr_len(addr_len)
            .build(),
    ))
}

fn sendmsg_zc(random: &mut Random) -> Pair {
    let (msg, flags, how) = (random.pointer(), random.i32(), random.u16());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_sendmsg_zc(socket, msg, flags, SendFlags::from_bits(how)) },
        opcode::SendMsgZc::new(fd, msg)
            .flags(flags.cast_unsigned())
            .ioprio(how)
            .build(),
    ))
}

fn recv(random: &mut Random) -> Pair {
    let (buf, len, flags, how) = (random.pointer(), random.u32(), random.i32(), random.u16());
    let group = random.option(Random::u16);
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_recv(socket, buf, len, flags, RecvFlags::from_bits(how)) },
        opcode::Recv::new(fd, buf, len)
            .flags(flags)
            .ioprio(how)
            .buf_group(group.unwrap_or_default())
            .build(),
    ))
    .select(group)
}

fn recv_multishot(random: &mut Random) -> Pair {
    let (len, flags, group) = (random.u32(), random.i32(), random.u16());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_recv_multishot(socket, len, flags, RecvFlags::NONE)
                .buffer_select(group)
        },
        opcode::RecvMulti::new(fd, group)
            .len(len)
            .flags(flags)
            .build(),
    ))
}

fn recv_bundle(random: &mut Random) -> Pair {
    let (flags, group) = (random.i32(), random.u16());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_recv(socket, ptr::null_mut(), 0, flags, RecvFlags::BUNDLE)
                .buffer_select(group)
        },
        opcode::RecvBundle::new(fd, group).flags(flags).build(),
    ))
}

fn recv_multishot_bundle(random: &mut Random) -> Pair {
    let (flags, group) = (random.i32(), random.u16());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_recv_multishot(socket, 0, flags, RecvFlags::BUNDLE)
                .buffer_select(group)
        },
        opcode::RecvMultiBundle::new(fd, group).flags(flags).build(),
    ))
}

fn recvmsg(random: &mut Random) -> Pair {
    let (msg, flags, how) = (random.pointer(), random.i32(), random.u16());
    let group = random.option(Random::u16);
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_recvmsg(socket, msg, flags, RecvFlags::from_bits(how)) },
        opcode::RecvMsg::new(fd, msg)
            .flags(flags.cast_unsigned())
            .ioprio(how)
            .buf_group(group.unwrap_or_default())
            .build(),
    ))
    .select(group)
}

fn recvmsg_multishot(random: &mut Random) -> Pair {
    let (msg, flags, how) = (random.pointer(), random.i32(), random.u16());
    let group = random.u16();
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe {
            sqe.prep_recvmsg_multishot(socket, msg, flags, RecvFlags::from_bits(how))
                .buffer_select(group)
        },
        opcode::RecvMsgMulti::new(fd, msg, group)
            .flags(flags.cast_unsigned())
            .ioprio(how)
            .build(),
    ))
}

fn recv_zc(random: &mut Random) -> Pair {
    let (len, ifq, how) = (random.u32(), random.u32(), random.u16());
    on_file!(random, |socket, fd| Pair::new(
        |sqe| unsafe { sqe.prep_recv_zc(socket, len, ifq, RecvFlags::from_bits(how)) },
        opcode::RecvZc::new(fd, len).ifq(ifq).ioprio(how).build(),
    ))
}
