//! Zero-copy receive: a queue of a network device writes into memory of the process.
//!
//! The device writes to the area; a receive (`RECV_ZC`) answers with CQEs that name chunks of
//! it; who has read a chunk gives it back through the refill ring.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use super::Registrar;
use crate::abi::{self, Cqe32, mem_region, register, zcrx, zcrx_area};
use crate::mapping::{MapError, Region, page};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::syscall::Errno;

/// The memory that the device writes to.
#[derive(Clone, Copy, Debug)]
pub struct ZcrxArea<'fd> {
    argument: abi::ZcrxAreaReg,
    dmabuf: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> ZcrxArea<'fd> {
    /// `len` bytes of the process from `addr` on: whole pages. They count as locked memory.
    pub fn memory(addr: *mut u8, len: usize) -> ZcrxArea<'static> {
        ZcrxArea {
            argument: abi::ZcrxAreaReg {
                addr: addr.expose_provenance() as u64,
                len: len as u64,
                ..abi::ZcrxAreaReg::default()
            },
            dmabuf: PhantomData,
        }
    }

    /// `len` bytes of a dma-buf from `offset` on: whole pages; some kernels take no offset
    /// but 0. Linux 6.16.
    pub fn dmabuf(dmabuf: BorrowedFd<'fd>, offset: u64, len: u64) -> Self {
        Self {
            argument: abi::ZcrxAreaReg {
                addr: offset,
                len,
                flags: zcrx_area::DMABUF as u32,
                // A borrowed descriptor is not negative.
                dmabuf_fd: dmabuf.as_raw_fd() as u32,
                ..abi::ZcrxAreaReg::default()
            },
            dmabuf: PhantomData,
        }
    }
}

/// What [`Registrar::register_ifq`] registers: a queue of a device, its area, and how many
/// chunks the refill ring holds.
#[derive(Clone, Copy, Debug)]
#[must_use = "it is given to Registrar::register_ifq"]
pub struct Ifq<'fd> {
    argument: abi::ZcrxIfqReg,
    area: ZcrxArea<'fd>,
}

/// The kernel's limit.
const MOST_ENTRIES: u32 = 32768;

impl<'fd> Ifq<'fd> {
    /// A receive queue of the interface with this index (`if_nametoindex(3)`). `entries` is 1
    /// to 32768, and rounded up to a power of two.
    pub fn new(interface: u32, queue: u32, entries: u32, area: ZcrxArea<'fd>) -> Self {
        let argument = abi::ZcrxIfqReg {
            if_idx: interface,
            if_rxq: queue,
            rq_entries: entries,
            ..abi::ZcrxIfqReg::default()
        };
        Self { argument, area }
    }

    /// No device: the kernel copies into the area whatever a socket receives, and takes chunks
    /// back only when told by [`Registrar::register_zcrx_ctrl_flush`]. To try things out.
    /// Linux 7.1; see [`QueryZcrx::no_device`](super::QueryZcrx::no_device).
    pub fn no_device(entries: u32, area: ZcrxArea<'fd>) -> Self {
        let mut ifq = Self::new(0, 0, entries, area);
        ifq.argument.flags = zcrx::REG_NODEV;
        ifq
    }

    /// How many bytes the device puts in a chunk at most: a power of two, a page or more; 0,
    /// the default, is a page. Linux 7.0.
    pub fn rx_buf_len(mut self, bytes: u32) -> Self {
        self.argument.rx_buf_len = bytes;
        self
    }
}

/// A queue that receives without a copy; see [`Registrar::register_ifq`]. It is closed with
/// its ring, and not before.
#[derive(Debug)]
pub struct Zcrx {
    /// What names it: in receives, and in [`Registrar::register_zcrx_ctrl_flush`].
    pub id: u32,
    /// Gives chunks back.
    pub refill: RefillRing,
}

/// A part of the area that holds received bytes: what the CQE of a receive is about. Whoever
/// has it reads it, and gives it back once.
#[derive(Debug, PartialEq, Eq)]
pub struct ZcrxChunk {
    offset: u64,
    len: u32,
}

