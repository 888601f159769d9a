//! Handles: who has which ring, and when it ends.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Barrier, mpsc};
use std::thread;

use ringway::set::{Member, MemberId, Set, SetError};
use ringway::{Ring, SqPoll};

use super::child::{has, linux};
use super::{LOST, member, next, patient, set};

fn in_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join().unwrap())
}

#[test]
fn a_thread_has_one_ring_of_each_set() {
    let (one, other) = (set(), set());
    let first = member(&one);
    let id = |set: &Set| patient(|| set.with(|ring| (ring.id(), ring.fd().unwrap().as_raw_fd())));
    let same = |ring: &Member| Ok((ring.id(), ring.fd().unwrap().as_raw_fd()));
    assert_eq!(id(&one), same(&first));
    assert_eq!(id(&one), same(&one.clone().member().unwrap()));
    assert_ne!(id(&other), id(&one));
    assert_eq!(id(&other), same(&other.member().unwrap()));
    let elsewhere = in_thread(|| id(&one));
    assert_ne!(elsewhere, id(&one));
    // Ids do not come again, numbers of descriptors do.
    assert_eq!(elsewhere.unwrap().0.get(), first.id().get() + 1);
}

/// All combinations of the ways to have a ring, and to let go of it.
#[test]
fn a_ring_stays_as_long_as_somebody_has_it() {
    let set = set();
    let listed = || -> Vec<MemberId> { set.peers().iter().map(|peer| peer.id()).collect() };
    // Seen by `with`, kept by the member alone.
    let made = member(&set);
    let id = patient(|| set.with(|ring| ring.id())).unwrap();
    assert_eq!(listed(), [id]);
    drop(made);
    assert_eq!(listed(), []);
    // Kept by `with`, seen by the member.
    let id = patient(|| set.with(|ring| ring.id())).unwrap();
    drop(set.member().unwrap());
    assert_eq!(listed(), [id]);
    let other = set.member().unwrap();
    set.leave();
    assert_eq!(listed(), [id]);
    assert_eq!(set.with(|ring| ring.id()), Ok(id));
    drop(other);
    assert_eq!(listed(), []);
    set.leave();
    // Left while in use.
    let use_and_leave = |ring: &Member| {
        set.leave();
        assert_eq!(listed(), [ring.id()]);
        assert_eq!(set.with(|inner| inner.id()), Ok(ring.id()));
        ring.id()
    };
    let id = patient(|| set.with(use_and_leave)).unwrap();
    assert_eq!(listed(), []);
    assert_eq!(id.get(), 2);
}

/// A panic in the body leaves the ring to the thread.
#[test]
fn a_panic_in_with() {
    let set = set();
    let id = patient(|| set.with(|ring| ring.id())).unwrap();
    let quiet =
        std::panic::AssertUnwindSafe(|| set.with(|_| std::panic::resume_unwind(Box::new(1))));
    assert!(std::panic::catch_unwind(quiet).is_err());
    assert_eq!(set.with(|ring| ring.id()), Ok(id));
    set.leave();
    assert!(set.peers().is_empty());
}

#[test]
fn no_more_members_than_told() {
    let set = Set::builder(Ring::builder(8))
        .max_members(2)
        .build()
        .unwrap();
    let here = member(&set).id();
    set.with(|_| ()).unwrap();
    in_thread(|| {
        let there = member(&set);
        in_thread(|| {
            assert_eq!(set.member().unwrap_err(), SetError::Full { max: 2 });
            assert_eq!(set.with(|_| ()), Err(SetError::Full { max: 2 }));
        });
        // Whose thread has a ring has it.
        assert_eq!(set.with(|ring| ring.id()), Ok(there.id()));
    });
    for _ in 0..3 {
        in_thread(|| patient(|| set.with(|ring| assert_ne!(ring.id(), here)))).unwrap();
    }
    let none = Set::builder(Ring::builder(8))
        .max_members(0)
        .build()
        .unwrap();
    assert_eq!(none.member().unwrap_err(), SetError::Full { max: 0 });
}

