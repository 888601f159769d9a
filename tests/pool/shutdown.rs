//! The end: nothing is written afterwards, nothing is lost, nobody hangs.

use super::child::{forked, in_child, skip};
use super::offload::{all, hold, one_thread};
use super::roles::threads_of;
use super::*;
use ringway::Sqe;
use ringway::pool::{Leaked, Offload, Outcome, Pool, Refusal, Shutdown, ShutdownError, Submission};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;

type Job = Box<dyn FnOnce(&Driver) + Send>;

fn run(driver: &Driver, job: Job) {
    job(driver);
}

fn ignore(_: &Driver, _: Completion) {}

#[track_caller]
fn received<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LOST).expect("it comes")
}

#[track_caller]
fn clean<J>(shutdown: &Shutdown<J>) {
    assert!(shutdown.is_clean(), "{shutdown:?}");
    let stats = shutdown.stats;
    assert_eq!((stats.accepted, stats.in_flight), (stats.completed, 0));
}

fn in_flight(driver: &Driver, pipe: &std::io::PipeReader, count: u64) {
    for user_data in 0..count {
        driver.submit(pending(pipe, user_data), Some(LOST)).unwrap();
    }
}

const BLOCK: usize = 4096;
const LEN: usize = 64 * BLOCK;

/// A file of ones for O_DIRECT.
fn direct() -> Option<File> {
    let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&vec![1; LEN]).unwrap();
    file.as_file().sync_all().unwrap();
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_DIRECT);
    options.open(file.path()).ok()
}

/// `count` aligned blocks.
fn blocks(count: usize) -> *mut u8 {
    let layout = std::alloc::Layout::from_size_align(count * BLOCK, BLOCK).unwrap();
    // SAFETY: the size is not 0.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    assert!(!memory.is_null());
    memory
}

/// Reads past the page cache cannot be cancelled: the disk writes to the memory some time.
/// When the shutdown is over it has done so, 100 times of 100.
#[test]
fn nothing_is_written_after_a_shutdown() {
    const READS: usize = 48;
    let Some(file) = direct() else {
        skip("nothing_is_written_after_a_shutdown", "no O_DIRECT here");
        return;
    };
    let memory = blocks(READS);
    // Anything that reads for a while.
    let other = blocks(1);
    for round in 0..100 {
        let completed = Arc::new(AtomicU64::new(0));
        let count = completed.clone();
        let handler = move |_: &Driver, _: Completion| _ = count.fetch_add(1, Relaxed);
        let builder = Pool::builder().reapers(2).name("dir");
        let pool = builder.build(ring(64, 128), run, handler).unwrap();
        for i in 0..READS {
            let mut sqe = Sqe::default();
            let offset = (i % 64 * BLOCK) as u64;
            // SAFETY: the memory is never freed, and the file outlives the pool.
            unsafe { sqe.prep_read(&file, memory.add(i * BLOCK), BLOCK as u32, offset) };
            pool.driver().submit(sqe, Some(LOST)).unwrap();
        }
        let shutdown = pool.shutdown(Some(LOST)).unwrap();
        // SAFETY: nobody else writes there any more: that is what is tested.
        let memory = unsafe { std::slice::from_raw_parts_mut(memory, READS * BLOCK) };
        memory.fill(7);
        clean(&shutdown);
        assert_eq!(shutdown.stats.completed, READS as u64);
        assert_eq!(completed.load(Relaxed), READS as u64);
        // The disk has more to do than it had: what was before is over.
        // SAFETY: the block is not used by anybody else.
        let other = unsafe { std::slice::from_raw_parts_mut(other, BLOCK) };
        for i in 0..8 {
            file.read_exact_at(other, i * BLOCK as u64).unwrap();
        }
        let is_whole = memory.iter().all(|byte| *byte == 7);
        assert!(is_whole, "round {round}: written after the shutdown");
    }
}

