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
}

impl From<Duration> for Timespec {
    /// More than `i64::MAX` seconds become that many.
    fn from(time: Duration) -> Self {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self::new(seconds, time.subsec_nanos().into())
    }
}

flags! {
    /// Flags of [`Sqe::prep_timeout`].
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

impl Sqe {
    /// Completes when the time is over, or when `count` other operations of the ring
    /// have completed after it was submitted; with `count` 0 by time alone.
    ///
    /// One CQE: `res` is `ETIME` when the time is over (the usual end, though an
    /// error by form), 0 when the count was reached. With
    /// [`MULTISHOT`](TimeoutFlags::MULTISHOT) one CQE with `ETIME` each time, all but
    /// the last with the `MORE` flag. `EINVAL` for negative times and for two clocks.
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
    /// let cqe = loop {
    ///     match cq.reap() {
    ///         Some(cqe) => break cqe,
    ///         None => cq.wait(None)?,
    ///     };
    /// };
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
}
