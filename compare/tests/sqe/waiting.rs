//! Waiting: readiness, time, cancelling, messages to rings, futexes, processes.

use io_uring::{opcode, types};
use ringway::prep::{
    CancelFlags, Fixed, FutexFlags, FutexWaitv, MsgRingFlags, TimeoutFlags, TimeoutUpdateFlags,
    Timespec,
};

use crate::fields::Pair;
use crate::random::{Random, borrowed};
use crate::{Case, on_file};

pub const CASES: [Case; 16] = [
    ("PollAdd", poll_add),
    ("PollRemove", poll_remove),
    ("EpollCtl", epoll_ctl),
    ("EpollWait", epoll_wait),
    ("Timeout", timeout),
    ("TimeoutRemove", timeout_remove),
    ("TimeoutUpdate", timeout_update),
    ("LinkTimeout", link_timeout),
    ("AsyncCancel", cancel),
    ("AsyncCancel2", cancel_matching),
    ("MsgRingData", msg_ring),
    ("MsgRingSendFd", msg_ring_fd),
    ("FutexWait", futex_wait),
    ("FutexWake", futex_wake),
    ("FutexWaitV", futex_waitv),
    ("WaitId", waitid),
];

fn poll_add(random: &mut Random) -> Pair {
    let (mask, is_multi) = (random.u32(), random.bool());
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe {
            match is_multi {
                true => sqe.prep_poll_multishot(file, mask),
                false => sqe.prep_poll_add(file, mask),
            }
        },
        opcode::PollAdd::new(fd, mask).multi(is_multi).build(),
    ))
}

fn poll_remove(random: &mut Random) -> Pair {
    let user_data = random.u64();
    Pair::new(
        |sqe| unsafe { sqe.prep_poll_remove(user_data) },
        opcode::PollRemove::new(user_data).build(),
    )
}

/// The kernel takes no fixed file for either, and ringway asks for descriptors.
fn epoll_ctl(random: &mut Random) -> Pair {
    let (epoll, fd) = (random.fd(), random.fd());
    let (operation, event) = (random.i32(), random.pointer::<libc::epoll_event>());
    Pair::new(
        |sqe| unsafe { sqe.prep_epoll_ctl(borrowed(epoll), borrowed(fd), operation, event) },
        opcode::EpollCtl::new(types::Fd(epoll), types::Fd(fd), operation, event.cast()).build(),
    )
}

fn epoll_wait(random: &mut Random) -> Pair {
    let (events, max) = (random.pointer::<libc::epoll_event>(), random.u32());
    on_file!(random, |epoll, fd| Pair::new(
        |sqe| unsafe { sqe.prep_epoll_wait(epoll, events, max) },
        opcode::EpollWait::new(fd, events.cast(), max).build(),
    ))
}

fn timeout(random: &mut Random) -> Pair {
    let (time, count, flags) = (random.pointer::<Timespec>(), random.u32(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_timeout(time, count, TimeoutFlags::from_bits(flags)) },
        opcode::Timeout::new(time.cast())
            .count(count)
            .flags(types::TimeoutFlags::from_bits_retain(flags))
            .build(),
    )
}

fn timeout_remove(random: &mut Random) -> Pair {
    let user_data = random.u64();
    Pair::new(
        |sqe| unsafe { sqe.prep_timeout_remove(user_data) },
        opcode::TimeoutRemove::new(user_data).build(),
    )
}

fn timeout_update(random: &mut Random) -> Pair {
    let (time, user_data) = (random.pointer::<Timespec>(), random.u64());
    let flags = random.u32();
    let ours = TimeoutUpdateFlags::from_bits(flags);
    Pair::new(
        |sqe| unsafe { sqe.prep_timeout_update(time, user_data, ours) },
        opcode::TimeoutUpdate::new(user_data, time.cast())
            .flags(types::TimeoutFlags::from_bits_retain(flags))
            .build(),
    )
}

fn link_timeout(random: &mut Random) -> Pair {
    let (time, flags) = (random.pointer::<Timespec>(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_link_timeout(time, TimeoutFlags::from_bits(flags)) },
        opcode::LinkTimeout::new(time.cast())
            .flags(types::TimeoutFlags::from_bits_retain(flags))
            .build(),
    )
}

