//! Opening files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{PermissionsExt, symlink};

use ringway::prep::{Dir, Direct, Fixed, OpenHow, ResolveFlags};

use super::child::tried;
use super::gate::held;
use super::*;

const NEW: i32 = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
const CLOEXEC: u64 = libc::O_CLOEXEC as u64;

/// The file whose descriptor an operation has made.
#[track_caller]
pub fn opened(got: Result<u32, i32>) -> File {
    let fd = RawFd::try_from(got.unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }.into()
}

/// Whether an exec closes the descriptor.
pub fn is_cloexec(file: &File) -> bool {
    // SAFETY: F_GETFD takes no memory.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) };
    flags == libc::FD_CLOEXEC
}

/// The first byte of a registered file; '.' for an empty one.
pub fn peek(ring: &Ring, file: Fixed) -> Result<u8, i32> {
    let buf = memory::<1>();
    let got = run(ring, |sqe| {
        // SAFETY: the memory stays, the ring holds the file.
        unsafe { sqe.prep_read(file, buf.as_mut_ptr(), 1, 0) }
    });
    got.map(|_| buf[0])
}

#[test]
fn openat_makes_a_file_in_a_directory() {
    let ring = ring();
    let path = directory("openat");
    let dir = File::open(&path).unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the path is constant, the directory open until the CQE.
        unsafe { sqe.prep_openat(&dir, c"new".as_ptr(), NEW, 0o600) }
    });
    let mut file = opened(got);
    file.write_all(b"hello").unwrap();
    let path = path.join("new");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(is_cloexec(&file));
    tried("OP_OPENAT");
}

#[test]
fn from_the_working_directory() {
    let ring = ring();
    let (path, _) = file("open_cwd", b"0123456789");
    let path = c_path(&path);
    // Tests run in the directory of the package.
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    for (path, text) in [
        (path.as_c_str(), "0123456789"),
        (c"Cargo.toml", manifest.as_str()),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the path stays until the CQE.
            unsafe { sqe.prep_openat(Dir::CWD, path.as_ptr(), libc::O_CLOEXEC, 0) }
        });
        assert_eq!(io::read_to_string(opened(got)).unwrap(), text);
        let got = run(&ring, |sqe| {
            // SAFETY: as above.
            unsafe { sqe.prep_open(path.as_ptr(), libc::O_CLOEXEC, 0) }
        });
        assert_eq!(io::read_to_string(opened(got)).unwrap(), text);
    }
}

#[test]
fn openat_fails() {
    let ring = ring();
    let (path, file) = file("openat_fails", b"0123456789");
    let dir = File::open(path.parent().unwrap()).unwrap();
    for (dir, name, flags, errno) in [
        (&dir, c"missing", libc::O_CLOEXEC, libc::ENOENT),
        (&dir, c"file", NEW, libc::EEXIST),
        (&dir, c"file", libc::O_DIRECTORY, libc::ENOTDIR),
        (&file, c"file", libc::O_CLOEXEC, libc::ENOTDIR),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the path is constant, the directory open until the CQE.
            unsafe { sqe.prep_openat(dir, name.as_ptr(), flags, 0o600) }
        });
        assert_eq!(got, Err(errno), "{name:?}");
    }
}

/// A directory with the files `a`, `b` and `c` that say so, open.
fn three_files(test: &str) -> (PathBuf, File) {
    let path = directory(test);
    for name in ["a", "b", "c"] {
        fs::write(path.join(name), name).unwrap();
    }
    let dir = File::open(&path).unwrap();
    (path, dir)
}

