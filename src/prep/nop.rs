//! The operation that does nothing.

use crate::Slot128;
use crate::abi::{Sqe, op};

impl Sqe {
    /// Does nothing and posts one CQE: wakes a waiter, carries `user_data` from one
    /// thread to another, fills a place in a chain.
    ///
    /// `res` is 0. Linux 5.1; `io_uring_prep_nop(3)`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = ringway::Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: a NOP names no memory and no file.
    /// unsafe { slot.prep_nop() }.user_data(7);
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = loop {
    ///     match cq.reap() {
    ///         Some(cqe) => break cqe,
    ///         None => cq.wait(None)?,
    ///     };
    /// };
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
}

impl<R> Slot128<'_, R> {
    /// As [`prep_nop`](Sqe::prep_nop), with an SQE of 128 bytes; the second half is not
    /// looked at. Linux 6.19; `io_uring_prep_nop128(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    pub unsafe fn prep_nop128(&mut self) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::NOP128,
            ..Sqe::default()
        })
    }
}
