//! A ring that one thread owns, and others push to and reap from.

use super::*;
use crate::child::has;
use crate::driver::{number, panics_at};
use ringway::pool::{DriverError, Outcome, Owner, OwnerError, Refusal};
use ringway::{EnterError, Errno, SqPoll};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
#[cfg(feature = "sim")]
use std::sync::{Arc, atomic::AtomicBool};
use std::thread;

/// A driver whose ring takes no thread but one, and that thread to be.
fn owned(sq: u32, cq: u32, settings: DriverBuilder) -> (Driver, Owner) {
    let builder = Ring::builder(sq).cq_entries(cq).single_issuer();
    let ring = builder.defer_taskrun().build_disabled().expect("io_uring");
    settings.build_owned(ring).unwrap()
}

fn can(test: &str) -> bool {
    has(6, 13, test, "messages from no ring")
}

/// A ring that its owner would enter otherwise than the driver does.
#[test]
fn what_an_owner_cannot_serve_is_refused() {
    let builders = [
        Ring::builder(8).sqpoll(SqPoll::new()),
        Ring::builder(8).register_ring_fd(),
        Ring::builder(8).legacy(),
    ];
    for builder in builders {
        let ring = builder.build_disabled().expect("io_uring");
        let refused = Driver::builder().build_owned(ring);
        assert_eq!(refused.err(), Some(DriverError::NotOwnable), "{builder:?}");
    }
}

#[test]
fn every_thread_may_push_and_reap() {
    if !can("owned::every_thread_may_push_and_reap") {
        return;
    }
    const EACH: u64 = 20_000;
    let (driver, owner) = owned(8, 16, Driver::builder());
    let (reaped, sum) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|threads| {
        let owner = threads.spawn(|| owner.serve());
        for worker in 0..3 {
            let driver = &driver;
            threads.spawn(move || {
                for i in 0..EACH {
                    driver.submit(nop(worker * EACH + i), Some(LOST)).unwrap();
                }
            });
        }
        let reapers: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    while reaped.load(Relaxed) < 3 * EACH {
                        let tell = |event| match event {
                            Event::Completed(completion) => {
                                assert_eq!(completion.outcome(), Outcome::Done(0));
                                sum.fetch_add(completion.user_data(), Relaxed);
                                reaped.fetch_add(1, Relaxed);
                            }
                            Event::Stale(cqe) => panic!("{cqe:?}"),
                        };
                        driver.wait_reap(Some(LOST), tell).unwrap();
                    }
                    driver.wake().unwrap();
                })
            })
            .collect();
        reapers
            .into_iter()
            .for_each(|reaper| reaper.join().unwrap());
        driver.stop_serving();
        assert_eq!(owner.join().unwrap(), Ok(()));
    });
    let all = 3 * EACH;
    assert_eq!(sum.into_inner(), all * (all - 1) / 2);
    let stats = driver.stats();
    assert_eq!((stats.in_flight, stats.stale), (0, 0));
    assert_eq!(driver.ring().cq_overflow(), 0);
}

#[test]
fn what_waits_for_events_is_done_by_the_owner() {
    if !can("owned::what_waits_for_events_is_done_by_the_owner") {
        return;
    }
    let (driver, owner) = owned(8, 16, Driver::builder());
    thread::scope(|threads| {
        let owner = threads.spawn(|| owner.serve());
        let (reader, mut writer) = std::io::pipe().unwrap();
        let buf: &'static mut [u8] = vec![0; 4].leak();
        let mut sqe = Sqe::default();
        // SAFETY: the buffer is leaked, and the pipe kept until the completion.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 4, 0) }.user_data(1);
        driver.try_submit(sqe).unwrap();
        std::io::Write::write_all(&mut writer, b"ring").unwrap();
        assert_eq!(next(&driver).outcome(), Outcome::Done(4));
        assert_eq!(buf, b"ring");
        // A deadline, which posts two CQEs, and a cancel.
        let zero = File::open("/dev/zero").unwrap();
        let mut sqe = Sqe::default();
        // SAFETY: as above.
        unsafe { sqe.prep_read(&zero, buf.as_mut_ptr(), 4, 0) }.user_data(2);
        let op = Op::from(sqe).deadline(LOST);
        driver.try_submit(op).unwrap();
        assert_eq!(next(&driver).outcome(), Outcome::Done(4));
        let mut sqe = Sqe::default();
        // SAFETY: as above.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 4, 0) }.user_data(3);
        let id = driver.try_submit(sqe).unwrap();
        driver.cancel(id);
        assert_eq!(next(&driver).outcome(), Outcome::Cancelled);
        assert_eq!(driver.in_flight(), 0);
        driver.stop_serving();
        assert_eq!(owner.join().unwrap(), Ok(()));
    });
}

