//! Names of files.

use std::ffi::{CStr, c_char};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use ringway::prep::{LinkFlags, RenameFlags, UnlinkFlags};

use super::child::{has, skip, tried};
use super::gate::held;
use super::*;

type Got = Result<u32, i32>;

/// Two directories with names in them, as `a/file`.
struct Tree {
    root: PathBuf,
    a: File,
    b: File,
}

impl Tree {
    /// `a` and `b`, with the files `a/one`, `a/two` and `b/two`, which say their names.
    fn new(test: &str) -> Self {
        let root = directory(test);
        for dir in ["a", "b"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        for file in ["a/one", "a/two", "b/two"] {
            fs::write(root.join(file), file).unwrap();
        }
        let (a, b) = (File::open(root.join("a")), File::open(root.join("b")));
        let (a, b) = (a.unwrap(), b.unwrap());
        Self { root, a, b }
    }

    /// All names in `a` and `b`; with an equals sign and its text for a file, an arrow and
    /// its target for a symbolic link, a slash for a directory.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for dir in ["a", "b"] {
            for entry in fs::read_dir(self.root.join(dir)).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                let what = if kind.is_dir() {
                    "/".to_owned()
                } else if kind.is_symlink() {
                    format!(">{}", fs::read_link(entry.path()).unwrap().display())
                } else if kind.is_file() {
                    format!("={}", fs::read_to_string(entry.path()).unwrap())
                } else {
                    "?".to_owned()
                };
                names.push(format!("{dir}/{}{what}", entry.file_name().display()));
            }
        }
        names.sort();
        names
    }

    fn path(&self, name: &str) -> CString {
        c_path(&self.root.join(name))
    }
}

const UNTOUCHED: [&str; 3] = ["a/one=a/one", "a/two=a/two", "b/two=b/two"];

#[test]
fn renameat_moves_between_directories() {
    let ring = ring();
    let tree = Tree::new("renameat");
    let rename = |old: &CStr, new: &CStr, flags| -> Got {
        run(&ring, |sqe| {
            // SAFETY: the paths stay, the directories are open until the CQE.
            unsafe { sqe.prep_renameat(&tree.a, old.as_ptr(), &tree.b, new.as_ptr(), flags) }
        })
    };
    const NONE: RenameFlags = RenameFlags::NONE;
    assert_eq!(rename(c"one", c"new", NONE), Ok(0));
    assert_eq!(tree.names(), ["a/two=a/two", "b/new=a/one", "b/two=b/two"]);
    let noreplace = RenameFlags::NOREPLACE;
    assert_eq!(rename(c"two", c"two", noreplace), Err(libc::EEXIST));
    assert_eq!(rename(c"two", c"two", RenameFlags::EXCHANGE), Ok(0));
    assert_eq!(tree.names(), ["a/two=b/two", "b/new=a/one", "b/two=a/two"]);
    assert_eq!(rename(c"two", c"two", NONE), Ok(0));
    assert_eq!(tree.names(), ["b/new=a/one", "b/two=b/two"]);

    assert_eq!(rename(c"two", c"x", NONE), Err(libc::ENOENT));
    assert_eq!(rename(c"two", c"x", noreplace), Err(libc::ENOENT));
    let unknown = RenameFlags::from_bits(1 << 20);
    assert_eq!(rename(c"two", c"x", unknown), Err(libc::EINVAL));
    tried("OP_RENAMEAT");
}

#[test]
fn rename_from_the_working_directory() {
    let ring = ring();
    let tree = Tree::new("rename");
    let (old, new) = (tree.path("a/one"), tree.path("b/two"));
    let got = run(&ring, |sqe| {
        // SAFETY: the paths stay until the CQE.
        unsafe { sqe.prep_rename(old.as_ptr(), new.as_ptr()) }
    });
    assert_eq!(got, Ok(0));
    assert_eq!(tree.names(), ["a/two=a/two", "b/two=a/one"]);

    // The other way than in the test above: each directory counts.
    let got = run(&ring, |sqe| {
        let (old, new) = (c"two".as_ptr(), c"back".as_ptr());
        // SAFETY: the paths are constant, the directories open until the CQE.
        unsafe { sqe.prep_renameat(&tree.b, old, &tree.a, new, RenameFlags::NONE) }
    });
    assert_eq!(got, Ok(0));
    assert_eq!(tree.names(), ["a/back=a/one", "a/two=a/two"]);
}

