//! Rounds: in each, every cell has every peer run once.
//!
//! Peers that are compared run within a tenth of a second of each other, and every cell sees
//! every state of the machine.

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::{Duration, Instant};

use crate::cells::{Cell, Workload};
use crate::load::Run;
use crate::machine;
use crate::peers::{Family, Peer};
use crate::stats::{Distance, Spread};

const WINDOW: Duration = Duration::from_millis(8);
/// So that a window does not pay for what the one before has left to do.
const PAUSE: Duration = Duration::from_millis(2);
/// A thread of a window that was ready for so much of it and did not run: its CPU did something
/// else.
const DELAYED: f64 = 0.06;
/// Rounds without which a median says nothing.
const LEAST: usize = 3;

/// What one peer did in one window.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of [`Workload::values`](crate::cells::Workload::values).
    pub values: Vec<f64>,
    pub delayed: f64,
    pub wrong: Option<String>,
}

/// A sample, and when it was taken.
pub struct Record {
    pub round: usize,
    pub cell: Cell,
    pub peer: &'static str,
    pub sample: Sample,
    pub is_dropped: bool,
}

/// All samples.
#[derive(Default)]
pub struct Results {
    /// The cache line's round trip before each round.
    pub lines: Vec<Duration>,
    pub records: Vec<Record>,
    /// Who does not take part in what, and why.
    pub cannot: BTreeMap<(Workload, &'static str), String>,
    index: HashMap<(Cell, &'static str), Vec<usize>>,
}

/// The order of a round: there and back, then the same from one further on.
fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| {
        let at = match round % 2 {
            0 => at,
            _ => count - 1 - at,
        };
        (at + round / 2) % count
    })
}

/// Round after round, until one more would take more than the budget.
pub fn run(cells: &[Cell], peers: &[Peer], budget: Duration) -> Results {
    let mut results = Results::default();
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    for round in 0.. {
        if round >= LEAST && start.elapsed() + longest > budget {
            break;
        }
        let began = Instant::now();
        results.lines.push(machine::line_round_trip());
        for &cell in cells {
            for at in order(peers.len(), round) {
                let peer = &peers[at];
                if !peer.runs(cell) {
                    continue;
                }
                let run = Run {
                    threads: cell.threads,
                    batch: cell.batch,
                    setup: peer.setup,
                    window: WINDOW,
                };
                if results.cannot.contains_key(&(cell.workload, peer.name)) {
                    continue;
                }
                match (peer.measure)(cell.workload, run) {
                    Ok(sample) => results.add(round, cell, peer, sample),
                    Err(why) => {
                        results.cannot.insert((cell.workload, peer.name), why);
                    }
                }
                thread::sleep(PAUSE);
            }
        }
        longest = longest.max(began.elapsed());
    }
    results
}

impl Results {
    pub fn add(&mut self, round: usize, cell: Cell, peer: &Peer, sample: Sample) {
        // With more threads than CPUs a thread is always ready and does not run.
        let has_cpus = cell.threads + u32::from(peer.helps) <= machine::cpus();
        let says_much = has_cpus && !cell.workload.sleeps();
        let is_dropped = sample.wrong.is_some() || says_much && sample.delayed > DELAYED;
        let at = self.records.len();
        self.index.entry((cell, peer.name)).or_default().push(at);
        self.records.push(Record {
            round,
            cell,
            peer: peer.name,
            sample,
            is_dropped,
        });
    }

    /// What has been kept of a peer in a cell, by rounds. One thread knows no distance.
    fn kept(
        &self,
        cell: Cell,
        peer: &'static str,
        distance: Distance,
    ) -> impl Iterator<Item = &Record> {
        let all = self.index.get(&(cell, peer)).into_iter().flatten();
        let all = all.map(|&at| &self.records[at]);
        all.filter(move |record| {
            let is_there = cell.threads == 1 || self.distance(record.round) == distance;
            is_there && !record.is_dropped
        })
    }

    pub fn distance(&self, round: usize) -> Distance {
        Distance::of(self.lines[round])
    }

    /// How many rounds were run at a distance.
    pub fn rounds(&self, distance: Distance) -> usize {
        let lines = self.lines.iter();
        lines
            .filter(|&&line| Distance::of(line) == distance)
            .count()
    }

    /// The distances at which enough rounds have been run.
    pub fn distances(&self) -> Vec<Distance> {
        let mut seen = Distance::ALL.to_vec();
        seen.retain(|&distance| self.rounds(distance) >= LEAST);
        seen
    }

