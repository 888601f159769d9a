//! `cargo xtask weaken`: every edge is one that some model needs.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::Answer;
use crate::args::Args;
use crate::loom::{self, Harness, Model, Verdict};

/// Edges that no model needs, each with its reason: `EDGE<TAB>reason<TAB>tool that sees it`.
const SURVIVORS: &str = "loom-tests/survivors.tsv";

/// Time for one model with one edge weakened.
const LIMIT: Duration = Duration::from_secs(300);

/// As the command with `--quick`: for a run that has just passed the models. Without the control,
/// and listed survivors are tried by the models that are aimed at them, not by all.
pub fn after_models() -> Answer {
    run(loom::cpus(), LIMIT, true, "")
}

pub fn weaken(mut args: Args) -> Answer {
    let jobs = args.value("--jobs")?.unwrap_or_else(loom::cpus);
    let limit = args.value("--limit")?.map_or(LIMIT, Duration::from_secs);
    let is_quick = args.flag("--quick");
    let filter = args.last()?.unwrap_or_default();
    run(jobs, limit, is_quick, &filter)
}

fn run(jobs: usize, limit: Duration, is_quick: bool, filter: &str) -> Answer {
    let listed = survivors()?;
    let harness = Harness::build()?;
    let models = harness.models()?;
    let mut edges = harness.rows("--edges")?;
    let mut named = models
        .iter()
        .flat_map(|model| &model.aims)
        .chain(listed.keys());
    if let Some(name) = named.find(|&name| edges.iter().all(|(edge, _)| edge != name)) {
        let place = format!("a model or {SURVIVORS}");
        return Err(format!("{place} names {name}, which is no edge"));
    }
    edges.retain(|(edge, _)| edge.contains(filter));
    if edges.is_empty() {
        return Err("there is no such edge".into());
    }
    control(&harness, &models, jobs, limit, is_quick)?;

    let e = widest("edge", edges.iter().map(|(edge, _)| edge));
    let w = widest("weakened to", edges.iter().map(|(_, what)| what));
    let m = widest("killed by model", models.iter().map(|model| &model.name));
    let row = |edge: &str, what: &str, model: &str, seconds: &str| {
        println!("{edge:<e$}  {what:<w$}  {model:<m$}  {seconds:>7}");
    };
    row("edge", "weakened to", "killed by model", "seconds");
    let answers = loom::parallel(jobs, &edges, |(edge, what)| {
        let start = Instant::now();
        let by_aim = is_quick && listed.contains_key(edge);
        let answer = killer(&harness, &models, edge, by_aim, limit);
        let word = match &answer {
            Ok(Some(model)) => model,
            Ok(None) => "survives",
            Err(_) => "did not run",
        };
        let seconds = start.elapsed().as_secs_f64();
        row(edge, what, word, &format!("{seconds:.1}"));
        answer
    });

    let (mut killed, mut survive, mut code) = (0, 0, ExitCode::SUCCESS);
    for ((edge, _), answer) in edges.iter().zip(answers) {
        let problem = match (answer, listed.get(edge)) {
            (Ok(Some(model)), reason) => {
                killed += 1;
                reason.map(|_| format!("{model} kills it: take it out of {SURVIVORS}"))
            }
            (Ok(None), Some(reason)) => {
                survive += 1;
                println!("{edge} survives: {reason}");
                None
            }
            (Ok(None), None) => {
                survive += 1;
                Some(format!("survives and is not in {SURVIVORS}"))
            }
            (Err(why), _) => Some(why),
        };
        if let Some(problem) = problem {
            eprintln!("error: {edge}: {problem}");
            code = ExitCode::FAILURE;
        }
    }
    let count = edges.len();
    println!("weaken: {killed} of {count} killed, {survive} survive");
    Ok(code)
}

/// That the harness looks at the switch, and that the models pass without it: else
/// every edge would seem to survive, or to be killed.
fn control(
    harness: &Harness,
    models: &[Model],
    jobs: usize,
    limit: Duration,
    skip: bool,
) -> Result<(), String> {
    let first = models.first().ok_or("there is no model")?;
    let unknown = harness.run(&first.name, Some("no-such-edge"), limit);
    if unknown.is_ok() {
        return Err("loom-tests must exit with 2 when RINGWAY_WEAKEN names no edge".into());
    }
    if skip {
        println!("control: skipped");
        return Ok(());
    }
    println!("control: nothing weakened");
    harness.check(models, jobs, limit)
}

/// The width of a column.
fn widest<'a>(heading: &str, words: impl Iterator<Item = &'a String>) -> usize {
    words.fold(heading.len(), |width, word| width.max(word.len()))
}

/// The model that fails without the edge; those aimed at the edge are tried first, or `by_aim`
/// alone.
fn killer(
    harness: &Harness,
    models: &[Model],
    edge: &String,
    by_aim: bool,
    limit: Duration,
) -> Result<Option<String>, String> {
    let (aimed, others): (Vec<_>, Vec<_>) =
        models.iter().partition(|model| model.aims.contains(edge));
    let only_aimed = by_aim && !aimed.is_empty();
    let others = others.into_iter().filter(|_| !only_aimed);
    for Model { name, .. } in aimed.into_iter().chain(others) {
        match harness.run(name, Some(edge), limit)? {
            Verdict::Passed(_) => {}
            Verdict::Failed(_) => return Ok(Some(name.clone())),
            Verdict::TimedOut => {
                let seconds = limit.as_secs();
                println!("{edge}: {name} is not done after {seconds} s, which is no kill");
            }
        }
    }
    Ok(None)
}

/// The listed survivors, each with its reason and the tool that sees it.
fn survivors() -> Result<BTreeMap<String, String>, String> {
    let text = fs::read_to_string(SURVIVORS).map_err(|error| format!("{SURVIVORS}: {error}"))?;
    let mut listed = BTreeMap::new();
    let lines = text.lines().filter(|line| !line.is_empty());
    for line in lines.filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        match columns[..] {
            [edge, reason, tool] if !columns.contains(&"") => {
                listed.insert(edge.into(), format!("{reason} (seen by {tool})"));
            }
            _ => {
                return Err(format!(
                    "{SURVIVORS}: not EDGE<TAB>reason<TAB>tool: `{line}`"
                ));
            }
        }
    }
    Ok(listed)
}
