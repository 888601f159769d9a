//! Making a ring: what may be asked, what the kernel answers, why it refuses.
//!
//! - `builder`: what is asked. `check`: what is refused before asking the kernel.
//! - `open`: the calls, in order, each step undone when a later one fails. `ring_fd`: what
//!   names the ring in the calls after that.
//! - `error`, `diagnose`: the typed reasons, and how an errno becomes one.
//! - `flags`: names and first kernel versions. `features`, `probe`: what the
//!   running kernel can do.

#[cfg(not(ringway_loom))]
mod builder;
#[cfg(not(ringway_loom))]
mod check;
#[cfg(not(ringway_loom))]
mod diagnose;
#[cfg(not(ringway_loom))]
mod error;
#[cfg(not(ringway_loom))]
mod features;
#[cfg(not(ringway_loom))]
mod flags;
#[cfg(not(ringway_loom))]
mod open;
#[cfg(not(ringway_loom))]
mod probe;
#[cfg(not(ringway_loom))]
mod ring_fd;

#[cfg(not(ringway_loom))]
pub use self::{
    builder::{Builder, SqPoll},
    error::{SetupError, Unavailable},
    features::Features,
    probe::Probe,
};
#[cfg(not(ringway_loom))]
pub(crate) use self::{
    check::entries as check_entries,
    open::{Mode, Opened},
    probe::probe,
    ring_fd::{RegisteredIndex, RingFd},
};

/// How often one submit enters the kernel at most, unless the builder says otherwise.
pub(crate) const MAX_PASSES: u32 = 8;

/// How an SQE finds its way to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of pushing. The kernel's index array lies between the SQEs
    /// and the queue, so slots are pushed in any order, and one that is held back
    /// holds nobody up.
    #[default]
    Any,
    /// In the order of popping: `NO_SQARRAY`, Linux 6.6. A few percent faster; a
    /// slot that is popped and not yet pushed holds up all later ones.
    Claim,
}
