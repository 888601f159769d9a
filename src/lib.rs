//! One io_uring, many threads: the two rings shared without locks.
//!
//! io_uring's submission and completion rings are made for one producer and one
//! consumer. Ringway lets any number of threads share them: workers pop free SQEs,
//! prepare them in any order and push them; any of them submits; reapers pop CQEs.
//! No operation takes a lock in user space, and one enter submits for everybody.
//!
//! ```
//! use ringway::Ring;
//!
//! let ring = Ring::builder(8).build()?;
//! std::thread::scope(|threads| {
//!     for worker in 0..4 {
//!         let sq = ring.sq();
//!         threads.spawn(move || {
//!             let mut slot = sq.pop().expect("8 slots for 4 operations");
//!             unsafe { slot.prep_nop() }.user_data(worker);
//!             slot.push();
//!             sq.submit()
//!         });
//!     }
//! });
//! let cq = ring.cq();
//! let mut seen: Vec<u64> = (0..4)
//!     .map(|_| loop {
//!         if let Some(cqe) = cq.reap() {
//!             break cqe.user_data();
//!         }
//!         cq.wait(None).unwrap();
//!     })
//!     .collect();
//! seen.sort();
//! assert_eq!(seen, [0, 1, 2, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who may call what
//!
//! | type | threads | progress |
//! |---|---|---|
//! | [`Ring`], [`Sq`], [`Cq`] | any thread, any method, any time; clones share the ring | per method |
//! | [`Slot`], [`Slot128`], [`Batch`] | one owner; may be sent to another thread, those of a `Local` not | push: lock-free |
//! | [`Sq::pop`], [`Sq::pop_batch`] | any | lock-free |
//! | [`Sq::submit`], [`Ring::submit_and_reap`] | any; one thread enters for all | at most 8 kernel entries, unless `Builder::max_passes` says otherwise |
//! | [`Cq::reap`], [`Cq::reap_batch`] | any | lock-free |
//! | [`Cq::wait`], [`Cq::wait_reap`] | any | blocks |
//! | [`Waiter`] | one at a time; may be sent to another | blocks, and keeps others waiting while it leads |
//! | `Registrar` | the thread that asked the ring for it | blocks while a thread submits |
//! | `BufRing` | one owner; may be sent to another thread, that of a `Local` not | add, advance: wait-free |
//! | `RegisteredRing` | the thread that registered the ring | as the ring's |
//! | [`pool::Driver`], `pool::Pool` | any | per method; reaping: one thread at a time |
//! | `Local` | the thread that made or enabled it | |
//! | [`Set`](set::Set), [`Peer`](set::Peer) | any thread, any method, any time; clones share the set, the address | per method |
//! | [`Member`](set::Member) | the thread that made it | as `Local` |
//! | `Disabled` | one owner; may be sent to the thread that will enable it | |
//!
//! # The house
//!
//! From top to bottom; nothing knows what stands above it.
//!
//! - `pool`: workers, reapers and a submitter over one ring, permits, an end with nothing in flight
//! - `set`: a ring for each thread behind one handle, and messages between them
//! - `prep`: what an operation is: one `unsafe prep_*` for each
//! - `register`: what a ring knows beforehand: files, buffers, limits
//! - `sim`: a simulated kernel, to test what is built on ringway (feature `sim`)
//! - `ring`: the protocol, and the queues that follow it
//! - `setup`, `mapping`, `syscall`: how a ring comes to be
//! - `abi`: the kernel's structures and numbers
//! - `sync`: atomics and cells, of `std` or of loom

#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!("io_uring is an interface of Linux");

mod abi;
mod flags;
mod mapping;
pub mod pool;
pub mod prep;
#[cfg(not(ringway_loom))]
pub mod register;
mod ring;
#[cfg(not(ringway_loom))]
pub mod set;
mod setup;
#[cfg(any(feature = "sim", ringway_loom))]
pub mod sim;
mod sync;
mod syscall;

pub use abi::{Cqe, Cqe32, Sqe, op};
pub use ring::{Batch, Cq, EnterError, Owner, Ring, Slot, Slot128, Sq, SqesMut, Waited, Waiter};
#[cfg(not(ringway_loom))]
pub use ring::{Disabled, Local, ReapIter, ResizeError, Wait, Waker};
pub use setup::Order;
#[cfg(not(ringway_loom))]
pub use setup::{Builder, Features, Probe, SetupError, SqPoll, Unavailable};
pub use syscall::Errno;

/// What `cargo xtask weaken` may do to the models: each name, and what it breaks.
#[cfg(ringway_loom)]
#[doc(hidden)]
pub fn weakenings() -> Vec<(String, String)> {
    ring::edges::weaken::list(pool::weakenable())
}

/// Places inside the ring that the models have come by so far.
#[cfg(ringway_loom)]
#[doc(hidden)]
pub fn reached() -> Vec<&'static str> {
    sync::all_reached()
}

/// The README's example compiles and runs.
#[cfg(all(doctest, not(ringway_loom)))]
#[doc = include_str!("../README.md")]
struct Readme;
