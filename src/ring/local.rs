//! The ring of one thread, and the ring that is not running yet.

use super::kernel::{self, By, Enter, Kernel, Real};
use super::wait_args::Wait;
use super::wait_table::WaitTable;
use super::{Batch, Core, EnterError, Ring, Slot, Waited};
use crate::abi::{Cqe, Cqe32, enter, register, setup};
use crate::setup::{Features, Mode, Opened, Probe, SetupError};
use crate::syscall::Errno;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// A ring that belongs to one thread, and may have the setup flags that need that
/// (SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN).
///
/// It has the calls of [`Sq`](super::Sq) and [`Cq`](super::Cq), but for those that are for
/// several threads ([`submit_and_reap`](Ring::submit_and_reap), [`waiter`](super::Cq::waiter);
/// [`waker`](Self::waker) stands for [`wake`](Ring::wake), [`Wait::until`] for
/// [`wait_until`](super::Cq::wait_until)). What it has besides: waits for several completions
/// and with a least wait ([`wait_with`](Self::wait_with)), submitting and waiting in one enter
/// ([`submit_and_wait`](Self::submit_and_wait)), [`reap_iter`](Self::reap_iter).
///
/// It cannot leave its thread, and neither can its slots:
///
/// ```compile_fail
/// let ring = ringway::Ring::builder(8).build_local().unwrap();
/// std::thread::spawn(move || ring.submit());
/// ```
/// ```compile_fail
/// let ring = ringway::Ring::builder(8).build_local().unwrap();
/// let slot = ring.pop().unwrap();
/// std::thread::scope(|scope| { scope.spawn(move || slot.push()); });
/// ```
///
/// Dropping it closes the ring, which does not wait for operations in flight; see
/// [`Ring`].
pub struct Local {
    /// This handle's alone, so that an index of the thread's is given back on it.
    pub(crate) core: Arc<Core>,
    /// After the ring that reads it.
    pub(super) waits: Option<WaitTable>,
    thread: PhantomData<*mut ()>,
}

impl Local {
    pub(super) fn new(core: Core, waits: Option<WaitTable>) -> Self {
        Self {
            core: Arc::new(core.owned()),
            waits,
            thread: PhantomData,
        }
    }

    /// The core, for what looks at the CQ as the kernel does, and so not before what an iterator
    /// has read was given back (rule L3).
    pub(super) fn settled(&self) -> &Core {
        if self.core.cq.is_small() {
            self.core.cq.give_back();
        }
        &self.core
    }

