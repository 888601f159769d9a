//! `cargo xtask instructions`: what an operation costs in user space.

use std::process::{Command, ExitCode};

use crate::args::Args;
use crate::{Answer, NOT_RUN, cargo, output, run, target};

/// Both lengths of a run; the difference is free of what a run costs once.
const ROUNDS: [u64; 2] = [1_000, 3_000];

pub fn instructions(args: Args) -> Answer {
    args.none()?;
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: instructions: valgrind is not installed (apt-get install valgrind)");
        return Ok(ExitCode::from(NOT_RUN));
    }
    run(&mut cargo("build --profile bench-bin -p bench"))?;
    println!("path    single  marginal in a batch of 32");
    for path in ["claim", "any", "local"] {
        let single = per_round(path, 1)?;
        let marginal = per_round(path, 33)? - per_round(path, 32)?;
        println!("{path:<6}{single:>8.1}{marginal:>10.1}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Instructions of one batch: push, submit, reap.
fn per_round(path: &str, batch: u64) -> Result<f64, String> {
    let [short, long] = ROUNDS;
    let difference = count(path, batch, long)? - count(path, batch, short)?;
    Ok(difference as f64 / (long - short) as f64)
}

fn count(path: &str, batch: u64, rounds: u64) -> Result<u64, String> {
    let log = target().join("callgrind.log");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(target().join("bench-bin/instructions"))
        .args([path, &batch.to_string(), &rounds.to_string()]);
    output(&mut valgrind)?;
    let log = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
    let collected = log.split("Collected : ").nth(1);
    let number = collected.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("callgrind counted nothing:\n{log}"))
}
