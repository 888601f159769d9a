//! Messages to rings.

use super::{Direct, Fixed, Target};
use crate::abi::{self, Sqe, op};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_msg_ring`] and the others that send messages.
    MsgRingFlags: u32 {
        /// The receiving ring gets the file without a CQE. For files only: `EINVAL` with
        /// [`Sqe::prep_msg_ring`]. Linux 6.0.
        CQE_SKIP = abi::msg_ring::CQE_SKIP,
        /// The CQE carries the flags that were given; [`Sqe::prep_msg_ring_cqe_flags`]
        /// sets it. Linux 6.3.
        FLAGS_PASS = abi::msg_ring::FLAGS_PASS,
    }
}

impl Sqe {
    /// Posts a CQE with this `res` and this `user_data` to a ring, which may be the same
    /// ring, or one of another process whose descriptor was passed on.
    ///
    /// `ring` is what `ring.fd()` gives. The CQE there wakes who waits there; it is on
    /// nobody's account, so the receiver needs a `user_data` by which to know it. If that
    /// CQ is full the CQE waits in the kernel, as others do. A ring with `DEFER_TASKRUN`
    /// shows it when its thread next waits.
    ///
    /// One CQE here: `res` is 0. `EBADFD` (no ring, or one that is not enabled),
    /// `EOVERFLOW` and `ENOMEM` (no memory for the CQE). Not with a
    /// [`personality`](Sqe::personality) (`EINVAL`). Linux 5.18;
    /// `io_uring_prep_msg_ring(3)`.
    ///
    /// ```
    /// use ringway::{Ring, prep::MsgRingFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (sender, receiver) = (Ring::builder(8).build()?, Ring::builder(8).build()?);
    /// let (sq, cq) = (sender.sq(), receiver.cq());
    /// let to = receiver.fd().expect("it is a real ring");
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: the ring stays open until the CQE here.
    /// unsafe { slot.prep_msg_ring(to, 42, 7, MsgRingFlags::NONE) };
    /// slot.push();
    /// sender.submit()?;
    ///
    /// let message = cq.wait_one(None)?.expect("there is no timeout");
    /// assert_eq!((message.res(), message.user_data()), (42, 7));
    /// let sent = sender.cq().wait_one(None)?.expect("there is no timeout");
    /// assert_eq!(sent.result()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// The ring stays open until the CQE. Whoever reaps the message must not take it for
    /// the CQE of an operation in flight, whose memory that one would set free.
    #[inline]
    pub unsafe fn prep_msg_ring<'fd>(
        &mut self,
        ring: impl Into<Target<'fd>>,
        res: i32,
        user_data: u64,
        flags: MsgRingFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: user_data,
            addr: abi::msg::DATA,
            len: res.cast_unsigned(),
            op_flags: flags.0,
            ..ring.into().sqe(op::MSG_RING)
        })
    }

    /// [`prep_msg_ring`](Sqe::prep_msg_ring) that also gives the flags of the CQE, which
    /// are 0 otherwise.
    ///
    /// They mean there what they mean in any CQE: `MORE`, or a buffer id. On a ring of
    /// mixed CQEs `CQE_F_SKIP` makes it padding, which nobody gets to see, and `CQE_F_32`
    /// makes it a large one. Linux 6.3; `io_uring_prep_msg_ring_cqe_flags(3)`.
    ///
    /// # Safety
    /// As for [`prep_msg_ring`](Sqe::prep_msg_ring).
    #[inline]
    pub unsafe fn prep_msg_ring_cqe_flags<'fd>(
        &mut self,
        ring: impl Into<Target<'fd>>,
        res: i32,
        user_data: u64,
        flags: MsgRingFlags,
        cqe_flags: u32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: user_data,
            addr: abi::msg::DATA,
            len: res.cast_unsigned(),
            op_flags: (flags | MsgRingFlags::FLAGS_PASS).0,
            file_index: cqe_flags,
            ..ring.into().sqe(op::MSG_RING)
        })
    }

    /// Puts a fixed file of this ring into the table of another one, and posts a CQE with
    /// this `user_data` there. The file stays in this ring as well.
    ///
    /// One CQE here, and one there unless [`CQE_SKIP`](MsgRingFlags::CQE_SKIP): `res` of
    /// both is 0, with [`Direct::ALLOC`] the place. `EINVAL` for the same ring, and for a
    /// place outside the table there; `ENXIO` without a table there; `ENFILE` when no place
    /// is free; `EBADF` when `source` is none of this ring's files; `EBADFD` as for
    /// [`prep_msg_ring`](Sqe::prep_msg_ring). After `EOVERFLOW` the file is there, though
    /// without a CQE. A ring with `DEFER_TASKRUN` takes the file when its thread next
    /// enters the kernel; `EOWNERDEAD` when that thread has exited. Linux 6.0;
    /// `io_uring_prep_msg_ring_fd(3)`.
    ///
    /// # Safety
    /// As for [`prep_msg_ring`](Sqe::prep_msg_ring).
    #[inline]
    pub unsafe fn prep_msg_ring_fd<'fd>(
        &mut self,
        ring: impl Into<Target<'fd>>,
        source: Fixed,
        place: Direct,
        user_data: u64,
        flags: MsgRingFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: user_data,
            addr: abi::msg::SEND_FD,
            op_flags: flags.0,
            file_index: place.field(),
            addr3: source.0.into(),
            ..ring.into().sqe(op::MSG_RING)
        })
    }

    /// [`prep_msg_ring_fd`](Sqe::prep_msg_ring_fd) with [`Direct::ALLOC`].
    /// `io_uring_prep_msg_ring_fd_alloc(3)`.
    ///
    /// # Safety
    /// As for [`prep_msg_ring`](Sqe::prep_msg_ring).
    #[inline]
    pub unsafe fn prep_msg_ring_fd_alloc<'fd>(
        &mut self,
        ring: impl Into<Target<'fd>>,
        source: Fixed,
        user_data: u64,
        flags: MsgRingFlags,
    ) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_msg_ring_fd(ring, source, Direct::ALLOC, user_data, flags) }
    }
}
