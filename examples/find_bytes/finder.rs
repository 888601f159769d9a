//! Files through a pool: workers open them and submit reads, reapers search what was read.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringway::pool::{Completion, Driver, Handler, Observed, Panicked, Pool, Refusal, Stats};
use ringway::{Ring, Sqe};
use slab::Slab;

/// Where reads begin. Each goes on into the next, as far as a match may.
pub const CHUNK: usize = 128 << 10;

/// Reads in flight at most: workers that have more sleep. Each has a buffer, and so has what
/// a reaper has taken and not yet searched.
pub const READS: u32 = 32;

/// An SQE is free again when the kernel has taken all that was submitted with it.
const SQ_ENTRIES: u32 = 2 * READS;

/// Files that wait for a worker at most: whoever has more sleeps.
const FILES: usize = 64;

/// What is in flight ends within this time, unless a disk is stuck.
const DRAIN: Duration = Duration::from_secs(10);

/// A file, and where its first match begins.
pub type Found = (PathBuf, io::Result<Option<u64>>);

enum Event {
    Found(Found),
    /// What is in flight may never come back.
    Broken(String),
}

pub struct Finder {
    pool: Pool<PathBuf>,
    events: Receiver<Event>,
    /// Dropped when nothing is in flight, and leaked if that does not come about.
    desk: ManuallyDrop<Arc<Desk>>,
}

impl Finder {
    /// For a pattern that is not empty.
    pub fn new(pattern: Vec<u8>) -> Result<Self, Box<dyn Error>> {
        let ring = Ring::builder(SQ_ENTRIES).build()?;
        let (tell, events) = mpsc::channel();
        let desk = ManuallyDrop::new(Arc::new(Desk {
            pattern,
            reads: Mutex::default(),
            tell,
        }));
        let worker = Arc::clone(&desk);
        let work = move |driver: &Driver, path| worker.begin(driver, path);
        let pool = Pool::builder()
            .workers(2)
            .reapers(2)
            .jobs(FILES)
            .permits(READS)
            .build(ring, work, Reaper(Arc::clone(&desk)))?;
        Ok(Self { pool, events, desk })
    }

    /// A file to search, when there is room.
    pub fn give(&self, path: PathBuf) -> Result<(), Refusal> {
        let given = self.pool.give_wait(path, None);
        given.map_err(|refused| refused.why)
    }

    /// Each file that was given, in any order; `None` if it is not to wait and none has come.
    pub fn next(&self, wait: bool) -> Result<Option<Found>, Box<dyn Error>> {
        let event = match wait {
            true => Some(self.events.recv()?),
            false => self.events.try_recv().ok(),
        };
        match event {
            Some(Event::Found(found)) => Ok(Some(found)),
            Some(Event::Broken(why)) => Err(why.into()),
            None => Ok(None),
        }
    }

    /// Ends the threads; an error if the kernel still has buffers.
    pub fn end(self) -> Result<Stats, Box<dyn Error>> {
        let shutdown = self.pool.shutdown(Some(DRAIN))?;
        if let Some(leaked) = shutdown.leaked {
            return Err(leaked.into());
        }
        drop(ManuallyDrop::into_inner(self.desk));
        Ok(shutdown.stats)
    }
}

/// What the threads share.
struct Desk {
    pattern: Vec<u8>,
    /// What is in flight, by its `user_data`.
    reads: Mutex<Slab<Read>>,
    tell: Sender<Event>,
}

/// A part of a file, with all that the kernel needs to read it.
struct Read {
    search: Arc<Search>,
    at: u64,
    buffer: Vec<u8>,
}

/// A file. Its reads share it, and the last to let go of it tells.
struct Search {
    path: PathBuf,
    file: File,
    /// What lies first, as far as is known: a match, or what could not be read.
    first: Mutex<Option<(u64, io::Result<()>)>>,
}

