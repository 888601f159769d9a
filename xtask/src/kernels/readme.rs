//! The README's table of kernels, from a run of all of them.

use std::fs;

use super::verdict::Verdict;

const README: &str = "README.md";
const BEGIN: &str = "<!-- from here on by `cargo xtask kernels --readme` -->\n";
const END: &str = "<!-- up to here -->\n";

/// Which rings work on which kernel.
fn table(verdicts: &[Verdict]) -> Result<String, String> {
    let modes = verdicts.iter().find(|verdict| !verdict.modes.is_empty());
    let modes = modes.ok_or("no kernel has said which rings it makes")?;
    let mut rows = vec![
        row("Linux", "from", verdicts, |verdict| {
            verdict.version.to_string()
        }),
        row("---", "---", verdicts, |_| "---".into()),
    ];
    for mode in &modes.modes {
        rows.push(row(&mode.name, &mode.since, verdicts, |verdict| {
            let found = verdict.modes.iter().find(|other| other.name == mode.name);
            let works = found.map_or("?", |mode| if mode.works { "yes" } else { "" });
            works.into()
        }));
    }
    let release = |verdict: &Verdict| verdict.release.clone().unwrap_or_default();
    rows.push(row("tested as", "", verdicts, release));
    Ok(rows.concat())
}

fn row(name: &str, since: &str, verdicts: &[Verdict], cell: impl Fn(&Verdict) -> String) -> String {
    let cells: Vec<String> = verdicts.iter().map(cell).collect();
    format!("| {name} | {since} | {} |\n", cells.join(" | "))
}

/// The README as it is before, in and after the table.
fn parts(readme: &str) -> Result<(&str, &str, &str), String> {
    let (before, rest) = readme
        .split_once(BEGIN)
        .ok_or_else(|| format!("{README} has no line {BEGIN}"))?;
    let (table, after) = rest
        .split_once(END)
        .ok_or_else(|| format!("{README} has no line {END}"))?;
    Ok((before, table, after))
}

fn read() -> Result<String, String> {
    fs::read_to_string(README).map_err(|error| format!("{README}: {error}"))
}

pub fn write(verdicts: &[Verdict]) -> Result<(), String> {
    let readme = read()?;
    let (before, _, after) = parts(&readme)?;
    let text = [before, BEGIN, &table(verdicts)?, END, after].concat();
    fs::write(README, text).map_err(|error| format!("{README}: {error}"))
}

/// That the README says the same of the rings; releases come and go.
pub fn check(verdicts: &[Verdict]) -> Result<(), String> {
    let readme = read()?;
    let (_, told, _) = parts(&readme)?;
    let table = table(verdicts)?;
    let rings = |table: &str| -> Vec<String> {
        let rows = table
            .lines()
            .take_while(|row| !row.starts_with("| tested as "));
        rows.map(String::from).collect()
    };
    match rings(told) == rings(&table) {
        true => Ok(()),
        false => Err(format!(
            "{README} says otherwise: cargo xtask kernels --readme\n{table}"
        )),
    }
}
