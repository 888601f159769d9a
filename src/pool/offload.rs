//! Work that blocks or computes, on threads beside the ring; its completions come through
//! the ring.

use super::carrier::Carrier;
use super::driver::Driver;
use super::edges;
use super::gate::Gate;
use super::op::{Id, Kind, OpId, Refusal, Refused};
use super::panic::{Payload, contained, dispose};
use super::queue::Queue;
use crate::sync::Deadline;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::syscall::Errno;
#[cfg(not(ringway_loom))]
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
#[cfg(not(ringway_loom))]
use std::thread::JoinHandle;
use std::time::Duration;

/// Work for an [`Offload`].
///
/// Every closure that can be sent and returns this is one. An `enum` of the kinds of work
/// that a program has, or a boxed closure, lets one `Offload` take them all.
pub trait Job: Send {
    /// Does the work, on a thread that may be blocked. What it returns is the completion's
    /// outcome, as if it were an operation's:
    /// [`Done`](super::Outcome::Done), for at most `i32::MAX` (more is `EOVERFLOW`), or the
    /// errno, of which `ECANCELED` means [`Cancelled`](super::Outcome::Cancelled) and
    /// `ETIME` [`TimedOut`](super::Outcome::TimedOut).
    ///
    /// # Errors
    ///
    /// What the completion shall say.
    fn run(self) -> Result<u32, Errno>;
}

impl<F: FnOnce() -> Result<u32, Errno> + Send> Job for F {
    fn run(self) -> Result<u32, Errno> {
        self()
    }
}

/// Threads for work that blocks or computes, beside a [`Driver`]: a job is accepted like an
/// operation, holds one permit, and completes through the ring, to whoever reaps.
///
/// Any thread may call any method. Jobs start in the order in which they were accepted, so
/// on one thread they also end in it. Nothing is allocated for a job: `J` lies in the queue.
///
/// A job that panics completes as [`Outcome::Panicked`](super::Outcome::Panicked), and its
/// thread takes the next one (the program's panic hook runs as always; with `panic =
/// "abort"` the program ends). A job that never returns keeps its thread and its permit for
/// ever: [`Offload::shutdown`] tells of it, and leaves it behind.
///
/// Dropping it is [`Offload::shutdown`] with [`Offload::PATIENCE`]. It must go before a
/// dedicated submitter does ([`Driver::stop_serving`]): completions are submitted too.
///
/// ```
/// use ringway::pool::{Driver, Event, Offload, Outcome};
///
/// let ring = ringway::Ring::builder(8).build()?;
/// let driver = Driver::builder().build(ring)?;
/// let offload = Offload::builder().threads(2).build(&driver)?;
///
/// let id = offload.try_offload(|| Ok((1..=10).sum()), 7).map_err(|refused| refused.why)?;
/// let mut completion = None;
/// while completion.is_none() {
///     driver.wait_reap(None, |event| match event {
///         Event::Completed(it) => completion = Some(it),
///         Event::Stale(_) => {}
///     })?;
/// }
/// let completion = completion.expect("the loop ended");
/// assert_eq!((completion.op(), completion.user_data()), (id, 7));
/// assert_eq!(completion.outcome(), Outcome::Done(55));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Any number of them may be made over one driver, each with jobs of its own kind.
pub struct Offload<J: Job> {
    jobs: Arc<Jobs<J>>,
    #[cfg(not(ringway_loom))]
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

struct Jobs<J> {
    driver: Driver,
    /// Jobs that have not started. Whoever takes one out, to run it or as cancelled, owes its
    /// completion.
    queue: Queue<Waiting<J>>,
    carrier: Carrier,
    /// Jobs accepted, or about to be, whose completion is not in the ring.
    owed: AtomicU32,
    /// Those whose completion the ring would not take: it was of no use any more.
    lost: AtomicU32,
    /// Jobs that are in a shutdown, which waits for none of them.
    ending: AtomicU32,
    /// Where a shutdown sleeps until nothing is owed.
    ended: Gate,
}

struct Waiting<J> {
    id: Id,
    job: J,
}

/// What a shutdown came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it may have left jobs behind"]
pub struct OffloadEnd {
    /// Jobs that had not started, and complete as cancelled.
    pub cancelled: u32,
    /// Jobs that still ran when the time was over, whose threads are left behind, and end when
    /// they are done; and all, so far, that never complete since the ring was of no use any more
    /// when they ended.
    pub leaked: u32,
}

/// Settings of an [`Offload`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is made before build()"]
pub struct OffloadBuilder {
    threads: usize,
    queue: usize,
    carrier: Option<Carrier>,
}

/// Why there is no [`Offload`].
#[derive(Debug)]
#[non_exhaustive]
pub enum OffloadError {
    /// No threads were asked for: nothing would run.
    NoThreads,
    /// A queue for no jobs was asked for.
    NoQueue,
    /// A thread could not be started; those before it have ended again.
    Thread(std::io::Error),
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads => f.write_str("an offload of 0 threads would run nothing"),
            Self::NoQueue => f.write_str("an offload with room for 0 jobs would take none"),
            Self::Thread(error) => write!(f, "starting a thread: {error}"),
        }
    }
}

