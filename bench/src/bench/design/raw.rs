//! One ring and one thread by hand: what there is to reach.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use super::{CQ, Design, Port, SQ, Setup};
use crate::enter::{GETEVENTS, enter};
use crate::op::Op;

const CQSIZE: u32 = 1 << 3;
const SUBMIT_ALL: u32 = 1 << 7;
const TASKRUN_FLAG: u32 = 1 << 9;
const SINGLE_ISSUER: u32 = 1 << 12;
const DEFER_TASKRUN: u32 = 1 << 13;
const NO_SQARRAY: u32 = 1 << 16;
/// In the SQ's flags.
const CQ_OVERFLOW: u32 = 1 << 1;
const TASKRUN: u32 = 1 << 2;
const SINGLE_MMAP: u32 = 1;
const OFF_SQES: i64 = 0x1000_0000;

/// `struct io_uring_params`: ten words, and the offsets of both rings.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread: [u32; 2],
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq: Offsets,
    cq: Offsets,
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`, whose first four and last
/// fields mean the same; the fifth is the SQ's flags, the sixth the CQEs, the seventh the
/// array.
#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    fifth: u32,
    sixth: u32,
    seventh: u32,
    resv: u32,
    user_addr: u64,
}

/// A mapped ring. The counters are the kernel's; one thread uses its side.
pub struct RawRing {
    fd: OwnedFd,
    rings: Map,
    sqes: Map,
    params: Params,
}

struct Map(NonNull<u8>, usize);

// SAFETY: plain memory; who uses it is the rings' business.
unsafe impl Send for Map {}
// SAFETY: as above; one port at a time uses a ring.
unsafe impl Sync for Map {}

impl Map {
    fn new(fd: RawFd, len: usize, offset: i64) -> Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping of a ring's memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, fd, offset) };
        assert_ne!(at, libc::MAP_FAILED, "mmap of a ring");
        Self(NonNull::new(at.cast()).expect("mapped"), len)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and used no more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), self.1) };
    }
}

impl RawRing {
    pub fn new(setup: Setup) -> Self {
        let mut params = Params {
            cq_entries: CQ,
            flags: CQSIZE | SUBMIT_ALL,
            ..Default::default()
        };
        if setup.no_sqarray {
            params.flags |= NO_SQARRAY;
        }
        if setup.defers {
            params.flags |= SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG;
        }
        // SAFETY: the kernel reads and writes one struct.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, SQ, &raw mut params) };
        assert!(
            fd >= 0,
            "io_uring_setup: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: the kernel just opened it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        assert_ne!(params.features & SINGLE_MMAP, 0);
        let cqes = params.cq.sixth as usize + params.cq_entries as usize * 16;
        let array = params.sq.seventh as usize + params.sq_entries as usize * 4;
        let rings = Map::new(fd.as_raw_fd(), cqes.max(array), 0);
        let sqes = Map::new(fd.as_raw_fd(), params.sq_entries as usize * 64, OFF_SQES);
        let ring = Self {
            fd,
            rings,
            sqes,
            params,
        };
        if !setup.no_sqarray {
            for i in 0..ring.params.sq_entries {
                ring.word(ring.params.sq.seventh + 4 * i).store(i, Relaxed);
            }
        }
        ring
    }

    #[inline(always)]
    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the offset is the kernel's, within the mapping.
        unsafe { self.rings.0.byte_add(offset as usize).cast().as_ref() }
    }
}

impl AsRawFd for RawRing {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The counters of the thread that uses the ring.
pub struct RawPort<'r, const INLINE: bool> {
    ring: RawFd,
    sq_tail: &'r AtomicU32,
    sq_head: &'r AtomicU32,
    sq_flags: &'r AtomicU32,
    cq_head: &'r AtomicU32,
    cq_tail: &'r AtomicU32,
    sqes: NonNull<[u64; 8]>,
    cqes: NonNull<[AtomicU64; 2]>,
    tail: u32,
    head: u32,
}

impl<'r, const INLINE: bool> RawPort<'r, INLINE> {
    pub fn new(ring: &'r RawRing) -> Self {
        let (sq, cq) = (&ring.params.sq, &ring.params.cq);
        Self {
            ring: ring.fd.as_raw_fd(),
            sq_tail: ring.word(sq.tail),
            sq_head: ring.word(sq.head),
            sq_flags: ring.word(sq.fifth),
            cq_head: ring.word(cq.head),
            cq_tail: ring.word(cq.tail),
            sqes: ring.sqes.0.cast(),
            // SAFETY: the offset is the kernel's, within the mapping.
            cqes: unsafe { ring.rings.0.byte_add(cq.sixth as usize).cast() },
            tail: ring.word(sq.tail).load(Relaxed),
            head: ring.word(cq.head).load(Relaxed),
        }
    }
}

/// What loops by hand are made of.
impl<const INLINE: bool> RawPort<'_, INLINE> {
    /// Writes operations from a place on.
    #[inline(always)]
    pub fn fill(&mut self, from: u32, len: u32, mut next: impl FnMut() -> (Op, u64)) {
        self.write(from, len, || {
            let (op, user_data) = next();
            op.words(user_data)
        });
    }

    /// Writes SQEs from a place on, which are the caller's.
    #[inline(always)]
    pub fn write(&mut self, from: u32, len: u32, mut next: impl FnMut() -> [u64; 8]) {
        for i in 0..len {
            // SAFETY: the ring has SQ slots; that this one is free is the caller's business.
            unsafe {
                let slot = self.sqes.add((from.wrapping_add(i) & (SQ - 1)) as usize);
                slot.write(next());
            }
        }
    }

    /// Has the lines of SQEs brought here.
    #[inline(always)]
    pub fn fetch(&self, from: u32, len: u32) {
        #[cfg(target_arch = "x86_64")]
        for i in 0..len {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: within the array; a prefetch changes nothing.
            unsafe {
                let slot = self.sqes.add((from.wrapping_add(i) & (SQ - 1)) as usize);
                _mm_prefetch::<_MM_HINT_T0>(slot.as_ptr().cast());
            }
        }
        let _ = (from, len);
    }

    /// Takes what is ready unread.
    #[inline(always)]
    pub fn skip(&mut self) -> u32 {
        let tail = self.cq_tail.load(Acquire);
        let count = tail.wrapping_sub(self.head);
        self.head = tail;
        self.cq_head.store(tail, Release);
        count
    }

    /// Has the kernel take so many more, which lie ready.
    #[inline(always)]
    pub fn take(&mut self, len: u32) -> bool {
        self.tail = self.tail.wrapping_add(len);
        self.enter(len)
    }

    /// Has the kernel take so many, up to `self.tail`.
    #[inline(always)]
    fn enter(&mut self, len: u32) -> bool {
        self.sq_tail.store(self.tail, Release);
        enter::<INLINE>(self.ring, len, 0, 0) == len as i32
    }
}

impl<const INLINE: bool> Port for RawPort<'_, INLINE> {
    #[inline(always)]
    fn submit(
        &mut self,
        len: u32,
        mut next: impl FnMut() -> (Op, u64),
        _: &mut impl FnMut(u64, i32),
    ) -> bool {
        if SQ - self.tail.wrapping_sub(self.sq_head.load(Acquire)) < len {
            return false;
        }
        // Not by `fill`, which counts both: two instructions more for each.
        for _ in 0..len {
            let (op, user_data) = next();
            // SAFETY: the slot is free, and the ring has SQ of them.
            unsafe {
                let slot = self.sqes.add((self.tail & (SQ - 1)) as usize);
                slot.write(op.words(user_data));
            }
            self.tail = self.tail.wrapping_add(1);
        }
        self.enter(len)
    }

    #[inline(always)]
    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        let tail = self.cq_tail.load(Acquire);
        let count = tail.wrapping_sub(self.head);
        while self.head != tail {
            // SAFETY: the CQE is within the ring of CQ, and filled.
            let cqe = unsafe { self.cqes.add((self.head & (CQ - 1)) as usize).as_ref() };
            seen(cqe[0].load(Relaxed), cqe[1].load(Relaxed) as i32);
            self.head = self.head.wrapping_add(1);
        }
        self.cq_head.store(self.head, Release);
        // What is deferred to this thread, or did not fit.
        if count == 0 && self.sq_flags.load(Relaxed) & (TASKRUN | CQ_OVERFLOW) != 0 {
            enter::<INLINE>(self.ring, 0, 0, GETEVENTS);
        }
        count as usize
    }

    #[inline(always)]
    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        enter::<INLINE>(self.ring, 0, 1, GETEVENTS);
        self.reap(seen)
    }

    fn ring(&self) -> RawFd {
        self.ring
    }
}

/// A ring for each thread, made by it.
pub struct Raw<const INLINE: bool>(Setup, Vec<OnceLock<RawRing>>);

impl<const INLINE: bool> Design for Raw<INLINE> {
    type Port<'d> = RawPort<'d, INLINE>;

    const SHARED: bool = false;

    fn new(threads: u32, setup: Setup) -> Self {
        Self(setup, (0..threads).map(|_| OnceLock::new()).collect())
    }

    fn port(&self, thread: u32) -> Self::Port<'_> {
        RawPort::new(self.1[thread as usize].get_or_init(|| RawRing::new(self.0)))
    }
}
