//! The operations of the example, one after the other, when the kernel transfers less
//! than it is asked for, or nothing, or is interrupted. Here the test is the kernel: the
//! real one does none of this on demand, and finishes short reads of regular files itself.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;
use ringway::{Errno, Sqe};

use crate::crew::Event;
use crate::folder::noise;
use crate::op::{Chunk, Next, Op, Tally, Transfer};
use crate::plan::{CHUNK, Plan};

const READ: u8 = 22;
const WRITE: u8 = 23;

fn transfer(source: &[u8]) -> Arc<Transfer> {
    let from = tempfile::tempfile().unwrap();
    from.write_all_at(source, 0).unwrap();
    Arc::new(Transfer {
        source: from,
        target: tempfile::tempfile().unwrap(),
        is_stream: false,
        plan: Mutex::new(Plan::of_file(source.len() as u64)),
        bar: ProgressBar::hidden(),
    })
}

/// What an SQE asks for, at the offsets of `struct io_uring_sqe`.
struct Asked {
    opcode: u8,
    fd: i32,
    offset: u64,
    buf: *mut u8,
    len: usize,
}

impl Asked {
    fn by(sqe: &mut Sqe) -> Self {
        // SAFETY: the bytes are only read.
        let bytes = unsafe { sqe.as_bytes_mut() };
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        Self {
            opcode: bytes[0],
            fd: half(4).cast_signed(),
            offset: word(8),
            buf: std::ptr::with_exposed_provenance_mut(word(16) as usize),
            len: half(24) as usize,
        }
    }

    /// Transfers `most` bytes at most.
    fn transfer(&self, most: usize) -> Result<u32, Errno> {
        let (len, offset) = (self.len.min(most), self.offset.cast_signed());
        assert!(len > 0, "an operation on nothing");
        // SAFETY: the operation, which nobody has taken back, owns the buffer.
        let count = unsafe {
            match self.opcode {
                READ => libc::pread64(self.fd, self.buf.cast(), len, offset),
                WRITE => libc::pwrite64(self.fd, self.buf.cast(), len, offset),
                opcode => panic!("opcode {opcode}"),
            }
        };
        Ok(count.try_into().expect("a file can be read and written"))
    }
}

/// Runs three chunks, an operation of each in turn, until all have retired.
fn run(
    transfer: &Arc<Transfer>,
    mut answer: impl FnMut(Asked) -> Result<u32, Errno>,
) -> (Tally, Vec<String>) {
    let mut steps: VecDeque<Next> = (0..3).map(|_| Chunk::start(transfer.clone())).collect();
    let (mut total, mut errors) = (Tally::default(), Vec::new());
    for _ in 0..10_000 {
        match steps.pop_front() {
            Some(Next::Op(op)) => {
                let mut sqe = Sqe::default();
                Box::new(op).prepare(&mut sqe);
                let result = answer(Asked::by(&mut sqe));
                // SAFETY: it was prepared here, and what it asked for is over.
                let op = unsafe { Op::take_back(sqe.get_user_data()) };
                steps.push_back(op.completed(result));
            }
            Some(Next::Event(Event::Retired(tally, result))) => {
                total += tally;
                errors.extend(result.err().map(|error| error.to_string()));
            }
            Some(Next::Event(_)) => panic!("no such event was to be expected"),
            None => return (total, errors),
        }
    }
    panic!("there is no end to it");
}

#[track_caller]
fn assert_copied(transfer: &Transfer, content: &[u8]) {
    assert_eq!(transfer.plan().end(), content.len() as u64);
    assert_eq!(
        transfer.target.metadata().unwrap().len(),
        content.len() as u64
    );
    let mut copy = vec![0; content.len()];
    transfer.target.read_exact_at(&mut copy, 0).unwrap();
    assert!(copy == content);
}

#[test]
fn short_and_interrupted_transfers_go_on() {
    let content = noise(10 * CHUNK + 777);
    let transfer = transfer(&content);
    let mut calls = 0;
    let (tally, errors) = run(&transfer, |asked| {
        calls += 1;
        match calls % 5 {
            0 => Err(Errno::from_raw(libc::EINTR)),
            _ => asked.transfer(50_001),
        }
    });
    assert_eq!(errors, [""; 0]);
    assert_copied(&transfer, &content);
    assert_eq!(tally.bytes, content.len() as u64);
    assert_eq!(tally.reads + tally.writes, calls);
    assert!(tally.reads > 30 && tally.writes > 30);
}

#[test]
fn the_end_that_a_read_meets_is_the_end() {
    let content = noise(9 * CHUNK);
    let transfer = transfer(&content);
    let (tally, errors) = run(&transfer, |asked| {
        transfer.source.set_len(5 * CHUNK as u64 + 777).unwrap();
        asked.transfer(CHUNK)
    });
    assert_eq!(errors, [""; 0]);
    assert_copied(&transfer, &content[..5 * CHUNK + 777]);
    assert_eq!(tally.bytes, 5 * CHUNK as u64 + 777);
}

#[test]
fn a_write_of_nothing_is_an_error() {
    let content = noise(10 * CHUNK);
    let transfer = transfer(&content);
    let (tally, errors) = run(&transfer, |asked| match asked.opcode {
        READ => asked.transfer(CHUNK),
        _ => Ok(0),
    });
    // Each chunk fails with its first piece.
    assert_eq!(errors.len(), 3);
    assert!(errors[0].starts_with("write at byte 0: "), "{errors:?}");
    assert_eq!((tally.reads, tally.bytes), (3, 0));
}

#[test]
fn an_error_stops_the_other_chunks() {
    let content = noise(100 * CHUNK);
    let transfer = transfer(&content);
    let mut writes = 0;
    let (tally, errors) = run(&transfer, |asked| {
        writes += u64::from(asked.opcode == WRITE);
        match writes {
            5 => Err(Errno::from_raw(libc::ENOSPC)),
            _ => asked.transfer(CHUNK),
        }
    });
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("No space left"), "{errors:?}");
    // What was begun comes to its end, and nothing is begun.
    assert!(tally.reads <= 7, "{} reads", tally.reads);
}
