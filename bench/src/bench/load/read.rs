//! Random 4 KiB reads of a file of 256 MiB: from the page cache, registered and not, and
//! past it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::nop::{self, Load, MAX_THREADS};
use super::{Run, Window};
use crate::design::Design;
use crate::op::{Op, Span};

const LEN: usize = 4096;
const BLOCKS: u64 = 1 << 16;
/// A thread's buffers, used in turn.
const SLOTS: usize = 128;
/// One read in so many goes to a buffer that stays as it is for `KEPT * SAMPLE` reads, and
/// is looked at when the window is over.
const SAMPLE: u64 = 64;
const KEPT: usize = 64;
const NONE: u64 = u64::MAX;

/// Reads of one kind. They stay for as long as the process: whatever a window leaves behind
/// writes to memory that is there.
pub struct Reads<const REGISTERED: bool> {
    file: File,
    buffers: *mut u8,
    kept: [[AtomicU64; KEPT]; MAX_THREADS],
    refused: OnceLock<io::Error>,
}

// SAFETY: the buffers are written by the kernel, and each by the reads of one thread; they
// are read when the threads have ended.
unsafe impl<const REGISTERED: bool> Send for Reads<REGISTERED> {}
// SAFETY: as above.
unsafe impl<const REGISTERED: bool> Sync for Reads<REGISTERED> {}

type Made<const REGISTERED: bool> = OnceLock<Result<Reads<REGISTERED>, String>>;

/// From the page cache.
pub fn cached() -> Result<&'static Reads<false>, String> {
    static READS: Made<false> = OnceLock::new();
    made(&READS, || data()?.try_clone())
}

/// The same, by registered file and buffers.
pub fn registered() -> Result<&'static Reads<true>, String> {
    static READS: Made<true> = OnceLock::new();
    made(&READS, || data()?.try_clone())
}

/// Past the page cache, where the file system can.
pub fn direct() -> Result<&'static Reads<false>, String> {
    const TMPFS: libc::c_long = 0x0102_1994;
    static READS: Made<false> = OnceLock::new();
    made(&READS, || {
        let data = data()?;
        // SAFETY: the kernel writes one struct, and zeroes are one.
        let kind = unsafe {
            let mut stat: libc::statfs = std::mem::zeroed();
            libc::fstatfs(data.as_raw_fd(), &raw mut stat);
            stat.f_type as libc::c_long
        };
        if kind == TMPFS {
            return Err(io::Error::other("tmpfs takes O_DIRECT and reads memory"));
        }
        let path = format!("/proc/self/fd/{}", data.as_raw_fd());
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_DIRECT);
        options.open(path)
    })
}

fn made<const REGISTERED: bool>(
    made: &'static Made<REGISTERED>,
    open: impl FnOnce() -> io::Result<File>,
) -> Result<&'static Reads<REGISTERED>, String> {
    let reads = made.get_or_init(|| open().and_then(Reads::new).map_err(|e| e.to_string()));
    reads.as_ref().map_err(String::clone)
}

/// The file, which has no name: beside this program, so that it is on a disk.
fn data() -> io::Result<&'static File> {
    static DATA: OnceLock<Result<File, String>> = OnceLock::new();
    let data = DATA.get_or_init(|| write().map_err(|error| error.to_string()));
    data.as_ref()
        .map_err(|error| io::Error::other(error.clone()))
}

fn write() -> io::Result<File> {
    const PIECE: usize = 1 << 20;
    let program = std::env::current_exe()?;
    let mut file = tempfile::tempfile_in(program.parent().expect("a directory"))?;
    let mut piece = Vec::with_capacity(PIECE);
    for at in (0..BLOCKS * LEN as u64).step_by(PIECE) {
        piece.clear();
        for at in (at..at + PIECE as u64).step_by(8) {
            piece.extend(word(at).to_ne_bytes());
        }
        file.write_all(&piece)?;
    }
    // Nothing is left to be written while reads are measured.
    file.sync_all()?;
    Ok(file)
}

