//! A pool: threads in their roles over one driver.

use super::builder::{DriverBuilder, DriverError};
use super::driver::{Driver, Submission};
use super::handler::{Handler, Role};
use super::op::Refused;
use super::owner::{Owner, OwnerError};
use super::roles::{Common, Crew, OnPanic, Place};
use super::shutdown::{Shutdown, ShutdownError};
use super::stats::Stats;
use super::submitter::Batching;
use crate::ring::{Disabled, Ring};
use crate::sync::unpoisoned;
use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Settings of a [`Pool`]; made by [`Pool::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is made before build()"]
pub struct PoolBuilder {
    driver: DriverBuilder,
    submission: Option<Submission>,
    workers: u32,
    reapers: u32,
    both: u32,
    jobs: usize,
    name: String,
    stack: Option<NonZero<usize>>,
    on_panic: OnPanic,
    drop_timeout: Duration,
}

/// Why no pool was made; no thread of it is left.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// No thread would reap: no reapers, and none that are both.
    NoReapers,
    /// There is room for jobs, and no thread that would run them.
    NoWorkers,
    /// There are workers, and no room for jobs.
    NoJobs,
    /// A name with a NUL in it.
    Name,
    /// See [`DriverError`].
    Driver(DriverError),
    /// A thread could not be started; those before it have been joined.
    Spawn(io::Error),
    /// The thread that was to own the ring could not; see [`OwnerError`].
    Owner(OwnerError),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReapers => f.write_str("no thread that reaps: set reapers, or both"),
            Self::NoWorkers => {
                f.write_str("no thread that runs jobs: set workers, or both, or jobs to 0")
            }
            Self::NoJobs => f.write_str("workers, and no room for jobs: set jobs"),
            Self::Name => f.write_str("a thread's name cannot have a NUL in it"),
            Self::Driver(error) => error.fmt(f),
            Self::Owner(error) => error.fmt(f),
            Self::Spawn(error) => write!(f, "a thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Driver(error) => Some(error),
            Self::Spawn(error) => Some(error),
            Self::Owner(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DriverError> for PoolError {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl Default for PoolBuilder {
    fn default() -> Self {
        Self {
            driver: DriverBuilder::default(),
            submission: None,
            workers: 1,
            reapers: 1,
            both: 0,
            jobs: 256,
            name: String::from("rw"),
            stack: None,
            on_panic: OnPanic::GoOn,
            drop_timeout: Duration::from_secs(10),
        }
    }
}

impl PoolBuilder {
    /// Threads that only run jobs. Unless said otherwise, 1.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Threads that only reap and handle completions. Unless said otherwise, 1.
    pub fn reapers(mut self, reapers: u32) -> Self {
        self.reapers = reapers;
        self
    }

    /// Threads that run jobs, and while there are none reap. Unless said otherwise, 0.
    ///
    /// If no other thread reaps, a job must not wait for a completion, nor for room
    /// ([`Driver::submit`]): the threads that would make it may all be in jobs.
    pub fn both(mut self, both: u32) -> Self {
        self.both = both;
        self
    }

    /// How many jobs may wait for a thread; the room is allocated at the start. Unless said
    /// otherwise, 256. 0 makes a pool without workers, which only reaps.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs;
        self
    }

    /// See [`DriverBuilder::permits`].
    pub fn permits(mut self, permits: u32) -> Self {
        self.driver = self.driver.permits(permits);
        self
    }

    /// See [`DriverBuilder::control_reserve`].
    pub fn control_reserve(mut self, reserve: u32) -> Self {
        self.driver = self.driver.control_reserve(reserve);
        self
    }

    /// Who enters the kernel. Unless said otherwise a thread of the pool's, with the default
    /// [`Batching`]; on a ring with SQPOLL [`Submission::Combining`].
    pub fn submission(mut self, submission: Submission) -> Self {
        self.submission = Some(submission);
        self
    }

    /// How the threads are named: this, the role and a number, such as `rw-worker-0` (`rw`
    /// unless said otherwise). Linux shows 15 bytes of it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Stack of each thread, in bytes; unless said otherwise, and for 0, as
    /// [`std::thread`] has it.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack = NonZero::new(bytes);
        self
    }

    /// What happens after a panic. Unless said otherwise, the pool goes on.
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.on_panic = on_panic;
        self
    }

    /// How long dropping the pool may take; see [`Pool::shutdown`]. Unless said otherwise,
    /// 10 s.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// Starts the threads. `work` runs a job; `handler` is told of completions.
    ///
    /// The ring should have no other users.
    ///
    /// # Errors
    ///
    /// [`PoolError`]; all but [`PoolError::Spawn`] before any thread was started.
    pub fn build<J, W, H>(self, ring: Ring, work: W, handler: H) -> Result<Pool<J>, PoolError>
    where
        J: Send + 'static,
        W: Fn(&Driver, J) + Send + Sync + 'static,
        H: Handler,
    {
        self.check()?;
        let submission = self.submission.unwrap_or(if ring.core.is_sqpoll() {
            Submission::Combining
        } else {
            Submission::Dedicated(Batching::default())
        });
        let driver = self.driver.submission(submission).build(ring)?;
        let submitters = u32::from(matches!(submission, Submission::Dedicated(_)));
        self.run(driver, submitters, None, work, handler)
    }

    /// As [`PoolBuilder::build`], with a ring that a thread of the pool's is to own: it alone
    /// enters, so that the ring may have SINGLE_ISSUER and DEFER_TASKRUN. The
    /// [`Submission`] is not looked at. Linux 6.13; see [`DriverBuilder::build_owned`].
    ///
    /// # Errors
    ///
    /// [`PoolError`]; but for [`PoolError::Spawn`] and [`PoolError::Owner`] before any thread
    /// was started.
    pub fn build_owned<J, W, H>(
        self,
        ring: Disabled,
        work: W,
        handler: H,
    ) -> Result<Pool<J>, PoolError>
    where
        J: Send + 'static,
        W: Fn(&Driver, J) + Send + Sync + 'static,
        H: Handler,
    {
        self.check()?;
        let (driver, owner) = self.driver.build_owned(ring)?;
        self.run(driver, 0, Some(owner), work, handler)
    }

    fn check(&self) -> Result<(), PoolError> {
        if self.reapers == 0 && self.both == 0 {
            return Err(PoolError::NoReapers);
        }
        let has_workers = self.workers > 0 || self.both > 0;
        if self.jobs > 0 && !has_workers {
            return Err(PoolError::NoWorkers);
        }
        // Threads that are both have the completions to do.
        if self.jobs == 0 && self.workers > 0 {
            return Err(PoolError::NoJobs);
        }
        if self.name.contains('\0') {
            return Err(PoolError::Name);
        }
        Ok(())
    }

    fn run<J, W, H>(
        self,
        driver: Driver,
        submitters: u32,
        owner: Option<Owner>,
        work: W,
        handler: H,
    ) -> Result<Pool<J>, PoolError>
    where
        J: Send + 'static,
        W: Fn(&Driver, J) + Send + Sync + 'static,
        H: Handler,
    {
        let roles = [
            (Role::Submitter, submitters),
            (Role::Reaper, self.reapers),
            (Role::Both, self.both),
            (Role::Worker, self.workers),
        ];
        let common = Common::new(driver, self.jobs, self.on_panic);
        let mut pool = Pool {
            common: common.clone(),
            threads: Mutex::default(),
            drop_timeout: self.drop_timeout,
        };
        let crew = Arc::new(Crew::new(common, work, handler));
        let mut threads = Vec::new();
        if let Some(owner) = owner {
            match self.start_owner(&crew, owner) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let _ = pool.shutdown(None);
                    return Err(error);
                }
            }
        }
        for (role, count) in roles {
            for number in 0..count {
                let thread = self.start(&crew, role, number);
                match thread {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        pool.threads = Mutex::new(Some(threads));
                        let _ = pool.shutdown(None);
                        return Err(PoolError::Spawn(error));
                    }
                }
            }
        }
        pool.threads = Mutex::new(Some(threads));
        Ok(pool)
    }

    fn start<J, W, H>(
        &self,
        crew: &Arc<Crew<J, W, H>>,
        role: Role,
        number: u32,
    ) -> io::Result<JoinHandle<()>>
    where
        J: Send + 'static,
        W: Fn(&Driver, J) + Send + Sync + 'static,
        H: Handler,
    {
        let crew = crew.clone();
        let place = crew.common.place(role);
        let builder = self.thread(role, number);
        builder.spawn(move || as_member(place, crew, role))
    }

    /// The thread that owns the ring; it runs already when this returns.
    fn start_owner<J, W, H>(
        &self,
        crew: &Arc<Crew<J, W, H>>,
        owner: Owner,
    ) -> Result<JoinHandle<()>, PoolError>
    where
        J: Send + 'static,
        W: Fn(&Driver, J) + Send + Sync + 'static,
        H: Handler,
    {
        let crew = crew.clone();
        let place = crew.common.place(Role::Submitter);
        let (started, wait) = mpsc::channel();
        let serve = move || {
            let _place = place;
            let served = owner.serve_from(|| _ = started.send(Ok(())));
            // Nobody listens any more to an owner that has started: the driver knows.
            let _ = served.inspect_err(|error| _ = started.send(Err(*error)));
            drop(crew);
        };
        let thread = self.thread(Role::Submitter, 0).spawn(serve);
        let thread = thread.map_err(PoolError::Spawn)?;
        match wait.recv() {
            Ok(Err(error)) => {
                let _ = thread.join();
                Err(PoolError::Owner(error))
            }
            _ => Ok(thread),
        }
    }

    fn thread(&self, role: Role, number: u32) -> thread::Builder {
        let kind = match role {
            Role::Worker => "worker",
            Role::Reaper => "reaper",
            Role::Both => "both",
            Role::Submitter => "submitter",
        };
        let builder = thread::Builder::new().name(format!("{}-{kind}-{number}", self.name));
        match self.stack {
            Some(stack) => builder.stack_size(stack.get()),
            None => builder,
        }
    }
}

/// A thread of the pool. The place is given up last: also if what is the user's throws when
/// it is dropped.
fn as_member<J, W, H>(place: Place<J>, crew: Arc<Crew<J, W, H>>, role: Role)
where
    J: Send,
    W: Fn(&Driver, J),
    H: Handler,
{
    let _place = place;
    crew.run(role);
    drop(crew);
}

/// Workers, reapers and a submitter over one shared ring.
///
/// Jobs (`J`) go to the workers, operations through the [`Driver`] from any thread,
/// completions to the [`Handler`]. Every method may be called from any thread. Dropped, the
/// pool shuts down as with [`Pool::shutdown`], and nobody learns how that went; dropped by
/// one of its own threads, it does so on a thread of its own, in the background.
///
/// ```
/// use ringway::pool::{Completion, Driver, Pool};
/// use ringway::{Ring, Sqe};
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let (done, results) = mpsc::channel();
/// let work = |driver: &Driver, user_data: u64| {
///     let mut sqe = Sqe::default();
///     unsafe { sqe.prep_nop() }.user_data(user_data);
///     driver.submit(sqe, None).expect("a NOP");
/// };
/// let handler = move |_: &Driver, completion: Completion| {
///     let _ = done.send(completion.user_data());
/// };
/// let pool = Pool::builder().workers(2).build(Ring::builder(8).build()?, work, handler)?;
/// for user_data in [7, 8] {
///     pool.give_wait(user_data, None)?;
/// }
/// assert_eq!(results.iter().take(2).sum::<u64>(), 15);
/// let shutdown = pool.shutdown(Some(Duration::from_secs(1)))?;
/// assert!(shutdown.is_clean());
/// assert_eq!(shutdown.stats.completed, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<J: Send + 'static> {
    common: Arc<Common<J>>,
    threads: Mutex<Option<Vec<JoinHandle<()>>>>,
    drop_timeout: Duration,
}

