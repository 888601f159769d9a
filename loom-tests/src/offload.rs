//! Jobs beside the ring: each that is accepted completes once, whoever ends it.

use crate::harness::{Model, driver, nop, settings, simulated, together, witness};
use ringway::Errno;
use ringway::Order::Claim;
use ringway::pool::{Batching, Driver, Event, Job, Offload, Outcome, Refusal, Submission};
use std::sync::{Arc, Mutex};

pub const MODELS: &[Model] = &[
    Model {
        bound: Some(3),
        witnesses: &["not done yet", "done at once", "taker sleeps"],
        floor: 2_400,
        ..Model::new("job_done", job_done)
    },
    Model {
        bound: Some(2),
        witnesses: &["cancelled", "too late"],
        floor: 2_000,
        ..Model::new("job_cancel", job_cancel)
    },
    Model {
        aims: &["JOB_SETTLED", "JOBS_SEEN"],
        bound: Some(3),
        witnesses: &["cancelled", "done", "waits at the gate"],
        floor: 250,
        ..Model::new("job_drop", job_drop)
    },
    Model {
        bound: Some(3),
        witnesses: &["accepted", "refused"],
        floor: 180,
        ..Model::new("job_late", job_late)
    },
    Model {
        bound: Some(3),
        witnesses: &["waits at the gate"],
        floor: 900,
        ..Model::new("job_room", job_room)
    },
    Model {
        bound: Some(2),
        witnesses: &["waits at the gate"],
        floor: 100,
        ..Model::new("job_started", job_started)
    },
    Model {
        bound: Some(3),
        witnesses: &["waits at the gate"],
        floor: 34,
        ..Model::new("job_closed", job_closed)
    },
];

/// Says 5, and how often it has run and was dropped.
struct Work(Arc<Mutex<[u32; 2]>>);

impl Job for Work {
    fn run(self) -> Result<u32, Errno> {
        self.0.lock().unwrap()[0] += 1;
        Ok(5)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.lock().unwrap()[1] += 1;
    }
}

#[derive(Default)]
struct Count(Arc<Mutex<[u32; 2]>>);

impl Count {
    fn job(&self) -> Work {
        Work(self.0.clone())
    }

    /// Runs, drops.
    fn all(&self) -> [u32; 2] {
        *self.0.lock().unwrap()
    }
}

fn offload(permits: u32, queue: usize) -> (Driver, Arc<Offload<Work>>) {
    offload_over(Submission::Combining, permits, queue)
}

fn offload_over(
    submission: Submission,
    permits: u32,
    queue: usize,
) -> (Driver, Arc<Offload<Work>>) {
    let settings = settings(permits).submission(submission);
    let (driver, _) = driver(simulated(2, Claim), settings);
    let settings = Offload::builder().queue(queue);
    let offload = settings.build_without_threads(&driver).unwrap();
    (driver, Arc::new(offload))
}

/// Whatever lies ready.
fn reap(driver: &Driver, ended: &mut Vec<Outcome>) {
    driver.reap(|event| ended.extend(outcome(event)));
}

fn outcome(event: Event) -> Option<Outcome> {
    match event {
        Event::Completed(completion) => Some(completion.outcome()),
        Event::Stale(cqe) => panic!("{cqe:?}"),
    }
}

/// A job ends while the reaper is about to sleep; its result comes beside the CQE.
fn job_done() {
    let (driver, offload) = offload(1, 1);
    let count = Count::default();
    let (one, job) = (offload.clone(), count.job());
    let mut ended = Vec::new();
    together(
        || {
            one.try_offload(job, 1).unwrap();
            one.close();
            reap(&driver, &mut ended);
            witness(match ended.len() {
                0 => "not done yet",
                _ => "done at once",
            });
            while ended.is_empty() {
                let tell = |event| ended.extend(outcome(event));
                driver.wait_reap(None, tell).unwrap();
            }
        },
        [Box::new(move || offload.serve())],
    );
    assert_eq!(ended, [Outcome::Done(5)]);
    assert_eq!((count.all(), driver.in_flight()), ([1, 1], 0));
}

/// A job is cancelled while a thread that ends the one before it is about to start it.
fn job_cancel() {
    let (driver, offload) = offload(2, 2);
    let (first, count) = (Count::default(), Count::default());
    offload.try_offload(first.job(), 1).unwrap();
    let id = offload.try_offload(count.job(), 2).unwrap();
    offload.close();
    let other = offload.clone();
    let mut is_cancelled = false;
    together(
        || is_cancelled = offload.cancel(id),
        [Box::new(move || other.serve())],
    );
    let mut ended = Vec::new();
    driver.reap(|event| match event {
        Event::Completed(completion) => ended.push((completion.user_data(), completion.outcome())),
        Event::Stale(cqe) => panic!("{cqe:?}"),
    });
    ended.sort_by_key(|&(user_data, _)| user_data);
    let (outcome, counts) = if is_cancelled {
        witness("cancelled");
        (Outcome::Cancelled, [0, 1])
    } else {
        witness("too late");
        (Outcome::Done(5), [1, 1])
    };
    assert_eq!(ended, [(1, Outcome::Done(5)), (2, outcome)]);
    assert_eq!((first.all(), count.all()), ([1, 1], counts));
    assert_eq!(driver.in_flight(), 0);
}

