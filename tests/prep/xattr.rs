//! Extended attributes.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::ptr;

use ringway::prep::{Fixed, XattrFlags};
use tempfile::NamedTempFile;

use super::child::{has, knows, tried, untried};
use super::gate::held;
use super::*;

const OPS: [(u8, &str); 4] = [
    (41, "OP_FSETXATTR"),
    (42, "OP_SETXATTR"),
    (43, "OP_FGETXATTR"),
    (44, "OP_GETXATTR"),
];

const NAME: &CStr = c"user.ringway";
const NONE: XattrFlags = XattrFlags::NONE;

/// A ring, and an empty file on a file system that has attributes for users; `None`, and
/// says so, where there is no such thing.
fn ring_and_file() -> Option<(Ring, CString, NamedTempFile)> {
    let ring = ring();
    if !OPS.iter().all(|(op, name)| knows(&ring, *op, name)) {
        return None;
    }
    let target = env!("CARGO_TARGET_TMPDIR");
    for dir in [target, "/tmp", "/var/tmp", "/dev/shm"] {
        let Ok(file) = NamedTempFile::new_in(dir) else {
            continue;
        };
        let path = c_path(file.path());
        if set(&path, c"user.try", b"").is_ok() {
            return Some((ring, path, file));
        }
    }
    for (_, name) in OPS {
        untried(name, "no file system here has attributes for users");
    }
    None
}

