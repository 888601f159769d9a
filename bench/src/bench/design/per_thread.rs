//! A ring for each thread, through the `io-uring` crate.

use std::os::fd::{AsRawFd, RawFd};

use io_uring::IoUring;

use super::{CQ, Design, Port, SQ, Setup};
use crate::enter::{GETEVENTS, enter};
use crate::op::Op;

pub fn new_ring(setup: Setup) -> IoUring {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(CQ).setup_submit_all();
    if setup.no_sqarray {
        builder.setup_no_sqarray();
    }
    if setup.defers {
        builder.setup_single_issuer().setup_defer_taskrun();
        builder.setup_taskrun_flag();
    }
    builder.build(SQ).expect("io_uring")
}

/// Not INLINE: the crate's own `submit`.
pub struct PerThread<const INLINE: bool>(Setup);

pub struct CratePort<const INLINE: bool> {
    ring: IoUring,
}

impl<const INLINE: bool> Design for PerThread<INLINE> {
    type Port<'d> = CratePort<INLINE>;

    const SHARED: bool = false;

    fn new(_: u32, setup: Setup) -> Self {
        Self(setup)
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        CratePort {
            ring: new_ring(self.0),
        }
    }
}

/// Pushes all or nothing.
#[inline(always)]
pub fn push(
    sq: &mut io_uring::SubmissionQueue<'_>,
    len: u32,
    mut next: impl FnMut() -> (Op, u64),
) -> bool {
    if sq.capacity() - sq.len() < len as usize {
        return false;
    }
    for _ in 0..len {
        let (op, user_data) = next();
        // SAFETY: a load keeps what its operations point to until they have completed.
        unsafe { sq.push(&op.entry(user_data)) }.expect("there is room");
    }
    true
}

impl<const INLINE: bool> Port for CratePort<INLINE> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        let is_pushed = push(&mut self.ring.submission(), len, next);
        match INLINE {
            true => {
                enter::<true>(self.ring.as_raw_fd(), SQ, 0, 0);
            }
            false => {
                self.ring.submit().expect("submit");
            }
        }
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let mut count = 0;
        for cqe in self.ring.completion() {
            seen(cqe.user_data(), cqe.result());
            count += 1;
        }
        if count == 0 && self.ring.submission().taskrun() {
            enter::<true>(self.ring.as_raw_fd(), 0, 0, GETEVENTS);
        }
        count
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        match INLINE {
            true => {
                enter::<true>(self.ring.as_raw_fd(), 0, 1, GETEVENTS);
            }
            false => {
                self.ring.submit_and_wait(1).expect("a wait");
            }
        }
        self.reap(seen)
    }

    fn ring(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
