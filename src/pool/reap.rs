//! Reaping: what is taken, looked up and told.

use super::driver::{Driver, Shared};
use super::op::{Completion, Id, Kind};
use super::table::{Answer, Freed};
use crate::abi::Cqe;
use crate::ring::{By, EnterError, Ring};
use crate::sync::{MutexGuard, unpoisoned};
use std::sync::TryLockError;
use std::time::Duration;

/// CQEs that are reaped at a time.
pub(super) const BATCH: usize = 64;

/// What reaping came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation of this driver's.
    Completed(Completion),
    /// A CQE that names no operation in flight: somebody used the ring beside the driver, or
    /// sent it a message. Told as it came. (One that has the name of an operation in flight,
    /// which are the driver's own numbers, would be taken for its completion: see
    /// [`prep`](crate::prep#what-must-stay-alive-and-until-when).)
    Stale(Cqe),
}

impl Event {
    /// The completion, if it is one of the driver's operations.
    pub fn completed(self) -> Option<Completion> {
        match self {
            Self::Completed(completion) => Some(completion),
            Self::Stale(_) => None,
        }
    }
}

impl Driver {
    /// Reaps what is ready, at most 64 completions, and calls `event` for each. 0 when there
    /// was nothing, or another thread is just reaping. Does not wait.
    ///
    /// If `event` panics, those that it has not been called for are reaped by the next call,
    /// by whichever thread.
    pub fn reap(&self, event: impl FnMut(Event)) -> usize {
        self.reap_woken(|_| (), event)
    }

    /// As [`Driver::reap`]; calls `woken` first if there was a wake among the completions,
    /// with whether there was anything else.
    pub(super) fn reap_woken(&self, woken: impl FnOnce(bool), event: impl FnMut(Event)) -> usize {
        let mut reaped = Reaped::new();
        if let Some(arrivals) = &self.shared.arrivals {
            reaped = arrivals.take();
        } else {
            let mut untold = match self.shared.reaping.try_lock() {
                Ok(untold) => untold,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return 0,
            };
            self.shared.take(&mut untold, &mut reaped);
        }
        self.shared.tell(reaped, woken, event)
    }

    /// Waits for completions, then reaps as [`Driver::reap`]. Any number of threads may wait:
    /// one waits in the kernel, the others sleep, and one completion wakes two at most. 0
    /// when the timeout passed, or another thread was faster.
    ///
    /// # Errors
    ///
    /// See [`EnterError`]; nothing was reaped then.
    pub fn wait_reap(
        &self,
        timeout: Option<Duration>,
        event: impl FnMut(Event),
    ) -> Result<usize, EnterError> {
        self.wait_reap_woken(timeout, |_| (), event)
    }

    /// As [`Driver::wait_reap`], with `woken` as in [`Driver::reap_woken`].
    pub(super) fn wait_reap_woken(
        &self,
        timeout: Option<Duration>,
        woken: impl FnOnce(bool),
        event: impl FnMut(Event),
    ) -> Result<usize, EnterError> {
        // Requests that found no SQE when they were made.
        self.shared.send_pending();
        if let Some(arrivals) = &self.shared.arrivals {
            return Ok(self.shared.tell(arrivals.wait(timeout)?, woken, event));
        }
        let mut reaped = Reaped::new();
        let core = &*self.shared.ring.core;
        let mut take = || {
            self.shared
                .take(&mut self.shared.lock_reaping(), &mut reaped);
            reaped.cqes > 0 || reaped.len > 0
        };
        // Not left to the wait: those who wait for SQEs are told.
        let paid = match self.shared.has_debt() {
            true => self.shared.try_enter(),
            false => Ok(true),
        };
        let waited = match paid {
            Ok(_) => core.wait_owing(By::Ring, timeout, take).map(|_| ()),
            // What lies ready is the room that the next try may need.
            Err(_) if take() => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = waited {
            self.shared.counters.refused(error);
            // If it was for good, those who wait for room learn that there will be none.
            self.shared.gate.open();
            return Err(error);
        }
        Ok(self.shared.tell(reaped, woken, event))
    }
}

/// Events of one batch, and what they freed.
pub(super) struct Reaped {
    /// With the permits that each gives back.
    pub(super) events: [(Event, u32); BATCH],
    pub(super) len: usize,
    pub(super) cqes: usize,
    pub(super) permits: u32,
    pub(super) is_woken: bool,
}

impl Reaped {
    pub(super) fn new() -> Self {
        Self {
            events: [(Event::Stale(Cqe::default()), 0); BATCH],
            len: 0,
            cqes: 0,
            permits: 0,
            is_woken: false,
        }
    }

