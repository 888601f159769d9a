//! Entering the kernel to submit, once for everybody. Rules E1 to E8 of [`super`].

use super::edges;
use super::index::extend;
use super::kernel::{By, Enter};
use super::sq::Read;
#[cfg(not(ringway_loom))]
use super::sq::local::detour;
use super::{Core, EnterError, Ring};
use crate::abi::{Cqe, enter, sq_flags};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use crate::sync::{Hint, Tally, UnsafeCell, reached};
use crate::syscall::Errno;
use crossbeam_utils::CachePadded;
use std::hint::spin_loop;

/// Passes that a holder makes when it has given its role away: two, since the first may
/// not have published everything.
const PASSES_LEFT: u32 = 2;

/// How often a new holder looks whether the last pass of the one before is over.
const GIVE_WAY: u32 = 1024;

/// How often it looks after that whether the one before has come back.
const COME_BACK: u32 = 32;

/// Nobody has the submitter's role.
const FREE: u32 = 0;
/// Somebody has it.
const HELD: u32 = 1;
/// Somebody has it, and waits for another to take it.
const OFFERED: u32 = 2;

/// Who submits.
pub(crate) struct Submitter {
    role: AtomicU32,
    /// The kernel refused SQEs that still lie in the ring.
    is_owed: AtomicBool,
    /// The kernel lost a completion: this ring can no longer be relied on.
    poisoned: AtomicBool,
    /// Who has given the role away is in its last pass.
    is_late: Hint,
    /// What the holder writes in each pass; all else is read by everybody who submits.
    held: CachePadded<Held>,
    /// Enters by others.
    pub(super) late_enters: Tally,
    /// Enters for completions that the kernel held back.
    pub(crate) flushes: Tally,
}

struct Held {
    /// The tail, as the last holder to publish left it.
    walked: UnsafeCell<u64>,
    enters: Tally,
}

// SAFETY: `walked` is the holder's alone; the role passes it on (`ROLE_FREED`).
unsafe impl Sync for Held {}

impl Submitter {
    pub(crate) fn enters(&self) -> u64 {
        self.held.enters.get() + self.late_enters.get()
    }

    /// An enter by the holder.
    #[inline(always)]
    fn count_in_turn(&self) {
        self.held.enters.add_in_turn(1);
    }

    /// For a queue whose tail is `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self {
            role: AtomicU32::new(FREE),
            is_owed: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            is_late: Hint::default(),
            held: CachePadded::new(Held {
                walked: UnsafeCell::new(start),
                enters: Tally::default(),
            }),
            late_enters: Tally::default(),
            flushes: Tally::default(),
        }
    }

    /// Takes the role, or leaves what the caller has pushed, or seen pushed, to who has it
    /// (rule E1). Lock-free: tried again only when another took the role.
    #[inline(always)]
    fn ask(&self) -> Option<Role<'_>> {
        // Ordering: Relaxed; the CAS or the fence decides.
        let role = || self.role.load(Relaxed);
        let mut seen = role();
        while seen == HELD || !self.take(seen) {
            // Ordering: SeqCst, see `SUBMIT_ASKED`.
            edges::SUBMIT_ASKED.fence();
            seen = role();
            if seen == HELD {
                return None;
            }
        }
        match seen {
            FREE => self.give_way(Role(self)),
            _ => Some(Role(self)),
        }
    }

    /// From free, or offered.
    #[inline(always)]
    fn take(&self, from: u32) -> bool {
        // Ordering: Acquire, see `ROLE_TAKEN`. Relaxed on failure: somebody else has it.
        let taken = edges::ROLE_TAKEN.order();
        let before = self.role.compare_exchange(from, HELD, taken, Relaxed);
        before.is_ok()
    }

    /// Whether a new holder goes on, or another has taken its place.
    ///
    /// Two threads inside io_uring_enter make the kernel slower than one after the other, and
    /// so does another CPU than before. So while who had the role is in its last pass, and
    /// for a moment after, whoever submits may have it. For a moment only: the other may not
    /// be running, or have nothing more to do.
    #[inline(always)]
    fn give_way<'s>(&self, role: Role<'s>) -> Option<Role<'s>> {
        match self.is_late.get() {
            false => Some(role),
            true => self.offer(role),
        }
    }

    #[cold]
    fn offer<'s>(&self, role: Role<'s>) -> Option<Role<'s>> {
        // Ordering: Release, see `ROLE_FREED`: who takes it has the caller's stamps as well.
        self.role.store(OFFERED, edges::ROLE_FREED.order());
        let mut late = if cfg!(ringway_loom) { 0 } else { GIVE_WAY };
        let mut after = if cfg!(ringway_loom) { 1 } else { COME_BACK };
        // Ordering: Relaxed; the end of the offer decides.
        while after > 0 && self.role.load(Relaxed) == OFFERED {
            match late > 0 && self.is_late.get() {
                true => late -= 1,
                false => after -= 1,
            }
            spin_loop();
        }
        if !edges::broken("OFFER_LEFT") && self.take(OFFERED) {
            reached("offer withdrawn");
            return Some(role);
        }
        reached("offer taken");
        std::mem::forget(role);
        None
    }

    #[inline(always)]
    fn free(&self) {
        // Ordering: Release, see `ROLE_FREED`.
        self.role.store(FREE, edges::ROLE_FREED.order());
    }

    pub(super) fn owe(&self) {
        // Ordering: Release, see `SUBMIT_OWED`.
        self.is_owed.store(true, edges::SUBMIT_OWED.order());
    }

    /// Takes the debt over, for a pass: if that is refused as well, it owes anew.
    #[inline(always)]
    fn pay(&self) {
        if self.owes() {
            // Ordering: Acquire, see `DEBT_TAKEN`.
            self.is_owed.swap(false, edges::DEBT_TAKEN.order());
        }
    }

    /// Whether an earlier submit had to leave something behind.
    #[inline(always)]
    pub(crate) fn owes(&self) -> bool {
        // Ordering: Relaxed; `DEBT_TAKEN` acquires what was refused, and between who sees it and
        // who gives the role up there are the fences of `SUBMIT_ASKED`.
        self.is_owed.load(Relaxed)
    }
}