#[test]
fn what_a_panic_leaves_untold_is_told_by_the_next() {
    if !can("owned::what_a_panic_leaves_untold_is_told_by_the_next") {
        return;
    }
    let (driver, owner) = owned(8, 16, Driver::builder());
    thread::scope(|threads| {
        let owner = threads.spawn(|| owner.serve());
        (0..5).for_each(|i| _ = driver.try_submit(nop(i)).unwrap());
        until(|| driver.stats().completed == 5);
        // It has handed over all that it has reaped when it has ended.
        driver.stop_serving();
        assert_eq!(owner.join().unwrap(), Ok(()));
    });
    panics_at(&driver, 2);
    let mut told = Vec::new();
    let rest = driver.wait_reap(Some(LOST), |event| told.push(number(event)));
    assert_eq!((rest, &told[..]), (Ok(3), &[2, 3, 4][..]));
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn an_owner_that_does_not_serve_ends_the_driver() {
    let (driver, owner) = owned(8, 16, Driver::builder());
    driver.try_submit(nop(1)).unwrap();
    drop(owner);
    let why = EnterError::Kernel(Errno::from_raw(libc::EBADFD));
    let refused = driver.try_submit(nop(2)).unwrap_err();
    assert_eq!(refused.why, Refusal::Ring(why));
    assert_eq!(driver.wait_reap(Some(LOST), |_| ()), Err(why));
    gives_up(&driver, 1);
}

/// Quiescing, at once, on this one operation.
fn gives_up(driver: &Driver, user_data: u64) {
    let start = Instant::now();
    let leaked = driver.quiesce(Some(LOST), |_| ()).unwrap_err();
    assert_eq!(leaked.user_data, [user_data]);
    assert!(start.elapsed() < LOST, "it waited for what will never come");
}

/// What has come is still told, then the error, to all who wait; nothing waits for ever.
#[cfg(feature = "sim")]
#[test]
fn an_owner_that_fails_is_told_to_all() {
    let refusals = [
        (libc::EBADR, EnterError::CompletionLost),
        (
            libc::EBADF,
            EnterError::Kernel(Errno::from_raw(libc::EBADF)),
        ),
    ];
    for (errno, error) in refusals {
        let is_over = Arc::new(AtomicBool::new(false));
        let faults = {
            let is_over = is_over.clone();
            move |_| is_over.load(Relaxed).then(|| Errno::from_raw(errno))
        };
        let (ring, _kernel) = Ring::simulated(8).cq_entries(16).faults(faults).build();
        let (driver, owner) = Driver::builder().build_owned_simulated(ring).unwrap();
        thread::scope(|threads| {
            let owner = threads.spawn(|| owner.serve());
            driver.try_submit(nop(1)).unwrap();
            assert_eq!(next(&driver).user_data(), 1);
            let wait = || driver.wait_reap(Some(LOST), |event| panic!("{event:?}"));
            let reapers = [threads.spawn(wait), threads.spawn(wait)];
            is_over.store(true, Relaxed);
            driver.try_submit(nop(2)).unwrap();
            assert_eq!(owner.join().unwrap(), Err(OwnerError::Enter(error)));
            for reaper in reapers {
                assert_eq!(reaper.join().unwrap(), Err(error));
            }
            let refused = driver.submit(nop(3), Some(LOST)).unwrap_err();
            assert_eq!(refused.why, Refusal::Ring(error));
            gives_up(&driver, 2);
        });
    }
}

#[test]
fn the_ring_is_the_owners_alone() {
    if !can("owned::the_ring_is_the_owners_alone") {
        return;
    }
    let (driver, owner) = owned(8, 16, Driver::builder());
    thread::scope(|threads| {
        let owner = threads.spawn(|| owner.serve());
        driver.try_submit(nop(1)).unwrap();
        assert_eq!(next(&driver).user_data(), 1);
        let mut slot = driver.ring().sq().pop().map(drop);
        assert!(slot.take().is_some());
        assert_eq!(
            driver.ring().submit(),
            Err(ringway::EnterError::WrongThread)
        );
        driver.stop_serving();
        assert_eq!(owner.join().unwrap(), Ok(()));
    });
    let error = OwnerError::Enable(ringway::Errno::from_raw(libc::EACCES));
    assert!(error.to_string().contains("could not be enabled"));
}

#[test]
fn a_pool_has_its_owner() {
    if !can("owned::a_pool_has_its_owner") {
        return;
    }
    use ringway::pool::{Completion, Pool};
    const ALL: u64 = 3_000;
    let builder = Ring::builder(8).cq_entries(16).single_issuer();
    let ring = builder.defer_taskrun().build_disabled().expect("io_uring");
    let (tell, told) = std::sync::mpsc::channel();
    let work = |driver: &Driver, user_data: u64| {
        driver.submit(nop(user_data), Some(LOST)).unwrap();
    };
    let handler = move |_: &Driver, completion: Completion| {
        tell.send((completion.user_data(), completion.outcome()))
            .unwrap();
    };
    let pool = Pool::builder().workers(2).reapers(2).name("owned");
    let pool = pool.build_owned(ring, work, handler).unwrap();
    for user_data in 0..ALL {
        pool.give_wait(user_data, Some(LOST)).unwrap();
    }
    let mut seen: Vec<u64> = (0..ALL)
        .map(|_| {
            let (user_data, outcome) = told.recv_timeout(LOST).unwrap();
            assert_eq!(outcome, Outcome::Done(0));
            user_data
        })
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..ALL));
    // What waits for an event is cancelled.
    let (reader, _writer) = std::io::pipe().unwrap();
    pool.driver()
        .submit(pending(&reader, 1), Some(LOST))
        .unwrap();
    let shutdown = pool.shutdown(Some(LOST)).unwrap();
    assert!(shutdown.is_clean(), "{shutdown:?}");
    assert_eq!(shutdown.stats.completed, ALL + 1);
    assert_eq!(told.recv(), Ok((1, Outcome::Cancelled)));
}

#[test]
fn jobs_complete_through_a_ring_that_their_threads_may_not_enter() {
    use ringway::pool::{Carrier, Offload};
    if !can("owned::jobs_complete_through_a_ring_that_their_threads_may_not_enter") {
        return;
    }
    for carrier in [Carrier::Message, Carrier::Nop, Carrier::PlainNop] {
        let (driver, owner) = owned(8, 16, Driver::builder());
        thread::scope(|threads| {
            let owner = threads.spawn(|| owner.serve());
            let settings = Offload::builder().threads(2).carrier(carrier);
            let offload = settings.build(&driver).unwrap();
            for i in 0..20 {
                offload
                    .try_offload(move || Ok(i * 3), u64::from(i))
                    .unwrap();
                let told = next(&driver);
                assert_eq!(
                    (told.user_data(), told.outcome()),
                    (u64::from(i), Outcome::Done(i * 3))
                );
            }
            drop(offload);
            driver.stop_serving();
            assert_eq!(owner.join().unwrap(), Ok(()));
        });
        assert_eq!((driver.in_flight(), driver.stats().stale), (0, 0));
    }
}
