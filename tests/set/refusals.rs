//! A thread that cannot get its ring is told why, at once, and nothing is left behind.

use std::cell::RefCell;
use std::fs::File;
use std::mem::offset_of;
use std::sync::mpsc;
use std::thread;

use ringway::set::{SendError, Set, SetError};
use ringway::{Errno, Ring, SetupError, Unavailable};

use super::child::{in_child, linux, skip, traces};
use super::{LOST, member, next, patient, send, set};

/// What a new thread is told that asks for its ring, by either way.
fn refused(set: &Set) -> SetError {
    let set = set.clone();
    let thread = thread::spawn(move || {
        let error = patient(|| set.member()).expect_err("was made");
        assert_eq!(patient(|| set.with(|_| ())), Err(error.clone()));
        error
    });
    thread.join().unwrap()
}

fn limit_files(to: u64) {
    let limit = libc::rlimit {
        rlim_cur: to,
        rlim_max: to,
    };
    // SAFETY: setrlimit(2) reads one `rlimit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[test]
fn no_files_left() {
    in_child("refusals::no_files_left", || {
        let set = set();
        let before = traces();
        limit_files(40);
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        let none = SetError::Setup(SetupError::Unavailable(Unavailable::NoFile { limit: 40 }));
        assert_eq!(refused(&set), none);
        // Enough for the ring, not for what others know it by.
        files.pop();
        let no_number = SetError::Descriptor(Errno::from_raw(libc::EMFILE));
        assert_eq!(refused(&set), no_number);
        assert_eq!(refused(&set), no_number);
        assert!(set.peers().is_empty());
        files.pop();
        drop(member(&set));
        files.clear();
        assert_eq!(traces(), before);
    });
}

#[test]
fn no_file_for_the_set() {
    in_child("refusals::no_file_for_the_set", || {
        limit_files(3);
        let built = Set::builder(Ring::builder(8)).build();
        let expected = SetError::Descriptor(Errno::from_raw(libc::EMFILE));
        assert_eq!(built.expect_err("was built"), expected);
    });
}

/// From now on this call answers EPERM to this thread.
fn deny(call: libc::c_long) {
    let statement = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let nr = offset_of!(libc::seccomp_data, nr) as u32;
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, nr),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &filter), 0);
    }
}

/// The others go on: they come, go, and talk to each other.
#[test]
fn a_filter_on_one_thread() {
    in_child("refusals::a_filter_on_one_thread", || {
        let set = set();
        let here = member(&set);
        let denied = thread::spawn({
            let set = set.clone();
            move || {
                deny(libc::SYS_io_uring_setup);
                set.member().expect_err("was made")
            }
        });
        let expected = SetError::Setup(SetupError::Unavailable(Unavailable::DeniedBySeccomp));
        assert_eq!(denied.join().unwrap(), expected);
        let to = here.peer().clone();
        thread::spawn(move || {
            let there = member(&set);
            // SAFETY: the peer stays until the CQE.
            unsafe { send(&there, &to, 1, 2, 3) };
            assert_eq!(next(&there).result(), Ok(0));
        })
        .join()
        .unwrap();
        assert_eq!(next(&here).user_data(), 1);
    });
}

/// A set that is closed says so, and makes no ring to find out.
#[test]
fn closed_before_anything_else() {
    in_child("refusals::closed_before_anything_else", || {
        let set = set();
        set.close(0).unwrap();
        deny(libc::SYS_io_uring_setup);
        assert_eq!(refused(&set), SetError::Closed);
    });
}

/// The number of one that has gone still names its ring then; the flag says no.
#[test]
fn no_tombstone() {
    in_child("refusals::no_tombstone", || {
        deny(libc::SYS_dup3);
        let set = set();
        let here = member(&set);
        let peer = here.peer().clone();
        drop(here);
        assert_eq!(peer.send(1, 2), Err(SendError::Gone));
        assert!(set.peers().is_empty());
    });
}

#[test]
fn settings_that_no_ring_can_have() {
    for (builder, name) in [
        (Ring::builder(8).defer_taskrun(), None),
        (
            Ring::builder(8).iopoll().hybrid_iopoll().sq_rewind(),
            Some("SQ_REWIND"),
        ),
    ] {
        let set = Set::builder(builder).build().unwrap();
        match (patient(|| set.member()), name) {
            (Err(SetError::Setup(SetupError::Refused { flag, .. })), Some(name)) => {
                assert_eq!(flag, name);
            }
            // What was missing is there unless told otherwise.
            (Ok(_), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    let exact = Set::builder(Ring::builder(8).defer_taskrun()).exact();
    match exact.build().unwrap().member().expect_err("was made") {
        SetError::Setup(SetupError::Needs { flag, .. }) => assert_eq!(flag, "DEFER_TASKRUN"),
        other => panic!("{other}"),
    }
}

/// Others could not name it.
#[test]
fn a_ring_without_a_descriptor() {
    let test = "refusals::a_ring_without_a_descriptor";
    if !linux(6, 5) {
        return skip(test, "REGISTERED_FD_ONLY came with Linux 6.5");
    }
    let ring = Ring::builder(8).no_mmap().registered_fd_only();
    // As often as there are places for such rings, and once more: each is given back.
    for _ in 0..17 {
        match refused(&Set::builder(ring).build().unwrap()) {
            SetError::Setup(SetupError::Refused { flag, .. }) => {
                assert_eq!(flag, "REGISTERED_FD_ONLY");
            }
            other => panic!("{other}"),
        }
    }
}

/// Asks for a ring when its thread ends.
struct AtTheEnd {
    set: Set,
    answer: mpsc::Sender<Result<(), SetError>>,
}

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let answer = patient(|| self.set.with(|_| ()));
        self.set.leave();
        let member = patient(|| self.set.member()).map(|_| ());
        assert_eq!(member.is_ok(), answer.is_ok());
        let _ = self.answer.send(answer);
    }
}

thread_local! {
    static BEFORE: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    static AFTER: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
}

/// One of two thread-local values is dropped after what the set keeps there.
#[test]
fn a_thread_that_ends() {
    let set = set();
    let (answer, answers) = mpsc::channel();
    thread::spawn({
        let set = set.clone();
        move || {
            let at_the_end = || AtTheEnd {
                set: set.clone(),
                answer: answer.clone(),
            };
            BEFORE.set(Some(at_the_end()));
            patient(|| set.with(|_| ())).unwrap();
            AFTER.set(Some(at_the_end()));
        }
    })
    .join()
    .unwrap();
    let mut answers = [(); 2].map(|()| answers.recv_timeout(LOST).expect("an answer"));
    answers.sort_by_key(Result::is_err);
    assert_eq!(answers, [Ok(()), Err(SetError::ThreadEnds)]);
    assert!(set.peers().is_empty());
}