impl Pool<()> {
    /// Settings of a pool, whatever its jobs are.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }
}

impl<J: Send + 'static> Pool<J> {
    /// Submits operations; a clone of it may outlive the pool.
    pub fn driver(&self) -> &Driver {
        &self.common.driver
    }

    /// Gives a job to the workers, or back. Takes the queue's lock, which is held for the move of a
    /// job. With threads that are both ([`PoolBuilder::both`]) it wakes one that waits for
    /// completions: a system call, which it repeats, 100 µs apart, while the kernel has no memory
    /// for it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`](super::Refusal): as many jobs wait as there is room for.
    /// [`Refusal::Closed`](super::Refusal): the pool is shutting down, or has stopped after a
    /// panic.
    pub fn give(&self, job: J) -> Result<(), Refused<J>> {
        self.common.give(job)
    }

    /// Gives a job to the workers, asleep until there is room, or back when the timeout has
    /// passed (`None`: no limit). Not for jobs that give jobs: all workers may sleep here.
    ///
    /// # Errors
    ///
    /// As [`Pool::give`]; [`Refusal::Full`](super::Refusal) is the timeout.
    pub fn give_wait(&self, job: J, timeout: Option<Duration>) -> Result<(), Refused<J>> {
        self.common.give_wait(job, timeout)
    }

    /// Jobs that wait for a thread now.
    pub fn jobs_waiting(&self) -> usize {
        self.common.jobs.len()
    }

    /// Jobs that were run so far, to their end or to a panic.
    pub fn jobs_run(&self) -> u64 {
        self.common.jobs_run.get()
    }

    /// Panics of the handler and of jobs so far.
    pub fn panics(&self) -> u64 {
        self.common.panics.get()
    }

    /// The driver's numbers, as they are now.
    pub fn stats(&self) -> Stats {
        self.common.driver.stats()
    }

    /// Takes no more operations and jobs, asks the kernel to cancel all, reaps until nothing
    /// is in flight, joins the threads, and says what happened.
    ///
    /// Completions are handled until the end; jobs that are running go on to their end, jobs
    /// that wait come back. When the time is over (`None`: no limit; and a fifth of a second
    /// for the threads) what is still in flight is leaked: the ring is not closed, and the
    /// buffers stay the kernel's. A ring that is of no use any more leaks at once. A thread
    /// that has not come back from a job or a handler is left to itself. Before Linux 5.19
    /// nothing is cancelled: operations are waited for.
    ///
    /// Operations that were pushed to the ring beside the driver are not waited for.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`]; nothing was done.
    pub fn shutdown(&self, timeout: Option<Duration>) -> Result<Shutdown<J>, ShutdownError> {
        let threads = self.take_threads()?;
        Ok(finish(&self.common, threads, timeout))
    }

    fn take_threads(&self) -> Result<Vec<JoinHandle<()>>, ShutdownError> {
        let mut threads = unpoisoned(self.threads.lock());
        if threads.as_ref().is_some_and(|threads| is_one_of(threads)) {
            return Err(ShutdownError::FromWithin);
        }
        threads.take().ok_or(ShutdownError::Already)
    }
}

