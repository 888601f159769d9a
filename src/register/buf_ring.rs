//! Rings of provided buffers.

use std::fmt;
use std::marker::PhantomData;
use std::mem::{forget, offset_of};
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::Registrar;
use crate::abi::{self, off, register};
use crate::flags::flags;
use crate::mapping::{MapError, Region};
use crate::ring::{Core, Local, Ring};
use crate::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::syscall::Errno;

flags! {
    /// Flags of [`Ring::register_buf_ring`].
    BufRingFlags: u16 {
        /// The kernel allocates the ring's memory, and it is mapped from there. For
        /// groups up to 2047. Linux 6.4.
        MMAP = abi::pbuf::MMAP,
        /// Operations use up a buffer bit by bit: see
        /// [`BufRing`](BufRing#incremental-rings). Linux 6.12.
        INC = abi::pbuf::INC,
    }
}

/// The most entries of a ring: with 65536, a full one would look like an empty one.
const MAX_ENTRIES: u32 = 1 << 15;

/// `struct io_uring_buf`, as two sides access it. The last field of the first entry is the
/// ring's tail, which is why no entry is ever written whole.
#[repr(C)]
struct Entry {
    addr: AtomicU64,
    len: AtomicU32,
    bid: AtomicU16,
    tail: AtomicU16,
}

const _: () = {
    assert!(size_of::<Entry>() == size_of::<abi::Buf>());
    assert!(offset_of!(Entry, addr) == offset_of!(abi::Buf, addr));
    assert!(offset_of!(Entry, len) == offset_of!(abi::Buf, len));
    assert!(offset_of!(Entry, bid) == offset_of!(abi::Buf, bid));
    assert!(offset_of!(Entry, tail) == offset_of!(abi::Buf, resv));
};

/// A ring of provided buffers: memory from which the kernel picks a buffer when the data is
/// there, for operations with [`buffer_select`](crate::Sqe::buffer_select). Made by
/// [`Ring::register_buf_ring`] and [`Local::register_buf_ring`].
///
/// It has one producer, its owner, and holds on to the ring: dropping it unregisters the
/// group, and only then can the ring close. That of a [`Local`] ring stays on its thread:
///
/// ```compile_fail
/// let ring = ringway::Ring::builder(8).build_local().unwrap();
/// let buffers = ring.register_buf_ring(8, 0, Default::default()).unwrap();
/// std::thread::spawn(move || buffers.head());
/// ```
///
/// # Whose a buffer is
///
/// A buffer is the kernel's from [`add`](Self::add) until a CQE names it
/// ([`Cqe::buffer_id`](crate::Cqe::buffer_id)), whatever the result of that CQE. Then it is
/// the program's: to read what is in it, and to add it again, here or elsewhere, under this
/// id or another. The kernel picks in the order in which buffers were added. A CQE of a
/// bundle names the first of several: it gives back as many as its bytes need.
///
/// Dropping the ring does not give back what operations have picked by then: buffers are
/// the program's again when it is unregistered, and the operations of its group that were
/// in flight have completed.
///
/// # Incremental rings
///
/// With [`BufRingFlags::INC`] an operation takes a part of the buffer, and the next one goes
/// on behind that. A CQE gives the program the bytes that it delivered. With
/// [`buffer_more`](crate::Cqe::buffer_more) the rest of the buffer is still the kernel's;
/// without, nothing more will be taken from it, and it is given back whole when all
/// operations that took parts of it have completed.
///
/// The part is what arrived if the file can be polled. If not, or in a kernel worker
/// ([`force_async`](crate::Sqe::force_async)), it is what was asked for, and it is taken
/// before the operation runs: the next one goes on behind the length of the last one,
/// whatever its result, and may complete first.
///
/// Kernels before 7.0 may leave `buffer_more` out for such an operation, and when the result
/// is 0, although they go on with the buffer (stable releases since April 2026 are right).
/// There [`head`](Self::head) tells that nothing more will be taken from a buffer: when it
/// has counted it.
pub struct BufRing<R = Ring> {
    core: Arc<Core>,
    /// Whose buffers these are, and so whether they may leave the thread.
    ring: PhantomData<R>,
    /// Where `first` points into, until it is unregistered.
    memory: Option<Region>,
    first: NonNull<Entry>,
    group: u16,
    /// Entries less one, a power of two less one.
    mask: u16,
    /// What the kernel sees; goes round at 65536, like the kernel's head.
    tail: u16,
    /// Entries behind the tail that are filled.
    added: u16,
}

