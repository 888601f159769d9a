//! Rings by an index of a thread's, instead of their descriptors.

use std::fs::File;
use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use ringway::register::RegisteredRing;
use ringway::{Builder, EnterError, Errno, Local, Order, SetupError, SqPoll, Waited};

use super::child::{forked, has, in_child, linux, orders, traces, tried};
use super::*;

const LOST: Option<Duration> = Some(Duration::from_secs(20));
const PLACES: usize = 16;

/// Puts another file under the ring's descriptor: the ring can be had by index only.
fn hide(ring: BorrowedFd<'_>) {
    let null = File::open("/dev/null").unwrap();
    // SAFETY: the number stays open, and its owner's to close.
    let done = unsafe { libc::dup3(null.as_raw_fd(), ring.as_raw_fd(), libc::O_CLOEXEC) };
    assert_eq!(done, ring.as_raw_fd());
}

/// Enters by this index, on this thread, for nothing.
fn enter(index: u32) -> Result<(), i32> {
    const REGISTERED_RING: u32 = 1 << 4;
    // SAFETY: the kernel reads no argument.
    let done = unsafe {
        let call = libc::SYS_io_uring_enter;
        libc::syscall(
            call,
            index,
            0,
            0,
            REGISTERED_RING,
            std::ptr::null::<u8>(),
            0,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(Error::last_os_error().raw_os_error().unwrap()),
    }
}

fn places(ring: &Ring) -> Vec<RegisteredRing> {
    std::iter::from_fn(|| ring.register_ring_fd().ok()).collect()
}

fn push(ring: &Ring, user_data: u64) {
    let sq = ring.sq();
    let mut slot = sq.pop().expect("a slot");
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(user_data);
    slot.push();
}

#[test]
fn a_thread_enters_by_its_index_and_nothing_else() {
    for order in orders("ring_fd::a_thread_enters_by_its_index_and_nothing_else") {
        let ring = Ring::builder(8).order(order).build().unwrap();
        let here = ring.register_ring_fd().unwrap();
        hide(ring.fd().expect("a descriptor"));
        push(&ring, 1);
        let lost = EnterError::Kernel(Errno::from_raw(libc::EOPNOTSUPP));
        assert_eq!(ring.submit(), Err(lost));
        assert_eq!(ring.cq().wait(LOST), Err(lost));

        assert_eq!(here.submit(), Ok(()));
        assert_eq!(here.wait(LOST), Ok(Waited::Maybe));
        let cqe = here.wait_one(LOST).unwrap();
        assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(1));
        let soon = Some(Duration::from_millis(1));
        assert_eq!(here.wait(soon), Ok(Waited::TimedOut));
        assert_eq!(here.wait_one(soon), Ok(None));
        push(&ring, 2);
        assert_eq!(here.wait_for_space(), Ok(()));
        let mut cqes = [ringway::Cqe::default(); 2];
        assert_eq!(here.wait_reap(&mut cqes, LOST), Ok(1));
        assert_eq!(cqes[0].user_data(), 2);
        assert_eq!(here.wait_reap(&mut cqes, soon), Ok(0));

        // A debt of another thread's is paid by this one's wait as well.
        push(&ring, 3);
        thread::scope(|scope| scope.spawn(|| assert_eq!(ring.submit(), Err(lost))).join()).unwrap();
        let cqe = here.wait_one(LOST).unwrap();
        assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(3));
        // The kernel's CQ is full and its list is not: a reaper by index fetches the rest.
        for user_data in 0..20 {
            push(&ring, user_data);
            here.submit().unwrap();
        }
        for user_data in 0..20 {
            let cqe = here.wait_one(LOST).unwrap();
            assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(user_data));
        }
    }
    tried("REGISTER_RING_FDS");
    tried("ENTER_REGISTERED_RING");
}

