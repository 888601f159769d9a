//! The memory that is shared with the kernel: mapped, measured against what the
//! kernel answered, and handed on as typed pointers.

use std::ptr::NonNull;

#[cfg(not(ringway_loom))]
mod sizes;

#[cfg(not(ringway_loom))]
pub(crate) use self::{
    kernel::{MapError, Mapping, Region, RingMemory},
    sizes::{bytes, page, sq_array},
};

use crate::abi::Sqe;
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU32, AtomicU64};

/// How a queue's memory is cut into entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntrySize {
    /// SQEs of 64 bytes, CQEs of 16.
    Small,
    /// Twice that: `SQE128`, `CQE32`.
    Big,
    /// Slots of the small size, some entries taking two: `SQE_MIXED`, `CQE_MIXED`.
    Mixed,
}

impl EntrySize {
    /// From slots to units of the small size.
    #[inline(always)]
    pub(crate) fn shift(self) -> u32 {
        u32::from(self == EntrySize::Big)
    }
}

/// Where each shared field lies. What may be done with it is `ring`'s to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pointers {
    pub(crate) sq_head: NonNull<AtomicU32>,
    pub(crate) sq_tail: NonNull<AtomicU32>,
    pub(crate) sq_flags: NonNull<AtomicU32>,
    pub(crate) sq_dropped: NonNull<AtomicU32>,
    /// `sq_entries` indices; `None` with `NO_SQARRAY`.
    pub(crate) sq_array: Option<NonNull<AtomicU32>>,
    /// `sq_entries` slots of one or two units of 64 bytes.
    pub(crate) sqes: NonNull<UnsafeCell<Sqe>>,
    pub(crate) sqe_size: EntrySize,
    /// A power of two: SQEs, or slots of 64 bytes where sizes are mixed.
    pub(crate) sq_entries: u32,
    pub(crate) cq_head: NonNull<AtomicU32>,
    pub(crate) cq_tail: NonNull<AtomicU32>,
    #[cfg_attr(ringway_loom, allow(dead_code))]
    pub(crate) cq_flags: NonNull<AtomicU32>,
    pub(crate) cq_overflow: NonNull<AtomicU32>,
    /// Two words for each 16 bytes.
    pub(crate) cqes: NonNull<AtomicU64>,
    pub(crate) cqe_size: EntrySize,
    /// A power of two: CQEs, or slots of 16 bytes where sizes are mixed.
    pub(crate) cq_entries: u32,
}

#[cfg(not(ringway_loom))]
mod kernel {
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::ptr::{self, NonNull};

    use super::sizes::{bytes, cqe_bytes, entry_size, page, sqe_bytes};
    use super::{EntrySize, Pointers};
    use crate::abi::{Params, off, setup};
    use crate::sync::atomic::{AtomicU32, Ordering};
    use crate::syscall::Errno;

    /// Why there is no mapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum MapError {
        /// `mmap(2)` or `madvise(2)` failed.
        Refused {
            region: &'static str,
            len: usize,
            errno: Errno,
        },
        /// A field of the kernel's answer does not fit the memory.
        Answer { field: &'static str },
    }

    impl MapError {
        /// What the system call said; ENOMEM for what cannot be used.
        pub(crate) fn errno(self) -> Errno {
            match self {
                Self::Refused { errno, .. } => errno,
                Self::Answer { .. } => Errno::from_raw(libc::ENOMEM),
            }
        }
    }

    /// One mmapped region, unmapped when dropped.
    #[derive(Debug)]
    pub(crate) struct Region {
        addr: NonNull<u8>,
        len: usize,
        /// Who has it: a forked child does not.
        process: u32,
    }

    // SAFETY: a mapping belongs to the process, not to a thread; a `Region` itself reads
    // and writes nothing in it.
    unsafe impl Send for Region {}
    // SAFETY: as for `Send`.
    unsafe impl Sync for Region {}

