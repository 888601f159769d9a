//! What is right and what is wrong with the runs on one kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use super::apt::Kernel;
use super::boot::{Mode, Said, SaidRun};
use super::expected::{Expected, Run, Version};
use crate::NOT_RUN;

pub struct Verdict {
    pub version: Version,
    /// As `uname -r` says it; none if the kernel was not run.
    pub release: Option<String>,
    pub passed: usize,
    /// Names and reasons.
    pub skipped: Vec<String>,
    pub modes: Vec<Mode>,
    failed: Vec<String>,
    seconds: u64,
}

impl Verdict {
    /// A kernel that is not here.
    pub fn not_run(version: Version, why: String) -> Self {
        Self {
            version,
            release: None,
            passed: 0,
            skipped: vec![format!("{version}: {why}")],
            modes: Vec::new(),
            failed: Vec::new(),
            seconds: 0,
        }
    }

    /// `listed` has the names of each run's tests.
    pub fn of(
        kernel: &Kernel,
        expected: &Expected,
        listed: &[(Run, Vec<String>)],
        said: Said,
        deaths: &[String],
    ) -> Self {
        let version = kernel.version;
        let is_dead = said.death().is_some();
        let left_out = expected.left_out(version);
        let mut verdict = Self {
            version,
            release: Some(kernel.release.clone()),
            passed: 0,
            skipped: left_out
                .map(|run| format!("{}: runs from Linux {} on", run.name, run.since))
                .collect(),
            modes: said.modes,
            failed: Vec::new(),
            seconds: 0,
        };
        if is_dead {
            let deaths = deaths.iter().map(|why| format!("died {why}"));
            verdict.failed.extend(deaths);
        }
        for (run, tests) in listed {
            match said.runs.iter().find(|said| said.name == run.name) {
                Some(said) => verdict.judge(run, tests, said, expected),
                None => verdict
                    .failed
                    .push(format!("{}: not run to its end", run.name)),
            }
        }
        verdict
    }

    fn judge(&mut self, run: &Run, tests: &[String], said: &SaidRun, expected: &Expected) {
        let name = &run.name;
        if said.status != "exit=0" {
            self.failed.push(format!("{name}: {}", said.status));
        }
        let outcomes = outcomes(&said.output);
        for test in tests {
            match outcomes.get(test.as_str()) {
                Some(&"ok") => self.passed += 1,
                // They have a run of their own, or are nothing for a machine this slow.
                Some(outcome) if outcome.starts_with("ignored") => {}
                Some(outcome) => self.failed.push(format!("{name}: {test}: {outcome}")),
                None => self.failed.push(format!("{name}: {test}: no answer")),
            }
        }
        let skipped: BTreeSet<&String> = said.skipped.iter().collect();
        let wanted = expected.skips(self.version, name);
        let wanted: BTreeSet<&String> = wanted.iter().collect();
        for line in skipped.difference(&wanted) {
            self.failed.push(format!("{name}: unexpected skip: {line}"));
        }
        for line in wanted.difference(&skipped) {
            self.failed.push(format!("{name}: unexpected pass: {line}"));
        }
        let lines = skipped.iter().map(|line| format!("{name}: {line}"));
        self.skipped.extend(lines);
    }

    pub fn show(&mut self, elapsed: Duration) {
        self.seconds = elapsed.as_secs();
        for line in &self.skipped {
            println!("skipped: {line}");
        }
        for line in &self.failed {
            println!("FAILED: {line}");
        }
    }
}

/// The last word of each test.
fn outcomes(output: &[String]) -> BTreeMap<&str, &str> {
    let tests = output.iter().filter_map(|line| line.strip_prefix("test "));
    let pairs = tests.filter_map(|line| line.split_once(" ... "));
    pairs
        .map(|(name, outcome)| (name.trim_end_matches(" - should panic"), outcome))
        .collect()
}

/// One line for each kernel.
pub fn table(verdicts: &[Verdict]) -> String {
    let mut table = format!(
        "{:<8}{:<30}{:>8}{:>9}{:>8}{:>9}",
        "kernel", "release", "passed", "skipped", "failed", "seconds"
    );
    for verdict in verdicts {
        table += &format!(
            "\n{:<8}{:<30}{:>8}{:>9}{:>8}{:>9}",
            verdict.version.to_string(),
            verdict.release.as_deref().unwrap_or("not run"),
            verdict.passed,
            verdict.skipped.len(),
            verdict.failed.len(),
            verdict.seconds
        );
    }
    table
}

pub fn exit_code(verdicts: &[Verdict]) -> ExitCode {
    if verdicts.iter().any(|verdict| !verdict.failed.is_empty()) {
        ExitCode::FAILURE
    } else if verdicts.iter().any(|verdict| verdict.release.is_none()) {
        ExitCode::from(NOT_RUN)
    } else {
        ExitCode::SUCCESS
    }
}
