//! Every way in which an offload can end, with jobs that have not.

use super::offload::{Boxed, CARRIERS, all, hold, is, offload, one_thread, take, told};
use super::*;
use ringway::pool::{Batching, Carrier, Offload, OffloadEnd, Outcome, Submission};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;

#[test]
fn dropping_loses_no_job() {
    for carrier in CARRIERS {
        let driver = driver(8, 16, Driver::builder());
        let settings = Offload::builder().threads(1).carrier(carrier);
        let offload: Offload<Boxed> = offload(&driver, settings);
        let dropped = Arc::new(AtomicU32::new(0));
        let (_, let_go) = hold(&offload, 1);
        for i in 2..8 {
            offload.try_offload(told(&dropped), i).unwrap();
        }
        thread::scope(|threads| {
            let drops = threads.spawn(move || drop(offload));
            // Those that have not started do not wait for the one that has.
            let mut found = Vec::new();
            while found.len() < 6 {
                take(&driver, &mut found);
            }
            let expected: Vec<_> = (2..8).map(|i| (i, Outcome::Cancelled)).collect();
            assert_eq!(found, expected, "{carrier:?}");
            assert_eq!(dropped.load(Relaxed), 6);
            assert!(!drops.is_finished());
            drop(let_go);
            drops.join().unwrap();
        });
        // It was in the ring when the drop returned.
        assert_eq!(
            driver.reap(|event| assert!(matches!(event, Event::Completed(_)))),
            1
        );
        assert_eq!(driver.in_flight(), 0);
    }
}

#[test]
fn a_job_that_never_returns_is_reported() {
    let (driver, offload) = one_thread();
    let (_, let_go) = hold(&offload, 1);
    offload.try_offload(Box::new(|| Ok(2)), 2).unwrap();
    let start = Instant::now();
    let deadline = Duration::from_millis(20);
    let end = offload.shutdown(Some(deadline));
    let took = start.elapsed();
    let expected = OffloadEnd {
        cancelled: 1,
        leaked: 1,
    };
    assert_eq!(end, expected);
    assert!(took >= deadline, "{took:?}");
    assert_eq!(is(next(&driver)), (2, Outcome::Cancelled));
    // It has let the thread go: dropping it waits no more.
    drop(offload);
    assert!(start.elapsed() < Offload::<Boxed>::PATIENCE);
    assert_eq!(driver.in_flight(), 1);
    // Never, or late.
    drop(let_go);
    assert_eq!(all(&driver), [(1, Outcome::Done(1))]);
}

#[test]
fn a_job_drops_its_own_offload() {
    let driver = driver(8, 16, Driver::builder());
    let offload: Arc<Offload<Boxed>> = Arc::new(offload(&driver, Offload::builder().threads(1)));
    let (is_alone, alone) = channel::<()>();
    let own = offload.clone();
    let job: Boxed = Box::new(move || {
        alone.recv_timeout(LOST).unwrap();
        drop(Arc::into_inner(own).expect("the last handle"));
        Ok(1)
    });
    let start = Instant::now();
    offload.try_offload(job, 1).unwrap();
    offload.try_offload(Box::new(|| Ok(2)), 2).unwrap();
    drop(offload);
    is_alone.send(()).unwrap();
    assert_eq!(
        all(&driver),
        [(2, Outcome::Cancelled), (1, Outcome::Done(1))]
    );
    assert!(start.elapsed() < Offload::<Boxed>::PATIENCE);
}

#[test]
fn a_job_ends_the_offload_that_its_thread_serves() {
    let driver = driver(8, 16, Driver::builder());
    let settings = Offload::builder();
    let offload: Arc<Offload<Boxed>> = Arc::new(settings.build_without_threads(&driver).unwrap());
    let (tell, ended) = channel();
    let own = offload.clone();
    let job: Boxed = Box::new(move || {
        tell.send(own.shutdown(Some(LOST))).unwrap();
        Ok(1)
    });
    offload.try_offload(job, 1).unwrap();
    offload.serve();
    let expected = OffloadEnd {
        cancelled: 0,
        leaked: 0,
    };
    assert_eq!(ended.recv().unwrap(), expected);
    assert_eq!(all(&driver), [(1, Outcome::Done(1))]);
}

