//! Waiting for readiness.

use super::Target;
use crate::abi::{self, Sqe, op};

impl Sqe {
    /// Waits until the file is ready for one of the events of `mask`.
    ///
    /// `mask` is made of `libc::POLL*` or `libc::EPOLL*` bits; errors and hang-ups are
    /// reported asked for or not. One CQE: `res` is the set of events that are there.
    /// Linux 5.1, events above bit 15 since 5.9; `io_uring_prep_poll_add(3)`,
    /// `poll(2)`.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let (reader, mut writer) = std::io::pipe()?;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `reader` stays open until the CQE.
    /// unsafe { slot.prep_poll_add(&reader, libc::POLLIN as u32) };
    /// slot.push();
    /// ring.submit()?;
    /// writer.write_all(b"!")?;
    ///
    /// let cqe = loop {
    ///     match cq.reap() {
    ///         Some(cqe) => break cqe,
    ///         None => cq.wait(None)?,
    ///     };
    /// };
    /// assert_eq!(cqe.result()?, libc::POLLIN as u32);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// The file stays open until the CQE.
    #[inline]
    pub unsafe fn prep_poll_add<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        mask: u32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            op_flags: poll32_events(mask),
            ..file.into().sqe(op::POLL_ADD)
        })
    }

    /// As [`prep_poll_add`](Sqe::prep_poll_add), but reports each time that an event
    /// comes.
    ///
    /// Any number of CQEs, all but the last with the `MORE` flag; the last one comes
    /// by a cancel or an error, or when the CQ was full. Edge-triggered: an event that
    /// is not handled is not reported again. Not with
    /// [`skip_success`](Sqe::skip_success). Linux 5.13;
    /// `io_uring_prep_poll_multishot(3)`.
    ///
    /// # Safety
    /// The file stays open until the last CQE.
    #[inline]
    pub unsafe fn prep_poll_multishot<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        mask: u32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            len: abi::poll::MULTI,
            op_flags: poll32_events(mask),
            ..file.into().sqe(op::POLL_ADD)
        })
    }

    /// Ends the poll whose `user_data` this is, and no other kind of operation.
    ///
    /// One CQE: `res` is 0 and the poll's own last CQE has `ECANCELED`; or `ENOENT`
    /// (there is no such poll), or `EALREADY` (it is completing). Linux 5.1;
    /// `io_uring_prep_poll_remove(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive. What the poll needs, it needs until its own CQE.
    #[inline]
    pub unsafe fn prep_poll_remove(&mut self, user_data: u64) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::POLL_REMOVE,
            fd: -1,
            addr: user_data,
            ..Sqe::default()
        })
    }
}

/// The field began as 16 bits: on a big-endian machine the kernel wants those first.
#[inline(always)]
fn poll32_events(mask: u32) -> u32 {
    if cfg!(target_endian = "big") {
        mask.rotate_left(16)
    } else {
        mask
    }
}
