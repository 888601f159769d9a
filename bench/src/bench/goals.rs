//! What Ringway is to reach, and whether it does.

use crate::cells::{Cell, Workload};
use crate::peers::{Family, Peer};
use crate::rounds::Results;
use crate::stats::{Distance, Spread};

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
    fn is_limit(self) -> bool {
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
}

/// How a goal came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    /// Not met, by less than two runs of the same differ.
    Noise,
    NotMet,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Noise => "noise",
            Self::NotMet => "**not met**",
        }
    }

    fn of(value: f64, bound: f64, is_limit: bool, noise: f64) -> Self {
        let is_met = |slack: f64| match is_limit {
            true => value <= bound * (1.0 + slack),
            false => value >= bound * (1.0 - slack),
        };
        match (is_met(0.0), is_met(noise)) {
            (true, _) => Self::Met,
            (false, true) => Self::Noise,
            (false, false) => Self::NotMet,
        }
    }
}

/// A goal in one cell at one distance.
pub struct Outcome {
    pub goal: &'static Goal,
    pub cell: Cell,
    pub distance: Distance,
    /// Whose bound it is: where the CPUs are neither near nor far, both are held against.
    pub of: Distance,
    pub other: &'static str,
    pub measured: Spread,
    pub bound: f64,
    pub verdict: Verdict,
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
    goal(ONE, (NOPS, &[1]), "claim", Against::Peer("raw"), RAW),
    goal(ONE, (NOPS, &[1]), "any", Against::Peer("raw-array"), RAW),
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
    ),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "claim",
        Against::Best(Family::Mutex),
        SHARE,
    ),
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
    ),
    goal(
        SHARED,
        (OPEN, &[2, 4]),
        "claim",
        Against::OneSubmitter,
        LIMIT,
    ),
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
    ),
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
    ),
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
        "lead",
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

impl Goal {
    /// What the results say of it, where it was measured.
    fn outcomes(&'static self, results: &Results, peers: &[Peer]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for &workload in self.workloads {
            for &threads in self.threads {
                for &(size, near, far) in self.bounds {
                    let cell = Cell::new(workload, threads, size);
                    for distance in distances(results, threads) {
                        let Some((other, measured)) = self.measured(results, peers, cell, distance)
                        else {
                            continue;
                        };
                        let noise = noise(results, peers, cell, distance);
                        for (of, bound) in bounds(threads, distance, near, far) {
                            let verdict =
                                Verdict::of(measured.median, bound, self.against.is_limit(), noise);
                            outcomes.push(Outcome {
                                goal: self,
                                cell,
                                distance,
                                of,
                                other,
                                measured,
                                bound,
                                verdict,
                            });
                        }
                    }
                }
            }
        }
        outcomes
    }

    /// Against whom, and with what outcome.
    pub fn measured(
        &self,
        results: &Results,
        peers: &[Peer],
        cell: Cell,
        distance: Distance,
    ) -> Option<(&'static str, Spread)> {
        let ours = (cell, self.ours);
        let ratio =
            |other: (Cell, &'static str)| Some((other.1, results.ratio(ours, other, distance)?));
        match self.against {
            Against::Peer(name) => ratio((cell, name)),
            Against::Best(family) => ratio((cell, results.best(peers, family, cell, distance)?)),
            Against::OneSubmitter => ratio((Cell::new(cell.workload, 1, cell.batch), "raw")),
            Against::Median => Some(("ns", results.spread(ours, distance, 0)?)),
            Against::P99 => Some(("ns", results.spread(ours, distance, 1)?)),
        }
    }
}

/// One thread knows no distance: any stands for all.
fn distances(results: &Results, threads: u32) -> Vec<Distance> {
    match threads {
        1 => vec![Distance::Near],
        _ => results.distances(),
    }
}

/// The bounds that hold at a distance, each once.
fn bounds(
    threads: u32,
    distance: Distance,
    near: Option<f64>,
    far: Option<f64>,
) -> Vec<(Distance, f64)> {
    let of = |bound: Option<f64>, distance| bound.map(|bound| (distance, bound));
    let both = match (threads, distance) {
        // The same whatever the distance: nobody's in particular.
        _ if near == far => [of(near, distance), None],
        (1, _) | (_, Distance::Near) => [of(near, distance), None],
        (_, Distance::Far) => [None, of(far, distance)],
        (_, Distance::Middle) => [of(near, Distance::Near), of(far, Distance::Far)],
    };
    both.into_iter().flatten().collect()
}

