//! Files through lanes: one thread reaps, and starts what comes next.

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;
use ringway::pool::{Completion, Driver, Event, Offload, Refusal};
use ringway::{EnterError, Ring};

use crate::lane::{Chunk, Hash, HashJob, Lane, News, Work};

/// Files that are worked on at a time, each with a place in the tables of files and of
/// buffers.
pub const LANES: u32 = 16;

/// More than the lanes can ask for at a time.
const SQ_ENTRIES: u32 = 4 * LANES;

/// When to try again what the kernel had no memory for.
const PAUSE: Duration = Duration::from_millis(5);

pub struct Hasher {
    driver: Driver,
    offload: Offload<HashJob>,
    state: ManuallyDrop<State>,
    bytes: u64,
    chunks: u64,
}

/// What the kernel and the jobs access.
struct State {
    lanes: Vec<Lane>,
    dir: File,
    // Only its memory is kept here, it is reached through the lanes.
    _memory: Memory,
}

impl Hasher {
    /// Hashes files of a directory, `chunk` bytes at a time, on so many threads.
    pub fn new(dir: File, chunk: u32, threads: usize) -> Result<Self, Box<dyn Error>> {
        let ring = Ring::builder(SQ_ENTRIES).build()?;
        ring.registrar().register_files_sparse(LANES)?;
        let memory = Memory::new(LANES, chunk);
        let iovec = |buffer: Chunk| libc::iovec {
            iov_base: buffer.start.as_ptr().cast(),
            iov_len: buffer.len as usize,
        };
        let iovecs: Vec<_> = memory.chunks(chunk).map(iovec).collect();
        // SAFETY: the memory is freed when nothing is in flight, see `drop`.
        unsafe { ring.registrar().register_buffers(&iovecs) }?;
        let lanes = (0..).zip(memory.chunks(chunk));
        let lanes = lanes.map(|(place, buffer)| Lane::new(place, buffer));
        let state = State {
            lanes: lanes.collect(),
            dir,
            _memory: memory,
        };
        let driver = Driver::builder().build(ring)?;
        Ok(Self {
            offload: Offload::builder().threads(threads).build(&driver)?,
            driver,
            state: ManuallyDrop::new(state),
            bytes: 0,
            chunks: 0,
        })
    }

    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Bytes and chunks that were hashed.
    pub fn hashed(&self) -> (u64, u64) {
        (self.bytes, self.chunks)
    }

    /// The digest of each file, or what was wrong with it. An error of the whole means that
    /// the ring is of no use any more.
    pub fn hash(
        &mut self,
        names: &[CString],
        bar: &ProgressBar,
    ) -> Result<Vec<io::Result<Hash>>, Box<dyn Error>> {
        let mut digests: Vec<Option<io::Result<Hash>>> = names.iter().map(|_| None).collect();
        let mut files = vec![0; self.state.lanes.len()];
        let mut names = names.iter().enumerate();
        // Lanes with a file, and of these the ones with nothing in flight.
        let (mut busy, mut ready) = (0, Vec::new());
        let mut idle: Vec<usize> = (0..self.state.lanes.len()).collect();
        loop {
            while let Some(lane) = idle.pop()
                && let Some((file, name)) = names.next()
            {
                self.state.lanes[lane].begin(name.clone());
                files[lane] = file;
                ready.push(lane);
                busy += 1;
            }
            if busy == 0 {
                return Ok(digests.into_iter().flatten().collect());
            }
            self.start(&mut ready)?;
            // What was not taken is tried again.
            let timeout = (!ready.is_empty()).then_some(PAUSE);
            for completion in self.reap(timeout)? {
                let lane = completion.user_data() as usize;
                match self.state.lanes[lane].completed(&completion) {
                    News::Done(digest) => {
                        digests[files[lane]] = Some(digest);
                        idle.push(lane);
                        busy -= 1;
                        continue;
                    }
                    News::Size(bytes) => bar.inc_length(bytes),
                    News::Hashed(bytes) => {
                        self.bytes += bytes;
                        self.chunks += 1;
                        bar.inc(bytes);
                    }
                    News::Next => {}
                }
                ready.push(lane);
            }
        }
    }

    /// Starts the next step of these lanes; those that must wait remain.
    fn start(&mut self, ready: &mut Vec<usize>) -> Result<(), Refusal> {
        let State { lanes, dir, .. } = &mut *self.state;
        while let Some(lane) = ready.last() {
            // SAFETY: all of it stays until nothing is in flight, see `drop`; a buffer
            // belongs to one lane.
            let work = unsafe { lanes[*lane].work(dir.as_fd(), *lane as u64) };
            let refusal = match work {
                Work::One(sqe) => self.driver.try_submit(sqe).err().map(|it| it.why),
                Work::Two(sqes) => self.driver.try_submit_chain(sqes).err().map(|it| it.why),
                Work::Job(job) => {
                    let job = self.offload.try_offload(job, *lane as u64);
                    job.err().map(|it| it.why)
                }
            };
            match refusal {
                None => ready.pop(),
                Some(Refusal::Full) => return Ok(()),
                Some(refusal) => return Err(refusal),
            };
        }
        Ok(())
    }

    fn reap(&self, timeout: Option<Duration>) -> Result<Vec<Completion>, EnterError> {
        let mut completions = Vec::new();
        let take = |event| match event {
            Event::Completed(completion) => completions.push(completion),
            // Nobody else uses the ring.
            Event::Stale(_) => {}
        };
        match self.driver.wait_reap(timeout, take) {
            Ok(_) => {}
            Err(error) if error.is_transient() => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
        Ok(completions)
    }
}

impl Drop for Hasher {
    /// What may still be written to is leaked. Nothing is, unless there was an error.
    fn drop(&mut self) {
        if self.driver.in_flight() == 0 {
            // SAFETY: this is the only place that drops it.
            unsafe { ManuallyDrop::drop(&mut self.state) };
        }
    }
}

/// Memory that others write to: reached through pointers only.
struct Memory(NonNull<[u8]>);

// SAFETY: plain memory with one owner.
unsafe impl Send for Memory {}

impl Memory {
    fn new(count: u32, size: u32) -> Self {
        let memory = vec![0; count as usize * size as usize];
        Self(NonNull::from(Box::leak(memory.into_boxed_slice())))
    }

    /// All of it, in pieces of this size.
    fn chunks(&self, len: u32) -> impl Iterator<Item = Chunk> {
        let (start, step) = (self.0.cast::<u8>(), len as usize);
        (0..self.0.len() / step).map(move |i| Chunk {
            // SAFETY: within the memory.
            start: unsafe { start.add(i * step) },
            len,
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was a box.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
