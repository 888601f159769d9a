//! The loop by hand, and the locked instructions that any ring needs whose threads are not
//! told apart: what a shared ring can come to while one thread uses it.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use super::raw::{RawPort, RawRing};
use super::{Design, Port, Setup};
use crate::op::Op;

pub struct RawLocked {
    ring: RawRing,
    claimed: AtomicU64,
    role: AtomicU32,
    reaped: AtomicU64,
}

impl Design for RawLocked {
    type Port<'d> = LockedPort<'d>;

    fn new(threads: u32, setup: Setup) -> Self {
        assert_eq!(threads, 1, "of one thread");
        Self {
            ring: RawRing::new(setup),
            claimed: AtomicU64::new(0),
            role: AtomicU32::new(0),
            reaped: AtomicU64::new(0),
        }
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        LockedPort {
            shared: self,
            raw: RawPort::new(&self.ring),
        }
    }
}

pub struct LockedPort<'d> {
    shared: &'d RawLocked,
    raw: RawPort<'d, true>,
}

impl Port for LockedPort<'_> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        seen: &mut impl FnMut(u64, i32),
    ) -> bool {
        let shared = self.shared;
        // No other thread gets these slots; no other enters; and before it leaves, it sees what
        // was left to it.
        shared.claimed.fetch_add(len.into(), AcqRel);
        shared.role.swap(1, Acquire);
        let is_pushed = self.raw.submit(len, next, seen);
        shared.role.swap(0, SeqCst);
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let count = self.raw.reap(seen);
        // No other thread reaps them as well.
        self.shared.reaped.fetch_add(count as u64, AcqRel);
        count
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.raw.wait(seen)
    }

    fn ring(&self) -> RawFd {
        self.shared.ring.as_raw_fd()
    }
}
