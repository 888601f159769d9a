//! Examples as programs, and processes that do not outlive their test.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than any of this takes. What hangs is a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(1);

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

pub struct Running(pub Child);

pub fn start(command: &mut Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Running(command.stderr(Stdio::piped()).spawn().unwrap())
}

impl Running {
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            thread::sleep(PAUSE);
        }
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
