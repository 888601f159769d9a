//! Ringway: one ring that threads share, and the ring of one thread.

use std::os::fd::{AsRawFd, RawFd};

use ringway::set::{Member, Set};
use ringway::{Batch, Cq, Cqe, EnterError, Local, Order, Owner, Ring, Slot, Sq, Waiter};

use super::{CQ, Design, Port, REAP, SQ, Setup};
use crate::op::Op;

pub fn builder(setup: Setup) -> ringway::Builder<'static> {
    let order = match setup.no_sqarray {
        true => Order::Claim,
        false => Order::Any,
    };
    Ring::builder(SQ).cq_entries(CQ).order(order)
}

#[inline(always)]
fn fill<R: Owner>(mut batch: Batch<'_, R>, mut next: impl FnMut() -> (Op, u64)) {
    batch.iter_mut().for_each(|sqe| {
        let (op, user_data) = next();
        op.prep(sqe, user_data);
    });
    batch.push();
}

#[inline(always)]
fn fill_one<R: Owner>(mut slot: Slot<'_, R>, (op, user_data): (Op, u64)) {
    op.prep(&mut slot, user_data);
    slot.push();
}

/// False if there was no room.
#[inline(always)]
fn push(sq: &Sq, len: u32, mut next: impl FnMut() -> (Op, u64)) -> bool {
    let room = match len {
        1 => sq.pop().map(|slot| fill_one(slot, next())),
        _ => sq.pop_batch(len).map(|batch| fill(batch, next)),
    };
    room.is_some()
}

#[inline(always)]
fn check(entered: Result<(), EnterError>) {
    if let Err(error) = entered {
        refused(error);
    }
}

/// A refusal to be tried again is no failure: what is pushed stays.
#[cold]
fn refused(error: EnterError) {
    match error {
        EnterError::Busy | EnterError::Interrupted => {}
        error => panic!("{error}"),
    }
}

#[inline(always)]
fn show(cqes: &[Cqe], seen: &mut impl FnMut(u64, i32)) -> usize {
    for cqe in cqes {
        seen(cqe.user_data(), cqe.res());
    }
    cqes.len()
}

/// One ring. Not INLINE: entering is a call that returns, as that of a library is.
pub struct Shared<const INLINE: bool> {
    ring: Ring,
    threads: u32,
}

pub struct SharedPort<const INLINE: bool> {
    ring: Ring,
    sq: Sq,
    cq: Cq,
    cqes: [Cqe; REAP],
    threads: u32,
    /// Pushes one at a time, and so reaps. Others' completions come in numbers.
    reaps_one: bool,
}

impl<const INLINE: bool> Design for Shared<INLINE> {
    type Port<'d> = SharedPort<INLINE>;

    fn new(threads: u32, setup: Setup) -> Self {
        Self {
            ring: builder(setup).build().expect("io_uring"),
            threads,
        }
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        SharedPort {
            ring: self.ring.clone(),
            sq: self.ring.sq(),
            cq: self.ring.cq(),
            cqes: [Cqe::default(); REAP],
            threads: self.threads,
            reaps_one: false,
        }
    }
}

#[inline(never)]
fn outlined(sq: &Sq) -> Result<(), EnterError> {
    sq.submit()
}

impl<const INLINE: bool> Port for SharedPort<INLINE> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        self.reaps_one = self.threads == 1 && len == 1;
        let is_pushed = push(&self.sq, len, next);
        check(match INLINE {
            true => self.sq.submit(),
            false => outlined(&self.sq),
        });
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        if self.reaps_one {
            return show(self.cq.reap().as_slice(), seen);
        }
        let count = self.cq.reap_batch(&mut self.cqes);
        show(&self.cqes[..count], seen)
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let count = self.cq.wait_reap(&mut self.cqes, None).expect("a wait");
        show(&self.cqes[..count], seen)
    }

    fn ring(&self) -> RawFd {
        self.ring.fd().expect("a descriptor").as_raw_fd()
    }
}

/// One ring; who enters also reaps, for all, and who waits goes on waiting for all while
/// little comes.
pub struct Leading<const PASSES: u32>(Ring);

pub struct LeadingPort {
    ring: Ring,
    sq: Sq,
    cq: Cq,
    waiter: Waiter,
    cqes: [Cqe; REAP],
    looks: u32,
}

