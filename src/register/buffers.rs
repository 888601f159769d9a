//! The table of registered buffers.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::resource::{address, tags_of};
use super::{Registrar, count};
use crate::abi::{self, register};
use crate::flags::flags;
use crate::ring::{Local, Ring};
use crate::setup::RingFd;
use crate::syscall::Errno;

flags! {
    /// Flags of [`Registrar::clone_buffers`].
    CloneFlags: u32 {
        /// Clones over the buffers that the ring has: those in the same places are
        /// replaced, the others stay. Linux 6.13.
        DST_REPLACE = abi::clone::DST_REPLACE,
    }
}

/// The ring to clone buffers from: `&ring`, a descriptor, or an index.
#[derive(Clone, Copy, Debug)]
pub struct CloneSource<'r> {
    fd: i32,
    flags: u32,
    lifetime: PhantomData<&'r ()>,
}

impl<'r> CloneSource<'r> {
    fn new(fd: Option<&'r RingFd>) -> Self {
        let (fd, flags) = match fd {
            Some(fd) => match fd.borrow() {
                Some(fd) => (fd.as_raw_fd(), 0),
                None => (fd.to_enter().0, abi::clone::SRC_REGISTERED),
            },
            // For the kernel to refuse.
            None => (-1, 0),
        };
        Self {
            fd,
            flags,
            lifetime: PhantomData,
        }
    }

    /// The ring that the calling thread has registered at this index
    /// (`IORING_REGISTER_SRC_REGISTERED`). See `io_uring_register_ring_fd(3)`.
    pub const fn registered(index: u32) -> Self {
        Self {
            fd: index.cast_signed(),
            flags: abi::clone::SRC_REGISTERED,
            lifetime: PhantomData,
        }
    }
}

impl<'r> From<BorrowedFd<'r>> for CloneSource<'r> {
    fn from(ring: BorrowedFd<'r>) -> Self {
        Self {
            fd: ring.as_raw_fd(),
            flags: 0,
            lifetime: PhantomData,
        }
    }
}

impl<'r> From<&'r Ring> for CloneSource<'r> {
    fn from(ring: &'r Ring) -> Self {
        Self::new(ring.core.ring_fd())
    }
}

impl<'r> From<&'r Local> for CloneSource<'r> {
    fn from(ring: &'r Local) -> Self {
        Self::new(ring.core.ring_fd())
    }
}