/// How far the controls of the cell are from 1.
pub fn noise(results: &Results, peers: &[Peer], cell: Cell, distance: Distance) -> f64 {
    let controls = peers.iter().filter(|peer| peer.family == Family::Control);
    let off = controls.filter_map(|control| {
        let of = control.name.strip_suffix(" again")?;
        let of = peers.iter().find(|peer| peer.name == of)?;
        let ratio = results.ratio((cell, control.name), (cell, of.name), distance)?;
        Some((ratio.median - 1.0).abs())
    });
    off.fold(0.0, f64::max)
}

pub fn outcomes(results: &Results, peers: &[Peer]) -> Vec<Outcome> {
    let all = GOALS.iter().map(|goal| goal.outcomes(results, peers));
    all.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;
    use crate::rounds::Sample;
    use std::time::Duration;

    /// Rounds at one distance: rates of raw, of a peer, and of the peer's control.
    fn results(peer: &str, nanos: u64, rounds: &[[f64; 3]], cell: Cell, other: &str) -> Results {
        let peers = peers::all();
        let named = |name: &str| *peers.iter().find(|peer| peer.name == name).expect("a peer");
        let mut results = Results::default();
        for (round, rates) in rounds.iter().enumerate() {
            results.lines.push(Duration::from_nanos(nanos));
            let [others, ours, again] = *rates;
            let named_rates = [
                (other, others),
                (peer, ours),
                ("claim", ours),
                ("claim again", again),
            ];
            for (name, rate) in named_rates {
                let sample = Sample {
                    values: vec![rate],
                    delayed: 0.0,
                    wrong: None,
                };
                results.add(round, cell, &named(name), sample);
            }
        }
        results
    }

    fn verdicts(results: &Results, family: Family) -> Vec<(Distance, f64, Verdict)> {
        let outcomes = outcomes(results, &peers::all());
        let of = outcomes
            .iter()
            .filter(|outcome| match outcome.goal.against {
                Against::Best(best) => best == family && outcome.goal.ours == "lead",
                _ => false,
            });
        of.map(|outcome| (outcome.of, outcome.bound, outcome.verdict))
            .collect()
    }

    const CELL: Cell = Cell::new(Workload::NopOpen, 2, 1);

    /// The machine is twice as fast in the last round: the rounds' ratios are 4, 4 and 3.
    const ROUNDS: &[[f64; 3]] = &[[1.0, 4.0, 4.0], [1.0, 4.0, 4.0], [2.0, 6.0, 6.0]];

    #[test]
    fn ratios_are_of_rounds() {
        let results = results("lead", 70, ROUNDS, CELL, "mutex-pl");
        let ratio = results.ratio((CELL, "lead"), (CELL, "mutex-pl"), Distance::Near);
        let ratio = ratio.expect("three rounds");
        assert_eq!((ratio.median, ratio.min, ratio.max), (4.0, 3.0, 4.0));
        assert!(
            results
                .ratio((CELL, "lead"), (CELL, "mutex-pl"), Distance::Far)
                .is_none()
        );
    }

    #[test]
    fn each_distance_has_its_goal() {
        let of = |nanos| {
            let results = results("lead", nanos, ROUNDS, CELL, "mutex-pl");
            verdicts(&results, Family::Mutex)
        };
        let (near, far) = (
            (Distance::Near, 3.5, Verdict::Met),
            (Distance::Far, 7.0, Verdict::NotMet),
        );
        assert_eq!(of(70), [near]);
        assert_eq!(of(300), [far]);
        assert_eq!(of(120), [near, far]);
    }

    #[test]
    fn noise_is_what_the_control_differs() {
        let at = |ours, again| {
            let rounds = [[1.0, ours, again]; 3];
            let results = results("lead", 70, &rounds, CELL, "combining");
            verdicts(&results, Family::Combining)[0].2
        };
        assert_eq!(at(1.0, 1.0), Verdict::Met);
        assert_eq!(at(0.98, 0.98), Verdict::NotMet);
        assert_eq!(at(0.98, 0.98 * 1.03), Verdict::Noise);
        assert_eq!(at(0.90, 0.90 * 1.03), Verdict::NotMet);
    }

    #[test]
    fn limits_are_met_from_below() {
        let of = |value| Verdict::of(value, 50.0, true, 0.0);
        assert_eq!(
            [of(49.0), of(50.0), of(51.0)],
            [Verdict::Met, Verdict::Met, Verdict::NotMet]
        );
    }

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
