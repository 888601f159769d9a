//! The `find_bytes` example: what it finds is what a search by `std` finds, whatever lies
//! between two reads, and what cannot be searched leaves the others.

#[path = "../child/built.rs"]
mod built;
#[path = "../child/mod.rs"]
mod child;

#[path = "../../examples/find_bytes/finder.rs"]
mod finder;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use built::{example, start};
use finder::{CHUNK, Finder, READS};
use tempfile::TempDir;

const NEEDLE: &[u8] = b"needle";

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// So many bytes with needles at these places; one at the end may be cut off.
fn hay(len: usize, needles: &[usize]) -> Vec<u8> {
    let mut hay = vec![b'n'; len];
    for needle in needles {
        for (place, byte) in hay[*needle..].iter_mut().zip(NEEDLE) {
            *place = *byte;
        }
    }
    hay
}

/// Files of all kinds, in directories, and more of them than reads can be in flight.
fn tree(folder: &Path) {
    let n = NEEDLE.len();
    let mut files = vec![
        hay(0, &[]),
        hay(n - 1, &[0]),
        hay(n, &[0]),
        hay(n + 1, &[1]),
        hay(CHUNK, &[CHUNK - n]),
        hay(CHUNK, &[CHUNK - 1]),
        hay(5 * CHUNK + 77, &[]),
        hay(5 * CHUNK + 77, &[5 * CHUNK + 77 - n]),
        hay(
            5 * CHUNK + 77,
            &[4 * CHUNK + 5, 3 * CHUNK + 5, 3 * CHUNK + 50],
        ),
        hay(5 * CHUNK, &[0, CHUNK - 2]),
        hay(5 * CHUNK, &[5 * CHUNK - n + 1]),
    ];
    // Across two reads in every way, and across the end.
    files.extend((0..=n).map(|i| hay(3 * CHUNK + i, &[2 * CHUNK - i])));
    files.extend((0..=n).map(|i| hay(2 * CHUNK + i, &[2 * CHUNK])));
    files.extend((0..10 * READS as usize).map(|i| match i % 3 {
        0 => hay(i * 17, &[]),
        _ => hay(i * 17 + n, &[i * 5]),
    }));
    for (i, content) in files.iter().enumerate() {
        let below = match i % 4 {
            0 => folder.join("one"),
            1 => folder.join("one/two"),
            _ => folder.join(format!("three {}", i % 7)),
        };
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(format!("file {i}")), content).unwrap();
    }
    fs::create_dir(folder.join("empty")).unwrap();
    // Neither is followed.
    symlink("one", folder.join("link")).unwrap();
    symlink("../../..", folder.join("one/two/link")).unwrap();
}

/// The lines that the program is to print, sorted.
fn expected(folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            expected(&path, lines);
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap();
            let place = content.windows(NEEDLE.len()).position(|it| it == NEEDLE);
            lines.extend(place.map(|place| format!("{}: {place}", path.display())));
        }
    }
    lines.sort();
}

#[track_caller]
fn run(arguments: &[&Path]) -> Output {
    start(Command::new(example("find_bytes")).args(arguments)).end()
}

fn lines(bytes: Vec<u8>) -> Vec<String> {
    let text = String::from_utf8(bytes).unwrap();
    let mut lines: Vec<_> = text.lines().map(String::from).collect();
    lines.sort();
    lines
}

