//! `cargo xtask kernels`: the same tests on other kernels, each in a virtual machine.
//!
//! - `apt`: kernels and an emulator from Debian's archive, in a folder of our own
//! - `guest`: what goes into the machine: an initramfs, a disk with the tests
//! - `boot`: the machine, and what it says
//! - `expected`: what is skipped on which kernel, from `tests/kernels/`
//! - `readme`: the README's table
//! - `verdict`: what is right and what is wrong with a run

mod apt;
mod boot;
mod expected;
mod guest;
mod readme;
mod verdict;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::args::Args;
use crate::{Answer, NOT_RUN, target};
use apt::Kernel;
use boot::{Machine, Said};
use expected::{Expected, Version};
use guest::Disk;
use verdict::Verdict;

/// What distributions ship, and what is newest.
const KERNELS: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.2"];

pub fn kernels(mut args: Args) -> Answer {
    let cache = args.value("--cache")?;
    let cache: PathBuf = cache.unwrap_or_else(|| target().join("kernels"));
    let only: Option<String> = args.value("--run")?;
    let writes_readme = args.flag("--readme");
    let mut names = args.rest()?;
    if names.is_empty() {
        names = KERNELS.map(String::from).to_vec();
    }
    let is_all = names == KERNELS;
    if writes_readme && !is_all {
        return Err("the README's table is about all kernels".into());
    }
    let versions = names.iter().map(|name| name.parse());
    let versions: Vec<Version> = versions.collect::<Result<_, _>>()?;
    let expected = Expected::read(only.as_deref())?;
    fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;

    // The disks in it are one machine's.
    let lock = cache.join("lock");
    let lock = File::create(&lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    if lock.try_lock().is_err() {
        return Err(format!("another run uses {}", cache.display()));
    }

    let tools = match Machine::fetch(&cache) {
        Ok(tools) => tools,
        Err(why) => {
            println!("skipped: {}: {why}", names.join(", "));
            return Ok(ExitCode::from(NOT_RUN));
        }
    };
    let machine = Machine::new(&cache, tools, guest::init()?);
    let disk = Disk::build(&machine, &expected)?;
    let mut verdicts = Vec::new();
    for version in versions {
        let start = Instant::now();
        let mut verdict = match apt::kernel(&cache, version) {
            Ok(kernel) => one(&machine, &disk, &kernel, &expected)?,
            Err(why) => Verdict::not_run(version, why),
        };
        verdict.show(start.elapsed());
        verdicts.push(verdict);
    }
    println!("\n{}", verdict::table(&verdicts));
    if is_all && writes_readme {
        readme::write(&verdicts)?;
    } else if is_all && verdicts.iter().all(|verdict| !verdict.modes.is_empty()) {
        readme::check(&verdicts)?;
    }
    Ok(verdict::exit_code(&verdicts))
}

/// One kernel: a machine that dies is started once more.
fn one(
    machine: &Machine,
    disk: &Disk,
    kernel: &Kernel,
    expected: &Expected,
) -> Result<Verdict, String> {
    println!("\n== Linux {} ({})", kernel.version, kernel.release);
    let initramfs = guest::initramfs(machine, kernel)?;
    let runs = expected.runs(kernel.version);
    let boot = || -> Result<Said, String> {
        let scratch = guest::scratch(machine.cache())?;
        machine.run(kernel, &initramfs, [disk.image(machine, &runs)?, &scratch])
    };
    let mut said = boot()?;
    let mut deaths = Vec::from_iter(said.death());
    if let Some(why) = deaths.first() {
        println!("died {why}\nonce more:");
        said = boot()?;
        deaths.extend(said.death());
    }
    let mut listed = Vec::new();
    for run in runs {
        let tests = disk.tests(&run)?;
        listed.push((run, tests));
    }
    Ok(Verdict::of(kernel, expected, &listed, said, &deaths))
}
