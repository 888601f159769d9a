//! One ring of the `io-uring` crate behind a mutex or two.

use std::os::fd::{AsRawFd, RawFd};

use io_uring::IoUring;

use super::per_thread::{new_ring, push};
use super::{Design, Port, SQ, Setup};
use crate::enter::{GETEVENTS, enter};
use crate::op::Op;

/// A mutex round nothing: what it guards is a queue of the crate's, which has its own
/// borrow for that.
pub trait Lock: Default + Sync {
    type Guard<'g>
    where
        Self: 'g;

    fn hold(&self) -> Self::Guard<'_>;
    fn try_hold(&self) -> Option<Self::Guard<'_>>;
}

pub type Std = std::sync::Mutex<()>;
pub type ParkingLot = parking_lot::Mutex<()>;

impl Lock for Std {
    type Guard<'g> = std::sync::MutexGuard<'g, ()>;

    #[inline(always)]
    fn hold(&self) -> Self::Guard<'_> {
        self.lock().expect("no panic")
    }

    #[inline(always)]
    fn try_hold(&self) -> Option<Self::Guard<'_>> {
        self.try_lock().ok()
    }
}

impl Lock for ParkingLot {
    type Guard<'g> = parking_lot::MutexGuard<'g, ()>;

    #[inline(always)]
    fn hold(&self) -> Self::Guard<'_> {
        self.lock()
    }

    #[inline(always)]
    fn try_hold(&self) -> Option<Self::Guard<'_>> {
        self.try_lock()
    }
}

/// The ring and its locks.
pub struct Guarded<L> {
    pub ring: IoUring,
    pub sq: L,
    pub cq: L,
}

impl<L: Lock> Guarded<L> {
    pub fn new(setup: Setup) -> Self {
        Self {
            ring: new_ring(setup),
            sq: L::default(),
            cq: L::default(),
        }
    }

    #[inline(always)]
    pub fn push(&self, _held: &L::Guard<'_>, len: u32, next: impl FnMut() -> (Op, u64)) -> bool {
        // SAFETY: the lock of the SQ is held.
        push(&mut unsafe { self.ring.submission_shared() }, len, next)
    }

    #[inline(always)]
    pub fn drain(&self, _held: &L::Guard<'_>, seen: &mut impl FnMut(u64, i32)) -> usize {
        let mut count = 0;
        // SAFETY: the lock of the CQ is held.
        for cqe in unsafe { self.ring.completion_shared() } {
            seen(cqe.user_data(), cqe.result());
            count += 1;
        }
        count
    }

    #[inline(always)]
    pub fn submit(&self) {
        enter::<true>(self.ring.as_raw_fd(), SQ, 0, 0);
    }

    /// Not together with a submit: the kernel does not wait after one that took less than
    /// it was asked for.
    #[inline(always)]
    pub fn events(&self, min_complete: u32) {
        enter::<true>(self.ring.as_raw_fd(), 0, min_complete, GETEVENTS);
    }

    /// After a look in vain, of a thread that counts them: one in so many asks for more.
    #[inline(always)]
    pub fn found_none(&self, looks: &mut u32) {
        *looks += 1;
        if looks.is_multiple_of(256) {
            self.flush();
        }
    }

    /// Completions that did not fit wait in the kernel until it is entered for them.
    #[cold]
    fn flush(&self) {
        let held = self.sq.hold();
        // SAFETY: the lock of the SQ is held.
        let is_over = unsafe { self.ring.submission_shared() }.cq_overflow();
        drop(held);
        if is_over {
            self.events(0);
        }
    }
}

/// SPLIT: a mutex for each queue. OUTSIDE: the kernel is entered after it was given up. Not
/// INLINE: by the crate's own `submit`.
pub struct Locked<L, const SPLIT: bool, const OUTSIDE: bool, const INLINE: bool> {
    guarded: Guarded<L>,
}

pub struct LockedPort<'d, L, const SPLIT: bool, const OUTSIDE: bool, const INLINE: bool> {
    design: &'d Locked<L, SPLIT, OUTSIDE, INLINE>,
    empty: u32,
}

impl<L: Lock, const SPLIT: bool, const OUTSIDE: bool, const INLINE: bool> Design
    for Locked<L, SPLIT, OUTSIDE, INLINE>
{
    type Port<'d>
        = LockedPort<'d, L, SPLIT, OUTSIDE, INLINE>
    where
        L: 'd;

    fn new(_: u32, setup: Setup) -> Self {
        Self {
            guarded: Guarded::new(setup),
        }
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        LockedPort {
            design: self,
            empty: 0,
        }
    }
}

impl<L: Lock, const SPLIT: bool, const OUTSIDE: bool, const INLINE: bool>
    Locked<L, SPLIT, OUTSIDE, INLINE>
{
    #[inline(always)]
    fn enter(&self) {
        match INLINE {
            true => self.guarded.submit(),
            false => {
                self.guarded.ring.submit().expect("submit");
            }
        }
    }
}

impl<L: Lock, const SPLIT: bool, const OUTSIDE: bool, const INLINE: bool> Port
    for LockedPort<'_, L, SPLIT, OUTSIDE, INLINE>
{
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        let guarded = &self.design.guarded;
        let held = guarded.sq.hold();
        let is_pushed = guarded.push(&held, len, next);
        if OUTSIDE {
            drop(held);
            self.design.enter();
        } else {
            self.design.enter();
            drop(held);
        }
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let guarded = &self.design.guarded;
        let lock = if SPLIT { &guarded.cq } else { &guarded.sq };
        let held = lock.hold();
        let count = guarded.drain(&held, seen);
        drop(held);
        if count == 0 {
            guarded.found_none(&mut self.empty);
        }
        count
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.design.guarded.events(1);
        self.reap(seen)
    }

    fn ring(&self) -> RawFd {
        self.design.guarded.ring.as_raw_fd()
    }
}