/// A thread looks for itself once in so often, where another may be at it.
const LOOKS: u32 = 64;
/// Completions that one thread handles faster than it wakes another.
const KEEP: usize = 16;

impl<const PASSES: u32> Design for Leading<PASSES> {
    type Port<'d> = LeadingPort;

    fn new(_: u32, setup: Setup) -> Self {
        Self(builder(setup).max_passes(PASSES).build().expect("io_uring"))
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        LeadingPort {
            ring: self.0.clone(),
            sq: self.0.sq(),
            cq: self.0.cq(),
            waiter: self.0.cq().waiter(KEEP),
            cqes: [Cqe::default(); REAP],
            looks: 0,
        }
    }
}

impl Port for LeadingPort {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        seen: &mut impl FnMut(u64, i32),
    ) -> bool {
        let is_pushed = push(&self.sq, len, next);
        check(self.ring.submit_and_reap(&mut self.cqes, |cqes| {
            show(cqes, seen);
        }));
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.looks += 1;
        if !self.looks.is_multiple_of(LOOKS) {
            return 0;
        }
        let count = self.cq.reap_batch(&mut self.cqes);
        show(&self.cqes[..count], seen)
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let reaped = self.waiter.wait_reap(&mut self.cqes, None);
        show(&self.cqes[..reaped.expect("a wait")], seen)
    }

    fn ring(&self) -> RawFd {
        self.ring.fd().expect("a descriptor").as_raw_fd()
    }
}

/// The ring of one thread.
pub struct Own<const INLINE: bool>(Setup);

pub struct OwnPort<R, const INLINE: bool> {
    ring: R,
    /// For completions that are waited for.
    cqes: [Cqe; REAP],
}

impl<const INLINE: bool> Design for Own<INLINE> {
    type Port<'d> = OwnPort<Local, INLINE>;

    const SHARED: bool = false;

    fn new(_: u32, setup: Setup) -> Self {
        Self(setup)
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        let ring = match self.0.defers {
            true => builder(self.0)
                .single_issuer()
                .defer_taskrun()
                .taskrun_flag(),
            false => builder(self.0),
        };
        OwnPort {
            ring: ring.build_local().expect("io_uring"),
            cqes: [Cqe::default(); REAP],
        }
    }
}

/// A ring for each thread behind one handle.
pub struct InSet<const INLINE: bool>(Set);

impl<const INLINE: bool> Design for InSet<INLINE> {
    type Port<'d> = OwnPort<Member, INLINE>;

    const SHARED: bool = false;

    fn new(_: u32, setup: Setup) -> Self {
        let set = Set::builder(builder(setup));
        let set = if setup.defers { set } else { set.exact() };
        Self(set.build().expect("a set"))
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        OwnPort {
            ring: self.0.member().expect("io_uring"),
            cqes: [Cqe::default(); REAP],
        }
    }
}

#[inline(never)]
fn outlined_local(ring: &Local) -> Result<(), EnterError> {
    ring.submit()
}

/// A local ring, by itself or of a set.
pub trait OfOneThread {
    fn local(&self) -> &Local;
}

impl OfOneThread for Local {
    #[inline(always)]
    fn local(&self) -> &Local {
        self
    }
}

impl OfOneThread for Member {
    #[inline(always)]
    fn local(&self) -> &Local {
        self
    }
}

impl<R: OfOneThread, const INLINE: bool> Port for OwnPort<R, INLINE> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        mut next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        let ring = self.ring.local();
        let room = match len {
            1 => ring.pop().map(|slot| fill_one(slot, next())),
            _ => ring.pop_batch(len).map(|batch| fill(batch, next)),
        };
        check(match INLINE {
            true => ring.submit(),
            false => outlined_local(ring),
        });
        room.is_some()
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let mut count = 0;
        for cqe in self.ring.local().reap_iter() {
            seen(cqe.user_data(), cqe.res());
            count += 1;
        }
        count
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let count = self.ring.local().wait_reap(&mut self.cqes, None);
        show(&self.cqes[..count.expect("a wait")], seen)
    }

    fn ring(&self) -> RawFd {
        self.ring.local().fd().expect("a descriptor").as_raw_fd()
    }
}
