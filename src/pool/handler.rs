//! What a pool tells its user.

use super::driver::Driver;
use super::op::Completion;
use crate::abi::Cqe;
use crate::ring::EnterError;
use std::any::Any;
use std::fmt;

/// What becomes of completions. Called on the pool's reaping threads, by several at a time;
/// completions of one operation may come in another order than they were posted
/// ([`Completion::sequence`]).
///
/// While a handler runs, its thread reaps nothing: it should be short, and must not wait for
/// what only another completion brings. From a handler submit with
/// [`Driver::try_submit`]: the blocking form may wait for the very thread it runs on.
///
/// A closure `Fn(&Driver, Completion)` is a handler that ignores the rest.
pub trait Handler: Send + Sync + 'static {
    /// An operation has completed, or one of several completions of it has come.
    fn complete(&self, driver: &Driver, completion: Completion);

    /// A CQE came that names no operation in flight; see [`Event::Stale`](super::Event).
    fn stale(&self, driver: &Driver, cqe: Cqe) {
        let _ = (driver, cqe);
    }

    /// The handler itself, or a worker's job, has panicked. The completion, or the job, is
    /// not tried again. A panic in here is counted, and not told.
    fn panicked(&self, driver: &Driver, panic: Panicked<'_>) {
        let _ = (driver, panic);
    }

    /// For metrics: called after the fact, on the thread that it is about. It should be
    /// cheap.
    fn observe(&self, driver: &Driver, what: Observed) {
        let _ = (driver, what);
    }
}

impl<F: Fn(&Driver, Completion) + Send + Sync + 'static> Handler for F {
    fn complete(&self, driver: &Driver, completion: Completion) {
        self(driver, completion);
    }
}

/// What a thread of a pool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs jobs.
    Worker,
    /// Reaps completions, and calls the handler.
    Reaper,
    /// Both: jobs first, otherwise completions.
    Both,
    /// Enters the kernel for everybody.
    Submitter,
}

/// What threw, and what it threw.
#[derive(Clone, Copy)]
pub struct Panicked<'p> {
    /// On a thread of this role.
    pub role: Role,
    /// In a job; otherwise in the handler.
    pub is_job: bool,
    /// The panic's payload: a `&str` or a `String`, unless it was thrown as something else.
    pub payload: &'p (dyn Any + Send),
}

impl Panicked<'_> {
    /// The message, if there is one.
    pub fn message(&self) -> Option<&str> {
        let string = || self.payload.downcast_ref::<String>().map(String::as_str);
        self.payload.downcast_ref::<&str>().copied().or_else(string)
    }
}

impl fmt::Debug for Panicked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicked")
            .field("role", &self.role)
            .field("is_job", &self.is_job)
            .field("message", &self.message())
            .finish()
    }
}

/// Something that metrics may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observed {
    /// So many completions came in one batch, and were handled.
    Reaped(usize),
    /// A job has ended, by returning or by a panic.
    Job,
    /// The kernel would not wait; it is asked again, unless the ring is of no use any more.
    Refused(EnterError),
}