/// Jobs that both shut their offload down, and so do not wait for each other.
#[test]
fn two_jobs_shut_their_offload_down() {
    let driver = driver(8, 16, Driver::builder());
    let offload: Arc<Offload<Boxed>> = Arc::new(offload(&driver, Offload::builder().threads(2)));
    let both = Arc::new(std::sync::Barrier::new(2));
    let [one, two] = [1, 2].map(|_| {
        let (offload, both) = (Arc::downgrade(&offload), both.clone());
        let job: Boxed = Box::new(move || {
            let offload = offload.upgrade().unwrap();
            both.wait();
            Ok(offload.shutdown(Some(LOST)).leaked)
        });
        job
    });
    offload.try_offload(one, 1).unwrap();
    offload.try_offload(two, 2).unwrap();
    let mut found = all(&driver);
    found.sort_unstable_by_key(|found| found.0);
    assert_eq!(found, [(1, Outcome::Done(0)), (2, Outcome::Done(0))]);
    let end = offload.shutdown(None);
    assert_eq!((end.cancelled, end.leaked), (0, 0));
}

/// Jobs that have not started complete as cancelled, however short the time and full the SQ.
#[test]
fn a_shutdown_in_no_time_loses_no_job() {
    const JOBS: u64 = 60;
    let dedicated = Submission::Dedicated(Batching::default());
    let driver = driver(8, 128, Driver::builder().submission(dedicated));
    let settings = Offload::builder().queue(64).carrier(Carrier::Nop);
    let offload = settings.build_without_threads::<Boxed>(&driver).unwrap();
    for i in 0..JOBS {
        offload.try_offload(Box::new(|| Ok(0)), i).unwrap();
    }
    let end = offload.shutdown(Some(Duration::ZERO));
    assert_eq!((end.cancelled, end.leaked), (JOBS as u32, 0));
    thread::scope(|threads| {
        threads.spawn(|| driver.serve());
        let found = all(&driver);
        driver.stop_serving();
        let expected = (0..JOBS).map(|i| (i, Outcome::Cancelled));
        assert!(found.into_iter().eq(expected));
    });
}

/// A ring that dies takes no completion any more, and keeps nobody.
#[cfg(feature = "sim")]
#[test]
fn a_shutdown_does_not_wait_for_a_dead_ring() {
    use ringway::Errno;
    use std::sync::atomic::AtomicBool;

    let is_dead = Arc::new(AtomicBool::new(false));
    let dies = is_dead.clone();
    let lost = Errno::from_raw(libc::EBADR);
    let simulation = Ring::simulated(4).cq_entries(16);
    let (ring, _) = simulation
        .faults(move |_| dies.load(Relaxed).then_some(lost))
        .build();
    let driver = Driver::builder().build(ring).unwrap();
    let offload: Offload<Boxed> = offload(&driver, Offload::builder().threads(1));
    let (_, let_go) = hold(&offload, 1);
    offload.try_offload(Box::new(|| Ok(0)), 2).unwrap();
    is_dead.store(true, Relaxed);
    driver.try_submit(nop(3)).unwrap();
    let (done, is_done) = channel();
    thread::scope(|threads| {
        threads.spawn(|| done.send(offload.shutdown(None)).unwrap());
        until(|| offload.queued() == 0);
        drop(let_go);
        let end = is_done.recv_timeout(LOST).expect("it never ended");
        assert_eq!((end.cancelled, end.leaked), (0, 2));
    });
    assert_eq!(driver.quiesce(None, |_| ()).unwrap_err().n, 3);
}
