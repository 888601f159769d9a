//! A submitter that the ring belongs to: SINGLE_ISSUER and DEFER_TASKRUN on a ring that
//! threads share.

use super::control::WAKE;
use super::driver::{Driver, Shared};
use super::op::Id;
use super::reap::{BATCH, Event, Reaped};
use crate::ring::EnterError;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{Deadline, Futex, Mutex, MutexGuard, reached, unpoisoned};
use crate::syscall::Errno;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Completions on their way from the owner, who alone may enter, to the threads that reap.
///
/// Rule O1: a reaper counts itself asleep under the lock under which the owner adds, and
/// reads the turn there: what is added later comes with another turn.
pub(super) struct Arrivals {
    waiting: Mutex<Waiting>,
    turns: Futex,
}

#[derive(Default)]
struct Waiting {
    /// With the permits that each gives back.
    events: VecDeque<(Event, u32)>,
    asleep: u32,
    is_woken: bool,
    /// Why no more will come.
    ended: Option<EnterError>,
}

impl Arrivals {
    pub(super) fn new(permits: u32) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                events: VecDeque::with_capacity(permits as usize),
                ..Waiting::default()
            }),
            turns: Futex::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        unpoisoned(self.waiting.lock())
    }

    /// Adds a batch, and wakes one reaper for it.
    fn add(&self, reaped: &Reaped) {
        if reaped.len > 0 {
            let mut waiting = self.lock();
            waiting.events.extend(&reaped.events[..reaped.len]);
            self.wake_one(waiting);
        }
    }

    /// Events that were taken and not told, for the next reaper.
    pub(super) fn put_back(&self, events: impl DoubleEndedIterator<Item = Event>) {
        let mut waiting = self.lock();
        for event in events.rev() {
            // Its permits were given back.
            waiting.events.push_front((event, 0));
        }
        self.wake_one(waiting);
    }

    /// Makes a reaper return, or the next one not wait.
    pub(super) fn wake(&self) {
        let mut waiting = self.lock();
        waiting.is_woken = true;
        self.wake_one(waiting);
    }

    fn wake_one(&self, waiting: MutexGuard<'_, Waiting>) {
        if waiting.asleep > 0 {
            self.turn(waiting);
            self.turns.wake_one();
        }
    }

    /// Another turn, for whoever sleeps and is woken then.
    fn turn(&self, waiting: MutexGuard<'_, Waiting>) {
        // Ordering: Relaxed; whoever sleeps has read the word under the lock that is held.
        self.turns.word().fetch_add(1, Relaxed);
        drop(waiting);
    }

    /// Up to a batch of what has arrived; leaves the rest to another reaper.
    fn take_from(&self, mut waiting: MutexGuard<'_, Waiting>) -> Reaped {
        let mut reaped = Reaped::new();
        reaped.len = waiting.events.len().min(BATCH);
        reaped.is_woken = std::mem::take(&mut waiting.is_woken);
        let taken = waiting.events.drain(..reaped.len);
        for (place, event) in reaped.events.iter_mut().zip(taken) {
            *place = event;
            reaped.permits += event.1;
        }
        if !waiting.events.is_empty() {
            self.wake_one(waiting);
        }
        reaped
    }

    pub(super) fn take(&self) -> Reaped {
        self.take_from(self.lock())
    }

    /// Tells all that no more will come.
    fn end(&self, error: EnterError) {
        let mut waiting = self.lock();
        waiting.ended = Some(error);
        self.turn(waiting);
        self.turns.wake_all();
    }

    /// As `take`, asleep until there is something or a wake. An error when nothing is left and
    /// no more will come.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<Reaped, EnterError> {
        let deadline = Deadline::after(timeout);
        loop {
            let mut waiting = self.lock();
            let left = deadline.left();
            let is_over = left == Some(Duration::ZERO);
            if !waiting.events.is_empty() || waiting.is_woken || is_over {
                return Ok(self.take_from(waiting));
            }
            if let Some(error) = waiting.ended {
                return Err(error);
            }
            waiting.asleep += 1;
            // Ordering: Relaxed; the lock is held (rule O1).
            let turn = self.turns.word().load(Relaxed);
            drop(waiting);
            reached("waits for the owner");
            self.turns.wait(turn, left);
            self.lock().asleep -= 1;
        }
    }
}

/// The thread to be that the ring of a driver belongs to: it alone enters, and hands
/// completions to the threads that reap. Made by
/// [`DriverBuilder::build_owned`](super::DriverBuilder::build_owned).
///
/// A driver whose owner fails, or is dropped without having served, takes no more operations
/// ([`Refusal::Ring`](super::Refusal)), and who waits for completions is told why:
/// [`EnterError::Kernel`] with EBADFD if it has not served.
#[must_use = "nothing is submitted before the owner serves"]
pub struct Owner {
    driver: Driver,
    /// Why there is no more of it than was served.
    end: Result<(), EnterError>,
}

