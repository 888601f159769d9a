//! The ring: one submission queue and one completion queue, many threads.
//!
//! # Protocol
//!
//! Parties: *claimers* (pop), *owners* (of a popped slot), *pushers*, *holders* (of the
//! submitter's role), *reapers*, the *kernel* (whoever runs its side: the thread inside
//! `io_uring_enter`, the SQ thread, an interrupt).
//!
//! | field | who may touch it, and when | the edge that hands it over |
//! |---|---|---|
//! | `sq.head` | kernel writes; anyone reads | [`edges::SQ_HEAD`] from `io_commit_sqring` |
//! | `sq.tail` | publishers move it forward by CAS | [`edges::SQ_PUBLISH`] to `io_sqring_entries` |
//! | `sq.array[i]` | any order: the pusher whose ticket it is writes; claimers and the kernel read | stamp, tail, head; back by [`edges::SQ_CLAIM`] and [`edges::SQ_TICKET`] |
//! | `sqes[i]` | its owner, from claim to push; then the kernel, until its head is past | claim, [`edges::SQ_READY`], [`edges::SQ_PUBLISH`], [`edges::SQ_HEAD`] |
//! | `sq.flags` | kernel writes; anyone reads | none; NEED_WAKEUP after [`edges::SQPOLL_FENCE`] |
//! | `cq.head` | reapers move it forward by CAS | [`edges::CQ_CLAIM`] to `io_cqe_cache_refill` and to [`edges::CQ_HEAD`] |
//! | `cq.tail` | kernel writes; anyone reads | [`edges::CQ_TAIL`] from `io_commit_cqring` |
//! | `cqes[i]` | kernel writes when the head allows it; reapers read, as relaxed words | [`edges::CQ_TAIL`], [`edges::CQ_CLAIM`] |
//! | claims, limit, tickets, stamps, role, seat | user threads only, on the heap | named in `edges.rs` |
//!
//! ## Submission: S
//!
//! In *any order* the kernel's index array is also the free list. With all counters
//! extended to 64 bits, `n` entries, and a cell for each counter modulo `n`:
//!
//! ```text
//!   head ....... tail ....... tickets ....... claims ....... head + n
//!    | published  |  pushed     |  owned: these  |    free: these |
//!    |            |  (stamped)  |  cells hold    |    cells hold  |
//!    |            |             |  nothing       |    slot numbers|
//! ```
//!
//! In *claim order* (NO_SQARRAY) the claim is the ticket and slot `i` is cell `i`.
//!
//! - **S1** A slot has one owner: the claimer from the claim to the stamp, then
//!   whoever publishes it, then the kernel, until its head has passed. Only the owner
//!   touches the SQE and, in any order, the slot's link.
//! - **S2** A claimer reads the cells first and claims by CAS on the 64-bit claim
//!   counter afterwards; if the CAS fails, what it read is worth nothing. The counter
//!   never comes round, so a CAS that succeeds has read its own cells.
//! - **S3** A cell is overwritten only with a ticket, and ticket `t` is given out only
//!   after more than `t` claims. So every claim of the cell's former content was done,
//!   and (claim, then tickets in a chain) happened before.
//! - **S4** A batch has one stamp, at its first ticket: ticket and length in one word.
//!   It becomes ready, and is published, whole.
//! - **S5** The limit is at most `head + n`. Too low costs a look at the kernel's head;
//!   it is never too high.
//! - **S6** A submitter that is about to leave, and finds an unready ticket with ready batches
//!   behind it, marks the stamp, by CAS; the push, a swap, finds the mark and submits. If the
//!   swap was first, the CAS fails and the submitter goes on. So nobody's ready batch is left
//!   behind without a thread that will submit it.
//! - **S7** The tail only grows: it is moved by CAS from where the walk began. (A walk
//!   that stands still between its start and its CAS for exactly a multiple of 2^32
//!   publications is not told from one that does not.)
//! - **S8** Mixed sizes, claim order only: 128 bytes are two neighbours, claimed and stamped
//!   as one batch. The last slot has no neighbour: a claim of two that meets it takes it
//!   alone, and makes it a NOP without a CQE.
//!
//! ## Entering: E
//!
//! - **E1** Whoever asks for a submit while nobody is at it becomes the holder:
//!   publishes, enters once for everybody. Who finds the role held leaves, after a full fence
//!   and another look; so in a busy ring nobody but the holder writes the role. The holder
//!   gives the role up, then, after a full fence, looks at the stamp at the tail once more:
//!   either it sees the stamps of who has left, or that one sees the role free. If it sees
//!   some, it asks anew.
//! - **E2** A holder makes at most 8 passes (`max_passes`). It gives the role up before its
//!   last, so that whoever asks from then on holds it, and what was asked before is in that
//!   pass. Two may then publish and enter at once: S7 allows it; but since that is slow, the
//!   new holder first gives the old one a moment, a bounded number of looks at a hint.
//! - **E3** On a ring that threads share, `to_submit` is the whole ring: a number could end
//!   inside a chain of links that another thread published. Who alone enters says exactly
//!   what there is: after a submit of less than it was asked for, the kernel does not wait.
//! - **E4** SQPOLL: tail, full fence, NEED_WAKEUP, in the thread that moved the tail.
//! - **E5** If the kernel refuses, the holder's caller is told, and the debt is noted:
//!   the next submit or wait of any thread tries again. A pass takes the debt over before it
//!   publishes. Who gives the role up looks for a debt as it looks for stamps (E1).
//! - **E6** For that moment the new holder offers its role: whoever asks takes it, most often
//!   the old one, on whose CPU the ring's memory is. One CAS ends the offer, by either; who
//!   finds it ended has left what it pushed to the other.
//! - **E7** A pass publishes whole batches until they are half the ring (of a small ring, all):
//!   the kernel gives slots back when it has taken all of an enter, so one half is filled
//!   while it takes the other. A holder that has cut something off makes another pass. One
//!   that has given the role up asks for it again, and makes the other pass if it gets it.
//! - **E8** How far the tail was moved is the holder's word, which the role passes on: so it
//!   need not read the line that claimers write to know where to go on.
//!
//! ## Completion: C
//!
//! - **C1** Head (Acquire), then tail (Acquire): a reaper that sees another's head also
//!   sees the tail that the other saw. A distance over the ring's size is cut to it: the head
//!   is then old, and the CAS fails.
//! - **C2** Words are read first, the head is moved by CAS afterwards; if the CAS fails,
//!   what was read is worth nothing. (A reaper that stands still between the two for
//!   exactly a multiple of 2^32 completions is not told from one that does not.)
//! - **C3** A reaper that stalls holds up nobody.
//! - **C4** Empty, and CQ_OVERFLOW or TASKRUN set, means: enter with GETEVENTS, look again.
//! - **C5** Mixed sizes: a reaper takes both slots of a big CQE or neither, and steps over
//!   padding. Padding can be all that a flush brings: then it is taken, and flushed again.
//!
//! ## Waiting: W
//!
//! - **W1** At most one thread waits in the kernel, for one CQE: larger or mixed numbers
//!   lose wake-ups when several wait. The others sleep on the seat's word.
//! - **W2** Whoever frees the seat wakes one follower, and a woken follower tries to take
//!   it before it does anything else. So a free seat with followers has a wake on its way.
//! - **W3** A follower sleeps only while the word says that somebody leads.
//! - **W4** A wait says "maybe". A leader that is told that a completion is lost tells the
//!   next: the kernel says it once.
//! - **W5** A [`Waiter`] may keep the seat between its waits. It frees it, as W2 says, when it
//!   has reaped more than its number, after each wait if that is 0, fails, or goes.
//!
//! ## Local rings: L
//!
//! - **L1** A [`Local`] and its slots stay on one thread, and it calls nothing of the user's
//!   between a load and a store: what a shared ring does by CAS, swap or fetch_add is a load
//!   and a store there. Towards the kernel nothing changes: tail and head are stored with
//!   the ordering of their CAS. (Only CQEs of rings whose CQEs are not all small are taken as
//!   on a shared ring.)
//! - **L2** It counts what is pushed without a gap, and that is the tail: in any order all
//!   that is pushed. In claim order a slot that is pushed before one popped earlier is
//!   stamped, and counted when the gap is filled. In any order a slot's cell is its own until
//!   one is pushed out of turn.
//! - **L3** It knows how far it has read CQEs, of rings whose CQEs are all small, and reads on
//!   from there. An iterator moves the head that the kernel sees when it goes; what reaps,
//!   waits, or counts what is ready, does so as well.
//! - **L4** What is rare is told by one word, 0 on most rings: a gap, cells that are not their
//!   slots' own, entries of other sizes, an SQ thread, a lost completion. Where it is 0, calls
//!   look at nothing else (the short way).
//!
//! ## Resizing: R
//!
//! - **R1** Only a local ring with DEFER_TASKRUN is resized: the kernel is at its rings only
//!   during a call of its thread. Between two calls both sides are that thread's.
//! - **R2** What is pushed is taken out of the old queue in its order, and pushed into one
//!   that begins empty: this once, the tail goes back, to the head. CQEs go where their
//!   counters say.
//! - **R3** A slot that was claimed and not pushed has no place in the new queue. Borrows
//!   keep slots from being there; a forgotten one is found by its claim, and refuses.

