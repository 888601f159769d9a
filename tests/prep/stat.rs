//! The metadata of files.

use std::fs::{self, File};
use std::io::Write;
use std::mem::zeroed;
use std::os::unix::fs::{MetadataExt, symlink};

use ringway::prep::{Dir, StatxFlags};

use super::child::tried;
use super::gate::held;
use super::*;

/// Room for an answer, which the kernel has not written to.
fn blank() -> &'static mut libc::statx {
    // SAFETY: integers, for which zero is a value.
    Box::leak(Box::new(unsafe { zeroed() }))
}

/// The fields by which the tests know a file.
fn known(statx: &libc::statx) -> (u64, u32, u64, u32) {
    let (mode, links) = (statx.stx_mode.into(), statx.stx_nlink);
    (statx.stx_ino, mode, statx.stx_size, links)
}

#[test]
fn statx_says_what_std_says() {
    let ring = ring();
    let (path, file) = file("statx", b"0123456789");
    let dir = File::open(path.parent().unwrap()).unwrap();
    let (absolute, link) = (c_path(&path), path.with_file_name("link"));
    symlink("file", &link).unwrap();
    let (of_file, of_link, of_dir) = (
        file.metadata().unwrap(),
        fs::symlink_metadata(&link).unwrap(),
        dir.metadata().unwrap(),
    );
    const NONE: StatxFlags = StatxFlags::NONE;
    let nofollow = StatxFlags::SYMLINK_NOFOLLOW;
    let empty = StatxFlags::EMPTY_PATH;
    for (dir, path, flags, of) in [
        (Dir::from(&dir), c"file", NONE, &of_file),
        (Dir::CWD, absolute.as_c_str(), NONE, &of_file),
        (Dir::from(&file), &absolute, NONE, &of_file), // `dir` does not matter
        ((&dir).into(), c"link", NONE, &of_file),
        ((&dir).into(), c"link", nofollow, &of_link),
        ((&file).into(), c"", empty, &of_file),
        ((&dir).into(), c"", empty | nofollow, &of_dir),
        ((&dir).into(), c"file", StatxFlags::NO_AUTOMOUNT, &of_file),
        ((&dir).into(), c"file", StatxFlags::FORCE_SYNC, &of_file),
        ((&dir).into(), c"file", StatxFlags::DONT_SYNC, &of_file),
    ] {
        let statx = blank();
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the path too, the directory is open until the CQE.
            unsafe { sqe.prep_statx(dir, path.as_ptr(), flags, libc::STATX_BASIC_STATS, statx) }
        });
        assert_eq!(got, Ok(0));
        let want = (of.ino(), of.mode(), of.size(), of.nlink() as u32);
        assert_eq!(known(statx), want, "{path:?} {flags:?}");
        assert_eq!(
            statx.stx_mask & libc::STATX_BASIC_STATS,
            libc::STATX_BASIC_STATS
        );
    }
    tried("OP_STATX");
}

#[test]
fn statx_fails() {
    let ring = ring();
    let (path, file) = file("statx_fails", b"0123456789");
    let dir = File::open(path.parent().unwrap()).unwrap();
    const NONE: StatxFlags = StatxFlags::NONE;
    let both = StatxFlags::FORCE_SYNC | StatxFlags::DONT_SYNC;
    let unknown = StatxFlags::from_bits(1);
    let reserved = libc::STATX__RESERVED.cast_unsigned();
    for (dir, path, flags, mask, errno) in [
        (&dir, c"missing", NONE, 0, libc::ENOENT),
        (&dir, c"", NONE, 0, libc::ENOENT),
        (&file, c"file", NONE, 0, libc::ENOTDIR),
        (&dir, c"file", both, 0, libc::EINVAL),
        (&dir, c"file", unknown, 0, libc::EINVAL),
        (&dir, c"file", NONE, reserved, libc::EINVAL),
    ] {
        let statx = blank();
        let got = run(&ring, |sqe| {
            // SAFETY: the memory stays, the path too, the directory is open until the CQE.
            unsafe { sqe.prep_statx(dir, path.as_ptr(), flags, mask, statx) }
        });
        assert_eq!(got, Err(errno), "{path:?} {flags:?} {mask}");
        assert_eq!(known(statx), (0, 0, 0, 0));
    }
}

/// The path is needed until submit, the room for the answer until the CQE.
#[test]
fn statx_writes_at_the_end() {
    let ring = ring();
    let (path, file) = file("statx_stable", b"0123456789");
    let dir = File::open(path.parent().unwrap()).unwrap();
    let statx = &raw mut *blank();
    let mut name = *b"file\0";
    let gate = held(&ring, |sqe| {
        let path = name.as_ptr().cast();
        // SAFETY: the memory stays, the path until submit, the directory until the CQE.
        unsafe { sqe.prep_statx(&dir, path, StatxFlags::NONE, libc::STATX_SIZE, statx) }
    });
    name.fill(0);
    // SAFETY: the operation has not started.
    assert_eq!(unsafe { (*statx).stx_size }, 0);
    (&file).write_all(b"0123456789ab").unwrap();
    assert_eq!(gate.open(&ring), Ok(0));
    // SAFETY: the operation has ended.
    assert_eq!(unsafe { (*statx).stx_size }, 12);
    assert_eq!(name, [0; 5]);
}
