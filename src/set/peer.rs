//! A member as others know it.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::ring::message;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::syscall::Errno;

/// The number of a member in its set: the first has 0, and no number comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(super) u64);

impl MemberId {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address of a [`Member`](super::Member), for any thread; clones are the same
/// address. It does not keep the member's ring open.
///
/// For a prep it is a descriptor: `prep_msg_ring(&peer, ..)` and `prep_msg_ring_fd(&peer,
/// ..)`, on any ring, send through that ring, in order with its other operations. "The ring
/// stays open until the CQE" then means: a clone of the `Peer` is kept until the CQE. The
/// number of the descriptor names this member for as long as there is one; once it has
/// gone, nothing that could be messaged (`EBADFD`).
///
/// ```
/// use ringway::{Ring, set::Set};
/// use ringway::prep::{Fixed, MsgRingFlags};
/// use std::io::Write;
/// use std::os::fd::AsFd;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let set = Set::builder(Ring::builder(8)).build()?;
/// let (reader, mut writer) = std::io::pipe()?;
/// let receiver = set.member()?;
/// receiver.registrar().register_files_sparse(4)?;
/// let to = receiver.peer().clone();
///
/// // Any ring can send: here one that is not of the set.
/// let sender = Ring::builder(8).build()?;
/// sender.registrar().register_files(&[Some(reader.as_fd())])?;
/// let sq = sender.sq();
/// let mut slot = sq.pop().expect("the ring is empty");
/// // SAFETY: `to` is kept until the CQE; the receiver knows 5.
/// unsafe { slot.prep_msg_ring_fd_alloc(&to, Fixed(0), 5, MsgRingFlags::NONE) };
/// slot.push();
/// sender.submit()?;
///
/// let message = receiver.wait_one(None)?.expect("there is no timeout");
/// let pipe = Fixed(message.result()?);
/// writer.write_all(b"hello")?;
/// let text = Box::leak(Box::new([0u8; 5])); // stays, also if a `?` returns early
/// let mut slot = receiver.pop().expect("the ring is empty");
/// // SAFETY: `text` is never freed, and left alone until the CQE is here.
/// unsafe { slot.prep_read(pipe, text.as_mut_ptr(), 5, u64::MAX) };
/// slot.push();
/// receiver.submit()?;
/// receiver.wait_one(None)?.expect("there is no timeout").result()?;
/// assert_eq!(text, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Peer {
    inbox: Arc<Inbox>,
}

struct Inbox {
    id: MemberId,
    /// A second descriptor of the member's ring, until it is one of the tombstone.
    fd: OwnedFd,
    gone: AtomicBool,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The member has gone, or takes no messages any more.
    Gone,
    /// The kernel cannot send messages from no ring (before Linux 6.13): send through one.
    Unsupported,
    /// Something else: `ENOMEM` and `EOVERFLOW` when the kernel has no memory for the
    /// message; `EAGAIN` for an IOPOLL ring that is in use just now.
    Kernel(Errno),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the member has gone"),
            Self::Unsupported => f.write_str("messages from no ring came with Linux 6.13"),
            Self::Kernel(errno) => write!(f, "the message was refused: {errno}"),
        }
    }
}

impl std::error::Error for SendError {}

impl Peer {
    pub(super) fn new(id: MemberId, fd: OwnedFd) -> Self {
        Self {
            inbox: Arc::new(Inbox {
                id,
                fd,
                gone: AtomicBool::new(false),
            }),
        }
    }

    /// Which member.
    pub fn id(&self) -> MemberId {
        self.inbox.id
    }

    /// Whether it takes no messages any more. A member that has not gone may go the moment
    /// after.
    pub fn is_gone(&self) -> bool {
        // Ordering: Relaxed; a hint. What a message meets is the descriptor.
        self.inbox.gone.load(Relaxed)
    }

    /// Posts a CQE with this `user_data` and this `res` to the member, from any thread, in a
    /// system call of its own (`IORING_REGISTER_SEND_MSG_RING`, Linux 6.13). It ends the
    /// member's wait. Does not block. Where messages come often, a ring sends them cheaper;
    /// see [`Peer`].
    ///
    /// The receiver must know the `user_data` for a message's.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(&self, user_data: u64, res: i32) -> Result<(), SendError> {
        if self.is_gone() {
            return Err(SendError::Gone);
        }
        match message(self.as_fd(), res.cast_unsigned(), user_data, 0) {
            Ok(()) => Ok(()),
            Err(errno) => Err(match errno.raw() {
                libc::EBADFD => SendError::Gone,
                libc::EINVAL => SendError::Unsupported,
                _ => SendError::Kernel(errno),
            }),
        }
    }

    /// Ends the member's wait: a message with `res` 0.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn wake(&self, user_data: u64) -> Result<(), SendError> {
        self.send(user_data, 0)
    }

    /// Puts the tombstone in the ring's place, in one step: who looks the number up finds
    /// the one or the other. By the member's thread.
    pub(super) fn retire(&self, tombstone: BorrowedFd<'_>) {
        // Ordering: Relaxed; see `is_gone`.
        self.inbox.gone.store(true, Relaxed);
        let (from, to) = (tombstone.as_raw_fd(), self.inbox.fd.as_raw_fd());
        // SAFETY: both descriptors are ours and stay open; nobody relies on which file the
        // second one is. Both being open, it fails only where a filter forbids the call: the
        // ring then stays open, unread, as long as there is a `Peer`, and the flag refuses
        // what goes by `send`.
        unsafe { libc::dup3(from, to, libc::O_CLOEXEC) };
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.fd.as_fd()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id())
            .field("gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sender meets whose look at the flag came before the member went.
    #[test]
    fn what_is_no_ring_has_gone() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let peer = Peer::new(MemberId(3), file.into());
        // What the kernel says of a ring tells whether it has messages.
        let ring = crate::Ring::builder(1).build().unwrap();
        let expected = match message(ring.fd().unwrap(), 1, 1, 0) {
            Ok(()) => SendError::Gone,
            Err(errno) => {
                assert_eq!(errno.raw(), libc::EINVAL);
                SendError::Unsupported
            }
        };
        assert_eq!(peer.send(1, 1), Err(expected));
        assert_eq!(
            format!("{peer:?}"),
            "Peer { id: MemberId(3), gone: false, .. }"
        );
    }
}
