//! Timeouts.

use std::time::Duration;

use super::address;
use crate::abi::{self, Sqe, op};
use crate::flags::flags;

/// A time as the kernel takes it (`struct __kernel_timespec`): a duration, or a moment
/// counted from where its clock started.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timespec(abi::Timespec);

impl Timespec {
    /// `nanoseconds` from 0 to 999,999,999; the kernel answers `EINVAL` to others, and
    /// to negative `seconds`.
    pub const fn new(seconds: i64, nanoseconds: i64) -> Self {
        Self(abi::Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        })
    }

    /// The whole seconds.
    pub const fn seconds(self) -> i64 {
        self.0.tv_sec
    }

    /// What is beyond the whole seconds.
    pub const fn nanoseconds(self) -> i64 {
        self.0.tv_nsec
    }
}

impl From<Duration> for Timespec {
    /// More than `i64::MAX` seconds become that many.
    fn from(time: Duration) -> Self {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self::new(seconds, time.subsec_nanos().into())
    }
}

flags! {
    /// Flags of [`Sqe::prep_timeout`] and [`Sqe::prep_link_timeout`].
    TimeoutFlags: u32 {
        /// The time is a moment on the clock, not a duration.
        ABS = abi::timeout::ABS,
        /// `CLOCK_BOOTTIME`: counts while the machine sleeps. Linux 5.15.
        BOOTTIME = abi::timeout::BOOTTIME,
        /// `CLOCK_REALTIME`. Linux 5.15.
        REALTIME = abi::timeout::REALTIME,
        /// Expiry does not break a chain. `res` is `ETIME` still. Linux 5.16.
        ETIME_SUCCESS = abi::timeout::ETIME_SUCCESS,
        /// Expires again and again; `count` is the number of times, 0 for no end.
        /// Linux 6.4.
        MULTISHOT = abi::timeout::MULTISHOT,
    }
}

flags! {
    /// Flags of [`Sqe::prep_timeout_update`].
    TimeoutUpdateFlags: u32 {
        /// The time is a moment on the clock, not a duration.
        ABS = abi::timeout::ABS,
        /// The timeout is one of [`Sqe::prep_link_timeout`]. Linux 5.15.
        LINK = abi::timeout::LINK_UPDATE,
    }
}

