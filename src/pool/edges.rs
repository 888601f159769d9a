//! The pool's named orderings; see `ring::edges`.

use crate::ring::edges::Edge;
use crate::sync::atomic::Ordering::{Acquire, Release, SeqCst};

/// Full fence between making room and looking for waiters, and between counting oneself
/// as a waiter and the last look. Partner: itself (rule G1). It also stands between the room
/// and a turn, and between a turn that was seen and the look.
pub(super) const GATE_FENCE: Edge = Edge::new("GATE_FENCE", SeqCst);

/// Giving permits back. Partner: [`PERMIT_TAKEN`]. Passes on the CQ head that was moved,
/// and the table's slot that was freed.
pub(super) const PERMIT_GIVEN: Edge = Edge::new("PERMIT_GIVEN", Release);

/// CAS that takes permits.
pub(super) const PERMIT_TAKEN: Edge = Edge::new("PERMIT_TAKEN", Acquire);

/// CAS that takes a slot of the table off the free list. Partner: [`SLOT_FREED`]: the slot
/// behind it is the one that was put there.
pub(super) const SLOT_TAKEN: Edge = Edge::new("SLOT_TAKEN", Acquire);

/// CAS that puts slots on the free list.
pub(super) const SLOT_FREED: Edge = Edge::new("SLOT_FREED", Release);

/// Sending a wake that may be one too many. Partner: [`WAKE_TAKEN`].
pub(super) const WAKE_SENT: Edge = Edge::new("WAKE_SENT", Release);

/// Taking a wake. Partner: [`WAKE_SENT`]: what was done before a wake that was not sent is
/// seen by whoever takes the one before.
pub(super) const WAKE_TAKEN: Edge = Edge::new("WAKE_TAKEN", Acquire);

/// Asking the submitter. Release: the pushes before it go to the submitter
/// ([`SUBMITTER_SEEN`]).
pub(super) const SUBMITTER_ASKED: Edge = Edge::new("SUBMITTER_ASKED", Release);

/// The submitter's look at what it was asked for. Partner: [`SUBMITTER_ASKED`].
pub(super) const SUBMITTER_SEEN: Edge = Edge::new("SUBMITTER_SEEN", Acquire);

/// Counting a job as completed. Partner: [`JOBS_SEEN`]. Passes on its completion, which is
/// pushed.
pub(super) const JOB_SETTLED: Edge = Edge::new("JOB_SETTLED", Release);

/// A shutdown's look at how many jobs are not completed: when there are none, the submitter's
/// last submit takes their completions.
pub(super) const JOBS_SEEN: Edge = Edge::new("JOBS_SEEN", Acquire);

/// Telling a pool's threads to end, and that one has. Partner: [`END_SEEN`]. Passes on that the
/// ring is of no use any more, so that the threads reap what is left, and then what that freed.
pub(super) const END_TOLD: Edge = Edge::new("END_TOLD", Release);

/// A thread's look whether it is to end, and a shutdown's how many have not.
pub(super) const END_SEEN: Edge = Edge::new("END_SEEN", Acquire);

#[cfg(ringway_loom)]
pub(crate) const ALL: &[&Edge] = &[
    &GATE_FENCE,
    &PERMIT_GIVEN,
    &PERMIT_TAKEN,
    &SLOT_TAKEN,
    &SLOT_FREED,
    &WAKE_SENT,
    &WAKE_TAKEN,
    &SUBMITTER_ASKED,
    &SUBMITTER_SEEN,
    &JOB_SETTLED,
    &JOBS_SEEN,
    &END_TOLD,
    &END_SEEN,
];
