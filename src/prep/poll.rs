//! Waiting for readiness.

use super::Target;
use crate::abi::{self, Sqe, op};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_poll`] and [`Sqe::prep_poll_update`].
    PollFlags: u32 {
        /// Reports each event that comes, not only the first. Linux 5.13.
        MULTI = abi::poll::MULTI,
        /// Level-triggered. The number is reserved: no released kernel takes it, the
        /// answer is `EINVAL`.
        LEVEL = abi::poll::LEVEL,
    }
}

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
    /// let cqe = cq.wait_one(None)?.expect("there is no timeout");
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
        // SAFETY: the contract is the same.
        unsafe { self.prep_poll(file, mask, PollFlags::NONE) }
    }

    /// As [`prep_poll_add`](Sqe::prep_poll_add), but reports each time that an event
    /// comes.
    ///
    /// Any number of CQEs, all but the last with the `MORE` flag; the last one comes
    /// by a cancel or an error, or when the CQ was full. What is ready at the start is
    /// reported; from then on it is edge-triggered: an event that is not handled is not
    /// reported again. Not with [`skip_success`](Sqe::skip_success). Linux 5.13;
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
        // SAFETY: the contract is the same.
        unsafe { self.prep_poll(file, mask, PollFlags::MULTI) }
    }

    /// [`prep_poll_add`](Sqe::prep_poll_add) with flags.
    ///
    /// # Safety
    /// As for [`prep_poll_multishot`](Sqe::prep_poll_multishot).
    #[inline]
    pub unsafe fn prep_poll<'fd>(
        &mut self,
        file: impl Into<Target<'fd>>,
        mask: u32,
        flags: PollFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            len: flags.0,
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

    /// Changes the poll whose `user_data` this is: its `user_data` to
    /// `new_user_data`, its events to `mask`. `None` leaves what it is; two of them end
    /// the poll, as [`prep_poll_remove`](Sqe::prep_poll_remove).
    ///
    /// Of `mask` the bits up to 15 count. The poll starts anew: an event that is there is
    /// reported, under the new number. What its flags were it stays:
    /// [`MULTI`](PollFlags::MULTI), which goes with a `mask` only, does not make a
    /// multishot poll of another.
    ///
    /// One CQE: `res` is 0; or `ENOENT` (there is no such poll), or `EALREADY` (it is
    /// completing). A poll that cannot be started anew ends with `ECANCELED`. Linux 5.13;
    /// `io_uring_prep_poll_update(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive. What the poll needs, it needs until its last CQE.
    #[inline]
    pub unsafe fn prep_poll_update(
        &mut self,
        user_data: u64,
        new_user_data: Option<u64>,
        mask: Option<u32>,
        flags: PollFlags,
    ) -> &mut Sqe {
        let mut update = flags.0;
        if new_user_data.is_some() {
            update |= abi::poll::UPDATE_USER_DATA;
        }
        if mask.is_some() {
            update |= abi::poll::UPDATE_EVENTS;
        }
        self.reset_to(Sqe {
            opcode: op::POLL_REMOVE,
            fd: -1,
            off: new_user_data.unwrap_or(0),
            addr: user_data,
            len: update,
            op_flags: poll32_events(mask.unwrap_or(0)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prep::tests::*;

    /// 0x8765_4321 as the kernel takes it: on each machine the low half comes first.
    const POLL_EVENTS: [u8; 4] = if cfg!(target_endian = "big") {
        [0x43, 0x21, 0x87, 0x65]
    } else {
        [0x21, 0x43, 0x65, 0x87]
    };

    #[test]
    fn poll_add() {
        let (file, fd) = null();
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_poll_add(&file, 0x8765_4321) };
        assert_fields(sqe, &[(OPCODE, &[6]), (FD, &fd), (OP_FLAGS, &POLL_EVENTS)]);
    }

    #[test]
    fn poll_multishot() {
        let (file, fd) = null();
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_poll_multishot(&file, 0x8765_4321) };
        assert_fields(
            sqe,
            &[
                (OPCODE, &[6]),
                (FD, &fd),
                (LEN, &n32(1)),
                (OP_FLAGS, &POLL_EVENTS),
            ],
        );
    }

    #[test]
    fn poll_remove() {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_poll_remove(OFFSET) };
        assert_fields(
            sqe,
            &[(OPCODE, &[7]), (FD, &n32(u32::MAX)), (ADDR, &n64(OFFSET))],
        );
    }

    #[test]
    fn poll_flags() {
        let (file, fd) = null();
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_poll(&file, 0, PollFlags::MULTI | PollFlags::LEVEL) };
        assert_fields(sqe, &[(OPCODE, &[6]), (FD, &fd), (LEN, &n32(0x9))]);
    }

    #[test]
    fn poll_update() {
        const NEW: u64 = OFFSET + 1;
        let mask = Some(0x8765_4321);
        let (none, both) = (PollFlags::NONE, PollFlags::MULTI | PollFlags::LEVEL);
        for (new, mask, flags, bits) in [
            (None, None, none, 0x0),
            (Some(NEW), None, none, 0x4),
            (None, mask, both, 0xB),
            (Some(NEW), mask, none, 0x6),
            (Some(0), None, none, 0x4),
        ] {
            let mut sqe = used();
            // SAFETY: nobody submits this SQE.
            unsafe { sqe.prep_poll_update(OFFSET, new, mask, flags) };
            let events = mask.map_or([0; 4], |_| POLL_EVENTS);
            assert_fields(
                sqe,
                &[
                    (OPCODE, &[7]),
                    (FD, &n32(u32::MAX)),
                    (OFF, &n64(new.unwrap_or(0))),
                    (ADDR, &n64(OFFSET)),
                    (LEN, &n32(bits)),
                    (OP_FLAGS, &events),
                ],
            );
        }
    }
}
