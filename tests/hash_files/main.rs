//! The `hash_files` example: openat, statx, the file table, fixed reads, jobs whose
//! completions come through the ring, close; and the digests of a synchronous pass.

#[path = "../child/built.rs"]
mod built;
#[path = "../child/mod.rs"]
mod child;

#[path = "../../examples/hash_files/hasher.rs"]
mod hasher;
#[path = "../../examples/hash_files/lane.rs"]
mod lane;

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use built::{example, start};
use hasher::{Hasher, LANES};
use indicatif::ProgressBar;
use lane::{Chunk, Hash, Lane, News, Work};
use ringway::Sqe;
use ringway::pool::{Completion, Driver, Event, Outcome};
use ringway::prep::Fixed;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const CHUNK: u32 = 4096;

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Lengths about the chunk's, and beyond.
fn lengths(count: usize) -> Vec<usize> {
    let chunk = CHUNK as usize;
    let mut lengths = vec![0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 77];
    lengths.extend((lengths.len()..count).map(|i| i * 997 % (9 * chunk)));
    lengths
}

/// Files of these lengths, no two alike.
fn files(folder: &Path, lengths: &[usize]) -> Vec<CString> {
    let file = |(i, len): (usize, &usize)| {
        let name = format!("file {i}");
        let byte = |at: usize| (at * 31 + at / 251 * 7 + i) as u8;
        let content: Vec<u8> = (0..*len).map(byte).collect();
        fs::write(folder.join(&name), content).unwrap();
        CString::new(name).unwrap()
    };
    lengths.iter().enumerate().map(file).collect()
}

fn hasher(folder: &Path) -> Hasher {
    Hasher::new(File::open(folder).unwrap(), CHUNK, 2).unwrap()
}

/// The synchronous pass.
fn expected(folder: &Path, name: &CString) -> Hash {
    let content = fs::read(folder.join(name.to_str().unwrap())).unwrap();
    Sha256::digest(content).into()
}

