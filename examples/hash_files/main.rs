//! `hash_files`: the SHA-256 of files, read over one io_uring and hashed on threads.
//!
//! ```text
//! cargo run --release --example hash_files             makes 64 files, hashes them twice
//! cargo run --release --example hash_files -- FILE...  prints what sha256sum(1) prints
//! ```
//!
//! Each file takes these steps (`lane.rs`), 16 files at a time (`hasher.rs`):
//!
//! ```text
//! openat -> statx -> files_update, close -> read_fixed -> hash -> ... -> close_direct
//!           its type  into the table of      into a        a job,  the    out of the
//!           and size  files, one chain       registered    beside  next   table
//!                                            buffer        the     chunk
//!                                                          ring
//! ```
//!
//! One thread reaps, and starts the step that follows. To hash is nothing that the kernel
//! could do: it is a job for the offload's threads, and completes through the ring as the
//! others do, to the same thread.

mod demo;
mod hasher;
mod lane;

use std::error::Error;
use std::ffi::CString;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;
use std::{env, thread};

use indicatif::{ProgressBar, ProgressStyle};

use hasher::Hasher;
use lane::Hash;

/// Bytes that are read and hashed at a time.
const CHUNK: u32 = 128 << 10;

fn main() -> ExitCode {
    // No argument has a NUL in it.
    let names = env::args_os()
        .skip(1)
        .map(|name| CString::new(name.into_vec()));
    let names: Vec<CString> = names.filter_map(Result::ok).collect();
    let all = match names.is_empty() {
        true => demo::run().map(|()| true),
        false => print(&names),
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

/// Prints the digests. Whether there is one of each file.
fn print(names: &[CString]) -> Result<bool, Box<dyn Error>> {
    let mut hasher = hasher(Path::new("."))?;
    let bar = progress_bar();
    let digests = hasher.hash(names, &bar);
    bar.finish_and_clear();
    let mut are_all = true;
    for (name, digest) in names.iter().zip(digests?) {
        let name = name.to_string_lossy();
        match digest {
            Ok(digest) => say(format_args!("{}  {name}", hex(&digest))),
            Err(error) => {
                complain(format_args!("cannot hash '{name}': {error}"));
                are_all = false;
            }
        }
    }
    Ok(are_all)
}

/// For files whose names are relative to this directory.
fn hasher(dir: &Path) -> Result<Hasher, Box<dyn Error>> {
    let dir = File::open(dir)?;
    Hasher::new(dir, CHUNK, thread::available_parallelism()?.get())
}

fn progress_bar() -> ProgressBar {
    let style = "{wide_bar} {bytes} of {total_bytes}, {binary_bytes_per_sec}";
    let style = ProgressStyle::with_template(style).expect("a valid template");
    ProgressBar::new(0).with_style(style)
}

fn hex(digest: &Hash) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Prints a line. That nobody wants to read it is no failure.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "hash_files: {line}");
}
