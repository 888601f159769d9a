//! Operations: what the kernel works on, and who owns it meanwhile.
//!
//! The kernel follows the pointers of an operation until its CQE. So an [`Op`] owns
//! everything that it points to, and goes with its SQE, as `user_data`: from then on
//! nothing in this program can reach it, until the CQE brings it back.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::AddAssign;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;
use ringway::prep::{CURRENT_POSITION, Dir, FsyncFlags};
use ringway::{Errno, Sqe};

use crate::crew::Event;
use crate::plan::{CHUNK, Plan};

pub enum Op {
    Open {
        path: CString,
        flags: i32,
        mode: u32,
    },
    Read(Chunk),
    Write(Chunk),
    Sync(Arc<Transfer>),
    /// The kernel closes the file, so its owner here must not.
    Close(ManuallyDrop<File>),
}

/// What follows a completion.
pub enum Next {
    Op(Op),
    Event(Event),
}

impl Op {
    /// Writes the operation into an SQE, which owns it from then on.
    pub fn prepare(mut self: Box<Self>, sqe: &mut Sqe) {
        // SAFETY: `self` owns the path, the buffer and the files, and is not freed
        // before the CQE: below it is leaked, and only `take_back` undoes that.
        let sqe = unsafe {
            match &mut *self {
                Op::Open { path, flags, mode } => {
                    sqe.prep_openat(Dir::CWD, path.as_ptr(), *flags, *mode)
                }
                Op::Read(chunk) => {
                    let rest = &mut chunk.buffer[chunk.read..chunk.len];
                    let (buf, len) = (rest.as_mut_ptr(), rest.len() as u32);
                    let offset = match chunk.transfer.is_stream {
                        true => CURRENT_POSITION,
                        false => chunk.at + chunk.read as u64,
                    };
                    sqe.prep_read(&chunk.transfer.source, buf, len, offset)
                }
                Op::Write(chunk) => {
                    let rest = &chunk.buffer[chunk.written..chunk.read];
                    let (buf, len) = (rest.as_ptr(), rest.len() as u32);
                    let offset = chunk.at + chunk.written as u64;
                    sqe.prep_write(&chunk.transfer.target, buf, len, offset)
                }
                Op::Sync(transfer) => sqe.prep_fsync(&transfer.target, FsyncFlags::NONE),
                Op::Close(file) => sqe.prep_close(file.as_raw_fd()),
            }
        };
        sqe.user_data(Box::into_raw(self).expose_provenance() as u64);
    }

    /// The operation that comes back with a CQE.
    ///
    /// # Safety
    /// `user_data` is that of a CQE whose SQE [`Op::prepare`] wrote, and is taken back
    /// once.
    pub unsafe fn take_back(user_data: u64) -> Box<Self> {
        let op = std::ptr::with_exposed_provenance_mut(user_data as usize);
        // SAFETY: `prepare` leaked it, and the kernel has done with it: none of these
        // operations posts a second CQE.
        unsafe { Box::from_raw(op) }
    }

    pub fn completed(self, result: Result<u32, Errno>) -> Next {
        match self {
            Op::Read(chunk) => chunk.was_read(result),
            Op::Write(chunk) => chunk.was_written(result),
            Op::Open { .. } | Op::Sync(_) | Op::Close(_) => Next::Event(Event::Answer(result)),
        }
    }
}

/// One copy: what its chunks share.
pub struct Transfer {
    pub source: File,
    pub target: File,
    /// The source has no positions, or no length before it is read.
    pub is_stream: bool,
    pub plan: Mutex<Plan>,
    pub bar: ProgressBar,
}

impl Transfer {
    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was done.
#[derive(Default)]
pub struct Tally {
    pub bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.reads += other.reads;
        self.writes += other.writes;
    }
}

/// A buffer that goes from read to write, one piece of the file after the other:
/// `written <= read <= len`.
pub struct Chunk {
    transfer: Arc<Transfer>,
    buffer: Box<[u8]>,
    /// Where the piece begins, in both files.
    at: u64,
    /// Bytes of the piece.
    len: usize,
    read: usize,
    written: usize,
    tally: Tally,
}

impl Chunk {
    /// A new chunk's first step.
    pub fn start(transfer: Arc<Transfer>) -> Next {
        let chunk = Self {
            transfer,
            buffer: vec![0; CHUNK].into_boxed_slice(),
            at: 0,
            len: 0,
            read: 0,
            written: 0,
            tally: Tally::default(),
        };
        chunk.next()
    }

    fn was_read(mut self, result: Result<u32, Errno>) -> Next {
        self.tally.reads += 1;
        match result {
            Ok(0) => {
                self.len = self.read;
                self.transfer.plan().end_at(self.at + self.read as u64);
            }
            Ok(count) => self.read += count as usize,
            Err(errno) if errno.raw() == libc::EINTR => {}
            Err(errno) => return self.failed("read", errno.into()),
        }
        if self.transfer.is_stream {
            // It gave what it has; the rest may be long in coming.
            self.len = self.read;
            self.transfer.plan().resume_at(self.at + self.read as u64);
        }
        self.next()
    }

    fn was_written(mut self, result: Result<u32, Errno>) -> Next {
        self.tally.writes += 1;
        match result {
            Ok(0) => return self.failed("write", io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.written += count as usize;
                self.tally.bytes += u64::from(count);
                self.transfer.bar.inc(count.into());
            }
            Err(errno) if errno.raw() == libc::EINTR => {}
            Err(errno) => return self.failed("write", errno.into()),
        }
        self.next()
    }

    /// The rest of the read, the rest of the write, another piece, or the end.
    fn next(mut self) -> Next {
        if self.written == self.len {
            let piece = self.transfer.plan().next(&self.transfer.source);
            let Some((at, len)) = piece else {
                return self.retire(Ok(()));
            };
            (self.at, self.len, self.read, self.written) = (at, len, 0, 0);
        }
        Next::Op(match self.read < self.len {
            true => Op::Read(self),
            false => Op::Write(self),
        })
    }

    fn failed(self, what: &str, error: io::Error) -> Next {
        // No chunk begins another piece.
        self.transfer.plan().end_at(0);
        let text = format!("{what} at byte {}: {error}", self.at);
        self.retire(Err(io::Error::other(text)))
    }

    /// Main hears of it when the chunk is gone.
    fn retire(self, result: io::Result<()>) -> Next {
        Next::Event(Event::Retired(self.tally, result))
    }
}
