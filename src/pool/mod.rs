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
//!
//! # Shutting down
//!
//! `Pool::shutdown` does all of this for the threads of a pool; an [`Offload`] over its driver
//! is shut down before. On threads of your own, in this order:
//!
//! 1. [`Offload::shutdown`], while others still submit and reap: jobs complete through the ring.
//! 2. [`Driver::quiesce`]: takes no more operations, cancels those in flight, and reaps until
//!    there are none. Other threads may go on reaping. Those that submit must live until then: a
//!    dedicated submitter or an [`Owner`] serves, and where threads combine, all that have
//!    entered the kernel ([`Submission::Combining`]).
//! 3. [`Driver::stop_serving`]; join the submitter.
//! 4. Tell the reapers that it is over, and [`Driver::wake`] one; each wakes the next. Join them.
//! 5. Buffers may be freed now, unless [`Leaked`] was returned.
//!
//! ```
//! use ringway::pool::{Batching, Driver, Offload, Submission};
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::time::Duration;
//!
//! let driver = Driver::builder()
//!     .submission(Submission::Dedicated(Batching::default()))
//!     .build(ringway::Ring::builder(8).build()?)?;
//! let offload = Offload::builder().build(&driver)?;
//! let (is_over, patience) = (AtomicBool::new(false), Some(Duration::from_secs(5)));
//! let (jobs, operations) = std::thread::scope(|threads| {
//!     let reap = || {
//!         while !is_over.load(Ordering::Acquire) && driver.wait_reap(patience, |_| ()).is_ok() {}
//!         driver.wake()
//!     };
//!     let submitter = threads.spawn(|| driver.serve());
//!     let reapers = [threads.spawn(reap), threads.spawn(reap)];
//!     let _ = offload.try_offload(|| Ok(1), 7);
//!
//!     let jobs = offload.shutdown(patience);
//!     let operations = driver.quiesce(patience, |_| ());
//!     driver.stop_serving();
//!     let _ = submitter.join();
//!     is_over.store(true, Ordering::Release);
//!     let _ = driver.wake();
//!     reapers.map(|reaper| reaper.join());
//!     (jobs, operations)
//! });
//! assert_eq!((jobs.leaked, operations), (0, Ok(())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod panic;
mod permits;
#[cfg(not(ringway_loom))]
#[allow(clippy::module_inception, reason = "the pool itself, beside its parts")]
mod pool;
mod queue;
mod reap;
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
pub use driver::{Driver, Submission};
pub use handler::{Handler, Observed, Panicked, Role};
pub use offload::{Job, Offload, OffloadBuilder, OffloadEnd, OffloadError};
pub use op::{Completion, Op, OpId, Outcome, Refusal, Refused};
pub use owner::{Owner, OwnerError};
#[cfg(not(ringway_loom))]
pub use pool::{Pool, PoolBuilder, PoolError};
pub use reap::Event;
pub use roles::OnPanic;
#[cfg(ringway_loom)]
#[doc(hidden)]
pub use roles::{Common, Crew, Place};
pub use shutdown::{Leaked, Shutdown, ShutdownError};
pub use stats::Stats;
pub use submitter::Batching;