/// Sets an attribute by the system call.
fn set(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (path, name) = (path.as_ptr(), name.as_ptr());
    // SAFETY: the strings and the value live until the call is over.
    match unsafe { libc::setxattr(path, name, value.as_ptr().cast(), value.len(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks for the attribute by the system call.
fn get(path: &CStr) -> Option<Vec<u8>> {
    let mut value = vec![0; 100];
    let (path, name) = (path.as_ptr(), NAME.as_ptr());
    // SAFETY: the strings live until the call is over, the value has 100 bytes.
    let len = unsafe { libc::getxattr(path, name, value.as_mut_ptr().cast(), 100) };
    value.truncate(len.try_into().ok()?);
    Some(value)
}

#[test]
fn an_attribute_is_set() {
    let Some((ring, path, file)) = ring_and_file() else {
        return;
    };
    let by_path = |value: &'static [u8], flags| {
        run(&ring, |sqe| {
            let (path, len) = (path.as_ptr(), value.len() as u32);
            // SAFETY: the strings and the value stay until the CQE.
            unsafe { sqe.prep_setxattr(NAME.as_ptr(), value.as_ptr(), path, flags, len) }
        })
    };
    let by_file = |value: &'static [u8], flags| {
        run(&ring, |sqe| {
            let (name, len) = (NAME.as_ptr(), value.len() as u32);
            // SAFETY: as above, and the file is open until the CQE.
            unsafe { sqe.prep_fsetxattr(&file, name, value.as_ptr(), flags, len) }
        })
    };
    type Set<'a> = &'a dyn Fn(&'static [u8], XattrFlags) -> Result<u32, i32>;
    for set in [&by_path as Set, &by_file] {
        assert_eq!(set(b"x", XattrFlags::REPLACE), Err(libc::ENODATA));
        assert_eq!(get(&path), None);
        assert_eq!(set(b"created", XattrFlags::CREATE), Ok(0));
        assert_eq!(get(&path).unwrap(), b"created");
        assert_eq!(set(b"x", XattrFlags::CREATE), Err(libc::EEXIST));
        assert_eq!(set(b"replaced", XattrFlags::REPLACE), Ok(0));
        assert_eq!(get(&path).unwrap(), b"replaced");
        assert_eq!(set(b"", NONE), Ok(0));
        assert_eq!(get(&path).unwrap(), b"");
        assert_eq!(set(b"x", XattrFlags::from_bits(4)), Err(libc::EINVAL));
        // SAFETY: the strings live until the call is over.
        unsafe { libc::removexattr(path.as_ptr(), NAME.as_ptr()) };
    }
    tried("OP_SETXATTR");
    tried("OP_FSETXATTR");
}

#[test]
fn an_attribute_is_read() {
    let Some((ring, path, file)) = ring_and_file() else {
        return;
    };
    let by_path = |value: &mut [u8; 8], len| {
        run(&ring, |sqe| {
            // SAFETY: the strings stay, `value` has 8 bytes and stays until the CQE.
            unsafe { sqe.prep_getxattr(NAME.as_ptr(), value.as_mut_ptr(), path.as_ptr(), len) }
        })
    };
    let by_file = |value: &mut [u8; 8], len| {
        run(&ring, |sqe| {
            // SAFETY: as above, and the file is open until the CQE.
            unsafe { sqe.prep_fgetxattr(&file, NAME.as_ptr(), value.as_mut_ptr(), len) }
        })
    };
    type Get<'a> = &'a dyn Fn(&mut [u8; 8], u32) -> Result<u32, i32>;
    let gets: [Get; 2] = [&by_path, &by_file];
    for get in gets {
        assert_eq!(get(memory(), 8), Err(libc::ENODATA));
    }
    set(&path, NAME, b"value").unwrap();
    for get in gets {
        for (len, want, bytes) in [
            (8, Ok(5), b"value..."),
            (5, Ok(5), b"value..."),
            (4, Err(libc::ERANGE), b"........"),
            (0, Ok(5), b"........"),
        ] {
            let value = memory();
            assert_eq!(get(value, len), want);
            assert_eq!(value, bytes);
        }
    }
    tried("OP_GETXATTR");
    tried("OP_FGETXATTR");
}

#[test]
fn attributes_of_a_fixed_file() {
    let Some((ring, path, file)) = ring_and_file() else {
        return;
    };
    if !has(6, 13, "xattr", "attributes of a fixed file") {
        return;
    }
    register_files(&ring, &[None, Some(file.as_fd())]);
    for (index, set, got, bytes) in [
        (1, Ok(0), Ok(5), b"value..."),
        (0, Err(libc::EBADF), Err(libc::EBADF), b"........"),
    ] {
        let done = run(&ring, |sqe| {
            let (name, value) = (NAME.as_ptr(), b"value".as_ptr());
            // SAFETY: the strings are constant, the ring holds the file.
            unsafe { sqe.prep_fsetxattr(Fixed(index), name, value, NONE, 5) }
        });
        assert_eq!(done, set);
        assert_eq!(get(&path).unwrap(), b"value");
        let value = memory();
        let done = run(&ring, |sqe| {
            // SAFETY: as above, and the memory stays.
            unsafe { sqe.prep_fgetxattr(Fixed(index), NAME.as_ptr(), value.as_mut_ptr(), 8) }
        });
        assert_eq!((done, &*value), (got, bytes));
    }
}

#[test]
fn attributes_fail() {
    let Some((ring, path, _file)) = ring_and_file() else {
        return;
    };
    let long = CString::new([b"user.".as_slice(), &[b'x'; 300]].concat()).unwrap();
    let file = path.as_c_str();
    for (path, name, len, errno) in [
        (c"no/such/file", NAME, 1, libc::ENOENT),
        (file, c"nonsense", 1, libc::EOPNOTSUPP),
        (file, c"", 1, libc::ERANGE),
        (file, &long, 1, libc::ERANGE),
    ] {
        let value = memory::<8>();
        let got = run(&ring, |sqe| {
            // SAFETY: the strings and the memory stay.
            unsafe { sqe.prep_getxattr(name.as_ptr(), value.as_mut_ptr(), path.as_ptr(), len) }
        });
        assert_eq!(got, Err(errno), "get {name:?} of {path:?}");
        let got = run(&ring, |sqe| {
            let (name, path) = (name.as_ptr(), path.as_ptr());
            // SAFETY: as above.
            unsafe { sqe.prep_setxattr(name, value.as_ptr(), path, NONE, len) }
        });
        assert_eq!(got, Err(errno), "set {name:?} of {path:?}");
    }
    let got = run(&ring, |sqe| {
        // SAFETY: the kernel refuses the length before it reads the value.
        unsafe { sqe.prep_setxattr(NAME.as_ptr(), ptr::null(), file.as_ptr(), NONE, 65537) }
    });
    assert_eq!(got, Err(libc::E2BIG));
}

/// Names, paths and the value that is set are needed until submit.
#[test]
fn what_is_read_is_copied_at_submit() {
    let Some((ring, path, file)) = ring_and_file() else {
        return;
    };
    type Set = for<'s> fn(&'s mut Sqe, &CStr, &File, &[u8; 5], &[u8; 13]) -> &'s mut Sqe;
    let sets: [Set; 2] = [
        |sqe, path, _, value, name| {
            let (name, path) = (name.as_ptr().cast(), path.as_ptr());
            // SAFETY: all stays until submit.
            unsafe { sqe.prep_setxattr(name, value.as_ptr(), path, NONE, 5) }
        },
        |sqe, _, file, value, name| {
            let name = name.as_ptr().cast();
            // SAFETY: as above, and the file is open until the CQE.
            unsafe { sqe.prep_fsetxattr(file, name, value.as_ptr(), NONE, 5) }
        },
    ];
    for (text, prep) in [b"first", b"other"].into_iter().zip(sets) {
        let (mut value, mut name) = (*text, *b"user.ringway\0");
        let mut of = path.to_bytes_with_nul().to_owned();
        let gate = held(&ring, |sqe| {
            let path = CStr::from_bytes_with_nul(&of).unwrap();
            prep(sqe, path, file.as_file(), &value, &name)
        });
        value.fill(b'x');
        name.fill(0);
        of.fill(0);
        assert_eq!(gate.open(&ring), Ok(0));
        assert_eq!(get(&path).unwrap(), text);
        assert_eq!((&value, name, of[0]), (b"xxxxx", [0; 13], 0));
    }

    let value = memory::<8>().as_mut_ptr();
    let mut name = *b"user.ringway\0";
    let mut of = path.to_bytes_with_nul().to_owned();
    let gate = held(&ring, |sqe| {
        // SAFETY: the strings stay until submit, the memory stays.
        unsafe { sqe.prep_getxattr(name.as_ptr().cast(), value, of.as_ptr().cast(), 8) }
    });
    name.fill(0);
    of.fill(0);
    set(&path, NAME, b"late").unwrap();
    assert_eq!(gate.open(&ring), Ok(4));
    // SAFETY: 8 bytes, and the operation has ended.
    assert_eq!(unsafe { &*value.cast::<[u8; 8]>() }, b"late....");
    assert_eq!((name, of[0]), ([0; 13], 0));
}
