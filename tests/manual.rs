//! Where the manual is wrong: `docs/where-the-manual-is-wrong.md`, and those of its tests
//! that have no other home. They enter by hand, with what ringway would not ask for.

use std::fs;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringway::{Local, Ring, Waited};

#[path = "child/mod.rs"]
mod child;
use child::patiently;

const PATIENCE: Duration = Duration::from_secs(20);

/// `struct io_uring_params`, and the places in it.
type Params = [u32; 30];
const CQ_ENTRIES: usize = 1;
const FLAGS: usize = 2;
const SQ_THREAD_IDLE: usize = 4;
const SQ_OFF_TAIL: usize = 11;
const SQ_OFF_FLAGS: usize = 14;
const CQ_OFF_TAIL: usize = 21;

const SETUP_SQPOLL: u32 = 1 << 1;
const SETUP_CQSIZE: u32 = 1 << 3;
const SQ_NEED_WAKEUP: u32 = 1;

const GETEVENTS: u32 = 1;
const SQ_WAKEUP: u32 = 1 << 1;

/// `io_uring_setup(2)`, again while there is no memory to lock.
fn setup(entries: u32, params: &mut Params) -> OwnedFd {
    let start = Instant::now();
    loop {
        // SAFETY: the kernel reads and writes one structure.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params.as_mut_ptr()) };
        if fd >= 0 {
            // SAFETY: the descriptor is new, and nobody else's.
            return unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        }
        let error = Error::last_os_error();
        let again = error.raw_os_error() == Some(libc::ENOMEM) && start.elapsed() < PATIENCE;
        assert!(again, "{error}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// `io_uring_enter(2)`, for 20 s at most: then it is `ETIME` if there is no CQE.
fn enter(fd: RawFd, flags: u32, to_submit: u32, min_complete: u32) -> Result<i64, i32> {
    const EXT_ARG: u32 = 1 << 3;
    let timeout = [PATIENCE.as_secs(), 0];
    // `struct io_uring_getevents_arg`: no signals, the size of their set, the time.
    let arg = [0, 8, timeout.as_ptr().addr() as u64];
    // SAFETY: the kernel reads the two structures.
    let done = unsafe {
        let (call, flags) = (libc::SYS_io_uring_enter, flags | EXT_ARG);
        let size = size_of_val(&arg);
        libc::syscall(call, fd, to_submit, min_complete, flags, arg.as_ptr(), size)
    };
    match done {
        -1 => Err(Error::last_os_error().raw_os_error().unwrap()),
        done => Ok(done),
    }
}

/// Room for eight CQEs.
fn small() -> Local {
    patiently(|| Ring::builder(8).cq_entries(8).build_local()).unwrap()
}

fn fd(ring: &Local) -> RawFd {
    ring.fd().expect("a descriptor").as_raw_fd()
}

/// Slots that were not prepared are NOPs.
fn push_nops(ring: &Local, count: u32) {
    ring.pop_batch(count).expect("8 slots are enough").push();
}

#[test]
fn an_overflow_is_no_reason_to_refuse() {
    let ring = small();
    for _ in 0..3 {
        push_nops(&ring, 8);
        ring.submit().unwrap();
    }
    assert_eq!(ring.ready(), 8, "and 16 more that have no room");
    assert_eq!(enter(fd(&ring), GETEVENTS, 0, 1), Ok(0));
    push_nops(&ring, 1);
    assert_eq!(ring.submit_and_wait(1, None), Ok(Waited::Maybe));
    assert_eq!(ring.ready(), 8, "no CQE was reaped meanwhile");
    assert_eq!(std::iter::from_fn(|| ring.reap()).count(), 25);
}

#[test]
fn a_wait_for_more_than_there_is_room_for_ends_with_a_full_queue() {
    let ring = small();
    push_nops(&ring, 8);
    ring.submit().unwrap();
    let start = Instant::now();
    assert_eq!(enter(fd(&ring), GETEVENTS, 0, 1000), Ok(0));
    assert!(start.elapsed() < PATIENCE, "with CQEs ready, it says 0 too");
    assert_eq!(ring.ready(), 8);
}

#[test]
fn the_one_issuer_need_not_be_the_first() {
    let builder = Ring::builder(8).single_issuer();
    let ring = patiently(|| builder.build_local()).unwrap();
    let another = |fd| thread::spawn(move || enter(fd, 0, 1, 0)).join().unwrap();
    let nop = |ring: &Local| {
        push_nops(ring, 1);
        ring.submit().unwrap();
        assert_eq!(ring.reap().map(|cqe| cqe.result()), Some(Ok(0)));
    };
    assert_eq!(another(fd(&ring)), Err(libc::EEXIST));
    nop(&ring);

    // With R_DISABLED it is who enables the ring, not who made it.
    let disabled = patiently(|| builder.build_disabled()).unwrap();
    let made_by = thread::current().id();
    thread::spawn(move || {
        assert_ne!(thread::current().id(), made_by);
        let ring = disabled.enable_local().unwrap();
        assert_eq!(another(fd(&ring)), Err(libc::EEXIST));
        nop(&ring);
    })
    .join()
    .unwrap();
}

/// A ring with a kernel thread that is to spin so long, and one SQE, a NOP of zeros.
struct Polled {
    fd: OwnedFd,
    sq_tail: &'static AtomicU32,
    sq_flags: &'static AtomicU32,
    cq_tail: &'static AtomicU32,
}

impl Polled {
    fn new(idle_ms: u32) -> Self {
        let mut params = Params::default();
        (params[FLAGS], params[SQ_THREAD_IDLE]) = (SETUP_SQPOLL, idle_ms);
        let fd = setup(1, &mut params);
        // SAFETY: a new mapping touches nothing.
        let memory = unsafe {
            let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, fd.as_raw_fd());
            libc::mmap(ptr::null_mut(), 4096, access, libc::MAP_SHARED, fd, 0)
        };
        assert_ne!(memory, libc::MAP_FAILED);
        // SAFETY: the kernel says that it is there, in the first page; the mapping stays.
        let field = |at: usize| unsafe { &*memory.byte_add(params[at] as usize).cast() };
        Self {
            sq_tail: field(SQ_OFF_TAIL),
            sq_flags: field(SQ_OFF_FLAGS),
            cq_tail: field(CQ_OFF_TAIL),
            fd,
        }
    }

    fn sleeps(&self) -> bool {
        self.sq_flags.load(Ordering::Relaxed) & SQ_NEED_WAKEUP != 0
    }
}

#[track_caller]
fn until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_idle_time_of_0_is_not_for_ever() {
    let ring = Polled::new(0);
    ring.sq_tail.store(1, Ordering::Release);
    assert_eq!(enter(ring.fd.as_raw_fd(), SQ_WAKEUP, 0, 0), Ok(0));
    until(|| ring.cq_tail.load(Ordering::Acquire) == 1);
    until(|| ring.sleeps());
}

/// Why the test above has it work first.
#[test]
fn before_its_first_work_the_thread_does_not_spin() {
    const HOUR_MS: u32 = 3_600_000;
    let ring = Polled::new(HOUR_MS);
    until(|| ring.sleeps());
}

#[test]
fn any_number_of_cqes_from_that_of_the_sqes_on_is_rounded_up() {
    for (asked, given) in [(8, 8), (9, 16), (100, 128)] {
        let mut params = Params::default();
        params[FLAGS] = SETUP_CQSIZE;
        params[CQ_ENTRIES] = asked;
        setup(8, &mut params);
        assert_eq!(params[CQ_ENTRIES], given);
    }
}

/// Whether the file has a test, or a model, of that name.
fn has_test(file: &str, name: &str) -> bool {
    let test = file.lines().scan(false, |is_test, line| {
        let line = line.trim();
        let found = *is_test && line.starts_with(&format!("fn {name}()"));
        *is_test = line == "#[test]" || *is_test && line.starts_with("#[");
        Some(found)
    });
    test.into_iter().any(|found| found) || file.contains(&format!("Model::new(\"{name}\","))
}

/// Each row of the document's tables names tests that there are, by links to their files.
#[test]
fn the_document_names_tests_that_there_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let document = fs::read_to_string(docs.join("where-the-manual-is-wrong.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let mut tests = 0;
    for row in rows.filter(|row| !row.starts_with("| The page says |")) {
        let links: Vec<_> = row.split("[`").skip(1).collect();
        assert!(!links.is_empty(), "no test: {row}");
        for link in links {
            let (path, rest) = link.split_once("`](").expect(link);
            let (file, _) = rest.split_once(')').expect(link);
            let name = path.rsplit("::").next().unwrap();
            let text = fs::read_to_string(docs.join(file)).expect(file);
            assert!(has_test(&text, name), "{file} has no test {name}");
            tests += 1;
        }
    }
    assert!(tests > 0);
}