/// The offload goes while a thread is about to start a job, or runs it; and then the
/// submitter, which submits once more.
fn job_drop() {
    let dedicated = Submission::Dedicated(Batching::default());
    let (driver, offload) = offload_over(dedicated, 2, 1);
    let count = Count::default();
    // The submitter has been asked: the job's end wakes nobody.
    driver.try_submit(nop(0)).unwrap();
    offload.try_offload(count.job(), 1).unwrap();
    let other = offload.clone();
    let mut ended = Vec::new();
    together(
        || {
            let end = offload.shutdown(None);
            assert_eq!(end.leaked, 0);
            driver.stop_serving();
            driver.serve();
            reap(&driver, &mut ended);
            let expected = match end.cancelled {
                0 => Outcome::Done(5),
                _ => Outcome::Cancelled,
            };
            assert_eq!(ended, [Outcome::Done(0), expected]);
        },
        [Box::new(move || other.serve())],
    );
    match count.all() {
        [0, 1] => witness("cancelled"),
        all => {
            assert_eq!(all, [1, 1]);
            witness("done");
        }
    }
    assert_eq!(driver.in_flight(), 0);
}

/// A job comes while the offload goes; nobody serves.
fn job_late() {
    let (driver, offload) = offload(1, 1);
    let count = Count::default();
    let (other, job) = (offload.clone(), count.job());
    let answer = Arc::new(Mutex::new(None));
    let theirs = answer.clone();
    together(
        || assert_eq!(offload.shutdown(None).leaked, 0),
        [Box::new(move || {
            let answer = other.try_offload(job, 1).map_err(|refused| refused.why);
            *theirs.lock().unwrap() = Some(answer);
        })],
    );
    let mut ended = Vec::new();
    reap(&driver, &mut ended);
    match answer.lock().unwrap().take().unwrap() {
        Ok(_) => {
            witness("accepted");
            assert_eq!(ended, [Outcome::Cancelled]);
        }
        Err(why) => {
            witness("refused");
            assert_eq!((why, ended), (Refusal::Closed, vec![]));
        }
    }
    assert_eq!((count.all(), driver.in_flight()), ([0, 1], 0));
}

/// A thread waits for room in the queue, which another makes.
fn job_room() {
    let (driver, offload) = offload(2, 1);
    let count = Count::default();
    let id = offload.try_offload(count.job(), 1).unwrap();
    let (other, job) = (offload.clone(), count.job());
    together(
        || assert!(offload.cancel(id)),
        [Box::new(move || _ = other.offload(job, 2, None).unwrap())],
    );
    let mut ended = Vec::new();
    assert_eq!(offload.shutdown(None).cancelled, 1);
    reap(&driver, &mut ended);
    assert_eq!(ended, [Outcome::Cancelled; 2]);
    assert_eq!((count.all(), driver.in_flight()), ([0, 2], 0));
}

/// A thread waits for room in the queue, which another makes that starts the job there. What
/// it submits makes no room that the first could be told of.
fn job_started() {
    let dedicated = Submission::Dedicated(Batching::default());
    let (driver, offload) = offload_over(dedicated, 2, 1);
    let count = Count::default();
    offload.try_offload(count.job(), 1).unwrap();
    let other = offload.clone();
    together(
        || {
            offload.offload(count.job(), 2, None).unwrap();
            offload.close();
        },
        [Box::new(move || other.serve())],
    );
    driver.stop_serving();
    driver.serve();
    let mut ended = Vec::new();
    reap(&driver, &mut ended);
    assert_eq!(ended, [Outcome::Done(5); 2]);
    assert_eq!((count.all(), driver.in_flight()), ([2, 2], 0));
}

/// A thread waits for room in the queue, which there will not be.
fn job_closed() {
    let (driver, offload) = offload(2, 1);
    let count = Count::default();
    offload.try_offload(count.job(), 1).unwrap();
    let (other, job) = (offload.clone(), count.job());
    together(
        || offload.close(),
        [Box::new(move || {
            let refused = other.offload(job, 2, None).unwrap_err();
            assert_eq!(refused.why, Refusal::Closed);
        })],
    );
    assert_eq!((count.all(), driver.in_flight()), ([0, 1], 1));
    assert_eq!(offload.shutdown(None).cancelled, 1);
    let mut ended = Vec::new();
    reap(&driver, &mut ended);
    assert_eq!(ended, [Outcome::Cancelled]);
}
