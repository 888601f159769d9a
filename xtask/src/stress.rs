//! `cargo xtask stress`: the long tests on the real kernel.

use std::process::ExitCode;

use crate::args::Args;
use crate::{Answer, NOT_RUN, Skips, cargo, output, run};

pub fn stress(mut args: Args) -> Answer {
    let runs: u64 = args.value("--runs")?.unwrap_or(1000);
    let (files, name, profiles): (&[_], _, &[_]) = match args.flag("--wrap") {
        true => (&["wrap"], "soak", &["release"]),
        false => (&["ring", "exactly_once"], "stress", &["test", "release"]),
    };
    args.none()?;
    let skips = Skips::new()?;
    for profile in profiles {
        for file in files {
            let test =
                format!("test --profile {profile} --features sim --test {file} -- --ignored");
            // A filter that fits nothing would pass.
            let list = output(&mut cargo(&format!("{test} --list {name}")))?;
            if !list.lines().any(|line| line.ends_with(": test")) {
                return Err(format!("no ignored test like `{name}` in tests/{file}"));
            }
            let mut test = skips.told(cargo(&format!("{test} --nocapture {name}")));
            run(test.env("RINGWAY_RUNS", runs.to_string()))?;
        }
    }
    let code = if skips.print()? == 0 { 0 } else { NOT_RUN };
    Ok(ExitCode::from(code))
}
