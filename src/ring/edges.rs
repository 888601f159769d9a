//! One named ordering per edge: who hands what to whom.
//!
//! An edge is one half of a pair; its partner is named beside it. In production an edge
//! is a constant. Under `cfg(ringway_loom)` the environment variable `RINGWAY_WEAKEN`
//! takes one edge one step down (`NAME`, or `NAME.acq` and `NAME.rel` for the two halves
//! of an AcqRel), and some model must then fail: `cargo xtask weaken` does so for each,
//! with one build for all.

use crate::sync::atomic::{self, Ordering};

/// An ordering with a name.
pub(crate) struct Edge {
    #[cfg_attr(not(ringway_loom), allow(dead_code))]
    name: &'static str,
    order: Ordering,
}

impl Edge {
    pub(crate) const fn new(name: &'static str, order: Ordering) -> Self {
        Self { name, order }
    }

    #[inline(always)]
    pub(crate) fn order(&self) -> Ordering {
        #[cfg(ringway_loom)]
        return weaken::order(self);
        #[cfg(not(ringway_loom))]
        self.order
    }

    /// The edge as a fence.
    #[inline(always)]
    pub(crate) fn fence(&self) {
        #[cfg(ringway_loom)]
        if weaken::is_chosen(self.name) {
            return;
        }
        atomic::fence(self.order);
    }
}

use Ordering::{AcqRel, Acquire, Release, SeqCst};

/// Load of the kernel's SQ head. Partner: `smp_store_release` in
/// `io_commit_sqring`. The SQEs and cells behind the head are the user's again.
pub(crate) const SQ_HEAD: Edge = Edge::new("SQ_HEAD", Acquire);

/// Raising the private limit of claims to what the kernel's head allows. Partner:
/// [`SQ_LIMIT_SEEN`]. Passes on what [`SQ_HEAD`] acquired.
pub(crate) const SQ_LIMIT_RAISED: Edge = Edge::new("SQ_LIMIT_RAISED", Release);

/// Load of the limit, by a thread that did not read the kernel's head itself.
pub(crate) const SQ_LIMIT_SEEN: Edge = Edge::new("SQ_LIMIT_SEEN", Acquire);

/// CAS that claims slots. Partner: the claims after it, and through [`SQ_TICKET`]
/// the push that overwrites the cells that were read before this CAS.
pub(crate) const SQ_CLAIM: Edge = Edge::new("SQ_CLAIM", AcqRel);

/// Taking a ticket (any order). Partner: the tickets after it; carries the claims
/// of all earlier tickets to whoever may overwrite their cells.
pub(crate) const SQ_TICKET: Edge = Edge::new("SQ_TICKET", AcqRel);

/// Swapping a batch's stamp to "ready". Release: the SQEs and cells go to the
/// publisher ([`SQ_STAMP_SEEN`]). Acquire: takes over what stands behind the gap
/// from the holder that marked it ([`SQ_GAP`]).
pub(crate) const SQ_READY: Edge = Edge::new("SQ_READY", AcqRel);

/// Load of a stamp by the publisher. Partner: [`SQ_READY`].
pub(crate) const SQ_STAMP_SEEN: Edge = Edge::new("SQ_STAMP_SEEN", Acquire);

/// CAS that marks the stamp of a gap as wanted. Partner: the swap of [`SQ_READY`].
pub(crate) const SQ_GAP: Edge = Edge::new("SQ_GAP", Release);

/// CAS that moves the kernel's SQ tail. Partner: `smp_load_acquire` in
/// `io_sqring_entries`.
pub(crate) const SQ_PUBLISH: Edge = Edge::new("SQ_PUBLISH", Release);

/// Taking the submitter's role. Partner: [`ROLE_FREED`].
pub(crate) const ROLE_TAKEN: Edge = Edge::new("ROLE_TAKEN", Acquire);

/// Giving the role up. Partner: [`ROLE_TAKEN`]. Passes on how far its holder has walked.
pub(crate) const ROLE_FREED: Edge = Edge::new("ROLE_FREED", Release);

/// Full fence between the caller's stamps and a look at the role that somebody holds. Partner:
/// [`SUBMIT_LEFT`]. Either the holder sees the stamps after it has given the role up, or the
/// caller sees that it has.
pub(crate) const SUBMIT_ASKED: Edge = Edge::new("SUBMIT_ASKED", SeqCst);

/// Full fence between giving the role up and a last look at the stamps. Partner:
/// [`SUBMIT_ASKED`].
pub(crate) const SUBMIT_LEFT: Edge = Edge::new("SUBMIT_LEFT", SeqCst);

/// Noting that the kernel refused what is published. Partners: [`DEBT_TAKEN`], and the fences
/// [`SUBMIT_ASKED`] and [`SUBMIT_LEFT`] of whoever tries next, who sees the tail that was refused.
pub(crate) const SUBMIT_OWED: Edge = Edge::new("SUBMIT_OWED", Release);

/// Taking a debt over, before the pass that pays it. Partner: [`SUBMIT_OWED`].
pub(crate) const DEBT_TAKEN: Edge = Edge::new("DEBT_TAKEN", Acquire);

/// Full fence between the tail and NEED_WAKEUP (SQPOLL). Partner:
/// `smp_mb__after_atomic` in `io_sq_thread`.
pub(crate) const SQPOLL_FENCE: Edge = Edge::new("SQPOLL_FENCE", SeqCst);

