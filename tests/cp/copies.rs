//! The program on what can be copied.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;

use crate::built::{PAUSE, start, wait_for};
use crate::child::skip;
use crate::folder::{Folder, assert_same, count, fifo, noise, program, stored, succeeded, writer};
use crate::plan::CHUNK;

#[test]
fn files_of_all_sizes() {
    let folder = Folder::new();
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5_000_001, 65 * CHUNK] {
        let content = noise(len);
        folder.file("from", &content);
        let said = folder.cp("from", "to");
        assert_eq!(count(&said, "bytes"), len as u64);
        assert!(
            fs::read(folder.path("to")).unwrap() == content,
            "{len} bytes"
        );
    }
}

#[test]
fn holes_stay_holes() {
    let folder = Folder::new();
    let from = folder.path("from");
    let file = File::create(&from).unwrap();
    let holes_and_data = |data: &[u64]| {
        file.set_len(0).unwrap();
        for at in data {
            file.write_all_at(&noise(300_000), *at).unwrap();
        }
        file.set_len(20 << 20).unwrap();
        folder.cp("from", "to");
        assert_same(&from, &folder.path("to"));
        let least = data.len() as u64 * 300_000;
        let copy = stored(&folder.path("to"));
        assert!(
            (least..=least + (1 << 20)).contains(&copy),
            "{copy} on the disk"
        );
    };
    holes_and_data(&[]);
    holes_and_data(&[0]);
    holes_and_data(&[7 << 20]);
    holes_and_data(&[(20 << 20) - 300_000]);
    holes_and_data(&[0, 1 << 20, 7 << 20, 12_345_678, (20 << 20) - 300_000]);
}

#[test]
fn offsets_beyond_4_gib() {
    let folder = Folder::new();
    let from = folder.path("from");
    let file = File::create(&from).unwrap();
    let len = (5 << 30) + 77;
    for at in [0, (4 << 30) - 1000, (4 << 30) + 200_000, len - 1000] {
        file.write_all_at(&noise(1000 + at as usize % 7), at)
            .unwrap();
    }
    folder.cp("from", "to");
    assert_same(&from, &folder.path("to"));
    assert!(stored(&folder.path("to")) < 1 << 20);
}

#[test]
fn a_fifo_gives_what_it_has() {
    let folder = Folder::new();
    fifo(&folder.path("fifo"));
    let mut reader = start(&mut folder.command("fifo", "to"));
    let mut end_of_writing = writer(&folder.path("fifo"), &mut reader);
    let content = noise(3_000_000);
    let mut rest = &content[..];
    let mut len = 1;
    while !rest.is_empty() {
        let now = &rest[..len.min(rest.len())];
        // A FIFO that is full says so.
        match end_of_writing.write(now) {
            Ok(count) => rest = &rest[count..],
            Err(_) => thread::sleep(PAUSE),
        }
        len = len * 7 % 10_007 + 1;
    }
    drop(end_of_writing);
    let said = succeeded(reader.end());
    assert!(fs::read(folder.path("to")).unwrap() == content);
    assert!(
        count(&said, "reads") > (3_000_000 / CHUNK) as u64 + 2,
        "{said}"
    );
    assert_eq!(folder.names(), ["fifo", "to"]);
}

#[test]
fn files_without_a_true_length() {
    let test = "files_without_a_true_length";
    let folder = Folder::new();
    // The one claims to be empty, the other to be a page long.
    for from in ["/proc/filesystems", "/sys/kernel/fscaps"] {
        let Ok(content) = fs::read(from) else {
            skip(test, &format!("there is no {from}"));
            continue;
        };
        assert_ne!(fs::metadata(from).unwrap().len(), content.len() as u64);
        folder.cp(from, "to");
        assert_eq!(fs::read(folder.path("to")).unwrap(), content);
    }
}

/// Copies, and calls `change` again and again from when the copy has begun.
fn copy_meanwhile(folder: &Folder, mut change: impl FnMut(&File)) -> Vec<u8> {
    let mut options = OpenOptions::new();
    let file = options.write(true).open(folder.path("from")).unwrap();
    let mut copying = start(&mut folder.command("from", "to"));
    wait_for("the end of the copy", || {
        if folder.names().iter().any(|name| name.starts_with(".cp-")) {
            change(&file);
        }
        copying.is_over().then_some(())
    });
    succeeded(copying.end());
    assert_eq!(folder.names(), ["from", "to"]);
    fs::read(folder.path("to")).unwrap()
}

#[test]
fn a_source_that_grows() {
    let content = noise(24 << 20);
    wait_for("a copy that the source outgrows", || {
        let folder = Folder::new();
        folder.file("from", &content);
        let mut len = content.len() as u64;
        let copy = copy_meanwhile(&folder, |file| {
            file.write_all_at(&[7; 10_000], len).unwrap();
            len += 10_000;
        });
        assert!(copy == content, "{} bytes", copy.len());
        (len > content.len() as u64).then_some(())
    });
}

#[test]
fn a_source_that_shrinks() {
    let content = noise(24 << 20);
    wait_for("a copy that the source does not wait for", || {
        let folder = Folder::new();
        folder.file("from", &content);
        let mut len = content.len() as u64;
        let copy = copy_meanwhile(&folder, |file| {
            len = len.saturating_sub(1 << 20).max(4 << 20);
            file.set_len(len).unwrap();
        });
        assert!(copy.len() <= content.len() && copy.len() as u64 >= len);
        let (kept, cut) = copy.split_at(len as usize);
        assert!(content.starts_with(kept), "what stayed in the file");
        // Where a folio of the page cache is larger than a page, what is cut off while it is
        // read may be seen as zeros.
        let pairs = cut.iter().zip(&content[kept.len()..]);
        let others = pairs.filter(|(copied, original)| copied != original);
        assert!(others.map(|(copied, _)| *copied).all(|byte| byte == 0));
        (copy.len() < content.len()).then_some(())
    });
}

#[test]
fn an_old_file_is_replaced() {
    let folder = Folder::new();
    let from = folder.file("from", b"new");
    fs::set_permissions(&from, PermissionsExt::from_mode(0o6751)).unwrap();
    folder.file("old", b"old and longer");
    symlink("old", folder.path("link")).unwrap();
    folder.cp("from", "link");
    assert_eq!(
        fs::read_link(folder.path("link")).unwrap(),
        Path::new("old")
    );
    assert_eq!(fs::read(folder.path("old")).unwrap(), b"new");
    assert_eq!(
        fs::metadata(folder.path("old")).unwrap().mode() & 0o7777,
        0o751
    );
}

#[test]
fn without_arguments() {
    let folder = Folder::new();
    let said = succeeded(start(&mut folder.run(program(), &[])).end());
    assert!(said.contains("every byte is equal"), "{said}");
    assert!(count(&said, "reads") > 1000, "{said}");
    assert!(folder.names().is_empty());
}