/// Descriptors and threads are as they were, whether shut down or dropped.
#[test]
fn nothing_is_left_of_a_pool() {
    in_child("shutdown::nothing_is_left_of_a_pool", || {
        let count = |path: &str| fs::read_dir(path).unwrap().count();
        let (reader, _writer) = std::io::pipe().unwrap();
        let one = |is_dropped: bool| {
            let builder = Pool::builder().workers(2).reapers(2).both(2);
            let pool = builder.build(ring(8, 16), run, ignore).unwrap();
            in_flight(pool.driver(), &reader, 12);
            if is_dropped {
                drop(pool);
            } else {
                clean(&pool.shutdown(Some(LOST)).unwrap());
            }
        };
        let threads = count("/proc/self/task");
        one(false);
        let descriptors = count("/proc/self/fd");
        for round in 0..20 {
            one(round % 2 == 0);
            assert_eq!(count("/proc/self/fd"), descriptors);
            // A thread that has been joined is there for a moment longer.
            until(|| count("/proc/self/task") == threads);
        }
    });
}

/// Waits for room, jobs that wait, threads that wait on the ring: all come back.
#[test]
fn whoever_waits_is_told() {
    for submission in [
        Submission::Combining,
        Submission::Dedicated(ringway::pool::Batching::default()),
    ] {
        let (reader, _writer) = std::io::pipe().unwrap();
        let builder = Pool::builder().jobs(1).submission(submission);
        let pool = builder.build(ring(8, 16), run, ignore).unwrap();
        in_flight(pool.driver(), &reader, 12);
        // The worker waits for room, a second job for the worker, a third for the queue.
        let (told, answers) = channel();
        let begun = Arc::new(Barrier::new(2));
        let job: Job = {
            let begun = begun.clone();
            Box::new(move |driver| {
                begun.wait();
                told.send(driver.submit(nop(0), None).unwrap_err().why)
                    .unwrap();
            })
        };
        pool.give(job).unwrap();
        begun.wait();
        pool.give(Box::new(|_: &Driver| unreachable!())).unwrap();
        thread::scope(|scope| {
            let giver = scope.spawn(|| pool.give_wait(Box::new(|_: &Driver| ()), None));
            let taker = scope.spawn(|| {
                let op = pending(&reader, 0);
                pool.driver().submit(op, None)
            });
            let shutdown = pool.shutdown(Some(LOST)).unwrap();
            assert_eq!(received(&answers), Refusal::Closed);
            let given = giver.join().unwrap();
            assert!(given.is_err_and(|refused| refused.why == Refusal::Closed));
            let taken = taker.join().unwrap();
            assert!(taken.is_err_and(|refused| refused.why == Refusal::Closed));
            // The second job comes back.
            assert_eq!((shutdown.jobs.len(), shutdown.jobs_run), (1, 1));
            assert!(shutdown.leaked.is_none() && shutdown.threads_left == 0);
            assert_eq!(shutdown.stats.completed, 12);
        });
        assert_eq!(pool.shutdown(None).unwrap_err(), ShutdownError::Already);
        let refused = pool.give(Box::new(|_: &Driver| ())).unwrap_err();
        assert_eq!(refused.why, Refusal::Closed);
    }
}

/// Accepted is completed, whatever is going on: 4 threads submit when the end comes.
#[test]
fn nothing_accepted_is_lost() {
    for round in 0..60 {
        let completed = Arc::new(AtomicU64::new(0));
        let count = completed.clone();
        let handler = move |driver: &Driver, completion: Completion| {
            count.fetch_add(1, Relaxed);
            // As many again, as long as they are taken.
            if completion.user_data() == 1 && driver.try_submit(nop(2)).is_ok() {
                count.fetch_add(1 << 32, Relaxed);
            }
        };
        let mut builder = Pool::builder().workers(1).reapers(1).both(1);
        if round % 2 == 0 {
            builder = builder.submission(Submission::Combining);
        }
        let pool = builder.build(ring(8, 16), run, handler).unwrap();
        let accepted = AtomicU64::new(0);
        let (reader, _writer) = std::io::pipe().unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (pool, accepted, reader) = (&pool, &accepted, &reader);
                scope.spawn(move || {
                    for i in 0.. {
                        let op = match (i + thread) % 8 {
                            0 => pending(reader, 0).deadline(Duration::from_millis(1)),
                            1 => nop(1),
                            _ => nop(0),
                        };
                        match pool.driver().submit(op, Some(LOST)) {
                            Ok(_) => accepted.fetch_add(1, Relaxed),
                            Err(refused) => return assert_eq!(refused.why, Refusal::Closed),
                        };
                    }
                });
            }
            until(|| accepted.load(Relaxed) > 5 * (round + 1));
            let shutdown = pool.shutdown(Some(LOST)).unwrap();
            clean(&shutdown);
            let told = completed.load(Relaxed);
            assert_eq!(told & 0xffff_ffff, shutdown.stats.completed);
        });
        let told = completed.load(Relaxed);
        assert_eq!(told & 0xffff_ffff, accepted.into_inner() + (told >> 32));
        assert_eq!(pool.driver().in_flight(), 0);
    }
}

