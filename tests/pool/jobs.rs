//! Jobs beside timers, what they cost, their order, their panics.

use super::offload::{Boxed, CARRIERS, all, is, offload};
use super::*;
use ringway::pool::{Offload, Outcome};
use ringway::prep::{TimeoutFlags, Timespec};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

fn timer(time: &'static Timespec, user_data: u64) -> Op {
    let mut sqe = Sqe::default();
    // SAFETY: the time is static.
    unsafe { sqe.prep_timeout(time, 0, TimeoutFlags::NONE) }.user_data(user_data);
    sqe.into()
}

/// The times are of this machine under whatever load it has: the best of a few tries.
#[test]
fn a_short_job_beside_a_long_timer() {
    static SECOND: Timespec = Timespec::new(1, 0);
    let short = Duration::from_millis(20);
    for carrier in CARRIERS {
        let driver = driver(8, 16, Driver::builder());
        let offload = offload(&driver, Offload::builder().carrier(carrier));
        let id = driver.try_submit(timer(&SECOND, 1)).unwrap();
        let mut times = Vec::new();
        while times.len() < 5 && !times.iter().any(|time| *time <= 2 * short) {
            let start = Instant::now();
            let job = move || {
                thread::sleep(short);
                Ok(0)
            };
            offload.try_offload(job, 2).unwrap();
            assert_eq!(is(next(&driver)), (2, Outcome::Done(0)), "{times:?}");
            times.push(start.elapsed());
            assert!(start.elapsed() >= short);
        }
        println!("{carrier:?}: a 20 ms job beside a 1 s timer took {times:?}");
        assert!(*times.last().unwrap() <= 2 * short, "{times:?}");
        driver.cancel(id);
        assert_eq!(is(next(&driver)), (1, Outcome::Cancelled));
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the timespec is valid for the call.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(answer, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_waiter_costs_no_cpu() {
    let driver = driver(8, 16, Driver::builder());
    let offload = offload(&driver, Offload::builder());
    let job = || {
        thread::sleep(Duration::from_millis(500));
        Ok(0)
    };
    let before = cpu();
    offload.try_offload(job, 1).unwrap();
    assert_eq!(is(next(&driver)), (1, Outcome::Done(0)));
    let spent = cpu() - before;
    println!("a 500 ms job cost its waiter {spent:?} of CPU");
    if std::env::var_os("RINGWAY_GUEST").is_some() {
        let why = "an emulated CPU has no time of its own";
        return child::skip("jobs::a_waiter_costs_no_cpu", why);
    }
    assert!(spent < Duration::from_millis(5), "{spent:?}");
}

#[test]
fn jobs_on_one_thread_complete_in_order() {
    for carrier in CARRIERS {
        let driver = driver(8, 16, Driver::builder());
        let settings = Offload::builder().threads(1).carrier(carrier);
        let offload = offload(&driver, settings);
        let ran = Arc::new(Mutex::new(Vec::new()));
        for i in 0..8 {
            let ran = ran.clone();
            let job = move || {
                ran.lock().unwrap().push(i);
                Ok(i)
            };
            offload.try_offload(job, i.into()).unwrap();
        }
        let expected: Vec<_> = (0..8).map(|i| (u64::from(i), Outcome::Done(i))).collect();
        assert_eq!(all(&driver), expected, "{carrier:?}");
        assert_eq!(*ran.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[test]
fn a_panicking_job_is_an_answer() {
    for carrier in CARRIERS {
        let driver = driver(8, 16, Driver::builder());
        let settings = Offload::builder().threads(1).carrier(carrier);
        let offload: Offload<Boxed> = offload(&driver, settings);
        offload.try_offload(Box::new(|| Ok(1)), 1).unwrap();
        offload
            .try_offload(Box::new(|| panic!("on purpose")), 2)
            .unwrap();
        offload.try_offload(Box::new(|| Ok(3)), 3).unwrap();
        driver.try_submit(nop(4)).unwrap();
        let mut found = all(&driver);
        found.sort_by_key(|&(user_data, _)| user_data);
        let expected = [
            (1, Outcome::Done(1)),
            (2, Outcome::Panicked),
            (3, Outcome::Done(3)),
            (4, Outcome::Done(0)),
        ];
        assert_eq!(found, expected, "{carrier:?}");
        // What was thrown panics again when it is dropped.
        struct Worse;
        impl Drop for Worse {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let throw = || std::panic::panic_any(Worse);
        offload.try_offload(Box::new(throw), 5).unwrap();
        let completion = next(&driver);
        assert_eq!(is(completion), (5, Outcome::Panicked));
        assert!(completion.cqe().result().is_err());
        offload.try_offload(Box::new(|| Ok(6)), 6).unwrap();
        assert_eq!(is(next(&driver)), (6, Outcome::Done(6)));
    }
}
