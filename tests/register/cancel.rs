//! Cancelling with the answer at once.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::{AsFd, FromRawFd};
use std::thread;
use std::time::Duration;

use ringway::op;
use ringway::prep::Fixed;
use ringway::register::CancelBy;

use super::child::{has, linux, tried};
use super::ops::{next, result, start};
use super::*;

fn cancel(ring: &Ring, by: CancelBy<'_>, timeout: Option<Duration>) -> Result<u32, i32> {
    raw(ring.registrar().register_sync_cancel(by, timeout))
}

/// Operations that wait for two pipes to be written to: pipe, opcode, `user_data`, and the
/// result when that happens, by which the test knows which ones were left.
type Waiting = (usize, u8, u64, u32);

const BOTH: u32 = (libc::POLLIN | libc::POLLRDNORM) as u32;
const WAITING: [Waiting; 5] = [
    (0, op::READ, 1, 3),
    (0, op::POLL_ADD, 1, libc::POLLIN as u32),
    (0, op::READ, 2, 3),
    (1, op::POLL_ADD, 3, BOTH),
    (1, op::READ, 1, 2),
];

struct Pipes {
    ring: Ring,
    readers: [PipeReader; 2],
    writers: [PipeWriter; 2],
}

impl Pipes {
    /// The first pipe is the registered file 1 as well.
    fn waiting() -> Self {
        let (ring, [first, second]) = (ring(), [(); 2].map(|()| pipe().unwrap()));
        let file = Some(first.0.as_fd());
        ring.registrar().register_files(&[None, file]).unwrap();
        let pipes = Self {
            ring,
            readers: [first.0, second.0],
            writers: [first.1, second.1],
        };
        for (pipe, opcode, user_data, result) in WAITING {
            pipes.start(&pipes.readers[pipe], opcode, user_data, result);
        }
        pipes
    }

    fn start(&self, reader: &PipeReader, opcode: u8, user_data: u64, result: u32) {
        let buf: &'static mut [u8; 3] = Box::leak(Box::new([0; 3]));
        // SAFETY: the bytes stay, and so do the pipes, as long as the ring has operations.
        start(&self.ring, |sqe| unsafe {
            match opcode {
                op::READ => sqe.prep_read(reader, buf.as_mut_ptr(), result, 0),
                _ => sqe.prep_poll_add(reader, result),
            }
            .user_data(user_data)
        });
    }

    /// Writes as much as all reads want, then says what was cancelled (by `user_data`) and
    /// what was not (by `user_data` and result).
    fn outcome(mut self) -> (Vec<u64>, Vec<(u64, u32)>) {
        self.writers[0].write_all(b"abcdef").unwrap();
        self.writers[1].write_all(b"gh").unwrap();
        let (mut cancelled, mut done) = (Vec::new(), Vec::new());
        for _ in WAITING {
            let cqe = next(&self.ring);
            match result(cqe) {
                Ok(result) => done.push((cqe.user_data(), result)),
                Err(libc::ECANCELED) => cancelled.push(cqe.user_data()),
                Err(errno) => panic!("errno {errno}"),
            }
        }
        assert_eq!(self.ring.cq().reap(), None);
        cancelled.sort();
        done.sort();
        (cancelled, done)
    }
}

/// What fits is cancelled and counted, and nothing else.
#[test]
fn by_each_key() {
    type Key = for<'p> fn(&'p Pipes) -> CancelBy<'p>;
    type Fits = fn(Waiting) -> bool;
    let keys: [(&str, Key, Fits); 6] = [
        ("any", |_| CancelBy::any(), |_| true),
        (
            "user_data",
            |_| CancelBy::user_data(1),
            |(.., user_data, _)| user_data == 1,
        ),
        ("another user_data", |_| CancelBy::user_data(9), |_| false),
        (
            "fd",
            |p| CancelBy::fd(p.readers[1].as_fd()),
            |(pipe, ..)| pipe == 1,
        ),
        (
            "fixed",
            |_| CancelBy::fixed(Fixed(1)),
            |(pipe, ..)| pipe == 0,
        ),
        (
            "an idle file",
            |p| CancelBy::fd(p.writers[0].as_fd()),
            |_| false,
        ),
    ];
    let since_6_6: [(&str, Key, Fits); 5] = [
        (
            "opcode",
            |_| CancelBy::opcode(op::POLL_ADD),
            |(_, op, ..)| op == op::POLL_ADD,
        ),
        (
            "user_data and opcode",
            |_| CancelBy::user_data(1).and_opcode(op::READ),
            |(_, op, user_data, _)| (op, user_data) == (op::READ, 1),
        ),
        (
            "fixed and user_data",
            |_| CancelBy::fixed(Fixed(1)).and_user_data(1),
            |(pipe, _, user_data, _)| (pipe, user_data) == (0, 1),
        ),
        (
            "all three",
            |p| {
                CancelBy::fd(p.readers[0].as_fd())
                    .and_opcode(op::READ)
                    .and_user_data(2)
            },
            |(pipe, op, user_data, _)| (pipe, op, user_data) == (0, op::READ, 2),
        ),
        (
            "no such opcode here",
            |_| CancelBy::opcode(op::ACCEPT),
            |_| false,
        ),
    ];
    let newer = has(6, 6, "cancel::by_each_key", "cancelling by opcode");
    let newer = if newer { &since_6_6[..] } else { &[] };
    for (name, by, fits) in keys.iter().chain(newer) {
        let pipes = Pipes::waiting();
        let found = cancel(&pipes.ring, by(&pipes).all(), None);
        let (left, gone): (Vec<_>, Vec<_>) = WAITING.into_iter().partition(|w| !fits(*w));
        let mut left: Vec<_> = left.into_iter().map(|w| (w.2, w.3)).collect();
        let mut gone: Vec<_> = gone.into_iter().map(|w| w.2).collect();
        left.sort();
        gone.sort();
        assert_eq!(found, Ok(gone.len() as u32), "{name}");
        assert_eq!(pipes.outcome(), (gone, left), "{name}");
    }
    tried("REGISTER_SYNC_CANCEL");
}

