//! A folder to copy in, the program that copies, and what to compare afterwards.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::built::{Running, example, start, wait_for};

/// The example.
pub fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| example("cp"));
    &PROGRAM
}

/// A folder for one test.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        // With room for files of some GiB, if they have holes.
        let dir = env!("CARGO_TARGET_TMPDIR");
        Self(TempDir::new_in(dir).unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path());
        command.env("TMPDIR", self.0.path());
        command
    }

    pub fn command(&self, from: &str, to: &str) -> Command {
        self.run(program(), &[from, to])
    }

    /// What it printed.
    #[track_caller]
    pub fn cp(&self, from: &str, to: &str) -> String {
        let mut expected = self.names();
        let said = succeeded(start(&mut self.command(from, to)).end());
        expected.push(to.to_owned());
        expected.sort();
        expected.dedup();
        assert_eq!(self.names(), expected);
        said
    }

    /// Fails with this in its message, and with the folder as it was.
    #[track_caller]
    pub fn refuses(&self, mut command: Command, message: &str) {
        let before = self.names();
        let output = start(&mut command).end();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{} {said}", output.status);
        assert!(said.starts_with("cp: ") && said.contains(message), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
        assert_eq!(self.names(), before);
    }
}

#[track_caller]
pub fn succeeded(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    // No progress bar where there is no terminal.
    assert!(
        output.status.success() && said.is_empty(),
        "{} {said}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The number in front of this word in what was printed.
pub fn count(said: &str, word: &str) -> u64 {
    let mut words = said.split_whitespace();
    let at = words
        .clone()
        .position(|each| each == word)
        .unwrap_or_else(|| panic!("{said}"));
    words.nth(at - 1).unwrap().parse().unwrap()
}

pub fn fifo(path: &Path) {
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o640) }, 0);
}

/// The writing end, once somebody waits at the other.
pub fn writer(path: &Path, reader: &mut Running) -> File {
    wait_for("a reader of the FIFO", || {
        assert!(!reader.is_over(), "it did not wait for a writer");
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        options.open(path).ok()
    })
}

pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

/// Where a file has data.
pub fn data(file: &File) -> Vec<(u64, u64)> {
    let seek = |from: u64, whence| {
        // SAFETY: the call takes numbers only.
        let at = unsafe { libc::lseek64(file.as_raw_fd(), from as i64, whence) };
        u64::try_from(at).ok()
    };
    let mut found = Vec::new();
    let mut end = 0;
    while let Some(start) = seek(end, libc::SEEK_DATA) {
        end = seek(start, libc::SEEK_HOLE).unwrap();
        found.push((start, end));
    }
    found
}

/// Compares lengths, and all bytes wherever either file has data.
#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let len = one.metadata().unwrap().len();
    assert_eq!(other.metadata().unwrap().len(), len);
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for (mut at, end) in data(&one).into_iter().chain(data(&other)) {
        while at < end {
            let now = (end - at).min(1 << 20) as usize;
            one.read_exact_at(&mut a[..now], at).unwrap();
            other.read_exact_at(&mut b[..now], at).unwrap();
            assert!(
                a[..now] == b[..now],
                "differs between {at} and {}",
                at + now as u64
            );
            at += now as u64;
        }
    }
}

pub fn stored(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}