    /// A free SQE, or `None` when all are in use: submit, and pop again. Wait-free; never enters
    /// the kernel.
    #[inline(always)]
    pub fn pop(&self) -> Option<Slot<'_, Local>> {
        let claim = self.core.sq.pop::<Local>()?;
        Some(Slot::new(&self.core, claim))
    }

    /// `len` free SQEs that the kernel will see together and in order; see
    /// [`Sq::pop_batch`](super::Sq::pop_batch).
    #[inline(always)]
    pub fn pop_batch(&self, len: u32) -> Option<Batch<'_, Local>> {
        let claim = self.core.sq.pop_batch::<Local>(len)?;
        Some(Batch::new(&self.core, claim))
    }

    /// Gives everything pushed to the kernel, in one enter; in none if there is nothing.
    ///
    /// # Errors
    ///
    /// Nothing pushed is lost: it stays in the ring for the next submit. See
    /// [`EnterError`].
    #[inline(always)]
    pub fn submit(&self) -> Result<(), EnterError> {
        let core = &*self.core;
        if !core.sq.is_plain() {
            return self.submit_detoured();
        }
        self.submit_to(core.sq.publish_plain() as u32)
    }

    #[cold]
    fn submit_detoured(&self) -> Result<(), EnterError> {
        let core = &*self.core;
        core.check_poison()?;
        let tail = core.sq.publish_local() as u32;
        match core.is_sqpoll {
            true => core.wake_sq_thread(By::Ring),
            false => self.submit_to(tail),
        }
    }

    /// Has the kernel take what is published, up to `tail`.
    #[inline(always)]
    fn submit_to(&self, tail: u32) -> Result<(), EnterError> {
        let core = &*self.core;
        // Exact: nobody else publishes, or enters.
        let to_submit = tail.wrapping_sub(core.sq.view.head_hint());
        if to_submit == 0 {
            return Ok(());
        }
        let request = Enter {
            to_submit,
            ..Enter::default()
        };
        match core.kernel.enter(request) {
            Ok(taken) if taken == to_submit => Ok(()),
            entered => Err(self.left(entered)),
        }
    }

    /// Why not all was taken; a wait tries again (rule E5).
    #[cold]
    fn left(&self, entered: Result<u32, Errno>) -> EnterError {
        self.core.submitter.owe();
        match entered {
            // Requests that could not be allocated are left in the ring.
            Ok(_) => EnterError::Busy,
            Err(errno) => self.core.enter_failed(errno),
        }
    }

    /// Submits, and on an SQPOLL ring whose queue is full sleeps until there is room; see
    /// [`Sq::wait_for_space`](super::Sq::wait_for_space).
    ///
    /// # Errors
    ///
    /// As [`Local::submit`].
    pub fn wait_for_space(&self) -> Result<(), EnterError> {
        self.core.wait_for_space(By::Ring)
    }

    /// Gives everything pushed to the kernel and waits for `want` completions, in one
    /// enter. `want` is cut to the CQ's size by the kernel; 0 does not wait, and runs
    /// what the kernel has deferred to this thread. When it submitted anything, the kernel
    /// says that instead of how the wait ended: [`Waited::TimedOut`] comes only when there
    /// was nothing to submit.
    ///
    /// # Errors
    ///
    /// As [`Local::submit`].
    pub fn submit_and_wait(
        &self,
        want: u32,
        timeout: Option<Duration>,
    ) -> Result<Waited, EnterError> {
        self.submit_and_wait_with(want, Wait::of(timeout))
    }

    /// As [`Local::submit_and_wait`], with everything that a wait may be told. What ended
    /// the wait is known only if there was nothing to submit: reap, and wait again.
    ///
    /// # Errors
    ///
    /// As [`Local::submit`]; [`EnterError::Kernel`] with EINVAL, and nothing submitted, for
    /// what is newer than the kernel: see [`Wait`].
    pub fn submit_and_wait_with(&self, want: u32, wait: Wait) -> Result<Waited, EnterError> {
        self.check(&wait)?;
        self.enter_to_submit(want, |real, request| wait.enter(real, request))
    }

    /// Waits for `want` completions, and for no other end than the wait says. Returns at
    /// once when as many lie ready; on a ring of mixed CQEs it is slots of 16 bytes that
    /// are counted, by the kernel as well. `want` is cut to the CQ's size by the kernel; 0
    /// does not wait, and runs what the kernel has deferred to this thread.
    ///
    /// # Errors
    ///
    /// See [`EnterError`]; [`EnterError::Kernel`] with EINVAL for what is newer than the
    /// kernel: see [`Wait`].
    pub fn wait_with(&self, want: u32, wait: Wait) -> Result<Waited, EnterError> {
        self.check(&wait)?;
        self.enter_to_wait(want, |real, request| wait.enter(real, request))
    }

    /// Before Linux 6.12 the kernel refuses a least wait, but only when there is nothing to
    /// submit.
    fn check(&self, wait: &Wait) -> Result<(), EnterError> {
        match wait.has_min_wait() && !self.features().min_timeout() {
            true => Err(EnterError::Kernel(Errno::from_raw(libc::EINVAL))),
            false => Ok(()),
        }
    }

    /// Submits everything and waits for `want` completions, entering with what `enter`
    /// adds.
    pub(super) fn enter_to_submit(
        &self,
        want: u32,
        enter: impl FnOnce(&Real, Enter) -> Result<u32, Errno>,
    ) -> Result<Waited, EnterError> {
        let core = self.settled();
        core.check_poison()?;
        let tail = core.sq.publish_local() as u32;
        // Exact: after a submit of less than it was asked for, the kernel does not wait.
        let mut request = Enter {
            to_submit: tail.wrapping_sub(core.sq.view.head_hint()),
            min_complete: want,
            flags: enter::GETEVENTS,
            ..Enter::default()
        };
        if core.is_sqpoll {
            request.flags |= core.wakeup_flag();
        }
        let waited = core.waited(enter(self.real()?, request));
        let is_left = !core.is_sqpoll && core.sq.view.head_hint() != tail;
        if is_left {
            core.submitter.owe();
        }
        match waited {
            Ok(Waited::Maybe) if is_left => Err(EnterError::Busy),
            waited => waited,
        }
    }

    /// As `enter_to_submit`, but submits only what an earlier submit had to leave behind.
    pub(super) fn enter_to_wait(
        &self,
        want: u32,
        enter: impl FnOnce(&Real, Enter) -> Result<u32, Errno>,
    ) -> Result<Waited, EnterError> {
        let core = self.settled();
        if want != 0 && core.cq.ready() >= want {
            return Ok(Waited::Maybe);
        }
        core.submit_owed(By::Ring)?;
        core.check_poison()?;
        let request = Enter {
            min_complete: want,
            flags: enter::GETEVENTS,
            ..Enter::default()
        };
        core.waited(enter(self.real()?, request))
    }

    fn real(&self) -> Result<&Real, EnterError> {
        match &self.core.kernel {
            Kernel::Real(real) => Ok(real),
            // There is no simulated local ring.
            #[cfg(feature = "sim")]
            Kernel::Simulated(_) => Err(EnterError::Kernel(Errno::from_raw(libc::ENXIO))),
        }
    }

    /// Waits for one completion, or the timeout; see [`Local::submit_and_wait`], which also
    /// submits.
    ///
    /// # Errors
    ///
    /// See [`EnterError`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Waited, EnterError> {
        self.settled()
            .wait(By::Ring, timeout, || ())
            .map(|(waited, ())| waited)
    }

    /// Waits as [`Local::wait`], then reaps as [`Local::reap_batch`]. 0 if nothing came.
    ///
    /// # Errors
    ///
    /// As [`Local::wait`]; nothing was reaped then.
    pub fn wait_reap(
        &self,
        out: &mut [Cqe],
        timeout: Option<Duration>,
    ) -> Result<usize, EnterError> {
        let reap = || self.core.reap_batch::<Local>(out);
        self.settled()
            .wait(By::Ring, timeout, reap)
            .map(|(_, count)| count)
    }

    /// The next completion, waited for; see [`Cq::wait_one`](super::Cq::wait_one).
    ///
    /// # Errors
    ///
    /// As [`Local::wait`].
    pub fn wait_one(&self, timeout: Option<Duration>) -> Result<Option<Cqe>, EnterError> {
        self.core.wait_one::<Local>(By::Ring, timeout)
    }

    /// The oldest completion, or `None` when there is none. Never blocks.
    ///
    /// Wait-free where one lies ready. Where none does, it enters the kernel for what that holds
    /// back, as do [`reap_batch`](Self::reap_batch) and [`reap_iter`](Self::reap_iter): if the
    /// ring says that there is something; with IOPOLL, and with COOP_TASKRUN or DEFER_TASKRUN
    /// where [`taskrun_flag`](crate::Builder::taskrun_flag) is left out, each time, since it does
    /// not say.
    #[inline(always)]
    pub fn reap(&self) -> Option<Cqe> {
        self.core.reap::<Local>()
    }

    /// The completions that lie ready now (on rings whose CQEs are not all small, also what comes
    /// meanwhile), oldest first, each read where it lies: the fastest
    /// way to take many. Never blocks; may enter as [`reap`](Self::reap) does. Those that are not taken stay. The kernel gets the room
    /// of what was taken when the iterator goes, or with the next call that reaps or waits.
    ///
    /// ```
    /// let ring = ringway::Ring::builder(8).build_local()?;
    /// ring.pop_batch(3).expect("an empty ring has free slots").push();
    /// ring.submit()?;
    /// assert!(ring.reap_iter().all(|cqe| cqe.result() == Ok(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn reap_iter(&self) -> ReapIter<'_> {
        let core = &*self.core;
        let tail = core.cq.view.tail();
        let (tail, is_small) = match core.sq.is_plain() && core.cq.is_before(tail) {
            true => (tail, true),
            false => self.look_again(tail),
        };
        ReapIter {
            core,
            tail,
            taken: core.cq.taken(),
            is_small,
            ring: PhantomData,
        }
    }

    /// Where what is ready ends, and whether all of it is small, if that was not to be had the
    /// short way (rule L4), or nothing was ready.
    #[cold]
    fn look_again(&self, tail: u32) -> (u32, bool) {
        let cq = &self.core.cq;
        let is_small = cq.is_small();
        let is_over = match is_small {
            true => !cq.is_before(tail),
            false => cq.is_empty(),
        };
        match is_over && self.settled().flush() {
            true => (cq.view.tail(), is_small),
            false => (tail, is_small),
        }
    }

    /// Up to `out.len()` completions, oldest first, and their number. Never blocks; may enter as
    /// [`reap`](Self::reap) does.
    #[inline]
    pub fn reap_batch(&self, out: &mut [Cqe]) -> usize {
        self.core.reap_batch::<Local>(out)
    }

    /// The oldest completion with its second 16 bytes; see
    /// [`Cq::reap_big`](super::Cq::reap_big).
    pub fn reap_big(&self) -> Option<Cqe32> {
        match self.core.cq.is_small() {
            true => self.reap().map(|cqe| Cqe32 { cqe, extra: [0; 2] }),
            false => self.core.reap_big(),
        }
    }

    /// A handle by which any thread makes this one's wait return; `None` for a ring that
    /// has no descriptor (REGISTERED_FD_ONLY), which other threads cannot name.
    pub fn waker(&self) -> Option<Waker> {
        let fd = self.core.ring_fd()?.shared()?.clone();
        Some(Waker { fd })
    }

    /// Entries of the submission queue.
    pub fn sq_entries(&self) -> u32 {
        self.core.sq.view.entries()
    }

    /// Entries of the completion queue.
    pub fn cq_entries(&self) -> u32 {
        self.core.cq.view.entries()
    }

    /// How many SQEs are not free.
    pub fn in_use(&self) -> u32 {
        self.core.sq.in_use()
    }

    /// How many completions lie ready.
    pub fn ready(&self) -> u32 {
        self.settled().cq.ready()
    }

    /// See [`Ring::sq_dropped`].
    pub fn sq_dropped(&self) -> u32 {
        self.core.sq.view.dropped()
    }

    /// See [`Ring::cq_overflow`].
    pub fn cq_overflow(&self) -> u32 {
        self.core.cq.view.overflow()
    }

    /// What the kernel said it can do.
    pub fn features(&self) -> Features {
        self.core.features()
    }

    /// Asks the kernel which opcodes it has; see [`Ring::probe`].
    ///
    /// # Errors
    ///
    /// See [`Ring::probe`].
    pub fn probe(&self) -> Result<Probe, Errno> {
        self.core.probe()
    }

    /// The ring's descriptor; `None` if it has only a registered index
    /// (REGISTERED_FD_ONLY).
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.core.fd()
    }
}

