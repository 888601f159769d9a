//! Examples as programs, and processes that do not outlive their test.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than any of this takes. What hangs is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
pub const PAUSE: Duration = Duration::from_millis(1);

/// The example, built as these tests are: not every `cargo test` builds examples. Where
/// there is no cargo, RINGWAY_EXAMPLES is the folder that has them.
pub fn example(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("RINGWAY_EXAMPLES") {
        return Path::new(&folder).join(name);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", name, "--target-dir"]);
    build.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    if cfg!(feature = "sim") {
        build.args(["--features", "sim"]);
    }
    let mut profile = "debug";
    if !cfg!(debug_assertions) {
        build.arg("--release");
        profile = "release";
    }
    assert!(build.status().expect("run cargo").success());
    target.join(profile).join("examples").join(name)
}

/// Calls again and again, until there is an answer.
#[track_caller]
pub fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(PAUSE);
    }
}

pub struct Running(pub Child);

pub fn start(command: &mut Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Running(command.stderr(Stdio::piped()).spawn().unwrap())
}

impl Running {
    pub fn id(&self) -> i32 {
        self.0.id().cast_signed()
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.0.try_wait().unwrap())
    }

    /// What it came to. The output must be short enough for a pipe.
    #[track_caller]
    pub fn end(&mut self) -> Output {
        let status = self.wait();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut out = self.0.stdout.take().unwrap();
        out.read_to_end(&mut stdout).unwrap();
        let mut err = self.0.stderr.take().unwrap();
        err.read_to_end(&mut stderr).unwrap();
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
