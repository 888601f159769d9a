//! Ring memory on the heap, and the kernel's accesses to it.

use crate::abi::Sqe;
use crate::mapping::{EntrySize, Pointers};
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::ptr::NonNull;

pub(super) struct Shape {
    pub(super) sq_entries: u32,
    pub(super) cq_entries: u32,
    pub(super) has_array: bool,
    pub(super) sqe_size: EntrySize,
    pub(super) cqe_size: EntrySize,
    /// Where all four counters begin.
    pub(super) start: u32,
}

/// What the kernel and the ring share.
pub(super) struct Memory {
    pub(super) shape: Shape,
    sq_head: AtomicU32,
    sq_tail: AtomicU32,
    sq_flags: AtomicU32,
    sq_dropped: AtomicU32,
    sq_array: Box<[AtomicU32]>,
    sqes: Box<[UnsafeCell<Sqe>]>,
    cq_head: AtomicU32,
    cq_tail: AtomicU32,
    cq_flags: AtomicU32,
    cq_overflow: AtomicU32,
    cqes: Box<[AtomicU64]>,
}

// SAFETY: the SQEs are the kernel's between its load of the tail and its store of the
// head, and the ring's otherwise (rule S1); all else is atomic.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn new(shape: Shape) -> Self {
        let counter = || AtomicU32::new(shape.start);
        let zero = || AtomicU32::new(0);
        let array = if shape.has_array { shape.sq_entries } else { 0 };
        let sqes = shape.sq_entries << shape.sqe_size.shift();
        let words = (shape.cq_entries * 2) << shape.cqe_size.shift();
        Self {
            sq_head: counter(),
            sq_tail: counter(),
            sq_flags: zero(),
            sq_dropped: zero(),
            sq_array: (0..array).map(|_| zero()).collect(),
            sqes: (0..sqes).map(|_| UnsafeCell::new(Sqe::default())).collect(),
            cq_head: counter(),
            cq_tail: counter(),
            cq_flags: zero(),
            cq_overflow: zero(),
            cqes: (0..words).map(|_| AtomicU64::new(0)).collect(),
            shape,
        }
    }

    /// Valid as long as `self` neither moves nor goes.
    pub(super) fn pointers(&self) -> Pointers {
        fn first<T>(all: &[T]) -> NonNull<T> {
            NonNull::from(all).cast()
        }
        Pointers {
            sq_head: NonNull::from(&self.sq_head),
            sq_tail: NonNull::from(&self.sq_tail),
            sq_flags: NonNull::from(&self.sq_flags),
            sq_dropped: NonNull::from(&self.sq_dropped),
            sq_array: self.shape.has_array.then(|| first(&self.sq_array)),
            sqes: first(&self.sqes),
            sqe_size: self.shape.sqe_size,
            sq_entries: self.shape.sq_entries,
            cq_head: NonNull::from(&self.cq_head),
            cq_tail: NonNull::from(&self.cq_tail),
            cq_flags: NonNull::from(&self.cq_flags),
            cq_overflow: NonNull::from(&self.cq_overflow),
            cqes: first(&self.cqes),
            cqe_size: self.shape.cqe_size,
            cq_entries: self.shape.cq_entries,
        }
    }

    /// `io_sqring_entries`: `smp_load_acquire` of the tail.
    pub(super) fn sq_tail(&self) -> u32 {
        // Ordering: Acquire, as in the kernel; the SQEs up to the tail are the kernel's.
        self.sq_tail.load(Acquire)
    }

    /// `io_get_sqe`: READ_ONCE of the index, then the SQE; of a big one both halves. `None`
    /// for an index outside the ring, which the kernel counts as dropped.
    pub(super) fn sqe(&self, head: u32) -> Option<(Sqe, Option<Sqe>)> {
        let cell = head & (self.shape.sq_entries - 1);
        let index = match self.sq_array.get(cell as usize) {
            // Ordering: Relaxed, READ_ONCE in the kernel; the tail's acquire covers it.
            Some(index) => index.load(Relaxed),
            None => cell,
        };
        if index >= self.shape.sq_entries {
            // Ordering: Relaxed, WRITE_ONCE in the kernel.
            self.sq_dropped.fetch_add(1, Relaxed);
            return None;
        }
        let at = (index as usize) << self.shape.sqe_size.shift();
        let half = |at: usize| {
            // SAFETY: between the tail and the head the SQE is the kernel's (rule S1).
            self.sqes[at].with(|sqe| unsafe { sqe.read() })
        };
        let is_big = self.shape.sqe_size == EntrySize::Big;
        Some((half(at), is_big.then(|| half(at + 1))))
    }

    /// The CQ's slots that these words fill.
    pub(super) fn slots_of(&self, words: &[u64]) -> u32 {
        words.len() as u32 >> (1 + self.shape.cqe_size.shift())
    }

    /// Whether a CQE takes two slots.
    pub(super) fn takes_two(&self, is_big: bool) -> bool {
        is_big && self.shape.cqe_size == EntrySize::Mixed
    }

    /// `io_commit_sqring`: `smp_store_release` of the head.
    pub(super) fn set_sq_head(&self, head: u32) {
        // Ordering: Release, as in the kernel: the SQEs were read.
        self.sq_head.store(head, Release);
    }

    /// `atomic_or` and `atomic_andnot` on the SQ flags.
    pub(super) fn set_sq_flag(&self, flag: u32, on: bool) {
        // Ordering: Relaxed, as those are.
        if on {
            self.sq_flags.fetch_or(flag, Relaxed);
        } else {
            self.sq_flags.fetch_and(!flag, Relaxed);
        }
    }

    /// `io_cqe_cache_refill`: READ_ONCE of the head, and a control dependency from it to
    /// the stores of the CQEs.
    pub(super) fn cq_head(&self) -> u32 {
        // Ordering: Acquire stands for the control dependency: what is stored after it
        // is not stored before the reapers have read.
        self.cq_head.load(Acquire)
    }

    /// `io_fill_cqe_req`: WRITE_ONCE of the words.
    pub(super) fn set_cqe(&self, slot: u32, words: &[u64]) {
        let at = (slot as usize) << (1 + self.shape.cqe_size.shift());
        let len = words.len();
        for (cell, word) in self.cqes[at..at + len].iter().zip(words) {
            // Ordering: Relaxed, as in the kernel; the tail's release passes them on.
            cell.store(*word, Relaxed);
        }
    }

    /// `io_commit_cqring`: `smp_store_release` of the tail.
    pub(super) fn set_cq_tail(&self, tail: u32) {
        // Ordering: Release, as in the kernel.
        self.cq_tail.store(tail, Release);
    }
}