/// The submitter's role. Lost to an error or a panic (a simulated kernel runs the user's
/// code), it leaves a debt behind, so that others go on.
struct Role<'s>(&'s Submitter);

impl Role<'_> {
    /// Gives it up. What was left to its holder is seen by whoever has done so.
    #[inline(always)]
    fn give_up(self) {
        self.0.free();
        // Ordering: SeqCst, see `SUBMIT_LEFT`.
        edges::SUBMIT_LEFT.fence();
        std::mem::forget(self);
    }

    #[inline(always)]
    fn walked(&self) -> u64 {
        // SAFETY: the role is ours.
        self.0.held.walked.with_mut(|walked| unsafe { *walked })
    }

    #[inline(always)]
    fn set_walked(&self, to: u64) {
        // SAFETY: the role is ours.
        self.0
            .held
            .walked
            .with_mut(|walked| unsafe { *walked = to });
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        self.0.owe();
        self.0.free();
    }
}

/// A pass of who has given the role up. Lost to an error or a panic, as the role, it leaves a
/// debt behind.
struct Late<'s>(&'s Submitter);

impl Late<'_> {
    fn owes_nothing(self) {
        std::mem::forget(self);
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.0.owe();
        self.0.is_late.set(false);
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
        let Some(role) = self.submitter.ask() else {
            return Ok(());
        };
        if self.max_passes <= PASSES_LEFT {
            // There is no other pass to move it, and a tail is told from it within 2^31.
            role.set_walked(extend(self.sq.view.tail(), role.walked()));
            return self.serve(by, role, self.max_passes, then);
        }
        match self.pass(by, &role, Read::Here) {
            Ok(()) => then(),
            Err(EnterError::Interrupted) => {
                return self.serve(by, role, self.max_passes - 1, then);
            }
            Err(error) => return Err(self.fail(role, error)),
        }
        if self.sq.is_ready(role.walked()) {
            return self.serve(by, role, self.max_passes - 1, then);
        }
        match self.leave(role) {
            Some(again) => self.serve(by, again, self.max_passes - 1, then),
            None => Ok(()),
        }
    }

    /// Gives the role up, unless there is more to do that nobody else has seen to.
    #[inline(always)]
    fn leave<'s>(&'s self, role: Role<'s>) -> Option<Role<'s>> {
        let walked = role.walked();
        role.give_up();
        self.ask_for_more(walked)
    }

    /// The role, if there is more to do, and nobody has it.
    #[inline(always)]
    fn ask_for_more(&self, tail: u64) -> Option<Role<'_>> {
        let is_more = self.sq.is_more(tail) && !edges::broken("LEAVE_BLINDLY");
        let is_owed = self.submitter.owes();
        if !(is_more || is_owed) {
            return None;
        }
        let again = self.submitter.ask();
        if again.is_none() {
            reached("rest left to another");
        }
        again
    }

    /// Goes on as the holder, while there is something to do and passes are left.
    #[inline(never)]
    fn serve<'s>(
        &'s self,
        by: By,
        mut role: Role<'s>,
        mut passes: u32,
        mut then: impl FnMut(),
    ) -> Result<(), EnterError> {
        while passes > PASSES_LEFT {
            passes -= 1;
            reached("asked again");
            match self.pass(by, &role, Read::Elsewhere) {
                Ok(()) => then(),
                Err(EnterError::Interrupted) => continue,
                Err(error) => return Err(self.fail(role, error)),
            }
            if self.sq.is_ready(role.walked()) {
                continue;
            }
            match self.leave(role) {
                Some(again) => role = again,
                None => return Ok(()),
            }
        }
        // The role goes before the last pass, or the last two: what was left to it until then
        // is served by them, who comes later finds it free (rule E2).
        loop {
            passes -= 1;
            reached("last pass");
            let walked = role.walked();
            role.give_up();
            let late = Late(&self.submitter);
            let (tail, passed) = self.late_pass(by, walked, passes == 0);
            let again = match passed {
                Ok(()) => {
                    then();
                    late.owes_nothing();
                    if passes == 0 {
                        return Ok(());
                    }
                    self.ask_for_more(tail)
                }
                Err(EnterError::Interrupted) if passes > 0 => {
                    late.owes_nothing();
                    self.submitter.ask()
                }
                Err(error) => {
                    match edges::broken("LAST_PASS_FORGETS") {
                        true => late.owes_nothing(),
                        false => drop(late),
                    }
                    self.sq.is_more(tail);
                    return Err(error);
                }
            };
            match again {
                Some(again) => role = again,
                None => return Ok(()),
            }
            reached("cut at the end");
        }
    }

    /// What the holder leaves when the kernel refuses: a debt, and gaps to who fills them.
    #[cold]
    fn fail(&self, role: Role<'_>, error: EnterError) -> EnterError {
        let walked = role.walked();
        drop(role);
        // Ordering: SeqCst, see `SUBMIT_LEFT`.
        edges::SUBMIT_LEFT.fence();
        self.sq.is_more(walked);
        error
    }

    /// Publishes, up to half the ring, and enters the kernel if that is needed for it to see.
    #[inline(always)]
    fn pass(&self, by: By, role: &Role<'_>, read: Read) -> Result<(), EnterError> {
        self.submitter.pay();
        let tail = self.sq.publish(role.walked(), self.sq.half(), read);
        role.set_walked(tail);
        self.enter_published(by, tail as u32, Submitter::count_in_turn)
    }

    /// As `pass`, by who has just given the role away; the last of everything. Also says where
    /// the tail is.
    fn late_pass(&self, by: By, walked: u64, is_last: bool) -> (u64, Result<(), EnterError>) {
        self.submitter.is_late.set(true);
        self.submitter.pay();
        let tail = match is_last {
            true => self.sq.publish_all(),
            false => self.sq.publish(walked, self.sq.half(), Read::Elsewhere),
        };
        let count = |submitter: &Submitter| submitter.late_enters.add(1);
        let passed = self.enter_published(by, tail as u32, count);
        self.submitter.is_late.set(false);
        (tail, passed)
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
                if count == 0 || count < cqes.len() {
                    break;
                }
                left = left.saturating_sub(count);
            }
        })
    }

    /// Submits what an earlier submit had to leave behind, if any.
    pub(crate) fn submit_owed(&self, by: By) -> Result<(), EnterError> {
        match self.submitter.owes() {
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

    /// Enters the kernel if that is needed for it to see what is published up to `tail`.
    #[inline(always)]
    pub(super) fn enter_published(
        &self,
        by: By,
        tail: u32,
        count: impl FnOnce(&Submitter),
    ) -> Result<(), EnterError> {
        if self.is_sqpoll {
            return self.wake_sq_thread(by);
        }
        if self.sq.view.head_hint() == tail {
            return Ok(());
        }
        count(&self.submitter);
        let all = Enter { by, ..self.all() };
        if let Err(errno) = self.kernel.enter(all) {
            return Err(self.enter_failed(errno));
        }
        // Requests that could not be allocated are left in the ring, without an error
        // when some before them could.
        match tail.wrapping_sub(self.sq.view.head_hint()) as i32 {
            left if left > 0 && !edges::broken("LEFT_IS_DONE") => Err(EnterError::Busy),
            _ => Ok(()),
        }
    }

    /// Enters only if the SQ thread sleeps.
    #[cold]
    pub(super) fn wake_sq_thread(&self, by: By) -> Result<(), EnterError> {
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
        #[cfg(not(ringway_loom))]
        self.sq.detour(detour::POISONED);
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

#[cfg(all(test, not(ringway_loom)))]
mod tests {
    use super::*;

    /// How far the tail was moved is known to the next holder, however few passes there are.
    #[test]
    fn every_holder_knows_how_far_the_tail_is() {
        for passes in 1..=8 {
            let ring = Ring::builder(8).max_passes(passes).build().expect("a ring");
            for _ in 0..3 {
                ring.sq().pop().expect("a free slot").push();
                ring.submit().expect("submit");
            }
            ring.submit().expect("submit");
            let role = ring.core.submitter.ask().expect("nobody submits");
            assert_eq!(role.walked(), 3, "{passes} passes");
            role.give_up();
        }
    }
}