/// Whether the caller is one of these threads.
fn is_one_of(threads: &[JoinHandle<()>]) -> bool {
    let this = thread::current().id();
    threads.iter().any(|thread| thread.thread().id() == this)
}

fn finish<J>(
    common: &Common<J>,
    threads: Vec<JoinHandle<()>>,
    timeout: Option<Duration>,
) -> Shutdown<J> {
    let mut shutdown = common.shut_down(timeout);
    let has_all = shutdown.threads_left == 0;
    for thread in threads {
        // A thread that has given its place up is about to end.
        if (has_all || thread.is_finished()) && thread.join().is_err() {
            // Thrown by a handler's or a worker's destructor.
            shutdown.panics += 1;
        }
    }
    shutdown
}

impl<J: Send + 'static> Drop for Pool<J> {
    fn drop(&mut self) {
        let Some(threads) = unpoisoned(self.threads.get_mut()).take() else {
            return;
        };
        if self.common.driver.ring().core.is_inherited() {
            // So are the threads, which the child does not have.
            std::mem::forget(threads);
            return;
        }
        let (common, timeout) = (self.common.clone(), Some(self.drop_timeout));
        if !is_one_of(&threads) {
            drop(finish(&common, threads, timeout));
            return;
        }
        let in_background = thread::Builder::new().name(String::from("ringway-end"));
        let common = self.common.clone();
        let finishes = move || drop(finish(&common, threads, timeout));
        if in_background.spawn(finishes).is_err() {
            // Nobody is there to wait: the threads go on reaping for what is in flight.
            self.common.stop_intake();
            self.common.driver.cancel_all();
        }
    }
}

impl<J: Send + 'static> fmt::Debug for Pool<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("driver", self.driver())
            .field("jobs_waiting", &self.jobs_waiting())
            .finish_non_exhaustive()
    }
}
