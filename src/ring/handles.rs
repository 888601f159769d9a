//! The shared ring and its two handles.

use super::kernel::By;
use super::{Batch, Core, EnterError, Slot, Waited, Waiter};
use crate::abi::{Cqe, Cqe32};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
#[cfg(not(ringway_loom))]
use std::time::Instant;

/// A ring that any number of threads share without a lock.
///
/// A clone is another handle of the same ring (one reference count). The ring closes
/// with its last handle; the kernel does not wait for operations in flight then, so
/// reap them first: their buffers may be written until their CQEs have come.
///
/// A child of `fork(2)` has the descriptor but not the memory: it must not use the ring, only
/// drop it, and what was made of it (slots, batches, a pool), which changes nothing for the
/// parent.
#[derive(Clone)]
pub struct Ring {
    pub(crate) core: Arc<Core>,
}

impl Ring {
    /// The worker's handle: pop, prepare, push, submit.
    pub fn sq(&self) -> Sq {
        Sq {
            core: self.core.clone(),
        }
    }

    /// The reaper's handle: reap, wait.
    pub fn cq(&self) -> Cq {
        Cq {
            core: self.core.clone(),
        }
    }

    /// See [`Sq::submit`].
    #[inline]
    pub fn submit(&self) -> Result<(), EnterError> {
        self.core.submit()
    }

    /// Submits as [`Sq::submit`]; the thread that enters the kernel also reaps what lies
    /// ready after each enter, of whichever thread, and hands it to `handle`, oldest first,
    /// as much at a time as fits into `cqes`; with an empty `cqes` nothing is reaped. A thread
    /// that leaves its operations to another leaves their completions to it as well, and
    /// `handle` is not called. Completions that the kernel holds back are fetched by further
    /// enters, besides those of [`Builder::max_passes`](crate::Builder::max_passes).
    ///
    /// For threads that all submit and handle each other's completions: the kernel's counters
    /// then stay with one thread at a time, where a [`Cq::reap_batch`] after each submit
    /// makes all of them pull at the same cache line. A thread that has nothing to submit
    /// still reaps, or waits.
    ///
    /// While `handle` runs, nobody else submits. It may push, and submit: that is then done
    /// by the call that it runs in. It must not wait for a completion or for a free slot,
    /// which only another submit would bring. If it panics, the CQEs that it was given are
    /// gone; the ring goes on, and the next submit or wait sees to what was pushed.
    ///
    /// ```
    /// # let ring = ringway::Ring::builder(8).build()?;
    /// # ring.sq().pop().expect("an empty ring has free slots").push();
    /// let mut cqes = [Default::default(); 32];
    /// let mut count = 0;
    /// ring.submit_and_reap(&mut cqes, |reaped| count += reaped.len())?;
    /// # assert_eq!(count, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Sq::submit`]. What was reaped until then has been handed out.
    #[inline]
    pub fn submit_and_reap(
        &self,
        cqes: &mut [Cqe],
        handle: impl FnMut(&[Cqe]),
    ) -> Result<(), EnterError> {
        self.core.submit_and_reap(cqes, handle)
    }

    /// Posts a completion with this `user_data`, so that a waiting thread returns, or the next
    /// to wait does not block. Whoever reaps it knows it by the `user_data`, which must not be
    /// that of an operation in flight; its result is 0. To stop `n` waiting threads, wake `n`
    /// times; a thread that reaps several of these completions at once wakes again for each
    /// that it had no use for.
    ///
    /// Any thread. On Linux 6.13 and later it is a message to the ring, and needs no slot
    /// (`io_uring_register_sync_msg(3)`). Before, it is a NOP that takes a slot and is
    /// submitted: in claim order, only after the slots that were popped before it are pushed.
    ///
    /// # Errors
    ///
    /// [`EnterError::Busy`] when the kernel has no memory, or, before 6.13, when all
    /// slots are taken by threads that have not pushed them: submit, then try again. A
    /// NOP that could not be submitted stays in the ring, and wakes with the next submit.
    pub fn wake(&self, user_data: u64) -> Result<(), EnterError> {
        self.core.wake(user_data)
    }

    /// Entries of the submission queue.
    pub fn sq_entries(&self) -> u32 {
        self.core.sq.view.entries()
    }

    /// Entries of the completion queue: 16-byte slots on a ring of mixed sizes.
    pub fn cq_entries(&self) -> u32 {
        self.core.cq.view.entries()
    }

    /// SQEs that the kernel refused to read. Not 0 means that something else wrote to
    /// the ring's memory.
    pub fn sq_dropped(&self) -> u32 {
        self.core.sq.view.dropped()
    }

