//! Cancelling.

use super::Target;
use crate::abi::{self, Sqe, op, sqe_flags};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_cancel64`] and the others that cancel.
    CancelFlags: u32 {
        /// All operations that match. Linux 5.19.
        ALL = abi::cancel::ALL,
        /// All operations of the ring, those of other threads included, whatever their
        /// `user_data`. `EINVAL` together with a file or an opcode. Linux 5.19.
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
    /// cannot be cancelled; nor can a link timeout. Waits for futexes and for processes are
    /// counted otherwise: `res` without flags is 1, and with one all of them count as 1.
    /// Linux 5.5; `io_uring_prep_cancel64(3)`.
    ///
    /// ```
    /// use ringway::{Ring, prep::CancelFlags};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let (reader, _writer) = std::io::pipe()?;
    /// let byte = Box::leak(Box::new(0u8)); // stays, also if a `?` returns early
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `byte` is never freed; `reader` is open while the read starts.
    /// unsafe { slot.prep_read(&reader, byte, 1, 0) }.user_data(1);
    /// slot.push();
    /// let mut slot = sq.pop().expect("the ring has room");
    /// // SAFETY: a cancel request names no memory.
    /// unsafe { slot.prep_cancel64(1, CancelFlags::NONE) }.user_data(2);
    /// slot.push();
    /// ring.submit()?;
    ///
    /// for _ in 0..2 {
    ///     let cqe = cq.wait_one(None)?.expect("there is no timeout");
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

    /// [`prep_cancel64`](Sqe::prep_cancel64) for who makes the `user_data` of an address:
    /// this one is a number here and nothing else. `io_uring_prep_cancel(3)`.
    ///
    /// # Safety
    /// As for [`prep_cancel64`](Sqe::prep_cancel64).
    #[inline]
    pub unsafe fn prep_cancel<T>(&mut self, user_data: *const T, flags: CancelFlags) -> &mut Sqe {
        // SAFETY: the contract is the same.
        unsafe { self.prep_cancel64(user_data.addr() as u64, flags) }
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
        // SAFETY: the contract is the same.
        unsafe { self.prep_cancel_matching(None, Some(file.into()), None, flags) }
    }

    /// Cancels an operation that matches in all of these at once: its `user_data`, its
    /// file, its opcode (one of [`op`]); with [`CancelFlags::ALL`] all that
    /// do. What is `None` may be anything.
    ///
    /// CQE and `res` as for [`prep_cancel64`](Sqe::prep_cancel64), and `EBADF`. With
    /// nothing named every operation matches, as with [`CancelFlags::ANY`], and `res` is
    /// their number. An opcode, or two things at once: Linux 6.6; otherwise as
    /// [`prep_cancel64`](Sqe::prep_cancel64) and [`prep_cancel_fd`](Sqe::prep_cancel_fd).
    /// `io_uring_prep_cancel(3)`.
    ///
    /// # Safety
    /// As for [`prep_cancel_fd`](Sqe::prep_cancel_fd).
    #[inline]
    pub unsafe fn prep_cancel_matching(
        &mut self,
        user_data: Option<u64>,
        file: Option<Target<'_>>,
        opcode: Option<u8>,
        flags: CancelFlags,
    ) -> &mut Sqe {
        let mut by = match user_data {
            // Alone it is what kernels before 6.6 match by, who do not know the flag.
            Some(_) if file.is_none() && opcode.is_none() => 0,
            Some(_) => abi::cancel::USERDATA,
            None if file.is_none() && opcode.is_none() => abi::cancel::ANY,
            None => 0,
        };
        if let Some(file) = file {
            by |= abi::cancel::FD;
            // This operation has a flag of its own for fixed files.
            if file.sqe_flags & sqe_flags::FIXED_FILE != 0 {
                by |= abi::cancel::FD_FIXED;
            }
        }
        if opcode.is_some() {
            by |= abi::cancel::OP;
        }
        self.reset_to(Sqe {
            opcode: op::ASYNC_CANCEL,
            fd: file.map_or(-1, |file| file.fd),
            addr: user_data.unwrap_or(0),
            len: opcode.unwrap_or(0).into(),
            op_flags: flags.0 | by,
            ..Sqe::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prep::Fixed;
    use crate::prep::tests::*;

    #[test]
    fn cancel64() {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cancel64(OFFSET, CancelFlags::NONE) };
        assert_fields(
            sqe,
            &[(OPCODE, &[14]), (FD, &n32(u32::MAX)), (ADDR, &n64(OFFSET))],
        );
    }

    #[test]
    fn cancel_flags() {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cancel64(0, CancelFlags::ALL | CancelFlags::ANY) };
        assert_fields(
            sqe,
            &[(OPCODE, &[14]), (FD, &n32(u32::MAX)), (OP_FLAGS, &n32(0x5))],
        );
    }

    #[test]
    fn cancel_fd() {
        let (file, fd) = null();
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cancel_fd(&file, CancelFlags::ALL) };
        assert_fields(sqe, &[(OPCODE, &[14]), (FD, &fd), (OP_FLAGS, &n32(0x3))]);
    }

    #[test]
    fn cancel_fd_of_a_fixed_file() {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cancel_fd(Fixed(7), CancelFlags::NONE) };
        assert_fields(
            sqe,
            &[(OPCODE, &[14]), (FD, &n32(7)), (OP_FLAGS, &n32(0xA))],
        );
    }

    #[test]
    fn cancel_by_address() {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_cancel(wild::<u32>(), CancelFlags::ALL) };
        assert_fields(
            sqe,
            &[
                (OPCODE, &[14]),
                (FD, &n32(u32::MAX)),
                (ADDR, &n64(WILD as u64)),
                (OP_FLAGS, &n32(0x1)),
            ],
        );
    }

    #[test]
    fn cancel_matching() {
        let number = Some(OFFSET);
        let file = Some(Target::from(Fixed(7)));
        let opcode = Some(200);
        // ALL in any case; ANY only when nothing is named.
        for (user_data, file, opcode, bits) in [
            (None, None, None, 0x05),
            (number, None, None, 0x01),
            (None, file, None, 0x0B),
            (None, None, opcode, 0x21),
            (number, file, None, 0x1B),
            (number, None, opcode, 0x31),
            (None, file, opcode, 0x2B),
            (number, file, opcode, 0x3B),
        ] {
            let mut sqe = used();
            // SAFETY: nobody submits this SQE.
            unsafe { sqe.prep_cancel_matching(user_data, file, opcode, CancelFlags::ALL) };
            assert_fields(
                sqe,
                &[
                    (OPCODE, &[14]),
                    (FD, &n32(file.map_or(u32::MAX, |_| 7))),
                    (ADDR, &n64(user_data.unwrap_or(0))),
                    (LEN, &n32(opcode.unwrap_or(0).into())),
                    (OP_FLAGS, &n32(bits)),
                ],
            );
        }
    }
}
