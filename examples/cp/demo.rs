//! What `cp` does without arguments: makes a file, copies it, compares the two.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::crew::Crew;
use crate::{cannot, cp, say};

const MIB: usize = 1 << 20;

pub fn run(crew: &Crew) -> Result<(), String> {
    let folder = tempfile::Builder::new()
        .prefix("ringway-cp-")
        .tempdir()
        .map_err(|error| format!("cannot make a folder for temporary files: {error}"))?;
    let (from, to) = (folder.path().join("original"), folder.path().join("copy"));
    let made = make(&from).map_err(cannot("write", &from))?;
    say(format_args!("made a file of {made}"));
    say(cp(crew, &from, &to)?);
    let copied = compare(&from, &to).map_err(cannot("use", &to))?;
    say(format_args!(
        "compared the two: every byte is equal, {copied}"
    ));
    folder.close().map_err(cannot("remove", &from))
}

/// 192 MiB of noise around a hole of 64 MiB, and a tail of odd length.
fn make(path: &Path) -> io::Result<String> {
    let mut file = File::create(path)?;
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    noise.write(&mut file, 128 * MIB)?;
    file.seek(SeekFrom::Current(64 * MIB as i64))?;
    noise.write(&mut file, 64 * MIB + 12_345)?;
    size(&file)
}

fn size(file: &File) -> io::Result<String> {
    let info = file.metadata()?;
    let (len, stored) = (info.len(), info.blocks() * 512);
    Ok(format!("{len} bytes, {stored} of them on the disk"))
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

fn compare(original: &Path, copy: &Path) -> io::Result<String> {
    let (mut original, mut copy) = (File::open(original)?, File::open(copy)?);
    let (mut one, mut other) = (vec![0; MIB], vec![0; MIB]);
    let mut left = original.metadata()?.len();
    let mut equal = copy.metadata()?.len() == left;
    while equal && left > 0 {
        let now = left.min(MIB as u64) as usize;
        original.read_exact(&mut one[..now])?;
        copy.read_exact(&mut other[..now])?;
        equal = one == other;
        left -= now as u64;
    }
    match equal {
        true => size(&copy),
        false => Err(io::Error::other("it is not equal to the original")),
    }
}
