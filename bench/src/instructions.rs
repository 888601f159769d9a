//! One thread, NOPs in batches: what `cargo xtask instructions` counts under callgrind.
//!
//! `instructions PATH BATCH ROUNDS`; `instructions --list` names the paths.

use std::hint::black_box;
use std::process::ExitCode;

use bench::design::per_thread::PerThread;
use bench::design::raw::Raw;
use bench::design::ringway::{Own, Shared};
use bench::design::{Design, Port, Setup};
use bench::op::Op;

const CLAIM: Setup = Setup {
    no_sqarray: true,
    defers: false,
};
const ANY: Setup = Setup {
    no_sqarray: false,
    defers: false,
};

/// Batches of this size, so many: whether all came back.
type Path = (&'static str, fn(Setup, u32, u64) -> bool, Setup);

const PATHS: &[Path] = &[
    ("local", rounds::<Own<true>>, CLAIM),
    ("claim", rounds::<Shared<true>>, CLAIM),
    ("any", rounds::<Shared<true>>, ANY),
    ("crate", rounds::<PerThread<false>>, CLAIM),
    ("crate-inline", rounds::<PerThread<true>>, CLAIM),
    #[cfg(liburing)]
    ("liburing", rounds::<bench::design::liburing::Liburing>, ANY),
    ("raw", rounds::<Raw<true>>, CLAIM),
    ("raw-array", rounds::<Raw<true>>, ANY),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["--list"] {
        PATHS.iter().for_each(|(name, ..)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let [path, batch, rounds] = &args[..] else {
        return usage();
    };
    let path = PATHS.iter().find(|(name, ..)| name == path);
    let (Some((_, run, setup)), Ok(batch), Ok(rounds)) = (path, batch.parse(), rounds.parse())
    else {
        return usage();
    };
    match run(*setup, batch, rounds) {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!("error: operations were lost");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: instructions PATH BATCH ROUNDS, or --list");
    ExitCode::from(2)
}

fn rounds<D: Design>(setup: Setup, batch: u32, rounds: u64) -> bool {
    let design = D::new(1, setup);
    let mut port = design.port(0);
    let (mut next, mut sum) = (0, 0);
    let mut seen = |number, _| sum += number;
    for _ in 0..black_box(rounds) {
        let op = || {
            next += 1;
            (Op::Nop, next)
        };
        if !port.submit(batch, op, &mut seen) {
            return false;
        }
        port.reap(&mut seen);
    }
    let operations = u64::from(batch) * rounds;
    sum == operations * (operations + 1) / 2
}
