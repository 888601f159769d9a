//! `cargo xtask loom`: each model in a process of its own.
//!
//! The package `loom-tests` is the harness. Its `--list` prints `MODEL<TAB>EDGE,EDGE`
//! lines and its `--edges` prints `EDGE<TAB>WHAT` lines. Its `--model MODEL`, with or
//! without `RINGWAY_WEAKEN=EDGE`, exits with 0 after printing the line
//! `ok MODEL executions=N witnesses=K seconds=S`, with 2 if it knows no such model or
//! edge; anything else means that the model failed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use crate::args::Args;
use crate::{Answer, output, run, target};

/// For one model.
pub const LIMIT: Duration = Duration::from_secs(600);

pub fn loom(mut args: Args) -> Answer {
    let jobs = args.value("--jobs")?.unwrap_or_else(cpus);
    let limit = args.value("--limit")?.map_or(LIMIT, Duration::from_secs);
    let filter = args.last()?.unwrap_or_default();
    let harness = Harness::build()?;
    let mut models = harness.models()?;
    models.retain(|model| model.name.contains(&filter));
    harness.check(&models, jobs, limit)?;
    Ok(ExitCode::SUCCESS)
}

/// `cargo` for the loom build, which has a target folder of its own.
pub fn cargo(line: &str) -> Command {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let mut command = crate::cargo(line);
    command.env(
        "RUSTFLAGS",
        format!("{flags} --cfg ringway_loom").trim_start(),
    );
    command.env("CARGO_TARGET_DIR", target().join("loom"));
    command
}

pub fn cpus() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get())
}

/// One model and the edges it is aimed at.
pub struct Model {
    pub name: String,
    pub aims: Vec<String>,
}

pub enum Verdict {
    Passed(Search),
    /// With what the model printed.
    Failed(String),
    TimedOut,
}

/// What a passing model has explored: executions, witnesses, seconds.
pub struct Search(u64, u64, f64);

/// The built `loom-tests`.
pub struct Harness {
    program: PathBuf,
    logs: PathBuf,
}

impl Harness {
    pub fn build() -> Result<Self, String> {
        run(&mut cargo("build --profile loom -p loom-tests"))?;
        let folder = target().join("loom");
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        Ok(Self {
            program: folder.join("loom/loom-tests"),
            logs,
        })
    }

    pub fn models(&self) -> Result<Vec<Model>, String> {
        let model = |(name, edges): (String, String)| {
            let aims = edges.split(',').map(String::from);
            let aims = aims.filter(|edge| !edge.is_empty()).collect();
            Model { name, aims }
        };
        Ok(self.rows("--list")?.into_iter().map(model).collect())
    }

    /// The two columns of a list.
    pub fn rows(&self, option: &str) -> Result<Vec<(String, String)>, String> {
        let text = output(self.command(None).arg(option))?;
        let rows = text.lines().map(|line| match line.split_once('\t') {
            Some((name, rest)) => Ok((name.into(), rest.into())),
            None => Err(format!("loom-tests {option}: no tab in `{line}`")),
        });
        rows.collect()
    }

