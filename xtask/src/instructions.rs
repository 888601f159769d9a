//! `cargo xtask instructions`: what an operation costs in user space.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

use crate::args::Args;
use crate::{Answer, NOT_RUN, cargo, loom, output, run, target};

/// Both lengths of a run; the difference is free of what a run costs once.
const ROUNDS: [u64; 2] = [1_000, 3_000];
/// Batches whose difference is what one more operation costs. Not by one: loops are unrolled, and
/// an odd operation has a way of its own.
const BATCHES: [u64; 2] = [32, 64];
/// What was measured last and found good: a path, an operation by itself, one more of a batch.
const RECORDED: &str = "bench/instructions.tsv";
/// A compiler's choice may cost so much.
const TOLERANCE: f64 = 1.0;

/// Instructions of one operation.
#[derive(Clone, Copy)]
struct Cost {
    single: f64,
    marginal: f64,
}

pub fn instructions(mut args: Args) -> Answer {
    let is_record = args.flag("--record");
    args.none()?;
    if let Some(why) = missing() {
        println!("skipped: instructions: {why}");
        return Ok(ExitCode::from(NOT_RUN));
    }
    run(&mut cargo(
        "build --profile bench-bin -p bench --bin instructions",
    ))?;
    let paths = output(Command::new(program()).arg("--list"))?;
    let paths: Vec<&str> = paths.lines().collect();
    let costs = costs(&paths)?;
    let recorded = match is_record {
        true => record(&paths, &costs)?,
        false => fs::read_to_string(RECORDED).map_err(|error| format!("{RECORDED}: {error}"))?,
    };
    println!("path            single  recorded    one of a batch  recorded");
    let mut above = Vec::new();
    for (path, cost) in paths.iter().zip(&costs) {
        let before = find(&recorded, path)?;
        let show = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
        println!(
            "{path:<14}{:>8.1}{:>10}{:>18.1}{:>10}",
            cost.single,
            show(before.map(|cost| cost.single)),
            cost.marginal,
            show(before.map(|cost| cost.marginal)),
        );
        let is_above = |before: Cost| {
            cost.single > before.single + TOLERANCE || cost.marginal > before.marginal + TOLERANCE
        };
        if before.is_some_and(is_above) {
            above.push(*path);
        }
    }
    // A path that is recorded and no longer counted would pass.
    let lost = recorded
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').next());
    let lost: Vec<&str> = lost.filter(|path| !paths.contains(path)).collect();
    match (&above[..], &lost[..]) {
        ([], []) => Ok(ExitCode::SUCCESS),
        ([], lost) => Err(format!("recorded, and not counted: {}", lost.join(", "))),
        (above, _) => Err(format!(
            "more than {TOLERANCE} instruction above what is recorded: {}; `cargo xtask \
             instructions --record` if it must be",
            above.join(", ")
        )),
    }
}

/// Why nothing can be counted, after an attempt to install what is not there.
fn missing() -> Option<String> {
    let is_there = || Command::new("valgrind").arg("--version").output().is_ok();
    if is_there() {
        return None;
    }
    let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_root && Command::new("apt-get").arg("--version").output().is_ok() {
        println!("valgrind is not installed: installing it");
        let mut update = Command::new("apt-get");
        let mut install = Command::new("apt-get");
        install.args(["install", "--yes", "--no-install-recommends", "valgrind"]);
        match run(update.arg("update")).and_then(|()| run(&mut install)) {
            Ok(()) if is_there() => return None,
            Ok(()) => return Some("valgrind is not found after it was installed".into()),
            Err(why) => return Some(format!("valgrind is not installed, and {why}")),
        }
    }
    Some("valgrind is not installed (apt-get install valgrind)".into())
}

fn program() -> std::path::PathBuf {
    target().join("bench-bin/instructions")
}

/// Ringway's own paths, as they are now.
fn record(paths: &[&str], costs: &[Cost]) -> Result<String, String> {
    let mut text = String::from("path\tsingle\tmarginal\n");
    for (path, cost) in paths.iter().zip(costs) {
        if ["local", "claim", "any"].contains(path) {
            text += &format!("{path}\t{:.1}\t{:.1}\n", cost.single, cost.marginal);
        }
    }
    fs::write(RECORDED, &text).map_err(|error| format!("{RECORDED}: {error}"))?;
    Ok(text)
}

fn find(recorded: &str, path: &str) -> Result<Option<Cost>, String> {
    let lines = recorded
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let Some(line) = lines.into_iter().find(|line| line[0] == path) else {
        return Ok(None);
    };
    let numbers: Vec<f64> = line[1..]
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [single, marginal] => Ok(Some(Cost { single, marginal })),
        _ => Err(format!("{RECORDED}: not two numbers for {path}")),
    }
}

/// Of all paths, as many at a time as there are CPUs: nothing here is a time.
fn costs(paths: &[&str]) -> Result<Vec<Cost>, String> {
    let share = paths.len().div_ceil(loom::cpus());
    let costs: Vec<Result<Vec<Cost>, String>> = thread::scope(|threads| {
        let shares = paths.chunks(share.max(1));
        let shares =
            shares.map(|paths| threads.spawn(|| paths.iter().map(|path| cost(path)).collect()));
        let shares: Vec<_> = shares.collect();
        shares
            .into_iter()
            .map(|share| share.join().expect("no panic"))
            .collect()
    });
    let costs: Result<Vec<Vec<Cost>>, String> = costs.into_iter().collect();
    Ok(costs?.concat())
}

fn cost(path: &str) -> Result<Cost, String> {
    let single = per_round(path, 1)?;
    let [small, large] = BATCHES;
    let difference = per_round(path, large)? - per_round(path, small)?;
    let marginal = difference / (large - small) as f64;
    Ok(Cost { single, marginal })
}

/// Instructions of one batch: push, submit, reap.
fn per_round(path: &str, batch: u64) -> Result<f64, String> {
    let [short, long] = ROUNDS;
    let difference = count(path, batch, long)? - count(path, batch, short)?;
    Ok(difference as f64 / (long - short) as f64)
}

fn count(path: &str, batch: u64, rounds: u64) -> Result<u64, String> {
    let log = target().join(format!("callgrind-{path}.log"));
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(program())
        .args([path, &batch.to_string(), &rounds.to_string()]);
    output(&mut valgrind)?;
    collected(&log)
}

fn collected(log: &Path) -> Result<u64, String> {
    let log = fs::read_to_string(log).map_err(|error| error.to_string())?;
    let collected = log.split("Collected : ").nth(1);
    let number = collected.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("callgrind counted nothing:\n{log}"))
}
