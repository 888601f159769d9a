//! `cargo xtask bench`: Ringway and what its users would pick instead, side by side.

use std::process::{Command, ExitCode};

use crate::args::Args;
use crate::{Answer, cargo, run, target};

/// Rounds go on for so many seconds: with the build and the last round, the whole stays
/// within 12 minutes, and the quick run, built before, within 60 seconds.
const FULL: &str = "510";
const QUICK: &str = "30";

pub fn bench(mut args: Args) -> Answer {
    let is_quick = args.flag("--quick");
    args.none()?;
    run(&mut cargo("build --profile bench-bin -p bench --bin bench"))?;
    let mut bench = Command::new(target().join("bench-bin/bench"));
    bench.arg("--csv").arg(target().join("bench.csv"));
    match is_quick {
        true => bench.args(["--quick", "--seconds", QUICK]),
        false => bench.args(["--seconds", FULL, "--report", "bench/REPORT.md"]),
    };
    if !is_quick {
        bench.args(["--readme", "README.md"]);
    }
    run(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}
