//! `cp`: copies a file over one io_uring that all threads share.
//!
//! ```text
//! cargo run --release --example cp              makes a file, copies it, compares the two
//! cargo run --release --example cp -- SRC DST   copies SRC to DST
//! ```
//!
//! Each thread has one role (`crew.rs`):
//!
//! ```text
//!         operations              notices                            CQEs
//!   main -------------> workers ----------> submitter ---> kernel ---------> reapers
//!    ^                     ^                                                  |  |
//!    |                     +--------- the next operation of a chunk ----------+  |
//!    +----------------------------------- events --------------------------------+
//! ```
//!
//! - a **worker** pops a free SQE, prepares the operation, and pushes it;
//! - the **submitter** enters the kernel, once for all that was pushed meanwhile;
//! - a **reaper** waits for CQEs and knows what follows: after a read the write of the
//!   same buffer, after a short read or write the rest of it, after a write another read;
//! - **main** says what is to be done, and waits for events.
//!
//! What goes from hand to hand is an operation that owns all it needs, buffer and files
//! included (`op.rs`). As long as the kernel works on it, it belongs to the kernel.
//!
//! The copy is written under a temporary name, synced, and given its name when it is
//! whole, and the permissions of the source: nobody sees half a file. Holes stay holes
//! (`plan.rs`). A source that grows meanwhile is copied up to its former length, one that
//! shrinks up to where a read met its end. What has no positions, such as a FIFO, is
//! read one chunk at a time until it ends.

mod crew;
mod demo;
mod op;
mod plan;

use std::env;
use std::error::Error;
use std::ffi::CString;
use std::fmt::{self, Display};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crew::{Crew, Event, IN_FLIGHT};
use op::{Chunk, Op, Tally, Transfer};
use plan::Plan;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cp: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let crew = Crew::hire()?;
    match arguments {
        [] => demo::run(&crew)?,
        [from, to] => say(cp(&crew, from, to)?),
        _ => return Err("give a source and a destination, or nothing".into()),
    }
    say(crew.dismiss()?);
    Ok(())
}

/// Prints a line. That nobody wants to read it is no failure.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What a copy came to.
struct Report {
    tally: Tally,
    moving: Duration,
    syncing: Duration,
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            bytes,
            reads,
            writes,
        } = self.tally;
        let seconds = self.moving.as_secs_f64();
        let speed = bytes as f64 / 1e6 / seconds;
        let synced = self.syncing.as_secs_f64();
        write!(
            f,
            "copied {bytes} bytes in {seconds:.3} s ({speed:.0} MB/s) by {reads} reads and \
             {writes} writes, synced in {synced:.3} s"
        )
    }
}

/// Copies a file. On an error nothing is left behind.
fn cp(crew: &Crew, from: &Path, to: &Path) -> Result<Report, String> {
    let name = destination(from, to)?;
    let source = open(crew, from, libc::O_RDONLY).map_err(cannot("read", from))?;
    let info = source.metadata().map_err(cannot("read", from))?;
    let folder = match name.parent() {
        Some(folder) if folder != "" => folder,
        _ => Path::new("."),
    };
    let create = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
    let (target, temporary) = tempfile::Builder::new()
        .prefix(".cp-")
        .make_in(folder, |path| open(crew, path, create))
        .map_err(cannot("make a file in", folder))?
        .into_parts();

    // Files of /proc have no length before they are read.
    let is_stream = !info.is_file() || info.len() == 0;
    let plan = match is_stream {
        true => Plan::of_stream(),
        false => Plan::of_file(info.len()),
    };
    let transfer = Arc::new(Transfer {
        source,
        target,
        is_stream,
        plan: Mutex::new(plan),
        bar: progress_bar(&info, is_stream),
    });

    let start = Instant::now();
    let tally = move_chunks(crew, &transfer);
    transfer.bar.finish_and_clear();
    let tally = tally.map_err(cannot("copy", from))?;
    let moving = start.elapsed();

    let start = Instant::now();
    finish(crew, transfer, &info).map_err(cannot("write", to))?;
    let syncing = start.elapsed();
    temporary.persist(name).map_err(cannot("write", to))?;
    Ok(Report {
        tally,
        moving,
        syncing,
    })
}

/// Says what could not be done.
fn cannot<E: Display>(what: &str, path: &Path) -> impl FnOnce(E) -> String {
    move |error| format!("cannot {what} '{}': {error}", path.display())
}

/// The name that the copy gets, behind symbolic links, if it may have it.
fn destination(from: &Path, to: &Path) -> Result<PathBuf, String> {
    let source = fs::metadata(from).map_err(cannot("read", from))?;
    if source.is_dir() {
        return Err(cannot("read", from)("it is a directory"));
    }
    let refuse = |why| Err(cannot("write", to)(why));
    match fs::metadata(to) {
        Ok(old) if old.is_dir() => refuse("it is a directory"),
        Ok(old) if !old.is_file() => refuse("it is not a regular file"),
        Ok(old) if (old.dev(), old.ino()) == (source.dev(), source.ino()) => {
            refuse("it is the source")
        }
        Ok(_) => fs::canonicalize(to).map_err(cannot("write", to)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(to.to_owned()),
        Err(error) => Err(cannot("write", to)(error)),
    }
}

fn open(crew: &Crew, path: &Path, flags: i32) -> io::Result<File> {
    let fd = crew.call(Op::Open {
        path: CString::new(path.as_os_str().as_bytes())?,
        flags: flags | libc::O_CLOEXEC,
        mode: 0o600,
    })?;
    // SAFETY: the kernel has just opened this descriptor for us.
    Ok(unsafe { File::from_raw_fd(fd.cast_signed()) })
}

fn progress_bar(source: &Metadata, is_stream: bool) -> ProgressBar {
    if is_stream {
        let style = ProgressStyle::with_template("{bytes}, {binary_bytes_per_sec}");
        return ProgressBar::new_spinner().with_style(style.expect("a valid template"));
    }
    let style = "{wide_bar} {bytes} of {total_bytes}, {binary_bytes_per_sec}";
    let style = ProgressStyle::with_template(style).expect("a valid template");
    // Holes are not copied.
    ProgressBar::new(source.len().min(source.blocks() * 512)).with_style(style)
}

/// Sets the chunks off and waits for all of them, also when one fails: when this returns
/// a result, nothing is in flight.
fn move_chunks(crew: &Crew, transfer: &Arc<Transfer>) -> io::Result<Tally> {
    let chunks = if transfer.is_stream { 1 } else { IN_FLIGHT };
    for _ in 0..chunks {
        crew.start(Chunk::start(transfer.clone()));
    }
    let mut total = Tally::default();
    let mut outcome = Ok(());
    for _ in 0..chunks {
        if let Event::Retired(tally, result) = crew.event()? {
            total += tally;
            outcome = outcome.and(result);
        }
    }
    outcome.map(|()| total)
}

/// Makes a file of the data: its length, its permissions, on stable storage.
fn finish(crew: &Crew, transfer: Arc<Transfer>, source: &Metadata) -> io::Result<()> {
    // A hole at the end is nothing but length.
    transfer.target.set_len(transfer.plan().end())?;
    let permissions = Permissions::from_mode(source.mode() & 0o777);
    transfer.target.set_permissions(permissions)?;
    crew.call(Op::Sync(transfer.clone()))?;
    if let Some(transfer) = Arc::into_inner(transfer) {
        for file in [transfer.source, transfer.target] {
            crew.call(Op::Close(ManuallyDrop::new(file)))?;
        }
    }
    Ok(())
}
