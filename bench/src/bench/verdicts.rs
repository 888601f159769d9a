//! The goals, and what was measured of each, in Markdown.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::ceiling::Reach;
use crate::goals::Against;
use crate::outcomes::{Outcome, Verdict};
use crate::stats::Spread;

/// A line for each goal, workload, number of threads and distance; a column for each size.
pub fn table(outcomes: &[Outcome]) -> String {
    let sizes = BTreeSet::from_iter(outcomes.iter().map(|outcome| outcome.cell.batch));
    let mut text = String::from("| goal | workload | threads |");
    sizes.iter().for_each(|size| text += &format!(" {size} |"));
    text += "\n|---|---|---|";
    sizes.iter().for_each(|_| text += "---|");
    text.push('\n');
    let is_line = |a: &Outcome, b: &Outcome| {
        let line = |o: &Outcome| (o.cell.workload, o.cell.threads, o.distance);
        std::ptr::eq(a.goal, b.goal) && line(a) == line(b)
    };
    let mut outcomes: Vec<&Outcome> = outcomes.iter().collect();
    while let Some(&first) = outcomes.first() {
        let (line, rest): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .partition(|outcome| is_line(first, outcome));
        outcomes = rest;
        let Outcome { goal, cell, .. } = first;
        let against = match goal.against {
            Against::Peer(name) => format!(" / {name}"),
            Against::Best(family) => format!(" / best {}", family.name()),
            Against::OneSubmitter => " / raw of one thread".into(),
            Against::Median => ", p50 in ns".into(),
            Against::P99 => ", p99 in ns".into(),
        };
        let threads = match cell.threads {
            1 => "1".into(),
            threads => format!("{threads}, {}", first.distance.name()),
        };
        let (group, ours, workload) = (goal.group, goal.ours, cell.workload.name());
        let _ = write!(
            text,
            "| {group}: {ours}{against} | {workload} | {threads} |"
        );
        for size in &sizes {
            let of_size = line.iter().filter(|outcome| outcome.cell.batch == *size);
            let _ = write!(text, " {} |", of_size.fold(String::new(), outcome));
        }
        text.push('\n');
    }
    text
}

/// What was measured, and then what of each bound.
fn outcome(before: String, outcome: &&Outcome) -> String {
    let Outcome {
        goal,
        distance,
        of,
        other,
        measured,
        bound,
        reach,
        verdict,
        cell,
        ..
    } = outcome;
    let mut text = before;
    if text.is_empty() {
        let Spread {
            median, min, max, ..
        } = measured;
        text = format!("{median:.2} [{min:.2} to {max:.2}]");
        if matches!(goal.against, Against::Best(_)) {
            text += &format!(" of {other}");
        }
    }
    let of = match cell.threads == 1 || distance == of {
        true => "",
        false => of.name(),
    };
    text += &format!("; {of} goal {bound}: {}", verdict.name()).replace("  ", " ");
    match (verdict, reach) {
        (Verdict::Beyond, Some(Reach::AtMost(most))) => text + &format!(" ({most:.2} there is)"),
        (Verdict::NotMet, Some(Reach::ByHand(ratio))) => text + &format!(" (by hand {ratio:.2})"),
        _ => text,
    }
}

/// The goals that are not a matter of time.
pub fn instructions() -> String {
    const GOALS: [f64; 2] = [200.0, 26.0];
    let mut text = String::from(
        "Instructions in user space, as `cargo xtask instructions` last recorded them:\n\n\
         | path | one operation by itself, goal 200 | one more of a batch, goal 26 |\n|---|---|---|\n",
    );
    for line in include_str!("../../instructions.tsv").lines().skip(1) {
        let mut words = line.split('\t');
        let _ = write!(text, "| {} |", words.next().unwrap_or_default());
        for (word, goal) in words.zip(GOALS) {
            let is_met = word.parse().is_ok_and(|count: f64| count <= goal);
            let verdict = if is_met {
                Verdict::Met
            } else {
                Verdict::NotMet
            };
            let _ = write!(text, " {word}: {} |", verdict.name());
        }
        text.push('\n');
    }
    text + "\nThat no caller is held over 8 kernel entries is not measured: it is what `MAX_PASSES` in \
            `src/setup/mod.rs` says.\n"
}
