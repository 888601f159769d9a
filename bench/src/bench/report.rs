//! What came out, in Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::cells::{Cell, Workload};
use crate::goals::Against;
use crate::machine::Facts;
use crate::outcomes::{self, Verdict};
use crate::peers::{Family, Peer};
use crate::plot::{self, Plot};
use crate::rounds::Results;
use crate::stats::{Distance, FAR, NEAR, Spread};
use crate::verdicts;

/// All that a report is made of.
pub struct Report<'r> {
    pub results: &'r Results,
    pub peers: &'r [Peer],
    pub cells: &'r [Cell],
    /// Peers that are not there, and why.
    pub missing: &'r [String],
    pub facts: &'r Facts,
}

/// For a name of the line: what is held against what.
type Ratio = (&'static str, Workload, u32, &'static str, Against);

const LINE: &[Ratio] = &[
    (
        "1T local/raw",
        Workload::NopOpen,
        1,
        "local",
        Against::Peer("raw"),
    ),
    (
        "1T call local/crate",
        Workload::NopOpen,
        1,
        "local-call",
        Against::Peer("crate"),
    ),
    (
        "2T open ringway/mutex",
        Workload::NopOpen,
        2,
        "lead",
        Against::Best(Family::Mutex),
    ),
    (
        "/combining",
        Workload::NopOpen,
        2,
        "lead",
        Against::Best(Family::Combining),
    ),
    (
        "/one submitter",
        Workload::NopOpen,
        2,
        "lead",
        Against::OneSubmitter,
    ),
    (
        "2T closed ringway/mutex",
        Workload::NopClosed,
        2,
        "lead",
        Against::Best(Family::Mutex),
    ),
    (
        "/combining",
        Workload::NopClosed,
        2,
        "lead",
        Against::Best(Family::Combining),
    ),
    (
        "2T open set/ring per thread",
        Workload::NopOpen,
        2,
        "set",
        Against::Peer("crate-inline"),
    ),
    ("2T p50 ns", Workload::Latency, 2, "lead", Against::Median),
    ("p99 ns", Workload::Latency, 2, "lead", Against::P99),
    (
        "2T ping-pong unix ringway/mutex",
        Workload::PingPongUnix,
        2,
        "lead",
        Against::Best(Family::Mutex),
    ),
    (
        "tcp",
        Workload::PingPongTcp,
        2,
        "lead",
        Against::Best(Family::Mutex),
    ),
    (
        "A/A",
        Workload::NopOpen,
        2,
        "claim again",
        Against::Peer("claim"),
    ),
];