/// See [`Local::reap_iter`]. It stays on the ring's thread:
///
/// ```compile_fail,E0277
/// let ring = ringway::Ring::builder(8).build_local().unwrap();
/// let cqes = ring.reap_iter();
/// std::thread::scope(|scope| { scope.spawn(move || cqes.count()); });
/// ```
#[must_use = "completions are taken as the iterator is asked for them"]
pub struct ReapIter<'r> {
    core: &'r Core,
    /// Where what was ready ends, on a ring whose CQEs are all small.
    tail: u32,
    /// How far it was read.
    taken: u32,
    is_small: bool,
    /// It is at the queue of one thread (rule L1).
    ring: PhantomData<&'r Local>,
}

impl ReapIter<'_> {
    #[cold]
    fn next_sized(&self) -> Option<Cqe> {
        self.core.cq.pop::<Local>()
    }
}

impl Iterator for ReapIter<'_> {
    type Item = Cqe;

    #[inline(always)]
    fn next(&mut self) -> Option<Cqe> {
        match self.is_small {
            true => self.core.cq.take_until(self.tail, &mut self.taken),
            false => self.next_sized(),
        }
    }
}

impl Drop for ReapIter<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_small {
            self.core.cq.give_back();
        }
    }
}

impl fmt::Debug for ReapIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReapIter").finish_non_exhaustive()
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("sq_entries", &self.sq_entries())
            .field("cq_entries", &self.cq_entries())
            .finish_non_exhaustive()
    }
}