impl ZcrxChunk {
    /// The chunk of a CQE of a zero-copy receive; `None` for one that has none: an error, or
    /// the end.
    pub fn of(cqe: &Cqe32) -> Option<Self> {
        let len = cqe.result().ok().filter(|&len| len > 0)?;
        let [offset, _] = cqe.extra();
        Some(Self { offset, len })
    }

    /// Where it begins, in bytes from the start of the area.
    pub fn offset(&self) -> u64 {
        self.offset & !zcrx_area::MASK
    }

    /// How many bytes were received, 1 at least.
    pub fn bytes(&self) -> u32 {
        self.len
    }
}

/// The ring through which chunks go back to the kernel. It has one producer, whoever has it
/// by `&mut`.
pub struct RefillRing {
    head: NonNull<AtomicU32>,
    tail: NonNull<AtomicU32>,
    entries: NonNull<abi::ZcrxRqe>,
    /// A power of two less one.
    mask: u32,
    /// What `tail` says, and nobody else changes.
    next: u32,
    /// Says which area in each entry.
    token: u64,
    /// What the pointers point into.
    _memory: Region,
}

// SAFETY: the memory is the process's, and reached through this value alone.
unsafe impl Send for RefillRing {}
// SAFETY: through a shared reference only the two counters are read, which are atomic.
unsafe impl Sync for RefillRing {}

impl RefillRing {
    /// Holds the kernel's answer against the memory that it was given.
    fn new(memory: Region, answer: &abi::ZcrxIfqReg, token: u64) -> Option<Self> {
        let abi::ZcrxOffsets {
            head, tail, rqes, ..
        } = answer.offsets;
        let size = size_of::<abi::ZcrxRqe>() as u32;
        let fits = answer.rq_entries.is_power_of_two()
            && memory.holds(head, 1, 4)
            && memory.holds(tail, 1, 4)
            && memory.holds(rqes, answer.rq_entries, size);
        // SAFETY: each offset was measured, with its size and alignment.
        fits.then(|| unsafe {
            Self {
                head: memory.at(head),
                tail: memory.at(tail),
                entries: memory.at(rqes),
                mask: answer.rq_entries - 1,
                next: 0,
                token,
                _memory: memory,
            }
        })
    }

    /// How many chunks there is room for.
    pub fn room(&self) -> u32 {
        // SAFETY: `head` points into the memory that this holds, and was measured.
        let head = unsafe { self.head.as_ref() };
        // Ordering: Acquire, so that the kernel has read an entry before it is overwritten.
        let used = self.next.wrapping_sub(head.load(Ordering::Acquire));
        // More than there are entries is no count: something else writes to the head.
        (self.mask + 1).saturating_sub(used)
    }

    /// How many chunks fit altogether.
    pub fn entries(&self) -> u32 {
        self.mask + 1
    }

    /// Gives chunks back, the first ones first, and says how many there was room for. For the
    /// others the kernel must take some: it does so when the device needs memory, or when told
    /// by [`Registrar::register_zcrx_ctrl_flush`].
    ///
    /// # Safety
    ///
    /// The chunks are of the area that this ring was registered with, and nobody reads them any
    /// more: the device writes there again.
    pub unsafe fn give_back(&mut self, chunks: &[ZcrxChunk]) -> usize {
        let room = self.room() as usize;
        let given = &chunks[..chunks.len().min(room)];
        for chunk in given {
            let entry = abi::ZcrxRqe {
                off: chunk.offset() | self.token,
                len: chunk.len,
                pad: 0,
            };
            let place = self.next & self.mask;
            // SAFETY: the place is among the entries, which were measured. The kernel does not
            // read it: it is not yet below the tail, and the head is past what was there.
            unsafe { self.entries.add(place as usize).write(entry) };
            self.next = self.next.wrapping_add(1);
        }
        // SAFETY: `tail` points into the memory that this holds, and was measured.
        let tail = unsafe { self.tail.as_ref() };
        // Ordering: Release, so that the kernel finds the entries below the tail written.
        tail.store(self.next, Ordering::Release);
        given.len()
    }
}

