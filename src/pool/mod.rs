//! Workers, reapers and a submitter over one shared ring.

mod builder;
mod control;
mod driver;
mod edges;
mod gate;
mod handler;
mod op;
mod permits;
#[cfg(not(ringway_loom))]
#[allow(clippy::module_inception, reason = "the pool itself, beside its parts")]
mod pool;
mod queue;
mod roles;
mod shutdown;
mod stats;
mod submitter;
mod table;

/// The orderings that `cargo xtask weaken` takes a step down.
#[cfg(ringway_loom)]
pub(crate) fn weakenable() -> &'static [&'static crate::ring::edges::Edge] {
    edges::ALL
}

pub use builder::{DriverBuilder, DriverError};
pub use driver::{Driver, Event, Submission};
pub use handler::{Handler, Observed, Panicked, Role};
pub use op::{Completion, Op, OpId, Outcome, Refusal, Refused};
#[cfg(not(ringway_loom))]
pub use pool::{Pool, PoolBuilder, PoolError};
pub use roles::OnPanic;
#[cfg(ringway_loom)]
#[doc(hidden)]
pub use roles::{Common, Crew, Place};
pub use shutdown::{Leaked, Shutdown, ShutdownError};
pub use stats::Stats;
pub use submitter::Batching;
