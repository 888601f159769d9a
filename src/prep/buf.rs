//! Buffers that the kernel picks from, provided by operations.

use super::address;
use crate::abi::{Sqe, op};

impl Sqe {
    /// Adds `count` buffers of `len` bytes each, which lie one behind the other from
    /// `addr` on, to a group: for [`buffer_select`](Sqe::buffer_select).
    ///
    /// Their ids are `first_id` and the ones that follow. The group is made when it does
    /// not exist. Buffers are taken in the order in which they were added. The CQE of the
    /// operation that takes one names it, and then it is gone from the group until it is
    /// added again: also when the operation has failed, since one that waits may hold a
    /// buffer meanwhile. The kernel does not mind two of the same id. A ring of buffers
    /// does the same with less work: see `io_uring_register_buf_ring(3)`.
    ///
    /// One CQE: `res` is 0, also when the group or the memory for it was full before all
    /// were added. A group holds 65535 since Linux 6.16: `EOVERFLOW` if none was added.
    /// `E2BIG` for no buffers; `EINVAL` for empty ones, for ids above 65535, and for a
    /// group that is a ring of buffers; `EFAULT` or `EOVERFLOW` for a bad address.
    /// Linux 5.7; `io_uring_prep_provide_buffers(3)`.
    ///
    /// ```
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let sq = ring.sq();
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let memory = Box::leak(Box::new([[0u8; 16]; 4])); // stays, also if a `?` returns early
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // Group 1 gets the buffers 0 to 3.
    /// // SAFETY: `memory` is never freed, and left alone until a CQE says what was read.
    /// unsafe { slot.prep_provide_buffers(memory.as_mut_ptr().cast(), 16, 4, 1, 0) };
    /// slot.push();
    /// ring.submit()?;
    /// let cqe = ring.cq().wait_one(None)?.expect("it waits until one comes");
    /// cqe.result()?;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: the buffer is one of the group's; `file` is open while the read starts.
    /// unsafe { slot.prep_read(&file, std::ptr::null_mut(), 16, 0) }.buffer_select(1);
    /// slot.push();
    /// ring.submit()?;
    /// let cqe = ring.cq().wait_one(None)?.expect("it waits until one comes");
    /// assert_eq!(cqe.result()?, 16);
    /// let id = cqe.buffer_id().expect("one was taken");
    /// assert_eq!(&memory[usize::from(id)][..4], b"\x7fELF");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// From the submit on, each buffer must be valid for writes, and nobody else may access
    /// it, until it is no longer the kernel's: until the CQE of an operation that names it,
    /// until the CQE of a [`prep_remove_buffers`](Sqe::prep_remove_buffers) that has
    /// removed it, or until nothing on the ring can take a buffer from the group.
    #[inline]
    pub unsafe fn prep_provide_buffers(
        &mut self,
        addr: *mut u8,
        len: u32,
        count: u16,
        group: u16,
        first_id: u16,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::PROVIDE_BUFFERS,
            fd: count.into(),
            off: first_id.into(),
            addr: address(addr),
            len,
            buf_index: group,
            ..Sqe::default()
        })
    }

    /// Takes `count` buffers back out of a group, the ones that were to be taken first; or
    /// all, if there are fewer.
    ///
    /// One CQE: `res` is how many there were. `ENOENT` if there is no such group; `EINVAL`
    /// for 0 buffers and for a group that is a ring of buffers. Linux 5.7;
    /// `io_uring_prep_remove_buffers(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_remove_buffers(&mut self, count: u16, group: u16) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::REMOVE_BUFFERS,
            fd: count.into(),
            buf_index: group,
            ..Sqe::default()
        })
    }
}
