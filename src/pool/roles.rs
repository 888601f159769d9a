//! What the threads of a pool do, on whatever threads they run.

use super::driver::Driver;
use super::edges;
use super::handler::{Handler, Observed, Panicked, Role};
use super::op::{Refusal, Refused};
use super::panic::{Payload, contained, dispose};
use super::queue::{Queue, Taken};
use super::reap::Event;
use crate::ring::EnterError;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::{Deadline, Futex, Tally, reached};
use std::sync::Arc;
use std::time::Duration;

/// What a pool does when a handler or a job has panicked. It is contained, counted and told
/// either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// Goes on with the next completion, or job.
    #[default]
    GoOn,
    /// Takes no more operations and jobs, and asks the kernel to cancel what is in flight.
    /// Completions are still handled; [`Pool::shutdown`](super::Pool::shutdown) does the rest.
    Stop,
}

/// How long a reaper keeps away from the ring when it has passed a wake on.
const ASIDE: Duration = Duration::from_micros(50);

/// A pool without its threads.
pub struct Crew<J, W, H> {
    pub(super) common: Arc<Common<J>>,
    pub(super) work: W,
    pub(super) handler: H,
}

/// What the threads share with those who use the pool.
pub struct Common<J> {
    pub(super) driver: Driver,
    pub(super) jobs: Queue<J>,
    on_panic: OnPanic,
    /// Not 0: the threads are to end.
    ended: Futex,
    /// Threads that have not ended.
    alive: Futex,
    /// Those of them that may sleep on the ring.
    reaping: AtomicU32,
    pub(super) panics: Tally,
    pub(super) jobs_run: Tally,
}

/// A thread in its role, counted.
pub struct Place<J>(Arc<Common<J>>);

impl<J> Drop for Place<J> {
    fn drop(&mut self) {
        let alive = &self.0.alive;
        // Ordering: Release, see `END_TOLD`.
        alive.word().fetch_sub(1, edges::END_TOLD.order());
        alive.wake_all();
    }
}

impl<J> Common<J> {
    /// Everything but threads.
    pub fn new(driver: Driver, jobs: usize, on_panic: OnPanic) -> Arc<Self> {
        Arc::new(Self {
            driver,
            jobs: Queue::new(jobs),
            on_panic,
            ended: Futex::new(),
            alive: Futex::new(),
            reaping: AtomicU32::new(0),
            panics: Tally::default(),
            jobs_run: Tally::default(),
        })
    }

    /// Counts a thread that is about to start.
    pub fn place(self: &Arc<Self>, role: Role) -> Place<J> {
        // Ordering: Relaxed; the thread starts after this.
        self.alive.word().fetch_add(1, Relaxed);
        if matches!(role, Role::Reaper | Role::Both) {
            // Ordering: as above.
            self.reaping.fetch_add(1, Relaxed);
        }
        Place(self.clone())
    }

    /// See [`Pool::give`](super::Pool::give).
    pub fn give(&self, job: J) -> Result<(), Refused<J>> {
        self.given(self.jobs.push(job))
    }

    /// See [`Pool::give_wait`](super::Pool::give_wait).
    pub fn give_wait(&self, job: J, timeout: Option<Duration>) -> Result<(), Refused<J>> {
        self.given(self.jobs.push_wait(job, timeout))
    }

    fn given(&self, pushed: Result<bool, J>) -> Result<(), Refused<J>> {
        match pushed {
            Ok(wake) => {
                if wake {
                    self.wake();
                }
                Ok(())
            }
            Err(op) if self.jobs.is_closed() => {
                let why = Refusal::Closed;
                Err(Refused { op, why })
            }
            Err(op) => {
                let why = Refusal::Full;
                Err(Refused { op, why })
            }
        }
    }

    /// Takes no more operations and jobs.
    pub(super) fn stop_intake(&self) {
        self.driver.close();
        self.jobs.close();
    }

    pub(super) fn is_ending(&self) -> bool {
        // Ordering: Acquire, see `END_SEEN`. What wakes a thread that is asleep comes after it:
        // the futex, or the wake (`WAKE_SENT`).
        self.ended.word().load(edges::END_SEEN.order()) != 0
    }

    /// Has all threads end when they have done what they are at.
    pub(super) fn end(&self) {
        // Ordering: Release, see `END_TOLD`.
        self.ended.word().store(1, edges::END_TOLD.order());
        self.ended.wake_all();
        self.driver.stop_serving();
        self.wake();
    }

    /// Waits until all threads have ended, or the time is over; how many have not.
    pub(super) fn wait_until_ended(&self, deadline: &Deadline) -> u32 {
        loop {
            // Ordering: Acquire, see `END_SEEN`.
            let alive = self.alive.word().load(edges::END_SEEN.order());
            let left = deadline.left();
            if alive == 0 || left == Some(Duration::ZERO) {
                return alive;
            }
            self.alive.wait(alive, left);
        }
    }

    /// Wakes a thread that sleeps on the ring. While the kernel has no memory for that it
    /// is asked again: a wake that is lost is a job that nobody runs.
    fn wake(&self) {
        while self.driver.wake().is_err_and(EnterError::is_transient) {
            self.rest(Duration::from_micros(100));
        }
    }

    /// A woken thread that has other things to do lets the next one know.
    fn pass_on(&self) -> bool {
        let is_for_others = self.is_ending()
            || (self.jobs.needs_watcher() && !crate::ring::edges::broken("WAKE_KEPT"));
        if is_for_others {
            reached("wake passed on");
            self.wake();
        }
        is_for_others
    }

    /// Sleeps, at most until the threads are to end.
    fn rest(&self, time: Duration) {
        self.ended.wait(0, Some(time));
    }
}

