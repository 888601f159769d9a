//! The user's side of the shared memory: its only dereferences.
//!
//! A view is a set of pointers. They come from a mapping of the kernel's memory, or
//! from the heap when the kernel is simulated; whoever makes a view keeps what it
//! points into alive as long as the view (rule V1). The kernel reads and writes the
//! same memory at any time, so every word of it is an atomic but the SQEs, which
//! have one owner at a time (rule S1).

use super::edges;
use crate::abi::{Cqe, Sqe, cqe_flags};
use crate::mapping::{EntrySize, Pointers};
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A word that a view points to.
#[inline(always)]
fn word(field: &NonNull<AtomicU32>) -> &AtomicU32 {
    // SAFETY: rule V1; the field is aligned and only ever accessed atomically.
    unsafe { field.as_ref() }
}

/// The submission side of a ring's memory.
pub(crate) struct SqView {
    at: Pointers,
    mask: u32,
    /// Bytes from one slot to the next.
    stride: usize,
}

// SAFETY: the pointees are atomics, and SQEs whose single owner is a `Slot` or
// `Batch` (rule S1); rule V1 keeps them alive.
unsafe impl Send for SqView {}
// SAFETY: as for Send; no method touches a plain field without naming its owner.
unsafe impl Sync for SqView {}

impl SqView {
    /// # Safety
    ///
    /// Rule V1: what `at` points into outlives the view.
    pub(crate) unsafe fn new(at: Pointers) -> Self {
        Self {
            at,
            mask: at.sq_entries - 1,
            stride: size_of::<UnsafeCell<Sqe>>() << at.sqe_size.shift(),
        }
    }

    #[inline(always)]
    pub(crate) fn entries(&self) -> u32 {
        self.at.sq_entries
    }

    /// Entries less one, a power of two less one.
    #[inline(always)]
    pub(crate) fn mask(&self) -> u32 {
        self.mask
    }

    /// The place of a counter in the ring.
    #[inline(always)]
    pub(crate) fn cell(&self, counter: u64) -> u32 {
        counter as u32 & self.mask
    }

    /// The slot so far after another.
    #[inline(always)]
    pub(crate) fn wrap(&self, slot: u32, after: u32) -> u32 {
        slot.wrapping_add(after) & self.mask
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> u32 {
        // Ordering: Acquire, see `SQ_HEAD`; Relaxed would let a claimed slot be
        // written while the kernel still reads it.
        word(&self.at.sq_head).load(edges::SQ_HEAD.order())
    }

    /// The head as a hint, for "is anything left to enter for".
    #[inline(always)]
    pub(crate) fn head_hint(&self) -> u32 {
        // Ordering: Relaxed; nothing is read or reused on the strength of it.
        word(&self.at.sq_head).load(Relaxed)
    }

    #[inline(always)]
    pub(crate) fn tail(&self) -> u32 {
        // Ordering: Relaxed; a stale tail is found out by its stamps or by the CAS.
        word(&self.at.sq_tail).load(Relaxed)
    }

    /// Moves the kernel's tail from `from` to `to`, or says where it is.
    #[inline(always)]
    pub(crate) fn publish(&self, from: u32, to: u32) -> Result<(), u32> {
        let tail = word(&self.at.sq_tail);
        if edges::broken("TAIL_STORE") {
            tail.store(to, edges::SQ_PUBLISH.order());
            return Ok(());
        }
        // Ordering: Release, see `SQ_PUBLISH`: the SQEs and cells up to `to` were
        // acquired from their stamps and go to the kernel. Relaxed on failure: the
        // walk starts again from the tail that was found, which reads stamps anew.
        tail.compare_exchange(from, to, edges::SQ_PUBLISH.order(), Relaxed)
            .map(|_| ())
    }

    /// As `publish`, for the only user of a queue (rule L1).
    #[cfg(not(ringway_loom))]
    #[inline(always)]
    pub(crate) fn set_tail(&self, to: u32) {
        // Ordering: Release, as in `publish`.
        word(&self.at.sq_tail).store(to, edges::SQ_PUBLISH.order());
    }

    #[inline(always)]
    pub(crate) fn flags(&self) -> u32 {
        // Ordering: Relaxed; a set of hints. NEED_WAKEUP is ordered by the fence
        // before this load, the others are looked at again.
        word(&self.at.sq_flags).load(Relaxed)
    }

    /// SQEs that the kernel refused to read since the ring was made: 0 unless the
    /// ring's memory was corrupted.
    pub(crate) fn dropped(&self) -> u32 {
        // Ordering: Relaxed; a statistic.
        word(&self.at.sq_dropped).load(Relaxed)
    }

    fn array(&self, cell: u32) -> Option<&AtomicU32> {
        let array = self.at.sq_array?;
        debug_assert!(cell < self.at.sq_entries);
        // SAFETY: rule V1; the array has `sq_entries` cells and every `cell` that is
        // passed in was masked by that number.
        Some(unsafe { array.add(cell as usize).as_ref() })
    }

    /// The slot number in a cell of the index array, as it is now: perhaps not the
    /// reader's (rule S2). Always within the ring.
    #[inline(always)]
    pub(crate) fn index(&self, cell: u32) -> u32 {
        // Ordering: Relaxed; validated by the CAS that claims the cell.
        let index = self.array(cell).map_or(cell, |index| index.load(Relaxed));
        index & self.mask
    }

    #[inline(always)]
    pub(crate) fn set_index(&self, cell: u32, index: u32) {
        if let Some(array) = self.array(cell) {
            // Ordering: Relaxed; the stamp and then the tail pass it on.
            array.store(index, Relaxed);
        }
    }

    /// Where the SQEs lie.
    #[inline(always)]
    pub(crate) fn sqes(&self) -> Sqes<'_> {
        Sqes {
            first: self.at.sqes,
            stride: self.stride,
            view: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn sqe_size(&self) -> EntrySize {
        self.at.sqe_size
    }

    /// The command area of an SQE: the last 16 bytes of its first 64, and of a big one
    /// also the other 64.
    ///
    /// # Safety
    ///
    /// Rule S1: the caller owns the slot, with `is_big` all 128 bytes from its start, and
    /// holds no other reference into it.
    #[cfg(not(ringway_loom))]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn command(&self, slot: u32, is_big: bool) -> &mut [u8] {
        const AT: usize = std::mem::offset_of!(Sqe, addr3);
        debug_assert!(slot < self.at.sq_entries);
        let size = size_of::<Sqe>() << u32::from(is_big);
        let unit = (slot as usize) << self.at.sqe_size.shift();
        // SAFETY: the `size` bytes lie in the SQE array, from whose pointer this one comes;
        // the caller owns them.
        unsafe {
            let sqe = self.at.sqes.add(unit).cast::<u8>();
            NonNull::slice_from_raw_parts(sqe.add(AT), size - AT).as_mut()
        }
    }
}

/// The SQEs of a view. A copy of what finds them, so that a loop over SQEs need not look
/// again after each one that it writes.
#[derive(Clone, Copy)]
pub(crate) struct Sqes<'v> {
    first: NonNull<UnsafeCell<Sqe>>,
    stride: usize,
    view: PhantomData<&'v SqView>,
}