/// A thread of the pool that waited for the pool would wait for itself.
#[test]
fn a_thread_of_the_pool_cannot_shut_it_down() {
    let place: Arc<OnceLock<Arc<Pool<Job>>>> = Arc::default();
    let (told, answers) = channel();
    let told = Mutex::new(told);
    let handler = {
        let place = place.clone();
        let told = told.lock().unwrap().clone();
        let told = Mutex::new(told);
        move |_: &Driver, _: Completion| {
            let answer = place.get().unwrap().shutdown(None).map(drop);
            told.lock().unwrap().send(answer).unwrap();
        }
    };
    let pool = Pool::builder().build(ring(8, 16), run, handler).unwrap();
    let pool = Arc::new(pool);
    assert!(place.set(pool.clone()).is_ok());
    let job: Job = {
        let (place, told) = (place.clone(), told.lock().unwrap().clone());
        Box::new(move |_| {
            let answer = place.get().unwrap().shutdown(None).map(drop);
            told.send(answer).unwrap();
        })
    };
    pool.give(job).unwrap();
    assert_eq!(received(&answers), Err(ShutdownError::FromWithin));
    pool.driver().try_submit(nop(1)).unwrap();
    assert_eq!(received(&answers), Err(ShutdownError::FromWithin));
    clean(&pool.shutdown(Some(LOST)).unwrap());
}

/// Dropped by a job, the pool ends in the background.
#[test]
fn a_thread_of_the_pool_can_drop_it() {
    // Waiting for itself would take as long as this.
    let builder = Pool::builder().drop_timeout(4 * LOST).name("dr");
    let pool = builder.build(ring(8, 16), run, ignore).unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    in_flight(pool.driver(), &reader, 5);
    let driver = pool.driver().clone();
    let place = Arc::new(Mutex::new(None));
    let begun = Arc::new(Barrier::new(2));
    let job: Job = {
        let (place, begun) = (place.clone(), begun.clone());
        Box::new(move |_| {
            begun.wait();
            drop::<Option<Pool<Job>>>(place.lock().unwrap().take());
        })
    };
    pool.give(job).unwrap();
    *place.lock().unwrap() = Some(pool);
    begun.wait();
    until(|| driver.in_flight() == 0);
    until(|| threads_of("dr-").is_empty());
    assert_eq!(driver.stats().completed, 5);
}

/// A job and a handler that do not return: told, not waited for beyond the time.
#[test]
fn a_thread_that_does_not_come_back_is_left() {
    let gate = Arc::new(Barrier::new(3));
    let is_kept = Arc::new(AtomicBool::new(false));
    let handler = {
        let (gate, is_kept) = (gate.clone(), is_kept.clone());
        move |_: &Driver, completion: Completion| {
            if completion.user_data() == 7 {
                is_kept.store(true, Relaxed);
                gate.wait();
            }
        }
    };
    let builder = Pool::builder().workers(2).reapers(3).name("lft");
    let pool = builder.build(ring(8, 16), run, handler).unwrap();
    let begun = Arc::new(Barrier::new(2));
    let job: Job = {
        let (gate, begun) = (gate.clone(), begun.clone());
        Box::new(move |_| {
            begun.wait();
            gate.wait();
        })
    };
    pool.give(job).unwrap();
    begun.wait();
    pool.driver().try_submit(nop(7)).unwrap();
    until(|| is_kept.load(Relaxed));
    let (reader, _writer) = std::io::pipe().unwrap();
    in_flight(pool.driver(), &reader, 5);
    let shutdown = pool.shutdown(Some(Duration::from_millis(50))).unwrap();
    // One worker, one reaper; the others have reaped everything, and are gone.
    assert_eq!(shutdown.threads_left, 2, "{shutdown:?}");
    assert_eq!(shutdown.leaked, None);
    assert_eq!(shutdown.stats.completed, 6);
    gate.wait();
    until(|| threads_of("lft-").is_empty());
}

