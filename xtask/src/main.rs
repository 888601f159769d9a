//! What a contributor runs; `cargo xtask` lists it.

mod abi;
mod args;
mod bench;
mod fuzz;
mod instructions;
mod kernels;
mod lines;
mod loom;
mod source;
mod stress;
mod test;
mod tried;
mod weaken;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use args::Args;

const HELP: &str = "\
cargo xtask COMMAND

  test                    all that a change must pass, on stable: format, clippy, docs, the ABI whole,
                          published dependencies, MSRV, tests in debug and release, loom models, each edge weakened, the cp example
  loom [FILTER]           every loom model, or those whose name contains FILTER
       [--jobs N]         models at a time (default: one per CPU)
       [--limit SECONDS]  time limit of one model (default: 600)
  weaken [FILTER]         each edge one step weaker: some model must fail
       [--jobs N]         edges at a time (default: one per CPU)
       [--limit SECONDS]  time limit of one model (default: 300)
       [--quick]          do not first check that the models pass as they are, nor that no model kills a
                          listed survivor: only those that are aimed at it
  stress [--runs N]       the shared ring on the real kernel, N runs (default: 1000) over all kinds of ring, debug and release
  stress --wrap           the real ring past 2^32 entries
  fuzz [TARGET]           every fuzz target, or TARGET; needs nightly and cargo-fuzz
       [--seconds N]      time for each target (default: 60)
  abi                     opcodes, preps, registrations and flags: how many there are, and how many the crate has
  abi --tried             runs the tests that try them and lists each opcode, registration and enter flag: tried,
                          or skipped and why
  bench                   ringway and its peers side by side, in 12 minutes: writes bench/REPORT.md and README's table
  bench --quick           what fits into a minute, and one line of ratios
  kernels [NAME]...       the tests on other kernels (5.10, 6.1, 6.12, 6.18, 7.2), each in a virtual machine: docs/kernels.md
       [--run NAME,...]   these of the runs in tests/kernels/runs.tsv
       [--readme]         writes the table in the README, from the run `facts`; a run of all kernels checks it
       [--cache FOLDER]   where what is fetched stays (default: target/kernels)
  instructions            user-space instructions per operation, by callgrind, against bench/instructions.tsv; needs
                          valgrind, which it installs where it may
               [--record] writes them there
  lines                   lines of Rust per folder

Exit codes: 0 passed, 1 failed, 2 not run, or not all of it, because something is missing.
";

/// The exit code of a command, or why it failed.
type Answer = Result<ExitCode, String>;

/// What is missing has an exit code of its own: it is never a pass.
const NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let mut words = env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let args = Args::new(words);
    // The commands name files from the root of the workspace.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    env::set_current_dir(root).expect("the workspace that built this program is still there");
    let answer = match command.as_str() {
        "" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        "test" => test::test(args),
        "loom" => loom::loom(args),
        "weaken" => weaken::weaken(args),
        "stress" => stress::stress(args),
        "fuzz" => fuzz::fuzz(args),
        "bench" => bench::bench(args),
        "kernels" => kernels::kernels(args),
        "instructions" => instructions::instructions(args),
        "abi" => abi::abi(args),
        "lines" => lines::lines(args),
        _ => {
            eprint!("error: no command `{command}`\n\n{HELP}");
            Ok(ExitCode::from(NOT_RUN))
        }
    };
    answer.unwrap_or_else(|why| {
        eprintln!("error: {why}");
        ExitCode::FAILURE
    })
}

/// `cargo` with the words of `line` as its arguments.
fn cargo(line: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(line.split_whitespace());
    command
}

/// Shows the command, runs it with this terminal, and fails by its name.
fn run(command: &mut Command) -> Result<(), String> {
    println!("$ {}", show(command));
    command.stdout(Stdio::inherit());
    output(command).map(|_| ())
}

/// The standard output of a command that succeeds.
fn output(command: &mut Command) -> Result<String, String> {
    command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    match command.output() {
        Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        Ok(out) => Err(format!("{}: {}", out.status, show(command))),
        Err(error) => Err(format!("{error}: {}", show(command))),
    }
}

/// The command as one would type it.
fn show(command: &Command) -> String {
    let mut shown = String::new();
    for (key, value) in command.get_envs() {
        let value = value.unwrap_or_default();
        shown += &format!("{}='{}' ", key.display(), value.display());
    }
    shown += &command.get_program().to_string_lossy();
    command
        .get_args()
        .fold(shown, |shown, word| format!("{shown} {}", word.display()))
}

/// The workspace's target folder, absolute: tests run in folders of their own.
fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
    env::current_dir().unwrap_or_default().join(target)
}

/// The file in which tests name what they skip, a line `skipped: NAME: REASON` each.
struct Skips(PathBuf);

impl Skips {
    /// Starts empty.
    fn new() -> Result<Self, String> {
        let file = target().join("skipped.txt");
        match File::create(&file) {
            Ok(_) => Ok(Self(file)),
            Err(error) => Err(format!("{}: {error}", file.display())),
        }
    }

    /// Reports what is not a test.
    fn add(&self, line: &str) -> Result<(), String> {
        let file = File::options().append(true).open(&self.0);
        let added = file.and_then(|mut file| writeln!(file, "{line}"));
        added.map_err(|error| format!("{}: {error}", self.0.display()))
    }

    /// The command, whose tests are told of the file.
    fn told(&self, mut command: Command) -> Command {
        command.env("RINGWAY_SKIPPED", &self.0);
        command
    }

    /// Prints what was reported, each line once; the number of lines.
    fn print(&self) -> Result<usize, String> {
        let text = fs::read_to_string(&self.0);
        let text = text.map_err(|error| format!("{}: {error}", self.0.display()))?;
        let lines: BTreeSet<&str> = text.lines().collect();
        lines.iter().for_each(|line| println!("{line}"));
        Ok(lines.len())
    }
}
