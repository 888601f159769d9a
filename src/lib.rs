//! One io_uring, many threads: the two rings shared without locks.
//!
//! io_uring's submission and completion rings are made for one producer and one
//! consumer. Ringway lets any number of threads share them: workers pop free SQEs,
//! prepare them in any order and push them; any of them submits; reapers pop CQEs.
//! Popping, pushing, submitting and reaping on a [`Ring`] take no lock in user space, and
//! one enter submits for everybody. (Waiting threads sleep on a futex; a
//! [`Driver`](pool::Driver) looks completions up under a lock, and its jobs wait in a queue
//! with one.)
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
//!             // SAFETY: a NOP names no memory and no file.
//!             unsafe { slot.prep_nop() }.user_data(worker);
//!             slot.push();
//!         });
//!     }
//! });
//! // Any thread may, once for all that was pushed.
//! ring.submit()?;
//! let cq = ring.cq();
//! let mut seen = Vec::new();
//! for _ in 0..4 {
//!     seen.push(cq.wait_one(None)?.expect("there is no timeout").user_data());
//! }
//! seen.sort();
//! assert_eq!(seen, [0, 1, 2, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Before you use it
//!
//! - **Kernels**: 5.18 for shared and for local rings, 6.6 for [`Order::Claim`], 5.10 for local
//!   rings of `Builder::legacy`. What needs a later one says so where it is; a builder refuses
//!   by name what the running kernel lacks.
//! - **Platforms**: Linux on x86-64. The aarch64 system calls have never run, nor has anything
//!   on Android. Rust 1.95.
//! - **Limits**: 32768 SQEs and 65536 CQEs, which are the kernel's. No executor, no buffers: a
//!   [prep](prep#what-must-stay-alive-and-until-when) is `unsafe`, and what it points to is the
//!   caller's to keep alive.
//! - **Not for** threads that each wait for their own I/O: give each a `Local` ring, by itself or
//!   in a [`set`]; nor for threads that submit and then exit, see [`Sq::submit`].
//! - **Cargo.toml**: one feature, off by default: `sim`, a simulated kernel for tests, in the
//!   module of that name.
//! - **Errors**: why there is no ring, `SetupError`; why the kernel was not entered,
//!   [`EnterError`], with what to do about it; what came of an operation, [`Cqe::result`] and
//!   the [prep](prep#results); why a driver takes no operation, [`Refusal`](pool::Refusal).
//!
//! The README has the layers, the benchmarks, and what is proved and what is not.
//!
//! # Who may call what
//!
//! | type | threads | progress |
//! |---|---|---|
//! | [`Ring`], [`Sq`], [`Cq`] | any thread, any method, any time; clones share the ring | per method |
//! | [`Slot`], [`Slot128`], [`Batch`] | one owner; may be sent to another thread, those of a `Local` not | push: lock-free; submits if another's submit left to it what lies behind |
//! | [`Sq::pop`], [`Sq::pop_batch`] | any | lock-free |
//! | [`Sq::submit`], [`Ring::submit_and_reap`] | any; one thread enters for all | at most 8 enters to submit, unless `Builder::max_passes` says otherwise; `submit_and_reap` more, to fetch completions that the kernel holds back |
//! | [`Cq::reap`], [`Cq::reap_batch`] | any | lock-free, while the kernel holds nothing back |
//! | [`Cq::wait`], [`Cq::wait_reap`], [`Cq::wait_one`], `Cq::wait_until`, [`Sq::wait_for_space`] | any | blocks |
//! | [`Ring::wake`] | any | a system call; before Linux 6.13 as a push and a submit |
//! | [`Waiter`] | one at a time; may be sent to another | blocks; between its waits it may keep the lead, and the other waiting threads asleep |
//! | `Registrar` | the thread that asked the ring for it | blocks while a thread submits |
//! | `BufRing` | one owner; may be sent to another thread, that of a `Local` not | add, advance: wait-free |
//! | `RegisteredRing` | the thread that registered the ring | as the ring's |
//! | [`pool::Driver`], `pool::Pool` | any | per method; reaping: one thread at a time |
//! | `Local` | the thread that made or enabled it | pop, push, reap: wait-free, but where a reap enters (`Local::reap`) |
//! | [`Set`](set::Set), [`Peer`](set::Peer) | any thread, any method, any time; clones share the set, the address | per method |
//! | [`Member`](set::Member) | the thread that made it | as `Local` |
//! | `Waker` | any thread | a system call |
//! | `Disabled` | one owner; may be sent to the thread that will enable it | enable: a system call |
//!
//! # Coming from liburing
//!
//! | liburing | here |
//! |---|---|
//! | `io_uring_queue_init_params` | [`Ring::builder`], `build` or `build_local` |
//! | `io_uring_get_sqe` | [`Sq::pop`]; several that stay together: [`Sq::pop_batch`] |
//! | `io_uring_prep_*` | the methods `prep_*` of [`Sqe`], on a [`Slot`] |
//! | `io_uring_sqe_set_data64` | [`Sqe::user_data`] |
//! | (the slot is the kernel's at the next submit) | [`Slot::push`]: it is now |
//! | `io_uring_submit` | [`Sq::submit`] |
//! | `io_uring_peek_cqe`, `io_uring_cqe_seen` | [`Cq::reap`] |
//! | `io_uring_peek_batch_cqe`, `io_uring_cq_advance` | [`Cq::reap_batch`]; `Local::reap_iter` |
//! | `io_uring_wait_cqe`, `io_uring_wait_cqe_timeout` | [`Cq::wait_one`] |
//! | `io_uring_submit_and_wait` | `Local::submit_and_wait`. On a shared ring the thread that enters is not the one that waits: [`Sq::submit`], [`Cq::wait_reap`] |
//! | `io_uring_register_*` | `Ring::registrar`, `Local::registrar` |
//!
//! # The modules
//!
//! From top to bottom; nothing knows what stands above it.
//!
//! - `pool`: workers, reapers and a submitter over one ring, permits, a shutdown that leaves
//!   nothing in flight
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