/// Fixed buffers: memory that the kernel has looked up beforehand, for the operations
/// whose names end in `_fixed`. They name a buffer by its index, and the bytes in it by
/// their address. A ring has one table, of at most 16384 places.
///
/// A buffer is an iovec of at most 1 GiB; a null pointer with length 0 leaves the place
/// empty. The kernel locks the memory, which counts against `RLIMIT_MEMLOCK` unless the
/// process may ignore that (`CAP_IPC_LOCK`).
///
/// A tag comes back when the ring has let go of a buffer, as one does for a file
/// ([`register_files_tags`](Self::register_files_tags)).
///
/// # What registering asks of the memory
///
/// Registering neither reads nor writes it, and references to it may exist and be used.
/// Who may touch it while an operation runs is said by that operation's prep.
///
/// But the kernel keeps the pages, not the addresses. Memory that is unmapped, remapped,
/// discarded with `madvise(2)`, or freed, which may do any of these, leaves its addresses
/// to other memory. An operation is checked by address all the same, and then works on the
/// old pages: a read that completes has not filled the bytes that it names, and has
/// overwritten others if the pages were moved. So the memory must stay allocated, and
/// mapped where it is, from the registration until the last operation that uses it by index
/// has completed. After that it may be freed, registered or not.
impl Registrar<'_> {
    /// Makes these the ring's fixed buffers, from index 0 on.
    ///
    /// Linux 5.1; `io_uring_register_buffers(3)`.
    ///
    /// ```
    /// let ring = ringway::Ring::builder(8).build()?;
    /// let mut memory = vec![0u8; 8192];
    /// let buffer = libc::iovec {
    ///     iov_base: memory.as_mut_ptr().cast(),
    ///     iov_len: memory.len(),
    /// };
    /// // SAFETY: the vector stays where it is until the buffer is unregistered.
    /// unsafe { ring.registrar().register_buffers(&[buffer]) }?;
    /// // Operations use it as buffer 0.
    /// ring.registrar().unregister_buffers()?;
    /// drop(memory);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is a table already; `EFAULT` for memory that is not mapped or not
    /// writable, or an impossible length; `EINVAL` for too many places or none; `ENOMEM`
    /// when it is more than may be locked. No buffer is registered then.
    ///
    /// # Safety
    ///
    /// The memory stays allocated, and mapped where it is, as long as operations may use
    /// it by its index: see [above](Registrar#what-registering-asks-of-the-memory).
    pub unsafe fn register_buffers(self, buffers: &[libc::iovec]) -> Result<(), Errno> {
        let nr = count(buffers)?;
        let buffers = ptr::from_ref(buffers).cast_mut().cast();
        // SAFETY: the kernel reads `nr` iovecs during the call; what they name is the
        // caller's promise.
        unsafe { self.register(register::BUFFERS, buffers, nr) }.map(|_| ())
    }

    /// As [`register_buffers`](Self::register_buffers), with a tag for each buffer.
    ///
    /// Linux 5.13; `io_uring_register_buffers_tags(3)`.
    ///
    /// # Errors
    ///
    /// As [`register_buffers`](Self::register_buffers); also `EINVAL` for an empty place
    /// with a tag, and, without asking the kernel, unless there are as many tags as
    /// buffers.
    ///
    /// # Safety
    ///
    /// As for [`register_buffers`](Self::register_buffers).
    pub unsafe fn register_buffers_tags(
        self,
        buffers: &[libc::iovec],
        tags: &[u64],
    ) -> Result<(), Errno> {
        let table = abi::RsrcRegister {
            nr: count(buffers)?,
            data: address(buffers),
            tags: tags_of(buffers, tags)?,
            ..Default::default()
        };
        // SAFETY: the kernel reads `nr` iovecs and as many tags during the call; what the
        // iovecs name is the caller's promise.
        unsafe { self.register_sized(register::BUFFERS2, table) }.map(|_| ())
    }

    /// Makes a table of `nr` empty places.
    ///
    /// Linux 5.19; `io_uring_register_buffers_sparse(3)`.
    ///
    /// # Errors
    ///
    /// As [`register_buffers`](Self::register_buffers).
    pub fn register_buffers_sparse(self, nr: u32) -> Result<(), Errno> {
        let table = abi::RsrcRegister {
            nr,
            flags: abi::rsrc::SPARSE,
            ..Default::default()
        };
        // SAFETY: a sparse table has no pointers.
        unsafe { self.register_sized(register::BUFFERS2, table) }.map(|_| ())
    }

    /// Changes the places from `offset` on; the answer is how many it changed.
    ///
    /// Fewer than asked for means that the next buffer was refused; its place and those
    /// behind it are as they were. Linux 5.13; `io_uring_register_buffers_update_tag(3)`.
    ///
    /// # Errors
    ///
    /// Only if the first buffer is refused: as for
    /// [`register_buffers_tags`](Self::register_buffers_tags), but `ENXIO` without a table,
    /// `EINVAL` for places outside the table, `EOVERFLOW` far outside.
    ///
    /// # Safety
    ///
    /// As for [`register_buffers`](Self::register_buffers).
    pub unsafe fn register_buffers_update_tag(
        self,
        offset: u32,
        buffers: &[libc::iovec],
        tags: &[u64],
    ) -> Result<u32, Errno> {
        let update = abi::RsrcUpdate2 {
            offset,
            data: address(buffers),
            tags: tags_of(buffers, tags)?,
            nr: count(buffers)?,
            ..Default::default()
        };
        // SAFETY: the kernel reads `nr` iovecs and as many tags during the call; what the
        // iovecs name is the caller's promise.
        unsafe { self.register_sized(register::BUFFERS_UPDATE, update) }
    }

    /// Takes the table away.
    ///
    /// Does not wait for the operations that use it, each of which keeps its buffer until it
    /// completes; before Linux 6.13 it does. Linux 5.1; `io_uring_unregister_buffers(3)`.
    ///
    /// # Errors
    ///
    /// `ENXIO` without a table.
    pub fn unregister_buffers(self) -> Result<(), Errno> {
        // SAFETY: the opcode takes no argument.
        unsafe { self.register(register::UNREGISTER_BUFFERS, ptr::null_mut(), 0) }.map(|_| ())
    }

    /// Registers with this ring all buffers of another, at the same places, without locking
    /// the memory again. Tags are not cloned.
    ///
    /// Linux 6.12; `io_uring_clone_buffers(3)`.
    ///
    /// # Errors
    ///
    /// `ENXIO` when the other ring has no table; `EBUSY` when this one has, and
    /// [`CloneFlags::DST_REPLACE`] is not set; `EBADF` for a simulated ring and for an index
    /// where no ring is; `EOPNOTSUPP` for a descriptor that is no ring; `EEXIST` when the
    /// other ring belongs to another thread; `EINVAL` when it counts its memory for another
    /// user or process; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// As for [`register_buffers`](Self::register_buffers), for this ring as well.
    pub unsafe fn clone_buffers<'s>(
        self,
        source: impl Into<CloneSource<'s>>,
        flags: CloneFlags,
    ) -> Result<(), Errno> {
        // SAFETY: the contract is the same.
        unsafe { self.clone_buffers_offset(source, 0, 0, 0, flags) }
    }

    /// As [`clone_buffers`](Self::clone_buffers), for `nr` places of the other ring's table,
    /// beginning at `src_offset`; here they begin at `dst_offset`.
    ///
    /// The table grows as needed. Three zeros mean the whole table. Linux 6.13;
    /// `io_uring_clone_buffers_offset(3)`.
    ///
    /// # Errors
    ///
    /// As [`clone_buffers`](Self::clone_buffers); also `EINVAL` for an offset without `nr`
    /// and for more places than there are, there or possible here, and `EOVERFLOW` when
    /// `src_offset` and `nr` lead out of the other table.
    ///
    /// # Safety
    ///
    /// As for [`clone_buffers`](Self::clone_buffers).
    pub unsafe fn clone_buffers_offset<'s>(
        self,
        source: impl Into<CloneSource<'s>>,
        dst_offset: u32,
        src_offset: u32,
        nr: u32,
        flags: CloneFlags,
    ) -> Result<(), Errno> {
        let source = source.into();
        let mut clone = abi::CloneBuffers {
            src_fd: source.fd.cast_unsigned(),
            flags: source.flags | flags.0,
            src_off: src_offset,
            dst_off: dst_offset,
            nr,
            ..Default::default()
        };
        // SAFETY: the kernel reads one structure during the call; the memory of the buffers
        // is the caller's promise.
        unsafe {
            let clone = ptr::from_mut(&mut clone).cast();
            self.register(register::CLONE_BUFFERS, clone, 1)
        }
        .map(|_| ())
    }
}
