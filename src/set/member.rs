//! A thread's part in a set.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::{MemberId, Peer, Place, Set, SetError, Shared};
use crate::Local;

/// A thread's ring in a [`Set`]: all calls of [`Local`], which it dereferences to. A call
/// costs one load more than on a `Local`.
///
/// Clones are handles of the same ring. The ring is closed with the last of them, at the
/// latest with its thread; closing does not wait for operations in flight, see
/// [`Ring`](crate::Ring). (A [`Waker`](crate::Waker) of the ring keeps it open longer; the
/// member's [`Peer`] wakes as well, and does not.)
///
/// It cannot leave its thread:
///
/// ```compile_fail
/// let set = ringway::set::Set::builder(ringway::Ring::builder(8)).build().unwrap();
/// let member = set.member().unwrap();
/// std::thread::spawn(move || member.submit());
/// ```
#[derive(Clone)]
pub struct Member {
    seat: Rc<Seat>,
}

/// Dropped in this order: others are told, the ring is closed, the place is free.
struct Seat {
    ring: Local,
    peer: Peer,
    place: Place,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.place.0.retire(&self.peer);
    }
}

/// What a thread knows of its members.
enum Known {
    /// Made by [`Set::with`]: kept until the thread ends.
    Kept(Member),
    /// Made by [`Set::member`]: others keep it.
    Seen(Weak<Seat>),
}

thread_local! {
    static HERE: RefCell<Vec<(*const Shared, Known)>> = const { RefCell::new(Vec::new()) };
}

impl Known {
    #[inline]
    fn member(&self) -> Option<Member> {
        match self {
            Self::Kept(member) => Some(member.clone()),
            Self::Seen(seat) => seat.upgrade().map(|seat| Member { seat }),
        }
    }
}

impl Set {
    /// The calling thread's ring in this set, made if there is none. Each ring takes a few
    /// system calls to make: do it once, and keep the member.
    ///
    /// The ring goes with the last [`Member`] of the thread.
    ///
    /// # Errors
    ///
    /// See [`SetError`]; nothing is left behind. A thread that has a ring gets it also when
    /// the set is closed.
    pub fn member(&self) -> Result<Member, SetError> {
        match self.here()? {
            Some(member) => Ok(member),
            None => self.join(|member| Known::Seen(Rc::downgrade(&member.seat))),
        }
    }

    /// Calls `body` with the calling thread's ring, for code that has only the handle. The
    /// ring is made if there is none, and then stays until the thread ends or
    /// [leaves](Self::leave). Costs a look at a thread-local list, some 40 instructions where
    /// the thread is in one set; no allocation.
    ///
    /// ```
    /// use ringway::{Ring, set::Set};
    ///
    /// let set = Set::builder(Ring::builder(8)).build()?;
    /// let nop = |user_data| set.with(|ring| {
    ///     let mut slot = ring.pop().expect("few are in flight");
    ///     // SAFETY: a NOP holds no pointer.
    ///     unsafe { slot.prep_nop() }.user_data(user_data);
    ///     slot.push();
    ///     ring.submit()
    /// });
    /// nop(1)??;
    /// nop(2)??;
    /// let seen = [(); 2].map(|()| set.with(|ring| ring.reap().map(|cqe| cqe.user_data())));
    /// assert_eq!(seen, [Ok(Some(1)), Ok(Some(2))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`member`](Self::member); `body` was not called.
    #[inline]
    pub fn with<R>(&self, body: impl FnOnce(&Member) -> R) -> Result<R, SetError> {
        let member = match self.here()? {
            Some(member) => member,
            None => self.join(|member| Known::Kept(member.clone()))?,
        };
        Ok(body(&member))
    }

    /// Lets go of the ring that [`with`](Self::with) has made for the calling thread. It is
    /// closed, unless the thread has a [`Member`] of it. Does nothing where there is none.
    pub fn leave(&self) {
        let set = Arc::as_ptr(&self.shared);
        // A ring is not closed while the list is borrowed.
        let left = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            let at = here.iter().position(|(of, _)| *of == set)?;
            let member = here[at].1.member()?;
            here[at].1 = Known::Seen(Rc::downgrade(&member.seat));
            Some(member)
        });
        drop(left);
    }

    /// The thread's member, if it has one.
    #[inline]
    fn here(&self) -> Result<Option<Member>, SetError> {
        let set = Arc::as_ptr(&self.shared);
        HERE.try_with(|here| {
            // A member that is alive holds its set, so that its address is nobody else's.
            let here = here.borrow();
            let known = here.iter().find(|(of, _)| *of == set);
            known.and_then(|(_, known)| known.member())
        })
        .map_err(|_| SetError::ThreadEnds)
    }

    #[cold]
    fn join(&self, know: impl FnOnce(&Member) -> Known) -> Result<Member, SetError> {
        let place = self.shared.reserve()?;
        let ring = self.shared.builder.ring()?;
        let peer = self.shared.enter(&ring)?;
        let seat = Rc::new(Seat { ring, peer, place });
        let member = Member { seat };
        let known = know(&member);
        let set = Arc::as_ptr(&self.shared);
        HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            here.retain(|(_, known)| known.is_alive());
            here.push((set, known));
        })
        .map_err(|_| SetError::ThreadEnds)?;
        Ok(member)
    }
}

impl Known {
    fn is_alive(&self) -> bool {
        match self {
            Self::Kept(_) => true,
            Self::Seen(seat) => seat.strong_count() > 0,
        }
    }
}

impl Member {
    /// Its number in the set.
    pub fn id(&self) -> MemberId {
        self.seat.peer.id()
    }

    /// Its address, for others: to send messages to it, and to wake it.
    pub fn peer(&self) -> &Peer {
        &self.seat.peer
    }

    /// Whether the set was closed. Costs a load.
    pub fn is_closed(&self) -> bool {
        self.seat.place.0.is_closed()
    }

    /// Takes no messages any more: from now on they are refused as if the member had gone.
    /// Those that were accepted can be reaped; one that is on its way at this moment is
    /// refused, or in the CQ when its sender knows that it was accepted. The ring goes on;
    /// the set does not list it any more.
    pub fn retire(&self) {
        self.seat.place.0.retire(&self.seat.peer);
    }
}

impl Deref for Member {
    type Target = Local;

    #[inline(always)]
    fn deref(&self) -> &Local {
        &self.seat.ring
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id())
            .field("ring", &self.seat.ring)
            .finish_non_exhaustive()
    }
}