#[test]
fn opened_into_the_table() {
    let ring = ring();
    let (path, dir) = three_files("open_direct");
    let c_path = c_path(&path.join("c"));
    let how = OpenHow::new(0, 0, ResolveFlags::BENEATH);
    register_files(&ring, &[None, None, Some(dir.as_fd()), None]);

    let at = |index| Direct::at(Fixed(index));
    let a = |place| {
        run(&ring, |sqe| {
            // SAFETY: the path is constant, the directory open until the CQE.
            unsafe { sqe.prep_openat_direct(&dir, c"a".as_ptr(), 0, 0, place) }
        })
    };
    let b = |place| {
        run(&ring, |sqe| {
            // SAFETY: as above, and `how` stays until the CQE.
            unsafe { sqe.prep_openat2_direct(&dir, c"b".as_ptr(), &how, place) }
        })
    };
    let c = |place| {
        run(&ring, |sqe| {
            // SAFETY: the path stays until the CQE.
            unsafe { sqe.prep_open_direct(c_path.as_ptr(), 0, 0, place) }
        })
    };
    let table = || [0, 1, 2, 3].map(|index| peek(&ring, Fixed(index)));

    assert_eq!(a(at(1)), Ok(0));
    assert_eq!(b(at(2)), Ok(0), "takes the place of the directory");
    assert_eq!(
        table(),
        [Err(libc::EBADF), Ok(b'a'), Ok(b'b'), Err(libc::EBADF)]
    );
    for (open, byte) in [(&c as &dyn Fn(Direct) -> _, b'c'), (&a, b'a')] {
        let index = open(Direct::ALLOC).unwrap();
        assert!([0, 3].contains(&index), "{index} was not free");
        assert_eq!(peek(&ring, Fixed(index)), Ok(byte));
    }
    let full = table();
    assert!(full.iter().all(Result::is_ok));
    for open in [&a as &dyn Fn(Direct) -> _, &b, &c] {
        assert_eq!(open(Direct::ALLOC), Err(libc::ENFILE), "no place is free");
        for outside in [4, i32::MAX as u32, u32::MAX - 1, u32::MAX] {
            assert_eq!(open(at(outside)), Err(libc::EINVAL), "{outside}");
        }
    }
    assert_eq!(table(), full);
    assert_eq!((b(at(0)), c(at(1))), (Ok(0), Ok(0)));
    assert_eq!(table(), [Ok(b'b'), Ok(b'c'), Ok(b'b'), full[3]]);
}

#[test]
fn opening_into_the_table_fails() {
    let ring = ring();
    let (_, dir) = three_files("open_direct_fails");
    let how = OpenHow::new(CLOEXEC, 0, ResolveFlags::NONE);
    let with = |name: &'static std::ffi::CStr, flags, place| {
        run(&ring, |sqe| {
            // SAFETY: the path is constant, the directory open until the CQE.
            unsafe { sqe.prep_openat_direct(&dir, name.as_ptr(), flags, 0, place) }
        })
    };
    let place = Direct::at(Fixed(0));
    assert_eq!(with(c"a", 0, place), Err(libc::ENXIO), "there is no table");
    register_files(&ring, &[None]);
    assert_eq!(with(c"a", libc::O_CLOEXEC, place), Err(libc::EINVAL));
    let got = run(&ring, |sqe| {
        // SAFETY: as above, and `how` stays until the CQE.
        unsafe { sqe.prep_openat2_direct(&dir, c"a".as_ptr(), &how, place) }
    });
    assert_eq!(got, Err(libc::EINVAL));
    assert_eq!(with(c"missing", 0, place), Err(libc::ENOENT));
    assert_eq!(peek(&ring, Fixed(0)), Err(libc::EBADF));
}

#[test]
fn openat2_makes_a_file() {
    let ring = ring();
    let path = directory("openat2");
    let dir = File::open(&path).unwrap();
    let how = OpenHow::new(NEW as u64, 0o640, ResolveFlags::BENEATH);
    let got = run(&ring, |sqe| {
        // SAFETY: the path is constant, the rest stays until the CQE.
        unsafe { sqe.prep_openat2(&dir, c"new".as_ptr(), &how) }
    });
    let mut file = opened(got);
    file.write_all(b"hello").unwrap();
    assert_eq!(fs::read(path.join("new")).unwrap(), b"hello");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o740, 0o640);
    assert!(is_cloexec(&file));
    tried("OP_OPENAT2");
}

