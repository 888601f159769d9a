//! The threads, and which of them does what with the ring.

use std::error::Error;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway::{Cq, Cqe, EnterError, Errno, Ring, Sq};

use crate::op::{Next, Op, Tally};

const WORKERS: usize = 2;
const REAPERS: usize = 2;

/// How many operations are in flight at most.
pub const IN_FLIGHT: u32 = 64;

/// Twice as many, for an operation can complete before the kernel gives its SQE back:
/// it does so when it has taken all that was submitted with it. The CQ is twice as large
/// again. So there is always a free SQE, and always room for a CQE.
const SQ_ENTRIES: u32 = 2 * IN_FLIGHT;

/// The `user_data` that stops a reaper: no operation lies at address 0.
const STOP: u64 = 0;

/// Time for a kernel that is out of memory.
const PAUSE: Duration = Duration::from_millis(1);

/// A worker: pops, prepares, pushes. Ends when nobody is left to give it work.
fn worker(sq: &Sq, work: &Mutex<Receiver<Box<Op>>>, notices: &Sender<()>) -> io::Result<()> {
    // One worker waits for work, the others wait for their turn to.
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(op) = take() {
        let mut slot = sq.pop().ok_or(io::Error::other("no SQE is free"))?;
        op.prepare(&mut slot);
        slot.push();
        send(notices, ());
    }
    Ok(())
}

/// The submitter: enters the kernel, once for all that was pushed meanwhile. Ends when
/// all workers have, with the number of submits. So it outlives what it submits, which
/// the kernel would cancel otherwise.
fn submitter(ring: &Ring, notices: &Receiver<()>) -> Result<u64, EnterError> {
    let mut submits = 0;
    while notices.recv().is_ok() {
        while notices.try_recv().is_ok() {}
        submits += 1;
        while let Err(error) = ring.submit() {
            match error.is_transient() {
                true => thread::sleep(PAUSE),
                false => return Err(error),
            }
        }
    }
    Ok(submits)
}

/// A reaper: takes CQEs, and passes on what follows from them. Ends with a STOP.
fn reaper(cq: &Cq, hands: &Hands) -> Result<(), EnterError> {
    loop {
        let cqe = next_cqe(cq)?;
        if cqe.user_data() == STOP {
            return Ok(());
        }
        // SAFETY: all other SQEs of the ring are from `Op::prepare`, and each CQE comes
        // to one reaper.
        let op = unsafe { Op::take_back(cqe.user_data()) };
        hands.pass_on(op.completed(cqe.result()));
    }
}

