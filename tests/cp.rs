//! B3: what the `cp` example copies is byte-exact, and what it cannot copy leaves nothing
//! behind. The example runs as a program of its own.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Far more than any of this takes. What hangs is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(1);
const CHUNK: usize = 128 << 10;

/// The example, built as these tests are: not every `cargo test` builds examples.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "cp", "--target-dir"]);
        build.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        if cfg!(feature = "sim") {
            build.args(["--features", "sim"]);
        }
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        if profile == "release" {
            build.arg("--release");
        }
        assert!(build.status().expect("run cargo").success());
        target.join(profile).join("examples/cp")
    })
}

/// Says that a test did not test anything.
fn skip(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {reason}\n");
    eprint!("{line}");
    if let Some(list) = env::var_os("RINGWAY_SKIPPED") {
        let mut list = OpenOptions::new().append(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}

/// Calls again and again, until there is an answer.
#[track_caller]
fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(PAUSE);
    }
}

/// The end of a process, whose output is short enough for a pipe.
#[track_caller]
fn end(mut child: Child) -> Output {
    let mut is_over = || child.try_wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while is_over().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it hangs: {:?}", child.wait_with_output());
        }
        thread::sleep(PAUSE);
    }
    child.wait_with_output().unwrap()
}

/// A folder for one test.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        // With room for files of some GiB, if they have holes.
        let dir = env!("CARGO_TARGET_TMPDIR");
        Self(TempDir::new_in(dir).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn command(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program());
        command.arg(from.as_ref()).arg(to.as_ref());
        command.current_dir(self.0.path());
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What it printed.
    #[track_caller]
    fn cp(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> String {
        let before = self.names();
        let to = to.as_ref();
        let said = succeeded(end(self.command(from, to).spawn().unwrap()));
        let name = to.file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected = before;
        if !expected.contains(&name) {
            expected.push(name);
            expected.sort();
        }
        assert_eq!(self.names(), expected);
        said
    }

    /// Fails with this in its message, and with the folder as it was.
    #[track_caller]
    fn refuses(&self, mut command: Command, message: &str) {
        let before = self.names();
        let output = end(command.spawn().unwrap());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{} {said}", output.status);
        assert!(said.starts_with("cp: ") && said.contains(message), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
        assert_eq!(self.names(), before);
    }
}

#[track_caller]
fn succeeded(output: Output) -> String {
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
fn count(said: &str, word: &str) -> u64 {
    let mut words = said.split_whitespace();
    let at = words
        .clone()
        .position(|each| each == word)
        .unwrap_or_else(|| panic!("{said}"));
    words.nth(at - 1).unwrap().parse().unwrap()
}

fn noise(len: usize) -> Vec<u8> {
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
fn data(file: &File) -> Vec<(u64, u64)> {
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
fn assert_same(one: &Path, other: &Path) {
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

fn stored(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn files_of_all_sizes() {
    let bench = Bench::new();
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5_000_001, 65 * CHUNK] {
        let content = noise(len);
        let from = bench.file("from", &content);
        let said = bench.cp(&from, "to");
        assert_eq!(count(&said, "bytes"), len as u64);
        assert!(
            fs::read(bench.path("to")).unwrap() == content,
            "{len} bytes"
        );
    }
}

#[test]
fn holes_stay_holes() {
    let bench = Bench::new();
    let from = bench.path("from");
    let file = File::create(&from).unwrap();
    let holes_and_data = |data: &[u64]| {
        file.set_len(0).unwrap();
        for at in data {
            file.write_all_at(&noise(300_000), *at).unwrap();
        }
        file.set_len(20 << 20).unwrap();
        bench.cp(&from, "to");
        assert_same(&from, &bench.path("to"));
        let least = data.len() as u64 * 300_000;
        let copy = stored(&bench.path("to"));
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
    let bench = Bench::new();
    let from = bench.path("from");
    let file = File::create(&from).unwrap();
    let len = (5 << 30) + 77;
    for at in [0, (4 << 30) - 1000, (4 << 30) + 200_000, len - 1000] {
        file.write_all_at(&noise(1000 + at as usize % 7), at)
            .unwrap();
    }
    bench.cp(&from, "to");
    assert_same(&from, &bench.path("to"));
    assert!(stored(&bench.path("to")) < 1 << 20);
}

fn fifo(path: &Path) {
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name ends in NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o640) }, 0);
}

/// The writing end, once somebody waits at the other.
fn writer(path: &Path, reader: &mut Child) -> File {
    wait_for("a reader of the FIFO", || {
        assert_eq!(
            reader.try_wait().unwrap(),
            None,
            "it did not wait for a writer"
        );
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        options.open(path).ok()
    })
}

#[test]
fn a_fifo_gives_what_it_has() {
    let bench = Bench::new();
    fifo(&bench.path("fifo"));
    let mut child = bench.command("fifo", "to").spawn().unwrap();
    let mut end_of_writing = writer(&bench.path("fifo"), &mut child);
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
    let said = succeeded(end(child));
    assert!(fs::read(bench.path("to")).unwrap() == content);
    assert!(
        count(&said, "reads") > (3_000_000 / CHUNK) as u64 + 2,
        "{said}"
    );
    assert_eq!(bench.names(), ["fifo", "to"]);
}

#[test]
fn short_reads_of_a_file_with_positions() {
    let test = "short_reads_of_a_file_with_positions";
    // A read of such a file gives a page at most.
    let from = Path::new("/sys/kernel/btf/vmlinux");
    let Ok(content) = fs::read(from) else {
        return skip(test, "this kernel has no /sys/kernel/btf/vmlinux to read");
    };
    let bench = Bench::new();
    let said = bench.cp(from, "to");
    assert!(fs::read(bench.path("to")).unwrap() == content);
    if count(&said, "reads") <= (content.len() / CHUNK) as u64 + 1 {
        skip(test, "this kernel gives more than a page of /sys at a time");
    }
}

#[test]
fn files_without_a_true_length() {
    let bench = Bench::new();
    // Length 0, and a page, whatever is in them.
    for from in [
        "/proc/filesystems",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ] {
        let Ok(content) = fs::read(from) else {
            skip(
                "files_without_a_true_length",
                &format!("there is no {from}"),
            );
            continue;
        };
        assert_ne!(fs::metadata(from).unwrap().len(), content.len() as u64);
        bench.cp(from, "to");
        assert_eq!(fs::read(bench.path("to")).unwrap(), content);
    }
}

/// Copies while `change` is called again and again.
fn copy_meanwhile(bench: &Bench, from: &Path, mut change: impl FnMut(&File)) {
    let file = OpenOptions::new().write(true).open(from).unwrap();
    let mut child = bench.command(from, "to").spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        change(&file);
    }
    succeeded(end(child));
    assert_eq!(bench.names(), ["from", "to"]);
}

#[test]
fn a_source_that_grows() {
    let bench = Bench::new();
    let first = noise(8_000_000);
    let from = bench.file("from", &first);
    let mut len = first.len() as u64;
    // Not so far that it fills the disk, should it be followed for ever.
    let limit = len + (1 << 28);
    copy_meanwhile(&bench, &from, |file| {
        if len < limit {
            file.write_all_at(&[7; 10_000], len).unwrap();
            len += 10_000;
        }
    });
    let copy = fs::read(bench.path("to")).unwrap();
    assert!(copy[..first.len()] == first);
    assert!(copy[first.len()..].iter().all(|byte| *byte == 7));
    assert!(copy.len() as u64 <= len);
}

#[test]
fn a_source_that_shrinks() {
    let bench = Bench::new();
    let content = noise(24 << 20);
    let from = bench.file("from", &content);
    let mut len = content.len() as u64;
    copy_meanwhile(&bench, &from, |file| {
        len = len.saturating_sub(1 << 20).max(4 << 20);
        file.set_len(len).unwrap();
    });
    let copy = fs::read(bench.path("to")).unwrap();
    assert!(copy.len() >= 4 << 20);
    assert!(content.starts_with(&copy), "{} bytes", copy.len());
}

#[test]
fn an_old_file_is_replaced() {
    let bench = Bench::new();
    let from = bench.file("from", b"new");
    fs::set_permissions(&from, PermissionsExt::from_mode(0o6751)).unwrap();
    bench.file("old", b"old and longer");
    symlink("old", bench.path("link")).unwrap();
    bench.cp(&from, "link");
    assert_eq!(fs::read_link(bench.path("link")).unwrap(), Path::new("old"));
    assert_eq!(fs::read(bench.path("old")).unwrap(), b"new");
    assert_eq!(
        fs::metadata(bench.path("old")).unwrap().mode() & 0o7777,
        0o751
    );
}

#[test]
fn refusals() {
    let bench = Bench::new();
    bench.file("from", b"new");
    let old = bench.file("old", b"old");
    fs::create_dir(bench.path("folder")).unwrap();
    fs::hard_link(bench.path("from"), bench.path("again")).unwrap();
    fifo(&bench.path("fifo"));
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
        bench.refuses(bench.command(from, to), message);
    }
    assert_eq!(fs::read(old).unwrap(), b"old");
    assert_eq!(fs::read(bench.path("from")).unwrap(), b"new");

    let mut one = bench.command("from", "to");
    one.arg("third");
    bench.refuses(one, "give a source and a destination");
}

#[test]
fn a_source_that_must_not_be_read() {
    let bench = Bench::new();
    let from = bench.file("from", b"secret");
    fs::set_permissions(&from, PermissionsExt::from_mode(0o000)).unwrap();
    let mut command = bench.command("from", "to");
    // SAFETY: reads a number.
    if unsafe { libc::geteuid() } == 0 {
        // Root reads everything. Another user has to get at the program and the folder.
        let there = TempDir::new().unwrap();
        let program = there.path().join("cp");
        fs::copy(self::program(), &program).unwrap();
        fs::set_permissions(there.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let bench = Bench(TempDir::new().unwrap());
        let from = bench.file("from", b"secret");
        fs::set_permissions(&from, PermissionsExt::from_mode(0o000)).unwrap();
        fs::set_permissions(bench.0.path(), PermissionsExt::from_mode(0o777)).unwrap();
        command = Command::new(program);
        command.args(["from", "to"]).current_dir(bench.0.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.uid(65534).gid(65534);
        return bench.refuses(command, "cannot read 'from': Permission denied");
    }
    bench.refuses(command, "cannot read 'from': Permission denied");
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
                _ => Err(std::io::Error::last_os_error()),
            },
        )
    };
}

#[test]
fn no_room_for_the_rest_of_a_chunk() {
    let bench = Bench::new();
    let old = bench.file("old", b"old");
    // A write that begins below the limit is a short one, the next an error.
    for (len, limit) in [(100_000, 70_001), (5_000_001, 3_000_000), (5_000_001, 0)] {
        let from = bench.file("from", &noise(len));
        let mut command = bench.command(&from, "old");
        limit_files(&mut command, limit);
        bench.refuses(command, "File too large");
    }
    assert_eq!(fs::read(old).unwrap(), b"old");
}

#[test]
fn no_room_in_the_file_system() {
    let test = "no_room_in_the_file_system";
    let bench = Bench::new();
    let from = bench.file("from", &noise(5_000_001));
    fs::create_dir(bench.path("full")).unwrap();
    // In namespaces of its own, where every user may mount.
    let script = "mount -t tmpfs -o size=1m none full || exit 99
        echo old > full/to; \"$1\" \"$2\" full/to; echo \"exit $?\"; ls -A full; cat full/to";
    let mut shell = Command::new("unshare");
    shell.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    shell.arg(program()).arg(from).current_dir(bench.0.path());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = match shell.spawn() {
        Ok(child) => end(child),
        Err(error) => return skip(test, &format!("unshare(1): {error}")),
    };
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
fn deny_io_uring() -> std::io::Result<()> {
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
    denied
        .then_some(())
        .ok_or_else(std::io::Error::last_os_error)
}

#[test]
fn without_io_uring() {
    let bench = Bench::new();
    bench.file("from", b"new");
    let mut command = bench.command("from", "to");
    // SAFETY: only system calls after the fork, and memory on the stack.
    unsafe { command.pre_exec(deny_io_uring) };
    bench.refuses(command, "io_uring is not available: a seccomp filter");
}

#[test]
fn a_signal_removes_what_there_is() {
    let bench = Bench::new();
    fifo(&bench.path("fifo"));
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut child = bench.command("fifo", "to").spawn().unwrap();
        let mut writer = writer(&bench.path("fifo"), &mut child);
        writer.write_all(b"a part").unwrap();
        wait_for("the temporary file", || {
            let names = bench.names();
            let name = names.iter().find(|name| name.starts_with(".cp-"))?;
            (fs::read(bench.path(name)).unwrap() == b"a part").then_some(())
        });
        // SAFETY: the process is our child and has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
        let output = end(child);
        assert_eq!(output.status.signal(), None);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(bench.names(), ["fifo"]);
    }
}

#[test]
fn without_arguments() {
    let bench = Bench::new();
    let mut command = Command::new(program());
    command.env("TMPDIR", bench.0.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = succeeded(end(command.spawn().unwrap()));
    assert!(
        said.contains("compared the two byte for byte: equal"),
        "{said}"
    );
    assert!(count(&said, "reads") > 1000, "{said}");
    assert!(bench.names().is_empty());
}