impl std::error::Error for OffloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

impl Offload<fn() -> Result<u32, Errno>> {
    /// Settings of an offload, for jobs of any kind.
    pub fn builder() -> OffloadBuilder {
        OffloadBuilder {
            threads: 2,
            queue: 64,
            carrier: None,
        }
    }
}

impl OffloadBuilder {
    /// How many threads; 2 if nothing is said.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How many jobs may wait for a thread; 64 if nothing is said.
    pub fn queue(mut self, jobs: usize) -> Self {
        self.queue = jobs;
        self
    }

    /// What takes completions into the ring. If nothing is said, [`Carrier::Message`] where
    /// threads combine ([`Submission::Combining`](super::Submission), without SQPOLL), else
    /// [`Carrier::Nop`]. If the kernel lacks it, the next one of [`Carrier`] that it has is
    /// taken ([`Offload::carrier`] tells which); on a simulated ring always
    /// [`Carrier::PlainNop`].
    pub fn carrier(mut self, carrier: Carrier) -> Self {
        self.carrier = Some(carrier);
        self
    }

    /// Makes an offload, and starts its threads.
    ///
    /// Tries on a small ring, which is closed again, what the kernel has of [`Carrier`].
    ///
    /// # Errors
    ///
    /// [`OffloadError`]
    #[cfg(not(ringway_loom))]
    pub fn build<J: Job + 'static>(self, driver: &Driver) -> Result<Offload<J>, OffloadError> {
        if self.threads == 0 {
            return Err(OffloadError::NoThreads);
        }
        let offload = self.build_without_threads(driver)?;
        for i in 0..self.threads {
            let jobs = offload.jobs.clone();
            let thread = std::thread::Builder::new()
                .name(format!("ringway-job-{i}"))
                .spawn(move || jobs.serve())
                .map_err(OffloadError::Thread)?;
            offload.threads().push(thread);
        }
        Ok(offload)
    }

    /// Makes an offload whose jobs run in [`Offload::serve`], on threads of the caller's;
    /// [`OffloadBuilder::threads`] is not looked at. The jobs may borrow what outlives those.
    ///
    /// # Errors
    ///
    /// [`OffloadError::NoQueue`]
    pub fn build_without_threads<J: Job>(
        self,
        driver: &Driver,
    ) -> Result<Offload<J>, OffloadError> {
        if self.queue == 0 {
            return Err(OffloadError::NoQueue);
        }
        Ok(Offload {
            jobs: Arc::new(Jobs {
                driver: driver.clone(),
                queue: Queue::new(self.queue),
                carrier: Carrier::over(driver, self.carrier),
                owed: AtomicU32::new(0),
                lost: AtomicU32::new(0),
                ending: AtomicU32::new(0),
                ended: Gate::new(),
            }),
            #[cfg(not(ringway_loom))]
            threads: std::sync::Mutex::new(Vec::new()),
        })
    }
}