impl<'v> Sqes<'v> {
    /// Whether SQEs have a second half.
    #[inline(always)]
    pub(crate) fn are_big(self) -> bool {
        self.stride > size_of::<UnsafeCell<Sqe>>()
    }

    /// The first 64 bytes of a slot.
    ///
    /// # Safety
    ///
    /// The slot is one of the ring's.
    #[inline(always)]
    pub(crate) unsafe fn of(self, slot: u32) -> &'v UnsafeCell<Sqe> {
        // SAFETY: the slot's SQE lies in the array, which rule V1 keeps alive.
        unsafe { self.first.byte_add(slot as usize * self.stride).as_ref() }
    }

    /// The 64 bytes after those.
    ///
    /// # Safety
    ///
    /// The slot is one of the ring's; SQEs [are big](Self::are_big), or it is not the last.
    pub(crate) unsafe fn second_half_of(self, slot: u32) -> &'v UnsafeCell<Sqe> {
        // SAFETY: as in `of`; the caller says that there is one more unit.
        unsafe {
            let first = self.first.byte_add(slot as usize * self.stride);
            first.add(1).as_ref()
        }
    }
}

/// The completion side of a ring's memory.
pub(crate) struct CqView {
    at: Pointers,
    mask: u32,
}

// SAFETY: the pointees are atomics, kept alive by rule V1.
unsafe impl Send for CqView {}
// SAFETY: as for Send.
unsafe impl Sync for CqView {}

impl CqView {
    /// # Safety
    ///
    /// Rule V1: what `at` points into outlives the view.
    pub(crate) unsafe fn new(at: Pointers) -> Self {
        Self {
            at,
            mask: at.cq_entries - 1,
        }
    }

    #[inline(always)]
    pub(crate) fn entries(&self) -> u32 {
        self.at.cq_entries
    }

    #[inline(always)]
    pub(crate) fn size(&self) -> EntrySize {
        self.at.cqe_size
    }

    #[inline(always)]
    pub(crate) fn slot_of(&self, counter: u32) -> u32 {
        counter & self.mask
    }

    #[inline(always)]
    pub(crate) fn head(&self) -> u32 {
        // Ordering: Acquire, see `CQ_HEAD`; Relaxed allows a new head with an old
        // tail, which looks like 2^32 - 1 completions.
        word(&self.at.cq_head).load(edges::CQ_HEAD.order())
    }