impl Report<'_> {
    /// The ratios on one line.
    pub fn line(&self) -> String {
        let Some(distance) = self.distances().into_iter().max_by_key(|&d| self.rounds(d)) else {
            return "ratios: none, too few rounds at one distance".into();
        };
        let mut line = format!(
            "ratios (line {}, {} rounds; batch",
            self.lines(distance),
            self.rounds(distance)
        );
        let nops = self.cells.iter().filter(|cell| cell.workload.is_for_all());
        let batches = BTreeSet::from_iter(nops.map(|cell| cell.batch));
        for batch in batches {
            let _ = write!(line, " {batch}");
        }
        line += ")";
        for &(name, workload, threads, ours, against) in LINE {
            // Of NOPs all batches, of the rest what was promised.
            let of = self.cells.iter().filter(|cell| {
                (cell.workload, cell.threads) == (workload, threads)
                    && (workload.is_for_all() || cell.batch == 1)
            });
            let numbers = of.map(|&cell| {
                let measured = against.measured(self.results, self.peers, (cell, ours), distance);
                measured.map_or(" -".into(), |(_, ratio)| {
                    let digits = if ratio.median < 50.0 { 2 } else { 0 };
                    format!(" {:.digits$}", ratio.median)
                })
            });
            let numbers = numbers.collect::<String>();
            if !numbers.is_empty() {
                let sign = if name.starts_with('/') { "," } else { " |" };
                let _ = write!(line, "{sign} {name}{numbers}");
            }
        }
        line
    }

    fn distances(&self) -> Vec<Distance> {
        self.results.distances()
    }

    fn rounds(&self, distance: Distance) -> usize {
        self.results.rounds(distance)
    }

    /// The cache line's round trips of the rounds at a distance.
    fn lines(&self, distance: Distance) -> String {
        let lines = self
            .results
            .lines
            .iter()
            .filter(|&&line| Distance::of(line) == distance);
        let spread = Spread::of(lines.map(|line| line.as_nanos() as f64).collect());
        spread.map_or("-".into(), |s| {
            format!(
                "{:.0} ns [{:.0} to {:.0}], {}",
                s.median,
                s.min,
                s.max,
                distance.name()
            )
        })
    }

    /// A table for each workload, number of threads and distance.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for workload in Workload::ALL {
            let cells = self.cells.iter().filter(|cell| cell.workload == workload);
            let threads = BTreeSet::from_iter(cells.map(|cell| cell.threads));
            if threads.is_empty() {
                continue;
            }
            let _ = writeln!(text, "### {}\n\n{}.\n", workload.name(), workload.about());
            for threads in threads {
                let distances = match threads {
                    1 => vec![Distance::Near],
                    _ => self.distances(),
                };
                for distance in distances {
                    self.table(&mut text, workload, threads, distance);
                }
            }
        }
        text
    }

    fn table(&self, text: &mut String, workload: Workload, threads: u32, distance: Distance) {
        let is_it = |cell: &&Cell| (cell.workload, cell.threads) == (workload, threads);
        let cells: Vec<Cell> = self.cells.iter().filter(is_it).copied().collect();
        let _ = match threads {
            1 => write!(text, "1 thread"),
            _ => write!(text, "{threads} threads, CPUs {}", distance.name()),
        };
        let unit = workload.values().join(", ");
        let _ = writeln!(text, "; {unit}, median of the rounds [least to most]:\n");
        let mut head = String::from("| peer |");
        let mut rule = String::from("|---|");
        for cell in &cells {
            let _ = write!(head, " {} {} |", workload.each(), cell.batch);
            rule += "---|";
        }
        let _ = writeln!(text, "{head}\n{rule}");
        for family in Family::ALL {
            for peer in self.peers.iter().filter(|peer| peer.family == family) {
                if cells.iter().any(|&cell| peer.runs(cell)) {
                    let numbers = cells.iter().map(|&cell| self.number(cell, peer, distance));
                    let numbers = numbers.collect::<Vec<_>>().join(" | ");
                    let _ = writeln!(text, "| {} | {numbers} |", peer.name);
                }
            }
        }
        text.push('\n');
    }

    fn number(&self, cell: Cell, peer: &Peer, distance: Distance) -> String {
        let of = |value| self.results.spread((cell, peer.name), distance, value);
        if cell.workload.is_rate() {
            return of(0).map_or("-".into(), |rate| {
                let digits = if rate.median < 1.0 { 3 } else { 2 };
                format!(
                    "{:.digits$} [{:.digits$} to {:.digits$}]",
                    rate.median, rate.min, rate.max
                )
            });
        }
        let values = 0..cell.workload.values().len();
        let values = values.map(|value| {
            of(value).map_or("-".into(), |all| {
                let digits = if all.median < 10.0 { 1 } else { 0 };
                format!("{:.digits$}", all.median)
            })
        });
        values.collect::<Vec<_>>().join(", ")
    }

    /// How the controls came out: the ratio of two runs of the same.
    fn control(&self) -> String {
        let mut text = String::from(
            "| workload | threads | CPUs | largest distance from 1 of a cell's median ratio |\n|---|---|---|---|\n",
        );
        for workload in Workload::ALL {
            for threads in [1, 2, 4] {
                for distance in self.distances() {
                    let cells = self.cells.iter();
                    let cells = cells.filter(|c| (c.workload, c.threads) == (workload, threads));
                    let off =
                        cells.map(|&c| outcomes::noise(self.results, self.peers, c, distance));
                    let Some(off) = off.reduce(f64::max) else {
                        continue;
                    };
                    let _ = writeln!(
                        text,
                        "| {} | {threads} | {} | {:.1} % |",
                        workload.name(),
                        distance.name(),
                        100.0 * off
                    );
                }
            }
        }
        text
    }

    /// The file, without the plots.
    pub fn markdown(&self, plots: &[Plot]) -> String {
        let outcomes = outcomes::outcomes(self.results, self.peers);
        let count = |verdict| outcomes.iter().filter(|o| o.verdict == verdict).count();
        let mut text = String::from("# Ringway and what its users would pick instead\n\n");
        let _ = writeln!(
            text,
            "Written by `cargo xtask bench`; what is not a number is in `bench/src`.\n\n{}\n",
            self.line()
        );
        text += "## The machine\n\n";
        text += &self.facts.list();
        for distance in Distance::ALL {
            let rounds = self.rounds(distance);
            if rounds > 0 {
                let _ = writeln!(
                    text,
                    "- cache line's round trip in {rounds} rounds: {}",
                    self.lines(distance)
                );
            }
        }
        text += &format!(
            include_str!("method.md"),
            near = NEAR.as_nanos(),
            far = FAR.as_nanos()
        );
        let _ = writeln!(
            text,
            "\n{} windows in {} rounds; {} dropped because the machine did something else; {} wrong.\n",
            self.results.records.len(),
            self.results.lines.len(),
            self.results.dropped(),
            self.results.wrong().count()
        );
        for (record, wrong) in self.results.wrong() {
            let (cell, peer) = (record.cell, record.peer);
            let _ = writeln!(
                text,
                "- WRONG: {peer}, {}, {} threads, {} {}: {wrong}",
                cell.workload.name(),
                cell.threads,
                cell.workload.each(),
                cell.batch
            );
        }
        let _ = writeln!(text, "## The control\n\n{}", self.control());
        let _ = writeln!(
            text,
            "## The goals\n\n{} met; {} not met by less than the control differs; {} beyond reach; {} not met. \
             A column is a size: the batch, or connections a thread. Ratios are medians of the rounds' ratios \
             [least to most]; `noise` is a goal missed by less than the cell's control differs. One is beyond reach \
             if a limit that was measured in the same rounds is lower: what the kernel takes alone, in the batches that \
             go best, for all that goes through one ring; the raw loop on a ring of each thread's; the raw loop with \
             locked instructions. What two threads reach by hand is no such limit, and is shown. Where the CPUs are \
             neither near nor far, the goals of both are held against what was measured.\n\n{}\n{}",
            count(Verdict::Met),
            count(Verdict::Noise),
            count(Verdict::Beyond),
            count(Verdict::NotMet),
            verdicts::table(&outcomes),
            verdicts::instructions()
        );
        text += include_str!("limits.md");
        text += "\n## What was measured\n\n";
        for plot in plots {
            let _ = writeln!(text, "![{}]({})\n", plot.title, plot.file);
        }
        text += &self.tables();
        text += "## The peers\n\n| peer | what it is | kind | setup flags |\n|---|---|---|---|\n";
        for peer in self.peers {
            let (family, flags) = (peer.family.name(), peer.setup.flags());
            let _ = writeln!(
                text,
                "| {} | {} | {family} | {flags} |",
                peer.name, peer.about
            );
        }
        text += "\n## Skipped\n\n";
        let skipped = self.skipped();
        match &skipped[..] {
            [] => text += "Nothing.\n",
            all => all.iter().for_each(|line| text += &format!("- {line}\n")),
        }
        text
    }

    /// What is not there, and who does not take part in what, by name.
    pub fn skipped(&self) -> Vec<String> {
        let mut reasons = BTreeMap::<_, Vec<&str>>::new();
        for ((workload, peer), why) in &self.results.cannot {
            reasons.entry((workload, why)).or_default().push(peer);
        }
        let cannot = reasons.iter().map(|((workload, why), peers)| {
            format!("{} of {}: {why}", workload.name(), peers.join(", "))
        });
        self.missing.iter().cloned().chain(cannot).collect()
    }

    /// Lines over the size, of peers that stand for their families.
    pub fn plots(&self) -> Vec<Plot> {
        let mut plots = Vec::new();
        let Some(distance) = self.distances().into_iter().max_by_key(|&d| self.rounds(d)) else {
            return plots;
        };
        for workload in Workload::ALL {
            for threads in [1, 2] {
                let cells = self.cells.iter();
                let cells = cells.filter(|c| (c.workload, c.threads) == (workload, threads));
                let cells: Vec<Cell> = cells.copied().collect();
                if cells.len() < 2 {
                    continue;
                }
                let mut plot = Plot {
                    file: format!("{}-{threads}.svg", workload.name()),
                    title: match threads {
                        1 => format!("{}, 1 thread", workload.name()),
                        _ => format!(
                            "{}, {threads} threads, CPUs {}",
                            workload.name(),
                            distance.name()
                        ),
                    },
                    x: workload.each().into(),
                    y: workload.values()[0].into(),
                    sizes: cells.iter().map(|cell| cell.batch).collect(),
                    lines: Vec::new(),
                };
                self.fill(&mut plot, &cells, distance);
                plots.push(plot);
            }
        }
        plots
    }

    fn fill(&self, plot: &mut Plot, cells: &[Cell], distance: Distance) {
        let median = |cell, name| {
            let spread = self.results.spread((cell, name), distance, 0);
            spread.map(|spread| spread.median)
        };
        let best = |family| {
            let of = |&cell| {
                let name = self.results.best(self.peers, family, cell, distance)?;
                median(cell, name)
            };
            cells.iter().map(of).collect()
        };
        let of = |name| cells.iter().map(|&cell| median(cell, name)).collect();
        let mut add = |name: &str, values: Vec<Option<f64>>| {
            if values.iter().any(Option::is_some) {
                plot.lines.push((name.into(), values));
            }
        };
        add("raw loop per thread", of("raw"));
        add("io-uring crate, ring per thread", of("crate-inline"));
        add("best ordinary mutex", best(Family::Mutex));
        add("best combining mutex", best(Family::Combining));
        add("worker and queue", best(Family::Worker));
        add("ringway, one shared ring", of("lead"));
        add("ringway, a set", of("set"));
    }

    /// Writes the file, and the plots beside it.
    pub fn write(&self, file: &Path) -> Result<(), String> {
        let plots = self.plots();
        let folder = file.parent().unwrap_or(Path::new("."));
        for plot in &plots {
            plot::draw(plot, folder)?;
        }
        write(file, &self.markdown(&plots))
    }

    /// Puts the short table into another file, between its marks.
    pub fn fill_in(&self, file: &Path) -> Result<(), String> {
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        let parts = text.split_once(START).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(END)?;
            Some(format!("{before}{START}\n{}{END}{after}", self.short()))
        });
        let text = parts.ok_or_else(|| format!("{}: no {START} and {END}", file.display()))?;
        write(file, &text)
    }

    /// A few peers in a few cells.
    fn short(&self) -> String {
        use Workload::{NopClosed, NopOpen, PingPongTcp, PingPongUnix};
        let Some(distance) = self.distances().into_iter().max_by_key(|&d| self.rounds(d)) else {
            return String::new();
        };
        let mut text = format!(
            "Two threads, million operations (round trips) a second; cache line's round trip {}.\n\n\
             | | NOPs, batch 1 | 8 | 32 | 128 | socketpair, 1 connection a thread | TCP |\n\
             |---|---|---|---|---|---|---|\n",
            self.lines(distance)
        );
        let nops =
            |workload, threads| [1, 8, 32, 128].map(|batch| Cell::new(workload, threads, batch));
        let nets = [PingPongUnix, PingPongTcp].map(|net| Cell::new(net, 2, 1));
        let cells = [&nops(NopOpen, 2)[..], &nets].concat();
        let rows = [
            (
                "one ring, the best ordinary mutex",
                Who::Best(Family::Mutex),
            ),
            (
                "one ring, the best combining mutex",
                Who::Best(Family::Combining),
            ),
            ("**one ring, ringway** (`lead`)", Who::Is("lead")),
            ("ring per thread, io-uring crate", Who::Is("crate-inline")),
            ("**ring per thread, `ringway::set`**", Who::Is("set")),
        ];
        for (row, who) in rows {
            text += &self.row(row, &cells, who, distance);
        }
        text += "\n![NOPs of two threads](bench/nop-open-2.svg)\n\n\
                 | million NOPs a second | batch 1 | 8 | 32 | 128 |\n|---|---|---|---|---|\n";
        let rows = [
            (
                "open loop, two threads: `any`",
                (NopOpen, 2),
                Who::Is("any"),
            ),
            (
                "closed loop, two threads: `any`",
                (NopClosed, 2),
                Who::Is("any"),
            ),
            ("`lead`", (NopClosed, 2), Who::Is("lead")),
            (
                "the best ordinary mutex",
                (NopClosed, 2),
                Who::Best(Family::Mutex),
            ),
            (
                "ring per thread, io-uring crate",
                (NopClosed, 2),
                Who::Is("crate-inline"),
            ),
            (
                "closed loop, four threads: `lead`",
                (NopClosed, 4),
                Who::Is("lead"),
            ),
            (
                "the best ordinary mutex",
                (NopClosed, 4),
                Who::Best(Family::Mutex),
            ),
        ];
        for (row, (workload, threads), who) in rows {
            text += &self.row(row, &nops(workload, threads), who, distance);
        }
        text
    }

    /// What one peer, or the best of some, reached in these cells.
    fn row(&self, name: &str, cells: &[Cell], who: Who, distance: Distance) -> String {
        let number = |&cell: &Cell| {
            let peer = match who {
                Who::Is(name) => Some(name),
                Who::Best(family) => self.results.best(self.peers, family, cell, distance),
            };
            let rate = peer.and_then(|peer| self.results.spread((cell, peer), distance, 0));
            rate.map_or("-".into(), |rate| format!("{:.2}", rate.median))
        };
        let numbers = cells.iter().map(number).collect::<Vec<_>>().join(" | ");
        format!("| {name} | {numbers} |\n")
    }
}

/// A peer of the short table.
#[derive(Clone, Copy)]
enum Who {
    Is(&'static str),
    Best(Family),
}

/// Between these is what a run fills in.
const START: &str = "<!-- cargo xtask bench -->";
const END: &str = "<!-- end of cargo xtask bench -->";

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