// SAFETY: the memory belongs to the process; entries are atomics, and have one producer,
// whichever thread that is on. That of a ring that belongs to a thread stays there.
unsafe impl<R: Send> Send for BufRing<R> {}
// SAFETY: as for Send; what `&self` can do is ask the kernel.
unsafe impl<R: Sync> Sync for BufRing<R> {}

impl Ring {
    /// Makes a ring of `entries` buffers, empty yet, as buffer group `group`.
    ///
    /// `entries` is a power of two, up to 32768. Linux 5.19;
    /// `io_uring_setup_buf_ring(3)`, `io_uring_provided_buffers(7)`.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use ringway::Ring;
    /// use ringway::register::BufRingFlags;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// let memory = Box::leak(Box::new([[0u8; 64]; 2])); // stays, also if a `?` returns early
    /// let mut buffers = ring.register_buf_ring(2, 7, BufRingFlags::NONE)?;
    /// for (buffer, id) in memory.iter_mut().zip(0..) {
    ///     // SAFETY: there are two places. The memory is never freed, and left alone until a
    ///     // CQE names the buffer.
    ///     unsafe { buffers.add(buffer.as_mut_ptr(), 64, id) };
    /// }
    /// buffers.advance();
    ///
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: the buffer is one of the group's; the pipe is open while the read starts.
    /// unsafe { slot.prep_read(&reader, std::ptr::null_mut(), 64, 0) }.buffer_select(7);
    /// slot.push();
    /// ring.submit()?;
    /// writer.write_all(b"hello")?;
    ///
    /// let cqe = ring.cq().wait_one(None)?.expect("no time limit");
    /// let id = cqe.buffer_id().expect("a buffer of the group's");
    /// let len = cqe.result()?;
    /// assert_eq!(&memory[usize::from(id)][..len as usize], b"hello");
    /// assert_eq!(buffers.available()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `EEXIST` when the group has buffers already, be it in a ring or not; `ENOMEM`, also
    /// when it is more than may be locked (`RLIMIT_MEMLOCK`). Without asking the kernel:
    /// `EINVAL` for another number of entries, and with [`BufRingFlags::MMAP`] for a group
    /// above 2047, whose memory cannot be named.
    pub fn register_buf_ring(
        &self,
        entries: u32,
        group: u16,
        flags: BufRingFlags,
    ) -> Result<BufRing, Errno> {
        BufRing::new(&self.core, entries, group, flags, 0)
    }

    /// As [`register_buf_ring`](Self::register_buf_ring) with [`BufRingFlags::INC`]: a
    /// buffer with fewer than `min_left` bytes left is given back.
    ///
    /// Linux 7.1, and stable releases of older kernels since then.
    ///
    /// # Errors
    ///
    /// As [`register_buf_ring`](Self::register_buf_ring); `EINVAL` also from a kernel that
    /// does not have it, and without `INC` in the flags.
    pub fn register_buf_ring_min_left(
        &self,
        entries: u32,
        group: u16,
        flags: BufRingFlags,
        min_left: u32,
    ) -> Result<BufRing, Errno> {
        BufRing::new(&self.core, entries, group, flags, min_left)
    }
}

impl Local {
    /// See [`Ring::register_buf_ring`].
    ///
    /// # Errors
    ///
    /// As [`Ring::register_buf_ring`]; also `EBADF`, without asking the kernel, with
    /// [`BufRingFlags::MMAP`] on a ring that has no descriptor (REGISTERED_FD_ONLY).
    pub fn register_buf_ring(
        &self,
        entries: u32,
        group: u16,
        flags: BufRingFlags,
    ) -> Result<BufRing<Local>, Errno> {
        BufRing::new(&self.core, entries, group, flags, 0)
    }

