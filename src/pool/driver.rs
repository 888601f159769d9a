//! The pool's parts on threads of anybody's: permits, table and submitter over one shared ring.

use super::builder::DriverBuilder;
use super::control::Control;
use super::gate::Gate;
use super::owner::Arrivals;
use super::permits::Permits;
use super::reap::Event;
use super::stats::{Counters, Stats};
use super::submitter::{Batching, Requests};
use super::table::Table;
use crate::ring::{Batch, By, EnterError, Ring};
use crate::sync::Mutex;
use crate::syscall::Errno;
use std::fmt;
use std::sync::Arc;

/// Who enters the kernel to submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// Whoever pushes; one thread enters for all. On a ring with SQPOLL nobody enters.
    ///
    /// The kernel ties an operation to the thread that entered for it. After that thread has
    /// exited, an operation that waits for an event completes as cancelled when the event
    /// comes, and not before: let threads that submit live until nothing is in flight.
    Combining,
    /// A thread of its own, which outlives the operations: the pool's, or the one that calls
    /// [`Driver::serve`].
    Dedicated(Batching),
}

/// One ring, operations by name, and never more in flight than completions can be taken in.
///
/// A clone is another handle. Every method may be called from any thread. The ring goes with
/// the last handle, whatever is in flight: [`quiesce`](Driver::quiesce) first.
#[derive(Clone)]
pub struct Driver {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) ring: Ring,
    pub(super) table: Table,
    /// Held while CQEs are reaped and looked up (rule T2); what was, and has not been told,
    /// since a closure panicked.
    pub(super) reaping: Mutex<Vec<Event>>,
    pub(super) permits: Permits,
    pub(super) gate: Gate,
    pub(super) control: Control,
    pub(super) counters: Counters,
    pub(super) submission: Submission,
    pub(super) requests: Requests,
    /// Where the owner of a ring that only it may enter leaves completions.
    pub(super) arrivals: Option<Arrivals>,
}

impl Driver {
    /// Settings of a driver.
    pub fn builder() -> DriverBuilder {
        DriverBuilder::default()
    }

    /// The ring. What is pushed beside the driver completes as [`Event::Stale`].
    pub fn ring(&self) -> &Ring {
        &self.shared.ring
    }

    /// Submits what was pushed, or wakes the dedicated submitter for it, without the delay of
    /// its [`Batching`].
    pub fn flush(&self) {
        self.shared.hurry();
        self.shared.send_pending();
    }

    /// Makes a thread that waits for completions return, or the next one not wait. There is one
    /// wake on its way at a time: a call that comes before it is reaped adds none. So a thread
    /// that is woken, and knows of others that are to return as well, wakes again.
    ///
    /// # Errors
    ///
    /// As [`Ring::wake`]. Nobody is woken then, also not for calls that came meanwhile and
    /// relied on this one: wake again.
    pub fn wake(&self) -> Result<(), EnterError> {
        self.shared.wake()
    }

    /// Whether the ring is of no use any more: nothing is taken, nothing can be waited for.
    pub(super) fn is_dead(&self) -> bool {
        self.shared.counters.fatal().is_some()
    }

    /// Submits for everybody, until [`Driver::stop_serving`]: the dedicated submitter. Returns
    /// at once from a driver that has none.
    ///
    /// One thread at a time; only one would be woken. Not for a driver with an
    /// [`Owner`](super::Owner), which has [a `serve` of its own](super::Owner::serve).
    pub fn serve(&self) {
        if let Submission::Dedicated(batching) = self.shared.submission {
            let shared = &*self.shared;
            shared.requests.serve(batching, || {
                // A request that finds no SQE after that waits for other threads' pushes,
                // which may be too few to be worth an enter: it is tried again.
                shared.enter() || self.is_dead()
            });
        }
    }

    /// Ends [`Driver::serve`] or [`Owner::serve`](super::Owner::serve), after a last submit. For
    /// good: a `serve` that is called later submits once and returns. Does not wait for it.
    pub fn stop_serving(&self) {
        self.shared.requests.stop();
        self.shared.wake_submitter();
    }

    /// Takes no more operations: [`Refusal::Closed`](super::Refusal::Closed), also for those
    /// that wait for room.
    pub fn close(&self) {
        self.shared.permits.close(&self.shared.gate);
    }

    /// Permits that operations hold, of those submitted, or being submitted, and not reaped. 0 if
    /// none is in flight; more than there are operations if some take several ([`Op`]). How many
    /// there are is in [`Driver::stats`].
    ///
    /// [`Op`]: super::Op
    pub fn in_flight(&self) -> u32 {
        self.shared.permits.held()
    }

