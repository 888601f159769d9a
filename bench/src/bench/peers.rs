//! Who is measured, and what each is compared with.

use crate::cells::{Cell, Workload};
use crate::design::combining::Combining as ByOne;
use crate::design::locked::{Locked, ParkingLot, Std};
use crate::design::per_thread::PerThread;
use crate::design::queued::Queued;
use crate::design::raw::Raw;
use crate::design::ringway::{InSet, Own, Shared};
use crate::design::{Design, Setup};
use crate::load::nop::{self, Nop};
use crate::load::{Run, Window};
use crate::rounds::Sample;

/// What kind of a thing a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    Limit,
    RingPerThread,
    Mutex,
    Combining,
    Worker,
    Ringway,
    /// A peer once more: how much two runs of the same differ.
    Control,
}

impl Family {
    pub const ALL: [Self; 7] = [
        Self::Limit,
        Self::RingPerThread,
        Self::Mutex,
        Self::Combining,
        Self::Worker,
        Self::Ringway,
        Self::Control,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "the limit",
            Self::RingPerThread => "ring per thread",
            Self::Mutex => "ordinary mutex",
            Self::Combining => "combining mutex",
            Self::Worker => "worker and queue",
            Self::Ringway => "ringway",
            Self::Control => "control",
        }
    }
}

/// One way to use io_uring.
#[derive(Clone, Copy)]
pub struct Peer {
    pub name: &'static str,
    pub about: &'static str,
    pub family: Family,
    pub setup: Setup,
    /// It has a thread of its own.
    pub helps: bool,
    /// It stands for its family where not all are run.
    pub stands: bool,
    pub measure: fn(Workload, Run) -> Sample,
}

impl Peer {
    pub fn runs(&self, cell: Cell) -> bool {
        self.stands || cell.workload.is_for_all()
    }

    /// The same, named as a control.
    fn again(self, name: &'static str) -> Self {
        Self {
            name,
            about: "the same once more: two runs of one thing differ by so much",
            family: Family::Control,
            ..self
        }
    }

    fn stands(self) -> Self {
        Self {
            stands: true,
            ..self
        }
    }
}

const CLAIM: Setup = Setup {
    no_sqarray: true,
    defers: false,
};
const ANY: Setup = Setup {
    no_sqarray: false,
    defers: false,
};
const DEFER: Setup = Setup {
    no_sqarray: true,
    defers: true,
};

impl Setup {
    /// The flags by which peers differ; all have CQSIZE and SUBMIT_ALL.
    pub fn flags(self) -> &'static str {
        match (self.no_sqarray, self.defers) {
            (true, false) => "NO_SQARRAY",
            (false, false) => "none",
            (true, true) => "NO_SQARRAY, SINGLE_ISSUER, DEFER_TASKRUN",
            (false, true) => "SINGLE_ISSUER, DEFER_TASKRUN",
        }
    }
}

pub fn peer<D: Design>(
    name: &'static str,
    family: Family,
    setup: Setup,
    about: &'static str,
) -> Peer {
    Peer {
        name,
        about,
        family,
        setup,
        helps: D::SERVES,
        stands: false,
        measure: measure::<D>,
    }
}

fn measure<D: Design>(workload: Workload, run: Run) -> Sample {
    match workload {
        Workload::NopOpen => nop::open::<D, _>(run, &Nop).into(),
        Workload::NopClosed => nop::closed::<D, _>(run, &Nop).into(),
    }
}

impl From<Window> for Sample {
    fn from(window: Window) -> Self {
        Self {
            value: window.rate(),
            p99: None,
            max: None,
            delayed: window.delayed,
            wrong: window.wrong,
        }
    }
}

/// All peers, in the order of the tables.
pub fn all() -> Vec<Peer> {
    let mut peers = rings_of_threads();
    peers.extend(shared_rings());
    peers.extend(of_ringway());
    let again = |name: &str, control| {
        let peer = peers.iter().find(|peer| peer.name == name);
        peer.expect("one of the table").again(control)
    };
    let controls = [
        again("crate-inline", "crate-inline again"),
        again("claim", "claim again"),
    ];
    peers.extend(controls);
    peers
}

/// Peers that this machine does not have, and why.
pub fn skipped() -> Vec<String> {
    match cfg!(liburing) {
        true => vec![],
        false => vec![
            "liburing: its header or library is not installed (apt-get install liburing-dev)"
                .into(),
        ],
    }
}

