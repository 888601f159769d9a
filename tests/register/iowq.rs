//! The kernel's worker threads.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ringway::SqPoll;
use ringway::prep::Dir;
use ringway::register::MaxWorkers;

use super::child::{patiently, skip, tried};
use super::ops::{next, nop, result, start};
use super::*;

/// The CPUs on which a thread may run; 0 is the calling one.
fn cpus_of(thread: i32) -> Vec<u32> {
    // SAFETY: a set of bits is valid without any.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most that many bytes; the macro reads inside the set.
    unsafe {
        assert_eq!(
            libc::sched_getaffinity(thread, size_of_val(&set), &mut set),
            0
        );
        let all = 0..libc::CPU_SETSIZE as u32;
        all.filter(|&cpu| libc::CPU_ISSET(cpu as usize, &set))
            .collect()
    }
}

/// The workers of the calling thread, each with its CPUs. They are named after the thread,
/// and stay for seconds when there is nothing to do.
fn workers() -> Vec<(i32, Vec<u32>)> {
    // SAFETY: reads the number of this thread.
    let own = unsafe { libc::gettid() };
    let name = format!("iou-wrk-{own}\n");
    fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| task.unwrap())
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm == name))
        .map(|task| task.file_name().to_str().unwrap().parse().unwrap())
        .map(|worker| (worker, cpus_of(worker)))
        .collect()
}

/// The CPUs of the worker that does an operation of this thread, which has had none before.
fn cpus_of_first_worker(ring: &Ring) -> Vec<u32> {
    assert_eq!(workers(), []);
    start(ring, |sqe| nop(sqe).force_async());
    assert_eq!(result(next(ring)), Ok(0));
    let (_, cpus) = workers().pop().expect("a worker");
    cpus
}

/// Runs in a thread of its own, which no other test's workers are named after.
fn in_a_thread(test: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(test).join().unwrap());
}

/// Own CPUs, if there are two.
fn two_cpus(test: &str) -> Option<Vec<u32>> {
    let own = cpus_of(0);
    if own.len() < 2 {
        skip(test, "there is one CPU only");
        return None;
    }
    Some(own)
}

#[test]
fn workers_start_where_they_are_told() {
    let Some(own) = two_cpus("iowq::workers_start_where_they_are_told") else {
        return;
    };
    for cpus in [&own[..1], &own[1..], &own[..]] {
        in_a_thread(|| {
            let ring = ring();
            assert_eq!(ring.registrar().register_iowq_aff(cpus), Ok(()));
            assert_eq!(cpus_of_first_worker(&ring), cpus);
        });
    }
    tried("REGISTER_IOWQ_AFF");
    in_a_thread(|| {
        let ring = ring();
        assert_eq!(ring.registrar().register_iowq_aff(&own[..1]), Ok(()));
        assert_eq!(ring.registrar().unregister_iowq_aff(), Ok(()));
        assert_eq!(cpus_of_first_worker(&ring), own);
    });
    tried("UNREGISTER_IOWQ_AFF");
}

/// One that is there already is not moved, contrary to the manual.
#[test]
fn a_worker_stays_where_it_is() {
    let Some(own) = two_cpus("iowq::a_worker_stays_where_it_is") else {
        return;
    };
    in_a_thread(|| {
        let ring = ring();
        assert_eq!(ring.registrar().register_iowq_aff(&own[..1]), Ok(()));
        assert_eq!(cpus_of_first_worker(&ring), own[..1]);
        let before = workers();
        assert_eq!(ring.registrar().register_iowq_aff(&own[1..]), Ok(()));
        // It sleeps and wakes, and may end.
        start(&ring, |sqe| nop(sqe).force_async());
        assert_eq!(result(next(&ring)), Ok(0));
        let after = workers();
        for worker in before {
            let stayed = after.iter().find(|other| other.0 == worker.0);
            assert!(stayed.is_none_or(|stayed| *stayed == worker), "{after:?}");
        }
    });
}

/// They are the calling thread's: not another one's on the same ring, and this one's on
/// another ring too.
#[test]
fn workers_are_a_threads() {
    let Some(own) = two_cpus("iowq::workers_are_a_threads") else {
        return;
    };
    in_a_thread(|| {
        let (ring, another) = (super::ring(), super::ring());
        assert_eq!(ring.registrar().register_iowq_aff(&own[..1]), Ok(()));
        in_a_thread(|| {
            // It has not submitted yet.
            let registrar = ring.registrar();
            assert_eq!(
                raw(registrar.register_iowq_aff(&own[..1])),
                Err(libc::EINVAL)
            );
            assert_eq!(raw(registrar.unregister_iowq_aff()), Err(libc::EINVAL));
            assert_eq!(cpus_of_first_worker(&ring), own);
        });
        assert_eq!(cpus_of_first_worker(&another), own[..1]);
    });
}

