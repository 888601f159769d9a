//! Designs that lose or double a completion: a window must say so.

use std::os::fd::RawFd;
use std::time::Duration;

use crate::design::ringway::{Own, Shared};
use crate::design::{Design, Port, Setup};
use crate::load::nop::{self, Nop};
use crate::load::{Run, Window, pingpong};
use crate::op::Op;

const RIGHT: u8 = 0;
const LOSES: u8 = 1;
const DOUBLES: u8 = 2;
/// Loses one and shows another twice: the count is right.
const SWAPS: u8 = 3;
/// Says that it failed.
const FAILS: u8 = 4;

/// A design that is wrong once in a window.
struct Broken<D, const HOW: u8>(D);

struct BrokenPort<P, const HOW: u8> {
    port: P,
    seen: u64,
}

impl<D: Design, const HOW: u8> Design for Broken<D, HOW> {
    type Port<'d>
        = BrokenPort<D::Port<'d>, HOW>
    where
        D: 'd;

    const SHARED: bool = D::SHARED;

    fn new(threads: u32, setup: Setup) -> Self {
        Self(D::new(threads, setup))
    }

    fn port(&self, thread: u32) -> Self::Port<'_> {
        BrokenPort {
            port: self.0.port(thread),
            seen: 0,
        }
    }
}

/// What others are shown of the completions.
fn filter<const HOW: u8>(at: &mut u64, seen: &mut impl FnMut(u64, i32)) -> impl FnMut(u64, i32) {
    move |number, result| {
        *at += 1;
        match (HOW, *at) {
            (LOSES, 100) => {}
            (DOUBLES, 100) => {
                seen(number, result);
                seen(number, result);
            }
            (SWAPS, 100) => seen(number + 1, result),
            (FAILS, 100) => seen(number, -libc::EIO),
            _ => seen(number, result),
        }
    }
}

impl<P: Port, const HOW: u8> Port for BrokenPort<P, HOW> {
    fn submit(
        &mut self,
        len: u32,
        next: impl FnMut() -> (Op, u64),
        seen: &mut impl FnMut(u64, i32),
    ) -> bool {
        self.port
            .submit(len, next, &mut filter::<HOW>(&mut self.seen, seen))
    }

    fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.port.reap(&mut filter::<HOW>(&mut self.seen, seen))
    }

    fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
        self.port.wait(&mut filter::<HOW>(&mut self.seen, seen))
    }

    fn ring(&self) -> RawFd {
        self.port.ring()
    }
}

fn run(threads: u32) -> Run {
    Run {
        threads,
        batch: 8,
        setup: Setup::default(),
        window: Duration::from_millis(5),
    }
}

fn open<D: Design, const HOW: u8>(threads: u32) -> Window {
    nop::open::<Broken<D, HOW>, _>(run(threads), &Nop)
}

#[test]
fn a_design_that_is_right_passes() {
    for threads in [1, 2] {
        assert_eq!(open::<Own<true>, RIGHT>(threads).wrong, None);
        assert_eq!(open::<Shared<true>, RIGHT>(threads).wrong, None);
    }
    assert_eq!(
        pingpong::unix::<Broken<Shared<true>, RIGHT>>(run(2)).wrong,
        None
    );
}

#[test]
fn a_lost_completion_is_seen() {
    // After five seconds of patience.
    assert!(open::<Own<true>, LOSES>(1).wrong.is_some());
}

#[test]
fn a_doubled_completion_is_seen() {
    assert!(open::<Own<true>, DOUBLES>(1).wrong.is_some());
    assert!(open::<Shared<true>, DOUBLES>(2).wrong.is_some());
    assert!(
        pingpong::unix::<Broken<Shared<true>, DOUBLES>>(run(2))
            .wrong
            .is_some()
    );
}

#[test]
fn one_taken_for_another_is_seen() {
    assert!(open::<Own<true>, SWAPS>(1).wrong.is_some());
    assert!(open::<Shared<true>, SWAPS>(2).wrong.is_some());
}

#[test]
fn a_failure_is_seen() {
    assert!(open::<Own<true>, FAILS>(1).wrong.is_some());
}
