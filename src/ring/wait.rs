//! Waiting for completions: one leader in the kernel, the others asleep on a futex.
//! Rules W1 to W4 of [`super`].

use super::kernel::{By, Enter};
use super::{Core, EnterError, Owner, edges};
use crate::abi::{Cqe, Cqe32, enter, sq_flags};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{Deadline, Futex, reached};
use crate::syscall::Errno;
use std::time::Duration;

/// Set while a thread leads: it is, or is about to be, in the kernel.
const LED: u32 = 1 << 31;

/// The leader's seat. One word: LED, and the number of threads that follow.
pub(crate) struct Seat {
    word: Futex,
}

/// What a wait can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// There may be something to reap. Another thread may have been faster, the
    /// kernel may have woken the thread for nothing, a signal may have come: reap, and
    /// wait again if that gave nothing.
    Maybe,
    /// The timeout passed.
    TimedOut,
}

impl Seat {
    pub(crate) fn new() -> Self {
        Self { word: Futex::new() }
    }

    /// Takes the seat, or a place behind it, and says which.
    fn join(&self) -> bool {
        let change = |word| {
            Some(if word & LED == 0 {
                word | LED
            } else {
                word + 1
            })
        };
        self.change(change).is_ok_and(|before| before & LED == 0)
    }

    /// From following to leading, if nobody leads; otherwise the word that says so.
    fn promote(&self) -> Result<(), u32> {
        self.change(|word| (word & LED == 0).then(|| (word - 1) | LED))
            .map(|_| ())
    }

    /// Changes the word unless `to` says no; the word before, or the one it refused.
    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> Result<u32, u32> {
        // Ordering: Relaxed; a stale word fails the CAS.
        let mut word = self.word.word().load(Relaxed);
        while let Some(next) = to(word) {
            // Ordering: Acquire, see `SEAT_TAKEN`. Relaxed on failure: tried again. What was
            // completed comes over `CQ_TAIL`.
            let taken = edges::SEAT_TAKEN.order();
            match (self.word.word()).compare_exchange(word, next, taken, Relaxed) {
                Ok(before) => return Ok(before),
                Err(now) => word = now,
            }
        }
        Err(word)
    }

    /// Gives the seat up and wakes one follower to take it (rule W2).
    pub(super) fn hand_over(&self) {
        // Ordering: Release, see `SEAT_FREED`.
        let before = self.word.word().fetch_and(!LED, edges::SEAT_FREED.order());
        if before != LED && !edges::broken("NO_BATON") {
            self.word.wake_one();
        }
    }

    /// Stops following. Nothing is passed on: a follower tries to lead after each wake,
    /// before it leaves.
    fn leave(&self) {
        // Ordering: Relaxed; only the count changes.
        self.word.word().fetch_sub(1, Relaxed);
    }
}

/// The seat, held. Given up when dropped: by the end of the lead, an error or a panic.
struct Leader<'s>(&'s Seat);

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.0.hand_over();
    }
}

impl Core {
    /// Waits until there may be something to reap, then runs `take` before the next
    /// thread is woken. After an error nothing is taken.
    pub(crate) fn wait<R>(
        &self,
        by: By,
        timeout: Option<Duration>,
        take: impl FnOnce() -> R,
    ) -> Result<(Waited, R), EnterError> {
        if !self.cq.is_empty() {
            return Ok((Waited::Maybe, take()));
        }
        self.submit_owed(by)?;
        self.wait_owing(by, timeout, take)
    }

    /// As `wait`, and leaves what an earlier submit has left behind.
    pub(crate) fn wait_owing<R>(
        &self,
        by: By,
        timeout: Option<Duration>,
        take: impl FnOnce() -> R,
    ) -> Result<(Waited, R), EnterError> {
        let deadline = Deadline::after(timeout);
        if !self.take_lead(&deadline) {
            let waited = match deadline.left() {
                Some(Duration::ZERO) => Waited::TimedOut,
                _ => Waited::Maybe,
            };
            return Ok((waited, take()));
        }
        let _leader = Leader(&self.seat);
        let waited = self.lead(by, &deadline)?;
        Ok((waited, take()))
    }

    /// Waits for the seat. False if it is not needed: there may be something to reap, or the
    /// time has passed.
    pub(super) fn take_lead(&self, deadline: &Deadline) -> bool {
        self.seat.join() || self.follow(deadline)
    }