#[test]
fn a_whiteout_is_left_behind() {
    let ring = ring();
    let tree = Tree::new("whiteout");
    let got = run(&ring, |sqe| {
        let (old, new) = (c"one".as_ptr(), c"new".as_ptr());
        // SAFETY: the paths are constant, the directories open until the CQE.
        unsafe { sqe.prep_renameat(&tree.a, old, &tree.b, new, RenameFlags::WHITEOUT) }
    });
    match got {
        Err(libc::EPERM) => skip("WHITEOUT", "needs CAP_MKNOD"),
        Err(libc::EINVAL) => skip("WHITEOUT", "not on this file system"),
        _ => {
            assert_eq!(got, Ok(0));
            let left = fs::symlink_metadata(tree.root.join("a/one")).unwrap();
            assert!(left.file_type().is_char_device());
            assert_eq!(left.rdev(), 0);
            assert!(tree.names().contains(&"b/new=a/one".to_owned()));
        }
    }
}

#[test]
fn unlinkat_removes_a_name() {
    let ring = ring();
    let tree = Tree::new("unlinkat");
    let in_a = |name: &CStr, flags| -> Got {
        run(&ring, |sqe| {
            // SAFETY: the path is constant, the directory open until the CQE.
            unsafe { sqe.prep_unlinkat(&tree.a, name.as_ptr(), flags) }
        })
    };
    let anywhere = |name: &CStr, flags| -> Got {
        run(&ring, |sqe| {
            // SAFETY: the path stays until the CQE.
            unsafe { sqe.prep_unlink(name.as_ptr(), flags) }
        })
    };
    const NONE: UnlinkFlags = UnlinkFlags::NONE;
    const DIR: UnlinkFlags = UnlinkFlags::REMOVEDIR;
    assert_eq!(in_a(c"one", DIR), Err(libc::ENOTDIR));
    assert_eq!(in_a(c"../b", NONE), Err(libc::EISDIR));
    assert_eq!(in_a(c"../b", DIR), Err(libc::ENOTEMPTY));
    assert_eq!(in_a(c"three", NONE), Err(libc::ENOENT));
    assert_eq!(in_a(c"one", UnlinkFlags::from_bits(1)), Err(libc::EINVAL));
    assert_eq!(tree.names(), UNTOUCHED);

    assert_eq!(in_a(c"one", NONE), Ok(0));
    assert_eq!(tree.names(), ["a/two=a/two", "b/two=b/two"]);
    assert_eq!(anywhere(&tree.path("b/two"), NONE), Ok(0));
    assert_eq!(tree.names(), ["a/two=a/two"]);
    assert_eq!(anywhere(&tree.path("b"), DIR), Ok(0));
    assert!(!tree.root.join("b").exists());
    tried("OP_UNLINKAT");
}