fn rings_of_threads() -> Vec<Peer> {
    use Family::*;
    vec![
        peer::<Raw<true>>(
            "raw",
            Limit,
            CLAIM,
            "a hand-written loop, the system call inlined",
        )
        .stands(),
        peer::<Raw<true>>("raw-array", Limit, ANY, "raw with the kernel's SQ array"),
        peer::<Raw<false>>("raw-call", Limit, CLAIM, "raw, entering through libc"),
        peer::<Raw<true>>("raw-defer", Limit, DEFER, "raw on a ring of one thread's"),
        peer::<PerThread<false>>(
            "crate",
            RingPerThread,
            CLAIM,
            "the io-uring crate, its own submit",
        )
        .stands(),
        peer::<PerThread<true>>(
            "crate-inline",
            RingPerThread,
            CLAIM,
            "the io-uring crate, the system call inlined",
        )
        .stands(),
        peer::<PerThread<false>>(
            "crate-array",
            RingPerThread,
            ANY,
            "crate with the kernel's SQ array",
        ),
        peer::<PerThread<true>>(
            "crate-defer",
            RingPerThread,
            DEFER,
            "crate-inline on a ring of one thread's",
        ),
    ]
}

fn shared_rings() -> Vec<Peer> {
    use Family::*;
    vec![
        peer::<Locked<Std, false, false, false>>(
            "mutex-naive",
            Mutex,
            ANY,
            "Arc<Mutex<IoUring>> as one writes it first",
        )
        .stands(),
        peer::<Locked<Std, false, false, true>>(
            "mutex-std",
            Mutex,
            CLAIM,
            "one std mutex, entered inside it",
        )
        .stands(),
        peer::<Locked<Std, false, true, true>>(
            "mutex-std-out",
            Mutex,
            CLAIM,
            "one std mutex, entered outside it",
        ),
        peer::<Locked<Std, true, false, true>>(
            "mutex-std-two",
            Mutex,
            CLAIM,
            "std mutexes for SQ and CQ, entered inside",
        ),
        peer::<Locked<Std, true, true, true>>(
            "mutex-std-two-out",
            Mutex,
            CLAIM,
            "std mutexes for SQ and CQ, entered outside",
        ),
        peer::<Locked<ParkingLot, false, false, true>>(
            "mutex-pl",
            Mutex,
            CLAIM,
            "one parking_lot mutex, entered inside it",
        )
        .stands(),
        peer::<Locked<ParkingLot, false, true, true>>(
            "mutex-pl-out",
            Mutex,
            CLAIM,
            "one parking_lot mutex, entered outside it",
        ),
        peer::<Locked<ParkingLot, true, false, true>>(
            "mutex-pl-two",
            Mutex,
            CLAIM,
            "parking_lot mutexes for SQ and CQ, entered inside",
        )
        .stands(),
        peer::<Locked<ParkingLot, true, true, true>>(
            "mutex-pl-two-out",
            Mutex,
            CLAIM,
            "parking_lot mutexes for SQ and CQ, entered outside",
        )
        .stands(),
        peer::<ByOne<ParkingLot, false>>(
            "combining",
            Combining,
            CLAIM,
            "two parking_lot mutexes; who gets a third enters for all",
        )
        .stands(),
        peer::<ByOne<ParkingLot, true>>(
            "combining-drain",
            Combining,
            CLAIM,
            "combining; who enters also reaps for all",
        )
        .stands(),
        peer::<ByOne<Std, true>>(
            "combining-drain-std",
            Combining,
            CLAIM,
            "combining-drain with std mutexes",
        ),
        peer::<Queued<false>>(
            "queue-trylock",
            Combining,
            CLAIM,
            "an ArrayQueue; who gets the mutex moves it into the ring",
        ),
        peer::<Queued<true>>(
            "queue-worker",
            Worker,
            CLAIM,
            "an ArrayQueue and a thread that moves it into the ring",
        ),
    ]
}

fn of_ringway() -> Vec<Peer> {
    use Family::Ringway;
    vec![
        peer::<Shared<true>>(
            "claim",
            Ringway,
            CLAIM,
            "one shared ring, Order::Claim, inlined",
        )
        .stands(),
        peer::<Shared<false>>(
            "claim-call",
            Ringway,
            CLAIM,
            "claim, submit a call that returns",
        )
        .stands(),
        peer::<Shared<true>>("any", Ringway, ANY, "one shared ring, Order::Any, inlined").stands(),
        peer::<Own<true>>("local", Ringway, CLAIM, "a ring of one thread, inlined").stands(),
        peer::<Own<false>>(
            "local-call",
            Ringway,
            CLAIM,
            "local, submit a call that returns",
        )
        .stands(),
        peer::<Own<false>>(
            "local-call-array",
            Ringway,
            ANY,
            "local-call with the kernel's SQ array",
        ),
        peer::<Own<true>>(
            "local-defer",
            Ringway,
            DEFER,
            "local with SINGLE_ISSUER and DEFER_TASKRUN",
        ),
        peer::<InSet<true>>(
            "set",
            Ringway,
            CLAIM,
            "a ring per thread behind one handle, inlined",
        )
        .stands(),
        peer::<InSet<false>>(
            "set-call",
            Ringway,
            CLAIM,
            "set, submit a call that returns",
        ),
        peer::<InSet<true>>(
            "set-defer",
            Ringway,
            DEFER,
            "set with the flags that it has unless told otherwise",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique() {
        let names: Vec<&str> = all().iter().map(|peer| peer.name).collect();
        let unique: HashSet<&str> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len());
    }
}
