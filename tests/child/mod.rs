//! A test that needs a process of its own runs itself again in one: limits and
//! filters cannot be taken back, and other tests open and close files meanwhile.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use ringway::{Order, Ring, SetupError, Unavailable};

const CHILD: &str = "RINGWAY_TEST_CHILD";

/// Runs `body` in a child process: this test binary again, with this test alone.
pub fn in_child(test: &str, body: impl FnOnce()) {
    let done = format!("{test} ran in its child");
    if env::var_os(CHILD).is_some() {
        body();
        println!("{done}");
        return;
    }
    let child = Command::new(env::current_exe().expect("this test binary"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("start a child");
    let (out, err) = (
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    // The line tells a child that ran from one that found no such test.
    assert!(
        child.status.success() && out.contains(&done),
        "{}\n{out}\n{err}",
        child.status
    );
}

/// Forks, ends the child with the status that `body` says, and tells how it ended: its status,
/// or its signal, which is SIGALRM if it did not end by itself.
pub fn forked(body: impl FnOnce() -> i32) -> Result<i32, i32> {
    const PATIENCE: u32 = 20;
    // SAFETY: the child runs the body, on the only thread that it has.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: a signal that ends the child, and its end, without running what belongs to
        // the parent.
        unsafe {
            libc::alarm(PATIENCE);
            libc::_exit(body());
        }
    }
    let mut status = 0;
    // SAFETY: waits for that child, and writes one number.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    match libc::WIFEXITED(status) {
        true => Ok(libc::WEXITSTATUS(status)),
        false => Err(libc::WTERMSIG(status)),
    }
}

/// Says by name that a test did not test anything: on standard error, past the capture
/// of the test harness, and in the file that `cargo xtask test` collects.
pub fn skip(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {reason}\n");
    // A lost line is not worth a failure.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = env::var_os("RINGWAY_SKIPPED") {
        let file = fs::File::options().append(true).create(true).open(file);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// Says, at the end of a test that has checked what it does, that an opcode was tried on
/// the real kernel: `OP_SPLICE`, `REGISTER_FILES`, `UNREGISTER_FILES`; the header's names
/// without `IORING_`. `cargo xtask abi --tried` lists them.
pub fn tried(what: &str) {
    told(&format!("tried\t{what}\t\n"));
}

/// Says whether rings of a mode work here, for the README's table.
pub fn mode(name: &str, since: (u32, u32), works: bool) {
    let (major, minor) = since;
    let answer = if works { "yes" } else { "no" };
    told(&format!("mode\t{name}\t{major}.{minor}\t{answer}\n"));
}

/// As [`skip`], for a test of an opcode that cannot be tried here.
pub fn untried(what: &str, reason: &str) {
    skip(what, reason);
    told(&format!("skipped\t{what}\t{reason}\n"));
}

fn told(line: &str) {
    if let Some(file) = env::var_os("RINGWAY_TRIED") {
        let file = fs::File::options().append(true).create(true).open(file);
        let told = file.and_then(|mut file| file.write_all(line.as_bytes()));
        told.expect("write to the file that RINGWAY_TRIED names");
    }
}

/// Whether the kernel has the opcode; says so if not. The documentation of `ringway::op`
/// knows the kernel that brought it, and must be right.
pub fn knows(ring: &Ring, op: u8, what: &str) -> bool {
    let knows = ring.probe().expect("a probe").supports(op);
    let (major, minor) = since(what);
    if knows {
        assert!(linux(major, minor), "{what} is older than {major}.{minor}");
    } else if linux(major, minor) {
        untried(what, "this kernel was built without it");
    } else {
        untried(what, &format!("it came with Linux {major}.{minor}"));
    }
    knows
}

/// The kernel that brought the opcode, as its documentation says it.
fn since(what: &str) -> (u32, u32) {
    let name = what.strip_prefix("OP_").expect("an opcode");
    let docs = include_str!("../../src/abi/op.rs");
    let (before, _) = docs
        .split_once(&format!("\npub const {name}: u8"))
        .unwrap_or_else(|| panic!("no opcode {name}"));
    let version = before
        .lines()
        .last()
        .and_then(|line| line.split("Linux ").nth(1));
    let numbers = version.and_then(|version| version.trim_end_matches('.').split_once('.'));
    let (major, minor) = numbers.unwrap_or_else(|| panic!("{name} has no version"));
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// Those that the kernel has; says so if it is one only.
pub fn orders(test: &str) -> Vec<Order> {
    match has(6, 6, test, "Order::Claim (NO_SQARRAY)") {
        true => vec![Order::Any, Order::Claim],
        false => vec![Order::Any],
    }
}

/// Whether the running kernel is at least this version.
pub fn linux(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || -> u32 { numbers.next().unwrap().parse().unwrap() };
    (next(), next()) >= (major, minor)
}

/// The row of the running kernel: the last whose version, such as `6.18.44`, is not newer.
pub fn here<T: Clone>(rows: &[(&str, T)]) -> T {
    let numbers = |text: &str| -> Vec<u32> {
        let numbers = text.split(|c: char| !c.is_ascii_digit());
        numbers.take(3).map_while(|n| n.parse().ok()).collect()
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let running = numbers(&release);
    let row = rows.iter().rev().find(|row| numbers(row.0) <= running);
    row.expect("a row for old kernels").1.clone()
}

/// As [`linux`], and says so if not.
pub fn has(major: u32, minor: u32, test: &str, what: &str) -> bool {
    let has = linux(major, minor);
    if !has {
        skip(test, &format!("{what} came with Linux {major}.{minor}"));
    }
    has
}

/// Builds, as soon as there is room. The kernel takes a closed ring apart after the
/// close; until then its memory counts against the `RLIMIT_MEMLOCK` of a user
/// without privileges, all of whose tests share that limit.
pub fn patiently<T>(build: impl Fn() -> Result<T, SetupError>) -> Result<T, SetupError> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match build() {
            Err(SetupError::Unavailable(Unavailable::OutOfMemory { .. }))
                if Instant::now() < patience =>
            {
                thread::sleep(Duration::from_millis(1));
            }
            built => return built,
        }
    }
}

/// What a ring may leave behind: open files and shared mappings.
pub fn traces() -> (Vec<String>, Vec<String>) {
    let mut files: Vec<String> = fs::read_dir("/proc/self/fd")
        .expect("list the files")
        .map(|entry| entry.expect("a file").file_name().into_string().unwrap())
        .collect();
    files.sort();
    let maps = fs::read_to_string("/proc/self/maps").expect("list the mappings");
    let shared = maps
        .lines()
        .filter(|line| {
            line.split(' ')
                .nth(1)
                .is_some_and(|bits| bits.ends_with('s'))
        })
        .map(str::to_owned)
        .collect();
    (files, shared)
}