#[test]
fn one_of_several() {
    let pipes = Pipes::waiting();
    assert_eq!(cancel(&pipes.ring, CancelBy::user_data(1), None), Ok(0));
    let by_file = CancelBy::fixed(Fixed(1));
    assert_eq!(cancel(&pipes.ring, by_file, None), Ok(0));
    let (cancelled, done) = pipes.outcome();
    assert_eq!((cancelled.len(), done.len()), (2, 3));
    assert!(cancelled.contains(&1) && done.contains(&(3, BOTH)));
}

/// The operations are another thread's: what counts is the ring.
#[test]
fn from_another_thread() {
    let pipes = Pipes::waiting();
    let found = thread::scope(|scope| {
        let cancel = || cancel(&pipes.ring, CancelBy::any(), None);
        scope.spawn(cancel).join().unwrap()
    });
    assert_eq!(found, Ok(5));
    assert_eq!(pipes.outcome().0, [1, 1, 1, 2, 3]);
}

#[test]
fn what_there_is_not() {
    let ring = ring();
    let (reader, _writer) = pipe().unwrap();
    let file = Some(reader.as_fd());
    ring.registrar().register_files(&[None, file]).unwrap();
    for (by, expected) in [
        (CancelBy::user_data(7), Err(libc::ENOENT)),
        (CancelBy::user_data(7).all(), Ok(0)),
        (CancelBy::any(), Ok(0)),
        (CancelBy::fd(reader.as_fd()), Err(libc::ENOENT)),
        (CancelBy::fixed(Fixed(1)), Err(libc::ENOENT)),
        (CancelBy::fixed(Fixed(0)), Err(libc::EBADF)),
        (CancelBy::fixed(Fixed(2)), Err(libc::EBADF)),
        (CancelBy::fixed(Fixed(u32::MAX)), Err(libc::EBADF)),
    ] {
        let timeout = Some(Duration::MAX);
        assert_eq!(cancel(&ring, by, timeout), expected, "{by:?}");
    }
    if linux(6, 6) {
        let got = cancel(&ring, CancelBy::opcode(255), None);
        assert_eq!(got, Err(libc::ENOENT));
    }
}

const LONG: usize = 64 << 20;

/// Zeros that take no memory.
fn zeros() -> *const u8 {
    // SAFETY: a new mapping at an address of the kernel's choice. It stays.
    let zeros = unsafe {
        let (read, private) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        libc::mmap(std::ptr::null_mut(), LONG, read, private, -1, 0)
    };
    assert_ne!(zeros, libc::MAP_FAILED);
    zeros.cast_const().cast()
}

/// A write in a worker thread that does not end early, and is under way.
fn start_long_write(ring: &Ring, zeros: *const u8) -> File {
    // SAFETY: a name; the descriptor is new, and this file's alone.
    let file = unsafe { File::from_raw_fd(libc::memfd_create(c"long".as_ptr(), 0)) };
    start(ring, |sqe| {
        // SAFETY: the memory is never written to, and stays; so does the file until the CQE.
        let sqe = unsafe { sqe.prep_write(&file, zeros, LONG as u32, 0) };
        sqe.user_data(1).force_async()
    });
    while file.metadata().unwrap().len() == 0 {
        thread::yield_now();
    }
    file
}

/// One that runs is waited for, at most for as long as was asked. All are not: what runs is
/// neither counted nor waited for. A write may be over before it is looked at: then the next
/// is tried.
#[test]
fn what_is_running() {
    let ring = ring();
    let (by, zeros) = (CancelBy::user_data(1), zeros());
    let (mut timed_out, mut left_running) = (false, false);
    for _ in 0..100 {
        let _file = start_long_write(&ring, zeros);
        match cancel(&ring, by, Some(Duration::ZERO)) {
            Err(libc::ETIME) => timed_out = true,
            other => assert!(matches!(other, Ok(0) | Err(libc::ENOENT)), "{other:?}"),
        }
        next(&ring).result().unwrap();

        for by in [by.all(), CancelBy::any()] {
            let _file = start_long_write(&ring, zeros);
            assert_eq!(cancel(&ring, by, None), Ok(0));
            left_running |= ring.cq().ready() == 0;
            next(&ring).result().unwrap();
        }
        if timed_out && left_running {
            return;
        }
    }
    panic!("of 100 writes: one that was waited for {timed_out}, one that was not {left_running}");
}

/// Without a limit the operation has ended when the call returns.
#[test]
fn waits_for_the_end() {
    let (ring, zeros) = (ring(), zeros());
    // What is too far away for the kernel's clock is no limit either.
    let no_limit = [
        None,
        Some(Duration::MAX),
        Some(Duration::from_secs(1 << 33)),
    ];
    for timeout in no_limit.into_iter().cycle().take(9) {
        let _file = start_long_write(&ring, zeros);
        // Whether it was met or not, it is over.
        match cancel(&ring, CancelBy::user_data(1), timeout) {
            Ok(0) | Err(libc::ENOENT) => {}
            other => panic!("{other:?}"),
        }
        let cqe = ring.cq().reap().expect("its CQE");
        assert_eq!(cqe.user_data(), 1);
    }
}