#[test]
fn mkdirat_makes_a_directory() {
    let ring = ring();
    let tree = Tree::new("mkdirat");
    let in_a = |name: &CStr, mode| -> Got {
        run(&ring, |sqe| {
            // SAFETY: the path is constant, the directory open until the CQE.
            unsafe { sqe.prep_mkdirat(&tree.a, name.as_ptr(), mode) }
        })
    };
    assert_eq!(in_a(c"new", 0o700), Ok(0));
    assert_eq!(in_a(c"new/closed", 0o500), Ok(0));
    let path = tree.path("b/new");
    let got = run(&ring, |sqe| {
        // SAFETY: the path stays until the CQE.
        unsafe { sqe.prep_mkdir(path.as_ptr(), 0o700) }
    });
    assert_eq!(got, Ok(0));
    let mut names = UNTOUCHED.map(str::to_owned).to_vec();
    names.extend(["a/new/".to_owned(), "b/new/".to_owned()]);
    names.sort();
    assert_eq!(tree.names(), names);
    for (name, mode) in [("a/new", 0o700), ("a/new/closed", 0o500), ("b/new", 0o700)] {
        let metadata = fs::metadata(tree.root.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
    }

    assert_eq!(in_a(c"one", 0o700), Err(libc::EEXIST));
    assert_eq!(in_a(c"three/new", 0o700), Err(libc::ENOENT));
    assert_eq!(in_a(c"one/new", 0o700), Err(libc::ENOTDIR));
    tried("OP_MKDIRAT");
}

#[test]
fn symlinkat_makes_a_symbolic_link() {
    let ring = ring();
    let tree = Tree::new("symlinkat");
    let in_a = |target: &CStr, name: &CStr| -> Got {
        run(&ring, |sqe| {
            // SAFETY: the paths are constant, the directory open until the CQE.
            unsafe { sqe.prep_symlinkat(target.as_ptr(), &tree.a, name.as_ptr()) }
        })
    };
    assert_eq!(in_a(c"no/such/file", c"link"), Ok(0));
    let path = tree.path("b/link");
    let got = run(&ring, |sqe| {
        // SAFETY: the paths stay until the CQE.
        unsafe { sqe.prep_symlink(c"two".as_ptr(), path.as_ptr()) }
    });
    assert_eq!(got, Ok(0));
    assert_eq!(
        tree.names(),
        [
            "a/link>no/such/file",
            "a/one=a/one",
            "a/two=a/two",
            "b/link>two",
            "b/two=b/two"
        ]
    );
    assert_eq!(in_a(c"x", c"one"), Err(libc::EEXIST));
    assert_eq!(in_a(c"x", c"three/link"), Err(libc::ENOENT));
    assert_eq!(in_a(c"", c"empty"), Err(libc::ENOENT));
    tried("OP_SYMLINKAT");
}

#[test]
fn linkat_gives_another_name() {
    let ring = ring();
    let tree = Tree::new("linkat");
    symlink("one", tree.root.join("a/sym")).unwrap();
    let link = |old: &CStr, new: &CStr, flags| -> Got {
        run(&ring, |sqe| {
            // SAFETY: the paths are constant, the directories open until the CQE.
            unsafe { sqe.prep_linkat(&tree.a, old.as_ptr(), &tree.b, new.as_ptr(), flags) }
        })
    };
    const NONE: LinkFlags = LinkFlags::NONE;
    assert_eq!(link(c"one", c"hard", NONE), Ok(0));
    assert_eq!(link(c"sym", c"sym", NONE), Ok(0));
    assert_eq!(link(c"sym", c"followed", LinkFlags::SYMLINK_FOLLOW), Ok(0));
    let (old, new) = (tree.path("a/sym"), tree.path("a/again"));
    let got = run(&ring, |sqe| {
        let flags = LinkFlags::SYMLINK_FOLLOW;
        // SAFETY: the paths stay until the CQE.
        unsafe { sqe.prep_link(old.as_ptr(), new.as_ptr(), flags) }
    });
    assert_eq!(got, Ok(0));
    assert_eq!(
        tree.names(),
        [
            "a/again=a/one",
            "a/one=a/one",
            "a/sym>one",
            "a/two=a/two",
            "b/followed=a/one",
            "b/hard=a/one",
            "b/sym>one",
            "b/two=b/two"
        ]
    );
    assert_eq!(fs::metadata(tree.root.join("a/one")).unwrap().nlink(), 4);

    assert_eq!(link(c"one", c"two", NONE), Err(libc::EEXIST));
    assert_eq!(link(c"three", c"x", NONE), Err(libc::ENOENT));
    assert_eq!(link(c"../b", c"x", NONE), Err(libc::EPERM));
    let unknown = LinkFlags::from_bits(1);
    assert_eq!(link(c"one", c"x", unknown), Err(libc::EINVAL));
    tried("OP_LINKAT");
}

#[test]
fn linkat_of_an_open_file() {
    if !has(6, 10, "linkat", "EMPTY_PATH for everybody") {
        return;
    }
    let ring = ring();
    let tree = Tree::new("linkat_empty");
    let file = File::open(tree.root.join("a/one")).unwrap();
    for (flags, want) in [
        (LinkFlags::NONE, Err(libc::ENOENT)),
        (LinkFlags::EMPTY_PATH, Ok(0)),
    ] {
        let got = run(&ring, |sqe| {
            let (old, new) = (c"".as_ptr(), c"new".as_ptr());
            // SAFETY: the paths are constant, file and directory open until the CQE.
            unsafe { sqe.prep_linkat(&file, old, &tree.b, new, flags) }
        });
        assert_eq!(got, want);
    }
    assert!(tree.names().contains(&"b/new=a/one".to_owned()));
}

/// An operation of the family, on the names `one` and `new`.
type Op = for<'sqe> fn(&'sqe mut Sqe, &File, [*const c_char; 2]) -> &'sqe mut Sqe;

