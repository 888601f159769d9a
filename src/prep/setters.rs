//! What every operation can carry: `user_data`, the flags, the personality.

use crate::abi::{Sqe, sqe_flags};

/// Setters for after the prep, which resets what they set. See
/// `io_uring_sqe_set_flags(3)`.
impl Sqe {
    /// Sets the number that the operation's CQEs carry. Any value; a prep sets 0.
    #[inline(always)]
    pub fn user_data(&mut self, user_data: u64) -> &mut Sqe {
        self.user_data = user_data;
        self
    }

    /// The number that the operation's CQEs will carry.
    #[inline(always)]
    pub fn get_user_data(&self) -> u64 {
        self.user_data
    }

    /// Starts the next SQE only when this one has completed, and cancels it and the
    /// rest of the chain with `ECANCELED` when this one fails; a read or write that
    /// transfers less than asked for counts as failed.
    ///
    /// The chain consists of neighbours that become visible in one submission: take
    /// them as one batch. `IOSQE_IO_LINK`, Linux 5.3; `io_uring_linked_requests(7)`.
    #[inline(always)]
    pub fn link(&mut self) -> &mut Sqe {
        self.set(sqe_flags::IO_LINK)
    }

    /// As [`link`](Self::link), but the chain goes on when this operation fails.
    /// `IOSQE_IO_HARDLINK`, Linux 5.5.
    #[inline(always)]
    pub fn hardlink(&mut self) -> &mut Sqe {
        self.set(sqe_flags::IO_HARDLINK)
    }

    /// Starts this operation when all earlier ones of the ring have completed, and
    /// no later one before this one has.
    ///
    /// On a shared ring "earlier" and "later" include the operations of all other
    /// threads, so this holds everybody up. `IOSQE_IO_DRAIN`, Linux 5.2.
    #[inline(always)]
    pub fn drain(&mut self) -> &mut Sqe {
        self.set(sqe_flags::IO_DRAIN)
    }

    /// Gives the operation to a kernel worker thread at once, without the attempt to
    /// do it in the submit. For what is known to block; slower for all else.
    /// `IOSQE_ASYNC`, Linux 5.6.
    #[inline(always)]
    pub fn force_async(&mut self) -> &mut Sqe {
        self.set(sqe_flags::ASYNC)
    }

    /// Posts no CQE if the operation succeeds; a failure is still reported.
    ///
    /// For an operation that names memory, success is then visible by its effect
    /// only. Not for multishot polls (`EINVAL`); from its first use on,
    /// [`drain`](Self::drain) ends in `EOPNOTSUPP` on that ring.
    /// `IOSQE_CQE_SKIP_SUCCESS`, Linux 5.17.
    #[inline(always)]
    pub fn skip_success(&mut self) -> &mut Sqe {
        self.set(sqe_flags::CQE_SKIP_SUCCESS)
    }

    /// Takes the buffer from a group of provided buffers; the pointer of the prep is not
    /// used and may be null, its length is the most that is transferred.
    ///
    /// For operations that read, receive or send (`EOPNOTSUPP` for others). It sets
    /// `buf_group`, which fixed-buffer operations use for their buffer's index: the two
    /// exclude each other. A CQE that names a buffer has it, whatever its result says; an
    /// empty group ends in `ENOBUFS`, an unknown one in that or in `ENOENT`.
    /// `IOSQE_BUFFER_SELECT`, Linux 5.7; `io_uring_register_buf_ring(3)`,
    /// [`prep_provide_buffers`](Sqe::prep_provide_buffers).
    #[inline(always)]
    pub fn buffer_select(&mut self, group: u16) -> &mut Sqe {
        self.buf_index = group;
        self.set(sqe_flags::BUFFER_SELECT)
    }

    /// Runs the operation with registered credentials; 0, which a prep sets, means
    /// those of the thread that submits. An unknown id ends in `EINVAL`. Linux 5.6;
    /// `io_uring_register_personality(3)`.
    #[inline(always)]
    pub fn personality(&mut self, id: u16) -> &mut Sqe {
        self.personality = id;
        self
    }

    /// All 64 bytes, for operations and fields that have no method yet. The layout
    /// is `struct io_uring_sqe`, in the byte order of the machine.
    ///
    /// ```
    /// let mut sqe = ringway::Sqe::default();
    /// // SAFETY: a NOP names no memory and no file.
    /// unsafe { sqe.prep_nop() };
    /// // SAFETY: NOP_INJECT_RESULT (Linux 6.10) and the result are plain numbers.
    /// let bytes = unsafe { sqe.as_bytes_mut() };
    /// bytes[28..32].copy_from_slice(&1u32.to_ne_bytes());
    /// bytes[24..28].copy_from_slice(&42u32.to_ne_bytes());
    /// ```
    ///
    /// # Safety
    /// The bytes are as good as a prep: whatever memory and descriptors the operation
    /// that they spell uses must stay alive as the kernel needs it (see
    /// [`prep`](crate::prep)).
    #[inline(always)]
    pub unsafe fn as_bytes_mut(&mut self) -> &mut [u8; 64] {
        // SAFETY: an Sqe is 64 bytes of integers without padding: every byte is
        // initialised and every value of a byte is valid.
        unsafe { &mut *std::ptr::from_mut(self).cast() }
    }

    #[inline(always)]
    fn set(&mut self, flag: u8) -> &mut Sqe {
        self.flags |= flag;
        self
    }
}
