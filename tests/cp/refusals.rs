//! The program on what cannot be copied: a clear message, and all is as it was.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::offset_of;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use tempfile::TempDir;

use crate::built::{start, wait_for};
use crate::child::skip;
use crate::folder::{Folder, fifo, noise, program, writer};

#[test]
fn refusals() {
    let folder = Folder::new();
    folder.file("from", b"new");
    let old = folder.file("old", b"old");
    fs::create_dir(folder.path("folder")).unwrap();
    fs::hard_link(folder.path("from"), folder.path("again")).unwrap();
    fifo(&folder.path("fifo"));
    for (from, to, message) in [
        (
            "nothing",
            "old",
            "cannot read 'nothing': No such file or directory",
        ),
        (
            "nothing",
            "to",
            "cannot read 'nothing': No such file or directory",
        ),
        ("folder", "to", "cannot read 'folder': it is a directory"),
        ("from", "folder", "cannot write 'folder': it is a directory"),
        (
            "from",
            "fifo",
            "cannot write 'fifo': it is not a regular file",
        ),
        ("from", "from", "cannot write 'from': it is the source"),
        ("from", "again", "cannot write 'again': it is the source"),
        (
            "from",
            "no/to",
            "cannot make a file in 'no': No such file or directory",
        ),
        ("from", "old/to", "cannot write 'old/to': Not a directory"),
        // Its reads fail, as nothing is mapped at address 0.
        (
            "/proc/self/mem",
            "old",
            "cannot copy '/proc/self/mem': read at byte 0: Input/output",
        ),
        (
            "/proc/self/mem",
            "to",
            "cannot copy '/proc/self/mem': read at byte 0: Input/output",
        ),
    ] {
        folder.refuses(folder.command(from, to), message);
    }
    assert_eq!(fs::read(old).unwrap(), b"old");
    assert_eq!(fs::read(folder.path("from")).unwrap(), b"new");

    let mut one = folder.command("from", "to");
    one.arg("third");
    folder.refuses(one, "give a source and a destination");
}

#[test]
fn a_source_that_must_not_be_read() {
    // Where another user gets at the program, too: root reads everything.
    let folder = Folder(TempDir::new().unwrap());
    fs::set_permissions(folder.0.path(), PermissionsExt::from_mode(0o777)).unwrap();
    fs::copy(program(), folder.path("program")).unwrap();
    let from = folder.file("from", b"secret");
    fs::set_permissions(&from, PermissionsExt::from_mode(0o000)).unwrap();

    let mut command = folder.command("from", "to");
    // SAFETY: reads a number.
    if unsafe { libc::geteuid() } == 0 {
        command = folder.run(folder.path("program"), &["from", "to"]);
        command.uid(65534).gid(65534);
    }
    folder.refuses(command, "cannot read 'from': Permission denied");
}

/// Makes the child fail to write beyond this length.
fn limit_files(command: &mut Command, len: u64) {
    let limit = libc::rlimit64 {
        rlim_cur: len,
        rlim_max: len,
    };
    // SAFETY: the closure only makes a system call, which may be done after a fork.
    unsafe {
        command.pre_exec(
            move || match libc::setrlimit64(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            },
        )
    };
}

#[test]
fn no_room_below_the_limit() {
    let folder = Folder::new();
    let old = folder.file("old", b"old");
    // A write that begins below the limit is a short one, the next an error.
    for (len, limit) in [(100_000, 70_001), (5_000_001, 3_000_000), (5_000_001, 0)] {
        folder.file("from", &noise(len));
        let mut command = folder.command("from", "old");
        limit_files(&mut command, limit);
        folder.refuses(command, "cannot copy 'from': write at byte");
    }
    // Nothing to write, and too long all the same.
    let hole = File::create(folder.path("from")).unwrap();
    hole.set_len(100_000).unwrap();
    let mut command = folder.command("from", "old");
    limit_files(&mut command, 70_001);
    folder.refuses(command, "cannot write 'old': File too large");
    assert_eq!(fs::read(old).unwrap(), b"old");
}

#[test]
fn no_room_in_the_file_system() {
    let test = "no_room_in_the_file_system";
    let folder = Folder::new();
    folder.file("from", &noise(5_000_001));
    fs::create_dir(folder.path("full")).unwrap();
    // In namespaces of its own, where every user may mount.
    let script = "mount -t tmpfs -o size=1m none full || exit 1
        echo old > full/to; \"$1\" from full/to; echo \"exit $?\"
        ls -A full; cat full/to; exit 0";
    let words = [
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let mut shell = folder.run("unshare", &words);
    shell.arg(program());
    if Command::new("unshare").arg("--version").output().is_err() {
        return skip(test, "there is no unshare(1)");
    }
    let output = start(&mut shell).end();
    let said = String::from_utf8(output.stderr).unwrap();
    if !output.status.success() {
        return skip(test, &format!("no mount in a namespace: {}", said.trim()));
    }
    assert!(
        said.contains("cannot copy") && said.contains("No space left"),
        "{said}"
    );
    let listed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listed, "exit 1\nto\nold\n");
}

/// Answers EPERM to io_uring_setup in this process and its children.
fn deny_io_uring() -> io::Result<()> {
    let step = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let number = offset_of!(libc::seccomp_data, nr) as u32;
    let call = libc::SYS_io_uring_setup as u32;
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, number),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call),
        step(
            libc::BPF_RET,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        step(libc::BPF_RET, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program during the call.
    let denied = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) == 0
    };
    denied.then_some(()).ok_or_else(io::Error::last_os_error)
}

#[test]
fn without_io_uring() {
    let folder = Folder::new();
    folder.file("from", b"new");
    let mut command = folder.command("from", "to");
    // SAFETY: only system calls after the fork, and memory on the stack.
    unsafe { command.pre_exec(deny_io_uring) };
    folder.refuses(command, "io_uring is not available: a seccomp filter");
}

#[test]
fn a_signal_removes_what_there_is() {
    let folder = Folder::new();
    fifo(&folder.path("fifo"));
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut command = folder.command("fifo", "to");
        // SAFETY: one system call after the fork.
        unsafe {
            command.pre_exec(move || {
                // These tests may run in the background, where SIGINT is ignored.
                libc::signal(signal, libc::SIG_DFL);
                Ok(())
            })
        };
        let mut child = start(&mut command);
        let mut writer = writer(&folder.path("fifo"), &mut child);
        writer.write_all(b"a part").unwrap();
        wait_for("the temporary file", || {
            let names = folder.names();
            let name = names.iter().find(|name| name.starts_with(".cp-"))?;
            (fs::read(folder.path(name)).unwrap() == b"a part").then_some(())
        });
        // SAFETY: the process is our child and has not been waited for.
        unsafe { libc::kill(child.id(), signal) };
        let output = child.end();
        assert_eq!(output.status.signal(), None);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(folder.names(), ["fifo"]);
    }
}