    pub fn spread(
        &self,
        (cell, peer): (Cell, &'static str),
        distance: Distance,
        value: usize,
    ) -> Option<Spread> {
        let kept = self.kept(cell, peer, distance);
        Spread::of(
            kept.filter_map(|record| record.sample.values.get(value).copied())
                .collect(),
        )
    }

    /// The ratio of each round in which both were kept.
    pub fn ratio(
        &self,
        ours: (Cell, &'static str),
        other: (Cell, &'static str),
        distance: Distance,
    ) -> Option<Spread> {
        // The round's distance decides, also where one of the two is of one thread.
        let of = |(cell, peer)| {
            let kept = self.kept(cell, peer, distance);
            let values = kept.map(|record| (record.round, record.sample.values[0]));
            values.collect::<HashMap<usize, f64>>()
        };
        let (ours, other) = (of(ours), of(other));
        let ratios = ours
            .iter()
            .filter_map(|(round, value)| Some(value / other.get(round)?));
        Spread::of(ratios.collect())
    }

    /// The peer of a family whose median is the highest.
    pub fn best(
        &self,
        peers: &[Peer],
        family: Family,
        cell: Cell,
        distance: Distance,
    ) -> Option<&'static str> {
        let median = |peer: &Peer| {
            let spread = self.spread((cell, peer.name), distance, 0)?;
            Some((spread.median, peer.name))
        };
        let of_family = peers.iter().filter(|peer| peer.family == family);
        let best = of_family.filter_map(median);
        best.max_by(|a, b| a.0.total_cmp(&b.0)).map(|best| best.1)
    }

    /// Windows that did not come out right.
    pub fn wrong(&self) -> impl Iterator<Item = (&Record, &str)> {
        let wrong = |record: &'_ Record| record.sample.wrong.is_some();
        let all = self.records.iter().filter(move |record| wrong(record));
        all.map(|record| (record, record.sample.wrong.as_deref().unwrap_or_default()))
    }

    /// Windows that are left out because the machine did something else.
    pub fn dropped(&self) -> usize {
        let records = self.records.iter();
        records
            .filter(|r| r.is_dropped && r.sample.wrong.is_none())
            .count()
    }

    /// A line for each sample.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "round,line_ns,workload,threads,batch,peer,first,second,third,delayed,dropped,wrong\n",
        );
        let number = |value: Option<&f64>| value.map(f64::to_string).unwrap_or_default();
        for record in &self.records {
            let (cell, sample) = (record.cell, &record.sample);
            text += &format!(
                "{},{},{},{},{},{},{},{},{},{:.4},{},\"{}\"\n",
                record.round,
                self.lines[record.round].as_nanos(),
                cell.workload.name(),
                cell.threads,
                cell.batch,
                record.peer,
                number(sample.values.first()),
                number(sample.values.get(1)),
                number(sample.values.get(2)),
                sample.delayed,
                record.is_dropped,
                sample.wrong.as_deref().unwrap_or_default(),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    #[test]
    fn every_peer_has_every_place() {
        for count in [1, 2, 7, 30] {
            let mut times = vec![vec![0; count]; count];
            for round in 0..2 * count {
                let places = order(count, round).enumerate();
                places.for_each(|(place, peer)| times[peer][place] += 1);
            }
            assert_eq!(times, vec![vec![2; count]; count]);
            // A pair of rounds favours nobody: a place from the start, then from the end.
            let pair = order(count, 0).zip(order(count, 1).collect::<Vec<_>>().into_iter().rev());
            assert!(pair.into_iter().all(|(there, back)| there == back));
        }
    }

    #[test]
    fn what_is_wrong_or_disturbed_is_left_out() {
        let peers = peers::all();
        let peer = peers
            .iter()
            .find(|peer| peer.name == "claim")
            .expect("a peer");
        let cell = Cell::new(Workload::NopOpen, 1, 1);
        let mut results = Results::default();
        let sample = |rate, delayed, wrong: Option<&str>| Sample {
            values: vec![rate],
            delayed,
            wrong: wrong.map(String::from),
        };
        results.lines = vec![Duration::from_nanos(70); 3];
        results.add(0, cell, peer, sample(1.0, 0.0, None));
        results.add(1, cell, peer, sample(50.0, 0.07, None));
        results.add(2, cell, peer, sample(90.0, 0.0, Some("one is lost")));
        let spread = results
            .spread((cell, "claim"), Distance::Near, 0)
            .expect("one");
        assert_eq!((spread.max, spread.count), (1.0, 1));
        assert_eq!((results.dropped(), results.wrong().count()), (1, 1));
        // More threads than CPUs: one is always ready and does not run.
        let many = Cell::new(Workload::NopOpen, machine::cpus() + 1, 1);
        results.add(0, many, peer, sample(1.0, 0.5, None));
        assert_eq!(results.dropped(), 1);
    }
}
