//! Other sizes for a ring that runs.

use super::EnterError;
use super::core::Core;
use super::cq::CqQueue;
use super::kernel::Kernel;
use super::local::Local;
use super::sq::{Claim, SqQueue};
use super::view::{CqView, SqView};
use crate::abi::{Params, Sqe, register, setup};
use crate::mapping::{self, EntrySize, MapError, Mapping, RingMemory};
use crate::setup::{Order, SetupError, check_entries};
use crate::sync::ReadMarks;
use crate::syscall::Errno;
use std::sync::Arc;
use std::{fmt, ptr};

/// Why a ring has not been resized. But for [`Unmapped`](Self::Unmapped), it is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResizeError {
    /// The kernel resizes only rings with DEFER_TASKRUN.
    NotDeferred,
    /// A size that no ring can have, or that is too small for what lies in the ring.
    Size(SetupError),
    /// The ring has buffer rings ([`BufRing`](crate::register::BufRing)): drop them first,
    /// and register them anew afterwards.
    BufRings,
    /// SQEs of mixed sizes lie in the ring, which could be cut by its new end: submit first.
    MixedSqes,
    /// This many slots were popped and neither pushed nor dropped, but forgotten
    /// (`std::mem::forget`), or in claim order lie behind one that was: the kernel has no place for them in another ring.
    SlotsForgotten(u32),
    /// The ring has an index array ([`Order::Any`]), and it does not lie where it is known to
    /// lie. The kernel does not say where it will lie in the new rings. Build with
    /// [`Order::Claim`].
    UnknownLayout,
    /// There is no room for the memory of the new rings: what `mmap(2)` or `madvise(2)`
    /// said.
    NoRoom(Errno),
    /// An earlier failure has made the ring unusable.
    Enter(EnterError),
    /// What the kernel said: EINVAL before Linux 6.13; ENOMEM; EACCES if a restriction
    /// forbids it.
    Kernel(Errno),
    /// The kernel has resized, and the new rings could not be mapped, although there was room
    /// before: this ring is lost, and says [`EnterError::CompletionLost`] from now on.
    Unmapped(Errno),
}

impl fmt::Display for ResizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDeferred => f.write_str(
                "only a ring that was built with defer_taskrun can be resized by the kernel",
            ),
            Self::MixedSqes => f.write_str("SQEs of mixed sizes are pending: submit them first"),
            Self::BufRings => f.write_str("drop the buffer rings of the ring before a resize"),
            Self::Size(error) => error.fmt(f),
            Self::SlotsForgotten(count) => write!(
                f,
                "{count} slots were forgotten: push or drop each slot before the ring is resized"
            ),
            Self::UnknownLayout => f.write_str(
                "this kernel lays rings out in an unknown way: use Order::Claim, which needs no \
                 index array",
            ),
            Self::NoRoom(errno) => write!(f, "no room for the memory of the new rings: {errno}"),
            Self::Enter(error) => error.fmt(f),
            Self::Kernel(errno) => write!(f, "the kernel refused to resize the ring: {errno}"),
            Self::Unmapped(errno) => write!(
                f,
                "the resized ring could not be mapped ({errno}): make a new ring, never reuse \
                 the buffers in flight"
            ),
        }
    }
}

impl std::error::Error for ResizeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoRoom(errno) | Self::Kernel(errno) | Self::Unmapped(errno) => Some(errno),
            Self::Size(error) => Some(error),
            Self::Enter(error) => Some(error),
            Self::NotDeferred
            | Self::MixedSqes
            | Self::BufRings
            | Self::UnknownLayout
            | Self::SlotsForgotten(_) => None,
        }
    }
}