    /// Runs the models as they are and prints their table; `Err` unless all pass.
    pub fn check(&self, models: &[Model], jobs: usize, limit: Duration) -> Result<(), String> {
        let count = models.len();
        let Some(width) = models.iter().map(|model| model.name.len()).max() else {
            return Err("there is no such model".into());
        };
        let width = width.max("model".len());
        let heading = "  executions  witnesses   seconds";
        println!("{:<width$} {heading}", "model");
        let answers = parallel(jobs, models, |Model { name, .. }| {
            let why = match self.run(name, None, limit) {
                Ok(Verdict::Passed(Search(executions, witnesses, seconds))) => {
                    println!("{name:<width$} {executions:>12} {witnesses:>10} {seconds:>9.2}");
                    return Ok(executions);
                }
                Ok(Verdict::Failed(log)) => {
                    let lines: Vec<&str> = log.lines().collect();
                    lines[lines.len().saturating_sub(15)..].join("\n")
                }
                Ok(Verdict::TimedOut) => format!("not done after {} s", limit.as_secs()),
                Err(why) => why,
            };
            println!("{name:<width$}       FAILED");
            Err(format!("---- {name}\n{why}"))
        });
        let (passed, failed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        if failed.is_empty() {
            let total: u64 = passed.into_iter().flatten().sum();
            println!("loom: {count} models, {total} executions, all passed");
            return Ok(());
        }
        let bad = failed.len();
        failed
            .into_iter()
            .filter_map(Result::err)
            .for_each(|why| eprintln!("{why}"));
        let logs = self.logs.display();
        Err(format!("loom: {bad} of {count} models failed; see {logs}"))
    }

    /// Runs one model, with an edge weakened or not. `Err` is no verdict on the model.
    pub fn run(
        &self,
        model: &str,
        weaken: Option<&str>,
        limit: Duration,
    ) -> Result<Verdict, String> {
        let name = weaken.map_or(model.into(), |edge| format!("{model}-without-{edge}"));
        let log = self.logs.join(name + ".log");
        let mut command = self.command(weaken);
        let ended = wait(command.args(["--model", model]), &log, limit);
        let Some(status) = ended.map_err(|error| format!("{model}: {error}"))? else {
            return Ok(Verdict::TimedOut);
        };
        let text = fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        match (status.code(), status.signal()) {
            (Some(0), _) => search(model, &text)
                .map(Verdict::Passed)
                .ok_or_else(|| format!("{model}: exit code 0 without its `ok` line")),
            (Some(2), _) => Err(format!("{model}: {}", text.trim())),
            // No model sends SIGKILL: the machine ran out of memory.
            (_, Some(9)) => Err(format!("{model}: killed from outside")),
            // loom gave up on an execution: it has found nothing.
            _ if text.contains("exceeded maximum number of branches") => {
                Err(format!("{model}: too many branches for loom"))
            }
            _ => Ok(Verdict::Failed(text)),
        }
    }

    /// The environment must neither shorten loom's search nor weaken anything by itself.
    fn command(&self, weaken: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        for (key, _) in env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("LOOM_") || name == "RINGWAY_WEAKEN" {
                command.env_remove(&key);
            }
        }
        // A backtrace would bury the message.
        command.env("RUST_BACKTRACE", "0");
        command.envs(weaken.map(|edge| ("RINGWAY_WEAKEN", edge)));
        command
    }
}

/// Runs the command into the file `log`; past the limit it is killed: `None`.
fn wait(command: &mut Command, log: &PathBuf, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let log = File::create(log)?;
    let mut child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait().map(|_| None)
}

/// Reads `ok MODEL executions=N witnesses=K seconds=S`; to execute nothing is not ok.
fn search(model: &str, text: &str) -> Option<Search> {
    let line = text.lines().find_map(|line| line.strip_prefix("ok "))?;
    let mut words = line.strip_prefix(model)?.split_whitespace();
    let executions = words.next()?.strip_prefix("executions=")?.parse().ok()?;
    let witnesses = words.next()?.strip_prefix("witnesses=")?.parse().ok()?;
    let seconds = words.next()?.strip_prefix("seconds=")?.parse().ok()?;
    (executions > 0).then_some(Search(executions, witnesses, seconds))
}

/// `f` of every item on `jobs` threads; the answers in the items' order.
pub fn parallel<T: Sync, R: Send>(jobs: usize, items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(items.iter().enumerate());
    let answers = Mutex::new(BTreeMap::new());
    let take = || next.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((at, item)) = take() {
                    let answer = f(item);
                    answers.lock().unwrap().insert(at, answer);
                }
            });
        }
    });
    answers.into_inner().unwrap().into_values().collect()
}