impl<J: Job> Offload<J> {
    /// How long dropping waits for jobs that run.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Has a thread run the job, or gives it back. Returns at once; takes the queue's lock,
    /// which is held for the move of a job at most.
    ///
    /// # Errors
    ///
    /// [`Refused`] holds the job: [`Refusal::Full`] when there is no permit, or no room in
    /// the queue; [`Refusal::Closed`] when the driver or the offload takes no more;
    /// [`Refusal::Ring`].
    pub fn try_offload(&self, job: J, user_data: u64) -> Result<OpId, Refused<J>> {
        let jobs = &*self.jobs;
        let shared = &*jobs.driver.shared;
        // First, because a permit that is given back wakes those who wait for room, of whom
        // the caller may be one.
        if jobs.queue.is_full() {
            let why = Refusal::Full;
            return Err(Refused { op: job, why });
        }
        let id = match shared.admit(0, 1, user_data, false) {
            Ok(id) => id,
            Err(why) => return Err(Refused { op: job, why }),
        };
        // Ordering: Relaxed; the queue's lock orders it before the end of the job, and before
        // a shutdown's look.
        jobs.owed.fetch_add(1, Relaxed);
        match jobs.queue.push(Waiting { id, job }) {
            Ok(_) => Ok(OpId(id)),
            Err(Waiting { id, job }) => {
                jobs.settle();
                shared.withdraw(id, 1);
                let why = match jobs.queue.is_closed() {
                    true => Refusal::Closed,
                    false => Refusal::Full,
                };
                Err(Refused { op: job, why })
            }
        }
    }

    /// As [`Offload::try_offload`], asleep until there is room, or until the timeout has
    /// passed (`None`: no limit). For want of permits somebody else has to reap meanwhile; a
    /// job that waits for room in its own queue may wait for itself.
    ///
    /// # Errors
    ///
    /// As [`Offload::try_offload`]; [`Refusal::Full`] is the timeout.
    pub fn offload(
        &self,
        job: J,
        user_data: u64,
        timeout: Option<Duration>,
    ) -> Result<OpId, Refused<J>> {
        let shared = &*self.jobs.driver.shared;
        let mut job = Some(job);
        let look = || self.offload_from(&mut job, user_data);
        // No SQE is needed, so that no SQ thread is waited for; but permits come back from
        // what is submitted only.
        let answer = shared.gate.wait(timeout, look, || {
            shared.hurry();
            false
        });
        answer.unwrap_or_else(|| {
            Err(Refused {
                // Only an answer takes it for good.
                op: job.expect("the job came back"),
                why: Refusal::Full,
            })
        })
    }

    /// The polling form: offloads the job and takes it out of `job`, or has the task woken when
    /// there may be room.
    ///
    /// # Errors
    ///
    /// As [`Offload::try_offload`], but for [`Refusal::Full`]; the job is in the error.
    ///
    /// # Panics
    ///
    /// If `job` is `None`: it was offloaded before.
    pub fn poll_offload(
        &self,
        context: &mut Context<'_>,
        job: &mut Option<J>,
        user_data: u64,
    ) -> Poll<Result<OpId, Refused<J>>> {
        let shared = &*self.jobs.driver.shared;
        let look = || self.offload_from(job, user_data);
        // As in `offload`.
        shared.gate.poll(context, look, || {
            shared.hurry();
            false
        })
    }

    /// Offloads what is in `job`, or leaves it there while there is no room.
    fn offload_from(
        &self,
        job: &mut Option<J>,
        user_data: u64,
    ) -> Option<Result<OpId, Refused<J>>> {
        let taken = job.take().expect("a job that is not offloaded yet");
        match self.try_offload(taken, user_data) {
            Err(refused) if refused.why == Refusal::Full => {
                *job = Some(refused.op);
                None
            }
            answer => Some(answer),
        }
    }

