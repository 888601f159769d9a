//! From a ring to a driver.

use super::control::Control;
use super::driver::{Driver, Shared, Submission};
use super::gate::Gate;
use super::owner::{Arrivals, Owner};
use super::permits::Permits;
use super::stats::Counters;
use super::submitter::{Batching, Requests};
use super::table::Table;
#[cfg(not(ringway_loom))]
use crate::ring::Disabled;
use crate::ring::Ring;
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;

/// Settings of a [`Driver`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is made before build()"]
pub struct DriverBuilder {
    permits: Option<u32>,
    reserve: u32,
    submission: Submission,
}

/// Why no driver was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverError {
    /// There would be no permits, or more than the CQ has room for.
    Permits {
        /// Permits asked for.
        asked: u32,
        /// CQEs less the control reserve.
        room: u32,
    },
    /// The ring is to be entered by an index of its thread's, or waited for by a table of
    /// waits, is a legacy one, or has an SQ thread: an owner does without.
    NotOwnable,
    /// A control reserve below 2: one CQE for wakes, one for cancel requests.
    Reserve {
        /// The reserve asked for.
        asked: u32,
    },
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permits { asked, room } => write!(
                f,
                "{asked} permits, and the CQ has room for 1 to {room} beside the control reserve: \
                 ask for fewer, or for more cq_entries"
            ),
            Self::NotOwnable => f.write_str(
                "a ring with an index, a table of waits, an SQ thread, or legacy: leave them out",
            ),
            Self::Reserve { asked } => {
                write!(f, "a control reserve of {asked}: at least 2")
            }
        }
    }
}

impl std::error::Error for DriverError {}

impl Default for DriverBuilder {
    fn default() -> Self {
        Self {
            permits: None,
            reserve: 4,
            submission: Submission::Combining,
        }
    }
}

impl DriverBuilder {
    /// How many completions may be on their way at most: 1 to the CQ's entries, less the control
    /// reserve. That many, unless said otherwise.
    pub fn permits(mut self, permits: u32) -> Self {
        self.permits = Some(permits);
        self
    }

    /// CQEs kept for cancel requests and wakes: at least 2. Unless said otherwise, 4.
    pub fn control_reserve(mut self, reserve: u32) -> Self {
        self.reserve = reserve;
        self
    }

    /// Who enters the kernel. Unless said otherwise, [`Submission::Combining`].
    pub fn submission(mut self, submission: Submission) -> Self {
        self.submission = submission;
        self
    }

    /// Makes a driver of the ring, which should have no other users.
    ///
    /// # Errors
    ///
    /// [`DriverError`]
    pub fn build(self, ring: Ring) -> Result<Driver, DriverError> {
        self.assemble(ring, false)
    }

    /// Makes a driver of a ring that one thread is to own: whichever calls
    /// [`Owner::serve`]. It alone enters the kernel, so the ring may have SINGLE_ISSUER and
    /// DEFER_TASKRUN; the other threads push, and reap what it hands to them. The
    /// [`Submission`] is not looked at.
    ///
    /// Linux 6.13: by a message to the ring the owner is woken.
    ///
    /// ```
    /// use ringway::pool::{Driver, Event, OwnerError};
    /// use ringway::{EnterError, Ring, Sqe};
    ///
    /// let ring = Ring::builder(8).single_issuer().defer_taskrun().build_disabled()?;
    /// let (driver, owner) = Driver::builder().build_owned(ring)?;
    /// std::thread::scope(|threads| {
    ///     let owner = threads.spawn(|| owner.serve());
    ///     let mut sqe = Sqe::default();
    ///     // SAFETY: a NOP names nothing.
    ///     unsafe { sqe.prep_nop() }.user_data(7);
    ///     driver.try_submit(sqe).expect("an empty ring");
    ///     let mut done = 0;
    ///     while done == 0 && !owner.is_finished() {
    ///         let tell = |event| match event {
    ///             Event::Completed(completion) => done = completion.user_data(),
    ///             Event::Stale(cqe) => panic!("{cqe:?}"),
    ///         };
    ///         driver.wait_reap(Some(std::time::Duration::from_secs(1)), tell)?;
    ///     }
    ///     driver.stop_serving();
    ///     match owner.join().expect("no panic") {
    ///         Ok(()) => assert_eq!(done, 7),
    ///         Err(OwnerError::Wake(EnterError::Kernel(errno))) if errno.raw() == libc::EINVAL => {
    ///             println!("before Linux 6.13");
    ///         }
    ///         Err(error) => panic!("{error}"),
    ///     }
    ///     Ok::<(), EnterError>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DriverError`]
    #[cfg(not(ringway_loom))]
    pub fn build_owned(self, ring: Disabled) -> Result<(Driver, Owner), DriverError> {
        let ring = ring.unstarted().ok_or(DriverError::NotOwnable)?;
        let driver = self.assemble(ring, true)?;
        Ok((driver.clone(), Owner::new(driver)))
    }

    /// As `build_owned`, over a simulated ring, which runs already.
    #[cfg(any(feature = "sim", ringway_loom))]
    pub fn build_owned_simulated(self, ring: Ring) -> Result<(Driver, Owner), DriverError> {
        let driver = self.assemble(ring, true)?;
        Ok((driver.clone(), Owner::new(driver)))
    }

    fn assemble(self, ring: Ring, is_owned: bool) -> Result<Driver, DriverError> {
        // Models are small: those that send no control operations keep nothing for them.
        if self.reserve < 2 && cfg!(not(ringway_loom)) {
            let asked = self.reserve;
            return Err(DriverError::Reserve { asked });
        }
        let room = ring.cq_entries().saturating_sub(self.reserve);
        let asked = self.permits.unwrap_or(room);
        if asked == 0 || asked > room {
            return Err(DriverError::Permits { asked, room });
        }
        Ok(Driver {
            shared: Arc::new(Shared {
                table: Table::new(asked),
                reaping: Mutex::new(Vec::new()),
                permits: Permits::new(asked),
                gate: Gate::new(),
                control: Control::new(self.reserve.saturating_sub(1)),
                counters: Counters::new(),
                submission: match is_owned {
                    true => Submission::Dedicated(Batching::default()),
                    false => self.submission,
                },
                requests: Requests::new(),
                arrivals: is_owned.then(|| Arrivals::new(asked)),
                ring,
            }),
        })
    }
}
