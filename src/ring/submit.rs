//! Entering the kernel to submit, once for everybody. Rules E1 to E4 of [`super`].

use super::edges;
use super::kernel::{By, Enter};
use super::sq::Published;
use super::{Core, Ring};
use crate::abi::{Cqe, enter, sq_flags};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sync::{Tally, reached};
use crate::syscall::Errno;
use std::fmt;
use std::hint::spin_loop;

/// Passes that a holder makes when it has given its role away: two, since the first may
/// not have published everything.
const PASSES_LEFT: u32 = 2;

/// How often a new holder looks whether the last pass of the one before is over.
const GIVE_WAY: u32 = 1024;

/// How often it looks after that whether the one before has come back.
const COME_BACK: u32 = 32;

/// Set in the requests when the kernel refused SQEs that still lie in the ring.
const OWED: u64 = 1 << 63;

/// Set in the requests while the holder waits for another to take its place.
const OFFERED: u64 = 1 << 62;

/// Who submits. `requests` counts the submits asked for since nobody was at it:
/// 0 is idle, otherwise there is one holder, who may offer its role, and OWED may be set in
/// any state.
pub(crate) struct Submitter {
    requests: AtomicU64,
    /// The kernel lost a completion: this ring can no longer be relied on.
    poisoned: AtomicBool,
    /// Who has given the role away is in its last pass.
    is_late: AtomicBool,
    /// Enters by who held the role, and by others.
    enters: Tally,
    pub(super) late_enters: Tally,
    /// Enters for completions that the kernel held back.
    pub(crate) flushes: Tally,
}

impl Submitter {
    pub(crate) fn enters(&self) -> u64 {
        self.enters.get() + self.late_enters.get()
    }

    pub(crate) fn new() -> Self {
        Self {
            requests: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            is_late: AtomicBool::new(false),
            enters: Tally::default(),
            late_enters: Tally::default(),
            flushes: Tally::default(),
        }
    }
}

/// Whose a pass is.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    /// The holder's.
    Held,
    /// Of one that has just given the role away.
    Given,
    /// As `Given`, and it makes no other.
    Last,
    /// Of the one thread of a local ring, which models do not have.
    #[cfg_attr(ringway_loom, allow(dead_code))]
    Own,
}

/// Why entering the kernel failed. The result of an operation is never here: it
/// comes in its CQE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnterError {
    /// The kernel has no memory or no room for requests now (EAGAIN, EBUSY, ENOMEM).
    /// Everything pushed is still in the ring, in order: reap completions, then
    /// submit or wait again.
    Busy,
    /// A signal came at each attempt (EINTR). Everything pushed is still in the ring:
    /// submit again.
    Interrupted,
    /// The ring belongs to another thread (EEXIST: SINGLE_ISSUER). Enter it from there.
    WrongThread,
    /// The kernel's SQ thread has died (EOWNERDEAD). What it had not taken will not
    /// run: make a new ring.
    SqThreadDead,
    /// The kernel ran out of memory and lost at least one completion (EBADR). Some
    /// operation will never be heard of again, and its buffers must never be reused:
    /// make a new ring.
    CompletionLost,
    /// Another error of `io_uring_enter(2)`.
    Kernel(Errno),
}

impl EnterError {
    pub(super) fn of(errno: Errno) -> Self {
        match errno.raw() {
            libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::EOVERFLOW => Self::Busy,
            libc::EINTR => Self::Interrupted,
            libc::EEXIST => Self::WrongThread,
            libc::EOWNERDEAD => Self::SqThreadDead,
            libc::EBADR => Self::CompletionLost,
            _ => Self::Kernel(errno),
        }
    }
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => {
                f.write_str("the kernel is out of room: reap completions, then submit again")
            }
            Self::Interrupted => f.write_str("interrupted by signals: submit again"),
            Self::WrongThread => {
                f.write_str("the ring may be entered only by the thread it belongs to")
            }
            Self::SqThreadDead => f.write_str("the kernel's SQ thread has died: make a new ring"),
            Self::CompletionLost => f.write_str(
                "the kernel lost a completion: make a new ring, never reuse the buffers in flight",
            ),
            Self::Kernel(errno) => write!(f, "io_uring_enter failed: {errno}"),
        }
    }
}

