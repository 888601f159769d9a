//! What `cp` does without arguments: makes a file, copies it, compares the two.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::crew::Crew;

const MIB: usize = 1 << 20;

pub fn run(crew: &Crew) -> Result<(), String> {
    let folder = tempfile::Builder::new()
        .prefix("ringway-cp-")
        .tempdir()
        .map_err(|error| format!("cannot make a folder for temporary files: {error}"))?;
    let (from, to) = (folder.path().join("original"), folder.path().join("copy"));
    make(&from).map_err(crate::cannot("write", &from))?;
    println!("made a file: {}", describe(&from)?);
    println!("{}", crate::cp(crew, &from, &to)?);
    match same(&from, &to) {
        Ok(true) => println!("compared the two byte for byte: equal; {}", describe(&to)?),
        Ok(false) => return Err("the copy is not equal to the original".into()),
        Err(error) => return Err(format!("cannot compare the files: {error}")),
    }
    folder
        .close()
        .map_err(|error| format!("cannot remove the temporary files: {error}"))
}

/// 192 MiB of noise around a hole of 64 MiB, and a tail of odd length.
fn make(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    noise.write(&mut file, 128 * MIB)?;
    file.seek(SeekFrom::Current(64 * MIB as i64))?;
    noise.write(&mut file, 64 * MIB + 12_345)
}

struct Noise(u64);

impl Noise {
    fn write(&mut self, file: &mut File, mut len: usize) -> io::Result<()> {
        let mut buffer = vec![0; MIB];
        while len > 0 {
            for word in buffer.as_chunks_mut().0 {
                *word = self.next().to_ne_bytes();
            }
            let now = len.min(MIB);
            file.write_all(&buffer[..now])?;
            len -= now;
        }
        Ok(())
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn describe(path: &Path) -> Result<String, String> {
    let info = fs::metadata(path).map_err(crate::cannot("read", path))?;
    let (bytes, stored) = (info.len(), info.blocks() * 512);
    Ok(format!("{bytes} bytes, {stored} on the disk"))
}

fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let mut left = one.metadata()?.len();
    if left != other.metadata()?.len() {
        return Ok(false);
    }
    let mut buffers = (vec![0; MIB], vec![0; MIB]);
    while left > 0 {
        let now = left.min(MIB as u64) as usize;
        let (a, b) = (&mut buffers.0[..now], &mut buffers.1[..now]);
        one.read_exact(a)?;
        other.read_exact(b)?;
        if a != b {
            return Ok(false);
        }
        left -= now as u64;
    }
    Ok(true)
}