#[test]
fn cpus_that_there_are_not() {
    let ring = ring();
    for (cpus, expected) in [
        (&[][..], Err(libc::EINVAL)),
        (&[1 << 16], Err(libc::EINVAL)),
        (&[0, u32::MAX], Err(libc::EINVAL)),
        // No machine has so many: ignored.
        (&[60_000], Ok(())),
    ] {
        let registered = ring.registrar().register_iowq_aff(cpus);
        assert_eq!(raw(registered), expected, "{cpus:?}");
    }
}

/// The workers of an SQPOLL ring are its SQ thread's, so this thread may be any.
#[test]
fn of_an_sqpoll_ring() {
    let own = cpus_of(0);
    let ring = patiently(|| Ring::builder(8).sqpoll(SqPoll::new()).build()).unwrap();
    in_a_thread(|| {
        assert_eq!(ring.registrar().register_iowq_aff(&own[..1]), Ok(()));
        assert_eq!(ring.registrar().unregister_iowq_aff(), Ok(()));
        let set = |bounded| {
            let max = MaxWorkers {
                bounded,
                unbounded: 0,
            };
            ring.registrar().register_iowq_max_workers(max).unwrap()
        };
        assert_ne!(set(3).bounded, 0);
        assert_eq!(set(0).bounded, 3);
    });
}

/// Contrary to the manual the limits are the thread's, on whichever of its rings they are
/// set; and 0 does change them, to what was last set on that ring.
#[test]
fn each_answer_is_what_was_set_before() {
    in_a_thread(|| {
        let (ring, another) = (super::ring(), super::ring());
        let set = |ring: &Ring, bounded, unbounded| {
            let max = MaxWorkers { bounded, unbounded };
            ring.registrar().register_iowq_max_workers(max).unwrap()
        };
        let get = |ring| {
            let MaxWorkers { bounded, unbounded } = set(ring, 0, 0);
            (bounded, unbounded)
        };
        let first = get(&ring);
        assert!(first.0 > 0 && first.1 > 0);
        set(&ring, 3, 4);
        assert_eq!(get(&ring), (3, 4));
        assert_eq!(get(&another), (3, 4));
        set(&another, 2, 5);
        assert_eq!(get(&ring), (2, 5));
        assert_eq!(get(&ring), (3, 4));
        set(&ring, 1, 0);
        assert_eq!(get(&ring), (1, 4));

        in_a_thread(|| {
            // It has not submitted yet.
            assert_eq!(get(&ring), (0, 0));
            start(&ring, nop);
            assert_eq!(result(next(&ring)), Ok(0));
            assert_eq!(get(&ring), (1, 4));
        });
    });
    tried("REGISTER_IOWQ_MAX_WORKERS");
}

#[test]
fn more_workers_than_can_be() {
    let ring = ring();
    for (bounded, unbounded) in [(1 << 31, 0), (0, u32::MAX)] {
        let max = MaxWorkers { bounded, unbounded };
        let refused = ring.registrar().register_iowq_max_workers(max);
        assert_eq!(raw(refused), Err(libc::EINVAL));
    }
}

/// With one worker, what comes after an operation that blocks waits for it.
#[test]
fn one_worker_does_one_thing_at_a_time() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("register-iowq-fifo");
    let _ = fs::remove_file(&path);
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a path that ends in 0.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);

    in_a_thread(|| {
        let ring = ring();
        let one = MaxWorkers {
            bounded: 1,
            unbounded: 0,
        };
        ring.registrar().register_iowq_max_workers(one).unwrap();
        start(&ring, |sqe| {
            // SAFETY: the name outlives the operation.
            let sqe = unsafe { sqe.prep_openat(Dir::CWD, name.as_ptr(), libc::O_RDONLY, 0) };
            sqe.user_data(1).force_async()
        });
        start(&ring, |sqe| nop(sqe).user_data(2).force_async());
        let early = ring.cq().wait_one(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(early, None);

        // Opening the other end lets both end.
        drop(File::options().write(true).open(&path).unwrap());
        let opened = next(&ring);
        assert_eq!(opened.user_data(), 1);
        // SAFETY: the descriptor is new, and this one's alone.
        drop(unsafe { OwnedFd::from_raw_fd(opened.result().unwrap() as i32) });
        assert_eq!(next(&ring).user_data(), 2);
    });
}