    /// See [`Ring::register_buf_ring_min_left`].
    ///
    /// # Errors
    ///
    /// As [`Ring::register_buf_ring_min_left`], and as
    /// [`register_buf_ring`](Self::register_buf_ring).
    pub fn register_buf_ring_min_left(
        &self,
        entries: u32,
        group: u16,
        flags: BufRingFlags,
        min_left: u32,
    ) -> Result<BufRing<Local>, Errno> {
        BufRing::new(&self.core, entries, group, flags, min_left)
    }
}

impl<R> BufRing<R> {
    fn new(
        core: &Arc<Core>,
        entries: u32,
        group: u16,
        flags: BufRingFlags,
        min_left: u32,
    ) -> Result<Self, Errno> {
        if !entries.is_power_of_two() || entries > MAX_ENTRIES {
            return Err(Errno::from_raw(libc::EINVAL));
        }
        let reg = abi::BufReg {
            ring_entries: entries,
            bgid: group,
            flags: flags.0,
            min_left,
            ..Default::default()
        };
        let memory = match flags.contains(BufRingFlags::MMAP) {
            true => register_mapped(core, reg)?,
            false => register_own(core, reg)?,
        };
        Ok(Self {
            core: core.clone(),
            ring: PhantomData,
            first: memory.start().cast(),
            memory: Some(memory),
            group,
            // 32767 at most.
            mask: (entries - 1) as u16,
            tail: 0,
            added: 0,
        })
    }

    /// The group, for [`buffer_select`](crate::Sqe::buffer_select).
    pub fn group(&self) -> u16 {
        self.group
    }

    /// How many buffers fit.
    pub fn entries(&self) -> u32 {
        u32::from(self.mask) + 1
    }

    /// Puts a buffer behind those that are there. The kernel sees it with the next
    /// [`advance`](Self::advance).
    ///
    /// `id` is what the CQE will name: any number, and the program's business if two
    /// buffers have the same. `io_uring_buf_ring_add(3)`.
    ///
    /// # Safety
    ///
    /// `addr` must be valid for writes of `len` bytes, and nobody else may access them, as
    /// long as the buffer is the kernel's: see [above](Self#whose-a-buffer-is).
    ///
    /// There must be room: of the buffers that were added, fewer than
    /// [`entries`](Self::entries) are still to be picked, as CQEs or [`head`](Self::head)
    /// tell.
    #[inline]
    pub unsafe fn add(&mut self, addr: *mut u8, len: u32, id: u16) {
        let entry = self.entry(self.tail.wrapping_add(self.added));
        // Ordering: Relaxed; the tail hands them over.
        entry
            .addr
            .store(addr.expose_provenance() as u64, Ordering::Relaxed);
        entry.len.store(len, Ordering::Relaxed);
        entry.bid.store(id, Ordering::Relaxed);
        self.added = self.added.wrapping_add(1);
    }

    /// Gives the kernel what was added. One store, no system call;
    /// `io_uring_buf_ring_advance(3)`.
    #[inline]
    pub fn advance(&mut self) {
        self.tail = self.tail.wrapping_add(self.added);
        self.added = 0;
        // Ordering: Release. Partner: `smp_load_acquire` of the tail in
        // `io_ring_buffer_select` and `io_ring_buffers_peek` of io_uring/kbuf.c; the
        // entries before it are complete.
        self.entry(0).tail.store(self.tail, Ordering::Release);
    }

    /// How many buffers the kernel has picked since the ring was made, modulo 65536.
    ///
    /// A snapshot, by a system call. Linux 6.8; `io_uring_register(2)`, PBUF_STATUS.
    ///
    /// # Errors
    ///
    /// `EINVAL` before Linux 6.8.
    pub fn head(&self) -> Result<u16, Errno> {
        let mut status = abi::BufStatus {
            buf_group: self.group.into(),
            ..Default::default()
        };
        let arg = ptr::from_mut(&mut status).cast();
        // SAFETY: the kernel reads and writes one structure during the call.
        unsafe { registrar(&self.core).register(register::PBUF_STATUS, arg, 1) }?;
        // The kernel's head has 16 bits.
        Ok(status.head as u16)
    }

