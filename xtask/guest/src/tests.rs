//! Runs what the disk lists.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::Line;

const SKIPPED: &str = "/tmp/skipped";
const TRIED: &str = "/tmp/tried";

/// Each line of `/disk/runs`: a name, the seconds it may take, the program and its
/// arguments, with tabs between them.
pub fn run_all(line: &mut Line, nvme: &str) {
    let runs = fs::read_to_string("/disk/runs").expect("a list of runs");
    for run in runs.lines() {
        let words: Vec<&str> = run.split('\t').collect();
        let [name, seconds, program, arguments @ ..] = &words[..] else {
            panic!("not a run: {run}");
        };
        let limit = Duration::from_secs(seconds.parse().expect("seconds"));
        line.say(&format!("begin {name}"));
        for file in [SKIPPED, TRIED] {
            File::create(file).expect(file);
        }
        let start = Instant::now();
        let mut command = Command::new(format!("/disk/bin/{program}"));
        command.args(arguments).env("RINGWAY_NVME", nvme);
        let status = run_one(line, &mut command, limit);
        for file in [SKIPPED, TRIED] {
            let said = fs::read_to_string(file).expect(file);
            said.lines().for_each(|said| line.say(said));
        }
        let seconds = start.elapsed().as_secs_f64();
        line.say(&format!("end {name} {status} {seconds:.1}"));
    }
}

/// Hands on the lines that come out of a pipe, each with a mark before it.
fn pass_on(reader: PipeReader, mark: char, to: Sender<String>) {
    thread::spawn(move || {
        for words in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let words = String::from_utf8_lossy(&words);
            if to.send(format!("{mark} {words}")).is_err() {
                break;
            }
        }
    });
}

/// Passes on what the program says; how it ended, in one word.
fn run_one(line: &mut Line, command: &mut Command, limit: Duration) -> String {
    let (out, its_out) = std::io::pipe().expect("a pipe");
    let (err, its_err) = std::io::pipe().expect("a pipe");
    command
        .current_dir("/disk/tmp")
        .env("PATH", "/bin")
        .env("TMPDIR", "/disk/tmp")
        .env("RINGWAY_GUEST", "1")
        // An emulated CPU is slow.
        .env("RINGWAY_NOPS", "1000")
        .env("RINGWAY_RUNS", "8")
        .env("RINGWAY_EXAMPLES", "/disk/bin/examples")
        .env("RINGWAY_SKIPPED", SKIPPED)
        .env("RINGWAY_TRIED", TRIED)
        .stdin(Stdio::null())
        .stdout(its_out)
        .stderr(its_err)
        // What is left of it can be ended together.
        .process_group(0);
    let mut child = command.spawn().expect("a program");
    // The writing ends are in the command.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (said, hear) = mpsc::channel();
    // Tests are read out of the first: what goes to the other may come inside a line.
    pass_on(out, '|', said.clone());
    pass_on(err, '!', said);
    let deadline = Instant::now() + limit;
    let in_time = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match hear.recv_timeout(left) {
            Ok(words) => line.say(&words),
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    // SAFETY: signals the group of a child that has not been waited for.
    unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
    let status = child.wait().expect("the child");
    match (in_time, status.code()) {
        (false, _) => "timeout".into(),
        (true, Some(code)) => format!("exit={code}"),
        (true, None) => format!("{status}").replace(' ', "-"),
    }
}