mod core;
mod cq;
pub(crate) mod edges;
mod error;
mod handles;
mod hint;
mod index;
mod kernel;
#[cfg(not(ringway_loom))]
mod local;
#[cfg(not(ringway_loom))]
mod open;
mod owner;
#[cfg(not(ringway_loom))]
mod resize;
mod slot;
mod slot128;
mod sq;
mod submit;
mod view;
mod wait;
#[cfg(not(ringway_loom))]
mod wait_args;
#[cfg(not(ringway_loom))]
mod wait_table;
mod waiter;

pub(crate) use core::Core;
pub use error::EnterError;
pub use handles::{Cq, Ring, Sq};
pub(crate) use kernel::By;
#[cfg(not(ringway_loom))]
pub(crate) use kernel::message;
#[cfg(any(feature = "sim", ringway_loom))]
pub(crate) use kernel::{Enter, Kernel, Simulated};
#[cfg(not(ringway_loom))]
pub use local::{Disabled, Local, ReapIter, Waker};
pub use owner::Owner;
#[cfg(not(ringway_loom))]
pub use resize::ResizeError;
pub use slot::{Batch, Slot, SqesMut};
pub use slot128::Slot128;
pub use wait::Waited;
#[cfg(not(ringway_loom))]
pub use wait_args::Wait;
#[cfg(not(ringway_loom))]
pub(crate) use wait_table::WaitTable;
pub use waiter::Waiter;
