//! How the goals came out.

use crate::ceiling::Reach;
use crate::cells::Cell;
use crate::goals::{Against, GOALS, Goal};
use crate::peers::{Family, Peer};
use crate::rounds::Results;
use crate::stats::{Distance, Spread};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    /// Not met, by less than two runs of the same differ.
    Noise,
    /// Not met, nor can it be: more than there is was asked for.
    Beyond,
    NotMet,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Noise => "noise",
            Self::Beyond => "*beyond reach*",
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

    /// In the light of what there is to reach.
    fn within(self, reach: Option<Reach>, bound: f64) -> Self {
        match (self, reach) {
            (Self::NotMet, Some(Reach::AtMost(most))) if most < bound => Self::Beyond,
            _ => self,
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
    pub reach: Option<Reach>,
    pub verdict: Verdict,
}

impl Goal {
    /// What the results say of it, where it was measured.
    fn outcomes(&'static self, results: &Results, peers: &[Peer]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for &workload in self.workloads {
            for &threads in self.threads {
                for &(size, near, far) in self.bounds {
                    let cell = Cell::new(workload, threads, size);
                    for distance in distances(results, threads) {
                        let Some((other, measured)) =
                            self.against
                                .measured(results, peers, (cell, self.ours), distance)
                        else {
                            continue;
                        };
                        let noise = noise(results, peers, cell, distance);
                        let held = (self.against.cell(cell), other);
                        let reach = self.ceiling.reach(results, cell, distance, held);
                        for (of, bound) in bounds(threads, distance, near, far) {
                            let is_limit = self.against.is_limit();
                            let verdict = Verdict::of(measured.median, bound, is_limit, noise)
                                .within(reach, bound);
                            outcomes.push(Outcome {
                                goal: self,
                                cell,
                                distance,
                                of,
                                other,
                                measured,
                                bound,
                                reach,
                                verdict,
                            });
                        }
                    }
                }
            }
        }
        outcomes
    }
}

impl Against {
    /// Where what is held against was measured.
    fn cell(self, cell: Cell) -> Cell {
        match self {
            Self::OneSubmitter => Cell { threads: 1, ..cell },
            _ => cell,
        }
    }

    /// Against whom, and with what outcome.
    pub fn measured(
        self,
        results: &Results,
        peers: &[Peer],
        ours: (Cell, &'static str),
        distance: Distance,
    ) -> Option<(&'static str, Spread)> {
        let cell = ours.0;
        let ratio =
            |other: (Cell, &'static str)| Some((other.1, results.ratio(ours, other, distance)?));
        match self {
            Self::Peer(name) => ratio((cell, name)),
            Self::Best(family) => ratio((cell, results.best(peers, family, cell, distance)?)),
            Self::OneSubmitter => ratio((self.cell(cell), "raw")),
            Self::Median => Some(("ns", results.spread(ours, distance, 0)?)),
            Self::P99 => Some(("ns", results.spread(ours, distance, 1)?)),
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
    use crate::cells::Workload;
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
    fn more_than_there_is_is_beyond_reach() {
        let of = |verdict: Verdict, reach| verdict.within(Some(reach), 1.5);
        let (most, by_hand) = (Reach::AtMost, Reach::ByHand);
        assert_eq!(of(Verdict::NotMet, most(1.4)), Verdict::Beyond);
        assert_eq!(of(Verdict::NotMet, most(1.5)), Verdict::NotMet);
        assert_eq!(of(Verdict::NotMet, by_hand(1.4)), Verdict::NotMet);
        assert_eq!(of(Verdict::Met, most(1.4)), Verdict::Met);
    }

    #[test]
    fn limits_are_met_from_below() {
        let of = |value| Verdict::of(value, 50.0, true, 0.0);
        assert_eq!(
            [of(49.0), of(50.0), of(51.0)],
            [Verdict::Met, Verdict::Met, Verdict::NotMet]
        );
    }
}
