//! One ring of the `io-uring` crate, fed from a queue of entries.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use io_uring::squeue::Entry;

use super::locked::{Guarded, Lock, ParkingLot};
use super::{Design, Port, SQ, Setup};
use crate::op::Op;

/// WORKER: a thread of its own moves entries from the queue into the ring. Otherwise
/// whoever finds the lock free does.
pub struct Queued<const WORKER: bool> {
    queue: ArrayQueue<Entry>,
    guarded: Guarded<ParkingLot>,
    pushed: CachePadded<AtomicU64>,
    served: AtomicU64,
}

pub struct QueuedPort<'d, const WORKER: bool> {
    design: &'d Queued<WORKER>,
    empty: u32,
}

impl<const WORKER: bool> Queued<WORKER> {
    /// What is in the queue goes to the kernel.
    fn feed(&self) -> bool {
        let Some(held) = self.guarded.sq.try_hold() else {
            return false;
        };
        self.served.store(self.pushed.load(SeqCst), SeqCst);
        // SAFETY: the lock of the SQ is held.
        let mut sq = unsafe { self.guarded.ring.submission_shared() };
        while !sq.is_full() {
            let Some(entry) = self.queue.pop() else { break };
            // SAFETY: a load keeps what its operations point to until they have completed.
            unsafe { sq.push(&entry) }.expect("there is room");
        }
        let is_fed = !sq.is_empty();
        drop(sq);
        if is_fed {
            self.guarded.submit();
        }
        drop(held);
        is_fed
    }
}

impl<const WORKER: bool> Design for Queued<WORKER> {
    type Port<'d> = QueuedPort<'d, WORKER>;

    const SERVES: bool = WORKER;

    fn new(threads: u32, setup: Setup) -> Self {
        Self {
            queue: ArrayQueue::new((SQ * threads) as usize),
            guarded: Guarded::new(setup),
            pushed: CachePadded::default(),
            served: AtomicU64::default(),
        }
    }

    fn port(&self, _: u32) -> Self::Port<'_> {
        QueuedPort {
            design: self,
            empty: 0,
        }
    }

    fn serve(&self, is_over: &dyn Fn() -> bool) {
        while !is_over() {
            if !self.feed() {
                thread::yield_now();
            }
        }
    }
}

impl<const WORKER: bool> Port for QueuedPort<'_, WORKER> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        mut next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        let Queued {
            queue,
            pushed,
            served,
            ..
        } = self.design;
        let is_pushed = queue.capacity() - queue.len() >= SQ as usize;
        for _ in 0..if is_pushed { len } else { 0 } {
            let (op, user_data) = next();
            let mut entry = op.entry(user_data);
            // Threads that saw the same room fill it together; it is enough for one of them.
            while let Err(back) = queue.push(entry) {
                entry = back;
                if WORKER || !self.design.feed() {
                    thread::yield_now();
                }
            }
        }
        if WORKER {
            return is_pushed;
        }
        pushed.fetch_add(1, SeqCst);
        while pushed.load(SeqCst) != served.load(SeqCst) || !queue.is_empty() {
            if !self.design.feed() {
                break;
            }
        }
        is_pushed
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let guarded = &self.design.guarded;
        let count = guarded
            .cq
            .try_hold()
            .map_or(0, |held| guarded.drain(&held, seen));
        if count == 0 {
            guarded.found_none(&mut self.empty);
            if !WORKER && !self.design.queue.is_empty() {
                self.design.feed();
            }
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
