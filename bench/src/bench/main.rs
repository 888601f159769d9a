//! What `cargo xtask bench` runs.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bench::machine::{self, Facts};
use bench::report::Report;
use bench::{cells, peers, rounds};
use clap::Parser;

/// Ringway and what its users would pick instead, side by side.
#[derive(Parser)]
struct Args {
    /// Only what the line of ratios is made of
    #[arg(long)]
    quick: bool,
    /// How long to go on with rounds
    #[arg(long, default_value_t = 480)]
    seconds: u64,
    /// Write the report here, and its plots beside it
    #[arg(long)]
    report: Option<PathBuf>,
    /// Put the short table into this file, between its marks
    #[arg(long)]
    readme: Option<PathBuf>,
    /// Write every sample here
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Only these workloads, by name
    #[arg(long, value_delimiter = ',')]
    workload: Vec<String>,
    /// Only these numbers of threads
    #[arg(long, value_delimiter = ',')]
    threads: Vec<u32>,
    /// Only these sizes of batches
    #[arg(long, value_delimiter = ',')]
    batch: Vec<u32>,
    /// Only these peers, by name
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("error: {wrong} windows came out wrong");
            ExitCode::FAILURE
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The number of wrong windows.
fn run(args: &Args) -> Result<usize, String> {
    if let Err(error) = ringway::Ring::builder(8).build() {
        return Err(format!("no io_uring: {error}"));
    }
    let mut cells = if args.quick {
        cells::quick()
    } else {
        cells::full()
    };
    let is_named =
        |name: &str, names: &[String]| names.is_empty() || names.iter().any(|n| n == name);
    let is_one = |number: u32, of: &[u32]| of.is_empty() || of.contains(&number);
    cells.retain(|cell| {
        is_named(cell.workload.name(), &args.workload)
            && is_one(cell.threads, &args.threads)
            && is_one(cell.batch, &args.batch)
    });
    let mut peers = peers::all();
    peers.retain(|peer| match args.peers.is_empty() {
        true => !args.quick || peer.stands,
        false => is_named(peer.name, &args.peers),
    });
    if cells.is_empty() || peers.is_empty() {
        return Err("nothing fits these names and numbers".into());
    }
    let missing = peers::skipped();
    let before = Facts::now(machine::go_first());
    let results = rounds::run(&cells, &peers, Duration::from_secs(args.seconds));
    let facts = before.until_now();
    let report = Report {
        results: &results,
        peers: &peers,
        cells: &cells,
        missing: &missing,
        facts: &facts,
    };
    if let Some(path) = &args.csv {
        let written = fs::write(path, results.csv());
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match &args.report {
        Some(path) => report.write(path)?,
        None => print!("{}", report.tables()),
    }
    if let Some(path) = &args.readme {
        report.fill_in(path)?;
    }
    let skipped = report.skipped();
    skipped.iter().for_each(|line| println!("skipped: {line}"));
    for (record, wrong) in results.wrong() {
        let (cell, peer) = (record.cell, record.peer);
        let (workload, each) = (cell.workload.name(), cell.workload.each());
        let (threads, batch) = (cell.threads, cell.batch);
        println!("WRONG: {peer}, {workload}, {threads} threads, {each} {batch}: {wrong}");
    }
    println!(
        "{} windows, {} dropped, {} wrong",
        results.records.len(),
        results.dropped(),
        results.wrong().count()
    );
    println!("{}", report.line());
    Ok(results.wrong().count())
}