impl fmt::Debug for RefillRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefillRing")
            .field("entries", &self.entries())
            .field("room", &self.room())
            .finish_non_exhaustive()
    }
}

impl Registrar<'_> {
    /// Takes a receive queue of a network device for zero-copy receives on this ring. The ring
    /// needs DEFER_TASKRUN, and CQE32 or (Linux 6.18) CQE_MIXED; the queue needs a device that
    /// can do it, its header split switched on, and its flows steered to it. Linux 6.15;
    /// `io_uring_register(2)`.
    ///
    /// ```no_run
    /// use ringway::{Ring, register::{Ifq, ZcrxArea}};
    ///
    /// // Not run: it takes a queue from a device.
    /// let ring = Ring::builder(8).single_issuer().defer_taskrun().cqe32().build_local()?;
    /// let pages = std::alloc::Layout::from_size_align(1 << 20, 4096)?;
    /// # fn interface() -> u32 { 2 }
    /// // SAFETY: the size is not 0; the memory is never freed, and read only where a CQE says
    /// // that something was received.
    /// let zcrx = unsafe {
    ///     let area = ZcrxArea::memory(std::alloc::alloc_zeroed(pages), pages.size());
    ///     ring.registrar().register_ifq(&Ifq::new(interface(), 0, 256, area))?
    /// };
    /// println!("receive with {}, {} chunks may lie in wait", zcrx.id, zcrx.refill.entries());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_NET_ADMIN`; `ENODEV` for an index that is no interface;
    /// `EOPNOTSUPP` for a device that cannot do it; `ERANGE` for a queue that it does not have;
    /// `EEXIST` and `EBUSY` for one that is taken; `EFAULT` for an area that cannot be written;
    /// `ENOMEM`, also above `RLIMIT_MEMLOCK`; `EINVAL` also for a ring without the flags above.
    /// `EOVERFLOW`: the kernel's answer does not fit the memory of the refill ring.
    ///
    /// # Safety
    ///
    /// The area is the device's until the kernel has closed the ring, every descriptor that
    /// [exports](Registrar::register_zcrx_ctrl_export) the queue, and every ring that has
    /// [imported](Registrar::register_ifq_import) it, which nothing tells: do not free it.
    /// Valid for writes, and read only from a CQE that names a chunk until that chunk is given
    /// back.
    pub unsafe fn register_ifq(self, ifq: &Ifq<'_>) -> Result<Zcrx, Errno> {
        let Ifq {
            mut argument,
            area: ZcrxArea {
                argument: mut area, ..
            },
        } = *ifq;
        // A page is more than any kernel's header takes.
        let entries = argument
            .rq_entries
            .clamp(1, MOST_ENTRIES)
            .next_power_of_two();
        let bytes = page() + u64::from(entries) * size_of::<abi::ZcrxRqe>() as u64;
        let memory = Region::map("refill ring", bytes.next_multiple_of(page()) as usize, None)
            .map_err(MapError::errno)?;
        // SAFETY: any region begins with a byte.
        let addr = unsafe { memory.at::<u8>(0) }.as_ptr();
        let mut region = abi::RegionDesc {
            user_addr: addr.expose_provenance() as u64,
            size: bytes.next_multiple_of(page()),
            flags: mem_region::TYPE_USER as u32,
            ..abi::RegionDesc::default()
        };
        argument.area_ptr = ptr::from_mut(&mut area).expose_provenance() as u64;
        argument.region_ptr = ptr::from_mut(&mut region).expose_provenance() as u64;
        let pointer = ptr::from_mut(&mut argument).cast();
        // SAFETY: the kernel reads and writes the argument, and what it points to, during the
        // call. It keeps the pages of the refill ring, which are taken out of this process but
        // never used for something else; the area is the caller's promise.
        unsafe { self.register(register::ZCRX_IFQ, pointer, 1) }?;
        let refill = RefillRing::new(memory, &argument, area.rq_area_token);
        Ok(Zcrx {
            id: argument.zcrx_id,
            refill: refill.ok_or(Errno::from_raw(libc::EOVERFLOW))?,
        })
    }

    /// Takes a queue that another ring exported, which needs the flags that
    /// [`register_ifq`](Self::register_ifq) names; the answer is the queue's id on this ring.
    /// Chunks go back through the refill ring of the ring that exported it. Linux 6.19;
    /// `io_uring_register(2)`.
    ///
    /// # Errors
    ///
    /// `EPERM` without `CAP_NET_ADMIN`; `EBADF` for a descriptor that is no exported queue;
    /// `EFAULT` or `EINVAL` before Linux 6.19.
    pub fn register_ifq_import(self, exported: BorrowedFd<'_>) -> Result<u32, Errno> {
        let mut argument = abi::ZcrxIfqReg {
            // A borrowed descriptor is not negative.
            if_idx: exported.as_raw_fd() as u32,
            flags: zcrx::REG_IMPORT,
            ..abi::ZcrxIfqReg::default()
        };
        let pointer = ptr::from_mut(&mut argument).cast();
        // SAFETY: the kernel reads and writes the argument during the call, and with this flag
        // takes no memory.
        unsafe { self.register(register::ZCRX_IFQ, pointer, 1) }?;
        Ok(argument.zcrx_id)
    }

    /// Has the kernel take the chunks out of the refill ring now. Linux 6.19;
    /// `io_uring_register_zcrx_ctrl(3)`.
    ///
    /// # Errors
    ///
    /// `ENXIO` when the ring has no such queue; `EINVAL` before Linux 6.19.
    pub fn register_zcrx_ctrl_flush(self, id: u32) -> Result<(), Errno> {
        self.ctrl(id, zcrx::CTRL_FLUSH_RQ).map(|_| ())
    }

    /// A descriptor of the queue, closed on exec, for
    /// [`register_ifq_import`](Self::register_ifq_import) on another ring. It keeps the queue
    /// open. Linux 6.19; `io_uring_register_zcrx_ctrl(3)`.
    ///
    /// # Errors
    ///
    /// `ENXIO` when the ring has no such queue; `EMFILE`; `ENOMEM`; `EINVAL` before Linux 6.19.
    pub fn register_zcrx_ctrl_export(self, id: u32) -> Result<OwnedFd, Errno> {
        let answer = self.ctrl(id, zcrx::CTRL_EXPORT)?;
        // SAFETY: the kernel just opened this descriptor for this call alone.
        Ok(unsafe { OwnedFd::from_raw_fd(exported(&answer)) })
    }

    fn ctrl(self, zcrx_id: u32, op: u32) -> Result<abi::ZcrxCtrl, Errno> {
        let mut argument = abi::ZcrxCtrl {
            zcrx_id,
            op,
            ..abi::ZcrxCtrl::default()
        };
        let pointer = ptr::from_mut(&mut argument).cast();
        // SAFETY: the kernel reads and writes the argument during the call.
        unsafe { self.register(register::ZCRX_CTRL, pointer, 0) }?;
        Ok(argument)
    }
}