impl Local {
    /// Gives the ring an SQ of `sq_entries` and a CQ of `cq_entries`, larger or smaller
    /// than it has: powers of two, within the limits that they have at setup. What is
    /// pushed and not submitted, and what has completed and is not reaped, stays in the
    /// ring in its order; operations in flight do not notice. After an overflow, a larger
    /// CQ takes the completions that the kernel holds back as they are waited for or
    /// reaped.
    ///
    /// For rings with DEFER_TASKRUN. Linux 6.13; `io_uring_resize_rings(3)`. The kernel
    /// waits for other CPUs, which takes some milliseconds at worst. Wakers keep working.
    ///
    /// No slot may be held meanwhile:
    ///
    /// ```compile_fail
    /// let mut ring = ringway::Ring::builder(8).build_local().unwrap();
    /// let slot = ring.pop().unwrap();
    /// ring.resize(16, 32);
    /// slot.push();
    /// ```
    ///
    /// # Errors
    ///
    /// See [`ResizeError`]. The ring works on as it was, except after
    /// [`ResizeError::Unmapped`].
    ///
    /// ```
    /// use ringway::{ResizeError, Ring};
    ///
    /// let mut ring = Ring::builder(8).single_issuer().defer_taskrun().build_local()?;
    /// ring.pop_batch(8).expect("an empty ring").push();
    /// match ring.resize(64, 4096) {
    ///     Err(ResizeError::Kernel(errno)) if errno.raw() == libc::EINVAL => return Ok(()), // Linux 6.12
    ///     resized => resized?,
    /// }
    /// assert_eq!((ring.sq_entries(), ring.cq_entries()), (64, 4096));
    /// ring.submit_and_wait(8, None)?;
    /// assert_eq!(ring.ready(), 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resize(&mut self, sq_entries: u32, cq_entries: u32) -> Result<(), ResizeError> {
        self.settled();
        let core = Arc::get_mut(&mut self.core).ok_or(ResizeError::BufRings)?;
        if core.params.flags & setup::DEFER_TASKRUN == 0 {
            return Err(ResizeError::NotDeferred);
        }
        core.check_poison().map_err(ResizeError::Enter)?;
        if core.sq.view.sqe_size() == EntrySize::Mixed && core.sq.in_use() > 0 {
            return Err(ResizeError::MixedSqes);
        }
        check_entries(
            sq_entries,
            Some(cq_entries),
            core.params.flags & !setup::CLAMP,
        )
        .map_err(ResizeError::Size)?;
        core.resize(sq_entries, cq_entries)
    }
}

impl Core {
    /// With DEFER_TASKRUN the kernel touches the rings only while this thread, which is the
    /// only one, is in it. So between two calls they are this function's.
    fn resize(&mut self, sq_entries: u32, cq_entries: u32) -> Result<(), ResizeError> {
        let pushed = self.pushed()?;
        // As many as there are slots, at most.
        let pending = pushed.len() as u32;
        fits(
            "entries",
            sq_entries,
            pending,
            "as many are pushed and not submitted",
        )?;
        fits(
            "cq_entries",
            cq_entries,
            self.cq.ready(),
            "as many are ready and not reaped",
        )?;
        let no_room = |error: MapError| ResizeError::NoRoom(error.errno());

        let fd = self.ring_fd();
        let fd = fd.ok_or(ResizeError::Kernel(Errno::from_raw(libc::ENXIO)))?;
        let flags = self.params.flags;
        // With NO_MMAP the new memory. Otherwise as much address space: it shows that there
        // is room before the kernel leaves the old memory, and is given back for it.
        let room = RingMemory::of_user(flags, sq_entries, cq_entries).map_err(no_room)?;
        let mut answer = Params {
            sq_entries,
            cq_entries,
            flags: setup::CQSIZE,
            ..Params::default()
        };
        if flags & setup::NO_MMAP != 0 {
            answer.cq_off.user_addr = room.ring_addr();
            answer.sq_off.user_addr = room.sqes_addr();
        }
        if flags & setup::NO_SQARRAY == 0 {
            let array = mapping::sq_array(&self.params, cq_entries);
            answer.sq_off.array = array.ok_or(ResizeError::UnknownLayout)?;
        }
        // SAFETY: the kernel reads and writes one `struct io_uring_params` during the call;
        // the memory that it names is `room`, which stays as long as the ring.
        unsafe { fd.register(register::RESIZE_RINGS, ptr::from_mut(&mut answer).cast(), 1) }
            .map_err(ResizeError::Kernel)?;

        let params = Params {
            flags,
            features: self.params.features,
            ..answer
        };
        let mapped = match fd.borrow() {
            Some(fd) if flags & setup::NO_MMAP == 0 => {
                drop(room);
                Mapping::of_kernel(fd, &params)
            }
            _ => Mapping::measure(room, &params),
        };
        let mapping = mapped.map_err(|error| {
            self.poison();
            ResizeError::Unmapped(error.errno())
        })?;
        self.move_to(mapping, pushed);
        Ok(())
    }

