//! Who is measured, and what each is compared with.

use crate::cells::{Cell, Workload};
use crate::design::alone::Alone;
use crate::design::combining::Combining as ByOne;
use crate::design::locked::{Locked, ParkingLot, Std};
use crate::design::per_thread::PerThread;
use crate::design::queued::Queued;
use crate::design::raw::Raw;
use crate::design::raw_locked::RawLocked;
use crate::design::raw_two::RawTwo;
use crate::design::ringway::{InSet, Leading, Own, Shared};
use crate::design::{self, Design, Setup};
use crate::load::clock::Spread;
use crate::load::nop::{self, Nop};
use crate::load::{Run, Window, idle, latency, pingpong, read, wake};
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
    /// It is made for so many threads.
    pub only: Option<u32>,
    pub measure: Measure,
}

impl Peer {
    pub fn runs(&self, cell: Cell) -> bool {
        let is_for = self.only.is_none_or(|threads| threads == cell.threads);
        is_for && (self.stands || cell.workload.is_for_all())
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

/// Runs a window of a workload, or says why there is none.
type Measure = fn(Workload, Run) -> Result<Sample, String>;

/// A peer that stands for its family where not all are run.
fn stands<D: Design>(
    name: &'static str,
    family: Family,
    setup: Setup,
    about: &'static str,
) -> Peer {
    Peer {
        stands: true,
        measure: measure::<D>,
        ..peer::<D>(name, family, setup, about)
    }
}

fn peer<D: Design>(name: &'static str, family: Family, setup: Setup, about: &'static str) -> Peer {
    Peer {
        name,
        about,
        family,
        setup,
        helps: D::SERVES,
        stands: false,
        only: None,
        measure: measure_nops::<D>,
    }
}

fn measure_nops<D: Design>(workload: Workload, run: Run) -> Result<Sample, String> {
    match workload {
        Workload::NopClosed => Ok(nop::closed::<D, _>(run, &Nop).into()),
        Workload::NopOpen => Ok(nop::open::<D, _>(run, &Nop).into()),
        _ => Err("another of its family stands for it".into()),
    }
}

fn measure<D: Design>(workload: Workload, run: Run) -> Result<Sample, String> {
    let window = match workload {
        Workload::NopOpen | Workload::NopClosed => return measure_nops::<D>(workload, run),
        Workload::ReadCached => read::open::<D, _>(run, read::cached()?),
        Workload::ReadRegistered => read::open::<D, _>(run, read::registered()?),
        Workload::ReadDirect => read::open::<D, _>(run, read::direct()?),
        Workload::PingPongUnix => pingpong::unix::<D>(run),
        Workload::PingPongTcp => pingpong::tcp::<D>(run),
        Workload::Latency => {
            let latency = latency::window::<D>(run);
            return Ok(times(latency.calls, latency.clock, latency.window));
        }
        Workload::Wake => return Ok(woken(wake::window::<D>(run)?)),
        Workload::Idle => {
            let idle = idle::window::<D>(run)?;
            return Ok(Sample {
                values: vec![idle.switches, idle.cpu],
                ..idle.window.into()
            });
        }
    };
    Ok(window.into())
}

/// A member's messages are how one of a set is woken.
fn measure_set<const INLINE: bool>(workload: Workload, run: Run) -> Result<Sample, String> {
    match workload {
        Workload::Wake => Ok(woken(wake::of_set(run))),
        _ => measure::<InSet<INLINE>>(workload, run),
    }
}

fn woken(wakes: wake::Wakes) -> Sample {
    times(wakes.times, wakes.clock, wakes.window)
}

fn times(times: Spread, clock: f64, window: Window) -> Sample {
    let values = [times.p50, times.p99, times.max];
    Sample {
        values: values.map(|time| (time - clock).max(0.0)).to_vec(),
        ..window.into()
    }
}

impl From<Window> for Sample {
    fn from(window: Window) -> Self {
        Self {
            values: vec![window.rate()],
            delayed: window.delayed,
            wrong: window.wrong,
        }
    }
}

/// All peers, in the order of the tables.
pub fn all() -> Vec<Peer> {
    let mut peers = rings_of_threads();
    peers.extend(of_liburing());
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
    design::liburing::SKIPPED
        .map(String::from)
        .into_iter()
        .collect()
}

#[cfg(liburing)]
fn of_liburing() -> Option<Peer> {
    use crate::design::liburing::Liburing;
    let about = "liburing in C, with the kernel's SQ array: older ones cannot do without";
    Some(stands::<Liburing>(
        "liburing",
        Family::RingPerThread,
        ANY,
        about,
    ))
}

#[cfg(not(liburing))]
fn of_liburing() -> Option<Peer> {
    None
}

fn rings_of_threads() -> Vec<Peer> {
    use Family::*;
    vec![
        stands::<Raw<true>>(
            "raw",
            Limit,
            CLAIM,
            "a hand-written loop, the system call inlined",
        ),
        Peer {
            only: Some(2),
            ..peer::<RawTwo>(
                "raw-two",
                Limit,
                CLAIM,
                "one ring of two threads by hand: one enters and reaps for both",
            )
        },
        Peer {
            only: Some(1),
            ..peer::<RawLocked>(
                "raw-locked",
                Limit,
                CLAIM,
                "raw with the four locked instructions of a ring that can be shared",
            )
        },
        Peer {
            only: Some(1),
            ..peer::<Alone>(
                "kernel",
                Limit,
                CLAIM,
                "the kernel alone: SQEs written once, CQEs not read",
            )
        },
        peer::<Raw<true>>("raw-array", Limit, ANY, "raw with the kernel's SQ array"),
        peer::<Raw<false>>("raw-call", Limit, CLAIM, "raw, entering through libc"),
        peer::<Raw<true>>("raw-defer", Limit, DEFER, "raw on a ring of one thread's"),
        stands::<PerThread<false>>(
            "crate",
            RingPerThread,
            CLAIM,
            "the io-uring crate, its own submit",
        ),
        stands::<PerThread<true>>(
            "crate-inline",
            RingPerThread,
            CLAIM,
            "the io-uring crate, the system call inlined",
        ),
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
        stands::<Locked<Std, false, false, false>>(
            "mutex-naive",
            Mutex,
            ANY,
            "Arc<Mutex<IoUring>> as one writes it first",
        ),
        stands::<Locked<Std, false, false, true>>(
            "mutex-std",
            Mutex,
            CLAIM,
            "one std mutex, entered inside it",
        ),
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
        stands::<Locked<ParkingLot, false, false, true>>(
            "mutex-pl",
            Mutex,
            CLAIM,
            "one parking_lot mutex, entered inside it",
        ),
        peer::<Locked<ParkingLot, false, true, true>>(
            "mutex-pl-out",
            Mutex,
            CLAIM,
            "one parking_lot mutex, entered outside it",
        ),
        stands::<Locked<ParkingLot, true, false, true>>(
            "mutex-pl-two",
            Mutex,
            CLAIM,
            "parking_lot mutexes for SQ and CQ, entered inside",
        ),
        stands::<Locked<ParkingLot, true, true, true>>(
            "mutex-pl-two-out",
            Mutex,
            CLAIM,
            "parking_lot mutexes for SQ and CQ, entered outside",
        ),
        stands::<ByOne<ParkingLot, false>>(
            "combining",
            Combining,
            CLAIM,
            "two parking_lot mutexes; who gets a third enters for all",
        ),
        stands::<ByOne<ParkingLot, true>>(
            "combining-drain",
            Combining,
            CLAIM,
            "combining; who enters also reaps for all",
        ),
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
        stands::<Shared<true>>(
            "claim",
            Ringway,
            CLAIM,
            "one shared ring, Order::Claim, inlined",
        ),
        peer::<Shared<false>>(
            "claim-call",
            Ringway,
            CLAIM,
            "claim, submit a call that returns",
        ),
        stands::<Leading<8>>(
            "lead",
            Ringway,
            CLAIM,
            "claim; who enters also reaps for all, who waits keeps the lead",
        ),
        peer::<Leading<64>>("lead-64", Ringway, CLAIM, "lead with max_passes(64)"),
        stands::<Shared<true>>("any", Ringway, ANY, "one shared ring, Order::Any, inlined"),
        stands::<Own<true>>("local", Ringway, CLAIM, "a ring of one thread, inlined"),
        stands::<Own<false>>(
            "local-call",
            Ringway,
            CLAIM,
            "local, submit a call that returns",
        ),
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
        Peer {
            measure: measure_set::<true>,
            ..stands::<InSet<true>>(
                "set",
                Ringway,
                CLAIM,
                "a ring per thread behind one handle, inlined",
            )
        },
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
