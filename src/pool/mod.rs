//! Workers, reapers and a submitter over one shared ring.

mod builder;
mod carrier;
mod control;
mod driver;
mod edges;
mod gate;
mod offload;
mod op;
mod permits;
mod queue;
mod stats;
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
pub use offload::{Job, Offload, OffloadBuilder, OffloadEnd, OffloadError};
pub use op::{Completion, Op, OpId, Outcome, Refusal, Refused};
pub use stats::Stats;
pub use submitter::Batching;