impl<J, W, H> Crew<J, W, H>
where
    J: Send,
    W: Fn(&Driver, J),
    H: Handler,
{
    /// A pool of these parts.
    pub fn new(common: Arc<Common<J>>, work: W, handler: H) -> Self {
        Self {
            common,
            work,
            handler,
        }
    }

    /// Does what the role says, until the pool ends.
    pub fn run(&self, role: Role) {
        match role {
            Role::Worker => self.work(role),
            Role::Reaper => self.reap(role),
            Role::Both => self.do_both(role),
            Role::Submitter => self.submit(role),
        }
    }

    /// Until the queue is closed and empty.
    fn work(&self, role: Role) {
        while let Some(taken) = self.common.jobs.pop_wait(None) {
            self.run_job(role, taken);
        }
    }

    fn reap(&self, role: Role) {
        let mut pause = Pause::default();
        while !self.common.is_ending() {
            match self.wait_reap(role) {
                Ok(has_passed_on) => {
                    pause = Pause::default();
                    if has_passed_on {
                        // The wake is for another, who has to come by first.
                        self.common.rest(ASIDE);
                    }
                }
                Err(error) => self.refused(&mut pause, error),
            }
        }
        self.leave(role);
    }

    fn do_both(&self, role: Role) {
        let common = &*self.common;
        let mut pause = Pause::default();
        while !common.is_ending() {
            if let Some(taken) = common.jobs.pop_or_watch() {
                self.run_job(role, taken);
                self.reap_ready(role);
                continue;
            }
            // A watcher now (rule Q2): a job that comes, comes with a wake. Also the end
            // does, so it may have come before this look.
            let waited = match common.is_ending() {
                true => Ok(false),
                false => self.wait_reap(role),
            };
            common.jobs.unwatch();
            match waited {
                Ok(_) => pause = Pause::default(),
                Err(error) => {
                    if self.common.driver.is_dead() {
                        // Nothing will ever wake this thread from the ring.
                        self.work(role);
                    }
                    self.refused(&mut pause, error);
                }
            }
        }
        self.leave(role);
    }

    /// The dedicated submitter.
    fn submit(&self, role: Role) {
        // A simulated kernel may throw what its script throws.
        while let Err(payload) = contained(|| self.common.driver.serve()) {
            self.panicked(role, false, payload);
        }
    }

    /// The end of a thread that may have taken a wake which was not for it alone.
    fn leave(&self, role: Role) {
        if self.common.driver.is_dead() {
            while self.reap_ready(role) > 0 {}
        }
        // Ordering: Relaxed; only the count matters, and the last one wakes nobody.
        if self.common.reaping.fetch_sub(1, Relaxed) > 1 {
            self.common.wake();
        }
    }

    /// Whether a wake was passed on.
    fn wait_reap(&self, role: Role) -> Result<bool, EnterError> {
        let common = &*self.common;
        let mut has_passed_on = false;
        // A thread that is both looks for jobs by itself, unless completions keep it.
        let woken = |is_busy: bool| {
            if is_busy || role != Role::Both {
                has_passed_on = common.pass_on();
            }
        };
        let tell = |event| self.tell(role, event);
        let reaped = common.driver.wait_reap_woken(None, woken, tell)?;
        self.reaped(role, reaped);
        Ok(has_passed_on)
    }

    fn reap_ready(&self, role: Role) -> usize {
        let common = &*self.common;
        let woken = |_| _ = common.pass_on();
        let reaped = (common.driver).reap_woken(woken, |event| self.tell(role, event));
        self.reaped(role, reaped);
        reaped
    }

    fn reaped(&self, role: Role, count: usize) {
        if count > 0 {
            self.observe(role, Observed::Reaped(count));
        }
    }

    fn refused(&self, pause: &mut Pause, error: EnterError) {
        self.observe(Role::Reaper, Observed::Refused(error));
        if self.common.driver.is_dead() {
            // For good: asleep until the end, which is told without the ring.
            self.common.ended.wait(0, None);
        } else {
            self.common.rest(pause.next());
        }
    }

    fn tell(&self, role: Role, event: Event) {
        let driver = &self.common.driver;
        let told = contained(|| match event {
            Event::Completed(completion) => self.handler.complete(driver, completion),
            Event::Stale(cqe) => self.handler.stale(driver, cqe),
        });
        if let Err(payload) = told {
            self.panicked(role, false, payload);
        }
    }

    fn observe(&self, role: Role, what: Observed) {
        if let Err(payload) = contained(|| self.handler.observe(&self.common.driver, what)) {
            self.panicked(role, false, payload);
        }
    }

    fn run_job(&self, role: Role, taken: Taken<J>) {
        if taken.wake {
            self.common.wake();
        }
        let ran = contained(|| (self.work)(&self.common.driver, taken.item));
        self.common.jobs_run.add(1);
        if let Err(payload) = ran {
            self.panicked(role, true, payload);
        }
        self.observe(role, Observed::Job);
    }

    #[cold]
    fn panicked(&self, role: Role, is_job: bool, payload: Payload) {
        let common = &*self.common;
        common.panics.add(1);
        if common.on_panic == OnPanic::Stop {
            common.stop_intake();
            common.driver.cancel_all();
        }
        let panic = Panicked {
            role,
            is_job,
            payload: &*payload,
        };
        if let Err(another) = contained(|| self.handler.panicked(&common.driver, panic)) {
            common.panics.add(1);
            dispose(another);
        }
        dispose(payload);
    }
}

/// Between attempts that the kernel refuses: 1 ms, twice as long each time, up to 16 ms.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn next(&mut self) -> Duration {
        self.0 = (self.0 + 1).min(5);
        Duration::from_micros(500 << self.0)
    }
}
