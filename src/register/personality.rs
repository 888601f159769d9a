//! Registered credentials.

use std::ptr;

use super::Registrar;
use crate::abi::register;
use crate::syscall::Errno;

impl Registrar<'_> {
    /// Registers the credentials that this thread has now, for
    /// [`Sqe::personality`](crate::Sqe::personality); the answer is their id, never 0.
    ///
    /// They stay with the ring when the thread changes its own, or exits. Linux 5.6;
    /// `io_uring_register_personality(3)`.
    ///
    /// ```
    /// use ringway::Ring;
    ///
    /// let ring = Ring::builder(8).build()?;
    /// let me = ring.registrar().register_personality()?;
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: a NOP names nothing.
    /// unsafe { slot.prep_nop() }.personality(me);
    /// slot.push();
    /// ring.submit()?;
    /// let cqe = ring.cq().wait_one(None)?.expect("no time limit");
    /// assert_eq!(cqe.result()?, 0);
    /// ring.registrar().unregister_personality(me)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `EBUSY` when all 65535 ids are taken; `ENOMEM`.
    pub fn register_personality(self) -> Result<u16, Errno> {
        // SAFETY: the opcode takes no argument.
        let id = unsafe { self.register(register::PERSONALITY, ptr::null_mut(), 0) }?;
        // The kernel gives ids that fit the SQE's field.
        u16::try_from(id).map_err(|_| Errno::from_raw(libc::EOVERFLOW))
    }

    /// Forgets registered credentials.
    ///
    /// Operations that the kernel has taken keep theirs; for later ones the id is unknown,
    /// until it is given out again. Linux 5.6; `io_uring_unregister_personality(3)`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an unknown id.
    pub fn unregister_personality(self, id: u16) -> Result<(), Errno> {
        // SAFETY: the opcode takes an id in place of a count, and no argument.
        unsafe {
            self.register(
                register::UNREGISTER_PERSONALITY,
                ptr::null_mut(),
                u32::from(id),
            )
        }
        .map(|_| ())
    }
}
