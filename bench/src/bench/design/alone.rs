//! The kernel alone: how fast one thread has it take NOPs that were written once, and whose
//! CQEs nobody reads. Nothing that enters one ring from one thread at a time is faster.

use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

use super::raw::{RawPort, RawRing};
use super::{Design, Port, SQ, Setup};
use crate::op::Op;

pub struct Alone(RawRing);

impl Design for Alone {
    type Port<'d> = AlonePort<'d>;

    fn new(threads: u32, setup: Setup) -> Self {
        assert_eq!(threads, 1, "of one thread");
        Self(RawRing::new(setup))
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        let mut raw = RawPort::new(&self.0);
        raw.write(0, SQ, || Op::Nop.words(0));
        AlonePort {
            ring: self.0.as_raw_fd(),
            raw,
            taken: 0..0,
        }
    }
}

pub struct AlonePort<'d> {
    ring: RawFd,
    raw: RawPort<'d, true>,
    /// The numbers of operations that the kernel said it took. They are not in the SQEs.
    taken: Range<u64>,
}

impl Port for AlonePort<'_> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        mut next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        for _ in 0..len {
            let (_, number) = next();
            self.taken.end = number + 1;
        }
        len == 0 || self.raw.take(len)
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let count = self.raw.skip();
        for number in self.taken.start..self.taken.start + u64::from(count) {
            seen(number, 0);
        }
        self.taken.start += u64::from(count);
        count as usize
    }

    fn wait(&mut self, _: &mut impl FnMut(u64, i32)) -> usize {
        unimplemented!("NOPs complete in the enter that takes them")
    }

    fn ring(&self) -> RawFd {
        self.ring
    }
}