/// One at a time, so that each STOP comes to another reaper.
fn next_cqe(cq: &Cq) -> Result<Cqe, EnterError> {
    loop {
        match cq.wait_one(None) {
            Ok(Some(cqe)) => return Ok(cqe),
            // Not without a timeout.
            Ok(None) => {}
            Err(error) if error.is_transient() => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

/// What main waits for.
pub enum Event {
    /// The result of a call.
    Answer(Result<u32, Errno>),
    /// A chunk is done: what it did, and whether it could.
    Retired(Tally, io::Result<()>),
    /// What is in flight may never come back.
    Broken(io::Error),
}

/// Hands things on: work to the workers, events to main.
#[derive(Clone)]
struct Hands {
    work: Sender<Box<Op>>,
    events: Sender<Event>,
}

impl Hands {
    fn pass_on(&self, next: Next) {
        match next {
            Next::Op(op) => send(&self.work, Box::new(op)),
            Next::Event(event) => send(&self.events, event),
        }
    }
}

/// Whoever receives outlives whoever sends, unless the whole program is ending.
fn send<T>(to: &Sender<T>, what: T) {
    let _ = to.send(what);
}

pub struct Crew {
    ring: Ring,
    hands: Hands,
    events: Receiver<Event>,
    workers: Vec<JoinHandle<Option<()>>>,
    reapers: Vec<JoinHandle<Option<()>>>,
    submitter: JoinHandle<Option<u64>>,
}

impl Crew {
    pub fn hire() -> Result<Self, Box<dyn Error>> {
        let ring = Ring::builder(SQ_ENTRIES).build()?;
        let (work, to_do) = mpsc::channel();
        let (pushed, notices) = mpsc::channel();
        let (tell, events) = mpsc::channel();
        let to_do = Arc::new(Mutex::new(to_do));
        let hands = Hands { work, events: tell };
        watch_signals(&hands.events)?;

        let worker = |_| {
            let (sq, to_do, pushed) = (ring.sq(), to_do.clone(), pushed.clone());
            spawn("worker", &hands, move || worker(&sq, &to_do, &pushed))
        };
        let reaper = |_| {
            let (cq, mine) = (ring.cq(), hands.clone());
            spawn("reaper", &hands, move || reaper(&cq, &mine))
        };
        let workers = (0..WORKERS).map(worker).collect::<io::Result<_>>()?;
        let reapers = (0..REAPERS).map(reaper).collect::<io::Result<_>>()?;
        let shared = ring.clone();
        let submitter = spawn("submitter", &hands, move || submitter(&shared, &notices))?;
        Ok(Self {
            ring,
            hands,
            events,
            workers,
            reapers,
            submitter,
        })
    }

    /// Sets something off.
    pub fn start(&self, first: Next) {
        self.hands.pass_on(first);
    }

    /// Waits for an event.
    pub fn event(&self) -> io::Result<Event> {
        match self.events.recv().map_err(io::Error::other)? {
            Event::Broken(error) => Err(error),
            event => Ok(event),
        }
    }

    /// Runs one operation while nothing else goes on, and waits for its result.
    pub fn call(&self, op: Op) -> io::Result<u32> {
        self.start(Next::Op(op));
        loop {
            if let Event::Answer(result) = self.event()? {
                return Ok(result?);
            }
        }
    }

    /// Stops all threads, when nothing is in flight: the reapers, then for want of work
    /// the workers, then for want of workers the submitter. Says what there was.
    pub fn dismiss(self) -> Result<String, Box<dyn Error>> {
        for _ in &self.reapers {
            self.ring.wake(STOP)?;
        }
        let gone = |_| "a thread panicked";
        for reaper in self.reapers {
            reaper.join().map_err(gone)?;
        }
        drop(self.hands);
        for worker in self.workers {
            worker.join().map_err(gone)?;
        }
        let submits = self.submitter.join().map_err(gone)?.unwrap_or_default();
        Ok(format!(
            "1 ring, {WORKERS} workers, 1 submitter ({submits} submits), {REAPERS} reapers"
        ))
    }
}

/// A thread whose failure main hears of.
fn spawn<T: Send + 'static, E: Error + Send + Sync + 'static>(
    role: &str,
    hands: &Hands,
    body: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> io::Result<JoinHandle<Option<T>>> {
    let events = hands.events.clone();
    thread::Builder::new().name(role.to_owned()).spawn(move || {
        let failed = |error| send(&events, Event::Broken(io::Error::other(error)));
        body().map_err(failed).ok()
    })
}

/// Makes events of the signals that would end the program, so that main can clean up.
/// To be called before there are threads: they inherit what is blocked.
fn watch_signals(events: &Sender<Event>) -> io::Result<()> {
    let mut signals = MaybeUninit::uninit();
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sigemptyset(3) and sigaction(2) write what is read after them.
    let signals = unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
            // Under nohup(1), and in the background, they are not for us.
            if (*action.as_ptr()).sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(signals.as_mut_ptr(), signal);
            }
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), ptr::null_mut());
        // A write beyond the limit is an error, and no signal.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        signals.assume_init()
    };
    let events = events.clone();
    let watch = move || {
        let mut signal = 0;
        // SAFETY: reads the set and writes the number.
        unsafe { libc::sigwait(&signals, &mut signal) };
        send(&events, Event::Broken(io::Error::other("interrupted")));
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)?;
    Ok(())
}