fn cancel(random: &mut Random) -> Pair {
    let user_data = random.u64();
    Pair::new(
        |sqe| unsafe { sqe.prep_cancel64(user_data, CancelFlags::NONE) },
        opcode::AsyncCancel::new(user_data).build(),
    )
}

fn cancel_matching(random: &mut Random) -> Pair {
    let all = |by: types::CancelBuilder, is_all| if is_all { by.all() } else { by };
    let is_all = random.bool();
    let flags = match is_all {
        true => CancelFlags::ALL,
        false => CancelFlags::NONE,
    };
    match random.u64() % 3 {
        0 => Pair::new(
            |sqe| unsafe { sqe.prep_cancel64(0, flags | CancelFlags::ANY) },
            opcode::AsyncCancel2::new(all(types::CancelBuilder::any(), is_all)).build(),
        ),
        1 => {
            let user_data = random.u64();
            let by = types::CancelBuilder::user_data(user_data);
            Pair::new(
                |sqe| unsafe { sqe.prep_cancel64(user_data, flags) },
                opcode::AsyncCancel2::new(all(by, is_all)).build(),
            )
        }
        _ => on_file!(random, |file, fd| Pair::new(
            |sqe| unsafe { sqe.prep_cancel_fd(file, flags) },
            opcode::AsyncCancel2::new(all(types::CancelBuilder::fd(fd), is_all)).build(),
        )),
    }
}

/// Theirs names the ring by a descriptor only.
fn msg_ring(random: &mut Random) -> Pair {
    let (fd, result, user_data) = (random.fd(), random.i32(), random.u64());
    let (flags, cqe_flags) = (random.u32(), random.option(Random::u32));
    Pair::new(
        |sqe| unsafe {
            let (ring, flags) = (borrowed(fd), MsgRingFlags::from_bits(flags));
            match cqe_flags {
                Some(cqe) => sqe.prep_msg_ring_cqe_flags(ring, result, user_data, flags, cqe),
                None => sqe.prep_msg_ring(ring, result, user_data, flags),
            }
        },
        opcode::MsgRingData::new(types::Fd(fd), result, user_data, cqe_flags)
            .opcode_flags(flags)
            .build(),
    )
}

/// As [`msg_ring`].
fn msg_ring_fd(random: &mut Random) -> Pair {
    let (fd, source, user_data) = (random.fd(), random.u32(), random.u64());
    let ((place, slot), flags) = (random.place(), random.u32());
    Pair::new(
        |sqe| unsafe {
            let flags = MsgRingFlags::from_bits(flags);
            sqe.prep_msg_ring_fd(borrowed(fd), Fixed(source), place, user_data, flags)
        },
        opcode::MsgRingSendFd::new(types::Fd(fd), types::Fixed(source), slot, user_data)
            .opcode_flags(flags)
            .build(),
    )
}

fn futex_wait(random: &mut Random) -> Pair {
    let (futex, value, mask) = (random.pointer(), random.u64(), random.u64());
    let flags = random.u32();
    let ours = FutexFlags::from_bits(flags);
    Pair::new(
        |sqe| unsafe { sqe.prep_futex_wait(futex, value, mask, ours) },
        opcode::FutexWait::new(futex, value, mask, flags).build(),
    )
}

fn futex_wake(random: &mut Random) -> Pair {
    let (futex, count, mask) = (random.pointer(), random.u64(), random.u64());
    let flags = random.u32();
    let ours = FutexFlags::from_bits(flags);
    Pair::new(
        |sqe| unsafe { sqe.prep_futex_wake(futex, count, mask, ours) },
        opcode::FutexWake::new(futex, count, mask, flags).build(),
    )
}

fn futex_waitv(random: &mut Random) -> Pair {
    let (futexes, count) = (random.pointer::<FutexWaitv>(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_futex_waitv(futexes, count) },
        opcode::FutexWaitV::new(futexes.cast(), count).build(),
    )
}

fn waitid(random: &mut Random) -> Pair {
    let (kind, id, options) = (random.u32(), random.u32(), random.i32());
    let info = random.pointer();
    Pair::new(
        |sqe| unsafe { sqe.prep_waitid(kind, id, info, options) },
        opcode::WaitId::new(kind, id, options).infop(info).build(),
    )
}