/// Giving up the leader's seat. Partner: [`SEAT_TAKEN`]. Passes on that the ring is
/// poisoned, which the kernel says once.
pub(crate) const SEAT_FREED: Edge = Edge::new("SEAT_FREED", Release);

/// Taking the leader's seat. Partner: [`SEAT_FREED`].
pub(crate) const SEAT_TAKEN: Edge = Edge::new("SEAT_TAKEN", Acquire);

/// Load of the CQ head. Partner: [`CQ_CLAIM`] of another reaper: whoever sees its
/// head also sees the tail that it saw.
pub(crate) const CQ_HEAD: Edge = Edge::new("CQ_HEAD", Acquire);

/// Load of the CQ tail. Partner: `smp_store_release` in `io_commit_cqring`.
pub(crate) const CQ_TAIL: Edge = Edge::new("CQ_TAIL", Acquire);

/// CAS that takes CQEs. Partners: [`CQ_HEAD`], and the control dependency on the
/// head in `io_cqe_cache_refill`: the words were read before they are given back.
pub(crate) const CQ_CLAIM: Edge = Edge::new("CQ_CLAIM", Release);

/// Whether a bug of an earlier design is put back, for the models to find.
#[inline(always)]
pub(crate) fn broken(_bug: &str) -> bool {
    #[cfg(ringway_loom)]
    return weaken::is_chosen(_bug);
    #[cfg(not(ringway_loom))]
    false
}

#[cfg(ringway_loom)]
pub(crate) mod weaken {
    use super::*;
    use std::sync::OnceLock;

    const ALL: &[&Edge] = &[
        &SQ_HEAD,
        &SQ_LIMIT_RAISED,
        &SQ_LIMIT_SEEN,
        &SQ_CLAIM,
        &SQ_TICKET,
        &SQ_READY,
        &SQ_STAMP_SEEN,
        &SQ_GAP,
        &SQ_PUBLISH,
        &ROLE_TAKEN,
        &ROLE_FREED,
        &SUBMIT_ASKED,
        &SUBMIT_LEFT,
        &SUBMIT_OWED,
        &DEBT_TAKEN,
        &SQPOLL_FENCE,
        &SEAT_FREED,
        &SEAT_TAKEN,
        &CQ_HEAD,
        &CQ_TAIL,
        &CQ_CLAIM,
    ];

    /// Bugs of earlier designs that are not an ordering, put back by name.
    const BUGS: &[(&str, &str)] = &[
        ("TAIL_STORE", "CAS on the SQ tail -> load; store"),
        ("STAMP_PER_SQE", "one stamp a batch -> one stamp an SQE"),
        (
            "LEAVE_BLINDLY",
            "holder looks again after it has left -> does not",
        ),
        (
            "COUNTED_SUBMIT",
            "to_submit: the whole ring -> as much as was seen",
        ),
        (
            "LAST_PASS_FORGETS",
            "refused last pass leaves a debt -> nothing",
        ),
        (
            "LEFT_IS_DONE",
            "SQEs left by a short submit are busy -> done",
        ),
        (
            "LAP_UNCHECKED",
            "distance over the ring's size cut to it -> used",
        ),
        (
            "STALE_READ_KEPT",
            "big CQE read before a lost CAS dropped -> returned",
        ),
        ("STRADDLE", "last slot padded before a pair -> part of it"),
        (
            "PADDING_IS_ALL",
            "padding alone looked behind -> taken for empty",
        ),
        (
            "DENIED_SLEEPS",
            "permits given back unused wake who was refused -> nobody",
        ),
        ("WAKE_KEPT", "wake for a job passed on by a reaper -> kept"),
        ("OFFER_LEFT", "offer that nobody takes withdrawn -> left"),
        ("NO_GAP_MARK", "gap marked as wanted -> left"),
        ("NO_BATON", "leader wakes a follower -> leaves"),
        (
            "LEAD_LOST",
            "waiter that goes hands its lead over -> takes it with it",
        ),
        ("LEAVE_WOKEN", "woken follower tries to lead -> leaves"),
        ("NO_FLUSH", "overflow flushed by the reaper -> ignored"),
        ("DROP_LOSES", "dropped slot pushed as a NOP -> forgotten"),
    ];

    /// Every single weakening, of the ring's edges and of those above it: its name and what
    /// it does.
    pub(crate) fn list(above: &[&'static Edge]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for edge in ALL.iter().chain(above) {
            let name = edge.name;
            match edge.order {
                AcqRel => {
                    all.push((format!("{name}.acq"), "AcqRel -> Release".to_string()));
                    all.push((format!("{name}.rel"), "AcqRel -> Acquire".to_string()));
                }
                SeqCst => all.push((name.to_string(), "fence(SeqCst) -> none".to_string())),
                order => all.push((name.to_string(), format!("{order:?} -> Relaxed"))),
            }
        }
        all.extend(
            BUGS.iter()
                .map(|(name, what)| (name.to_string(), what.to_string())),
        );
        all
    }

    fn chosen() -> Option<&'static str> {
        static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
        CHOSEN
            .get_or_init(|| std::env::var("RINGWAY_WEAKEN").ok())
            .as_deref()
    }

    pub(crate) fn is_chosen(name: &str) -> bool {
        chosen() == Some(name)
    }

    pub(super) fn order(edge: &Edge) -> Ordering {
        match chosen().and_then(|chosen| chosen.strip_prefix(edge.name)) {
            Some("") if edge.order != AcqRel => Ordering::Relaxed,
            Some(".acq") => Release,
            Some(".rel") => Acquire,
            _ => edge.order,
        }
    }
}