impl Sqe {
    /// Completes when the time is over, or when `count` other operations of the ring
    /// have completed after it was submitted; with `count` 0 by time alone.
    ///
    /// One CQE: `res` is `ETIME` when the time is over (the usual end, though an
    /// error by form), 0 when the count was reached. With
    /// [`MULTISHOT`](TimeoutFlags::MULTISHOT) one CQE with `ETIME` each time, all but
    /// the last with the `MORE` flag. `EINVAL` for negative times, for two clocks, and for
    /// [`MULTISHOT`](TimeoutFlags::MULTISHOT) with [`ABS`](TimeoutFlags::ABS).
    /// Linux 5.4; `io_uring_prep_timeout(3)`.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use ringway::{Ring, prep::{TimeoutFlags, Timespec}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let started = Instant::now();
    /// let time = Timespec::from(Duration::from_millis(5));
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `time` lives until the CQE, which is more than needed.
    /// unsafe { slot.prep_timeout(&time, 0, TimeoutFlags::NONE) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("there is no timeout");
    /// assert_eq!(cqe.result().unwrap_err().raw(), libc::ETIME);
    /// assert!(started.elapsed() >= Duration::from_millis(5));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `time` must be valid for reads until submit.
    #[inline]
    pub unsafe fn prep_timeout(
        &mut self,
        time: *const Timespec,
        count: u32,
        flags: TimeoutFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::TIMEOUT,
            fd: -1,
            off: count.into(),
            addr: address(time),
            // The number of timespecs: the kernel takes no other.
            len: 1,
            op_flags: flags.0,
            ..Sqe::default()
        })
    }

    /// [`prep_timeout`](Sqe::prep_timeout) with the time in the SQE itself, in
    /// nanoseconds: more than 292 years become that many. Linux 7.1, `EINVAL` before.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_timeout_immediate(
        &mut self,
        time: Duration,
        count: u32,
        flags: TimeoutFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::TIMEOUT,
            fd: -1,
            off: count.into(),
            addr: immediate(time),
            len: 1,
            op_flags: flags.0 | abi::timeout::IMMEDIATE_ARG,
            ..Sqe::default()
        })
    }

    /// Ends the timeout whose `user_data` this is, and no other kind of operation; not
    /// one of [`prep_link_timeout`](Sqe::prep_link_timeout).
    ///
    /// One CQE: `res` is 0 and the timeout's own CQE has `ECANCELED`; or `ENOENT` (there
    /// is no such timeout), or `EALREADY` (it is expiring). Linux 5.5;
    /// `io_uring_prep_timeout_remove(3)`.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_timeout_remove(&mut self, user_data: u64) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::TIMEOUT_REMOVE,
            fd: -1,
            addr: user_data,
            ..Sqe::default()
        })
    }

    /// Gives the timeout whose `user_data` this is another time, which counts from now.
    ///
    /// Its clock and its flags stay. It forgets its `count`: from then on it ends by time
    /// alone, and one with [`MULTISHOT`](TimeoutFlags::MULTISHOT) does not end.
    ///
    /// One CQE: `res` is 0; or `ENOENT` (there is no such timeout, or it is one of
    /// [`prep_link_timeout`](Sqe::prep_link_timeout) and [`LINK`](TimeoutUpdateFlags::LINK)
    /// is not set, or the other way round), or `EALREADY` (it is expiring). Linux 5.11;
    /// `io_uring_prep_timeout_update(3)`.
    ///
    /// # Safety
    /// `time` must be valid for reads until submit.
    #[inline]
    pub unsafe fn prep_timeout_update(
        &mut self,
        time: *const Timespec,
        user_data: u64,
        flags: TimeoutUpdateFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::TIMEOUT_REMOVE,
            fd: -1,
            off: address(time),
            addr: user_data,
            // The kernel wants this bit with that of linked timeouts as well.
            op_flags: flags.0 | abi::timeout::UPDATE,
            ..Sqe::default()
        })
    }

    /// [`prep_timeout_update`](Sqe::prep_timeout_update) with the time in the SQE itself;
    /// see [`prep_timeout_immediate`](Sqe::prep_timeout_immediate). Linux 7.1, `EINVAL`
    /// before.
    ///
    /// # Safety
    /// Nothing has to stay alive.
    #[inline]
    pub unsafe fn prep_timeout_update_immediate(
        &mut self,
        time: Duration,
        user_data: u64,
        flags: TimeoutUpdateFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::TIMEOUT_REMOVE,
            fd: -1,
            off: immediate(time),
            addr: user_data,
            op_flags: flags.0 | abi::timeout::UPDATE | abi::timeout::IMMEDIATE_ARG,
            ..Sqe::default()
        })
    }

    /// Cancels the operation right before it in the chain when the time is over and that
    /// one has not completed. The time counts from when that operation starts.
    ///
    /// The operation before it needs [`link`](Sqe::link), and the two have to become
    /// visible in one submission (take a batch); otherwise `EINVAL`, as after another
    /// link timeout. What is linked behind this one waits for the operation, not for
    /// the timeout, and has no time limit.
    ///
    /// Of the flags those of time and clock count; the others change nothing. The kernel
    /// cancels by `user_data`: give the operation one that no other in flight
    /// has, or another may be cancelled in its place.
    ///
    /// One CQE: `res` is `ETIME` (the time was over, the operation was cancelled; 1 in
    /// its place for a wait for a futex or a process), `ECANCELED` (the operation completed
    /// first), `EALREADY` or `ENOENT` (the time was over, but the operation could not be
    /// cancelled, or was completing). Linux 5.5; `io_uring_prep_link_timeout(3)`.
    ///
    /// # Safety
    /// `time` must be valid for reads until submit. What the operation needs, it needs
    /// until its own CQE.
    #[inline]
    pub unsafe fn prep_link_timeout(
        &mut self,
        time: *const Timespec,
        flags: TimeoutFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::LINK_TIMEOUT,
            fd: -1,
            addr: address(time),
            len: 1,
            op_flags: flags.0,
            ..Sqe::default()
        })
    }

    /// [`prep_link_timeout`](Sqe::prep_link_timeout) with the time in the SQE itself; see
    /// [`prep_timeout_immediate`](Sqe::prep_timeout_immediate). Linux 7.1, `EINVAL`
    /// before.
    ///
    /// # Safety
    /// What the operation needs, it needs until its own CQE.
    #[inline]
    pub unsafe fn prep_link_timeout_immediate(
        &mut self,
        time: Duration,
        flags: TimeoutFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::LINK_TIMEOUT,
            fd: -1,
            addr: immediate(time),
            len: 1,
            op_flags: flags.0 | abi::timeout::IMMEDIATE_ARG,
            ..Sqe::default()
        })
    }
}