/// Wakes the thread of a [`Local`] ring, from any thread.
///
/// It has the ring's descriptor and nothing else: not the memory, nor an index that the
/// ring's thread enters by. The ring stays open as long as it has wakers.
#[derive(Clone)]
pub struct Waker {
    fd: Arc<OwnedFd>,
}

impl Waker {
    /// Posts a completion with this `user_data` on the ring. Linux 6.13.
    ///
    /// # Errors
    ///
    /// [`EnterError::Kernel`] with EINVAL before Linux 6.13; [`EnterError::Busy`] when the
    /// kernel has no memory, and with IOPOLL also while another thread is at the ring.
    pub fn wake(&self, user_data: u64) -> Result<(), EnterError> {
        kernel::post(self.fd.as_fd(), user_data).map_err(EnterError::of)
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

/// A ring that does not run yet (R_DISABLED): it can be sent to the thread that will
/// own it, but takes no operations. A ring that cannot be enabled is closed.
#[must_use = "a disabled ring does nothing until it is enabled"]
pub struct Disabled {
    pub(crate) opened: Opened,
    pub(crate) waits: Option<WaitTable>,
}

impl Disabled {
    pub(super) fn new(opened: Opened) -> Self {
        let waits = None;
        Self { opened, waits }
    }

    /// Starts the ring as one that threads share.
    ///
    /// # Errors
    ///
    /// [`SetupError::Refused`] if it was built with a flag that a shared ring cannot
    /// have; otherwise what `IORING_REGISTER_ENABLE_RINGS` says.
    pub fn enable(self) -> Result<Ring, SetupError> {
        self.opened.check(Mode::Shared)?;
        start(self.opened).map(Ring::new)
    }

    /// Starts the ring as the calling thread's own: with SINGLE_ISSUER, that thread is
    /// the issuer.
    ///
    /// # Errors
    ///
    /// What `IORING_REGISTER_ENABLE_RINGS` says;
    /// [`RegisteredRingsFull`](SetupError::RegisteredRingsFull) and
    /// [`RegisterRingFd`](SetupError::RegisterRingFd) if it was built to be entered by an
    /// index.
    pub fn enable_local(self) -> Result<Local, SetupError> {
        // Before restrictions come into force, which may forbid it.
        let core = start(self.opened.on_its_thread()?)?;
        Ok(Local::new(core, self.waits))
    }

    /// The ring as it is, for handles of a ring that one thread is yet to enable, and to
    /// enter alone. `None` if that thread is to enter it by an index, or to wait by a table,
    /// if it is a legacy one, or if an SQ thread submits.
    pub(crate) fn unstarted(self) -> Option<Ring> {
        let is_legacy = self.opened.params.flags & setup::SUBMIT_ALL == 0;
        let is_sqpoll = self.opened.params.flags & setup::SQPOLL != 0;
        let by_index = self.opened.registers_fd || self.waits.is_some();
        let is_plain = !(by_index || is_legacy || is_sqpoll);
        is_plain.then(|| Ring::new(Core::open(self.opened)))
    }
}

fn start(opened: Opened) -> Result<Core, SetupError> {
    // SAFETY: ENABLE_RINGS takes no argument.
    let enabled = unsafe { (opened.fd).register(register::ENABLE_RINGS, std::ptr::null_mut(), 0) };
    enabled.map_err(SetupError::Enable)?;
    Ok(Core::open(opened))
}

impl fmt::Debug for Disabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disabled").finish_non_exhaustive()
    }
}