#[test]
fn finds_what_std_finds() {
    let folder = folder();
    tree(folder.path());
    let mut all = Vec::new();
    expected(folder.path(), &mut all);
    assert!(all.len() > 2 * READS as usize);
    let output = run(&[Path::new("needle"), folder.path()]);
    assert_eq!(lines(output.stderr), [""; 0]);
    assert_eq!(lines(output.stdout), all);
    assert_eq!(output.status.code(), Some(0));

    let output = run(&[Path::new("no such needle"), folder.path()]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn bytes_longer_than_a_chunk() {
    let folder = folder();
    let pattern: Vec<u8> = (0..CHUNK + 1000)
        .map(|i| (i * 31 + i / 251) as u8)
        .collect();
    let mut content = vec![b'.'; 2 * CHUNK - 500];
    content.extend(&pattern);
    let path = folder.path().join("file");
    fs::write(&path, content).unwrap();
    let finder = Finder::new(pattern).unwrap();
    finder.give(path.clone()).unwrap();
    let (found, place) = finder.next(true).unwrap().unwrap();
    assert_eq!(
        (found, place.unwrap()),
        (path, Some(2 * CHUNK as u64 - 500))
    );
    finder.end().unwrap();
}

#[test]
fn what_cannot_be_searched_leaves_the_others() {
    let folder = folder();
    tree(folder.path());
    let at = |name: &str| folder.path().join(name);
    let mut all = Vec::new();
    expected(folder.path(), &mut all);
    let mut bad = vec![
        (at("missing"), "No such file or directory"),
        (at("one/file 0/below a file"), "Not a directory"),
        (PathBuf::from("/dev/null"), "not a regular file"),
    ];
    // SAFETY: a system call without arguments.
    match unsafe { libc::geteuid() } {
        0 => child::skip(
            "what_cannot_be_searched_leaves_the_others, the unreadable ones",
            "root may read them",
        ),
        _ => {
            fs::write(at("unreadable"), NEEDLE).unwrap();
            fs::create_dir(at("closed")).unwrap();
            for name in ["unreadable", "closed"] {
                fs::set_permissions(at(name), fs::Permissions::from_mode(0o000)).unwrap();
                bad.push((at(name), "Permission denied"));
            }
        }
    }
    let needle = Path::new("needle");
    let before: Vec<&Path> = (bad[..3].iter()).map(|(path, _)| path.as_path()).collect();
    let output = run(&[&[needle], &*before, &[folder.path()]].concat());
    assert_eq!(lines(output.stdout), all);
    assert_eq!(output.status.code(), Some(1));
    let said = lines(output.stderr);
    assert_eq!(said.len(), bad.len(), "{said:?}");
    for (path, why) in bad {
        let start = format!("find_bytes: cannot search '{}': {why}", path.display());
        assert!(said.iter().any(|line| line.starts_with(&start)), "{start}");
    }
}

/// The kernel gives less than the length that there was: what comes is searched, and that
/// there was no more is told if nothing was found before.
#[test]
fn a_file_that_is_shorter_than_it_says() {
    let path = PathBuf::from("/sys/kernel/uevent_seqnum");
    let content = fs::read(&path).unwrap();
    assert!(fs::metadata(&path).unwrap().len() > content.len() as u64);
    for (pattern, is_there) in [(b"\n", true), (b"x", false)] {
        let finder = Finder::new(pattern.to_vec()).unwrap();
        finder.give(path.clone()).unwrap();
        let (_, place) = finder.next(true).unwrap().unwrap();
        match place {
            Ok(place) => assert!(is_there && place.is_some()),
            Err(error) => {
                assert!(
                    !is_there && error.to_string().contains("shorter"),
                    "{error}"
                );
            }
        }
        assert_eq!(finder.end().unwrap().in_flight, 0);
    }
}

#[test]
fn leaves_no_file_open() {
    child::in_child("leaves_no_file_open", || {
        let folder = folder();
        tree(folder.path());
        let entries = fs::read_dir(folder.path().join("three 3")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        // A hole of twice the reads that can be in flight: a worker waits for room.
        files.push(folder.path().join("hole"));
        let hole = fs::File::create(&files[files.len() - 1]).unwrap();
        hole.set_len(2 * u64::from(READS) * CHUNK as u64).unwrap();
        drop(hole);
        let before = child::traces();
        // To the end, and ended in the middle of it.
        for told in [files.len(), 0] {
            let finder = Finder::new(NEEDLE.to_vec()).unwrap();
            for file in &files {
                finder.give(file.clone()).unwrap();
            }
            for _ in 0..told {
                let (path, place) = finder.next(true).unwrap().unwrap();
                assert!(place.is_ok(), "{path:?}: {place:?}");
            }
            let stats = finder.end().unwrap();
            assert_eq!((stats.completed, stats.in_flight), (stats.accepted, 0));
            assert!(told == 0 || stats.completed > 2 * u64::from(READS));
            assert_eq!(child::traces(), before);
        }
    });
}

#[test]
fn says_what_it_needs_and_shows_itself() {
    for arguments in [&["needle"][..], &["", "."]] {
        let output = start(Command::new(example("find_bytes")).args(arguments)).end();
        let said = lines(output.stderr);
        assert_eq!((said.len(), output.status.code()), (1, Some(1)));
        assert!(said[0].starts_with("find_bytes: give bytes"), "{said:?}");
        assert!(output.stdout.is_empty());
    }
    let folder = folder();
    let mut demo = Command::new(example("find_bytes"));
    let output = start(demo.env("TMPDIR", folder.path())).end();
    let said = lines(output.stdout).join("\n");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{said}"
    );
    assert!(
        said.contains("each where a synchronous pass finds them"),
        "{said}"
    );
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "it cleans up");
}
