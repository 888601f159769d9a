//! The pool's threads: jobs against sleep on the ring (rules Q1, Q2), and the end against
//! submitting, waiting and jobs.

use crate::harness::{self, Log, Model, nop, settings, simulated, witness};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use ringway::Order::Claim;
use ringway::pool::{
    Batching, Common, Completion, Crew, Driver, DriverBuilder, Event, OnPanic, Refusal, Role,
    Submission,
};
use std::sync::Arc;

pub const MODELS: &[Model] = &[
    Model {
        bound: Some(3),
        witnesses: &["accepted", "closed"],
        floor: 1_000,
        ..Model::new("quiesce_submit", quiesce_submit)
    },
    Model {
        bound: Some(2),
        witnesses: &["quiet", "accepted", "closed"],
        floor: 7_200,
        ..Model::new("shutdown_submit", shutdown_submit)
    },
    Model {
        bound: Some(3),
        witnesses: &["taker sleeps", "run", "given back"],
        floor: 400,
        ..Model::new("shutdown_job", shutdown_job)
    },
    Model {
        bound: Some(2),
        witnesses: &["giver sleeps", "taker sleeps"],
        floor: 750,
        ..Model::new("queue_of_one", queue_of_one)
    },
    Model {
        bound: Some(2),
        witnesses: &["run"],
        floor: 900,
        ..Model::new("job_wakes_both", job_wakes_both)
    },
    Model {
        aims: &["WAKE_KEPT"],
        bound: Some(2),
        witnesses: &["wake passed on"],
        floor: 190_000,
        ..Model::new("reaper_passes_the_wake_on", reaper_passes_the_wake_on)
    },
    Model {
        bound: Some(1),
        witnesses: &["quiet"],
        floor: 2_300,
        ..Model::new("shutdown_of_two_reapers", shutdown_of_two_reapers)
    },
    Model {
        bound: Some(2),
        witnesses: &["submitter sleeps"],
        floor: 3_400,
        ..Model::new("shutdown_of_a_submitter", shutdown_of_a_submitter)
    },
    Model {
        aims: &["END_TOLD", "END_SEEN"],
        bound: Some(1),
        witnesses: &["leaked", "quiet"],
        floor: 5_000,
        ..Model::new("shutdown_without_its_owner", shutdown_without_its_owner)
    },
];

/// Over two SQEs.
fn driver(settings: DriverBuilder) -> Driver {
    harness::driver(simulated(2, Claim), settings).0
}

type Job = Box<dyn FnOnce(&Driver) + Send>;
type Shared = Arc<Common<Job>>;

/// Starts threads of these roles, which record completions.
fn start<const N: usize>(
    driver: Driver,
    roles: [Role; N],
    log: &Log,
) -> (Shared, [thread::JoinHandle<()>; N]) {
    let common = Common::new(driver, 1, OnPanic::GoOn);
    let log = log.clone();
    let handler = move |_: &Driver, completion: Completion| log.record(completion.user_data());
    let work = |driver: &Driver, job: Job| job(driver);
    let crew = Arc::new(Crew::new(common.clone(), work, handler));
    let threads = roles.map(|role| {
        let (crew, place) = (crew.clone(), common.place(role));
        thread::spawn(move || {
            crew.run(role);
            drop(place);
        })
    });
    (common, threads)
}

/// Shuts down, joins, and gives the jobs that were not run.
fn end<const N: usize>(common: &Common<Job>, threads: [thread::JoinHandle<()>; N]) -> Vec<Job> {
    let shutdown = common.shut_down(None);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(shutdown.leaked.is_none() && shutdown.threads_left == 0);
    assert_eq!(shutdown.panics, 0);
    shutdown.jobs
}

/// Something that has happened.
#[derive(Clone)]
pub struct Flag(Arc<(Mutex<bool>, Condvar)>);

impl Flag {
    pub fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    pub fn raise(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }

    pub fn wait(&self) {
        let mut is_up = self.0.0.lock().unwrap();
        while !*is_up {
            is_up = self.0.1.wait(is_up).unwrap();
        }
    }
}

fn submit(driver: &Driver, user_data: u64) -> u64 {
    match driver.try_submit(nop(user_data)) {
        Ok(_) => {
            witness("accepted");
            1
        }
        Err(refused) => {
            witness("closed");
            assert_eq!(refused.why, Refusal::Closed);
            0
        }
    }
}

/// On one thread a submit, on the other the end: what was accepted has completed by then.
fn quiesce_submit() {
    let driver = driver(settings(2));
    let one = driver.clone();
    let submitting = thread::spawn(move || submit(&one, 1));
    let mut completed = 0;
    let event = |event| match event {
        Event::Completed(_) => completed += 1,
        Event::Stale(cqe) => panic!("{cqe:?}"),
    };
    assert_eq!(driver.quiesce(None, event), Ok(()));
    assert_eq!(driver.in_flight(), 0);
    assert_eq!(submitting.join().unwrap(), completed);
}

