//! A ring for each thread behind one handle: no sharing, and messages where it is needed.
//!
//! A [`Set`] goes to any thread. A thread that uses it becomes a [`Member`], with a
//! [`Local`] ring of its own: same calls, no atomic instruction shared with
//! others, completions where they were asked for. Linux 5.18; messages and
//! the flags that a set adds where the kernel has them. Code that has only the handle finds the
//! thread's ring with [`Set::with`]. Members are known to others as [`Peer`]s, to which
//! any thread sends messages, and other members descriptors.
//!
//! ```
//! use ringway::{Ring, prep::MsgRingFlags, set::Set};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const WORK: u64 = 1;
//! let set = Set::builder(Ring::builder(64)).max_members(2).build()?;
//! let here = set.member()?;
//!
//! let there = {
//!     let (set, home) = (set.clone(), here.peer().clone());
//!     std::thread::spawn(move || -> Result<i32, Box<dyn std::error::Error + Send + Sync>> {
//!         let member = set.member()?; // An error here is the thread's result.
//!         let mut slot = member.pop().ok_or("the ring is full")?;
//!         // SAFETY: `home` is kept until the CQE; the receiver knows `WORK`.
//!         unsafe { slot.prep_msg_ring(&home, 42, WORK, MsgRingFlags::NONE) }.user_data(7);
//!         slot.push();
//!         member.submit()?;
//!         let sent = member.wait_one(None)?.ok_or("no timeout was given")?;
//!         assert_eq!(sent.user_data(), 7);
//!         Ok(sent.result()?.cast_signed())
//!     })
//! };
//! let message = here.wait_one(Some(Duration::from_secs(10)))?.ok_or("it did not start")?;
//! assert_eq!((message.user_data(), message.res()), (WORK, 42));
//! assert_eq!(there.join().expect("it does not panic").expect("a ring"), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What is guaranteed
//!
//! - A ring that cannot be made is an error of whoever asked for it, with the reason; the
//!   set and its other members go on.
//! - Messages from one member to another arrive once each, in the order in which the kernel
//!   executes them: that of submission, but for links, drains and ASYNC. Nothing holds a fast
//!   sender back: what does not fit into the receiver's CQ waits in the kernel, in order.
//! - A descriptor goes another way than messages, and may come before earlier and after later
//!   ones: a message that relies on it is sent when the descriptor's own CQE has come.
//! - A message is in the receiver's CQ when its sender has been told that it was accepted.
//!   One that the receiver does not reap before it goes is lost; to lose none, a member
//!   [retires](Member::retire) first, and goes when its senders have had their answers.
//! - A message to a member that has gone is refused: `EBADFD` in the CQE of
//!   [`prep_msg_ring`](crate::Sqe::prep_msg_ring), [`SendError::Gone`] from [`Peer::send`].
//!   (Before Linux 6.4, one that is linked behind an operation that a worker does is lost
//!   instead, if the member goes after the submit.)
//!   The descriptor number by which a member is known goes to nobody else for as long as
//!   anybody has its [`Peer`].

mod member;
mod peer;

use std::fmt;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use crate::Local;
use crate::setup::{Builder, SetupError};
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::sync::{Mutex, MutexGuard, unpoisoned};
use crate::syscall::Errno;

pub use member::Member;
pub use peer::{MemberId, Peer, SendError};

/// A ring for each thread, behind one handle. Clones are handles of the same set.
///
/// The set keeps two descriptors for each member (its ring, and the number by which
/// others know it) and one of its own.
#[derive(Clone)]
pub struct Set {
    shared: Arc<Shared>,
}

/// What all handles and members share. Not touched by operations.
struct Shared {
    builder: SetBuilder,
    /// What takes the number of a member that has gone: open, and no ring.
    tombstone: OwnedFd,
    /// Set together with the table's; a hint that needs no lock.
    closed: AtomicBool,
    table: Mutex<Table>,
}

struct Table {
    closed: bool,
    /// Members, and those that are being made.
    places: u32,
    next: u64,
    peers: Vec<Peer>,
}

/// Why a thread did not become a member, or a set was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError {
    /// The set was [closed](Set::close).
    Closed,
    /// There are as many members as there may be.
    Full {
        /// [`SetBuilder::max_members`].
        max: u32,
    },
    /// The thread's ring was not made.
    Setup(SetupError),
    /// No descriptor could be made: the one by which others know the member, or the one that
    /// takes the place of members that have gone.
    Descriptor(Errno),
    /// The thread is ending: its thread-local values are gone.
    ThreadEnds,
}

impl From<SetupError> for SetError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the set of rings is closed"),
            Self::Full { max } => write!(f, "the set of rings has its {max} members"),
            Self::Setup(error) => error.fmt(f),
            Self::Descriptor(errno) => write!(f, "no descriptor for the set of rings: {errno}"),
            Self::ThreadEnds => f.write_str("the thread is ending and gets no ring any more"),
        }
    }
}

impl std::error::Error for SetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setup(error) => Some(error),
            Self::Descriptor(errno) => Some(errno),
            _ => None,
        }
    }
}

/// Describes a set; see [`Set::builder`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder makes no set until it is built"]
pub struct SetBuilder {
    ring: Builder<'static>,
    exact: bool,
    max_members: u32,
}

impl SetBuilder {
    /// How many threads may be members at a time, 1 or more (of 0 nobody can be); as many as like
    /// unless told.
    pub fn max_members(mut self, max: u32) -> Self {
        self.max_members = max;
        self
    }