    /// The numbers, as they are now. Looks at every slot of the driver's table: as many as there
    /// are permits.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

/// The ring may outlive the driver, by a clone: what the SQEs in it point to then stays.
impl Drop for Shared {
    fn drop(&mut self) {
        if Arc::strong_count(&self.ring.core) > 1 {
            self.control.leak();
            if self.permits.held() > 0 {
                self.table.leak();
            }
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("ring", &self.shared.ring)
            .field("submission", &self.shared.submission)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Pushes, and has it submitted. By the driver's way to enter also what was left to this
    /// push: those who wait for SQEs are told, and nobody enters but who is to.
    #[inline(always)]
    pub(super) fn push(&self, batch: Batch<'_>) {
        let count = batch.len() as u32;
        let is_awaited = batch.push_only();
        match self.submission {
            Submission::Combining => _ = self.enter(),
            Submission::Dedicated(_) => {
                let is_worth_it = self.requests.ask(count);
                if is_awaited {
                    self.hurry();
                } else if is_worth_it {
                    self.wake_submitter();
                }
            }
        }
    }

    /// As `push`, but where whoever pushes enters, it does so only for others.
    pub(super) fn push_for_later(&self, batch: Batch<'_>) {
        match self.submission {
            Submission::Combining => {
                if batch.push_only() {
                    self.enter();
                }
            }
            Submission::Dedicated(_) => self.push(batch),
        }
    }

    /// Before a sleep at the gate, for want of an SQE or of so many permits: has everything
    /// submitted, and where the kernel takes SQEs by itself waits until it has taken one. True
    /// if there may be room now.
    pub(super) fn make_room(&self, permits: u32) -> bool {
        let is_untold = self.ask_for_room(permits);
        if is_untold && let Err(error) = self.ring.core.wait_for_space(By::Ring) {
            self.left(error);
        }
        is_untold
    }

    /// Has everything submitted. True if nobody will open the gate: what is missing is an SQE,
    /// and an SQ thread takes them.
    pub(super) fn ask_for_room(&self, permits: u32) -> bool {
        self.hurry_for_room();
        self.ring.core.is_sqpoll() && self.permits.free() >= permits
    }

    /// As [`hurry`](Self::hurry), when what is in the way was pushed, and so asked for: a
    /// submitter that waits for nothing is at it already.
    #[cold]
    pub(super) fn hurry_for_room(&self) {
        match self.submission {
            Submission::Dedicated(batching) if batching.delay.is_zero() => {}
            _ => self.hurry(),
        }
    }

    /// Has everything submitted now.
    #[cold]
    pub(super) fn hurry(&self) {
        match self.submission {
            Submission::Combining => _ = self.enter(),
            Submission::Dedicated(_) => {
                self.requests.hurry();
                self.wake_submitter();
                // Nobody but an owner may enter its ring.
                if self.arrivals.is_none() && self.requests.is_over() {
                    self.enter();
                }
            }
        }
    }

    #[cold]
    fn wake_submitter(&self) {
        match self.arrivals {
            Some(_) => self.wake_owner(),
            None => self.requests.wake(),
        }
    }

    /// Submits, and what was pending as well. False if something is left: of what the kernel
    /// left, the next submit or wait tries again, and whoever waits now is woken for that.
    pub(super) fn enter(&self) -> bool {
        self.try_enter().unwrap_or_else(|error| {
            self.left(error);
            false
        })
    }

    /// As `enter`. False if something found no SQE.
    pub(super) fn try_enter(&self) -> Result<bool, EnterError> {
        loop {
            self.counted(|| self.ring.submit())?;
            if !self.control.is_pending() {
                return Ok(true);
            }
            let pushed = self.push_pending();
            if pushed.count == 0 {
                return Ok(pushed.has_room);
            }
        }
    }

    /// Enters as told, and opens the gate if the kernel took something.
    pub(super) fn counted(
        &self,
        enter: impl FnOnce() -> Result<(), EnterError>,
    ) -> Result<(), EnterError> {
        self.counters.submits.add(1);
        let taken = self.ring.core.taken();
        let entered = enter();
        // Whoever had the kernel take something tells; the others have nothing to tell.
        if self.ring.core.taken() != taken {
            self.gate.open();
        }
        entered
    }

    /// The kernel has left something in the ring, or will not hear of it again.
    #[cold]
    pub(super) fn left(&self, error: EnterError) {
        self.counters.refused(error);
        // A leader asleep in the kernel would see neither. If there is no memory for the
        // wake either, there is no leader, or it will not be told: tried a few times. Where a
        // wake is an SQE as well, what was left is tried itself.
        for _ in 0..8 {
            let told = match self.post_wake() {
                Err(error) if is_no_message(error) => self.counted(|| self.ring.submit()),
                told => told,
            };
            if told.is_ok() {
                break;
            }
        }
        if self.counters.fatal().is_some() {
            // Those who wait for room learn that there will be none. Otherwise not: they
            // would ask a kernel without memory again and again.
            self.gate.open();
        }
    }

    pub(super) fn wake(&self) -> Result<(), EnterError> {
        if let Some(arrivals) = &self.arrivals {
            self.counters.wakes.add(1);
            arrivals.wake();
            return Ok(());
        }
        match self.post_wake() {
            Err(error) if is_no_message(error) => self.wake_by_nop(),
            posted => posted,
        }
    }

    /// By a message. Not for a ring whose owner hands completions on.
    fn post_wake(&self) -> Result<(), EnterError> {
        self.control.wake_with(|id| {
            self.counters.wakes.add(1);
            self.ring.core.post(id.0)
        })
    }

    /// By a NOP, of which there is one at a time, however often it is refused.
    #[cold]
    fn wake_by_nop(&self) -> Result<(), EnterError> {
        self.control.add_wake();
        self.send_pending();
        if !self.is_alone() {
            return Ok(());
        }
        if self.owes() {
            self.try_enter()?;
        }
        match self.control.is_short_of_sqes() {
            true => Err(EnterError::Busy),
            false => Ok(()),
        }
    }

    /// Whether the kernel has refused something that still lies in the SQ.
    fn owes(&self) -> bool {
        self.ring.core.submitter.owes()
    }

    /// Whether there is no submitter, or no more, who tries again by itself.
    fn is_alone(&self) -> bool {
        self.submission == Submission::Combining || self.requests.is_over()
    }

    /// Whether whoever waits has to submit what the kernel has refused.
    pub(super) fn has_debt(&self) -> bool {
        self.owes() && self.is_alone()
    }
}

/// Before Linux 6.13 a message needs a ring to come from.
fn is_no_message(error: EnterError) -> bool {
    error == EnterError::Kernel(Errno::from_raw(libc::EINVAL))
}