    /// What is pushed and not yet the kernel's, in its order.
    fn pushed(&self) -> Result<Vec<[Sqe; 2]>, ResizeError> {
        let tail = self.sq.publish_local() as u32;
        let view = &self.sq.view;
        let head = view.head();
        let count = tail.wrapping_sub(head);
        let forgotten = self.sq.in_use().saturating_sub(count);
        if forgotten > 0 {
            return Err(ResizeError::SlotsForgotten(forgotten));
        }
        let places = (0..count).map(|i| head.wrapping_add(i));
        let slots = places.map(|place| view.index(view.cell(place.into())));
        let sqes = view.sqes();
        // SAFETY: the slots are the ring's; they were pushed, and the kernel is not at them.
        let read = |slot| unsafe {
            let first = sqes.of(slot).with_mut(|sqe| sqe.read());
            let second = match sqes.are_big() {
                true => sqes.second_half_of(slot).with_mut(|half| half.read()),
                false => Sqe::default(),
            };
            [first, second]
        };
        Ok(slots.map(read).collect())
    }

    /// Goes on in the new rings, which have the old ones' heads and tails.
    ///
    /// The kernel has copied what lies between them, but wrongly: by its place in the SQ,
    /// not by the index array, which it has not copied; nothing, where a counter wraps in
    /// between; and a half of each entry that is larger than the smallest.
    fn move_to(&mut self, mapping: Mapping, pushed: Vec<[Sqe; 2]>) {
        let pointers = mapping.pointers();
        // SAFETY: the mapping is put where the core holds it, below, and was made for this
        // core alone.
        let (sq, cq) = unsafe { (SqView::new(pointers), CqView::new(pointers)) };
        let head = cq.head();
        let count = cq.tail().wrapping_sub(head);
        self.cq = CqQueue::new(cq, ReadMarks::new(pointers.cq_entries));
        let order = match self.params.flags & setup::NO_SQARRAY {
            0 => Order::Any,
            _ => Order::Claim,
        };
        self.sq = requeue(sq, order, pushed, self.detours());
        match &mut self.kernel {
            Kernel::Real(real) => {
                // SAFETY: nobody else is at either ring now, and CQEs keep their size.
                unsafe { mapping.copy_cqes(&real.mapping, head, count) };
                real.mapping = mapping;
            }
            // There is no simulated local ring.
            #[cfg(feature = "sim")]
            Kernel::Simulated(_) => {}
        }
    }
}

/// A queue in which exactly these are pushed.
fn requeue(view: SqView, order: Order, pushed: Vec<[Sqe; 2]>, detours: u32) -> SqQueue {
    // The tail goes back to where the head is: the queue begins empty.
    let head = view.head();
    view.set_tail(head);
    let queue = SqQueue::new(view, order).owned(detours);
    if let Some(claim) = queue.pop_batch::<Local>(pushed.len() as u32) {
        write(&queue, claim, pushed);
        queue.push::<Local>(claim);
    }
    queue
}

fn write(queue: &SqQueue, claim: Claim, pushed: Vec<[Sqe; 2]>) {
    // SAFETY: the claim is the caller's, which pushes it afterwards.
    for (slot, [first, second]) in unsafe { queue.walk(claim) }.zip(pushed) {
        let sqes = queue.view.sqes();
        // SAFETY: the claim made the slots the caller's, and there is no reference into
        // them.
        unsafe {
            sqes.of(slot).with_mut(|sqe| sqe.write(first));
            if sqes.are_big() {
                sqes.second_half_of(slot)
                    .with_mut(|half| half.write(second));
            }
        }
    }
}

fn fits(
    argument: &'static str,
    given: u32,
    pending: u32,
    reason: &'static str,
) -> Result<(), ResizeError> {
    if given >= pending {
        return Ok(());
    }
    Err(ResizeError::Size(SetupError::TooFew {
        argument,
        given,
        min: pending.next_power_of_two(),
        reason,
    }))
}