/// Each operation of the family, and what it makes of the directory `a`.
const OPS: [(Op, &[&str]); 5] = [
    (
        // SAFETY: in each, the names stay until submit, the directory is open until the CQE.
        |sqe, a, [one, new]| unsafe { sqe.prep_renameat(a, one, a, new, RenameFlags::NONE) },
        &["a/new=a/one", "a/two=a/two", "b/two=b/two"],
    ),
    (
        // SAFETY: see the first.
        |sqe, a, [one, _]| unsafe { sqe.prep_unlinkat(a, one, UnlinkFlags::NONE) },
        &["a/two=a/two", "b/two=b/two"],
    ),
    (
        // SAFETY: see the first.
        |sqe, a, [_, new]| unsafe { sqe.prep_mkdirat(a, new, 0o700) },
        &["a/new/", "a/one=a/one", "a/two=a/two", "b/two=b/two"],
    ),
    (
        // SAFETY: see the first.
        |sqe, a, [one, new]| unsafe { sqe.prep_symlinkat(one, a, new) },
        &["a/new>one", "a/one=a/one", "a/two=a/two", "b/two=b/two"],
    ),
    (
        // SAFETY: see the first.
        |sqe, a, [one, new]| unsafe { sqe.prep_linkat(a, one, a, new, LinkFlags::NONE) },
        &["a/new=a/one", "a/one=a/one", "a/two=a/two", "b/two=b/two"],
    ),
];

#[test]
fn the_paths_are_copied_at_submit() {
    let ring = ring();
    for (prep, names) in OPS {
        let tree = Tree::new("dir_stable");
        let mut paths = [*b"one\0", *b"new\0"];
        let gate = held(&ring, |sqe| {
            prep(
                sqe,
                &tree.a,
                paths.each_ref().map(|path| path.as_ptr().cast()),
            )
        });
        assert_eq!(tree.names(), UNTOUCHED);
        paths = [*b"../\0"; 2];
        assert_eq!(gate.open(&ring), Ok(0));
        assert_eq!(tree.names(), names);
        assert_eq!(paths, [*b"../\0"; 2]);
    }
}

#[test]
fn a_cancelled_operation_does_nothing() {
    let ring = ring();
    for (prep, _) in OPS {
        let tree = Tree::new("dir_cancelled");
        let gate = held(&ring, |sqe| {
            prep(sqe, &tree.a, [c"one".as_ptr(), c"new".as_ptr()])
        });
        gate.cancel(&ring);
        assert_eq!(tree.names(), UNTOUCHED);
    }
}

#[test]
fn a_file_is_no_directory() {
    let ring = ring();
    for (prep, _) in OPS {
        let tree = Tree::new("dir_file");
        let file = File::open(tree.root.join("a/one")).unwrap();
        let got = run(&ring, |sqe| {
            prep(sqe, &file, [c"one".as_ptr(), c"new".as_ptr()])
        });
        assert_eq!(got, Err(libc::ENOTDIR));
        assert_eq!(tree.names(), UNTOUCHED);
    }
}

#[test]
fn rename_flags_are_the_headers() {
    #[cfg(not(target_os = "android"))]
    for (flag, value) in [
        (RenameFlags::NOREPLACE, libc::RENAME_NOREPLACE),
        (RenameFlags::EXCHANGE, libc::RENAME_EXCHANGE),
        (RenameFlags::WHITEOUT, libc::RENAME_WHITEOUT),
    ] {
        assert_eq!(flag.bits(), value, "{flag:?}");
    }
}
