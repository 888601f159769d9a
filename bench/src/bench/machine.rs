//! The machine: where threads run, how far its CPUs are apart, what else it does.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

/// How many CPUs are online, wherever this thread may run.
pub fn cpus() -> u32 {
    // SAFETY: takes no pointer.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    online.max(1) as u32
}

/// The calling thread runs on this CPU from now on, counted round.
pub fn pin(cpu: u32) {
    // SAFETY: a set of CPUs is plain data; the kernel reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET((cpu % cpus()) as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

/// Runs before all else on this machine, if the caller may: in a scheduling group of its own,
/// with the highest weight. Says whether that holds.
///
/// A group comes with a session, which a terminal's interrupt does not reach: the process
/// goes with its parent instead.
pub fn go_first() -> bool {
    // SAFETY: neither takes a pointer.
    let is_alone = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::setsid() > 0
    };
    is_alone && fs::write("/proc/self/autogroup", "-20").is_ok()
}

/// The round trip of one cache line between the first two CPUs.
pub fn line_round_trip() -> Duration {
    const TURNS: u32 = 2_000;
    let line = crossbeam_utils::CachePadded::new(AtomicU64::new(0));
    let mut best = Duration::MAX;
    for _ in 0..5 {
        line.store(0, SeqCst);
        let time = thread::scope(|threads| {
            threads.spawn(|| {
                pin(0);
                for turn in 0..u64::from(TURNS) {
                    while line.load(Acquire) != 2 * turn + 1 {
                        std::hint::spin_loop();
                    }
                    line.store(2 * turn + 2, Release);
                }
            });
            let timed = threads.spawn(|| {
                pin(1);
                let start = Instant::now();
                for turn in 0..u64::from(TURNS) {
                    line.store(2 * turn + 1, Release);
                    while line.load(Acquire) != 2 * turn + 2 {
                        std::hint::spin_loop();
                    }
                }
                start.elapsed()
            });
            timed.join().expect("no panic")
        });
        best = best.min(time / TURNS);
    }
    best
}

/// What the scheduler says of the calling thread.
pub struct Schedule {
    start: Instant,
    waited: u64,
    displaced: i64,
}

impl Schedule {
    pub fn now() -> Self {
        Self {
            waited: waited(),
            displaced: displaced(),
            start: Instant::now(),
        }
    }

    /// The share of the time since that this thread was ready and did not run; 0 where no
    /// other thread took its CPU: one that sleeps and is woken is ready for a moment each
    /// time.
    pub fn delayed(&self) -> f64 {
        if displaced() == self.displaced {
            return 0.0;
        }
        let waited = waited().saturating_sub(self.waited) as f64;
        waited / self.start.elapsed().as_nanos() as f64
    }
}

/// How often another thread took the calling thread's CPU.
fn displaced() -> i64 {
    // SAFETY: the kernel writes one struct, and zeroes are one.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_nivcsw as i64
    }
}

/// Nanoseconds on a run queue: the second number of the file.
fn waited() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let number = text.split_whitespace().nth(1);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What a report says of the machine.
pub struct Facts {
    lines: Vec<String>,
}

impl Facts {
    pub fn now(goes_first: bool) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpu.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split(':').nth(1));
            value.unwrap_or("unknown").trim().to_string()
        };
        let lines = vec![
            format!(
                "date: {}, at commit {}",
                said("date", &["-u", "+%F"]),
                commit()
            ),
            format!(
                "CPU: {}, family {}, model {}, {} online",
                field("model name"),
                field("cpu family"),
                field("model\t"),
                cpus()
            ),
            format!("kernel: {}", said("uname", &["-srvm"])),
            format!("Rust: {}", env!("RUSTC")),
            format!(
                "peers: io-uring {}, parking_lot {}, crossbeam-queue {}, liburing {}",
                locked("io-uring"),
                locked("parking_lot"),
                locked("crossbeam-queue"),
                env!("LIBURING")
            ),
            format!(
                "scheduled {}; load before: {}",
                match goes_first {
                    true => "in a group of its own at nice -20",
                    false => "as everything else",
                },
                load()
            ),
        ];
        Self { lines }
    }

    pub fn until_now(mut self) -> Self {
        self.lines.push(format!("load after: {}", load()));
        self
    }

    pub fn list(&self) -> String {
        let lines = self.lines.iter().map(|line| format!("- {line}\n"));
        lines.collect()
    }
}

/// The average numbers of threads that ran or were ready.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let numbers: Vec<&str> = text.split_whitespace().take(3).collect();
    numbers.join(" ")
}

fn commit() -> String {
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    match (&commit[..], changed.is_empty()) {
        ("", _) => "unknown".into(),
        (_, true) => commit,
        (_, false) => format!("{commit} with changes"),
    }
}

fn said(program: &str, words: &[&str]) -> String {
    let out = Command::new(program).args(words).output();
    let text = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    text.unwrap_or_default().trim().to_string()
}

/// The version of a dependency.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let entry = lock
        .split("[[package]]")
        .find(|entry| entry.contains(&format!("name = \"{name}\"\n")));
    let version = entry.and_then(|entry| entry.split("version = \"").nth(1));
    version
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("unknown")
}