    /// Takes a job that has not started out of the queue, and drops it, on this thread; it
    /// completes as cancelled. True if it was still there. A job that runs, or has run, is
    /// left alone, and an operation that is no job of this offload's; [`Driver::cancel`] knows
    /// nothing of jobs.
    ///
    /// Looks through the queue with its lock held.
    pub fn cancel(&self, op: OpId) -> bool {
        let found = self.jobs.queue.remove(|waiting| waiting.id == op.0);
        found.is_some_and(|waiting| self.jobs.cancel(waiting))
    }

    /// Runs jobs on this thread, asleep while there are none, until [`Offload::close`] or
    /// [`Offload::shutdown`] and the queue is empty. For
    /// [`OffloadBuilder::build_without_threads`]; one more thread elsewhere.
    pub fn serve(&self) {
        self.jobs.serve();
    }

    /// Takes no more jobs: [`Refusal::Closed`], also for those that wait for room. What is in
    /// the queue still runs.
    pub fn close(&self) {
        self.jobs.queue.close();
        self.jobs.driver.shared.gate.open();
    }

    /// What takes completions into the ring.
    pub fn carrier(&self) -> Carrier {
        self.jobs.carrier
    }

    /// Jobs that have not started.
    pub fn queued(&self) -> usize {
        self.jobs.queue.len()
    }

    /// Takes no more jobs, cancels those that have not started, and waits for those that run,
    /// but no longer than the deadline (`None`: no limit). Every job that was accepted
    /// completes through the ring, or is counted in [`OffloadEnd::leaked`]. A leaked job still
    /// runs on its thread; when it ends, it completes if somebody still submits and reaps.
    ///
    /// A job may call it, and is itself not waited for, nor are others that do. The order in
    /// which to end everything: [`pool`](super#shutting-down).
    pub fn shutdown(&self, deadline: Option<Duration>) -> OffloadEnd {
        self.close();
        let jobs = &*self.jobs;
        let deadline = Deadline::after(deadline);
        let mut cancelled = 0;
        while let Some(taken) = jobs.queue.pop() {
            cancelled += u32::from(jobs.cancel(taken.item));
        }
        // Ordering: Relaxed, here and below; the gate's fence orders it before others' looks.
        let own = jobs.running_here();
        if own > 0 {
            jobs.ending.fetch_add(own, Relaxed);
            jobs.ended.open();
        }
        let is_ending = || match own {
            0 => 0,
            _ => jobs.ending.load(Relaxed),
        };
        let look = || (jobs.owed() <= is_ending()).then_some(());
        let ended = jobs.ended.wait(deadline.left(), look, || false);
        self.part(ended.is_some());
        let running = match ended {
            // What is owed now is about to be refused.
            Some(()) => 0,
            None => jobs.owed().saturating_sub(is_ending()),
        };
        if own > 0 {
            jobs.ending.fetch_sub(own, Relaxed);
        }
        let leaked = running + jobs.lost.load(Relaxed);
        OffloadEnd { cancelled, leaked }
    }

    /// Waits for the threads to end, if they are about to, or lets them go.
    fn part(&self, are_done: bool) {
        #[cfg(not(ringway_loom))]
        {
            // Not with the lock held: one of them may want it.
            let threads = std::mem::take(&mut *self.threads());
            for thread in threads {
                if are_done && !is_this_thread(&thread) {
                    // Jobs' panics are caught; of another there is nothing to tell.
                    let _ = thread.join();
                }
            }
        }
        let _ = are_done;
    }

    #[cfg(not(ringway_loom))]
    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        crate::sync::unpoisoned(self.threads.lock())
    }
}

#[cfg(not(ringway_loom))]
fn is_this_thread(thread: &JoinHandle<()>) -> bool {
    thread.thread().id() == std::thread::current().id()
}

