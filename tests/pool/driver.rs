//! Permits, names, deadlines, cancelling.

use super::*;
use ringway::pool::{Batching, Outcome, Refusal, Submission};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

fn read(file: &impl std::os::fd::AsFd, buf: &'static mut [u8], user_data: u64) -> Op {
    let mut sqe = Sqe::default();
    // SAFETY: the buffer is leaked, and the caller keeps the file.
    unsafe { sqe.prep_read(file, buf.as_mut_ptr(), buf.len() as u32, 0) }.user_data(user_data);
    sqe.into()
}

fn memory(len: usize) -> &'static mut [u8] {
    vec![0; len].leak()
}

#[test]
fn any_user_data_comes_back() {
    let driver = driver(8, 16, Driver::builder());
    let file = File::open("/proc/self/exe").unwrap();
    for user_data in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
        let id = driver
            .try_submit(read(&file, memory(4), user_data))
            .unwrap();
        let completion = next(&driver);
        assert_eq!(completion.op(), id);
        assert_eq!(completion.user_data(), user_data);
        assert_eq!(completion.cqe().user_data(), user_data);
        assert_eq!(completion.outcome(), Outcome::Done(4));
        assert!(completion.is_last());
    }
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn a_full_driver_gives_the_operation_back() {
    let driver = driver(8, 16, Driver::builder().permits(2));
    driver.try_submit(nop(1)).unwrap();
    driver.try_submit(nop(2)).unwrap();
    let refused = driver.try_submit(nop(3)).unwrap_err();
    assert_eq!(refused.why, Refusal::Full);
    assert_eq!(driver.in_flight(), 2);
    let seen = next_of::<2>(&driver).map(|completion| completion.user_data());
    assert_eq!(seen, [1, 2]);
    driver.try_submit(refused.op).unwrap();
    assert_eq!(next(&driver).user_data(), 3);
}

#[test]
fn a_deadline_is_told_from_a_cancel() {
    let driver = driver(8, 16, Driver::builder());
    let (reader, _writer) = std::io::pipe().unwrap();
    let short = Duration::from_millis(5);
    let op = read(&reader, memory(1), 1).deadline(short);
    driver.try_submit(op).unwrap();
    let completion = next(&driver);
    assert_eq!(
        (completion.user_data(), completion.outcome()),
        (1, Outcome::TimedOut)
    );
    let id = driver
        .try_submit(read(&reader, memory(1), 2).deadline(LOST))
        .unwrap();
    driver.cancel(id);
    let completion = next(&driver);
    assert_eq!(
        (completion.user_data(), completion.outcome()),
        (2, Outcome::Cancelled)
    );
    driver.try_submit(nop(3).deadline(LOST)).unwrap();
    let completion = next(&driver);
    assert_eq!(
        (completion.user_data(), completion.outcome()),
        (3, Outcome::Done(0))
    );
    assert_eq!(driver.in_flight(), 0);
    assert_eq!(driver.stats().stale, 0);
}