    impl Region {
        /// Maps `len` bytes: of the ring `fd` at an offset, or anonymous. A child of
        /// `fork(2)` does not get the region: two processes would move the same
        /// heads and tails.
        pub(crate) fn map(
            name: &'static str,
            len: usize,
            source: Option<(BorrowedFd<'_>, u64)>,
        ) -> Result<Self, MapError> {
            let refused = || MapError::Refused {
                region: name,
                len,
                errno: Errno::last(),
            };
            let (flags, fd, offset) = match source {
                // Each of the offsets has 32 bits, which is what mmap(2) takes from the
                // narrowest off_t.
                Some((fd, offset)) => (
                    libc::MAP_SHARED | libc::MAP_POPULATE,
                    fd.as_raw_fd(),
                    offset as libc::off_t,
                ),
                None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0),
            };
            // SAFETY: a new mapping at an address of the kernel's choice touches no
            // memory that exists.
            let addr = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    len,
                    libc::PROT_READ | libc::PROT_WRITE,
                    flags,
                    fd,
                    offset,
                )
            };
            if addr == libc::MAP_FAILED {
                return Err(refused());
            }
            let addr = NonNull::new(addr.cast()).ok_or(MapError::Answer { field: name })?;
            let process = std::process::id();
            let region = Self { addr, len, process };
            // SAFETY: the whole region is this mapping; DONTFORK leaves its bytes as
            // they are.
            if unsafe { libc::madvise(addr.as_ptr().cast(), len, libc::MADV_DONTFORK) } != 0 {
                return Err(refused());
            }
            Ok(region)
        }

        /// Where it begins, on a page.
        pub(crate) fn start(&self) -> NonNull<u8> {
            self.addr
        }

        /// Whether this process has it: a forked child does not.
        pub(crate) fn is_ours(&self) -> bool {
            self.process == std::process::id()
        }

        /// The whole, at an address that the kernel may be told.
        pub(crate) fn memory(&self) -> NonNull<[u8]> {
            NonNull::slice_from_raw_parts(self.addr, self.len)
        }

        /// Whether `count` items of `size` bytes at `offset` lie inside, aligned.
        pub(crate) fn holds(&self, offset: u32, count: u32, size: u32) -> bool {
            let end = u64::from(offset) + u64::from(count) * u64::from(size);
            // What is wider than a word is made of words.
            offset.is_multiple_of(size.min(8)) && end <= self.len as u64
        }

        /// # Safety
        /// The region [`holds`](Self::holds) a `T` at `offset`.
        pub(crate) unsafe fn at<T>(&self, offset: u32) -> NonNull<T> {
            // SAFETY: the caller's promise: the result is inside the region.
            unsafe { self.addr.add(offset as usize).cast() }
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            // In a forked child something else may lie there.
            if !self.is_ours() {
                return;
            }
            // SAFETY: the region was mapped with this length by `map`, which alone
            // makes a `Region`, and is unmapped here only.
            unsafe { libc::munmap(self.addr.as_ptr().cast(), self.len) };
        }
    }

    /// The two regions of a ring: both rings in one, the SQEs in the other.
    #[derive(Debug)]
    pub(crate) struct RingMemory {
        ring: Region,
        sqes: Region,
    }

    impl RingMemory {
        /// Maps what the kernel allocated for `fd`.
        fn of_kernel(fd: BorrowedFd<'_>, params: &Params) -> Result<Self, MapError> {
            let array = if params.flags & setup::NO_SQARRAY == 0 {
                u64::from(params.sq_off.array) + 4 * u64::from(params.sq_entries)
            } else {
                0
            };
            let cqes = u64::from(params.cq_off.cqes)
                + u64::from(params.cq_entries) * u64::from(cqe_bytes(params.flags));
            let sqes = u64::from(params.sq_entries) * u64::from(sqe_bytes(params.flags));
            let ring = length("ring", array.max(cqes))?;
            let sqes = length("sqes", sqes)?;
            Ok(Self {
                ring: Region::map("ring", ring, Some((fd, off::SQ_RING)))?,
                sqes: Region::map("sqes", sqes, Some((fd, off::SQES)))?,
            })
        }

        /// Allocates for a ring with `NO_MMAP`. The kernel is told addresses, not
        /// lengths: it takes what it needs. So there is a page of slack, for a
        /// header of the ring that has grown.
        pub(crate) fn of_user(flags: u32, sq: u32, cq: u32) -> Result<Self, MapError> {
            let (ring, sqes) = bytes(flags, sq, cq);
            let ring = length("ring", ring + page())?;
            let sqes = length("sqes", sqes + page())?;
            Ok(Self {
                ring: Region::map("ring", ring, None)?,
                sqes: Region::map("sqes", sqes, None)?,
            })
        }

        /// Where the rings lie, for `cq_off.user_addr`.
        pub(crate) fn ring_addr(&self) -> u64 {
            self.ring.addr.as_ptr().expose_provenance() as u64
        }

        /// Where the SQEs lie, for `sq_off.user_addr`.
        pub(crate) fn sqes_addr(&self) -> u64 {
            self.sqes.addr.as_ptr().expose_provenance() as u64
        }
    }

    /// A ring's memory, measured. Unmapped when dropped; the kernel keeps what it
    /// still needs.
    #[derive(Debug)]
    pub(crate) struct Mapping {
        pointers: Pointers,
        memory: RingMemory,
    }

    // SAFETY: the mapping belongs to the process, not to a thread, and is not
    // written here after `measure`. Who may touch what lies in it is `ring`'s
    // protocol.
    unsafe impl Send for Mapping {}
    // SAFETY: as for `Send`; a shared `Mapping` only copies pointers out.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        /// Whether this process has it: a forked child does not.
        pub(crate) fn is_ours(&self) -> bool {
            self.memory.ring.is_ours()
        }

        /// Maps the ring `fd`, whose setup answered `params`.
        pub(crate) fn of_kernel(fd: BorrowedFd<'_>, params: &Params) -> Result<Self, MapError> {
            Self::measure(RingMemory::of_kernel(fd, params)?, params)
        }

        /// Holds every offset and count of the kernel's answer against the memory.
        pub(crate) fn measure(memory: RingMemory, params: &Params) -> Result<Self, MapError> {
            let (ring, sqes) = (&memory.ring, &memory.sqes);
            let (sq, cq) = (&params.sq_off, &params.cq_off);
            let (sq_entries, cq_entries) = (params.sq_entries, params.cq_entries);
            let (sqe_bytes, cqe_bytes) = (sqe_bytes(params.flags), cqe_bytes(params.flags));
            let sq_array = (params.flags & setup::NO_SQARRAY == 0).then_some(sq.array);

            let answers = [
                ("sq_entries", sq_entries.is_power_of_two()),
                ("cq_entries", cq_entries.is_power_of_two()),
                ("sq_off.head", ring.holds(sq.head, 1, 4)),
                ("sq_off.tail", ring.holds(sq.tail, 1, 4)),
                ("sq_off.ring_mask", ring.holds(sq.ring_mask, 1, 4)),
                ("sq_off.ring_entries", ring.holds(sq.ring_entries, 1, 4)),
                ("sq_off.flags", ring.holds(sq.flags, 1, 4)),
                ("sq_off.dropped", ring.holds(sq.dropped, 1, 4)),
                (
                    "sq_off.array",
                    sq_array.is_none_or(|array| ring.holds(array, sq_entries, 4)),
                ),
                ("cq_off.head", ring.holds(cq.head, 1, 4)),
                ("cq_off.tail", ring.holds(cq.tail, 1, 4)),
                ("cq_off.ring_mask", ring.holds(cq.ring_mask, 1, 4)),
                ("cq_off.ring_entries", ring.holds(cq.ring_entries, 1, 4)),
                ("cq_off.flags", ring.holds(cq.flags, 1, 4)),
                ("cq_off.overflow", ring.holds(cq.overflow, 1, 4)),
                ("cq_off.cqes", ring.holds(cq.cqes, cq_entries, cqe_bytes)),
                ("sqes", sqes.holds(0, sq_entries, sqe_bytes)),
            ];
            if let Some((field, _)) = answers.into_iter().find(|(_, fits)| !fits) {
                return Err(MapError::Answer { field });
            }

            let counts = [
                ("sq ring_mask", sq.ring_mask, sq_entries - 1),
                ("sq ring_entries", sq.ring_entries, sq_entries),
                ("cq ring_mask", cq.ring_mask, cq_entries - 1),
                ("cq ring_entries", cq.ring_entries, cq_entries),
            ];
            for (field, offset, expected) in counts {
                // SAFETY: the offset was measured above; the kernel writes these four
                // once, before the setup call returns.
                let word = unsafe { ring.at::<AtomicU32>(offset).as_ref() };
                // Ordering: Relaxed; the setup call's return orders it.
                if word.load(Ordering::Relaxed) != expected {
                    return Err(MapError::Answer { field });
                }
            }

            // SAFETY: each offset was measured above, with its size and alignment.
            let pointers = unsafe {
                Pointers {
                    sq_head: ring.at(sq.head),
                    sq_tail: ring.at(sq.tail),
                    sq_flags: ring.at(sq.flags),
                    sq_dropped: ring.at(sq.dropped),
                    sq_array: sq_array.map(|array| ring.at(array)),
                    sqes: sqes.at(0),
                    sqe_size: entry_size(params.flags, setup::SQE128, setup::SQE_MIXED),
                    sq_entries,
                    cq_head: ring.at(cq.head),
                    cq_tail: ring.at(cq.tail),
                    cq_flags: ring.at(cq.flags),
                    cq_overflow: ring.at(cq.overflow),
                    cqes: ring.at(cq.cqes),
                    cqe_size: entry_size(params.flags, setup::CQE32, setup::CQE_MIXED),
                    cq_entries,
                }
            };
            Ok(Self { pointers, memory })
        }

        /// Valid for as long as the mapping lives.
        pub(crate) fn pointers(&self) -> Pointers {
            self.pointers
        }

        /// Copies `count` filled slots of the CQ, counted from `head`, to the places that
        /// they have here.
        ///
        /// # Safety
        /// No kernel and no other thread touches either CQ meanwhile. Slots are of the same
        /// size in both.
        pub(crate) unsafe fn copy_cqes(&self, from: &Self, head: u32, count: u32) {
            let words = cqe_words(self.pointers.cqe_size);
            // SAFETY: the place is masked by the number of slots, each of which has this
            // many words; both mappings are borrowed.
            let word = |at: &Pointers, place: u32, i| unsafe {
                let slot = (place & (at.cq_entries - 1)) as usize;
                at.cqes.add(slot * words + i).as_ref()
            };
            for place in (0..count).map(|i| head.wrapping_add(i)) {
                for i in 0..words {
                    // Ordering: Relaxed; the caller's promise.
                    let value = word(&from.pointers, place, i).load(Ordering::Relaxed);
                    word(&self.pointers, place, i).store(value, Ordering::Relaxed);
                }
            }
        }
    }

    fn cqe_words(size: EntrySize) -> usize {
        2 << size.shift()
    }

    fn length(field: &'static str, bytes: u64) -> Result<usize, MapError> {
        usize::try_from(bytes).map_err(|_| MapError::Answer { field })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// A stand-in for what the kernel answers, for 4 SQEs and 8 CQEs.
        fn answer() -> Params {
            let mut params = Params {
                sq_entries: 4,
                cq_entries: 8,
                ..Params::default()
            };
            let sq = &mut params.sq_off;
            (sq.head, sq.tail, sq.ring_mask, sq.ring_entries) = (0, 4, 16, 24);
            (sq.dropped, sq.flags, sq.array) = (32, 36, 192);
            let cq = &mut params.cq_off;
            (cq.head, cq.tail, cq.ring_mask, cq.ring_entries) = (8, 12, 20, 28);
            (cq.flags, cq.overflow, cq.cqes) = (40, 44, 64);
            params
        }

        const RING: usize = 192 + 4 * 4;
        const SQES: usize = 4 * 64;

        /// Memory as the kernel leaves it after that answer.
        fn memory(ring: usize, sqes: usize) -> RingMemory {
            let memory = RingMemory {
                ring: Region::map("ring", ring, None).unwrap(),
                sqes: Region::map("sqes", sqes, None).unwrap(),
            };
            for (offset, value) in [(16, 3), (24, 4), (20, 7), (28, 8)] {
                poke(&memory, offset, value);
            }
            memory
        }

        fn poke(memory: &RingMemory, offset: u32, value: u32) {
            // SAFETY: the offset is inside the header; no other thread knows the
            // memory.
            unsafe { memory.ring.at::<u32>(offset).write(value) };
        }

        #[track_caller]
        fn refused(memory: RingMemory, params: &Params, expected: &'static str) {
            let Err(MapError::Answer { field }) = Mapping::measure(memory, params) else {
                panic!("{expected} was not refused");
            };
            assert_eq!(field, expected);
        }

        #[test]
        fn pointers_lie_where_the_answer_says() {
            let memory = memory(RING, SQES);
            let (ring, sqes) = (memory.ring_addr(), memory.sqes_addr());
            let mapping = Mapping::measure(memory, &answer()).unwrap();
            let p = mapping.pointers();
            let at = |p: NonNull<AtomicU32>| p.as_ptr() as u64 - ring;
            assert_eq!((at(p.sq_head), at(p.sq_tail)), (0, 4));
            assert_eq!((at(p.cq_head), at(p.cq_tail)), (8, 12));
            assert_eq!((at(p.sq_dropped), at(p.sq_flags)), (32, 36));
            assert_eq!((at(p.cq_flags), at(p.cq_overflow)), (40, 44));
            assert_eq!(p.sq_array.map(at), Some(192));
            assert_eq!(p.cqes.as_ptr() as u64 - ring, 64);
            assert_eq!(p.sqes.as_ptr() as u64, sqes);
            assert_eq!((p.sq_entries, p.cq_entries), (4, 8));
            assert_eq!(
                (p.sqe_size, p.cqe_size),
                (EntrySize::Small, EntrySize::Small)
            );
        }

        #[test]
        fn wide_entries_are_measured_wide() {
            let mut params = answer();
            params.flags = setup::NO_SQARRAY | setup::SQE128 | setup::CQE32;
            params.sq_off.array = u32::MAX;
            let mapping = Mapping::measure(memory(64 + 8 * 32, 4 * 128), &params).unwrap();
            let p = mapping.pointers();
            assert!(p.sq_array.is_none());
            assert_eq!((p.sqe_size, p.cqe_size), (EntrySize::Big, EntrySize::Big));
            refused(memory(64 + 8 * 32 - 1, 4 * 128), &params, "cq_off.cqes");
            refused(memory(64 + 8 * 32, 4 * 128 - 1), &params, "sqes");

            params.flags = setup::NO_SQARRAY | setup::CQE_MIXED;
            let mapping = Mapping::measure(memory(64 + 8 * 16, SQES), &params).unwrap();
            assert_eq!(mapping.pointers().cqe_size, EntrySize::Mixed);
        }

        #[test]
        fn every_offset_is_measured() {
            type Field = fn(&mut Params) -> &mut u32;
            let fields: [(&str, Field); 14] = [
                ("sq_off.head", |p| &mut p.sq_off.head),
                ("sq_off.tail", |p| &mut p.sq_off.tail),
                ("sq_off.ring_mask", |p| &mut p.sq_off.ring_mask),
                ("sq_off.ring_entries", |p| &mut p.sq_off.ring_entries),
                ("sq_off.flags", |p| &mut p.sq_off.flags),
                ("sq_off.dropped", |p| &mut p.sq_off.dropped),
                ("sq_off.array", |p| &mut p.sq_off.array),
                ("cq_off.head", |p| &mut p.cq_off.head),
                ("cq_off.tail", |p| &mut p.cq_off.tail),
                ("cq_off.ring_mask", |p| &mut p.cq_off.ring_mask),
                ("cq_off.ring_entries", |p| &mut p.cq_off.ring_entries),
                ("cq_off.flags", |p| &mut p.cq_off.flags),
                ("cq_off.overflow", |p| &mut p.cq_off.overflow),
                ("cq_off.cqes", |p| &mut p.cq_off.cqes),
            ];
            for (name, field) in fields {
                for wrong in [2, RING as u32, u32::MAX - 3, u32::MAX] {
                    let mut params = answer();
                    *field(&mut params) = wrong;
                    refused(memory(RING, SQES), &params, name);
                }
            }
        }

        #[test]
        fn counts_agree_between_answer_and_memory() {
            for (name, offset) in [
                ("sq ring_mask", 16),
                ("sq ring_entries", 24),
                ("cq ring_mask", 20),
                ("cq ring_entries", 28),
            ] {
                for wrong in [0, 5, u32::MAX] {
                    let memory = memory(RING, SQES);
                    poke(&memory, offset, wrong);
                    refused(memory, &answer(), name);
                }
            }
            for wrong in [0, 3, 6, u32::MAX] {
                let mut params = answer();
                params.sq_entries = wrong;
                refused(memory(RING, SQES), &params, "sq_entries");
                let mut params = answer();
                params.cq_entries = wrong;
                refused(memory(RING, SQES), &params, "cq_entries");
            }
            // Powers of two, and far more than there is memory for.
            let mut params = answer();
            params.sq_entries = 1 << 31;
            refused(memory(RING, SQES), &params, "sq_off.array");
            let mut params = answer();
            params.cq_entries = 1 << 31;
            refused(memory(RING, SQES), &params, "cq_off.cqes");
        }

        #[test]
        fn cqes_are_copied_to_their_places_across_the_wrap() {
            for (flags, words) in [(0, 2), (setup::CQE32, 4)] {
                let make = |cq: u32| {
                    let mut params = answer();
                    params.flags = flags | setup::NO_SQARRAY;
                    params.cq_entries = cq;
                    let memory = memory(64 + 32 * 32, SQES);
                    poke(&memory, 20, cq - 1);
                    poke(&memory, 28, cq);
                    Mapping::measure(memory, &params).unwrap()
                };
                let (from, to) = (make(8), make(32));
                let word = |mapping: &Mapping, at: u32, i| {
                    let slot = at & (mapping.pointers.cq_entries - 1);
                    // SAFETY: the place is in the array; no other thread knows it.
                    unsafe {
                        mapping
                            .pointers
                            .cqes
                            .add(slot as usize * words + i)
                            .as_ref()
                    }
                };
                let head = u32::MAX - 2;
                for i in 0..8 {
                    for j in 0..words {
                        let value = u64::from(i) << 8 | j as u64 | 1 << 63;
                        // Ordering: Relaxed; of one thread.
                        word(&from, head.wrapping_add(i), j).store(value, Ordering::Relaxed);
                    }
                }
                // SAFETY: no kernel and no other thread knows either.
                unsafe { to.copy_cqes(&from, head, 7) };
                for i in 0..8 {
                    for j in 0..words {
                        let value = u64::from(i) << 8 | j as u64 | 1 << 63;
                        let expected = if i < 7 { value } else { 0 };
                        // Ordering: Relaxed; of one thread.
                        let found = word(&to, head.wrapping_add(i), j).load(Ordering::Relaxed);
                        assert_eq!(found, expected, "{flags:#x}: {i}.{j}");
                    }
                }
            }
        }

        #[test]
        fn a_short_mapping_is_refused() {
            let params = answer();
            assert!(Mapping::measure(memory(RING, SQES), &params).is_ok());
            refused(memory(RING - 1, SQES), &params, "sq_off.array");
            refused(memory(RING, SQES - 1), &params, "sqes");
        }
    }
}