/// What the file says at an offset.
fn word(at: u64) -> u64 {
    (at ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<const REGISTERED: bool> Reads<REGISTERED> {
    const THREAD: usize = (SLOTS + KEPT) * LEN;

    fn new(file: File) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let len = MAX_THREADS * Self::THREAD;
        // SAFETY: a new mapping of nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            file,
            buffers: at.cast(),
            kept: [const { [const { AtomicU64::new(NONE) }; KEPT] }; MAX_THREADS],
            refused: OnceLock::new(),
        })
    }

    /// Of a thread below MAX_THREADS.
    #[inline(always)]
    fn buffer(&self, thread: usize, slot: usize) -> *mut u8 {
        self.buffers
            .wrapping_add(thread * Self::THREAD + slot * LEN)
    }

    /// Registers one thing. EBUSY: another thread has, on the ring that they share.
    fn ask(&self, ring: RawFd, what: u32, from: *const u8) {
        // SAFETY: `from` is one of what is registered; buffers and file stay.
        let ret = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, what, from, 1) };
        let error = io::Error::last_os_error();
        if ret < 0 && error.raw_os_error() != Some(libc::EBUSY) {
            let _ = self.refused.set(error);
        }
    }

    /// What the kept buffers have to say, after a window.
    fn verify(&self, mut window: Window) -> Window {
        let mut looked_at = 0;
        for (thread, kept) in self.kept.iter().enumerate() {
            for (slot, offset) in kept.iter().enumerate() {
                let offset = offset.swap(NONE, Relaxed);
                if offset == NONE {
                    continue;
                }
                looked_at += 1;
                let buffer = self.buffer(thread, SLOTS + slot).cast::<u64>();
                let is_right = (0..LEN as u64 / 8).all(|i| {
                    // SAFETY: within the thread's buffers. Volatile: the kernel wrote it.
                    let read = unsafe { buffer.add(i as usize).read_volatile() };
                    read == word(offset + 8 * i)
                });
                if !is_right && window.wrong.is_none() {
                    window.wrong = Some(format!("other data than is at {offset}"));
                }
                // SAFETY: as above. What this says cannot be taken for a read of the next window.
                unsafe { buffer.write_bytes(0, LEN / 8) };
            }
        }
        if looked_at == 0 && window.operations >= 2 * SAMPLE * MAX_THREADS as u64 {
            window.wrong = Some("no read was looked at".into());
        }
        if let Some(error) = self.refused.get() {
            window.wrong = Some(format!("no registration: {error}"));
        }
        window
    }
}

impl<const REGISTERED: bool> Load for Reads<REGISTERED> {
    const RESULT: i32 = LEN as i32;

    /// The state is a linear congruential sequence over the thread's number in 3 bits. Its
    /// low bits take each value once in a period: so the slots come in turn.
    #[inline(always)]
    fn next(&self, state: &mut u64) -> Op {
        const { assert!(MAX_THREADS == 8) };
        let thread = *state & 7;
        let step = 1_442_695_040_888_963_407 + 0x1234_5678 * 2 * thread;
        let x = (*state >> 3)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(step);
        *state = x << 3 | thread;
        let thread = thread as usize;
        let offset = ((x >> 44) & (BLOCKS - 1)) * LEN as u64;
        let slot = if x & (SAMPLE - 1) == 0 {
            let kept = (x / SAMPLE) as usize & (KEPT - 1);
            self.kept[thread][kept].store(offset, Relaxed);
            SLOTS + kept
        } else {
            x as usize & (SLOTS - 1)
        };
        let span = Span {
            fd: if REGISTERED { 0 } else { self.file.as_raw_fd() },
            at: self.buffer(thread, slot),
            len: LEN as u32,
            offset,
        };
        match REGISTERED {
            true => Op::ReadFixed(span),
            false => Op::Read(span),
        }
    }

    fn register(&self, ring: RawFd) {
        const BUFFERS: u32 = 0;
        const FILES: u32 = 2;
        if !REGISTERED {
            return;
        }
        let buffers = libc::iovec {
            iov_base: self.buffers.cast(),
            iov_len: MAX_THREADS * Self::THREAD,
        };
        let file = self.file.as_raw_fd();
        self.ask(ring, BUFFERS, (&raw const buffers).cast());
        self.ask(ring, FILES, (&raw const file).cast());
    }
}

pub fn open<D: Design, const REGISTERED: bool>(run: Run, reads: &Reads<REGISTERED>) -> Window {
    reads.verify(nop::open::<D, _>(run, reads))
}

pub fn closed<D: Design, const REGISTERED: bool>(run: Run, reads: &Reads<REGISTERED>) -> Window {
    reads.verify(nop::closed::<D, _>(run, reads))
}
