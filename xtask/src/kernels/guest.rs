//! What goes into the machine: the first process and a few modules as an initramfs, the
//! tests on a disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use cpio::newc;

use super::apt::Kernel;
use super::boot::Machine;
use super::expected::{Expected, Run};
use crate::{cargo, output, show};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What tests call besides themselves.
const COMMANDS: [&str; 6] = ["sh", "cat", "mount", "unshare", "true", "sleep"];

/// Modules that tests need and kernels do not have built in; none of them needs another.
const MODULES: [&str; 1] = ["loop"];

const DISK_MIB: u64 = 1024;
const SCRATCH_MIB: u64 = 16;

/// Linked statically, since the machine has no C library.
fn static_cargo(line: &str) -> Command {
    let mut command = cargo(line);
    command
        .args([
            "--release",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
        ])
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    command
}

/// A program that cargo built.
struct Program {
    kind: String,
    name: String,
    path: PathBuf,
}

fn build(mut command: Command) -> Result<Vec<Program>, String> {
    println!("$ {}", show(&command));
    let messages = output(&mut command)?;
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: serde_json::Value =
            serde_json::from_str(line).map_err(|error| format!("cargo: {error}"))?;
        let text = |value: &serde_json::Value| value.as_str().map(String::from);
        let Some(path) = text(&message["executable"]) else {
            continue;
        };
        let target = &message["target"];
        programs.push(Program {
            kind: text(&target["kind"][0]).unwrap_or_default(),
            name: text(&target["name"]).unwrap_or_default(),
            path: path.into(),
        });
    }
    Ok(programs)
}

/// The tests, before they are put on a disk for one kernel.
pub struct Disk {
    root: PathBuf,
    image: PathBuf,
}

impl Disk {
    pub fn build(machine: &Machine, expected: &Expected) -> Result<Self, String> {
        let mut programs = build(static_cargo("test --no-run --features sim --tests"))?;
        programs.extend(build(static_cargo("build --features sim --examples"))?);
        let root = machine.cache().join("disk");
        let failed = |error: io::Error| format!("{}: {error}", root.display());
        let _ = fs::remove_dir_all(&root);
        for folder in ["bin/examples", "tmp"] {
            fs::create_dir_all(root.join(folder)).map_err(failed)?;
        }
        for program in &programs {
            let folder = match program.kind.as_str() {
                "example" => "bin/examples",
                _ => "bin",
            };
            let to = root.join(folder).join(&program.name);
            fs::copy(&program.path, to).map_err(failed)?;
        }
        for run in expected.all() {
            if !root.join("bin").join(&run.program).exists() {
                return Err(format!("there is no test binary {}", run.program));
            }
        }
        // Tests run where there is one.
        fs::copy("Cargo.toml", root.join("tmp/Cargo.toml")).map_err(failed)?;
        // Where the tests leave their files: cargo has told them when it built them.
        let folder = crate::target().join(TARGET).join("tmp");
        fs::write(root.join("folder"), folder.display().to_string()).map_err(failed)?;
        let image = machine.cache().join("disk.img");
        Ok(Self { root, image })
    }

    /// The disk for one kernel.
    pub fn image(&self, machine: &Machine, runs: &[Run]) -> Result<&Path, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.image.display());
        let lines: String = runs
            .iter()
            .map(|run| {
                let Run {
                    name,
                    seconds,
                    program,
                    arguments,
                    ..
                } = run;
                let mut words = vec![name, seconds, program];
                words.extend(arguments);
                let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
                words.join("\t") + "\n"
            })
            .collect();
        fs::write(self.root.join("runs"), lines).map_err(failed)?;
        let image = File::create(&self.image).map_err(failed)?;
        image.set_len(DISK_MIB << 20).map_err(failed)?;
        let mut make = machine.tool("sbin/mke2fs");
        make.args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d"]);
        output(make.arg(&self.root).arg(&self.image))?;
        Ok(&self.image)
    }

    /// The names of the tests of a run.
    pub fn tests(&self, run: &Run) -> Result<Vec<String>, String> {
        let mut list = Command::new(self.root.join("bin").join(&run.program));
        let said = output(list.args(&run.arguments).arg("--list"))?;
        let names = said.lines().filter_map(|line| line.strip_suffix(": test"));
        let names: Vec<String> = names.map(String::from).collect();
        match names.is_empty() {
            // A filter that fits nothing would pass.
            true => Err(format!("run {} has no test", run.name)),
            false => Ok(names),
        }
    }
}

/// A disk that tests may overwrite.
pub fn scratch(cache: &Path) -> Result<PathBuf, String> {
    let path = cache.join("scratch.img");
    let made = File::create(&path).and_then(|file| file.set_len(SCRATCH_MIB << 20));
    made.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The first process, built for the machine.
pub fn init() -> Result<PathBuf, String> {
    let programs = build(static_cargo("build -p guest"))?;
    let found = programs.into_iter().find(|program| program.name == "guest");
    Ok(found.ok_or("cargo built no guest")?.path)
}

/// The initramfs for one kernel.
pub fn initramfs(machine: &Machine, kernel: &Kernel) -> Result<PathBuf, String> {
    let path = machine.cache().join("initramfs");
    let busybox = machine.tools().join("usr/bin/busybox");
    let mut modules = Vec::new();
    for name in MODULES {
        modules.push((name, module(machine, kernel, name)?));
    }
    let write = || -> io::Result<()> {
        let mut archive = Archive(File::create(&path)?);
        for folder in ["bin", "modules"] {
            archive.entry(folder, 0o040_755, &[])?;
        }
        archive.entry("init", 0o100_755, &fs::read(machine.init())?)?;
        archive.entry("bin/busybox", 0o100_755, &fs::read(&busybox)?)?;
        for command in COMMANDS {
            archive.entry(&format!("bin/{command}"), 0o120_777, b"busybox")?;
        }
        for (name, bytes) in &modules {
            archive.entry(&format!("modules/{name}.ko"), 0o100_644, bytes)?;
        }
        newc::trailer(archive.0).map(drop)
    };
    write().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

struct Archive(File);

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let entry = newc::Builder::new(name).mode(mode).nlink(1);
        let mut writer = entry.write(&mut self.0, bytes.len() as u32);
        writer.write_all(bytes)?;
        writer.finish().map(drop)
    }
}

/// A module of the kernel, as the kernel loads it.
fn module(machine: &Machine, kernel: &Kernel, name: &str) -> Result<Vec<u8>, String> {
    let plain = find(&kernel.modules.join("kernel"), &format!("{name}.ko"));
    if let Some(path) = plain {
        return fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
    }
    let packed = find(&kernel.modules.join("kernel"), &format!("{name}.ko.xz"));
    let packed = packed.ok_or_else(|| format!("{} has no module {name}", kernel.release))?;
    let mut unpack = machine.tool("bin/xz");
    let unpacked = unpack.args(["-dc"]).arg(&packed).output();
    let unpacked = unpacked.map_err(|error| format!("xz: {error}"))?;
    match unpacked.status.success() {
        true => Ok(unpacked.stdout),
        false => Err(format!("xz: {}: {}", unpacked.status, packed.display())),
    }
}

/// A file of this name below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => (path.file_name()? == name).then_some(path),
    })
}
