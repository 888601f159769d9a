//! Epoll instances.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD};
use ringway::prep::{CancelFlags, Fixed, Target, TimeoutFlags, Timespec};

use super::child::{knows, tried};
use super::*;

const EPOLLIN: u32 = libc::EPOLLIN as u32;
const EPOLLOUT: u32 = libc::EPOLLOUT as u32;
const EPOLL_WAIT: u8 = 59;

fn epoll() -> OwnedFd {
    // SAFETY: no memory; the descriptor is ours.
    unsafe {
        let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    }
}

fn event(events: u32, data: u64) -> libc::epoll_event {
    libc::epoll_event { events, u64: data }
}

/// What the epoll instance has to tell now.
fn events(epoll: &OwnedFd) -> Vec<(u32, u64)> {
    let mut events = [event(0, 0); 8];
    // SAFETY: the call writes up to 8 events.
    let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 8, 0) };
    assert!(count >= 0);
    let events = events[..count as usize].iter();
    events.map(|event| (event.events, event.u64)).collect()
}

fn control(
    ring: &Ring,
    epoll: &impl AsFd,
    fd: &impl AsFd,
    operation: i32,
    event: *const libc::epoll_event,
) -> Result<u32, i32> {
    run(ring, |sqe| {
        // SAFETY: the event is null or stays until the CQE, as the files do.
        unsafe { sqe.prep_epoll_ctl(epoll.as_fd(), fd.as_fd(), operation, event) }
    })
}

#[test]
fn ctl_changes_the_interest_list() {
    let ring = ring();
    let epoll = epoll();
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"!").unwrap();
    assert_eq!(events(&epoll), []);
    let added = control(&ring, &epoll, &reader, EPOLL_CTL_ADD, &event(EPOLLIN, 7));
    assert_eq!((added, events(&epoll)), (Ok(0), vec![(EPOLLIN, 7)]));
    let changed = control(&ring, &epoll, &reader, EPOLL_CTL_MOD, &event(EPOLLIN, 8));
    assert_eq!((changed, events(&epoll)), (Ok(0), vec![(EPOLLIN, 8)]));
    let changed = control(&ring, &epoll, &reader, EPOLL_CTL_MOD, &event(EPOLLOUT, 8));
    assert_eq!((changed, events(&epoll)), (Ok(0), vec![]));
    let added = control(&ring, &epoll, &writer, EPOLL_CTL_ADD, &event(EPOLLOUT, 9));
    assert_eq!((added, events(&epoll)), (Ok(0), vec![(EPOLLOUT, 9)]));
    let removed = control(&ring, &epoll, &writer, EPOLL_CTL_DEL, ptr::null());
    assert_eq!((removed, events(&epoll)), (Ok(0), vec![]));
    tried("OP_EPOLL_CTL");
}

#[test]
fn ctl_fails() {
    let ring = ring();
    let epoll = epoll();
    let (reader, writer) = io::pipe().unwrap();
    let (_, file) = file("epoll", b"");
    let event = event(EPOLLIN, 7);
    let event = &raw const event;
    let add = |fd: &dyn AsFd, event| control(&ring, &epoll, &fd.as_fd(), EPOLL_CTL_ADD, event);
    assert_eq!(add(&reader, event), Ok(0));
    assert_eq!(add(&reader, event), Err(libc::EEXIST));
    assert_eq!(add(&file, event), Err(libc::EPERM));
    assert_eq!(add(&writer, ptr::null()), Err(libc::EFAULT));
    for operation in [EPOLL_CTL_MOD, EPOLL_CTL_DEL] {
        let got = control(&ring, &epoll, &writer, operation, event);
        assert_eq!(got, Err(libc::ENOENT));
    }
    for (instance, operation) in [(reader.as_fd(), EPOLL_CTL_ADD), (epoll.as_fd(), 77)] {
        let got = control(&ring, &instance, &writer, operation, event);
        assert_eq!(got, Err(libc::EINVAL));
    }
}

#[test]
fn the_event_is_copied_at_submit() {
    let ring = ring();
    let epoll = epoll();
    let (gate, mut opener) = io::pipe().unwrap();
    let buf = memory::<1>();
    let mut told = event(EPOLLIN, 7);
    push(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&gate, buf.as_mut_ptr(), 1, 0) }.link()
    });
    start(&ring, |sqe| {
        // SAFETY: the event stays until submit, the files until the CQE.
        unsafe { sqe.prep_epoll_ctl(epoll.as_fd(), gate.as_fd(), EPOLL_CTL_ADD, &told) }
            .user_data(1)
    });
    told = event(EPOLLOUT, 8);
    opener.write_all(b"!!").unwrap();
    assert_eq!(results(&ring), [(0, Ok(1)), (1, Ok(0))]);
    assert_eq!(events(&epoll), [(EPOLLIN, 7)]);
    assert_eq!({ told.u64 }, 8);
}

