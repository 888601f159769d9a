//! What Ringway is to reach.

use crate::ceiling::Ceiling;
use crate::cells::Workload;
use crate::peers::Family;

/// What is held against what.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    Peer(&'static str),
    /// The best of a family in the same cell.
    Best(Family),
    /// What the kernel takes from one thread that submits alone, in batches of this size.
    OneSubmitter,
    /// The median of the call, in nanoseconds.
    Median,
    /// The 99th percentile of the call, in nanoseconds.
    P99,
}

impl Against {
    /// Whether more is worse.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::Median | Self::P99)
    }
}

/// For a size: the number when the CPUs are near, and when they are far.
type Bound = (u32, Option<f64>, Option<f64>);

/// One line of what was promised.
pub struct Goal {
    pub group: &'static str,
    pub workloads: &'static [Workload],
    pub threads: &'static [u32],
    pub ours: &'static str,
    pub against: Against,
    pub bounds: &'static [Bound],
    pub ceiling: Ceiling,
}

const SAME: &[Bound] = &[
    (1, Some(1.0), Some(1.0)),
    (8, Some(1.0), Some(1.0)),
    (32, Some(1.0), Some(1.0)),
    (64, Some(1.0), Some(1.0)),
    (128, Some(1.0), Some(1.0)),
];
const RAW: &[Bound] = &[
    (1, Some(0.97), Some(0.97)),
    (8, Some(1.0), Some(1.0)),
    (32, Some(1.0), Some(1.0)),
    (128, Some(1.0), Some(1.0)),
];
/// Against the best ordinary mutex.
const SHARE: &[Bound] = &[
    (1, Some(3.5), Some(7.0)),
    (8, Some(1.9), Some(3.0)),
    (32, Some(1.7), Some(2.0)),
    (128, Some(1.5), Some(1.4)),
];
/// Of what one submitter can do.
const LIMIT: &[Bound] = &[(32, Some(0.95), None), (128, Some(0.95), None)];

const NOPS: &[Workload] = &[Workload::NopOpen, Workload::NopClosed];
/// All that one thread can do by itself.
const ALL: &[Workload] = &[
    Workload::NopOpen,
    Workload::NopClosed,
    Workload::ReadCached,
    Workload::ReadRegistered,
    Workload::ReadDirect,
];
/// What a ring per thread is for.
const SETS: &[Workload] = &[
    Workload::NopOpen,
    Workload::NopClosed,
    Workload::ReadCached,
    Workload::ReadRegistered,
    Workload::ReadDirect,
    Workload::PingPongUnix,
    Workload::PingPongTcp,
];
const OPEN: &[Workload] = &[Workload::NopOpen];
const CLOSED: &[Workload] = &[Workload::NopClosed];

const fn goal(
    group: &'static str,
    (workloads, threads): (&'static [Workload], &'static [u32]),
    ours: &'static str,
    against: Against,
    bounds: &'static [Bound],
) -> Goal {
    Goal {
        group,
        workloads,
        threads,
        ours,
        against,
        bounds,
        ceiling: Ceiling::Open,
    }
}

impl Goal {
    const fn under(mut self, ceiling: Ceiling) -> Self {
        self.ceiling = ceiling;
        self
    }
}

const ONE: &str = "one thread";
const SHARED: &str = "one shared ring, open loop";
const CALLED: &str = "one shared ring, closed loop";
const SET: &str = "the set";
const CALLER: &str = "push and submit as a caller sees it";
/// Each thread of an ordinary mutex waits in the kernel for whatever comes: naively.
const FEW: &str = "ping-pong, few connections";