impl std::error::Error for EnterError {}

impl From<EnterError> for std::io::Error {
    fn from(error: EnterError) -> Self {
        std::io::Error::other(error)
    }
}

/// The holder's role. Lost in a panic (a simulated kernel runs the user's code), it
/// leaves the debt behind, so that others go on.
struct Role<'s>(&'s AtomicU64);

impl Drop for Role<'_> {
    fn drop(&mut self) {
        // Ordering: Release, see `SUBMIT_OWED`. The requests that came meanwhile are
        // owed as well.
        self.0.swap(OWED, edges::SUBMIT_OWED.order());
    }
}

impl Core {
    /// As [`Core::submit_by`], by the ring's own name.
    #[inline(always)]
    pub(crate) fn submit(&self) -> Result<(), EnterError> {
        self.submit_by(By::Ring)
    }

    /// Submits everything that is ready, or leaves it to the thread that is at it.
    #[inline(always)]
    pub(crate) fn submit_by(&self, by: By) -> Result<(), EnterError> {
        self.submit_then(by, || ())
    }

    /// As [`Core::submit_by`]; the holder runs `then` after each pass.
    #[inline(always)]
    fn submit_then(&self, by: By, mut then: impl FnMut()) -> Result<(), EnterError> {
        self.check_poison()?;
        let requests = &self.submitter.requests;
        // Ordering: AcqRel, see `SUBMIT_REQUEST`.
        let before = requests.fetch_add(1, edges::SUBMIT_REQUEST.order());
        let is_holder = match before & !OWED {
            0 => true,
            busy => busy & OFFERED != 0 && self.take_offer(),
        };
        if !(is_holder && self.give_way()) {
            return Ok(());
        }
        let mut seen = (before + 1) & !OFFERED;
        let role = Role(requests);
        let mut passes = self.max_passes;
        while passes > PASSES_LEFT {
            passes -= 1;
            match self.pass(by, Turn::Held) {
                Ok(published) => {
                    then();
                    if published.is_cut {
                        reached("cut");
                        continue;
                    }
                }
                Err(EnterError::Interrupted) => continue,
                Err(error) => return Err(error),
            }
            if edges::broken("LEAVE_BLINDLY") {
                requests.store(0, Relaxed);
                std::mem::forget(role);
                return Ok(());
            }
            // Ordering: Relaxed: what was asked for is done, there is nothing to pass on.
            // Acquire on failure, see `SUBMIT_AGAIN`.
            let leave = requests.compare_exchange(seen, 0, Relaxed, edges::SUBMIT_AGAIN.order());
            match leave {
                Ok(_) => {
                    std::mem::forget(role);
                    return Ok(());
                }
                Err(now) => {
                    reached("asked again");
                    seen = now;
                }
            }
        }
        std::mem::forget(role);
        self.pass_and_leave(by, passes, then)
    }

    /// The last pass of a submit, or the last two: the role goes before. Requests until then
    /// are served by it, later ones find a free role (rule E2).
    #[cold]
    fn pass_and_leave(
        &self,
        by: By,
        mut passes: u32,
        mut then: impl FnMut(),
    ) -> Result<(), EnterError> {
        let requests = &self.submitter.requests;
        loop {
            passes -= 1;
            reached("last pass");
            // Ordering: Acquire, see `SUBMIT_LAST`.
            requests.swap(0, edges::SUBMIT_LAST.order());
            let turn = if passes == 0 { Turn::Last } else { Turn::Given };
            let is_cut = match self.late_pass(by, turn) {
                Ok(published) => published.is_cut,
                Err(EnterError::Interrupted) if passes > 0 => true,
                Err(error) => {
                    if !edges::broken("LAST_PASS_FORGETS") {
                        // Ordering: Release, see `SUBMIT_OWED`. Not a swap: there may be a
                        // holder.
                        requests.fetch_or(OWED, edges::SUBMIT_OWED.order());
                    }
                    return Err(error);
                }
            };
            // The rest is for who has the role now, or for nobody else.
            // Ordering: AcqRel, see `SUBMIT_REQUEST`.
            let rest = || requests.fetch_add(1, edges::SUBMIT_REQUEST.order()) & !OWED == 0;
            let role = (is_cut && rest()).then(|| Role(requests));
            then();
            let Some(role) = role else {
                reached(if is_cut {
                    "rest left to another"
                } else {
                    "all published"
                });
                return Ok(());
            };
            std::mem::forget(role);
            reached("cut at the end");
        }
    }

