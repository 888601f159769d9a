//! Batches as fast as they go: each thread pushes, submits and reaps.
//!
//! Open loop: it reaps what lies ready, whosever it is, and goes on. Closed loop: it waits
//! for its own; whoever reaps tells the owner.

use std::hint;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::watch::PATIENCE;
use super::{Part, Run, SHIFT, Seen, Window, whole};
use crate::design::{Design, Port};
use crate::machine::{self, Schedule};
use crate::op::Op;

/// What is pushed.
pub trait Load: Sync {
    /// The next operation of a thread, which keeps `state`, its number at first.
    fn next(&self, state: &mut u64) -> Op;

    /// What a completion must say.
    const RESULT: i32;

    /// Before the first operation: once for each ring, by the thread that uses it.
    fn register(&self, ring: std::os::fd::RawFd);
}

pub struct Nop;

impl Load for Nop {
    #[inline(always)]
    fn next(&self, _: &mut u64) -> Op {
        Op::Nop
    }

    const RESULT: i32 = 0;

    fn register(&self, _: std::os::fd::RawFd) {}
}

/// What the threads of a window share.
struct Round {
    start: Barrier,
    pushed: AtomicU64,
    seen: AtomicU64,
    /// Threads that push no more.
    done: AtomicU64,
    /// Completions of each thread that others have reaped.
    told: [CachePadded<AtomicU64>; MAX_THREADS],
}

/// Threads of a window, at most.
pub const MAX_THREADS: usize = 8;
/// Looks at the clock once in so many operations.
const CHECK: u32 = 128;

pub fn open<D: Design, L: Load>(run: Run, load: &L) -> Window {
    open_on(&D::new(run.threads, run.setup), run, load)
}

/// With a design that is asked for more than its window afterwards.
pub fn open_on<D: Design, L: Load>(design: &D, run: Run, load: &L) -> Window {
    window::<D, L, false>(design, run, load)
}

pub fn closed<D: Design, L: Load>(run: Run, load: &L) -> Window {
    window::<D, L, true>(&D::new(run.threads, run.setup), run, load)
}

fn window<D: Design, L: Load, const CLOSED: bool>(design: &D, run: Run, load: &L) -> Window {
    let round = Round {
        start: Barrier::new(run.threads as usize),
        pushed: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        done: AtomicU64::new(0),
        told: Default::default(),
    };
    if run.threads == 1 && !D::SERVES {
        // No other thread is alive: the kernel takes a shorter way then.
        return whole(&[part::<D, L, CLOSED>(design, run, 0, &round, load)]);
    }
    let is_over = || round.done.load(Acquire) == u64::from(run.threads) && round.is_drained();
    let parts: Vec<Part> = thread::scope(|threads| {
        let parts: Vec<_> = (0..run.threads)
            .map(|thread| {
                let round = &round;
                threads.spawn(move || part::<D, L, CLOSED>(design, run, thread, round, load))
            })
            .collect();
        if D::SERVES {
            threads.spawn(|| design.serve(&is_over));
        }
        parts
            .into_iter()
            .map(|part| part.join().expect("no panic"))
            .collect()
    });
    whole(&parts)
}

impl Round {
    fn is_drained(&self) -> bool {
        self.seen.load(Acquire) >= self.pushed.load(Acquire)
    }
}

/// A thread's sink: its sums, and what it has to tell others.
struct Sink<'r, const CLOSED: bool> {
    round: &'r Round,
    thread: usize,
    seen: Seen,
    own: u64,
    untold: [u64; MAX_THREADS],
    failed: u64,
    result: i32,
}

impl<const CLOSED: bool> Sink<'_, CLOSED> {
    #[inline(always)]
    fn take(&mut self, number: u64, result: i32) {
        self.seen.add(number);
        self.failed += u64::from(result != self.result);
        if CLOSED {
            self.untold[(number >> SHIFT) as usize % MAX_THREADS] += 1;
        }
    }

    /// After each call that may have reaped.
    #[inline(always)]
    fn tell(&mut self) {
        if !CLOSED {
            return;
        }
        for (thread, count) in self.untold.iter_mut().enumerate() {
            if *count > 0 {
                match thread == self.thread {
                    true => self.own += *count,
                    false => {
                        self.round.told[thread].fetch_add(*count, Release);
                    }
                }
                *count = 0;
            }
        }
    }

    #[inline(always)]
    fn completed(&self) -> u64 {
        self.own + self.round.told[self.thread].load(Acquire)
    }
}

/// After so many looks in vain: the sums will say what is lost.
#[inline(always)]
fn is_hopeless(looks: u32, end: Instant) -> bool {
    looks.is_multiple_of(4096) && Instant::now() > end + PATIENCE
}

fn part<D: Design, L: Load, const CLOSED: bool>(
    design: &D,
    run: Run,
    thread: u32,
    round: &Round,
    load: &L,
) -> Part {
    machine::pin(thread + 1);
    let mut port = design.port(thread);
    load.register(port.ring());
    let mut sink = Sink::<CLOSED> {
        round,
        thread: thread as usize,
        seen: Seen::default(),
        own: 0,
        untold: [0; MAX_THREADS],
        failed: 0,
        result: L::RESULT,
    };
    let mut state = u64::from(thread);
    let mut number = u64::from(thread) << SHIFT;
    let first = number;
    round.start.wait();
    let schedule = Schedule::now();
    let start = Instant::now();
    let batches = CHECK.div_ceil(run.batch);
    let end = start + run.window;
    'window: while Instant::now() < end {
        for _ in 0..batches {
            let mut looks = 0;
            loop {
                let next = || {
                    let op = (load.next(&mut state), number);
                    number += 1;
                    op
                };
                let is_pushed = port.submit(run.batch, next, &mut |n, r| sink.take(n, r));
                sink.tell();
                if is_pushed {
                    break;
                }
                if port.reap(&mut |n, r| sink.take(n, r)) == 0 {
                    thread::yield_now();
                }
                sink.tell();
                looks += 1;
                if is_hopeless(looks, end) {
                    break 'window;
                }
            }
            looks = 0;
            loop {
                let count = port.reap(&mut |n, r| sink.take(n, r));
                sink.tell();
                if !CLOSED || sink.completed() == number - first {
                    break;
                }
                if count == 0 {
                    looks += 1;
                    match looks < 64 {
                        true => hint::spin_loop(),
                        false => thread::yield_now(),
                    }
                    if is_hopeless(looks, end) {
                        break 'window;
                    }
                }
            }
        }
    }
    round.pushed.fetch_add(number - first, Release);
    round.done.fetch_add(1, Release);
    let mut told = 0;
    let patience = Instant::now() + PATIENCE;
    while round.done.load(Acquire) < u64::from(run.threads) || !round.is_drained() {
        if Instant::now() > patience {
            break;
        }
        // Whatever still waits to be submitted goes by one more NOP-free submit.
        port.submit(0, || (Op::Nop, 0), &mut |n, r| sink.take(n, r));
        let count = port.reap(&mut |n, r| sink.take(n, r));
        sink.tell();
        round.seen.fetch_add(sink.seen.count - told, Release);
        told = sink.seen.count;
        if count == 0 {
            thread::yield_now();
        }
    }
    let end = Instant::now();
    Part {
        pushed: Seen::numbers(thread, number - first),
        seen: sink.seen,
        start,
        end,
        delayed: schedule.delayed(),
        failed: sink.failed,
    }
}