    #[inline(always)]
    pub(crate) fn tail(&self) -> u32 {
        // Ordering: Acquire, see `CQ_TAIL`; the CQEs before it are complete.
        word(&self.at.cq_tail).load(edges::CQ_TAIL.order())
    }

    /// Takes the CQEs from `from` to `to`, unless another reaper took the first.
    #[inline(always)]
    pub(crate) fn claim(&self, from: u32, to: u32) -> Result<u32, u32> {
        // Ordering: Release, see `CQ_CLAIM`: gives the words back after they were
        // read. Relaxed on failure: the head is then loaded again with Acquire.
        word(&self.at.cq_head).compare_exchange(from, to, edges::CQ_CLAIM.order(), Relaxed)
    }

    /// As `claim`, for the only user of a queue (rule L1).
    #[cfg(not(ringway_loom))]
    #[inline(always)]
    pub(crate) fn set_head(&self, to: u32) {
        // Ordering: Release, as in `claim`.
        word(&self.at.cq_head).store(to, edges::CQ_CLAIM.order());
    }

    /// Completions that the kernel lost for want of memory.
    pub(crate) fn overflow(&self) -> u32 {
        // Ordering: Relaxed; a statistic, ordered with nothing by the kernel either.
        word(&self.at.cq_overflow).load(Relaxed)
    }

    /// What the application tells the kernel: `IORING_CQ_*`.
    #[cfg(not(ringway_loom))]
    pub(crate) fn flags(&self) -> u32 {
        // Ordering: Relaxed; a hint that stands for itself.
        word(&self.at.cq_flags).load(Relaxed)
    }

    #[cfg(not(ringway_loom))]
    pub(crate) fn set_flags(&self, flags: u32) {
        // Ordering: Relaxed; the kernel takes it as a hint (READ_ONCE in
        // `io_eventfd_grab`), and nothing is passed on with it.
        word(&self.at.cq_flags).store(flags, Relaxed);
    }

    #[inline(always)]
    fn pair(&self, word: usize) -> [u64; 2] {
        debug_assert!(word < (self.at.cq_entries as usize) << 2);
        // SAFETY: rule V1; `word` comes from a masked slot, so both words lie in the
        // CQE array.
        let words: [&AtomicU64; 2] = unsafe {
            [
                self.at.cqes.add(word).as_ref(),
                self.at.cqes.add(word + 1).as_ref(),
            ]
        };
        // Ordering: Relaxed; the tail was acquired before, the CAS on the head says
        // afterwards whether the words were still ours to read (rule C2).
        words.map(|word| word.load(Relaxed))
    }

    /// The 16 bytes in a slot, as they are now: perhaps overwritten (rule C2).
    #[inline(always)]
    pub(crate) fn read(&self, slot: u32) -> Cqe {
        debug_assert!(slot < self.at.cq_entries);
        decode(self.pair((slot as usize) << (1 + self.at.cqe_size.shift())))
    }

    /// As `read`, in a ring whose CQEs are all of 16 bytes.
    #[inline(always)]
    pub(crate) fn read_small(&self, slot: u32) -> Cqe {
        debug_assert!(slot < self.at.cq_entries);
        decode(self.pair((slot as usize) << 1))
    }

    /// As `read`, of the 16-byte CQEs from a counter on.
    #[inline(always)]
    pub(crate) fn read_all(&self, from: u32, out: &mut [Cqe]) {
        debug_assert!(out.len() <= self.at.cq_entries as usize);
        let slot = self.slot_of(from) as usize;
        let (until_end, from_start) =
            out.split_at_mut(out.len().min(self.at.cq_entries as usize - slot));
        for (i, cqe) in until_end.iter_mut().enumerate() {
            *cqe = decode(self.pair((slot + i) << 1));
        }
        for (i, cqe) in from_start.iter_mut().enumerate() {
            *cqe = decode(self.pair(i << 1));
        }
    }

    /// The second 16 bytes of a 32-byte CQE that starts in `slot`: two slots in a
    /// mixed ring, one in a ring of 32-byte CQEs, none otherwise.
    pub(crate) fn read_extra(&self, slot: u32, first: Cqe) -> [u64; 2] {
        match self.at.cqe_size {
            EntrySize::Small => [0, 0],
            EntrySize::Big => self.pair(((slot as usize) << 2) + 2),
            EntrySize::Mixed if first.flags & cqe_flags::BIG != 0 => {
                self.pair((self.slot_of(slot.wrapping_add(1)) as usize) << 1)
            }
            EntrySize::Mixed => [0, 0],
        }
    }
}

#[inline(always)]
fn decode([user_data, result]: [u64; 2]) -> Cqe {
    let [res, flags] = if cfg!(target_endian = "little") {
        [result as u32, (result >> 32) as u32]
    } else {
        [(result >> 32) as u32, result as u32]
    };
    Cqe {
        user_data,
        res: res as i32,
        flags,
    }
}
