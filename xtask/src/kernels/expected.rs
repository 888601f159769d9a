//! What is run, and what is skipped on which kernel: the tables in `tests/kernels/`.

use std::fmt;
use std::fs;
use std::str::FromStr;

const RUNS: &str = "tests/kernels/runs.tsv";
const SKIPS: &str = "tests/kernels/skips.tsv";

/// A series of kernels, such as 6.12.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('.');
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (major, minor) = numbers.ok_or_else(|| format!("`{text}` is no kernel like 6.12"))?;
        Ok(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// One program that the guest starts.
#[derive(Clone)]
pub struct Run {
    pub name: String,
    pub since: Version,
    pub seconds: String,
    /// The test binary's name.
    pub program: String,
    pub arguments: Vec<String>,
}

/// What one test says that it skips, from one version on and below another.
struct Skip {
    run: String,
    from: Option<Version>,
    below: Option<Version>,
    name: String,
    reason: String,
}

pub struct Expected {
    runs: Vec<Run>,
    skips: Vec<Skip>,
}

impl Expected {
    /// The tables; of the runs that are asked for, with commas between the names.
    pub fn read(only: Option<&str>) -> Result<Self, String> {
        let mut runs = rows(RUNS, Run::parse)?;
        if let Some(only) = only {
            let names: Vec<&str> = only.split(',').collect();
            let has = |name: &str| runs.iter().any(|run| run.name == name);
            if let Some(name) = names.iter().find(|name| !has(name)) {
                return Err(format!("{RUNS} has no run {name}"));
            }
            runs.retain(|run| names.contains(&run.name.as_str()));
        }
        let skips = rows(SKIPS, Skip::parse)?;
        Ok(Self { runs, skips })
    }

    pub fn all(&self) -> &[Run] {
        &self.runs
    }

    /// What is run on this kernel.
    pub fn runs(&self, version: Version) -> Vec<Run> {
        let fits = |run: &&Run| run.since <= version;
        self.runs.iter().filter(fits).cloned().collect()
    }

    /// What is not run on this kernel.
    pub fn left_out(&self, version: Version) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.since > version)
    }

    /// The lines with which a run's tests must name what they skip.
    pub fn skips(&self, version: Version, run: &str) -> Vec<String> {
        let fits = |skip: &&Skip| {
            skip.run == run
                && skip.from.is_none_or(|from| version >= from)
                && skip.below.is_none_or(|below| version < below)
        };
        let skips = self.skips.iter().filter(fits);
        let mut lines: Vec<String> = skips
            .map(|skip| format!("{}: {}", skip.name, skip.reason))
            .collect();
        lines.sort();
        lines
    }
}

impl Run {
    fn parse(columns: &[&str]) -> Result<Self, String> {
        let [name, since, seconds, program, arguments @ ..] = columns else {
            return Err("wants NAME, SINCE, SECONDS, PROGRAM, arguments".into());
        };
        Ok(Self {
            name: name.to_string(),
            since: since.parse()?,
            seconds: seconds.to_string(),
            program: program.to_string(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
        })
    }
}

impl Skip {
    fn parse(columns: &[&str]) -> Result<Self, String> {
        let [run, kernels, name, reason] = columns else {
            return Err("wants RUN, FROM..BELOW, NAME, REASON".into());
        };
        let (from, below) = kernels.split_once("..").ok_or("wants FROM..BELOW")?;
        let version = |text: &str| match text {
            "" => Ok(None),
            text => text.parse::<Version>().map(Some),
        };
        let (from, below) = (version(from)?, version(below)?);
        // What came with a kernel may be in older ones too, but is not missing later.
        let came = reason.split("came with Linux ").nth(1);
        if let Some(came) = came
            && below.is_none_or(|below| below > came.parse().unwrap_or(below))
        {
            return Err(format!("skipped on Linux {came} or later"));
        }
        Ok(Self {
            run: run.to_string(),
            from,
            below,
            name: name.to_string(),
            reason: reason.to_string(),
        })
    }
}

/// The rows of a table: lines with tabs between the columns, `#` for comments.
fn rows<T>(file: &str, parse: fn(&[&str]) -> Result<T, String>) -> Result<Vec<T>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            parse(&columns).map_err(|why| format!("{file}: {why}: `{line}`"))
        })
        .collect()
}
