//! `cargo xtask fuzz`: the targets of `fuzz/`, on nightly.

use std::process::ExitCode;

use crate::args::Args;
use crate::{Answer, NOT_RUN, cargo, output, run};

pub fn fuzz(mut args: Args) -> Answer {
    let seconds: u64 = args.value("--seconds")?.unwrap_or(60);
    let chosen = args.last()?;
    let works = |line| cargo(line).output().is_ok_and(|out| out.status.success());
    let missing = if !works("+nightly --version") {
        "no nightly toolchain (rustup toolchain install nightly)"
    } else if !works("+nightly fuzz --version") {
        "cargo-fuzz is not installed (cargo install cargo-fuzz)"
    } else {
        ""
    };
    if !missing.is_empty() {
        println!("skipped: fuzz: {missing}");
        return Ok(ExitCode::from(NOT_RUN));
    }
    let list = output(&mut cargo("+nightly fuzz list"))?;
    let mut targets: Vec<&str> = list.lines().collect();
    targets.retain(|target| chosen.as_ref().is_none_or(|name| name == target));
    if targets.is_empty() {
        return Err(format!("no such target; there are:\n{list}"));
    }
    for target in targets {
        let line = format!("+nightly fuzz run {target} -- -max_total_time={seconds}");
        run(&mut cargo(&line))?;
    }
    Ok(ExitCode::SUCCESS)
}
