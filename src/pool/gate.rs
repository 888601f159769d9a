//! Where threads sleep until there is room: for permits, for SQEs.

use super::edges;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::{Deadline, Futex, Mutex, MutexGuard, reached, unpoisoned};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Threads and tasks that found no room, and whoever makes some.
///
/// Rule G1: a waiter counts itself, then looks for room once more, then sleeps; who makes
/// room looks at the count afterwards. A full fence on both sides: one of the two sees the
/// other.
pub(super) struct Gate {
    /// Who is, or is about to be, asleep.
    waiting: AtomicU32,
    /// Changes with every wake.
    turns: Futex,
    wakers: Mutex<Vec<Waker>>,
}

/// A thread that has counted itself.
struct Waiter<'g> {
    gate: &'g Gate,
    turn: u32,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            waiting: AtomicU32::new(0),
            turns: Futex::new(),
            wakers: Mutex::new(Vec::new()),
        }
    }

    /// Announces a waiter, which must look for room once more before it sleeps.
    fn enter(&self) -> Waiter<'_> {
        // Ordering: Relaxed; the fence orders it before the second look, which so sees the
        // room that was made before this turn.
        let turn = self.turns.word().load(Relaxed);
        // Ordering: Relaxed; the fence orders it before the second look (rule G1).
        self.waiting.fetch_add(1, Relaxed);
        edges::GATE_FENCE.fence();
        Waiter { gate: self, turn }
    }

    /// Wakes everybody who waits, after room was made.
    #[inline(always)]
    pub(super) fn open(&self) {
        edges::GATE_FENCE.fence();
        // Ordering: Relaxed; the fence orders it after the room (rule G1).
        if self.waiting.load(Relaxed) > 0 {
            self.wake_all();
        }
    }

    #[cold]
    fn wake_all(&self) {
        // Ordering: Relaxed; the fence in `open` orders it after the room.
        self.turns.word().fetch_add(1, Relaxed);
        self.turns.wake_all();
        let wakers = std::mem::take(&mut *self.lock());
        // Ordering: Relaxed; the tasks count themselves anew when they look again.
        self.waiting.fetch_sub(wakers.len() as u32, Relaxed);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Calls `look` until it finds something or the timeout passes, asleep in between.
    /// `hurry` runs before each sleep, and says when to look again instead.
    pub(super) fn wait<T>(
        &self,
        timeout: Option<Duration>,
        mut look: impl FnMut() -> Option<T>,
        mut hurry: impl FnMut() -> bool,
    ) -> Option<T> {
        let deadline = Deadline::after(timeout);
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let waiter = self.enter();
            if let Some(found) = look() {
                return Some(found);
            }
            let left = deadline.left();
            if left == Some(Duration::ZERO) {
                return None;
            }
            if !hurry() {
                waiter.sleep(left);
            }
        }
    }

    /// The polling form of `wait`: `look`, and if that finds nothing have the task woken
    /// when there may be something; at once if `hurry` says to look again.
    pub(super) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut look: impl FnMut() -> Option<T>,
        hurry: impl FnOnce() -> bool,
    ) -> Poll<T> {
        if let Some(found) = look() {
            return Poll::Ready(found);
        }
        let mut wakers = self.lock();
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            // Ordering: Relaxed; the fence orders it before the second look (rule G1).
            self.waiting.fetch_add(1, Relaxed);
            wakers.push(context.waker().clone());
        }
        drop(wakers);
        edges::GATE_FENCE.fence();
        match look() {
            // The waker stays: one wake too many is harmless.
            Some(found) => Poll::Ready(found),
            None => {
                if hurry() {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        unpoisoned(self.wakers.lock())
    }
}

impl Waiter<'_> {
    /// Sleeps until the gate opens, or the deadline passes.
    fn sleep(self, left: Option<Duration>) {
        reached("waits at the gate");
        self.gate.turns.wait(self.turn, left);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; only the count changes.
        self.gate.waiting.fetch_sub(1, Relaxed);
    }
}