    /// How many buffers the kernel can still pick.
    ///
    /// A snapshot, by a system call. Linux 6.8; `io_uring_buf_ring_available(3)`.
    ///
    /// # Errors
    ///
    /// As [`head`](Self::head).
    pub fn available(&self) -> Result<u16, Errno> {
        Ok(self.tail.wrapping_sub(self.head()?))
    }

    /// Unregisters the group, as dropping does, and says whether that worked. If not, the
    /// kernel goes on picking buffers of it until the ring is gone.
    ///
    /// `io_uring_free_buf_ring(3)`.
    ///
    /// # Errors
    ///
    /// `EACCES` when a restriction forbids it; then the ring's memory is leaked.
    pub fn unregister(mut self) -> Result<(), Errno> {
        self.remove()
    }

    fn remove(&mut self) -> Result<(), Errno> {
        // In a forked child the group is the parent's.
        let Some(memory) = self.memory.take().filter(Region::is_ours) else {
            return Ok(());
        };
        let removed = unregister(&self.core, self.group);
        if removed.is_err() {
            forget(memory);
        }
        removed
    }

    #[inline(always)]
    fn entry(&self, counter: u16) -> &Entry {
        let index = usize::from(counter & self.mask);
        // SAFETY: the memory holds `mask + 1` entries, which are only ever accessed
        // atomically; it is there as long as this is borrowed, since `remove` is the last
        // call.
        unsafe { self.first.add(index).as_ref() }
    }
}

impl<R> Drop for BufRing<R> {
    fn drop(&mut self) {
        // On failure the memory is leaked.
        let _ = self.remove();
    }
}

impl<R> fmt::Debug for BufRing<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufRing")
            .field("group", &self.group)
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

fn registrar(core: &Core) -> Registrar<'_> {
    Registrar::new(core.ring_fd())
}

fn map(entries: u32, source: Option<(BorrowedFd<'_>, u64)>) -> Result<Region, Errno> {
    let bytes = entries as usize * size_of::<Entry>();
    Region::map("buffer ring", bytes, source).map_err(MapError::errno)
}

/// Registers a ring in memory of its own.
fn register_own(core: &Core, mut reg: abi::BufReg) -> Result<Region, Errno> {
    let memory = map(reg.ring_entries, None)?;
    reg.ring_addr = memory.start().as_ptr().expose_provenance() as u64;
    // SAFETY: the region holds the entries, all zero, and has no other user.
    unsafe { register(core, reg) }?;
    Ok(memory)
}

/// Registers a ring in memory of the kernel's, and maps it.
fn register_mapped(core: &Core, reg: abi::BufReg) -> Result<Region, Errno> {
    let ring = core.ring_fd().ok_or(Errno::from_raw(libc::ENXIO))?;
    let fd = ring.borrow().ok_or(Errno::from_raw(libc::EBADF))?;
    let place = u64::from(reg.bgid) << off::PBUF_SHIFT;
    if place & off::MMAP_MASK != 0 {
        // The offset would be that of another region, or of another group.
        return Err(Errno::from_raw(libc::EINVAL));
    }
    // SAFETY: the kernel allocates the memory.
    unsafe { register(core, reg) }?;
    map(reg.ring_entries, Some((fd, off::PBUF_RING | place))).inspect_err(|_| {
        // If this fails as well, a group without buffers is left.
        let _ = unregister(core, reg.bgid);
    })
}

/// # Safety
/// At `ring_addr` there is memory for the entries, which the kernel reads and writes until
/// the group is unregistered; or the flags say MMAP.
unsafe fn register(core: &Core, mut reg: abi::BufReg) -> Result<(), Errno> {
    let reg = ptr::from_mut(&mut reg).cast();
    // SAFETY: the kernel reads one structure during the call; the memory is the caller's
    // promise.
    unsafe { registrar(core).register(register::PBUF_RING, reg, 1) }.map(|_| ())
}

fn unregister(core: &Core, group: u16) -> Result<(), Errno> {
    let mut reg = abi::BufReg {
        bgid: group,
        ..Default::default()
    };
    let reg = ptr::from_mut(&mut reg).cast();
    // SAFETY: the kernel reads one structure during the call.
    unsafe { registrar(core).register(register::UNREGISTER_PBUF_RING, reg, 1) }.map(|_| ())
}