/// Those who wait are woken, those who would come are refused, those who are there stay.
#[test]
fn close() {
    if !has(6, 13, "handles::close", "SEND_MSG_RING") {
        return;
    }
    const CLOSE: u64 = 99;
    let set = set();
    let (ready, started) = mpsc::channel();
    let waiters = [(); 3].map(|()| {
        let (set, ready) = (set.clone(), ready.clone());
        thread::spawn(move || {
            let member = member(&set);
            assert!(!member.is_closed());
            ready.send(()).unwrap();
            assert_eq!(next(&member).user_data(), CLOSE);
            assert!(member.is_closed());
            assert_eq!(set.with(|ring| ring.id()), Ok(member.id()));
            assert_eq!(set.member().unwrap().id(), member.id());
        })
    });
    for _ in &waiters {
        started.recv_timeout(LOST).expect("a ring");
    }
    let here = member(&set);
    assert!(!set.is_closed());
    assert_eq!(set.close(CLOSE), Ok(4));
    assert!(set.is_closed());
    assert_eq!(set.close(CLOSE), Ok(0));
    assert_eq!(next(&here).user_data(), CLOSE);
    assert_eq!(here.reap(), None, "told twice");
    drop(here);
    assert_eq!(set.member().unwrap_err(), SetError::Closed);
    assert_eq!(set.with(|_| ()), Err(SetError::Closed));
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert!(set.peers().is_empty());
}

/// Whoever comes while the set closes is refused, or told.
#[test]
fn members_that_come_while_the_set_closes() {
    const CLOSE: u64 = 99;
    if !has(
        6,
        13,
        "handles::members_that_come_while_the_set_closes",
        "SEND_MSG_RING",
    ) {
        return;
    }
    let mut came = 0;
    for round in 0..200 {
        let set = set();
        let start = Barrier::new(3);
        thread::scope(|scope| {
            let come = || {
                start.wait();
                match set.member() {
                    Ok(member) => {
                        assert_eq!(next(&member).user_data(), CLOSE);
                        1
                    }
                    Err(SetError::Closed) => 0,
                    Err(error) if super::is_passing(&error) => 0,
                    Err(other) => panic!("{other}"),
                }
            };
            let threads = [(); 2].map(|()| scope.spawn(come));
            start.wait();
            // From before the first until after the last.
            for _ in 0..round * 100 {
                std::hint::spin_loop();
            }
            let told = set.close(CLOSE).unwrap();
            let came_now = threads.map(|thread| thread.join().unwrap());
            assert_eq!(came_now.into_iter().sum::<usize>(), told);
            came += told;
        });
    }
    println!("{came} of 400 came");
}

/// Enters the ring of another thread, as no user of the set could.
fn enter_from_here(ring: &impl AsFd) -> Option<i32> {
    const GETEVENTS: u32 = 1;
    let fd = ring.as_fd().as_raw_fd();
    let no_argument = std::ptr::null::<u8>();
    // SAFETY: nothing is submitted, and no argument read.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            fd,
            0,
            0,
            GETEVENTS,
            no_argument,
            0,
        )
    };
    (done < 0).then(|| std::io::Error::last_os_error().raw_os_error().unwrap())
}

#[test]
fn rings_defer_unless_told_otherwise() {
    let way = Ring::builder(8);
    let deferring = linux(6, 1).then_some(libc::EEXIST);
    for (builder, answer) in [
        (Set::builder(way), deferring),
        (Set::builder(way).exact(), None),
        (Set::builder(way.sqpoll(SqPoll::new())), None),
        (Set::builder(way.coop_taskrun()), deferring),
    ] {
        let set = builder.build().unwrap();
        let here = member(&set);
        let peer = here.peer();
        assert_eq!(in_thread(|| enter_from_here(peer)), answer, "{builder:?}");
        let mut slot = here.pop().unwrap();
        // SAFETY: a NOP holds no pointer.
        unsafe { slot.prep_nop() }.user_data(5);
        slot.push();
        here.submit().unwrap();
        assert_eq!(next(&here).user_data(), 5);
    }
}

#[test]
fn a_handle_goes_anywhere() {
    fn anywhere<T: Send + Sync + Clone + 'static>() {}
    anywhere::<Set>();
    anywhere::<ringway::set::Peer>();
}
