//! The pool's parts and the pool, on the real kernel.
#![allow(
    clippy::disallowed_types,
    reason = "what the tests count is not what the pool shares"
)]

#[path = "../child/mod.rs"]
mod child;
mod deadlines;
mod driver;
#[cfg(feature = "sim")]
mod faults;
#[cfg(feature = "sim")]
mod full;
mod jobs;
mod kinds;
mod offload;
mod offload_ends;
mod owned;
mod roles;
mod shutdown;

use ringway::pool::{Completion, Driver, DriverBuilder, Event, Op};
use ringway::{Ring, Sqe};
use std::time::{Duration, Instant};

/// Longer than anything here takes: a wait that ends by it has lost its wake-up.
const LOST: Duration = Duration::from_secs(20);

fn ring(sq: u32, cq: u32) -> Ring {
    Ring::builder(sq)
        .cq_entries(cq)
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}

fn driver(sq: u32, cq: u32, settings: DriverBuilder) -> Driver {
    settings.build(ring(sq, cq)).unwrap()
}

/// Waits for what another thread does.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LOST, "it never came");
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// A read of a pipe that nobody writes to: in flight until it is cancelled.
fn pending(pipe: &std::io::PipeReader, user_data: u64) -> Op {
    let mut sqe = Sqe::default();
    let buf = vec![0; 1].leak();
    // SAFETY: the buffer is leaked, and the caller keeps the pipe.
    unsafe { sqe.prep_read(pipe, buf.as_mut_ptr(), 1, 0) }.user_data(user_data);
    sqe.into()
}

fn nop(user_data: u64) -> Op {
    let mut sqe = Sqe::default();
    // SAFETY: a NOP names nothing.
    unsafe { sqe.prep_nop() }.user_data(user_data);
    sqe.into()
}

/// The next completion.
#[track_caller]
fn next(driver: &Driver) -> Completion {
    let [one] = next_of(driver);
    one
}

/// The next `N` completions, and no more.
#[track_caller]
fn next_of<const N: usize>(driver: &Driver) -> [Completion; N] {
    let mut found = Vec::new();
    let start = Instant::now();
    while found.len() < N {
        assert!(start.elapsed() < LOST, "a completion was lost: {found:?}");
        let take = |event| match event {
            Event::Completed(completion) => found.push(completion),
            Event::Stale(cqe) => panic!("{cqe:?}"),
        };
        driver.wait_reap(Some(LOST), take).unwrap();
    }
    found.try_into().expect("no more completions")
}