#[test]
fn sqpoll_is_woken_by_index() {
    let idle = SqPoll::new().idle(Duration::from_millis(1));
    let ring = Ring::builder(2).sqpoll(idle).build().unwrap();
    let here = ring.register_ring_fd().unwrap();
    hide(ring.fd().expect("a descriptor"));
    for user_data in 0..20 {
        push(&ring, user_data);
        // Long enough for the SQ thread to sleep.
        thread::sleep(Duration::from_millis(3));
        assert_eq!(here.submit(), Ok(()));
        let cqe = here.wait_one(LOST).unwrap();
        assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(user_data));
    }
    // A full queue: the wait submits it, and ends when there is room.
    for _ in 0..100 {
        push(&ring, 21);
        push(&ring, 22);
        assert!(ring.sq().pop().is_none());
        assert_eq!(here.wait_for_space(), Ok(()));
        assert!(ring.sq().in_use() < 2, "no room");
        for _ in 0..2 {
            assert!(here.wait_one(LOST).unwrap().is_some());
        }
    }
    tried("ENTER_SQ_WAKEUP");
}

#[test]
fn there_are_sixteen_places_and_each_is_given_back() {
    let ring = ring();
    let mut here = places(&ring);
    assert_eq!(here.len(), PLACES);
    let full = ring.register_ring_fd().map(drop);
    assert_eq!(full, Err(Errno::from_raw(libc::EBUSY)));
    let mut indices: Vec<u32> = here.iter().map(RegisteredRing::index).collect();
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..PLACES as u32));

    for _ in 0..3 {
        let one = here.swap_remove(5);
        let index = one.index();
        assert_eq!(enter(index), Ok(()));
        drop(one);
        assert_eq!(enter(index), Err(libc::EBADF), "used after the drop");
        // Nobody else's.
        assert!(here.iter().all(|one| enter(one.index()).is_ok()));
        let again = ring.register_ring_fd().unwrap();
        assert_eq!(again.index(), index);
        here.push(again);
    }

    // Another thread has places of its own, and these mean nothing to it.
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(enter(3).is_err());
            let mut there = places(&ring);
            assert_eq!(there.len(), PLACES);
            // Gone with the thread.
            std::mem::forget(there.pop());
        });
    });
    drop(here);
    assert_eq!(enter(3), Err(libc::EBADF));
    assert_eq!(places(&ring).len(), PLACES);
    tried("UNREGISTER_RING_FDS");
}

#[test]
fn a_place_outlives_the_handles_of_the_ring() {
    let ring = ring();
    let (sq, cq) = (ring.sq(), ring.cq());
    let here = ring.register_ring_fd().unwrap();
    drop((ring, sq));
    assert_eq!(here.submit(), Ok(()));
    drop(cq);
    let soon = Some(Duration::from_millis(1));
    assert_eq!(here.wait(soon), Ok(Waited::TimedOut));
}

/// Two laps of NOPs, and a registration.
fn runs(ring: &Local) {
    for user_data in 0..u64::from(2 * ring.sq_entries() + 1) {
        let mut slot = ring.pop().expect("a slot");
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(user_data);
        slot.push();
        assert_eq!(ring.submit_and_wait(1, LOST), Ok(Waited::Maybe));
        assert_eq!(ring.reap().map(|cqe| cqe.user_data()), Some(user_data));
    }
    assert!(ring.probe().unwrap().supports(0));
    let (reader, _writer) = std::io::pipe().unwrap();
    let files = [Some(reader.as_fd())];
    assert_eq!(ring.registrar().register_files(&files), Ok(()));
}