/// All reapers are kept: what is in flight is leaked, and told.
#[test]
fn what_does_not_end_in_time_is_leaked() {
    in_child("shutdown::what_does_not_end_in_time_is_leaked", || {
        let gate = Arc::new(Barrier::new(2));
        let is_kept = Arc::new(AtomicBool::new(false));
        let handler = {
            let (gate, is_kept) = (gate.clone(), is_kept.clone());
            move |_: &Driver, _: Completion| {
                if !is_kept.swap(true, Relaxed) {
                    gate.wait();
                }
            }
        };
        let pool = Pool::builder().build(ring(8, 16), run, handler).unwrap();
        let rings = || {
            let fds = fs::read_dir("/proc/self/fd").unwrap();
            let is_ring = |fd: &fs::DirEntry| {
                fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("io_uring"))
            };
            fds.filter(|fd| fd.as_ref().is_ok_and(is_ring)).count()
        };
        pool.driver().try_submit(nop(0)).unwrap();
        until(|| is_kept.load(Relaxed));
        let (reader, _writer) = std::io::pipe().unwrap();
        for user_data in [3, u64::MAX] {
            pool.driver()
                .try_submit(pending(&reader, user_data))
                .unwrap();
        }
        let start = Instant::now();
        let shutdown = pool.shutdown(Some(Duration::from_millis(20))).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        let Some(Leaked {
            n, mut user_data, ..
        }) = shutdown.leaked.clone()
        else {
            panic!("{shutdown:?}");
        };
        user_data.sort_unstable();
        assert_eq!((n, user_data), (2, vec![3, u64::MAX]));
        assert_eq!(shutdown.threads_left, 1);
        let stats = shutdown.stats;
        assert_eq!((stats.accepted, stats.completed), (3, 1));
        gate.wait();
        until(|| threads_of("rw-").is_empty());
        drop(pool);
        assert_eq!(rings(), 1, "the ring stays open");
    });
}

/// On threads of anybody's.
#[test]
fn a_driver_quiesces_by_itself() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let driver = driver(8, 16, Driver::builder());
    in_flight(&driver, &reader, 12);
    let mut cancelled = 0;
    let quiesced = driver.quiesce(Some(LOST), |event| match event {
        Event::Completed(completion) => {
            assert_eq!(completion.outcome(), Outcome::Cancelled);
            cancelled += 1;
        }
        Event::Stale(cqe) => panic!("{cqe:?}"),
    });
    assert_eq!((quiesced, cancelled), (Ok(()), 12));
    assert_eq!(driver.try_submit(nop(1)).unwrap_err().why, Refusal::Closed);
    assert_eq!(driver.quiesce(None, |event| panic!("{event:?}")), Ok(()));
}

#[test]
fn a_forked_child_drops_what_is_not_its_own() {
    in_child("shutdown::a_forked_child_drops_what_is_not_its_own", || {
        let (read, write) = std::io::pipe().unwrap();
        let pool = Pool::builder().workers(1);
        let pool = pool.build(ring(8, 16), run, ignore).unwrap();
        let offload = Offload::builder()
            .build::<fn() -> Result<u32, ringway::Errno>>(pool.driver())
            .unwrap();
        in_flight(pool.driver(), &read, 4);
        let sq = pool.driver().ring().sq();
        let slot = sq.pop().unwrap();
        let mut inherited = Some((slot, offload, pool));
        assert_eq!(
            forked(|| {
                drop(inherited.take());
                0
            }),
            Ok(0)
        );
        let (slot, offload, pool) = inherited.unwrap();
        slot.push();
        assert_eq!(offload.shutdown(Some(LOST)).leaked, 0);
        drop(write);
        clean(&pool.shutdown(Some(LOST)).unwrap());
    });
}

#[test]
fn a_forked_child_ends_no_jobs() {
    in_child("shutdown::a_forked_child_ends_no_jobs", || {
        let (driver, offload) = one_thread();
        let (_, let_go) = hold(&offload, 1);
        offload.try_offload(Box::new(|| Ok(2)), 2).unwrap();
        let mut inherited = Some(offload);
        assert_eq!(
            forked(|| {
                drop(inherited.take());
                0
            }),
            Ok(0)
        );
        drop(let_go);
        let ended = [(1, Outcome::Done(1)), (2, Outcome::Done(2))];
        assert_eq!(all(&driver), ended);
        assert_eq!(inherited.unwrap().shutdown(Some(LOST)).leaked, 0);
    });
}