#[test]
fn openat2_walks_as_told() {
    const NONE: ResolveFlags = ResolveFlags::NONE;
    let ring = ring();
    let (path, dir) = three_files("resolve");
    fs::create_dir(path.join("dir")).unwrap();
    symlink("a", path.join("link")).unwrap();
    symlink("/b", path.join("root")).unwrap();
    let up = c"dir/../a";
    let out = c"../prep-resolve/a";
    let magic = c"/proc/self/exe";
    let unknown = ResolveFlags::from_bits(1 << 40);
    for (name, flags, mode, resolve, want) in [
        (c"a", 0, 0, NONE, Ok(b'a')),
        (out, 0, 0, NONE, Ok(b'a')),
        (out, 0, 0, ResolveFlags::BENEATH, Err(libc::EXDEV)),
        (up, 0, 0, ResolveFlags::BENEATH, Ok(b'a')),
        (c"link", 0, 0, NONE, Ok(b'a')),
        (c"link", 0, 0, ResolveFlags::NO_MAGICLINKS, Ok(b'a')),
        (c"link", 0, 0, ResolveFlags::NO_SYMLINKS, Err(libc::ELOOP)),
        (magic, 0, 0, NONE, Ok(0x7f)),
        (magic, 0, 0, ResolveFlags::NO_MAGICLINKS, Err(libc::ELOOP)),
        (c"root", 0, 0, ResolveFlags::IN_ROOT, Ok(b'b')),
        (c"/c", 0, 0, ResolveFlags::IN_ROOT, Ok(b'c')),
        (c"/c", 0, 0, NONE, Err(libc::ENOENT)),
        (c"/proc/version", 0, 0, NONE, Ok(b'L')),
        (
            c"/proc/version",
            0,
            0,
            ResolveFlags::NO_XDEV,
            Err(libc::EXDEV),
        ),
        // Making a file needs the disk.
        (
            c"new",
            NEW as u64,
            0o600,
            ResolveFlags::CACHED,
            Err(libc::EAGAIN),
        ),
        (c"missing", 0, 0, NONE, Err(libc::ENOENT)),
        (c"a", 0, 0o600, NONE, Err(libc::EINVAL)), // a mode, and nothing is made
        (c"a", 1 << 40, 0, NONE, Err(libc::EINVAL)),
        (c"a", 0, 0, unknown, Err(libc::EINVAL)),
    ] {
        let how = OpenHow::new(flags | CLOEXEC, mode, resolve);
        let got = run(&ring, |sqe| {
            // SAFETY: the path is constant, the rest stays until the CQE.
            unsafe { sqe.prep_openat2(&dir, name.as_ptr(), &how) }
        });
        let first = got.map(|fd| {
            let mut byte = [0];
            io::Read::read_exact(&mut opened(Ok(fd)), &mut byte).unwrap();
            byte[0]
        });
        assert_eq!(first, want, "{name:?} {how:?}");
    }
}

#[test]
fn path_and_how_are_copied_at_submit() {
    let ring = ring();
    let (_, dir) = three_files("open_stable");
    let mut name = *b"a\0";
    let gate = held(&ring, |sqe| {
        // SAFETY: the path stays until submit, the directory is open until the CQE.
        unsafe { sqe.prep_openat(&dir, name.as_ptr().cast(), libc::O_CLOEXEC, 0) }
    });
    name.fill(0);
    assert_eq!(io::read_to_string(opened(gate.open(&ring))).unwrap(), "a");
    // The path was in use up to here: the overwriting was not optimised away.
    assert_eq!(name, [0; 2]);

    let mut name = *b"b\0";
    let mut how = OpenHow::new(CLOEXEC, 0, ResolveFlags::NONE);
    let refused = OpenHow::new(u64::MAX, 0, ResolveFlags::NONE);
    let gate = held(&ring, |sqe| {
        // SAFETY: path and `how` stay until submit, the directory is open until the CQE.
        unsafe { sqe.prep_openat2(&dir, name.as_ptr().cast(), &how) }
    });
    name.fill(0);
    how = refused;
    assert_eq!(io::read_to_string(opened(gate.open(&ring))).unwrap(), "b");
    assert_eq!((name, how), ([0; 2], refused));
}

#[test]
fn a_cancelled_open_makes_nothing() {
    let ring = ring();
    let path = directory("open_cancelled");
    let dir = File::open(&path).unwrap();
    let gate = held(&ring, |sqe| {
        // SAFETY: the path is constant, the directory open until the CQE.
        unsafe { sqe.prep_openat(&dir, c"new".as_ptr(), NEW, 0o600) }
    });
    gate.cancel(&ring);
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn resolve_flags_are_the_headers() {
    #[cfg(not(target_os = "android"))]
    for (flag, value) in [
        (ResolveFlags::NO_XDEV, libc::RESOLVE_NO_XDEV),
        (ResolveFlags::NO_MAGICLINKS, libc::RESOLVE_NO_MAGICLINKS),
        (ResolveFlags::NO_SYMLINKS, libc::RESOLVE_NO_SYMLINKS),
        (ResolveFlags::BENEATH, libc::RESOLVE_BENEATH),
        (ResolveFlags::IN_ROOT, libc::RESOLVE_IN_ROOT),
        (ResolveFlags::CACHED, libc::RESOLVE_CACHED),
    ] {
        assert_eq!(flag.bits(), value, "{flag:?}");
    }
}