/// The time as a number: of nanoseconds, and signed to the kernel.
#[inline(always)]
fn immediate(time: Duration) -> u64 {
    let longest = i64::MAX.cast_unsigned();
    u64::try_from(time.as_nanos()).map_or(longest, |nanoseconds| nanoseconds.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prep::tests::*;

    #[test]
    fn timeout() {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_timeout(wild(), COUNT, TimeoutFlags::NONE) };
        assert_fields(
            sqe,
            &[
                (OPCODE, &[11]),
                (FD, &n32(u32::MAX)),
                (OFF, &n64(COUNT.into())),
                (ADDR, &n64(WILD as u64)),
                (LEN, &n32(1)),
            ],
        );
    }

    #[test]
    fn timeout_flags() {
        let flags = TimeoutFlags::ABS
            | TimeoutFlags::BOOTTIME
            | TimeoutFlags::REALTIME
            | TimeoutFlags::ETIME_SUCCESS
            | TimeoutFlags::MULTISHOT;
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_timeout(wild(), 0, flags) };
        assert_fields(
            sqe,
            &[
                (OPCODE, &[11]),
                (FD, &n32(u32::MAX)),
                (ADDR, &n64(WILD as u64)),
                (LEN, &n32(1)),
                (OP_FLAGS, &n32(0x6D)),
            ],
        );
    }

    #[test]
    fn timeout_immediate() {
        for (time, nanoseconds) in [
            (Duration::ZERO, 0),
            (Duration::new(3, 4), 3_000_000_004),
            (Duration::from_nanos(i64::MAX as u64), i64::MAX as u64),
            (Duration::from_nanos(u64::MAX), i64::MAX as u64),
            (Duration::MAX, i64::MAX as u64),
        ] {
            let mut sqe = used();
            // SAFETY: nobody submits this SQE.
            unsafe { sqe.prep_timeout_immediate(time, COUNT, TimeoutFlags::ABS) };
            assert_fields(
                sqe,
                &[
                    (OPCODE, &[11]),
                    (FD, &n32(u32::MAX)),
                    (OFF, &n64(COUNT.into())),
                    (ADDR, &n64(nanoseconds)),
                    (LEN, &n32(1)),
                    (OP_FLAGS, &n32(0x81)),
                ],
            );
        }
    }

    #[test]
    fn timeout_remove() {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_timeout_remove(OFFSET) };
        assert_fields(
            sqe,
            &[(OPCODE, &[12]), (FD, &n32(u32::MAX)), (ADDR, &n64(OFFSET))],
        );
    }

    #[test]
    fn timeout_update() {
        let both = TimeoutUpdateFlags::ABS | TimeoutUpdateFlags::LINK;
        for (flags, bits) in [(TimeoutUpdateFlags::NONE, 0x02), (both, 0x13)] {
            let assert_update = |sqe, off: u64, bits| {
                assert_fields(
                    sqe,
                    &[
                        (OPCODE, &[12]),
                        (FD, &n32(u32::MAX)),
                        (OFF, &n64(off)),
                        (ADDR, &n64(OFFSET)),
                        (OP_FLAGS, &n32(bits)),
                    ],
                );
            };
            let mut sqe = used();
            // SAFETY: nobody submits this SQE.
            unsafe { sqe.prep_timeout_update(wild(), OFFSET, flags) };
            assert_update(sqe, WILD as u64, bits);
            let mut sqe = used();
            let time = Duration::from_nanos(5);
            // SAFETY: nobody submits this SQE.
            unsafe { sqe.prep_timeout_update_immediate(time, OFFSET, flags) };
            assert_update(sqe, 5, bits | 0x80);
        }
    }

    #[test]
    fn link_timeout() {
        let assert_limit = |sqe, addr: u64, bits| {
            assert_fields(
                sqe,
                &[
                    (OPCODE, &[15]),
                    (FD, &n32(u32::MAX)),
                    (ADDR, &n64(addr)),
                    (LEN, &n32(1)),
                    (OP_FLAGS, &n32(bits)),
                ],
            );
        };
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_link_timeout(wild(), TimeoutFlags::REALTIME) };
        assert_limit(sqe, WILD as u64, 0x08);
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_link_timeout_immediate(Duration::from_nanos(5), TimeoutFlags::NONE) };
        assert_limit(sqe, 5, 0x80);
    }

    #[test]
    fn timespecs() {
        let bytes = |time: Timespec| -> [i64; 2] {
            // SAFETY: a Timespec is two numbers of 64 bits, as the kernel reads them.
            unsafe { std::mem::transmute(time) }
        };
        let time = Timespec::new(-3, 4);
        assert_eq!((time.seconds(), time.nanoseconds()), (-3, 4));
        assert_eq!(bytes(time), [-3, 4]);
        assert_eq!(bytes(Duration::new(5, 6).into()), [5, 6]);
        assert_eq!(bytes(Duration::MAX.into()), [i64::MAX, 999_999_999]);
    }
}