    fn late_pass(&self, by: By, turn: Turn) -> Result<Published, EnterError> {
        let is_late = &self.submitter.is_late;
        // Ordering: Relaxed; a hint, also when it comes late.
        is_late.store(true, Relaxed);
        let passed = self.pass(by, turn);
        // Ordering: Relaxed; as above.
        is_late.store(false, Relaxed);
        passed
    }

    /// Whether a new holder goes on, or another has taken its place.
    ///
    /// Two threads inside io_uring_enter make the kernel slower than one after the other, and
    /// so does another CPU than before. So while who had the role is in its last pass, and
    /// for a moment after, whoever submits may have it. For a moment only: the other may not
    /// be running, or have nothing more to do.
    #[inline(always)]
    fn give_way(&self) -> bool {
        // Ordering: Relaxed; a hint.
        !self.submitter.is_late.load(Relaxed) || self.offer()
    }

    #[cold]
    fn offer(&self) -> bool {
        let Submitter {
            requests, is_late, ..
        } = &*self.submitter;
        // Ordering: Relaxed; what was asked for stays in the requests, for who takes them.
        requests.fetch_or(OFFERED, Relaxed);
        let mut late = if cfg!(ringway_loom) { 0 } else { GIVE_WAY };
        let mut after = if cfg!(ringway_loom) { 1 } else { COME_BACK };
        while after > 0 {
            // Ordering: Relaxed; the end of the offer decides.
            if requests.load(Relaxed) & OFFERED == 0 {
                reached("offer taken");
                return false;
            }
            // Ordering: Relaxed; a hint.
            match late > 0 && is_late.load(Relaxed) {
                true => late -= 1,
                false => after -= 1,
            }
            spin_loop();
        }
        reached("offer withdrawn");
        !edges::broken("OFFER_LEFT") && self.take_offer()
    }

    /// Ends an offer, by who made it or by another: whoever does has the role.
    #[cold]
    fn take_offer(&self) -> bool {
        // Ordering: Relaxed; the caller's own request has acquired what was asked for before
        // it, and what came since lets it not leave, see `SUBMIT_AGAIN`.
        self.submitter.requests.fetch_and(!OFFERED, Relaxed) & OFFERED != 0
    }

    /// Submits; the holder also reaps, after each pass.
    #[inline(always)]
    pub(super) fn submit_and_reap(
        &self,
        cqes: &mut [Cqe],
        mut handle: impl FnMut(&[Cqe]),
    ) -> Result<(), EnterError> {
        self.submit_then(By::Ring, || {
            // No more than the queue holds: completions may go on coming.
            let mut left = self.cq.view.entries() as usize;
            while left > 0 {
                let count = self.reap_batch::<Ring>(cqes);
                if count > 0 {
                    handle(&cqes[..count]);
                }
                match count == cqes.len() {
                    true => left = left.saturating_sub(count.max(1)),
                    false => break,
                }
            }
        })
    }

    /// Whether an earlier submit had to leave something behind.
    #[inline(always)]
    pub(crate) fn owes(&self) -> bool {
        // Ordering: Relaxed; the submit acquires what is behind it.
        self.submitter.requests.load(Relaxed) & OWED != 0
    }

    /// Submits what an earlier submit had to leave behind, if any.
    pub(crate) fn submit_owed(&self, by: By) -> Result<(), EnterError> {
        match self.owes() {
            false => Ok(()),
            true => self.submit_by(by),
        }
    }