impl<J: Job> Drop for Offload<J> {
    fn drop(&mut self) {
        if self.jobs.driver.ring().core.is_inherited() {
            // So are the threads, which the child does not have.
            #[cfg(not(ringway_loom))]
            std::mem::forget(std::mem::take(&mut self.threads));
            return;
        }
        // After a shutdown there is nothing left to wait for.
        #[cfg(not(ringway_loom))]
        let is_over = self.threads().is_empty() && self.queued() == 0;
        #[cfg(ringway_loom)]
        let is_over = self.queued() == 0;
        let patience = if is_over {
            Duration::ZERO
        } else {
            Self::PATIENCE
        };
        let _ = self.shutdown(Some(patience));
    }
}

impl<J: Job> fmt::Debug for Offload<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload")
            .field("queued", &self.queued())
            .field("owed", &self.jobs.owed())
            .field("carrier", &self.jobs.carrier)
            .finish_non_exhaustive()
    }
}

impl<J: Job> Jobs<J> {
    fn serve(&self) {
        while let Some(taken) = self.queue.pop_wait(None) {
            let Waiting { id, job } = taken.item;
            // There is room in the queue.
            self.driver.shared.gate.open();
            let (kind, res) = match self.run(job) {
                Ok(result) => (Kind::Job, as_res(result)),
                Err(panic) => {
                    dispose(panic);
                    (Kind::Panicked, -libc::ENOTRECOVERABLE)
                }
            };
            self.complete(id.with_kind(kind), res);
        }
    }

    /// The result of a job, or its panic. A job may itself serve another offload.
    fn run(&self, job: J) -> Result<Result<u32, Errno>, Payload> {
        #[cfg(not(ringway_loom))]
        RUNNING.with_borrow_mut(|running| running.push(std::ptr::from_ref(self).addr()));
        let result = contained(|| job.run());
        #[cfg(not(ringway_loom))]
        RUNNING.with_borrow_mut(Vec::pop);
        result
    }

    /// How many of the jobs run on the calling thread: one within another.
    fn running_here(&self) -> u32 {
        #[cfg(not(ringway_loom))]
        return RUNNING.with_borrow(|running| {
            let own = std::ptr::from_ref(self).addr();
            running.iter().filter(|jobs| **jobs == own).count() as u32
        });
        #[cfg(ringway_loom)]
        0
    }

    /// Ends a job that has not started; as [`Jobs::complete`].
    fn cancel(&self, waiting: Waiting<J>) -> bool {
        // There is room in the queue.
        self.driver.shared.gate.open();
        let Waiting { id, job } = waiting;
        dispose(job);
        let id = id.with_kind(Kind::Job);
        self.complete(id, -libc::ECANCELED)
    }

    /// Sends a result through the ring. False if that is of no use any more.
    fn complete(&self, id: Id, res: i32) -> bool {
        let is_sent = self.driver.shared.carry(self.carrier, id, res);
        if !is_sent {
            // Ordering: Relaxed; what is owed is read before it.
            self.lost.fetch_add(1, Relaxed);
        }
        self.settle();
        is_sent
    }

    /// One job less is owed.
    fn settle(&self) {
        // Ordering: Release, see `JOB_SETTLED`.
        self.owed.fetch_sub(1, edges::JOB_SETTLED.order());
        self.ended.open();
    }

    fn owed(&self) -> u32 {
        // Ordering: Acquire, see `JOBS_SEEN`.
        self.owed.load(edges::JOBS_SEEN.order())
    }
}

#[cfg(not(ringway_loom))]
thread_local! {
    /// Where the [`Jobs`] are of which this thread runs one, and within that another.
    static RUNNING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A job's result as a CQE has it.
fn as_res(result: Result<u32, Errno>) -> i32 {
    match result {
        Ok(count) => i32::try_from(count).unwrap_or(-libc::EOVERFLOW),
        // Whatever a job makes up: an error is a negative number.
        Err(errno) if errno.raw() > 0 => -errno.raw(),
        Err(_) => -libc::EINVAL,
    }
}
