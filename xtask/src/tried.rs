//! `cargo xtask abi --tried`: what the tests have tried on this kernel.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::ExitCode;

use crate::abi::Facts;
use crate::{Answer, cargo, run, target};

/// The test binaries that say what they try.
const TESTS: [&str; 4] = ["prep", "register", "ring", "setup"];

/// What tests have said of one name.
#[derive(Default)]
struct Said {
    tried: usize,
    skipped: Option<String>,
}

impl Said {
    /// The result, and what there is to say of it. Tried by one test is tried.
    fn show(&self) -> (&'static str, String) {
        match (self.tried, &self.skipped) {
            (0, None) => ("neither", String::new()),
            (0, Some(reason)) => ("skipped", reason.clone()),
            (tests, _) => ("tried", tests.to_string()),
        }
    }
}

pub fn tried() -> Answer {
    let file = target().join("tried.tsv");
    let failed = |error| format!("{}: {error}", file.display());
    File::create(&file).map_err(failed)?;
    let mut tests = cargo("test --no-fail-fast --features sim");
    for name in TESTS {
        tests.args(["--test", name]);
    }
    // The table is of use also when a test has failed.
    let tested = run(tests.env("RINGWAY_TRIED", &file));

    let mut said = read(&fs::read_to_string(&file).map_err(failed)?)?;
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    let mut neither = Vec::new();
    println!("\n{:<28}{:<9}tests, or why not", "name", "result");
    for name in names()? {
        let (result, more) = said.remove(&name).unwrap_or_default().show();
        println!("{name:<28}{result:<9}{more}");
        *counts.entry(result).or_default() += 1;
        if result == "neither" {
            neither.push(name);
        }
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(result, n)| format!("{n} {result}"))
        .collect();
    println!("{}", counts.join(", "));
    tested?;
    if let Some(name) = said.keys().next() {
        return Err(format!("a test says {name}, which is none of these"));
    }
    match neither.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(format!("neither tried nor skipped: {}", neither.join(", "))),
    }
}

/// All that there is to try: the header's names without `IORING_`.
fn names() -> Result<Vec<String>, String> {
    let facts = Facts::read()?;
    let mut names = Vec::new();
    for name in facts.opcodes()? {
        names.push(format!("OP_{name}"));
    }
    for name in facts.registrations()? {
        names.push(match name.starts_with("UNREGISTER_") {
            true => name,
            false => format!("REGISTER_{name}"),
        });
    }
    for name in facts.family("IORING_ENTER_") {
        names.push(format!("ENTER_{name}"));
    }
    Ok(names)
}

/// The lines that `tests/child` writes: tried or skipped, the name, the reason.
fn read(text: &str) -> Result<BTreeMap<String, Said>, String> {
    let mut all: BTreeMap<String, Said> = BTreeMap::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["tried", name, _] => all.entry(name.into()).or_default().tried += 1,
            ["skipped", name, reason] => {
                all.entry(name.into()).or_default().skipped = Some(reason.into());
            }
            _ => return Err(format!("a test says `{line}`")),
        }
    }
    Ok(all)
}