/// Far more operations than the rings hold: 3 workers, 2 reapers, SQ 8, CQ 16.
fn million(submission: Submission, operations: u64) {
    let driver = driver(8, 16, Driver::builder().submission(submission));
    let (reaped, sum) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|threads| {
        let submitter = threads.spawn(|| driver.serve());
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let driver = &driver;
                threads.spawn(move || {
                    for i in 0..operations {
                        driver
                            .submit(nop(worker * operations + i), Some(LOST))
                            .unwrap();
                        assert!(driver.in_flight() <= 12);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            threads.spawn(|| {
                while reaped.load(Relaxed) < 3 * operations {
                    let tell = |event| match event {
                        Event::Completed(completion) => {
                            sum.fetch_add(completion.user_data(), Relaxed);
                            reaped.fetch_add(1, Relaxed);
                        }
                        Event::Stale(cqe) => panic!("{cqe:?}"),
                    };
                    driver.wait_reap(Some(LOST), tell).unwrap();
                }
                driver.wake().unwrap();
            });
        }
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
        driver.flush();
        driver.stop_serving();
        submitter.join().unwrap();
    });
    let all = 3 * operations;
    assert_eq!(sum.into_inner(), all * (all - 1) / 2);
    assert_eq!(driver.in_flight(), 0);
    let stats = driver.stats();
    assert_eq!(
        (stats.flushes, stats.stale, driver.ring().cq_overflow()),
        (0, 0, 0)
    );
    println!("{stats:?}");
}

#[test]
fn smoke() {
    let start = Instant::now();
    million(Submission::Combining, 30_000);
    println!("combining {:?}", start.elapsed());
    let start = Instant::now();
    million(Submission::Dedicated(Batching::default()), 30_000);
    println!("dedicated {:?}", start.elapsed());
}

/// The rest of a batch, after its closure panicked, goes to the next reap; nothing waits for it.
#[test]
fn what_a_panic_leaves_untold_is_told_by_the_next() {
    type Reap = fn(&Driver, &mut dyn FnMut(Event)) -> usize;
    let reaps: [Reap; 2] = [
        |driver, event| driver.wait_reap(Some(LOST), event).unwrap(),
        |driver, event| driver.reap(event),
    ];
    for reap in reaps {
        let driver = driver(8, 16, Driver::builder());
        (0..5).for_each(|i| _ = driver.try_submit(nop(i)).unwrap());
        panics_at(&driver, 2);
        assert_eq!(driver.in_flight(), 0);
        let (mut told, start) = (Vec::new(), Instant::now());
        assert_eq!(reap(&driver, &mut |event| told.push(number(event))), 3);
        assert!(start.elapsed() < LOST, "it slept over them");
        assert_eq!(told, [2, 3, 4]);
        driver.try_submit(nop(5)).unwrap();
        assert_eq!(next(&driver).user_data(), 5);
    }
}

#[test]
fn a_quiesce_tells_what_a_panic_left() {
    let driver = driver(8, 16, Driver::builder());
    (0..5).for_each(|i| _ = driver.try_submit(nop(i)).unwrap());
    panics_at(&driver, 1);
    let mut told = Vec::new();
    driver
        .quiesce(Some(LOST), |event| told.push(number(event)))
        .unwrap();
    assert_eq!(told, [1, 2, 3, 4]);
}

pub fn number(event: Event) -> u64 {
    match event {
        Event::Completed(completion) => completion.user_data(),
        Event::Stale(cqe) => panic!("{cqe:?}"),
    }
}

/// A reap whose closure is called for the completions up to this one, and panics.
pub fn panics_at(driver: &Driver, last: u64) {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        driver.wait_reap(Some(LOST), |event| {
            assert_ne!(number(event) + 1, last, "as it is meant to");
        })
    }));
    assert!(caught.is_err());
}

/// Operations with deadlines that end at once: first come all their CQEs, then all those of
/// their timers.
#[test]
fn a_reap_that_comes_on_halves_goes_on() {
    const OPS: usize = 64;
    let dedicated = Submission::Dedicated(Batching::default());
    let driver = driver(256, 512, Driver::builder().submission(dedicated));
    for i in 0..OPS as u64 {
        let timed = nop(i).deadline(LOST);
        driver.try_submit(timed).unwrap();
    }
    // All in one enter.
    driver.stop_serving();
    driver.serve();
    let mut told = Vec::new();
    while driver.reap(|event| told.extend(completion(event))) > 0 {}
    assert_eq!((told.len(), driver.in_flight()), (OPS, 0));
}

fn completion(event: Event) -> Option<u64> {
    match event {
        Event::Completed(completion) => Some(completion.user_data()),
        Event::Stale(cqe) => panic!("{cqe:?}"),
    }
}

/// What is still in the ring when the driver goes has its deadline where it was.
#[test]
fn a_deadline_outlives_the_driver() {
    let dedicated = Submission::Dedicated(Batching::default());
    let driver = driver(8, 16, Driver::builder().submission(dedicated));
    let ring = driver.ring().clone();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let timed = pending(&pipe, 1).deadline(Duration::from_millis(1));
    driver.try_submit(timed).unwrap();
    drop(driver);
    // Memory of any size that was freed is written over.
    let written: Vec<_> = (0..12)
        .flat_map(|size| (0..64).map(move |_| vec![u64::MAX; 1 << size]))
        .collect();
    ring.submit().unwrap();
    let cq = ring.cq();
    let mut results: Vec<_> = (0..2)
        .map(|_| cq.wait_one(Some(LOST)).unwrap().unwrap().res())
        .collect();
    results.sort_unstable();
    assert_eq!(results, [-libc::ECANCELED, -libc::ETIME]);
    drop(written);
}