    fn take_untold(&mut self, untold: &mut Vec<Event>) {
        self.len = untold.len().min(BATCH);
        for (place, event) in self.events.iter_mut().zip(untold.drain(..self.len)) {
            place.0 = event;
        }
    }
}

impl Shared {
    pub(super) fn lock_reaping(&self) -> MutexGuard<'_, Vec<Event>> {
        unpoisoned(self.reaping.lock())
    }

    /// What was left untold; or else reaps a batch and looks it up (rule T2).
    pub(super) fn take(&self, untold: &mut Vec<Event>, reaped: &mut Reaped) {
        if !untold.is_empty() {
            reaped.take_untold(untold);
            return;
        }
        // A batch can be all wakes, answers to cancel requests, and halves of operations with
        // deadlines: it tells nothing, and more may lie behind it.
        while reaped.len == 0 && self.take_batch(reaped) == BATCH {}
    }

    fn take_batch(&self, reaped: &mut Reaped) -> usize {
        let mut cqes = [Cqe::default(); BATCH];
        let core = &*self.ring.core;
        let count = match self.arrivals {
            // The owner has just had the kernel deliver what it held back.
            Some(_) => core.reap_ready(&mut cqes),
            None => core.reap_batch::<Ring>(&mut cqes),
        };
        if count == 0 {
            return 0;
        }
        reaped.cqes += count;
        let mut freed = Freed::default();
        for cqe in &cqes[..count] {
            let event = match Id(cqe.user_data()).kind() {
                Some(Kind::Wake) => {
                    self.control.woken();
                    reaped.is_woken = true;
                    continue;
                }
                Some(Kind::Control) if self.control.done(Id(cqe.user_data())) => continue,
                _ => match self.table.complete(*cqe, &mut freed) {
                    Answer::Completed(completion) => Event::Completed(completion),
                    Answer::Half => continue,
                    Answer::Stale => {
                        self.counters.stale.add(1);
                        Event::Stale(*cqe)
                    }
                },
            };
            reaped.events[reaped.len] = (event, freed.permits - reaped.permits);
            reaped.permits = freed.permits;
            reaped.len += 1;
        }
        self.counters.completed.add(freed.operations);
        self.table.put(freed.slots);
        count
    }

    /// The rest of a reap, without the lock.
    fn tell(
        &self,
        reaped: Reaped,
        woken: impl FnOnce(bool),
        mut event: impl FnMut(Event),
    ) -> usize {
        if reaped.cqes > 0 {
            self.counters.cqes.add(reaped.cqes as u64);
            self.counters.batches.add(1);
        }
        // From here on nothing is lost by a panic: what is called may be the user's.
        let mut telling = Telling {
            shared: self,
            untold: reaped.events[..reaped.len].iter(),
        };
        self.send_pending();
        match reaped.permits {
            // The wait may have submitted what an earlier submit left behind.
            0 => self.gate.open(),
            permits => self.permits.release(permits, &self.gate),
        }
        if reaped.is_woken {
            woken(reaped.len > 0);
        }
        for told in telling.untold.by_ref() {
            event(told.0);
        }
        reaped.len
    }
}

/// Events that are being told. Their permits are free.
struct Telling<'t> {
    shared: &'t Shared,
    untold: std::slice::Iter<'t, (Event, u32)>,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if self.untold.len() > 0 {
            self.shared.leave_untold(self.untold.as_slice());
        }
    }
}

impl Shared {
    /// Leaves events to whoever reaps next, and has somebody reap.
    #[cold]
    fn leave_untold(&self, events: &[(Event, u32)]) {
        let events = events.iter().map(|event| event.0);
        match &self.arrivals {
            Some(arrivals) => arrivals.put_back(events),
            None => {
                self.lock_reaping().extend(events);
                // If the kernel has no memory for it, the next reap comes by itself.
                let _ = self.wake();
            }
        }
    }
}