    /// Makes the rings with exactly the flags that were given. Otherwise they also have
    /// SINGLE_ISSUER, DEFER_TASKRUN and TASKRUN_FLAG, unless the kernel is older than those
    /// (Linux 6.1) or a flag that was given (SQPOLL) excludes them.
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Makes the set, which has no ring yet.
    ///
    /// # Errors
    ///
    /// [`SetError::Descriptor`].
    pub fn build(self) -> Result<Set, SetError> {
        // SAFETY: eventfd(2) takes no pointer.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if raw < 0 {
            return Err(SetError::Descriptor(Errno::last()));
        }
        // SAFETY: the kernel just opened this file descriptor for this call alone.
        let tombstone = unsafe { OwnedFd::from_raw_fd(raw) };
        let table = Table {
            closed: false,
            places: 0,
            next: 0,
            peers: Vec::new(),
        };
        Ok(Set {
            shared: Arc::new(Shared {
                builder: self,
                tombstone,
                closed: AtomicBool::new(false),
                table: Mutex::new(table),
            }),
        })
    }

    /// A ring of the calling thread's.
    fn ring(&self) -> Result<Local, SetupError> {
        if self.exact {
            return self.ring.build_local();
        }
        let deferring = self.ring.single_issuer().defer_taskrun().taskrun_flag();
        match deferring.build_local() {
            Err(SetupError::UnsupportedFlag { .. } | SetupError::Excludes { .. }) => {
                self.ring.build_local()
            }
            built => built,
        }
    }
}

impl Set {
    /// Settings of a set whose members get rings of these settings.
    ///
    /// ```
    /// use ringway::{Order, Ring, set::Set};
    ///
    /// let ring = Ring::builder(256).order(Order::Claim);
    /// let set = Set::builder(ring).max_members(8).build()?;
    /// # Ok::<(), ringway::set::SetError>(())
    /// ```
    pub fn builder(ring: Builder<'static>) -> SetBuilder {
        SetBuilder {
            ring,
            exact: false,
            max_members: u32::MAX,
        }
    }

    /// The members of this moment, in the order in which they came. Takes a lock and
    /// allocates: not for the hot path, where each thread keeps the [`Peer`]s it talks to.
    pub fn peers(&self) -> Vec<Peer> {
        self.shared.table().peers.clone()
    }

    /// The member of this id; `None` when it has gone. Takes a lock.
    pub fn peer(&self, id: MemberId) -> Option<Peer> {
        let table = self.shared.table();
        // Ids grow, and members are added in their order.
        let at = table.peers.binary_search_by_key(&id, Peer::id).ok()?;
        Some(table.peers[at].clone())
    }

    /// Closes the set: no thread becomes a member any more, and each member gets a message
    /// with this `user_data`, which ends its wait. Members stay until they go by
    /// themselves. Any thread; the answer is how many members were told.
    ///
    /// A second call does nothing, and answers 0.
    ///
    /// # Errors
    ///
    /// Why a member could not be told. The set is closed all the same, and all others were
    /// told; that member has to look at [`Member::is_closed`]. [`SendError::Unsupported`] before
    /// Linux 6.13.
    pub fn close(&self, user_data: u64) -> Result<usize, SendError> {
        let peers = {
            let mut table = self.shared.table();
            if table.closed {
                return Ok(0);
            }
            table.closed = true;
            // Ordering: Relaxed; a member that is told has it by way of the message.
            self.shared.closed.store(true, Relaxed);
            table.peers.clone()
        };
        let mut told = 0;
        let mut untold = None;
        for peer in peers {
            match peer.send(user_data, 0) {
                Ok(()) => told += 1,
                Err(SendError::Gone) => {}
                Err(error) => untold = Some(error),
            }
        }
        untold.map_or(Ok(told), Err)
    }

    /// Whether the set was closed. Costs a load.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        // Ordering: Relaxed; see `close`.
        self.closed.load(Relaxed)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that could panic runs under the lock.
        unpoisoned(self.table.lock())
    }

    /// Takes a place among the members.
    fn reserve(self: &Arc<Self>) -> Result<Place, SetError> {
        let mut table = self.table();
        let max = self.builder.max_members;
        if table.closed {
            return Err(SetError::Closed);
        }
        if table.places >= max {
            return Err(SetError::Full { max });
        }
        table.places += 1;
        Ok(Place(self.clone()))
    }

    /// Makes the ring known to others.
    fn enter(&self, ring: &Local) -> Result<Peer, SetError> {
        let fd = ring.fd().ok_or(SetupError::Refused {
            flag: "REGISTERED_FD_ONLY",
            reason: "other threads of the set could not name the ring",
        })?;
        let fd = fd
            .try_clone_to_owned()
            .map_err(|error| SetError::Descriptor(errno_of(&error)))?;
        let mut table = self.table();
        if table.closed {
            return Err(SetError::Closed);
        }
        let peer = Peer::new(MemberId(table.next), fd);
        table.next += 1;
        table.peers.push(peer.clone());
        Ok(peer)
    }

    /// Makes it unknown again, and refuses what is still on its way there.
    fn retire(&self, peer: &Peer) {
        self.table().peers.retain(|other| other.id() != peer.id());
        peer.retire(self.tombstone.as_fd());
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// A place among the members, given back when dropped.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.table().places -= 1;
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("members", &self.shared.table().peers.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