/// Room for events that outlives every operation.
fn room<const N: usize>() -> &'static mut [libc::epoll_event; N] {
    Box::leak(Box::new([event(0, 0); N]))
}

fn start_wait<'fd>(ring: &Ring, epoll: impl Into<Target<'fd>>, room: &mut [libc::epoll_event]) {
    start(ring, |sqe| {
        // SAFETY: the room stays; the tests keep the files open.
        unsafe { sqe.prep_epoll_wait(epoll, room.as_mut_ptr(), room.len() as u32) }
    });
}

#[test]
fn wait_takes_events_when_they_come() {
    let ring = ring();
    if !knows(&ring, EPOLL_WAIT, "OP_EPOLL_WAIT") {
        return;
    }
    let epoll = epoll();
    let mut pipes = [(); 3].map(|()| io::pipe().unwrap());
    for (data, (reader, _)) in (0..).zip(&pipes) {
        let events = EPOLLIN | libc::EPOLLET as u32;
        let added = control(&ring, &epoll, reader, EPOLL_CTL_ADD, &event(events, data));
        assert_eq!(added, Ok(0));
    }
    let one = room::<4>();
    start_wait(&ring, &epoll, one);
    assert_idle(&ring);
    pipes[1].1.write_all(b"!").unwrap();
    assert_eq!(result(next(&ring)), Ok(1));
    assert_eq!(({ one[0].events }, { one[0].u64 }), (EPOLLIN, 1));
    assert_eq!({ one[1].events }, 0);

    // Three lie ready: two, and then the third.
    for (_, writer) in &mut pipes {
        writer.write_all(b"!").unwrap();
    }
    let (two, third) = (room::<2>(), room::<2>());
    start_wait(&ring, &epoll, two);
    assert_eq!(result(next(&ring)), Ok(2));
    start_wait(&ring, &epoll, third);
    assert_eq!(result(next(&ring)), Ok(1));
    let seen: BTreeSet<u64> = [two[0].u64, two[1].u64, third[0].u64].into();
    assert_eq!(seen, [0, 1, 2].into());
    tried("OP_EPOLL_WAIT");
}

#[test]
fn wait_on_a_fixed_file() {
    let ring = ring();
    if !knows(&ring, EPOLL_WAIT, "OP_EPOLL_WAIT") {
        return;
    }
    let epoll = epoll();
    let (_reader, writer) = io::pipe().unwrap();
    let added = control(&ring, &epoll, &writer, EPOLL_CTL_ADD, &event(EPOLLOUT, 5));
    assert_eq!(added, Ok(0));
    register_files(&ring, &[None, Some(epoll.as_fd())]);
    drop(epoll);
    for (index, count) in [(0, Err(libc::EBADF)), (1, Ok(1))] {
        let room = room::<1>();
        start_wait(&ring, Fixed(index), room);
        assert_eq!(result(next(&ring)), count);
        assert_eq!({ room[0].u64 }, if index == 1 { 5 } else { 0 });
    }
}

#[test]
fn wait_ends_without_events() {
    let ring = ring();
    if !knows(&ring, EPOLL_WAIT, "OP_EPOLL_WAIT") {
        return;
    }
    let epoll = epoll();
    start_wait(&ring, &epoll, room::<1>());
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(0, CancelFlags::NONE) }.user_data(1)
    });
    let canceled = (0, Err(libc::ECANCELED));
    assert_eq!(results(&ring), [canceled, (1, Ok(0))]);

    let soon = Timespec::new(0, 10_000_000);
    let room = room::<1>();
    push(&ring, |sqe| {
        // SAFETY: the room stays, the file too.
        unsafe { sqe.prep_epoll_wait(&epoll, room.as_mut_ptr(), 1) }.link()
    });
    start(&ring, |sqe| {
        // SAFETY: the time stays until submit.
        unsafe { sqe.prep_link_timeout(&soon, TimeoutFlags::NONE) }.user_data(1)
    });
    assert_eq!(results(&ring), [canceled, (1, Err(libc::ETIME))]);
}

#[test]
fn wait_fails() {
    let ring = ring();
    if !knows(&ring, EPOLL_WAIT, "OP_EPOLL_WAIT") {
        return;
    }
    let epoll = epoll();
    let null = File::open("/dev/null").unwrap();
    for (target, room, errno) in [
        (Target::from(&epoll), &mut [][..], libc::EINVAL),
        (Target::from(&null), room::<1>(), libc::EINVAL),
        (Fixed(0).into(), room::<1>(), libc::EBADF),
    ] {
        start_wait(&ring, target, room);
        assert_eq!(result(next(&ring)), Err(errno));
    }
}
