//! Cancelling.

use super::Target;
use crate::abi::{self, Sqe, op, sqe_flags};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_cancel64`] and [`Sqe::prep_cancel_fd`].
    CancelFlags: u32 {
        /// All operations that match. Linux 5.19.
        ALL = abi::cancel::ALL,
        /// All operations of the ring, those of other threads included; what they are
        /// matched by is not looked at. Linux 5.19.
        ANY = abi::cancel::ANY,
    }
}

impl Sqe {
    /// Cancels the operation whose `user_data` this is.
    ///
    /// One CQE for the request itself, which says what was found and not that anything
    /// has ended: each operation found still posts its own CQE, with `ECANCELED` or
    /// with its result, and keeps its buffers until then.
    ///
    /// `res` without flags is 0 (found and cancelled), `ENOENT` (not found: it has
    /// completed, or was not submitted yet) or `EALREADY` (it is running: it will be
    /// interrupted, or complete). With a flag it is the number of operations found,
    /// 0 included. Operations that a device is working on, such as reads of a disk,
    /// cannot be cancelled. Linux 5.5; `io_uring_prep_cancel64(3)`.
    ///
    /// ```
    /// use ringway::{Ring, prep::CancelFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let (reader, _writer) = std::io::pipe()?;
    /// let mut byte = 0u8;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `reader` and `byte` stay until both CQEs are here.
    /// unsafe { slot.prep_read(&reader, &mut byte, 1, 0) }.user_data(1);
    /// slot.push();
    /// let mut slot = sq.pop().expect("the ring has room");
    /// // SAFETY: a cancel request names no memory.
    /// unsafe { slot.prep_cancel64(1, CancelFlags::NONE) }.user_data(2);
    /// slot.push();
    /// ring.submit()?;
    ///
    /// for _ in 0..2 {
    ///     let cqe = loop {
    ///         match cq.reap() {
    ///             Some(cqe) => break cqe,
    ///             None => cq.wait(None)?,
    ///         };
    ///     };
    ///     match cqe.user_data() {
    ///         1 => assert_eq!(cqe.result().unwrap_err().raw(), libc::ECANCELED),
    ///         _ => assert_eq!(cqe.result()?, 0),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// Nothing has to stay alive. What the operations found need, they need until
    /// their own CQEs.
    #[inline]
    pub unsafe fn prep_cancel64(&mut self, user_data: u64, flags: CancelFlags) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::ASYNC_CANCEL,
            fd: -1,
            addr: user_data,
            op_flags: flags.0,
            ..Sqe::default()
        })
    }

    /// Cancels an operation on this file; with [`CancelFlags::ALL`] all of them.
    ///
    /// The file is what counts, not the number: operations that were started through
    /// a duplicate of the descriptor match too. CQE and `res` as for
    /// [`prep_cancel64`](Sqe::prep_cancel64), and `EBADF`. Linux 5.19, for fixed files
    /// 6.0; `io_uring_prep_cancel_fd(3)`.
    ///
    /// # Safety
    /// The file stays open until the CQE. What the operations found need, they need
    /// until their own CQEs.
    #[inline]
    pub unsafe fn prep_cancel_fd<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        flags: CancelFlags,
    ) -> &mut Sqe {
        let file = file.into();
        // This operation has a flag of its own for fixed files.
        let by = if file.sqe_flags & sqe_flags::FIXED_FILE == 0 {
            abi::cancel::FD
        } else {
            abi::cancel::FD | abi::cancel::FD_FIXED
        };
        self.reset_to(Sqe {
            opcode: op::ASYNC_CANCEL,
            fd: file.fd,
            op_flags: flags.0 | by,
            ..Sqe::default()
        })
    }
}
