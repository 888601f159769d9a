//! Many threads that wait on one ring, and completions one at a time.
//!
//! After each there is a pause in which they all fall asleep again: without it, threads that
//! were woken for nothing find the next one, and what they cost does not show.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use super::watch::{PATIENCE, WAKE, Watch};
use super::{Run, Window};
use crate::design::{Design, Port};
use crate::machine;
use crate::op::Op;

/// What came of a window.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Its time is without the pauses: from a push until one thread has it.
    pub window: Window,
    /// Voluntary context switches of the process, for each completion.
    pub switches: f64,
    /// Nanoseconds of CPU time for each completion, pauses too, without the thread that submits: it
    /// spins.
    pub cpu: f64,
}

/// What the threads share. Numbers go from 1 up.
struct Round {
    start: Barrier,
    watch: Watch,
    had: AtomicU64,
    wrong: AtomicU64,
}

/// `Run::threads` of them wait. The next is submitted when one has had the one before.
pub fn window<D: Design>(run: Run) -> Result<Idle, &'static str> {
    if !D::SHARED {
        return Err("one thread waits on a ring of its own");
    }
    let round = Round {
        start: Barrier::new(run.threads as usize + 1),
        watch: Watch::new(run.threads),
        had: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
    };
    let design = D::new(run.threads + 1, run.setup);
    let is_over = || round.watch.all_left();
    thread::scope(|threads| {
        for thread in 0..run.threads {
            let (design, round) = (&design, &round);
            threads.spawn(move || wait(design, thread, round));
        }
        if D::SERVES {
            threads.spawn(|| design.serve(&is_over));
        }
        let pusher = threads.spawn(|| push(&design, run, &round));
        let idle = pusher.join().expect("no panic");
        round.watch.end();
        idle
    })
}

fn wait<D: Design>(design: &D, thread: u32, round: &Round) {
    // The first CPU is the submitting thread's.
    machine::pin(1 + thread % (machine::cpus() - 1).max(1));
    let mut port = design.port(thread);
    round.watch.add(port.ring());
    round.start.wait();
    while !round.watch.is_over() {
        port.wait(&mut |number, result| {
            if number == WAKE {
                return;
            }
            // One is on its way at a time: it is the next, and comes once.
            let before = round.had.swap(number, AcqRel);
            if before + 1 != number || result != 0 {
                round.wrong.fetch_add(1, AcqRel);
            }
        });
    }
    round.watch.leave();
}

/// By a thread that sleeps as little as it can.
fn push<D: Design>(design: &D, run: Run, round: &Round) -> Result<Idle, &'static str> {
    machine::pin(0);
    let mut port = design.port(run.threads);
    let mut own = 0_u64;
    round.start.wait();
    thread::sleep(Duration::from_millis(2));
    // A thread that is woken for nothing takes a few of them.
    let pause = Duration::from_micros(20 + 5 * u64::from(run.threads));
    let mut paused = Duration::ZERO;
    let (start, before) = (Instant::now(), Spent::now());
    let mut number = 0;
    while start.elapsed() < run.window && own == 0 {
        number += 1;
        while !port.submit(1, || (Op::Nop, number), &mut |_, _| own += 1) {
            thread::yield_now();
        }
        let mut looks = 0;
        let asked = Instant::now();
        while round.had.load(Acquire) != number && asked.elapsed() < PATIENCE && own == 0 {
            looks += 1;
            match looks < 64 {
                true => std::hint::spin_loop(),
                false => thread::yield_now(),
            }
        }
        if round.had.load(Acquire) != number {
            break;
        }
        let had = Instant::now();
        while had.elapsed() < pause {
            std::hint::spin_loop();
        }
        paused += had.elapsed();
    }
    let (time, after) = (start.elapsed() - paused, Spent::now());
    if own > 0 {
        return Err("the thread that submits takes the completions");
    }
    let had = round.had.load(Acquire);
    let wrong = match round.wrong.load(Acquire) {
        0 if had == number => None,
        0 => Some(format!("{number} was submitted and nobody had it")),
        doubled => Some(format!("{doubled} completions were not the next one")),
    };
    let each = |spent: u64| spent as f64 / number as f64;
    Ok(Idle {
        window: Window {
            operations: number,
            time,
            delayed: 0.0,
            wrong,
        },
        switches: each(after.switches - before.switches),
        cpu: each(after.cpu - before.cpu),
    })
}

/// By the process so far.
struct Spent {
    switches: u64,
    cpu: u64,
}

impl Spent {
    fn now() -> Self {
        let clock = |id| {
            // SAFETY: the kernel writes one struct, and zeroes are one.
            let time = unsafe {
                let mut time: libc::timespec = std::mem::zeroed();
                libc::clock_gettime(id, &raw mut time);
                time
            };
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        };
        // SAFETY: as above.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage
        };
        let own = clock(libc::CLOCK_THREAD_CPUTIME_ID);
        Self {
            switches: usage.ru_nvcsw as u64,
            cpu: clock(libc::CLOCK_PROCESS_CPUTIME_ID) - own,
        }
    }
}
