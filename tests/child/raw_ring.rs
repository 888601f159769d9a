//! A ring that is made, filled and entered by system calls alone: for what the crate's
//! types do not let one ask.
#![allow(
    clippy::disallowed_types,
    reason = "the counters of a ring that is not the crate's"
)]
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::ffi::{c_long, c_void};
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

pub const SQPOLL: u32 = 1 << 1;
pub const CQSIZE: u32 = 1 << 3;
pub const R_DISABLED: u32 = 1 << 6;
pub const SINGLE_ISSUER: u32 = 1 << 12;
pub const DEFER_TASKRUN: u32 = 1 << 13;

pub const GETEVENTS: u32 = 1;
pub const SQ_WAKEUP: u32 = 1 << 1;

pub const NEED_WAKEUP: u32 = 1;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Of the rings, and of the SQEs.
const MAPPED: usize = 512;

/// `struct io_uring_params`, of which these are the words that tests look at.
pub type Params = [u32; 30];
pub const CQ_ENTRIES: usize = 1;
pub const FLAGS: usize = 2;
pub const SQ_THREAD_IDLE: usize = 4;
pub const FEATURES: usize = 5;
pub const SQ_TAIL: usize = 11;
pub const SQ_FLAGS: usize = 14;
const SQ_ARRAY: usize = 16;
const CQ_HEAD: usize = 20;
const CQ_TAIL: usize = 21;
const CQ_MASK: usize = 22;
const CQES: usize = 25;

pub fn params(flags: u32) -> Params {
    let mut params = Params::default();
    params[FLAGS] = flags;
    params
}

/// What a call answered: a count, or an errno.
pub type Answer = Result<i32, i32>;

fn answer(returned: c_long) -> Answer {
    match returned {
        -1 => Err(Error::last_os_error().raw_os_error().unwrap()),
        count => Ok(count as i32),
    }
}

/// A ring of 8 entries.
pub struct Raw {
    fd: OwnedFd,
    rings: *mut u8,
    sqes: *mut u8,
    pub params: Params,
}

