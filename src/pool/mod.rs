//! Workers, reapers and a submitter over one shared ring.
//!
//! - [`Driver`]: operations by name, permits, reaping, cancelling: on threads of anybody's.
//! - `Pool`: a driver with threads in their [roles](Role), jobs and a [`Handler`].
//!
//! # Who delays whom
//!
//! | stalled | what it delays |
//! |---|---|
//! | a worker, in a job | that job, and those that find no other worker |
//! | a worker, between taking an SQE and pushing it | in claim order, SQEs that others took after it |
//! | the submitter | everything that is not submitted yet |
//! | a reaper, in a handler | the rest of the batch it has taken, at most 63 completions |
//! | a reaper, while it reaps | all reaping: one thread at a time looks completions up |
//! | all reapers | everybody who waits for permits |
//!
//! # The end
//!
//! An operation that was accepted completes, or is reported as [`Leaked`]; a job that was
//! accepted is run, or comes back in the [`Shutdown`]. A ring that the kernel has given up
//! (a lost completion, a dead SQ thread) refuses everything from then on
//! ([`Refusal::Ring`]), and what is in flight then is leaked.

mod builder;
mod carrier;
mod control;
mod driver;
mod edges;
mod gate;
mod handler;
mod offload;
mod op;
mod owner;
mod permits;
#[cfg(not(ringway_loom))]
#[allow(clippy::module_inception, reason = "the pool itself, beside its parts")]
mod pool;
mod queue;
mod roles;
mod shutdown;
mod stats;
mod submit;
mod submitter;
mod table;

/// The orderings that `cargo xtask weaken` takes a step down.
#[cfg(ringway_loom)]
pub(crate) fn weakenable() -> &'static [&'static crate::ring::edges::Edge] {
    edges::ALL
}

pub use builder::{DriverBuilder, DriverError};
pub use carrier::Carrier;
pub use driver::{Driver, Event, Submission};
pub use handler::{Handler, Observed, Panicked, Role};
pub use offload::{Job, Offload, OffloadBuilder, OffloadEnd, OffloadError};
pub use op::{Completion, Op, OpId, Outcome, Refusal, Refused};
pub use owner::{Owner, OwnerError};
#[cfg(not(ringway_loom))]
pub use pool::{Pool, PoolBuilder, PoolError};
pub use roles::OnPanic;
#[cfg(ringway_loom)]
#[doc(hidden)]
pub use roles::{Common, Crew, Place};
pub use shutdown::{Leaked, Shutdown, ShutdownError};
pub use stats::Stats;
pub use submitter::Batching;