impl Desk {
    /// A job: submits reads of the file, which is as long as when it was opened.
    fn begin(&self, driver: &Driver, path: PathBuf) {
        let (file, size) = match open(&path) {
            Ok(opened) => opened,
            Err(error) => return self.tell(Event::Found((path, Err(error)))),
        };
        let first = Mutex::default();
        let search = Arc::new(Search { path, file, first });
        let pattern = self.pattern.len() as u64;
        let mut at = 0;
        // What lies behind the first match is not asked for.
        while at + pattern <= size && !search.has_before(at) {
            let len = (CHUNK as u64 + pattern - 1).min(size - at);
            if let Err(why) = self.submit(driver, &search, at, len as usize) {
                search.met(at, Err(io::Error::other(why)));
            }
            at += CHUNK as u64;
        }
        self.let_go(search);
    }

    /// Asleep until there is room. Reapers make it, so they must not.
    fn submit(
        &self,
        driver: &Driver,
        search: &Arc<Search>,
        at: u64,
        len: usize,
    ) -> Result<(), Refusal> {
        let mut buffer = vec![0; len];
        let start = buffer.as_mut_ptr();
        let key = self.reads().insert(Read {
            search: search.clone(),
            at,
            buffer,
        }) as u64;
        let mut sqe = Sqe::default();
        // SAFETY: the slab has the buffer and the file until the CQE, or a refusal; if there
        // is neither, for ever (`Finder::desk`). Nobody looks at the buffer meanwhile.
        unsafe { sqe.prep_read(&search.file, start, len as u32, at) }.user_data(key);
        driver.submit(sqe, None).map(drop).map_err(|refused| {
            drop(self.take(key));
            refused.why
        })
    }

    /// A read that the kernel is done with, or has not got.
    fn take(&self, key: u64) -> Option<Read> {
        self.reads().try_remove(key as usize)
    }

    fn reads(&self) -> MutexGuard<'_, Slab<Read>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_go(&self, search: Arc<Search>) {
        let Some(Search { path, first, .. }) = Arc::into_inner(search) else {
            return;
        };
        let first = first.into_inner().unwrap_or_else(PoisonError::into_inner);
        let place = first.map(|(at, what)| what.map(|()| at)).transpose();
        self.tell(Event::Found((path, place)));
    }

    /// Nobody listens any more when the program is ending.
    fn tell(&self, event: Event) {
        let _ = self.tell.send(event);
    }
}

impl Search {
    fn first(&self) -> MutexGuard<'_, Option<(u64, io::Result<()>)>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_before(&self, at: u64) -> bool {
        self.first().as_ref().is_some_and(|first| first.0 < at)
    }

    /// Reads complete in any order: what lies first stays.
    fn met(&self, at: u64, what: io::Result<()>) {
        let mut first = self.first();
        if first.as_ref().is_none_or(|first| at < first.0) {
            *first = Some((at, what));
        }
    }
}

struct Reaper(Arc<Desk>);

impl Handler for Reaper {
    fn complete(&self, _: &Driver, completion: Completion) {
        let Self(desk) = self;
        let Some(read) = desk.take(completion.user_data()) else {
            return;
        };
        let Read { search, at, buffer } = read;
        match completion.cqe().result() {
            Ok(count) => {
                let bytes = &buffer[..count as usize];
                let mut places = bytes.windows(desk.pattern.len());
                if let Some(place) = places.position(|place| place == desk.pattern) {
                    search.met(at + place as u64, Ok(()));
                }
                // Of a regular file the kernel reads all that there is.
                if bytes.len() < buffer.len() {
                    let error = io::Error::other("it is shorter than it was, or than it says");
                    search.met(at + bytes.len() as u64, Err(error));
                }
            }
            Err(errno) => search.met(at, Err(errno.into())),
        }
        desk.let_go(search);
    }

    fn panicked(&self, _: &Driver, panic: Panicked<'_>) {
        let Self(desk) = self;
        desk.tell(Event::Broken(format!("a {:?} panicked", panic.role)));
    }

    fn observe(&self, _: &Driver, what: Observed) {
        let Self(desk) = self;
        match what {
            // It is asked again.
            Observed::Refused(error) if error.is_transient() => {}
            Observed::Refused(error) => desk.tell(Event::Broken(error.to_string())),
            _ => {}
        }
    }
}

/// A regular file, and its length. Others may keep a worker, or a read, for ever.
fn open(path: &Path) -> io::Result<(File, u64)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
