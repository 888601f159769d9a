//! One file on its way through the steps, and the memory that the kernel needs meanwhile.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use ringway::pool::{Completion, Job, Outcome};
use ringway::prep::{Direct, Fixed, StatxFlags};
use ringway::{Errno, Sqe};
use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

/// What comes next for a file: an operation, but for `Hash`.
pub enum Step {
    Open,
    /// Statx.
    Ask(OwnedFd),
    /// Putting the file into the ring's table of files, and closing its descriptor.
    Register(OwnedFd),
    /// Into the registered buffer.
    Read,
    /// What was read: a job.
    Hash,
    /// Taking the file out of the table.
    Close,
}

/// What is to be submitted.
pub enum Work {
    One(Sqe),
    /// The second starts when the first has succeeded.
    Two([Sqe; 2]),
    Job(HashJob),
}

/// What came of a completion.
pub enum News {
    /// The next step can start.
    Next,
    /// So many bytes are to be hashed, as far as statx knows.
    Size(u64),
    /// So many bytes were hashed.
    Hashed(u64),
    /// The file is done, and nothing of it is in flight.
    Done(io::Result<Hash>),
}

/// A place in the tables of files and of buffers, and the file that is there just now.
///
/// One operation or job is in flight at a time, and nobody else looks at what it works on.
pub struct Lane {
    place: u32,
    buffer: Chunk,
    step: Step,
    name: CString,
    info: Box<libc::statx>,
    descriptors: Box<[RawFd; 1]>,
    at: u64,
    /// Bytes of the buffer that were read.
    filled: u32,
    hasher: Arc<Mutex<Sha256>>,
    failure: Option<io::Error>,
}

/// A registered buffer, or its beginning.
#[derive(Clone, Copy)]
pub struct Chunk {
    pub start: NonNull<u8>,
    pub len: u32,
}

// SAFETY: an address and a length; the lane's step says who may follow it.
unsafe impl Send for Chunk {}

/// Hashes a chunk, on a thread that is there for it. Its completion comes through the ring,
/// as those of the operations do.
pub struct HashJob {
    chunk: Chunk,
    hasher: Arc<Mutex<Sha256>>,
}

impl Job for HashJob {
    fn run(self) -> Result<u32, Errno> {
        let Chunk { start, len } = self.chunk;
        let bytes = NonNull::slice_from_raw_parts(start, len as usize);
        // SAFETY: the bytes were read, and the next read starts when this has completed.
        let bytes = unsafe { bytes.as_ref() };
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.update(bytes);
        Ok(len)
    }
}

impl Lane {
    pub fn new(place: u32, buffer: Chunk) -> Self {
        Self {
            place,
            buffer,
            step: Step::Open,
            name: CString::default(),
            // SAFETY: a statx is numbers.
            info: Box::new(unsafe { std::mem::zeroed() }),
            descriptors: Box::new([-1]),
            at: 0,
            filled: 0,
            hasher: Arc::default(),
            failure: None,
        }
    }

    /// Another file.
    pub fn begin(&mut self, name: CString) {
        *self = Self {
            name,
            ..Self::new(self.place, self.buffer)
        };
    }

