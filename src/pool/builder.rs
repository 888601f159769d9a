//! From a ring to a driver.

use super::control::Control;
use super::driver::{Driver, Shared, Submission};
use super::gate::Gate;
use super::permits::Permits;
use super::stats::Counters;
use super::submitter::Requests;
use super::table::Table;
use crate::ring::Ring;
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
    /// How many completions may be on their way at most. Unless said otherwise, as many as
    /// the CQ has entries, less the control reserve.
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
                permits: Permits::new(asked),
                gate: Gate::new(),
                control: Control::new(self.reserve.saturating_sub(1)),
                counters: Counters::new(),
                submission: self.submission,
                requests: Requests::new(),
                ring,
            }),
        })
    }
}
