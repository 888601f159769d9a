//! One ring and two threads by hand: what there is to reach where SQEs are written by more
//! threads than enter.
//!
//! The first thread enters for both, and reaps for both. There is no locked instruction: each
//! has every other piece of the ring for its own, and each line of memory has one writer. That
//! works for two threads that push the same number of operations, and for nothing else.

use std::hint::spin_loop;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

use crossbeam_utils::CachePadded;

use super::raw::{RawPort, RawRing};
use super::{Design, Port, SQ, Setup};
use crate::op::Op;

/// Operations of one thread that the kernel takes at once, at most: the other thread fills as
/// many meanwhile.
const PIECE: u32 = SQ / 4;

/// Looks for the other before it is said that there is nothing.
const LOOKS: u32 = 4096;

pub struct RawTwo {
    ring: RawRing,
    /// Pieces that the second thread has filled.
    filled: CachePadded<AtomicU64>,
    /// Pieces of it that the kernel has taken.
    taken: CachePadded<AtomicU64>,
    /// It fills no more.
    is_done: CachePadded<AtomicBool>,
}

impl Design for RawTwo {
    type Port<'d> = TwoPort<'d>;

    fn new(threads: u32, setup: Setup) -> Self {
        assert_eq!(threads, 2, "of two threads");
        Self {
            ring: RawRing::new(setup),
            filled: Default::default(),
            taken: Default::default(),
            is_done: Default::default(),
        }
    }

    fn port(&self, thread: u32) -> Self::Port<'_> {
        TwoPort {
            two: self,
            raw: RawPort::new(&self.ring),
            is_first: thread == 0,
            piece: PIECE,
            count: 0,
        }
    }
}

pub struct TwoPort<'d> {
    two: &'d RawTwo,
    raw: RawPort<'d, true>,
    is_first: bool,
    /// Operations in a piece.
    piece: u32,
    /// Pieces of its own so far.
    count: u64,
}

impl TwoPort<'_> {
    /// Where a piece starts: those of the first and of the second take turns.
    fn start(&self, is_first: bool) -> u32 {
        (self.count as u32 * 2 + u32::from(!is_first)) * self.piece
    }

    /// Whether the second thread has filled the piece that comes next.
    #[inline(always)]
    fn has_other(&self) -> bool {
        self.two.filled.load(Acquire) > self.count
    }

    /// The first thread's piece and the other's go to the kernel.
    #[inline(always)]
    fn enter(&mut self) -> bool {
        self.raw.fetch(self.start(false), self.piece);
        let is_taken = self.raw.take(2 * self.piece);
        self.count += 1;
        self.two.taken.store(self.count, Release);
        is_taken
    }

    #[inline(always)]
    fn first(&mut self, pieces: u32, mut next: impl FnMut() -> (Op, u64)) -> bool {
        let mut looks = 0;
        while !self.has_other() && looks < LOOKS {
            looks += 1;
            spin_loop();
        }
        let is_done = self.two.is_done.load(Acquire);
        if !self.has_other() && !is_done {
            return false;
        }
        for _ in 0..pieces {
            while !self.has_other() {
                if self.two.is_done.load(Acquire) && !self.has_other() {
                    let other = self.start(false);
                    self.raw.write(other, self.piece, || Op::SILENT);
                    break;
                }
                spin_loop();
            }
            let own = self.start(true);
            self.raw.fill(own, self.piece, &mut next);
            if !self.enter() {
                return false;
            }
        }
        true
    }

    #[inline(always)]
    fn second(&mut self, pieces: u32, mut next: impl FnMut() -> (Op, u64)) -> bool {
        let most = u64::from(SQ / 2 / self.piece);
        let is_full = |port: &Self| port.count - port.two.taken.load(Acquire) == most;
        if is_full(self) {
            return false;
        }
        for _ in 0..pieces {
            while is_full(self) {
                spin_loop();
            }
            let own = self.start(false);
            self.raw.fill(own, self.piece, &mut next);
            self.count += 1;
            self.two.filled.store(self.count, Release);
        }
        true
    }

    /// After the last push of a thread.
    fn finish(&mut self) {
        if !self.is_first {
            self.two.is_done.store(true, Release);
            return;
        }
        while self.has_other() {
            let own = self.start(true);
            self.raw.write(own, self.piece, || Op::SILENT);
            self.enter();
        }
    }
}

impl Port for TwoPort<'_> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        if len == 0 {
            self.finish();
            return true;
        }
        self.piece = len.min(PIECE);
        match self.is_first {
            true => self.first(len / self.piece, next),
            false => self.second(len / self.piece, next),
        }
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        match self.is_first {
            true => self.raw.reap(seen),
            false => 0,
        }
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.raw.wait(seen)
    }

    fn ring(&self) -> RawFd {
        self.two.ring.as_raw_fd()
    }
}
