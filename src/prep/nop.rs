//! The operation that does nothing.

use super::Target;
use crate::abi::{Sqe, nop, op, sqe_flags};
use crate::{Owner, Slot128};

/// What a NOP does all the same: for testing what is built on rings, as a stand-in for any
/// operation. For [`Sqe::prep_nop_with`].
///
/// Each method is one of the kernel's flags with its argument. A kernel that does not know
/// the flag ends the NOP in `EINVAL`; the first ones, before Linux 6.10, may ignore it.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "it is given to Sqe::prep_nop_with"]
pub struct Nop<'fd> {
    flags: u32,
    result: i32,
    file: Option<Target<'fd>>,
    buf_index: u16,
    extra: [u64; 2],
}

impl<'fd> Nop<'fd> {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// `INJECT_RESULT`: this is `res`, any number. A negative one makes the NOP fail, so
    /// that it breaks a chain. Linux 6.10.
    pub fn inject_result(mut self, result: i32) -> Self {
        self.flags |= nop::INJECT_RESULT;
        self.result = result;
        self
    }

    /// `FILE`, and `FIXED_FILE` for a [`Fixed`](super::Fixed) one: looks the file up;
    /// without it the NOP fails. Linux 6.13.
    pub fn file(mut self, file: impl Into<Target<'fd>>) -> Self {
        let file = file.into();
        // Not the SQE's own flag: with it, kernels have lost references to files.
        let is_fixed = file.sqe_flags & sqe_flags::FIXED_FILE != 0;
        self.flags &= !nop::FIXED_FILE;
        self.flags |= nop::FILE | if is_fixed { nop::FIXED_FILE } else { 0 };
        self.file = Some(file);
        self
    }

    /// `FIXED_BUFFER`: looks the registered buffer up; without it the NOP fails.
    /// Linux 6.13.
    pub fn fixed_buffer(mut self, buf_index: u16) -> Self {
        self.flags |= nop::FIXED_BUFFER;
        self.buf_index = buf_index;
        self
    }

    /// `TW`: completes when the thread that submitted leaves the kernel or waits, as what
    /// waited for an event does, and not within the submit. Linux 6.17.
    pub fn task_work(mut self) -> Self {
        self.flags |= nop::TW;
        self
    }

    /// `CQE32`: the CQE has 32 bytes, with this in the second half; see
    /// [`Cqe32::extra`](crate::Cqe32::extra). `EINVAL` on a ring of 16-byte CQEs.
    /// Linux 6.18.
    pub fn cqe32(mut self, extra: [u64; 2]) -> Self {
        self.flags |= nop::CQE32;
        self.extra = extra;
        self
    }
}

impl Sqe {
    /// Does nothing and posts one CQE: wakes a waiter, carries `user_data` from one
    /// thread to another, fills a place in a chain.
    ///
    /// `res` is 0. Linux 5.1; `io_uring_prep_nop(3)`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = ringway::Ring::builder(8).build()?;
    /// let sq = ring.sq();
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: a NOP names no memory and no file.
    /// unsafe { slot.prep_nop() }.user_data(7);
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = ring.cq().wait_one(None)?.expect("it waits until one comes");
    /// assert_eq!(cqe.user_data(), 7);
    /// assert_eq!(cqe.result()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline(always)]
    pub unsafe fn prep_nop(&mut self) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::NOP,
            ..Sqe::default()
        })
    }

    /// Does what `nop` says, and posts one CQE.
    ///
    /// `res` is 0, or the injected result; `EBADF` without the file, `EFAULT` without the
    /// registered buffer. Instead of those two, kernels without a fix of May 2026 report
    /// the injected result, or 0, though the NOP has failed: only its chain shows it.
    /// Linux 6.10.
    ///
    /// # Safety
    /// The file, if it names one, stays open until the CQE.
    #[inline]
    pub unsafe fn prep_nop_with(&mut self, nop: Nop<'_>) -> &mut Sqe {
        let [off, addr] = nop.extra;
        self.reset_to(Sqe {
            opcode: op::NOP,
            fd: nop.file.map_or(0, |file| file.fd),
            off,
            addr,
            len: nop.result.cast_unsigned(),
            op_flags: nop.flags,
            buf_index: nop.buf_index,
            ..Sqe::default()
        })
    }
}

impl<R: Owner> Slot128<'_, R> {
    /// As [`prep_nop`](Sqe::prep_nop), with an SQE of 128 bytes, of whose second half nothing
    /// is used. One CQE: `res` is 0. Linux 6.19; `io_uring_prep_nop128(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive. The SQE is pushed from this slot, not from a copy.
    pub unsafe fn prep_nop128(&mut self) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::NOP128,
            ..Sqe::default()
        })
    }
}