/// All of them. Each names a peer with the same flags, which enters the kernel the same way.
pub static GOALS: &[Goal] = &[
    goal(ONE, (NOPS, &[1]), "local", Against::Peer("raw"), RAW),
    goal(
        ONE,
        (NOPS, &[1]),
        "local-defer",
        Against::Peer("raw-defer"),
        RAW,
    ),
    goal(ONE, (NOPS, &[1]), "claim", Against::Peer("raw"), RAW).under(Ceiling::Locked),
    goal(ONE, (NOPS, &[1]), "any", Against::Peer("raw-array"), RAW).under(Ceiling::Locked),
    goal(
        ONE,
        (ALL, &[1]),
        "local",
        Against::Peer("crate-inline"),
        SAME,
    ),
    goal(ONE, (ALL, &[1]), "local-call", Against::Peer("crate"), SAME),
    goal(
        ONE,
        (NOPS, &[1]),
        "local-call-array",
        Against::Peer("crate-array"),
        SAME,
    ),
    goal(
        ONE,
        (NOPS, &[1]),
        "local-defer",
        Against::Peer("crate-defer"),
        SAME,
    ),
    goal(
        ONE,
        (NOPS, &[1]),
        "local-call-array",
        Against::Peer("liburing"),
        SAME,
    ),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "lead",
        Against::Best(Family::Mutex),
        SHARE,
    )
    .under(Ceiling::OneRing),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "claim",
        Against::Best(Family::Mutex),
        SHARE,
    )
    .under(Ceiling::OneRing),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "lead",
        Against::Best(Family::Combining),
        SAME,
    ),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "claim",
        Against::Best(Family::Combining),
        SAME,
    ),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "lead",
        Against::OneSubmitter,
        LIMIT,
    )
    .under(Ceiling::Two),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "claim",
        Against::OneSubmitter,
        LIMIT,
    )
    .under(Ceiling::Two),
    goal(
        CALLED,
        (CLOSED, &[2, 4]),
        "lead",
        Against::Best(Family::Mutex),
        &[
            (1, Some(1.0), None),
            (8, Some(1.2), Some(1.2)),
            (32, Some(1.2), Some(1.2)),
            (128, Some(1.2), Some(1.2)),
        ],
    )
    .under(Ceiling::Two),
    goal(
        CALLED,
        (CLOSED, &[2, 4]),
        "lead",
        Against::Best(Family::Combining),
        &[
            (1, None, Some(1.1)),
            (8, None, Some(1.1)),
            (32, None, Some(1.1)),
            (128, None, Some(1.1)),
        ],
    ),
    goal(
        SET,
        (SETS, &[1, 2, 4]),
        "set",
        Against::Peer("crate-inline"),
        SAME,
    ),
    goal(
        SET,
        (NOPS, &[1, 2, 4]),
        "set-call",
        Against::Peer("crate"),
        SAME,
    ),
    goal(
        SET,
        (NOPS, &[1, 2, 4]),
        "set-defer",
        Against::Peer("crate-defer"),
        SAME,
    ),
    goal(
        SET,
        (OPEN, &[2, 4]),
        "set",
        Against::Best(Family::Mutex),
        &[
            (1, None, Some(6.0)),
            (8, None, Some(4.5)),
            (32, None, Some(4.0)),
            (128, None, Some(3.0)),
        ],
    )
    .under(Ceiling::Rings),
    goal(
        CALLER,
        (&[Workload::Latency], &[2]),
        "lead",
        Against::Median,
        &[(1, Some(50.0), Some(50.0))],
    ),
    goal(
        CALLER,
        (&[Workload::Latency], &[2]),
        "claim",
        Against::Median,
        &[(1, Some(50.0), Some(50.0))],
    ),
    goal(
        CALLER,
        (&[Workload::Latency], &[2]),
        "lead",
        Against::P99,
        &[(1, Some(200.0), Some(200.0))],
    ),
    goal(
        CALLER,
        (&[Workload::Latency], &[2]),
        "claim",
        Against::P99,
        &[(1, Some(200.0), Some(200.0))],
    ),
    goal(
        FEW,
        (&[Workload::PingPongUnix], &[2]),
        "lead",
        Against::Best(Family::Mutex),
        &[(1, Some(3.0), Some(3.0))],
    ),
    goal(
        FEW,
        (&[Workload::PingPongTcp], &[2]),
        "lead",
        Against::Best(Family::Mutex),
        &[(1, Some(2.0), Some(2.0))],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    #[test]
    fn goals_name_peers_that_are_there() {
        let peers = peers::all();
        let is_there = |name| peers.iter().any(|peer| peer.name == name);
        for goal in GOALS {
            assert!(is_there(goal.ours), "{}", goal.ours);
            match goal.against {
                // Not on every machine.
                Against::Peer("liburing") => {}
                Against::Peer(name) => assert!(is_there(name), "{name}"),
                Against::Best(family) => assert!(peers.iter().any(|peer| peer.family == family)),
                _ => {}
            }
        }
    }

    #[test]
    fn both_sides_are_set_up_alike() {
        let peers = peers::all();
        let setup = |name| {
            peers
                .iter()
                .find(|peer| peer.name == name)
                .map(|peer| peer.setup)
        };
        for goal in GOALS {
            if let Against::Peer(other) = goal.against
                && let Some(other_setup) = setup(other)
            {
                assert_eq!(
                    setup(goal.ours),
                    Some(other_setup),
                    "{} and {other}",
                    goal.ours
                );
            }
        }
    }
}
