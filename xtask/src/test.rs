//! `cargo xtask test`: one step after the other, up to the first that fails.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::args::Args;
use crate::loom::{self, Harness};
use crate::{Answer, Skips, abi, cargo, output, run, weaken};

/// The word for the summary (`ok` or `skipped`), or the failure.
type Outcome = Result<&'static str, String>;

type Step = fn(&Skips) -> Outcome;

const STEPS: [(&str, Step); 12] = [
    ("format", |_| {
        pass(cargo("fmt --all --check"))?;
        // Not a member of the workspace.
        pass(cargo("fmt --manifest-path fuzz/Cargo.toml --check"))
    }),
    ("clippy", |_| {
        let line = "clippy --workspace --all-targets --features sim -- -D warnings";
        pass(cargo(line))
    }),
    ("clippy-loom", |_| {
        let line = "clippy -p ringway -p loom-tests --lib --bins -- -D warnings";
        pass(loom::cargo(line))
    }),
    ("docs", |_| {
        let mut doc = cargo("doc --no-deps --workspace --document-private-items --features sim");
        doc.env("RUSTDOCFLAGS", "-D warnings");
        pass(doc)
    }),
    ("abi", |_| abi::complete().map(|()| "ok")),
    ("dependencies", |_| dependencies()),
    ("msrv", msrv),
    ("tests", |skips| {
        pass(skips.told(cargo("test --workspace --features sim")))
    }),
    ("tests-release", |skips| {
        pass(skips.told(cargo("test --release --features sim --tests")))
    }),
    ("loom", |_| {
        let harness = Harness::build()?;
        harness.check(&harness.models()?, loom::cpus(), loom::LIMIT)?;
        Ok("ok")
    }),
    ("weaken", |_| match weaken::after_models()? {
        ExitCode::SUCCESS => Ok("ok"),
        _ => Err("an edge that no model needs".into()),
    }),
    ("cp", |_| pass(cargo("run --release --example cp"))),
];

pub fn test(args: Args) -> Answer {
    args.none()?;
    let skips = Skips::new()?;
    let mut rows = format!("{:<16}{:<10}{:>8}\n", "step", "result", "seconds");
    let mut failure = None;
    for (name, step) in STEPS {
        if failure.is_some() {
            rows += &format!("{name:<16}not run\n");
            continue;
        }
        println!("\n== {name}");
        let start = Instant::now();
        let word = step(&skips).unwrap_or_else(|why| {
            failure = Some(format!("{name}: {why}"));
            "FAILED"
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("== {name}: {word}, {seconds:.1} s");
        rows += &format!("{name:<16}{word:<10}{seconds:>8.1}\n");
    }
    print!("\n{rows}");
    skips.print()?;
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn pass(mut command: Command) -> Outcome {
    run(&mut command).map(|()| "ok")
}

fn dependencies() -> Outcome {
    let line = "tree -p ringway --edges normal,build --all-features --prefix none --format {p}";
    let tree = output(&mut cargo(line))?;
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let allowed = ["ringway", "libc", "crossbeam-utils"];
    let foreign: Vec<&str> = names.filter(|name| !allowed.contains(name)).collect();
    if foreign.is_empty() {
        return Ok("ok");
    }
    let foreign = foreign.join(", ");
    Err(format!("the published crate would depend on {foreign}"))
}

/// That the MSRV is not above the running toolchain, cargo has checked by building.
fn msrv(skips: &Skips) -> Outcome {
    let version = env!("CARGO_PKG_RUST_VERSION");
    let installed = output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let is_it = |name: &&str| {
        let rest = name.strip_prefix(version);
        rest.is_some_and(|rest| rest.starts_with(['.', '-']))
    };
    if let Some(name) = installed.split_whitespace().find(is_it) {
        return pass(cargo(&format!("+{name} check -p ringway --features sim")));
    }
    skips.add(&format!("skipped: msrv: toolchain {version} not installed"))?;
    Ok("skipped")
}
