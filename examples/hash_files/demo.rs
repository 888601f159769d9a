//! What `hash_files` does without arguments: hashes files of its own, and compares.

use std::error::Error;
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::{hasher, hex, progress_bar, say};

const FILES: usize = 64;

pub fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::Builder::new()
        .prefix("ringway-hash_files-")
        .tempdir()?;
    let names = make(folder.path())?;
    say(format_args!("made {FILES} files"));

    let mut hasher = hasher(folder.path())?;
    let bar = progress_bar();
    let start = Instant::now();
    let digests = hasher.hash(&names, &bar);
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let (bytes, chunks) = hasher.hashed();
    let stats = hasher.driver().stats();
    let speed = bytes as f64 / 1e6 / seconds;
    say(format_args!(
        "hashed {bytes} bytes in {chunks} chunks, in {seconds:.3} s ({speed:.0} MB/s); \
         {} CQEs in {} batches, {} enters",
        stats.cqes, stats.batches, stats.enters
    ));

    let start = Instant::now();
    for (name, digest) in names.iter().zip(digests?) {
        let digest = digest?;
        let content = fs::read(folder.path().join(name.to_str()?))?;
        let expected = Sha256::digest(content);
        if expected != digest {
            let (name, digest) = (name.to_string_lossy(), hex(&digest));
            return Err(format!("{name}: not equal to a synchronous pass: {digest}").into());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    say(format_args!(
        "every digest is equal to that of a synchronous pass, which took {seconds:.3} s"
    ));
    folder.close()?;
    Ok(())
}

/// From nothing to some MiB, of odd lengths.
fn make(folder: &Path) -> io::Result<Vec<CString>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut names = Vec::new();
    for file in 0..FILES {
        let words = file.pow(3) * 2;
        let mut content = Vec::with_capacity(words * 8 + 7);
        for _ in 0..words {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend(state.to_ne_bytes());
        }
        content.extend(&[7; 7][..file % 8]);
        let name = format!("file {file}");
        fs::write(folder.join(&name), content)?;
        names.push(CString::new(name)?);
    }
    Ok(names)
}