fn hex(digest: &Hash) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn digests_equal_a_synchronous_pass() {
    let folder = folder();
    let lengths = lengths(64);
    let names = files(folder.path(), &lengths);
    let mut hasher = hasher(folder.path());
    let bar = ProgressBar::hidden();
    bar.set_length(0);
    let digests = hasher.hash(&names, &bar).unwrap();
    assert_eq!(digests.len(), 64);
    let mut different = HashSet::new();
    for ((name, digest), len) in names.iter().zip(digests).zip(&lengths) {
        let digest = digest.unwrap();
        assert_eq!(digest, expected(folder.path(), name), "{len} bytes");
        different.insert(digest);
    }
    let empty = lengths.iter().filter(|len| **len == 0).count();
    assert_eq!((different.len(), empty), (64, 1));
    assert!(
        different.iter().any(|digest| hex(digest)
            == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );

    // Each chunk was a job, and the bar saw every byte.
    let bytes: u64 = lengths.iter().map(|len| *len as u64).sum();
    let chunks: u64 = (lengths
        .iter()
        .map(|len| len.div_ceil(CHUNK as usize) as u64))
    .sum();
    assert_eq!(hasher.hashed(), (bytes, chunks));
    assert_eq!((bar.position(), bar.length()), (bytes, Some(bytes)));

    let stats = hasher.driver().stats();
    assert_eq!((stats.in_flight, stats.stale, stats.flushes), (0, 0, 0));
    // An open, a statx, a chain, a close, and a read that finds the end, for each file; and
    // a read and a job for each chunk. All of it came through the ring.
    assert_eq!(stats.cqes, 5 * 64 + 2 * chunks);
}

#[test]
fn a_file_that_fails_leaves_the_others() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let mut names = files(folder.path(), &lengths(40));
    let good = names.len();
    fs::create_dir(at("a directory")).unwrap();
    fs::write(at("unreadable"), "secret").unwrap();
    fs::set_permissions(at("unreadable"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut bad = vec![
        ("missing", libc::ENOENT),
        ("a directory", libc::EISDIR),
        ("file 0/below a file", libc::ENOTDIR),
    ];
    // SAFETY: a system call without arguments.
    match unsafe { libc::geteuid() } {
        0 => child::skip(
            "a_file_that_fails_leaves_the_others, the unreadable one",
            "root may read it",
        ),
        _ => bad.push(("unreadable", libc::EACCES)),
    }
    // Between the others, and more of them than there are lanes.
    for round in 0..LANES as usize {
        for (name, _) in &bad {
            names.insert(round * 2, CString::new(*name).unwrap());
        }
    }
    let mut hasher = hasher(folder.path());
    let digests = hasher.hash(&names, &ProgressBar::hidden()).unwrap();
    let mut seen = 0;
    for (name, digest) in names.iter().zip(digests) {
        match bad.iter().find(|(bad, _)| *bad == name.to_str().unwrap()) {
            Some((_, errno)) => assert_eq!(digest.unwrap_err().raw_os_error(), Some(*errno)),
            None => {
                assert_eq!(digest.unwrap(), expected(folder.path(), name));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, good);
    let other = hasher.hash(&[c"/dev/null".to_owned()], &ProgressBar::hidden());
    let error = other.unwrap().remove(0).unwrap_err();
    assert_eq!(error.to_string(), "not a regular file");
}

/// The next completion.
#[track_caller]
fn next(driver: &Driver) -> Completion {
    let mut found = None;
    while found.is_none() {
        let take = |event| match event {
            Event::Completed(completion) => found = Some(completion),
            Event::Stale(cqe) => panic!("{cqe:?}"),
        };
        driver
            .wait_reap(Some(Duration::from_secs(20)), take)
            .unwrap();
    }
    found.unwrap()
}

#[test]
fn leaves_no_file_open() {
    child::in_child("leaves_no_file_open", || {
        let folder = folder();
        let mut names = files(folder.path(), &lengths(50));
        names.push(c"missing".to_owned());
        let mut hasher = hasher(folder.path());
        let before = child::traces().0;
        for _ in 0..2 {
            for digest in &hasher.hash(&names, &ProgressBar::hidden()).unwrap()[..50] {
                digest.as_ref().unwrap();
            }
        }
        assert_eq!(child::traces().0, before);
        // Nor are they in the ring's table.
        for place in 0..LANES {
            let mut sqe = Sqe::default();
            let buf = vec![0; 1].leak();
            // SAFETY: the buffer is leaked.
            unsafe { sqe.prep_read(Fixed(place), buf.as_mut_ptr(), 1, 0) };
            hasher.driver().try_submit(sqe).unwrap();
            let errno = match next(hasher.driver()).outcome() {
                Outcome::Failed(errno) => errno.raw(),
                outcome => panic!("place {place}: {outcome:?}"),
            };
            assert_eq!(errno, libc::EBADF);
        }
    });
}

/// A file that cannot be read any more once it is in the table is taken out of it, and its
/// error is the one that is told.
#[test]
fn a_read_that_fails_closes_the_file() {
    let ring = ringway::Ring::builder(8).build().unwrap();
    ring.registrar().register_files_sparse(1).unwrap();
    // No buffers are registered: EFAULT.
    let driver = Driver::builder().build(ring).unwrap();
    let memory = vec![0u8; 8].leak();
    let buffer = Chunk {
        start: std::ptr::NonNull::from(memory).cast(),
        len: 8,
    };
    let dir = File::open("/").unwrap();
    let mut lane = Lane::new(0, buffer);
    let mut steps = Vec::new();
    for _ in 0..2 {
        lane.begin(c"/proc/self/exe".to_owned());
        let error = loop {
            // SAFETY: all of it outlives the loop, in which one thing at a time is in
            // flight.
            match unsafe { lane.work(dir.as_fd(), 7) } {
                Work::One(sqe) => driver.try_submit(sqe).unwrap(),
                Work::Two(sqes) => driver.try_submit_chain(sqes).unwrap(),
                Work::Job(_) => panic!("nothing was read"),
            };
            let completion = next(&driver);
            assert_eq!(completion.user_data(), 7);
            steps.push(completion.outcome());
            if let News::Done(digest) = lane.completed(&completion) {
                break digest.unwrap_err();
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    }
    // open, statx, chain, read, close.
    assert_eq!(steps.len(), 10);
    assert_eq!(steps[4], Outcome::Done(0));
    assert_eq!(steps[9], Outcome::Done(0), "the place was free again");
}

#[test]
fn the_program_says_what_sha256sum_says() {
    let folder = folder();
    let names = files(folder.path(), &[0, 3, 400_000]);
    let program = example("hash_files");
    let mut command = Command::new(&program);
    command.args(["file 0", "missing", "file 1", "file 2"]);
    let output = start(command.current_dir(folder.path())).end();
    let lines: String = names
        .iter()
        .map(|name| {
            let digest = hex(&expected(folder.path(), name));
            format!("{digest}  {}\n", name.to_str().unwrap())
        })
        .collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), lines);
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        err.starts_with("hash_files: cannot hash 'missing': No such file"),
        "{err}"
    );
    assert_eq!((err.lines().count(), output.status.code()), (1, Some(1)));

    let mut demo = Command::new(&program);
    demo.env("TMPDIR", folder.path());
    let output = start(&mut demo).end();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{said}"
    );
    assert!(said.contains("every digest is equal to that of a synchronous pass"));
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        3,
        "it cleans up"
    );
}
