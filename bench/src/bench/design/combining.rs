//! One ring of the `io-uring` crate behind mutexes, entered by one thread for all.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crossbeam_utils::CachePadded;

use super::locked::{Guarded, Lock};
use super::{Design, Port, Setup};
use crate::op::Op;

/// Pushes under one lock, then enters if nobody else is at it. DRAINS: who enters also
/// reaps, for all.
pub struct Combining<L, const DRAINS: bool> {
    guarded: Guarded<L>,
    entering: L,
    pushed: CachePadded<AtomicU64>,
    /// Pushes before the last enter.
    served: AtomicU64,
}

pub struct CombiningPort<'d, L, const DRAINS: bool> {
    design: &'d Combining<L, DRAINS>,
    empty: u32,
}

impl<L: Lock, const DRAINS: bool> Combining<L, DRAINS> {
    /// Who finds the lock taken relies on its holder to look again.
    #[inline(always)]
    fn serve(&self, seen: &mut impl FnMut(u64, i32)) {
        while self.pushed.load(SeqCst) != self.served.load(SeqCst) {
            let Some(held) = self.entering.try_hold() else {
                return;
            };
            self.served.store(self.pushed.load(SeqCst), SeqCst);
            self.guarded.submit();
            if DRAINS {
                self.guarded.drain(&held, seen);
            }
        }
    }
}

impl<L: Lock, const DRAINS: bool> Design for Combining<L, DRAINS> {
    type Port<'d>
        = CombiningPort<'d, L, DRAINS>
    where
        L: 'd;

    fn new(_: u32, setup: Setup) -> Self {
        Self {
            guarded: Guarded::new(setup),
            entering: L::default(),
            pushed: CachePadded::default(),
            served: AtomicU64::default(),
        }
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        CombiningPort {
            design: self,
            empty: 0,
        }
    }
}

impl<L: Lock, const DRAINS: bool> Port for CombiningPort<'_, L, DRAINS> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        seen: &mut impl FnMut(u64, i32),
    ) -> bool {
        let guarded = &self.design.guarded;
        let is_pushed = guarded.push(&guarded.sq.hold(), len, next);
        self.design.pushed.fetch_add(1, SeqCst);
        self.design.serve(seen);
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let Combining {
            guarded, entering, ..
        } = self.design;
        let lock = if DRAINS { entering } else { &guarded.cq };
        let count = lock.try_hold().map_or(0, |held| guarded.drain(&held, seen));
        if DRAINS {
            self.design.serve(seen);
        }
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
