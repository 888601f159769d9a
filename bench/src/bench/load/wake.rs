//! How long a sleeping thread takes to have a completion that another thread submits.

use std::hint;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ringway::Cqe;
use ringway::set::{Peer, Set};

use super::clock::{Clock, Spread, Times, ticks};
use super::random::Random;
use super::watch::{PATIENCE, WAKE, Watch};
use super::{Run, Window};
use crate::design::{self, Design, Port};
use crate::machine::{self, Schedule};
use crate::op::Op;

/// What came of a window.
#[derive(Clone, Debug)]
pub struct Wakes {
    pub window: Window,
    /// From before the push until the other thread has it.
    pub times: Spread,
    /// Nanoseconds, part of each time.
    pub clock: f64,
}

/// What the two threads share. Numbers go from 1 up.
struct Round {
    start: Barrier,
    watch: Watch,
    /// The number that is on its way, with its ticks.
    asked: AtomicU64,
    pushed: AtomicU64,
    /// The last one that the waiter has had.
    had: AtomicU64,
}

/// Of two threads, whatever `run` says, with one ring between them.
pub fn window<D: Design>(run: Run) -> Result<Wakes, &'static str> {
    if !D::SHARED {
        return Err("a thread's own ring has no other thread's completions");
    }
    let round = Round::new();
    let design = D::new(2, run.setup);
    let is_over = || round.watch.all_left();
    thread::scope(|threads| {
        let waiter = threads.spawn(|| {
            machine::pin(0);
            let mut port = design.port(0);
            round.watch.add(port.ring());
            round.wait(|seen| {
                port.wait(&mut |number, result| seen(number, result));
            })
        });
        if D::SERVES {
            threads.spawn(|| design.serve(&is_over));
        }
        let pusher = threads.spawn(|| {
            machine::pin(1);
            let mut port = design.port(1);
            let mut own = 0;
            let time = round.push(run.window, |number| {
                let next = || (Op::Nop, number);
                while !port.submit(1, next, &mut |_, _| own += 1) {
                    thread::yield_now();
                }
            });
            (time, own)
        });
        let (time, own) = pusher.join().expect("no panic");
        round.watch.end();
        let waiter = waiter.join().expect("no panic");
        match own {
            0 => Ok(round.wakes(time, waiter)),
            _ => Err("the thread that submits takes the completions"),
        }
    })
}

/// The same for a set: a message to the ring of the waiting thread.
pub fn of_set(run: Run) -> Wakes {
    let round = Round::new();
    let set = Set::builder(design::ringway::builder(run.setup));
    let set = if run.setup.defers { set } else { set.exact() };
    let set = set.build().expect("a set");
    let address: OnceLock<Peer> = OnceLock::new();
    thread::scope(|threads| {
        let waiter = threads.spawn(|| {
            machine::pin(0);
            let member = set.member().expect("io_uring");
            let _ = address.set(member.peer().clone());
            round
                .watch
                .add(member.fd().expect("a descriptor").as_raw_fd());
            let mut cqes = [Cqe::default(); design::REAP];
            round.wait(|seen| {
                let count = member.wait_reap(&mut cqes, None).expect("a wait");
                cqes[..count]
                    .iter()
                    .for_each(|cqe| seen(cqe.user_data(), cqe.res()));
            })
        });
        let pusher = threads.spawn(|| {
            machine::pin(1);
            round.push(run.window, |number| {
                let peer = address.get().expect("the start is after it was made");
                peer.send(number, 0).expect("a message");
            })
        });
        let time = pusher.join().expect("no panic");
        round.watch.end();
        round.wakes(time, waiter.join().expect("no panic"))
    })
}

/// How the waiting thread ended.
struct Waiter {
    times: Times,
    delayed: f64,
    wrong: Option<String>,
}

impl Round {
    fn new() -> Self {
        Clock::get();
        Self {
            start: Barrier::new(2),
            watch: Watch::new(1),
            asked: AtomicU64::new(0),
            pushed: AtomicU64::new(0),
            had: AtomicU64::new(0),
        }
    }

    /// Of the waiting thread.
    fn wait(&self, mut wait: impl FnMut(&mut dyn FnMut(u64, i32))) -> Waiter {
        let (mut times, mut wrong) = (Times::new(), None);
        self.start.wait();
        let schedule = Schedule::now();
        while !self.watch.is_over() {
            let mut had = self.had.load(Relaxed);
            let before = had;
            wait(&mut |number, result| match number {
                WAKE => {}
                _ if number == had + 1 && result == 0 => had = number,
                _ => wrong = Some(format!("{number} ({result}) came after {had}")),
            });
            let now = ticks();
            if had != before {
                times.add(now.saturating_sub(self.asked.load(Acquire)));
                self.had.store(had, Release);
            }
        }
        self.watch.leave();
        Waiter {
            times,
            delayed: schedule.delayed(),
            wrong,
        }
    }

    /// Of the other: pauses of 20 to 200 us, awake, always the same ones.
    fn push(&self, window: Duration, mut push: impl FnMut(u64)) -> Duration {
        let mut random = Random::new(1);
        self.start.wait();
        let start = Instant::now();
        for number in 1.. {
            let pause = Duration::from_nanos(20_000 + random.below(180_000));
            let paused = Instant::now();
            while paused.elapsed() < pause {
                hint::spin_loop();
            }
            if start.elapsed() > window {
                break;
            }
            self.pushed.store(number, Relaxed);
            self.asked.store(ticks(), Release);
            push(number);
            let patience = Instant::now() + PATIENCE;
            while self.had.load(Acquire) != number && Instant::now() < patience {
                hint::spin_loop();
            }
            if self.had.load(Acquire) != number {
                break;
            }
        }
        start.elapsed()
    }

    fn wakes(&self, time: Duration, waiter: Waiter) -> Wakes {
        let (pushed, had) = (self.pushed.load(Acquire), self.had.load(Acquire));
        let lost = (pushed != had).then(|| format!("pushed up to {pushed}, came up to {had}"));
        Wakes {
            window: Window {
                operations: had,
                time,
                delayed: waiter.delayed,
                wrong: waiter.wrong.or(lost),
            },
            times: waiter.times.spread(),
            clock: Clock::get().cost,
        }
    }
}