    /// Completions that the kernel lost for want of memory; see
    /// [`EnterError::CompletionLost`].
    pub fn cq_overflow(&self) -> u32 {
        self.core.cq.view.overflow()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("sq_entries", &self.sq_entries())
            .field("cq_entries", &self.cq_entries())
            .finish_non_exhaustive()
    }
}

/// The submission side of a shared [`Ring`]: for workers, and for who submits.
///
/// Every method may be called from any thread at any time.
#[derive(Clone)]
pub struct Sq {
    pub(super) core: Arc<Core>,
}

impl Sq {
    /// A free SQE, or `None` when there is none: all are owned by other threads, pushed,
    /// or published and not yet taken by the kernel. Submit, and pop again.
    ///
    /// The kernel gives SQEs back when it has taken all that one enter gave it, and by then
    /// the first of them may have completed. So a program with at most `n` operations in
    /// flight can still get `None` from a ring of `n` SQEs; give the ring more.
    ///
    /// Lock-free, never enters the kernel.
    #[inline(always)]
    pub fn pop(&self) -> Option<Slot<'_>> {
        self.core.pop()
    }

    /// `len` free SQEs that the kernel will see together and in order, or `None` when
    /// there are not that many: see [`Sq::pop`]. Always `None` for 0 and for more than
    /// [`Sq::entries`].
    ///
    /// Lock-free, never enters the kernel; allocates for more than 128 in any order.
    #[inline(always)]
    pub fn pop_batch(&self, len: u32) -> Option<Batch<'_>> {
        self.core.pop_batch(len)
    }

    /// Gives what is pushed to the kernel.
    ///
    /// One thread enters the kernel at a time, for everybody: a second caller leaves its
    /// operations to the first and returns at once. When this returns `Ok`, everything
    /// that was pushed before the call, by whichever thread, is with the kernel, or will
    /// be without another call: by the thread that is submitting now, or by the push of a
    /// slot that is still owned and lies before it (in claim order a slot that is popped and
    /// not pushed holds up the ones popped after it; in any order only a thread in the
    /// middle of a push does).
    ///
    /// Enters the kernel at most 8 times ([`Builder::max_passes`](crate::Builder::max_passes)),
    /// with about half the ring at a time. After that another thread takes over; it first
    /// spins for some microseconds, in case the one before comes back from the kernel and
    /// goes on. Otherwise no thread waits for another in user space.
    ///
    /// The operations run with the credentials of the thread that enters. If that thread
    /// exits before they complete, those that wait for an event complete with ECANCELED
    /// when it comes, and not before.
    ///
    /// # Errors
    ///
    /// Nothing pushed is lost: it stays in the ring, in order, and the next submit or
    /// wait of any thread tries again. Only the thread that entered is told: the others,
    /// which left their operations to it, got `Ok`. So whoever gets an error that may pass
    /// ([`EnterError`]) submits again, or waits.
    #[inline]
    pub fn submit(&self) -> Result<(), EnterError> {
        self.core.submit()
    }

    /// Submits, and on an SQPOLL ring whose queue is full sleeps until the kernel's SQ
    /// thread has taken something from it (elsewhere the submit makes the room). Call it
    /// when [`Sq::pop`] gave nothing, then pop again, in a loop: it waits neither for slots
    /// that other threads own and have not pushed, nor for a thread that is submitting, and
    /// may return early, after a signal or when another ring that this thread has used ends.
    ///
    /// # Errors
    ///
    /// As [`Sq::submit`].
    pub fn wait_for_space(&self) -> Result<(), EnterError> {
        self.core.wait_for_space(By::Ring)
    }

    /// The number of SQEs.
    pub fn entries(&self) -> u32 {
        self.core.sq.view.entries()
    }

    /// How many SQEs are not free: a snapshot, old when it is read.
    pub fn in_use(&self) -> u32 {
        self.core.sq.in_use()
    }
}

impl fmt::Debug for Sq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sq")
            .field("entries", &self.entries())
            .field("in_use", &self.in_use())
            .finish()
    }
}

/// The completion side of a shared [`Ring`]: for reapers.
///
/// Every method may be called from any thread at any time; each CQE is handed to
/// exactly one caller. How large a CQ has to be:
/// [`Builder`](crate::Builder#a-cq-that-overflows).
#[derive(Clone)]
pub struct Cq {
    core: Arc<Core>,
}

impl Cq {
    /// The oldest completion, or `None` when there is none.
    ///
    /// Waits for no completion. Lock-free, and without a system call unless the queue is empty
    /// and the kernel holds completions back (after an
    /// [overflow](crate::Builder#a-cq-that-overflows), or on a polled ring): it then enters to
    /// fetch them, and may wait there for the kernel's lock of the ring. If that fails, the
    /// answer is `None`; a wait tries again, and returns the error.
    #[inline]
    pub fn reap(&self) -> Option<Cqe> {
        self.core.reap::<Ring>()
    }

