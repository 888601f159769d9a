//! What `find_bytes` does without arguments: searches files of its own, and compares.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use crate::finder::CHUNK;
use crate::{say, search};

const FILES: usize = 100;
const NEEDLE: &[u8] = b"a needle";

pub fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::Builder::new()
        .prefix("ringway-find_bytes-")
        .tempdir()?;
    make(folder.path())?;
    say(format_args!("made {FILES} files"));

    let mut found = Vec::new();
    let start = Instant::now();
    let stats = search(NEEDLE.to_vec(), &[folder.path().to_owned()], |path, at| {
        found.push((path.to_owned(), at));
    })?;
    let seconds = start.elapsed().as_secs_f64();
    say(format_args!(
        "searched them in {seconds:.3} s; {} reads, reaped in {} batches, {} enters",
        stats.completed, stats.batches, stats.enters
    ));

    let (searched, mut matches) = (found.len(), 0);
    for (path, at) in found {
        let (at, content) = (at?, fs::read(&path)?);
        let mut places = content.windows(NEEDLE.len());
        if at != places.position(|bytes| bytes == NEEDLE).map(|at| at as u64) {
            let name = path.display();
            return Err(format!("{name}: not equal to a synchronous pass: {at:?}").into());
        }
        matches += usize::from(at.is_some());
    }
    if searched != FILES {
        return Err(format!("{searched} files were searched").into());
    }
    say(format_args!(
        "{matches} have the bytes, each where a synchronous pass finds them"
    ));
    folder.close()?;
    Ok(())
}

/// From nothing to three chunks, in directories, with needles in every other one.
fn make(folder: &Path) -> io::Result<()> {
    for file in 0..FILES {
        let mut content = vec![b'.'; file * 3 * CHUNK / FILES];
        let place = file * 7919 % (content.len() + 1);
        if file % 2 == 0 && place + NEEDLE.len() <= content.len() {
            content[place..][..NEEDLE.len()].copy_from_slice(NEEDLE);
        }
        let below = folder.join(format!("folder {}", file % 5));
        fs::create_dir_all(&below)?;
        fs::write(below.join(format!("file {file}")), content)?;
    }
    Ok(())
}