/// As `quiesce_submit`, with a reaper that may be about to sleep.
fn shutdown_submit() {
    let (driver, log) = (driver(settings(2)), Log::default());
    let (common, threads) = start(driver.clone(), [Role::Reaper], &log);
    let submitting = thread::spawn(move || submit(&driver, 1));
    end(&common, threads);
    assert_eq!(submitting.join().unwrap(), log.all().len() as u64);
}

/// A job and the end: it is run or comes back.
fn shutdown_job() {
    let (driver, log) = (driver(settings(2)), Log::default());
    let (common, threads) = start(driver, [Role::Worker], &log);
    let ran = Log::default();
    let record = ran.clone();
    let given = common.give(Box::new(move |_| record.record(1)));
    assert!(given.is_ok());
    let back = end(&common, threads).len();
    witness(if back == 0 { "run" } else { "given back" });
    assert_eq!(ran.all().len() + back, 1);
}

/// Two jobs, room for one, a worker: both sides sleep, and wake each other.
fn queue_of_one() {
    let (driver, log) = (driver(settings(2)), Log::default());
    let (common, threads) = start(driver, [Role::Worker], &log);
    let ran = Flag::new();
    assert!(common.give_wait(Box::new(|_| ()), None).is_ok());
    let runs = ran.clone();
    let last = common.give_wait(Box::new(move |_| runs.raise()), None);
    assert!(last.is_ok());
    ran.wait();
    assert_eq!(end(&common, threads).len(), 0);
}

/// A job for a thread that is about to sleep on the ring.
fn job_wakes_both() {
    let (driver, log) = (driver(settings(2)), Log::default());
    let (common, threads) = start(driver, [Role::Both], &log);
    let ran = Flag::new();
    let runs = ran.clone();
    assert!(common.give(Box::new(move |_| runs.raise())).is_ok());
    // Nothing else wakes the thread.
    ran.wait();
    witness("run");
    assert_eq!(end(&common, threads).len(), 0);
}

/// A job for a thread that sleeps behind a reaper, which takes the wake.
fn reaper_passes_the_wake_on() {
    let (driver, log) = (driver(settings(2)), Log::default());
    let (common, threads) = start(driver, [Role::Reaper, Role::Both], &log);
    let ran = Flag::new();
    let runs = ran.clone();
    assert!(common.give(Box::new(move |_| runs.raise())).is_ok());
    ran.wait();
    assert_eq!(end(&common, threads).len(), 0);
}

/// Two reapers asleep, one wake: the first to leave wakes the other.
fn shutdown_of_two_reapers() {
    let (driver, log) = (driver(settings(2)), Log::default());
    let (common, threads) = start(driver, [Role::Reaper, Role::Reaper], &log);
    end(&common, threads);
}

/// A submitter that is about to sleep, with something pushed, and the end.
fn shutdown_of_a_submitter() {
    let policy = Submission::Dedicated(Batching::default());
    let driver = driver(settings(2).submission(policy));
    let server = driver.clone();
    let serving = thread::spawn(move || server.serve());
    driver.try_submit(nop(1)).unwrap();
    let mut completed = 0;
    let quiesced = driver.quiesce(None, |_| completed += 1);
    assert_eq!((quiesced, completed), (Ok(()), 1));
    driver.stop_serving();
    serving.join().unwrap();
}

/// An owner that fails, a reaper that may be about to sleep, and the end.
fn shutdown_without_its_owner() {
    let failure = ringway::Errno::from_raw(libc::EFAULT);
    let simulation = simulated(2, Claim).cq_entries(4);
    let simulation = simulation.faults(move |call| (call > 0).then_some(failure));
    let (ring, _) = simulation.build();
    let (driver, owner) = settings(1).build_owned_simulated(ring).unwrap();
    let served = thread::spawn(move || owner.serve());
    let is_accepted = driver.try_submit(nop(1)).is_ok();
    let (common, threads) = start(driver, [Role::Reaper], &Log::default());
    let shutdown = common.shut_down(None);
    for thread in threads {
        thread.join().unwrap();
    }
    if let Some(leaked) = &shutdown.leaked {
        witness("leaked");
        assert_eq!((is_accepted, leaked.n), (true, 1), "{:?}", shutdown.stats);
    }
    assert_eq!(shutdown.threads_left, 0);
    // Which it is after its second enter, if it was not stopped before.
    let _ = served.join().unwrap();
}