    /// SQPOLL: sleeps until the SQ thread has taken something from a full queue.
    pub(crate) fn wait_for_space(&self, by: By) -> Result<(), EnterError> {
        self.submit_by(by)?;
        if !self.is_sqpoll {
            return Ok(());
        }
        let request = Enter {
            flags: enter::SQ_WAIT,
            by,
            ..Enter::default()
        };
        match self.enter(request) {
            Ok(_) | Err(EnterError::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Publishes, and enters the kernel if that is needed for it to see.
    #[inline(always)]
    pub(crate) fn pass(&self, by: By, turn: Turn) -> Result<Published, EnterError> {
        let published = self.sq.publish(match turn {
            Turn::Held | Turn::Given => Some(self.sq.half()),
            Turn::Last | Turn::Own => None,
        });
        self.enter_published(by, turn, published)
    }

    #[inline(always)]
    pub(super) fn enter_published(
        &self,
        by: By,
        turn: Turn,
        published: Published,
    ) -> Result<Published, EnterError> {
        if self.is_sqpoll {
            return self.wake_sq_thread(by).map(|()| published);
        }
        let tail = published.tail;
        if self.sq.view.head_hint() == tail {
            return Ok(published);
        }
        match turn {
            Turn::Held | Turn::Own => self.submitter.enters.add_in_turn(1),
            Turn::Given | Turn::Last => self.submitter.late_enters.add(1),
        }
        let all = Enter { by, ..self.all() };
        if let Err(errno) = self.kernel.enter(all) {
            return Err(self.enter_failed(errno));
        }
        // Requests that could not be allocated are left in the ring, without an error
        // when some before them could.
        match tail.wrapping_sub(self.sq.view.head_hint()) as i32 {
            left if left > 0 && !edges::broken("LEFT_IS_DONE") => Err(EnterError::Busy),
            _ => Ok(published),
        }
    }

    /// Enters only if the SQ thread sleeps.
    #[inline(never)]
    fn wake_sq_thread(&self, by: By) -> Result<(), EnterError> {
        match self.wakeup_flag() {
            0 => Ok(()),
            flags => {
                let all = Enter { by, ..self.all() };
                self.enter(Enter { flags, ..all }).map(|_| ())
            }
        }
    }

    /// SQ_WAKEUP if the SQ thread sleeps, or is about to. For the thread that has just
    /// moved the tail (rule E4).
    pub(super) fn wakeup_flag(&self) -> u32 {
        // Ordering: SeqCst, see `SQPOLL_FENCE`: either the SQ thread sees the tail before
        // it sleeps, or its flag is seen here.
        edges::SQPOLL_FENCE.fence();
        match self.sq.view.flags() & sq_flags::NEED_WAKEUP {
            0 => 0,
            _ => enter::SQ_WAKEUP,
        }
    }

    /// Everything in the ring, whoever published it: a smaller number could end inside
    /// somebody's chain of links (rule E3).
    #[inline(always)]
    pub(crate) fn all(&self) -> Enter {
        let to_submit = match edges::broken("COUNTED_SUBMIT") {
            true => self.sq.view.tail().wrapping_sub(self.sq.view.head_hint()),
            false => self.sq.view.entries(),
        };
        Enter {
            to_submit,
            ..Enter::default()
        }
    }

    #[inline(always)]
    pub(crate) fn enter(&self, request: Enter) -> Result<u32, EnterError> {
        self.submitter.late_enters.add(1);
        self.kernel
            .enter(request)
            .map_err(|errno| self.enter_failed(errno))
    }

    #[cold]
    pub(super) fn enter_failed(&self, errno: Errno) -> EnterError {
        let error = EnterError::of(errno);
        if error == EnterError::CompletionLost {
            self.poison();
        }
        error
    }

    pub(super) fn poison(&self) {
        // Ordering: Relaxed; a flag that stands for itself.
        self.submitter.poisoned.store(true, Relaxed);
    }

    pub(crate) fn check_poison(&self) -> Result<(), EnterError> {
        // Ordering: Relaxed; a flag that stands for itself.
        if self.submitter.poisoned.load(Relaxed) {
            return poisoned();
        }
        Ok(())
    }
}

/// Out of the way of those who are not.
#[cold]
fn poisoned() -> Result<(), EnterError> {
    Err(EnterError::CompletionLost)
}
