//! Futexes.

use super::address;
use crate::abi::{Sqe, op};
use crate::flags::flags;

flags! {
    /// What a futex is (`FUTEX2_*`): its size, and who waits. See `futex_wait(2)`.
    FutexFlags: u32 {
        /// 32 bits, the only size that kernels take so far: without it `EINVAL`.
        SIZE_U32 = 0x02,
        /// Another 32 bits behind the futex hold its NUMA node. Linux 6.16.
        NUMA = 0x04,
        /// The memory policy says the NUMA node. Linux 6.16.
        MPOL = 0x08,
        /// Threads of this process only, which is faster.
        PRIVATE = 0x80,
    }
}

/// The mask that matches each waiter and each waker (`FUTEX_BITSET_MATCH_ANY`).
pub const FUTEX_MATCH_ANY: u64 = u32::MAX as u64;

/// One futex of those that [`Sqe::prep_futex_waitv`] waits for (`struct futex_waitv`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FutexWaitv {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

impl FutexWaitv {
    /// Waits while the futex at this address holds `value`.
    pub fn new(futex: *const u32, value: u64, flags: FutexFlags) -> Self {
        Self {
            value,
            address: address(futex),
            flags: flags.0,
            reserved: 0,
        }
    }
}

impl Sqe {
    /// Waits until the futex is woken, if it holds `value` at the start.
    ///
    /// Only a waker whose mask has a bit in common with `mask` counts; usually
    /// [`FUTEX_MATCH_ANY`]. One CQE: `res` is 0 (woken, which may be by chance: look at
    /// the value again) or `EAGAIN` (it holds another value). `EINVAL` for a `mask` of 0,
    /// for a `value` or `mask` of more than 32 bits and for an address that is no multiple
    /// of 4. There is no time limit: link a
    /// [`prep_link_timeout`](Sqe::prep_link_timeout) to it. Linux 6.7;
    /// `io_uring_prep_futex_wait(3)`, `futex_wait(2)`.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// use ringway::Ring;
    /// use ringway::prep::{FUTEX_MATCH_ANY, FutexFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// # if !ring.probe()?.supports(ringway::op::FUTEX_WAIT) {
    /// #     return Ok(());
    /// # }
    /// let door = Box::leak(Box::new(AtomicU32::new(0))); // stays, also if a `?` returns early
    /// let private = FutexFlags::SIZE_U32 | FutexFlags::PRIVATE;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `door` is never freed.
    /// unsafe { slot.prep_futex_wait(door.as_ptr(), 0, FUTEX_MATCH_ANY, private) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// door.store(1, Ordering::Release);
    /// let mut slot = sq.pop().expect("the ring has room");
    /// // SAFETY: as above.
    /// unsafe { slot.prep_futex_wake(door.as_ptr(), 1, FUTEX_MATCH_ANY, private) }.user_data(1);
    /// slot.push();
    /// ring.submit()?;
    ///
    /// for _ in 0..2 {
    ///     let cqe = cq.wait_one(None)?.expect("there is no timeout");
    ///     match cqe.user_data() {
    ///         0 => assert_eq!(cqe.result()?, 0),
    ///         _ => assert_eq!(cqe.result()?, 1),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `futex` must be valid for reads, by threads that know it as an atomic, until the
    /// CQE; with [`NUMA`](FutexFlags::NUMA) the 32 bits behind it for reads and writes.
    #[inline]
    pub unsafe fn prep_futex_wait(
        &mut self,
        futex: *const u32,
        value: u64,
        mask: u64,
        flags: FutexFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::FUTEX_WAIT,
            fd: flags.0.cast_signed(),
            off: value,
            addr: address(futex),
            addr3: mask,
            ..Sqe::default()
        })
    }

    /// Wakes up to `count` of those who wait for the futex with a mask that has a bit in
    /// common with `mask`.
    ///
    /// They may wait by a system call or by a ring. One CQE: `res` is the number that was
    /// woken. `EINVAL` as for [`prep_futex_wait`](Sqe::prep_futex_wait). A `count` above
    /// `i32::MAX` wakes one. Linux 6.7; `io_uring_prep_futex_wake(3)`, `futex_wake(2)`.
    ///
    /// # Safety
    /// As for [`prep_futex_wait`](Sqe::prep_futex_wait).
    #[inline]
    pub unsafe fn prep_futex_wake(
        &mut self,
        futex: *const u32,
        count: u64,
        mask: u64,
        flags: FutexFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::FUTEX_WAKE,
            fd: flags.0.cast_signed(),
            off: count,
            addr: address(futex),
            addr3: mask,
            ..Sqe::default()
        })
    }

    /// Waits until one of several futexes is woken, if each holds its value at the start.
    ///
    /// From 1 to 128 futexes. One CQE: `res` is the index of one that was woken, or
    /// `EAGAIN` (one holds another value). Linux 6.7; `io_uring_prep_futex_waitv(3)`.
    ///
    /// # Safety
    /// `futexes` must be valid for reads of `count` elements until submit. Of the futexes
    /// that they name each must be as for [`prep_futex_wait`](Sqe::prep_futex_wait).
    #[inline]
    pub unsafe fn prep_futex_waitv(&mut self, futexes: *const FutexWaitv, count: u32) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::FUTEX_WAITV,
            addr: address(futexes),
            len: count,
            ..Sqe::default()
        })
    }
}