// SAFETY: the memory is the process's; the tests use it from one thread after the other.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Raw {
    pub fn new(mut params: Params) -> Result<Self, i32> {
        // SAFETY: the kernel reads and writes the 120 bytes of the parameters.
        let fd = answer(unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, &mut params) })?;
        // SAFETY: the descriptor is new, and this ring's alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // IORING_OFF_SQ_RING and IORING_OFF_SQES.
        let [rings, sqes] = [0, 0x1000_0000].map(|offset| {
            // SAFETY: a new mapping at an address of the kernel's choice. Rings and entries
            // take that much at least.
            let memory = unsafe {
                let both = libc::PROT_READ | libc::PROT_WRITE;
                let fd = fd.as_raw_fd();
                libc::mmap(ptr::null_mut(), MAPPED, both, libc::MAP_SHARED, fd, offset)
            };
            assert_ne!(memory, libc::MAP_FAILED);
            memory.cast()
        });
        Ok(Self {
            fd,
            rings,
            sqes,
            params,
        })
    }

    /// The ring, where making one may wait for memory that others gave back.
    pub fn make(params: Params) -> Self {
        let made = (0..10_000).find_map(|_| match Self::new(params) {
            Err(libc::ENOMEM) => {
                thread::sleep(Duration::from_millis(1));
                None
            }
            made => Some(made.unwrap()),
        });
        made.expect("memory for a ring within 10 s")
    }

    /// One of the counters, by the word of the parameters that says where it lies.
    pub fn counter(&self, word: usize) -> &AtomicU32 {
        // SAFETY: the kernel answered with an offset inside the mapping.
        unsafe { &*self.rings.add(self.params[word] as usize).cast() }
    }

    /// Puts a NOP into the queue, for whoever submits.
    pub fn push_nop(&self) {
        // A NOP is all zeros.
        self.push([0; 8]);
    }

    /// Puts an SQE into the queue, for whoever submits. What it points to has to stay.
    pub fn push(&self, sqe: [u64; 8]) {
        let tail = self.counter(SQ_TAIL);
        let index = tail.load(Ordering::Relaxed) & 7;
        // SAFETY: entry and place are below 8; the kernel reads neither before the tail is
        // past them.
        unsafe {
            self.sqes.cast::<[u64; 8]>().add(index as usize).write(sqe);
            let array = self.rings.add(self.params[SQ_ARRAY] as usize).cast::<u32>();
            array.add(index as usize).write(index);
        }
        tail.fetch_add(1, Ordering::Release);
    }

    /// Where the entry lies that is pushed first.
    pub fn first_sqe(&self) -> *mut [u64; 8] {
        self.sqes.cast()
    }

    /// The oldest completion: `user_data` and result.
    pub fn reap(&self) -> Option<(u64, i32)> {
        let head = self.counter(CQ_HEAD);
        let index = head.load(Ordering::Relaxed);
        if self.ready() == 0 {
            return None;
        }
        let mask = self.counter(CQ_MASK).load(Ordering::Relaxed);
        // SAFETY: the entry lies in the mapping, and is written: the tail is past it.
        let words = unsafe {
            let cqes = self.rings.add(self.params[CQES] as usize);
            cqes.cast::<[u32; 4]>().add((index & mask) as usize).read()
        };
        head.fetch_add(1, Ordering::Release);
        let user_data = u64::from(words[1]) << 32 | u64::from(words[0]);
        Some((user_data, words[2] as i32))
    }

    /// A wait ends after 20 s, with `ETIME` if there is no completion. Before Linux 5.11
    /// it does not.
    pub fn enter(&self, to_submit: u32, min_complete: u32, flags: u32) -> Answer {
        const EXT_ARG: u32 = 1 << 3;
        const FEAT_EXT_ARG: u32 = 1 << 8;
        if self.params[FEATURES] & FEAT_EXT_ARG == 0 {
            return self.enter_plainly(to_submit, min_complete, flags);
        }
        let timeout = [PATIENCE.as_secs(), 0];
        // `struct io_uring_getevents_arg`: no signals, the size of their set, the time.
        let arg = [0, 8, timeout.as_ptr().addr() as u64];
        let fd = self.fd.as_raw_fd();
        // SAFETY: the kernel reads the two structures, and the entries are NOPs.
        answer(unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                min_complete,
                flags | EXT_ARG,
                arg.as_ptr(),
                size_of_val(&arg),
            )
        })
    }

    fn enter_plainly(&self, to_submit: u32, min_complete: u32, flags: u32) -> Answer {
        let (call, fd) = (libc::SYS_io_uring_enter, self.fd.as_raw_fd());
        let no_signals = ptr::null::<c_void>();
        // SAFETY: the kernel reads no argument; what the entries point to stays.
        answer(unsafe { libc::syscall(call, fd, to_submit, min_complete, flags, no_signals, 8) })
    }

    pub fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// The ring once more, by another descriptor.
    pub fn duplicate(&self) -> OwnedFd {
        self.fd.try_clone().unwrap()
    }

    pub fn submit(&self) -> Answer {
        let wakeup = if self.params[FLAGS] & SQPOLL != 0 {
            SQ_WAKEUP
        } else {
            0
        };
        self.enter(1, 0, wakeup)
    }

    /// Completions that lie ready.
    pub fn ready(&self) -> u32 {
        let [head, tail] =
            [CQ_HEAD, CQ_TAIL].map(|word| self.counter(word).load(Ordering::Acquire));
        tail.wrapping_sub(head)
    }

    pub fn register(&self, opcode: u32, argument: *mut c_void, nr: u32) -> Answer {
        let fd = self.fd.as_raw_fd();
        // SAFETY: the callers' argument is what the opcode takes.
        answer(unsafe { libc::syscall(libc::SYS_io_uring_register, fd, opcode, argument, nr) })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        for memory in [self.rings, self.sqes] {
            // SAFETY: `new` mapped it with this length, and nothing points there any more.
            unsafe { libc::munmap(memory.cast(), MAPPED) };
        }
    }
}
