//! Who enters the kernel, and when it is worth it.

use super::edges;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sync::{Deadline, Futex, reached};
use std::time::Duration;

/// When a dedicated submitter enters the kernel.
///
/// It enters for everything that was pushed, so while it is in the kernel the next batch
/// gathers by itself: the default, which waits for nothing, is right unless entering costs
/// more than the delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// SQEs that are worth an enter; 1 unless said otherwise, and 0 is as 1. Without a `delay`
    /// it means nothing. A number that the SQ has no room for is never reached; then the delay
    /// ends, or whoever waits for room ends it.
    pub size: u32,
    /// How long to wait for that many at most; zero unless said otherwise, any length.
    /// Somebody who waits for room, and [`Driver::flush`](super::Driver::flush), end it.
    pub delay: Duration,
}

impl Default for Batching {
    /// Enters as soon as there is anything.
    fn default() -> Self {
        Self {
            size: 1,
            delay: Duration::ZERO,
        }
    }
}

/// How soon the kernel is asked again after it had no room.
const RETRY: Duration = Duration::from_millis(1);

/// What a dedicated submitter is asked for.
///
/// Rule D1: who pushed adds to the count, and wakes the submitter if that reached its
/// target. The submitter sets its target by a CAS on the same word, which fails if there
/// was more to do since it looked: so either it sees the push, or the push sees the target.
pub(super) struct Requests {
    /// Pushes so far, and at which count the submitter wants to be woken: 32 bits each.
    word: AtomicU64,
    /// Changes with every wake.
    wakes: Futex,
    is_urgent: AtomicBool,
    is_stopped: AtomicBool,
}

/// What an owner was asked for when it looked.
pub(super) struct Asked {
    word: u64,
    pub(super) is_stopped: bool,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            word: AtomicU64::new(1),
            wakes: Futex::new(),
            is_urgent: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Says that so many operations were pushed; true if the submitter is to be woken for
    /// them.
    #[inline(always)]
    pub(super) fn ask(&self, pushed: u32) -> bool {
        // Ordering: Release, see `SUBMITTER_ASKED`.
        let add = u64::from(pushed) << 32;
        let before = self.word.fetch_add(add, edges::SUBMITTER_ASKED.order());
        let (count, target) = ((before >> 32) as u32, before as u32);
        // Reached by this push, and not by one before it.
        let is_reached = target.wrapping_sub(count).wrapping_sub(1) < pushed;
        if is_reached {
            reached("submitter woken");
        }
        is_reached
    }

    /// Has the submitter enter for what was pushed, when it is woken.
    pub(super) fn hurry(&self) {
        // Ordering: Relaxed; the wake passes it on.
        self.is_urgent.store(true, Relaxed);
    }

    /// Has the submitter end, when it is woken.
    pub(super) fn stop(&self) {
        // Ordering: Relaxed; the wake passes it on. A swap: what `is_over` has released, it does.
        self.is_stopped.swap(true, Relaxed);
    }

    /// Whether the submitter was told to end. If not, its last submit takes what the caller has
    /// pushed.
    pub(super) fn is_over(&self) -> bool {
        // Ordering: Release, see `SUBMITTER_ASKED`; and so written, for the submitter's last look
        // to read from it.
        self.is_stopped
            .fetch_or(false, edges::SUBMITTER_ASKED.order())
    }

    /// What was asked for so far.
    pub(super) fn look(&self) -> Asked {
        // Ordering: Acquire, see `SUBMITTER_SEEN`.
        let word = self.word.load(edges::SUBMITTER_SEEN.order());
        // Ordering: Relaxed; the wake that announces it was reaped.
        let is_stopped = self.is_stopped.load(Relaxed);
        Asked { word, is_stopped }
    }

    /// Whether nothing was asked for since; whoever asks from now on is told to wake.
    pub(super) fn sleep_at(&self, asked: &Asked) -> bool {
        let count = (asked.word >> 32) as u32;
        let next = u64::from(count) << 32 | u64::from(count.wrapping_add(1));
        let set = (self.word).compare_exchange(asked.word, next, Relaxed, Relaxed);
        // Ordering: Relaxed; nothing is passed on. On failure the owner looks anew.
        set.inspect(|_| reached("owner sleeps")).is_ok()
    }

    /// Wakes a submitter that sleeps in `serve`.
    #[cold]
    pub(super) fn wake(&self) {
        // Ordering: Release, partner of the load of the word in `sleep`: the flags before it.
        (self.wakes.word()).fetch_add(1, edges::SUBMITTER_ASKED.order());
        self.wakes.wake_one();
    }

    /// Calls `submit` whenever it is worth it, until stopped; once more after that. Where it
    /// says that something is left, again after [`RETRY`].
    pub(super) fn serve(&self, batching: Batching, mut submit: impl FnMut() -> bool) {
        let mut served = 0;
        let mut gathering: Option<Deadline> = None;
        loop {
            // Ordering: Acquire, partner of the wake: the flags that it announces.
            let wakes = self.wakes.word().load(edges::SUBMITTER_SEEN.order());
            // Ordering: Acquire, see `SUBMITTER_SEEN`.
            let word = self.word.load(edges::SUBMITTER_SEEN.order());
            let count = (word >> 32) as u32;
            let pending = count.wrapping_sub(served);
            // Ordering: Relaxed; the wake was acquired. Then Acquire, partner of `is_over`.
            let is_stopped = self.is_stopped.load(Relaxed)
                && self.is_stopped.swap(true, edges::SUBMITTER_SEEN.order());
            let is_urgent = self.is_urgent.swap(false, Relaxed) || is_stopped;
            let is_late = |deadline: &Deadline| deadline.left() == Some(Duration::ZERO);
            let is_due = gathering.as_ref().is_some_and(is_late);
            let is_worth_it = pending >= batching.size || batching.delay.is_zero();
            if is_urgent || is_due || (pending > 0 && is_worth_it) {
                let is_left = !submit();
                served = count;
                gathering = is_left.then(|| Deadline::after(Some(RETRY)));
                if is_stopped {
                    return;
                }
                continue;
            }
            let wanted = if pending == 0 { 1 } else { batching.size };
            if pending > 0 && gathering.is_none() {
                gathering = Some(Deadline::after(Some(batching.delay)));
            }
            let next = u64::from(count) << 32 | u64::from(served.wrapping_add(wanted));
            // Ordering: Relaxed; nothing is passed on. On failure the loop looks anew.
            if (self.word)
                .compare_exchange(word, next, Relaxed, Relaxed)
                .is_ok()
            {
                reached("submitter sleeps");
                let left = gathering.as_ref().and_then(Deadline::left);
                self.wakes.wait(wakes, left);
            }
        }
    }
}
