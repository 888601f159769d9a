//! The clock that waits go by.

use std::ptr;

use super::Registrar;
use crate::abi::{ClockRegister, register};
use crate::syscall::Errno;

/// A clock of [`Registrar::register_clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// `CLOCK_MONOTONIC`: stands still while the machine sleeps. Every ring begins with it.
    Monotonic,
    /// `CLOCK_BOOTTIME`: goes on while the machine sleeps.
    Boottime,
}

impl Registrar<'_> {
    /// Sets the clock by which the kernel measures timeouts of waits from now on: those that
    /// are durations, and those that are moments ([`Wait::until`](crate::Wait::until)). The
    /// timeouts of operations have a clock of their own. Linux 6.12;
    /// `io_uring_register_clock(3)`.
    ///
    /// On a shared ring, threads that follow another's wait go by CLOCK_MONOTONIC still.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringway::{Ring, Wait, Waited, register::Clock};
    ///
    /// let ring = Ring::builder(8).build_local()?;
    /// # if !ring.features().min_timeout() { return Ok(()); }
    /// ring.registrar().register_clock(Clock::Boottime)?;
    /// // A second after the start of the machine, which is over.
    /// let wait = Wait::new().until(Duration::from_secs(1));
    /// assert_eq!(ring.wait_with(1, wait)?, Waited::TimedOut);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any registration.
    pub fn register_clock(self, clock: Clock) -> Result<(), Errno> {
        let id = match clock {
            Clock::Monotonic => libc::CLOCK_MONOTONIC,
            Clock::Boottime => libc::CLOCK_BOOTTIME,
        };
        let mut request = ClockRegister {
            // Both are small numbers.
            clockid: id as u32,
            ..ClockRegister::default()
        };
        // SAFETY: the kernel reads one request during the call; it takes no count.
        unsafe { self.register(register::CLOCK, ptr::from_mut(&mut request).cast(), 0) }.map(|_| ())
    }
}
