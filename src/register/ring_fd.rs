//! A shared ring by an index of one thread's.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::abi::Cqe;
use crate::ring::{Core, EnterError, Ring, Waited};
use crate::setup::RegisteredIndex;
use crate::syscall::Errno;

/// A shared [`Ring`] as one thread enters it by an index instead of a descriptor:
/// [`Ring::register_ring_fd`].
///
/// The index means something on its thread only, and the handle stays there:
///
/// ```compile_fail
/// let ring = ringway::Ring::builder(8).build().unwrap();
/// let here = ring.register_ring_fd().unwrap();
/// std::thread::spawn(move || here.submit());
/// ```
///
/// Dropped, it gives the place back (`IORING_UNREGISTER_RING_FDS`). A thread that exits
/// gives all its places back. Until then the place holds the ring open, also when every
/// other handle is gone. On a ring with restrictions that do not allow
/// `UNREGISTER_RING_FDS`, the place is given back only when the thread exits.
pub struct RegisteredRing {
    core: Arc<Core>,
    index: RegisteredIndex,
    thread: PhantomData<*mut ()>,
}

impl Ring {
    /// Registers the ring with the calling thread, which then enters it without looking
    /// its descriptor up: cheaper in a process of several threads. Linux 5.18;
    /// `io_uring_register_ring_fd(3)`.
    ///
    /// A thread has 16 places, for all rings together. Each call takes one, also for a ring
    /// that the thread has registered already.
    ///
    /// ```
    /// use ringway::Ring;
    ///
    /// let ring = Ring::builder(8).build()?;
    /// let here = ring.register_ring_fd()?;
    ///
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: a NOP holds no pointer.
    /// unsafe { slot.prep_nop() }.user_data(7);
    /// slot.push();
    /// here.submit()?;
    /// assert_eq!(here.wait_one(None)?.map(|cqe| cqe.user_data()), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `EBUSY` when all places are taken; `ENOMEM`; `EACCES` if a restriction forbids it;
    /// `ENXIO` for a simulated ring.
    pub fn register_ring_fd(&self) -> Result<RegisteredRing, Errno> {
        let fd = self.core.ring_fd().and_then(|fd| fd.shared());
        let fd = fd.ok_or(Errno::from_raw(libc::ENXIO))?;
        let index = RegisteredIndex::of(fd, self.features().bits())?;
        Ok(RegisteredRing {
            core: self.core.clone(),
            index,
            thread: PhantomData,
        })
    }
}

impl RegisteredRing {
    /// As [`Sq::submit`](crate::Sq::submit).
    ///
    /// # Errors
    ///
    /// See there.
    #[inline]
    pub fn submit(&self) -> Result<(), EnterError> {
        self.core.submit_by((&self.index).into())
    }

    /// As [`Sq::wait_for_space`](crate::Sq::wait_for_space).
    ///
    /// # Errors
    ///
    /// See there.
    pub fn wait_for_space(&self) -> Result<(), EnterError> {
        self.core.wait_for_space((&self.index).into())
    }

    /// As [`Cq::wait`](crate::Cq::wait).
    ///
    /// # Errors
    ///
    /// See there.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Waited, EnterError> {
        let by = (&self.index).into();
        self.core
            .wait(by, timeout, || ())
            .map(|(waited, ())| waited)
    }

    /// As [`Cq::wait_one`](crate::Cq::wait_one).
    ///
    /// # Errors
    ///
    /// See there.
    pub fn wait_one(&self, timeout: Option<Duration>) -> Result<Option<Cqe>, EnterError> {
        self.core.wait_one::<Ring>((&self.index).into(), timeout)
    }

    /// As [`Cq::wait_reap`](crate::Cq::wait_reap).
    ///
    /// # Errors
    ///
    /// See there.
    pub fn wait_reap(
        &self,
        out: &mut [Cqe],
        timeout: Option<Duration>,
    ) -> Result<usize, EnterError> {
        let by = (&self.index).into();
        let reap = || self.core.reap_batch::<Ring>(out);
        self.core.wait(by, timeout, reap).map(|(_, count)| count)
    }

    /// The place, 0 to 15: what `io_uring_enter(2)` takes as `fd` with
    /// `IORING_ENTER_REGISTERED_RING`, on this thread.
    pub fn index(&self) -> u32 {
        self.index.index()
    }
}

impl fmt::Debug for RegisteredRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredRing")
            .field("index", &self.index())
            .finish_non_exhaustive()
    }
}