/// `zcrx_fd`, which is the first 32 bits of the argument.
fn exported(answer: &abi::ZcrxCtrl) -> i32 {
    let [a, b, c, d, ..] = answer.arg[0].to_ne_bytes();
    i32::from_ne_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: u64 = 3 << zcrx_area::SHIFT;

    /// Two counters, then 4 entries; no more.
    fn answer() -> abi::ZcrxIfqReg {
        abi::ZcrxIfqReg {
            rq_entries: 4,
            offsets: abi::ZcrxOffsets {
                head: 0,
                tail: 4,
                rqes: 64,
                ..abi::ZcrxOffsets::default()
            },
            ..abi::ZcrxIfqReg::default()
        }
    }

    fn memory(len: usize) -> Region {
        Region::map("refill ring", len, None).unwrap()
    }

    const LEN: usize = 64 + 4 * 16;

    #[test]
    fn the_answer_is_held_against_the_memory() {
        type Change = fn(&mut abi::ZcrxIfqReg);
        let refused = |len, change: Change| {
            let mut answer = answer();
            change(&mut answer);
            RefillRing::new(memory(len), &answer, TOKEN).is_none()
        };
        assert!(!refused(LEN, |_| ()));
        assert!(refused(LEN - 1, |_| ()));
        let changes: [Change; 9] = [
            |answer| answer.rq_entries = 0,
            |answer| answer.rq_entries = 3,
            |answer| answer.rq_entries = 8,
            |answer| answer.rq_entries = 1 << 31,
            |answer| answer.offsets.head = LEN as u32,
            |answer| answer.offsets.head = 2,
            |answer| answer.offsets.tail = u32::MAX - 3,
            |answer| answer.offsets.rqes = 72,
            |answer| answer.offsets.rqes = 60,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            assert!(refused(LEN, change), "{index}");
        }
    }

    fn chunk(offset: u64) -> ZcrxChunk {
        // The receive says the area of its own accord.
        let cqe = Cqe32 {
            cqe: abi::Cqe {
                res: 100,
                ..abi::Cqe::default()
            },
            extra: [7 << zcrx_area::SHIFT | offset, 0],
        };
        ZcrxChunk::of(&cqe).unwrap()
    }

    #[test]
    fn chunks_are_given_back_in_order() {
        let mut ring = RefillRing::new(memory(LEN), &answer(), TOKEN).unwrap();
        let (head, tail, entries) = (ring.head, ring.tail, ring.entries);
        // SAFETY: the memory lives as long as the ring, and this thread alone has it.
        let (head, tail) = unsafe { (head.as_ref(), tail.as_ref()) };
        // SAFETY: as above; there are 4 entries.
        let entry = |place| unsafe { entries.add(place).read() };
        // The counters come round.
        let start = u32::MAX - 1;
        head.store(start, Ordering::Relaxed);
        ring.next = start;

        let chunks = [1, 2, 3, 4, 5, 6].map(chunk);
        // SAFETY: there is no device.
        assert_eq!(unsafe { ring.give_back(&chunks[..3]) }, 3);
        assert_eq!(tail.load(Ordering::Relaxed), start.wrapping_add(3));
        assert_eq!(ring.room(), 1);
        // SAFETY: as above.
        assert_eq!(unsafe { ring.give_back(&chunks[3..]) }, 1);
        assert_eq!(ring.room(), 0);
        // SAFETY: as above.
        assert_eq!(unsafe { ring.give_back(&chunks[4..]) }, 0);
        for (place, offset) in [(2, 1), (3, 2), (0, 3), (1, 4)] {
            let abi::ZcrxRqe { off, len, pad } = entry(place);
            assert_eq!((off, len, pad), (TOKEN | offset, 100, 0));
        }

        // The kernel takes two.
        head.store(start.wrapping_add(2), Ordering::Relaxed);
        assert_eq!(ring.room(), 2);
        // SAFETY: as above.
        assert_eq!(unsafe { ring.give_back(&chunks[4..]) }, 2);
        assert_eq!(tail.load(Ordering::Relaxed), start.wrapping_add(6));
        assert_eq!((entry(2).off, entry(0).off), (TOKEN | 5, TOKEN | 3));

        // Nonsense in the head makes no room.
        head.store(start.wrapping_add(100), Ordering::Relaxed);
        assert_eq!(ring.room(), 0);
    }

    #[test]
    fn what_is_no_chunk() {
        for res in [0, -libc::ENOMEM] {
            let cqe = abi::Cqe {
                res,
                ..abi::Cqe::default()
            };
            assert_eq!(ZcrxChunk::of(&Cqe32 { cqe, extra: [1, 0] }), None);
        }
        let some = chunk(5);
        assert_eq!((some.offset(), some.bytes()), (5, 100));
    }

    #[test]
    fn the_exported_descriptor_comes_first() {
        let mut answer = abi::ZcrxCtrl::default();
        let mut bytes = [0xff; 8];
        bytes[..4].copy_from_slice(&7i32.to_ne_bytes());
        answer.arg[0] = u64::from_ne_bytes(bytes);
        assert_eq!(exported(&answer), 7);
    }
}