#[test]
fn a_local_ring_goes_by_its_index() {
    type Set = fn(Builder<'static>) -> Builder<'static>;
    let mut modes: Vec<Set> = vec![
        |builder| builder,
        |builder| builder.single_issuer().defer_taskrun(),
        |builder| builder.sqpoll(SqPoll::new()),
    ];
    if has(
        6,
        6,
        "ring_fd::a_local_ring_goes_by_its_index",
        "NO_SQARRAY",
    ) {
        modes.push(|builder| builder.order(Order::Claim).no_mmap());
    }
    for set in modes {
        let builder = set(Ring::builder(4)).register_ring_fd();
        let ring = builder.build_local().unwrap();
        let (by_fd, is_new) = (
            ring.fd().expect("a descriptor"),
            ring.features().reg_reg_ring(),
        );
        if is_new {
            hide(by_fd);
        }
        runs(&ring);
        // The thread that enables is the one that has the index.
        let disabled = builder.build_disabled().unwrap();
        thread::spawn(move || {
            let ring = disabled.enable_local().unwrap();
            if is_new {
                hide(ring.fd().expect("a descriptor"));
            }
            runs(&ring);
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_local_ring_gives_its_place_back_where_it_is_dropped() {
    let test = "ring_fd::a_local_ring_gives_its_place_back_where_it_is_dropped";
    in_child(test, || {
        let before = traces();
        let shared = ring();
        let with_shared = traces();
        let build = || Ring::builder(4).register_ring_fd().build_local();
        let mut rings: Vec<Local> = (0..PLACES).map(|_| build().unwrap()).collect();
        let full = build().expect_err("was built");
        assert_eq!(full, SetupError::RegisteredRingsFull);
        assert!(full.to_string().contains("16 registered rings"));
        let disabled = Ring::builder(4)
            .register_ring_fd()
            .build_disabled()
            .unwrap();
        let full = disabled.enable_local().expect_err("was enabled");
        assert_eq!(full, SetupError::RegisteredRingsFull);

        // One is dropped, with a waker that lives on elsewhere: its place is free at once,
        // and no place of the waker's thread is given back for it.
        let one = rings.swap_remove(5);
        let waker = one.waker().expect("a descriptor");
        thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel();
            let shared = &shared;
            let there = scope.spawn(move || {
                let there = places(shared);
                receive.recv().unwrap();
                let woken = waker.wake(1);
                assert!(woken.is_ok() || !linux(6, 13), "{woken:?}");
                drop(waker);
                assert!(there.iter().all(|one| enter(one.index()).is_ok()));
            });
            drop(one);
            assert_eq!(enter(5), Err(libc::EBADF));
            rings.push(build().unwrap());
            send.send(()).unwrap();
            there.join().unwrap();
        });
        rings.iter().for_each(runs);
        drop(rings);
        assert_eq!(traces(), with_shared);
        drop(shared);
        assert_eq!(traces(), before);
        assert_eq!(places(&ring()).len(), PLACES);
    });
}

#[test]
fn shared_rings_and_rings_with_an_index_refuse_one() {
    let builder = Ring::builder(8).register_ring_fd();
    let text = builder.build().expect_err("was built").to_string();
    assert!(text.contains("Ring::register_ring_fd"), "{text}");
    let disabled = builder.build_disabled().unwrap();
    let text = disabled.enable().expect_err("was enabled").to_string();
    assert!(text.contains("REGISTER_RING_FDS is refused"), "{text}");
    let both = builder.no_mmap().registered_fd_only().build_local();
    let text = both.expect_err("was built").to_string();
    assert!(
        text.contains("REGISTER_RING_FDS excludes REGISTERED_FD_ONLY"),
        "{text}"
    );
}

#[test]
fn a_forked_child_leaves_its_own_places_alone() {
    in_child(
        "ring_fd::a_forked_child_leaves_its_own_places_alone",
        || {
            let ring = ring();
            let mut inherited = Some(ring.register_ring_fd().unwrap());
            let ended = forked(|| {
                // The first place of a thread that has none: the same number as the parent's.
                let own = super::ring();
                let place = own.register_ring_fd().unwrap();
                drop(inherited.take());
                push(&own, 7);
                let is_submitted = place.submit() == Ok(()) && own.cq().reap().is_some();
                i32::from(!is_submitted)
            });
            assert_eq!(ended, Ok(0));
            push(&ring, 8);
            assert_eq!(inherited.unwrap().submit(), Ok(()));
            assert!(ring.cq().reap().is_some());
        },
    );
}