/// Why an owner does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnerError {
    /// The ring could not be enabled: what `IORING_REGISTER_ENABLE_RINGS` says.
    Enable(crate::Errno),
    /// No message could be sent to the ring, by which other threads wake its owner: EINVAL
    /// before Linux 6.13.
    Wake(EnterError),
    /// Entering failed for good.
    Enter(EnterError),
}

impl fmt::Display for OwnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enable(errno) => write!(f, "the ring could not be enabled: {errno}"),
            Self::Wake(error) => write!(f, "its owner cannot be woken (Linux 6.13): {error}"),
            Self::Enter(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OwnerError {}

impl From<OwnerError> for EnterError {
    fn from(error: OwnerError) -> Self {
        match error {
            OwnerError::Enable(errno) => Self::Kernel(errno),
            OwnerError::Wake(error) | OwnerError::Enter(error) => error,
        }
    }
}

impl Owner {
    pub(super) fn new(driver: Driver) -> Self {
        // As the kernel says of a ring that is not enabled.
        let end = Err(EnterError::Kernel(Errno::from_raw(libc::EBADFD)));
        Self { driver, end }
    }

    /// Makes the ring this thread's, and submits and waits for everybody until
    /// [`Driver::stop_serving`]. Sleeps in the kernel while there is nothing to submit.
    ///
    /// # Errors
    ///
    /// [`OwnerError`]; the driver is then of no use any more.
    pub fn serve(self) -> Result<(), OwnerError> {
        self.serve_from(|| ())
    }

    /// As `serve`; calls `started` once the ring runs.
    pub(super) fn serve_from(mut self, started: impl FnOnce()) -> Result<(), OwnerError> {
        let served = self.serve_until_stopped(started);
        self.end = served.map_err(EnterError::from);
        served
    }

    fn serve_until_stopped(&self, started: impl FnOnce()) -> Result<(), OwnerError> {
        self.enable()?;
        let shared = &*self.driver.shared;
        // A message of its own: one that another thread has sent says nothing.
        let tried = shared.ring.core.post(WAKE.0);
        tried.map_err(OwnerError::Wake)?;
        started();
        loop {
            let asked = shared.requests.look();
            // What is submitted now makes the room that a request may want.
            let has_sent = !shared.control.is_pending() || shared.push_pending().has_room;
            if !has_sent {
                // Or other threads do, who are about to push.
                crate::sync::yield_now();
            }
            // Reaped to the end before: one completion more is one that was not seen.
            let may_sleep = has_sent && !asked.is_stopped && shared.requests.sleep_at(&asked);
            match shared.enter_owned(may_sleep.into()) {
                Ok(()) | Err(EnterError::Interrupted) => {}
                // What is left is tried again, after others had a turn.
                Err(EnterError::Busy) => crate::sync::yield_now(),
                Err(error) => {
                    shared.deliver();
                    return Err(OwnerError::Enter(error));
                }
            }
            shared.deliver();
            if asked.is_stopped {
                return Ok(());
            }
        }
    }

    #[cfg(not(ringway_loom))]
    fn enable(&self) -> Result<(), OwnerError> {
        use crate::abi::register;
        let Some(fd) = self.driver.shared.ring.core.ring_fd() else {
            return Ok(());
        };
        // SAFETY: ENABLE_RINGS takes no argument.
        let enabled = unsafe { fd.register(register::ENABLE_RINGS, std::ptr::null_mut(), 0) };
        enabled.map(|_| ()).map_err(OwnerError::Enable)
    }

    #[cfg(ringway_loom)]
    fn enable(&self) -> Result<(), OwnerError> {
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let Err(error) = self.end else { return };
        let shared = &*self.driver.shared;
        shared.counters.end(error);
        if let Some(arrivals) = &shared.arrivals {
            arrivals.end(error);
        }
        // Also tells who waits for room.
        self.driver.close();
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(&self.driver).finish()
    }
}

impl Shared {
    /// Submits all, and waits for so many completions.
    fn enter_owned(&self, want: u32) -> Result<(), EnterError> {
        let entered = self.counted(|| self.ring.core.submit_and_wait(want));
        if let Err(error) = entered {
            self.counters.refused(error);
            self.gate.open();
        }
        entered
    }

    /// Reaps everything, and hands it to those who wait.
    fn deliver(&self) {
        let Some(arrivals) = &self.arrivals else {
            return;
        };
        loop {
            let mut reaped = Reaped::new();
            self.take(&mut self.lock_reaping(), &mut reaped);
            if reaped.cqes == 0 {
                return;
            }
            self.counters.cqes.add(reaped.cqes as u64);
            self.counters.batches.add(1);
            arrivals.add(&reaped);
        }
    }

    /// Has the owner return from the kernel, and look.
    #[cold]
    pub(super) fn wake_owner(&self) {
        // There is no other way to reach it: tried until the kernel has the memory.
        let post = |id: Id| self.ring.core.post(id.0);
        while self.control.wake_with(post) == Err(EnterError::Busy) {
            crate::sync::yield_now();
        }
    }
}