    /// Up to `out.len()` completions, oldest first, and their number. Otherwise as
    /// [`Cq::reap`].
    #[inline]
    pub fn reap_batch(&self, out: &mut [Cqe]) -> usize {
        self.core.reap_batch::<Ring>(out)
    }

    /// The oldest completion with the 16 bytes that come with it on a ring of 32-byte or
    /// mixed CQEs (0 elsewhere, and for a small CQE). Otherwise as [`Cq::reap`].
    pub fn reap_big(&self) -> Option<Cqe32> {
        self.core.reap_big()
    }

    /// Waits until there may be something to reap, or the timeout passes (`None`: no
    /// limit).
    ///
    /// One of the waiting threads waits in the kernel, the others sleep. When the one
    /// returns, the next takes its place, and returns too if the completion is not reaped
    /// by then. [`Cq::wait_reap`] reaps first, and so wakes fewer. On an
    /// IOPOLL ring the kernel polls the device instead of sleeping, whatever the timeout,
    /// and returns at once when nothing is in flight.
    ///
    /// # Errors
    ///
    /// See [`EnterError`]. When nothing lies ready, also what kept an earlier submit from
    /// submitting and this call as well.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Waited, EnterError> {
        self.core
            .wait(By::Ring, timeout, || ())
            .map(|(waited, ())| waited)
    }

    /// As [`Cq::wait`], until this moment. One in the past waits for nothing.
    ///
    /// A shared ring has no other ways to wait. Those of a local one ([`Wait`](crate::Wait))
    /// cannot work for every waiting thread: one waits in the kernel, the others sleep on a
    /// futex, which has neither signal masks nor CLOCK_BOOTTIME. And where threads wait for
    /// more than one completion, or for different numbers, the kernel loses wake-ups; so there
    /// is no number of completions to wait for, and no least wait.
    ///
    /// # Errors
    ///
    /// As [`Cq::wait`].
    #[cfg(not(ringway_loom))]
    pub fn wait_until(&self, moment: Instant) -> Result<Waited, EnterError> {
        self.wait(Some(moment.saturating_duration_since(Instant::now())))
    }

    /// The next completion, waited for; `None` when the timeout has passed (`None` as the
    /// timeout: no limit). On a ring that threads share it is whichever comes next, of
    /// whichever thread's operation.
    ///
    /// Waits as [`Cq::wait`], and goes on waiting when another thread was faster. On an
    /// IOPOLL ring without anything in flight that is a busy loop.
    ///
    /// # Errors
    ///
    /// As [`Cq::wait`].
    pub fn wait_one(&self, timeout: Option<Duration>) -> Result<Option<Cqe>, EnterError> {
        self.core.wait_one::<Ring>(By::Ring, timeout)
    }

    /// Waits as [`Cq::wait`], reaps as [`Cq::reap_batch`], then lets the next thread
    /// wait: one completion wakes at most two threads, however many wait. 0 means
    /// nothing came: another thread was faster, or the timeout passed.
    ///
    /// # Errors
    ///
    /// As [`Cq::wait`]; nothing was reaped then.
    pub fn wait_reap(
        &self,
        out: &mut [Cqe],
        timeout: Option<Duration>,
    ) -> Result<usize, EnterError> {
        self.core
            .wait(By::Ring, timeout, || self.core.reap_batch::<Ring>(out))
            .map(|(_, count)| count)
    }

    /// Waits like [`Cq::wait_reap`], by one thread that goes on waiting for all while it
    /// reaps at most `keep` completions at a time; see [`Waiter`]. With 0 it hands over each
    /// time, as `wait_reap` does.
    ///
    /// ```
    /// # let ring = ringway::Ring::builder(8).build()?;
    /// # ring.wake(7)?;
    /// let mut waiter = ring.cq().waiter(8);
    /// let mut cqes = [Default::default(); 32];
    /// let count = waiter.wait_reap(&mut cqes, None)?;
    /// assert_eq!(cqes[..count][0].user_data(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn waiter(&self, keep: usize) -> Waiter {
        Waiter::new(self.core.clone(), keep)
    }

    /// The number of CQEs that fit.
    pub fn entries(&self) -> u32 {
        self.core.cq.view.entries()
    }

    /// How many completions lie ready: a snapshot, old when it is read.
    pub fn ready(&self) -> u32 {
        self.core.cq.ready()
    }
}

impl fmt::Debug for Cq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cq")
            .field("entries", &self.entries())
            .field("ready", &self.ready())
            .finish()
    }
}
