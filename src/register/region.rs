//! Memory regions.

use std::ptr::{self, NonNull};

use super::Registrar;
use crate::abi::{MemRegionReg, RegionDesc, mem_region, register};
use crate::flags::flags;
use crate::mapping::{self, MapError};
use crate::ring::{Disabled, WaitTable};
use crate::syscall::Errno;

flags! {
    /// What a region is for: [`Registrar::register_region`].
    RegionFlags: u64 {
        /// Entries for waits: only before the ring is enabled. See
        /// [`Disabled::register_waits`], which needs no `unsafe`.
        REG_WAIT_ARG = mem_region::REG_WAIT_ARG,
    }
}

/// Whose memory a table of waits is in: [`Disabled::register_waits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMemory {
    /// Allocated by the kernel, and mapped. Not for a ring without a descriptor.
    Kernel,
    /// Of the process, which the kernel locks.
    Process,
}

/// Memory that the kernel allocated, mapped: [`Registrar::register_region_alloc`].
///
/// It stays mapped until this is dropped, also when the ring is gone. A child of `fork(2)`
/// does not have it.
#[derive(Debug)]
pub struct Region {
    memory: mapping::Region,
}

impl Region {
    /// The bytes, all 0 at first. The kernel may read them at any time.
    pub fn memory(&self) -> NonNull<[u8]> {
        self.memory.memory()
    }
}

impl Registrar<'_> {
    /// Makes memory of the process the ring's region. Linux 6.13;
    /// `io_uring_register_region(3)`.
    ///
    /// A ring has one, until it is gone: there is nothing that takes it back. The kernel
    /// keeps the pages themselves, which count as locked memory.
    ///
    /// # Errors
    ///
    /// `EINVAL` if address or length are no multiple of the page size, the length is 0, or
    /// the ring runs already and this is for waits; `EBUSY` if the ring has a region;
    /// `EFAULT` if there is no writable memory; `ENOMEM`, also above `RLIMIT_MEMLOCK`;
    /// `EOPNOTSUPP` and `EFAULT` for memory of some files.
    ///
    /// # Safety
    ///
    /// `memory` is the caller's to share: the kernel reads it, and may write to it, until
    /// the ring is gone: some time after its last descriptor and index are closed, those of
    /// wakers and of forked children among them.
    pub unsafe fn register_region(
        self,
        memory: NonNull<[u8]>,
        flags: RegionFlags,
    ) -> Result<(), Errno> {
        let mut region = RegionDesc {
            user_addr: memory.as_ptr().cast::<u8>().expose_provenance() as u64,
            size: memory.len() as u64,
            flags: mem_region::TYPE_USER as u32,
            ..RegionDesc::default()
        };
        self.register_desc(&mut region, flags)
    }

    /// Makes memory that the kernel allocates the ring's region, and maps it; otherwise as
    /// [`register_region`](Self::register_region).
    ///
    /// ```
    /// use ringway::{Ring, register::RegionFlags};
    ///
    /// let ring = Ring::builder(8).build()?;
    /// match ring.registrar().register_region_alloc(65536, RegionFlags::NONE) {
    ///     Ok(region) => assert_eq!(region.memory().len(), 65536),
    ///     Err(errno) => assert_eq!(errno.raw(), libc::EINVAL), // before Linux 6.13
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As there. Then what `mmap(2)` says; the region is registered all the same. `EBADF`
    /// for a ring that has no descriptor (REGISTERED_FD_ONLY).
    pub fn register_region_alloc(self, len: usize, flags: RegionFlags) -> Result<Region, Errno> {
        let ring = self.fd.ok_or(Errno::from_raw(libc::ENXIO))?;
        let ring = ring.borrow().ok_or(Errno::from_raw(libc::EBADF))?;
        let mut region = RegionDesc {
            size: len as u64,
            ..RegionDesc::default()
        };
        self.register_desc(&mut region, flags)?;
        let source = Some((ring, region.mmap_offset));
        let memory = mapping::Region::map("region", len, source).map_err(MapError::errno)?;
        Ok(Region { memory })
    }

    fn register_desc(self, region: &mut RegionDesc, flags: RegionFlags) -> Result<(), Errno> {
        let mut request = MemRegionReg {
            region_uptr: ptr::from_mut(region).expose_provenance() as u64,
            flags: flags.bits(),
            ..MemRegionReg::default()
        };
        // SAFETY: the kernel reads the request, and reads and writes the region's
        // description, during the call. What it does with memory of the process later was
        // promised by the caller of `register_region`.
        unsafe { self.register(register::MEM_REGION, ptr::from_mut(&mut request).cast(), 1) }
            .map(|_| ())
    }
}

impl Disabled {
    /// Registers a table of `count` waits, which the thread that enables the ring as its
    /// own may then [set](crate::Local::set_wait) and [wait by](crate::Local::wait_reg):
    /// what a wait has to say is read in place, and not copied at each enter. Linux 6.13;
    /// `io_uring_register_region(3)`.
    ///
    /// The memory is the ring's, and goes with it. It is also the one memory region that a
    /// ring may have; a shared ring has no use for it.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a `count` of 0, and before Linux 6.13; `EBUSY` if there is a region
    /// already; `ENOMEM`, also above `RLIMIT_MEMLOCK`; what `mmap(2)` says.
    pub fn register_waits(&mut self, count: u32, memory: WaitMemory) -> Result<(), Errno> {
        let (registrar, flags) = (self.registrar(), RegionFlags::REG_WAIT_ARG);
        let len = WaitTable::len(count)?;
        let memory = match memory {
            WaitMemory::Kernel => registrar.register_region_alloc(len, flags)?.memory,
            WaitMemory::Process => {
                let memory = mapping::Region::map("waits", len, None).map_err(MapError::errno)?;
                // SAFETY: the memory is a mapping of its own, which nobody else knows.
                unsafe { registrar.register_region(memory.memory(), flags) }?;
                memory
            }
        };
        self.waits = WaitTable::new(memory, count);
        Ok(())
    }
}
