//! `find_bytes`: which files have a string of bytes, and where it begins first.
//!
//! ```text
//! cargo run --release --example find_bytes                     makes files, and searches them
//! cargo run --release --example find_bytes -- BYTES PATH...    searches files and directories
//! ```
//!
//! A `Pool` has the threads, each with one role (`finder.rs`):
//!
//! ```text
//!        files              reads                                CQEs
//!  main -------> workers ----------> submitter ------> kernel ---------> reapers
//!   ^               |                                                       |
//!   +---------------+-------------------- events ---------------------------+
//! ```
//!
//! - **main** walks through directories, asleep while too many files wait for a worker;
//! - a **worker** opens a file and submits reads of it, asleep while too many are in flight;
//! - a **reaper** searches what was read. It waits for nothing: it makes the others' room.
//!
//! A read, with its buffer and its file, lies in a slab, and its `user_data` is its key there.
//! Only the CQE takes it out: as long as the kernel works on it, it belongs to the kernel. In
//! the end the pool says whether there is still such a read; then the slab is never freed.
//!
//! Each read goes on a little into the next, so that a match which lies across the two is in
//! one of them, and reads may complete in any order.

mod demo;
mod finder;

use std::env;
use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringway::pool::Stats;

use finder::Finder;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let pattern = arguments.next().map(OsStringExt::into_vec);
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let all = match pattern {
        None => demo::run().map(|()| true),
        Some(pattern) => print(pattern, &paths),
    };
    match all {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            complain(why);
            ExitCode::FAILURE
        }
    }
}

/// Prints the matches. Whether everything could be searched.
fn print(pattern: Vec<u8>, paths: &[PathBuf]) -> Result<bool, Box<dyn Error>> {
    if pattern.is_empty() || paths.is_empty() {
        return Err("give bytes to look for, and files or directories; or nothing".into());
    }
    let mut is_all = true;
    search(pattern, paths, |path, place| match place {
        Ok(Some(at)) => say(format_args!("{}: {at}", path.display())),
        Ok(None) => {}
        Err(error) => {
            complain(format_args!("cannot search '{}': {error}", path.display()));
            is_all = false;
        }
    })?;
    Ok(is_all)
}

/// Searches files, and those below directories; `tell` is called for each, and for what
/// cannot be searched. Says what it took.
fn search(
    pattern: Vec<u8>,
    paths: &[PathBuf],
    mut tell: impl FnMut(&Path, io::Result<Option<u64>>),
) -> Result<Stats, Box<dyn Error>> {
    let finder = Finder::new(pattern)?;
    let (mut to_do, mut awaited) = (paths.to_vec(), 0);
    while awaited > 0 || !to_do.is_empty() {
        match to_do.pop() {
            Some(folder) if folder.is_dir() => match list(&folder) {
                Ok(entries) => to_do.extend(entries),
                Err(error) => tell(&folder, Err(error)),
            },
            Some(file) => {
                finder.give(file)?;
                awaited += 1;
            }
            None => {}
        }
        let is_all_given = to_do.is_empty() && awaited > 0;
        if let Some((file, place)) = finder.next(is_all_given)? {
            tell(&file, place);
            awaited -= 1;
        }
    }
    finder.end()
}

/// The files and directories of a directory. Links are not followed: they may lead back.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_file() {
            entries.push(entry.path());
        }
    }
    Ok(entries)
}

/// Prints a line. That nobody wants to read it is no failure.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "find_bytes: {line}");
}