    /// What the step submits.
    ///
    /// # Safety
    /// The lane and the directory stay until that has completed, and so does the registered
    /// buffer, which nobody else accesses.
    pub unsafe fn work(&mut self, dir: BorrowedFd<'_>, user_data: u64) -> Work {
        let mut sqe = Sqe::default();
        let place = Fixed(self.place);
        // SAFETY: what is named is the lane's, or the caller's promise.
        unsafe {
            match &self.step {
                Step::Open => {
                    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY;
                    sqe.prep_openat(dir, self.name.as_ptr(), flags, 0);
                }
                Step::Ask(file) => {
                    let (path, flags) = (c"".as_ptr(), StatxFlags::EMPTY_PATH);
                    let mask = libc::STATX_TYPE | libc::STATX_SIZE;
                    sqe.prep_statx(file, path, flags, mask, &raw mut *self.info);
                }
                Step::Register(file) => {
                    let mut close = Sqe::default();
                    close.prep_close(file.as_raw_fd()).user_data(user_data);
                    *self.descriptors = [file.as_raw_fd()];
                    let descriptors = self.descriptors.as_mut_ptr();
                    sqe.prep_files_update(descriptors, 1, Direct::at(place));
                    return Work::Two([sqe, close]);
                }
                Step::Read => {
                    let Chunk { start, len } = self.buffer;
                    // Buffers have 16 bits, and so have lanes.
                    let index = self.place as u16;
                    sqe.prep_read_fixed(place, start.as_ptr(), len, self.at, index);
                }
                Step::Hash => {
                    return Work::Job(HashJob {
                        chunk: Chunk {
                            len: self.filled,
                            ..self.buffer
                        },
                        hasher: self.hasher.clone(),
                    });
                }
                Step::Close => {
                    sqe.prep_close_direct(place);
                }
            }
        }
        sqe.user_data(user_data);
        Work::One(sqe)
    }

    /// What the step has come to.
    pub fn completed(&mut self, completion: &Completion) -> News {
        let step = std::mem::replace(&mut self.step, Step::Open);
        let is_close = matches!(step, Step::Register(_)) && completion.member() == 1;
        let count = match result(completion.outcome()) {
            Ok(count) => count,
            // The file is in the table, and a close that fails has closed the descriptor.
            Err(_) if is_close => 0,
            Err(error) => return self.failed(step, error),
        };
        let (next, news) = match step {
            Step::Open => {
                // SAFETY: the kernel has just made this descriptor for us.
                let file = unsafe { OwnedFd::from_raw_fd(count.cast_signed()) };
                (Step::Ask(file), News::Next)
            }
            Step::Ask(file) => match u32::from(self.info.stx_mode) & libc::S_IFMT {
                libc::S_IFREG => (Step::Register(file), News::Size(self.info.stx_size)),
                libc::S_IFDIR => return self.failed(Step::Ask(file), os(libc::EISDIR)),
                _ => {
                    let error = io::Error::other("not a regular file");
                    return self.failed(Step::Ask(file), error);
                }
            },
            Step::Register(file) => {
                // The ring has closed it.
                let _ = file.into_raw_fd();
                (Step::Read, News::Next)
            }
            Step::Read if count == 0 => (Step::Close, News::Next),
            Step::Read => {
                self.filled = count;
                (Step::Hash, News::Next)
            }
            Step::Hash => {
                self.at += u64::from(self.filled);
                (Step::Read, News::Hashed(self.filled.into()))
            }
            Step::Close => return News::Done(self.digest()),
        };
        self.step = next;
        news
    }

    /// A file that is in the table is taken out of it first.
    fn failed(&mut self, step: Step, error: io::Error) -> News {
        let is_again = error.kind() == io::ErrorKind::Interrupted;
        match step {
            Step::Read if is_again => {
                self.step = Step::Read;
                News::Next
            }
            Step::Read | Step::Hash => {
                self.failure = Some(error);
                self.step = Step::Close;
                News::Next
            }
            Step::Open | Step::Ask(_) | Step::Register(_) | Step::Close => {
                News::Done(Err(self.failure.take().unwrap_or(error)))
            }
        }
    }

    fn digest(&mut self) -> io::Result<Hash> {
        match self.failure.take() {
            Some(error) => Err(error),
            None => {
                let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(hasher.finalize_reset().into())
            }
        }
    }
}

fn os(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

fn result(outcome: Outcome) -> io::Result<u32> {
    match outcome {
        Outcome::Done(count) => Ok(count),
        Outcome::Failed(errno) => Err(errno.into()),
        Outcome::Cancelled => Err(os(libc::ECANCELED)),
        Outcome::TimedOut => Err(os(libc::ETIME)),
        Outcome::Panicked => Err(io::Error::other("hashing it panicked")),
    }
}
