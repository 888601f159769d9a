//! Until the kernel is done with everybody's memory.

use super::driver::{Driver, Shared};
use super::edges;
use super::reap::Event;
use super::roles::Common;
use super::stats::Stats;
use crate::sync::{Deadline, reached};
use std::fmt;
use std::time::Duration;

/// Operations whose end did not come in time. The kernel may use their memory for as long as
/// the process lives: the buffers must not be freed or used again. The ring and the driver's
/// own memory are never freed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaked {
    /// How many operations.
    pub n: usize,
    /// The `user_data` of each.
    pub user_data: Vec<u64>,
}

impl fmt::Display for Leaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.n;
        write!(
            f,
            "{n} operations have not ended: their buffers are the kernel's"
        )
    }
}

impl std::error::Error for Leaked {}

/// What came of a pool.
#[non_exhaustive]
#[must_use = "it says whether buffers may be freed, and which jobs were not run"]
pub struct Shutdown<J> {
    /// Jobs that no thread had begun, oldest first.
    pub jobs: Vec<J>,
    /// Operations that have not ended. `None`: nothing is written to anybody's buffers any
    /// more.
    pub leaked: Option<Leaked>,
    /// Threads that did not come back from a job or a handler in time. Each ends when it
    /// does.
    pub threads_left: u32,
    /// Panics of handlers and jobs in the pool's life.
    pub panics: u64,
    /// Jobs that were run, to their end or to a panic.
    pub jobs_run: u64,
    /// The driver's last numbers: `accepted` is `completed` and what leaked.
    pub stats: Stats,
}

impl<J> Shutdown<J> {
    /// Whether nothing was left behind: no operation, no thread, no job.
    pub fn is_clean(&self) -> bool {
        self.leaked.is_none() && self.threads_left == 0 && self.jobs.is_empty()
    }
}

impl<J> fmt::Debug for Shutdown<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("jobs", &self.jobs.len())
            .field("leaked", &self.leaked)
            .field("threads_left", &self.threads_left)
            .field("panics", &self.panics)
            .field("jobs_run", &self.jobs_run)
            .field("stats", &self.stats)
            .finish()
    }
}

/// Why a pool was not shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The caller is a thread of the pool, which would wait for itself.
    FromWithin,
    /// Somebody else has shut it down, or is at it.
    Already,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromWithin => "a thread of the pool cannot wait for its own end",
            Self::Already => "the pool is shut down already",
        })
    }
}

impl std::error::Error for ShutdownError {}

/// Threads have this much longer than the operations.
const GRACE: Duration = Duration::from_millis(200);

impl Shared {
    /// Whether nothing is in flight, and never will be if the driver is closed.
    fn is_quiet(&self) -> bool {
        // Ordering: Acquire, see `PERMIT_TAKEN`: everything that was reaped, and what the
        // kernel wrote for it, is before this.
        self.permits.held_now(edges::PERMIT_TAKEN.order()) == 0
    }

    /// Asks for everything to be cancelled, again and again (an operation may be pushed
    /// behind the request), and lets `rest` pass the time, until nothing is in flight. False
    /// when the time is over, or the ring is of no use any more.
    fn quiesce(&self, deadline: &Deadline, mut rest: impl FnMut(Option<Duration>)) -> bool {
        let mut pause = Duration::from_millis(1);
        while !self.is_quiet() {
            let left = deadline.left();
            if left == Some(Duration::ZERO) || self.counters.fatal().is_some() {
                return false;
            }
            match self.control.is_pending() {
                true => self.send_now(),
                false => self.cancel_everything(),
            }
            // A model has no time: it sleeps until it is woken.
            let turn = left.map_or(pause, |left| left.min(pause));
            rest((!cfg!(ringway_loom)).then_some(turn));
            pause = (pause * 2).min(Duration::from_millis(64));
        }
        true
    }
}

impl Driver {
    /// Takes no more operations, asks the kernel to cancel all, and reaps until nothing is in
    /// flight: then nothing writes to anybody's buffers any more. At most this long (`None`:
    /// no limit). Other threads may reap and serve meanwhile; a dedicated submitter has to
    /// ([`Driver::serve`]). Before Linux 5.19 nothing is cancelled: it waits for as long as the
    /// operations last.
    ///
    /// # Errors
    ///
    /// [`Leaked`]: the time was over, or the ring is of no use any more. The ring is never
    /// closed then.
    pub fn quiesce(
        &self,
        timeout: Option<Duration>,
        mut event: impl FnMut(Event),
    ) -> Result<(), Leaked> {
        self.close();
        let shared = &*self.shared;
        let rest = |left| {
            if self.wait_reap(left, &mut event).is_err() && !self.is_dead() {
                // The kernel has no room for now.
                shared.rest(Some(Duration::from_millis(1)));
            }
        };
        let is_quiet = shared.quiesce(&Deadline::after(timeout), rest);
        // Also what a panic has left untold.
        while self.reap(&mut event) > 0 {}
        if is_quiet {
            return Ok(());
        }
        self.leak().map_or(Ok(()), Err)
    }

    /// What is still in flight, and the driver with it, belongs to the kernel.
    fn leak(&self) -> Option<Leaked> {
        let shared = &*self.shared;
        let user_data = shared.table.in_flight();
        if shared.is_quiet() {
            return None;
        }
        std::mem::forget(self.clone());
        let n = user_data.len();
        Some(Leaked { n, user_data })
    }
}

impl<J> Common<J> {
    /// Ends a pool; its threads are to be joined afterwards.
    pub fn shut_down(&self, timeout: Option<Duration>) -> Shutdown<J> {
        let deadline = Deadline::after(timeout);
        let driver = &self.driver;
        // First: nothing that ends for want of the driver is followed by another job.
        let jobs = self.jobs.drain().into();
        driver.close();
        let is_quiet = (driver.shared).quiesce(&deadline, |left| driver.shared.rest(left));
        if is_quiet {
            reached("quiet");
        }
        self.end();
        let left = deadline.left().map(|left| left + GRACE);
        let threads_left = self.wait_until_ended(&Deadline::after(left));
        Shutdown {
            jobs,
            leaked: if is_quiet { None } else { driver.leak() },
            threads_left,
            panics: self.panics.get(),
            jobs_run: self.jobs_run.get(),
            stats: driver.stats(),
        }
    }
}

impl Shared {
    /// Sleeps until something was reaped and nothing is in flight, the ring is of no use any
    /// more, or the time is over.
    fn rest(&self, time: Option<Duration>) {
        let look = || (self.is_quiet() || self.counters.fatal().is_some()).then_some(());
        let _ = self.gate.wait(time, look, || {
            self.hurry();
            false
        });
    }
}