    /// Follows until it is this thread's turn to lead (true) or it need not wait any
    /// more (false).
    fn follow(&self, deadline: &Deadline) -> bool {
        while let Err(word) = self.seat.promote() {
            let left = deadline.left();
            if left == Some(Duration::ZERO) || !self.cq.is_empty() {
                self.seat.leave();
                return false;
            }
            reached("follower sleeps");
            // A change of the word since it was read makes the futex return at once.
            self.seat.word.wait(word, left);
            if edges::broken("LEAVE_WOKEN") && left.is_some() {
                self.seat.leave();
                return false;
            }
        }
        reached("follower leads");
        true
    }

    pub(super) fn lead(&self, by: By, deadline: &Deadline) -> Result<Waited, EnterError> {
        if !self.cq.is_empty() {
            return Ok(Waited::Maybe);
        }
        // Another leader may have been told, and this thread woken, since the wait began.
        self.check_poison()?;
        let request = Enter {
            min_complete: 1,
            flags: enter::GETEVENTS,
            timeout: deadline.left(),
            by,
            ..Enter::default()
        };
        self.waited(self.kernel.enter(request))
    }

    /// What an enter to wait has ended with: the timeout and a signal are answers, not
    /// errors.
    pub(super) fn waited(&self, entered: Result<u32, Errno>) -> Result<Waited, EnterError> {
        self.submitter.late_enters.add(1);
        match entered {
            Err(errno) if errno.raw() == libc::ETIME => Ok(Waited::TimedOut),
            Err(errno) if errno.raw() == libc::EINTR => Ok(Waited::Maybe),
            Err(errno) => Err(self.enter_failed(errno)),
            Ok(_) => Ok(Waited::Maybe),
        }
    }

    /// One CQE, after the kernel has delivered what it holds back.
    #[inline(always)]
    pub(crate) fn reap<R: Owner>(&self) -> Option<Cqe> {
        match self.cq.pop::<R>() {
            None if self.flush() => self.cq.pop::<R>(),
            reaped => reaped,
        }
    }

    /// One CQE, waited for. `None` when the timeout has passed.
    pub(crate) fn wait_one<R: Owner>(
        &self,
        by: By,
        timeout: Option<Duration>,
    ) -> Result<Option<Cqe>, EnterError> {
        let deadline = Deadline::after(timeout);
        loop {
            if let Some(cqe) = self.reap::<R>() {
                return Ok(Some(cqe));
            }
            let left = deadline.left();
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            if let (_, Some(cqe)) = self.wait(by, left, || self.reap::<R>())? {
                return Ok(Some(cqe));
            }
        }
    }

    #[inline(always)]
    pub(crate) fn reap_batch<R: Owner>(&self, out: &mut [Cqe]) -> usize {
        match self.cq.pop_batch::<R>(out) {
            0 if !out.is_empty() && self.flush() => self.cq.pop_batch::<R>(out),
            count => count,
        }
    }

    pub(super) fn reap_big(&self) -> Option<Cqe32> {
        self.cq.pop_big().or_else(|| {
            if self.flush() {
                self.cq.pop_big()
            } else {
                None
            }
        })
    }

    /// Called when the CQ was found empty: completions may wait in the kernel, for room
    /// (CQ_OVERFLOW), for this thread's task work (TASKRUN), or to be polled (IOPOLL).
    /// True if it was entered for them. Waits for no completion.
    #[inline(always)]
    pub(crate) fn flush(&self) -> bool {
        let held_back = self.sq.view.flags() & (sq_flags::CQ_OVERFLOW | sq_flags::TASKRUN) != 0;
        (held_back || self.must_poll) && self.enter_to_flush()
    }

    #[cold]
    fn enter_to_flush(&self) -> bool {
        if edges::broken("NO_FLUSH") {
            return false;
        }
        self.submitter.flushes.add(1);
        // A failure is not lost: a poisoned ring is remembered, the flag stays set for
        // the next attempt otherwise, and waiting reports it.
        let enter = || {
            self.enter(Enter {
                flags: enter::GETEVENTS,
                ..Enter::default()
            })
            .is_ok()
        };
        // What came can be padding alone, if there was no room for a big CQE before it.
        enter() && (!self.cq.skip_padding() || enter())
    }
}
