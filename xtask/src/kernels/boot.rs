//! The machine: an emulated PC with two CPUs and two NVMe disks, and what it says.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::apt::{self, Kernel};
use crate::show;

/// The guest ends a program that takes too long, and says so; a machine that says nothing
/// for longer is dead.
const SILENCE: Duration = Duration::from_secs(400);

pub struct Machine {
    cache: PathBuf,
    tools: PathBuf,
    init: PathBuf,
}

impl Machine {
    /// Or why there is no emulator.
    pub fn fetch(cache: &Path) -> Result<PathBuf, String> {
        if !cfg!(target_arch = "x86_64") {
            return Err("the emulator in the archive is taken for x86-64 hosts only".into());
        }
        apt::tools(cache)
    }

    pub fn new(cache: &Path, tools: PathBuf, init: PathBuf) -> Self {
        let cache = cache.to_owned();
        Self { cache, tools, init }
    }

    pub fn cache(&self) -> &Path {
        &self.cache
    }

    pub fn tools(&self) -> &Path {
        &self.tools
    }

    pub fn init(&self) -> &Path {
        &self.init
    }

    /// A program of the cached system, run with that system's C library.
    pub fn tool(&self, program: &str) -> Command {
        let usr = self.tools.join("usr");
        let mut command = Command::new(usr.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path");
        command.arg(usr.join("lib/x86_64-linux-gnu"));
        command.arg(usr.join(program));
        command
    }

    fn qemu(&self, kernel: &Kernel, initramfs: &Path, disks: [&Path; 2]) -> Command {
        let mut qemu = self.tool("bin/qemu-system-x86_64");
        let modules = self.tools.join("usr/lib/x86_64-linux-gnu/qemu");
        qemu.env("QEMU_MODULE_DIR", modules);
        for data in ["qemu", "seabios"] {
            qemu.arg("-L").arg(self.tools.join("usr/share").join(data));
        }
        // 57-bit addresses are slow to emulate, and the clock cannot be relied on.
        qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"]);
        qemu.args(["-smp", "2", "-m", "1024"]);
        qemu.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        qemu.arg("-serial")
            .arg(format!("file:{}", self.console(kernel).display()));
        qemu.args(["-serial", "stdio"]);
        qemu.arg("-kernel").arg(&kernel.image);
        qemu.arg("-initrd").arg(initramfs);
        qemu.args([
            "-append",
            "console=ttyS0 quiet panic=-1 tsc=unstable random.trust_cpu=on nvme.poll_queues=1",
        ]);
        for (disk, serial) in disks.into_iter().zip(["tests", "scratch"]) {
            let path = disk.display();
            let drive = format!("if=none,format=raw,cache=unsafe,id={serial},file={path}");
            let device = format!("nvme,serial={serial},drive={serial}");
            qemu.args(["-drive", &drive, "-device", &device]);
        }
        qemu
    }

    /// Where the kernel's own messages go.
    fn console(&self, kernel: &Kernel) -> PathBuf {
        self.cache.join(format!("console-{}.txt", kernel.version))
    }

    /// From the start to the end of the machine.
    pub fn run(
        &self,
        kernel: &Kernel,
        initramfs: &Path,
        disks: [&Path; 2],
    ) -> Result<Said, String> {
        let mut qemu = self.qemu(kernel, initramfs, disks);
        let path = self.cache.join(format!("said-{}.txt", kernel.version));
        let mut child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{error}: {}", show(&qemu)))?;
        let reader = BufReader::new(child.stdout.take().expect("a pipe"));
        let (say, hear) = mpsc::channel();
        thread::spawn(move || {
            for line in reader.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        let failed = |error| format!("{}: {error}", path.display());
        let mut log = File::create(&path).map_err(failed)?;
        let mut lines = Vec::new();
        while let Ok(line) = hear.recv_timeout(SILENCE) {
            if line.starts_with("ready ") || line.starts_with("end ") {
                println!("{line}");
            }
            writeln!(log, "{line}").map_err(failed)?;
            lines.push(line);
        }
        // It has ended, or is silent.
        let _ = child.kill();
        let _ = child.wait();
        let console = fs::read(self.console(kernel)).unwrap_or_default();
        Ok(Said::of(
            lines,
            String::from_utf8_lossy(&console).into_owned(),
        ))
    }
}

/// What one program came to.
pub struct SaidRun {
    pub name: String,
    /// `exit=0`, unless it failed.
    pub status: String,
    pub output: Vec<String>,
    /// `NAME: REASON`.
    pub skipped: Vec<String>,
}

/// Whether rings of a mode work.
pub struct Mode {
    pub name: String,
    pub since: String,
    pub works: bool,
}

impl Mode {
    /// `mode`, the name, the kernel that has it, `yes` or `no`, with tabs between them.
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.strip_prefix("mode\t")?.split('\t').map(String::from);
        Some(Self {
            name: columns.next()?,
            since: columns.next()?,
            works: columns.next()? == "yes",
        })
    }
}

/// What a machine said until it ended.
pub struct Said {
    pub runs: Vec<SaidRun>,
    pub modes: Vec<Mode>,
    /// Not empty if it ended inside a run.
    inside: String,
    is_done: bool,
    console: String,
}

impl Said {
    fn of(lines: Vec<String>, console: String) -> Self {
        let mut said = Self {
            runs: Vec::new(),
            modes: lines.iter().filter_map(|line| Mode::parse(line)).collect(),
            inside: String::new(),
            is_done: false,
            console,
        };
        let (mut output, mut skipped) = (Vec::new(), Vec::new());
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "begin" => said.inside = rest.into(),
                "|" => output.push(rest.to_string()),
                "skipped:" => skipped.push(rest.to_string()),
                "end" => {
                    let mut words = rest.split(' ');
                    said.runs.push(SaidRun {
                        name: words.next().unwrap_or_default().into(),
                        status: words.next().unwrap_or_default().into(),
                        output: std::mem::take(&mut output),
                        skipped: std::mem::take(&mut skipped),
                    });
                    said.inside.clear();
                }
                "done" => said.is_done = true,
                _ => {}
            }
        }
        said
    }

    /// How the machine died, if it did.
    pub fn death(&self) -> Option<String> {
        if self.is_done {
            return None;
        }
        let place = match (self.inside.as_str(), self.runs.last()) {
            ("", None) => "before the first run".to_string(),
            ("", Some(run)) => format!("after {}", run.name),
            (name, _) => format!("in {name}"),
        };
        let lines: Vec<&str> = self.console.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n    ");
        Some(format!("{place}; the console's last words:\n    {last}"))
    }
}
