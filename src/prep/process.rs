//! Processes.

use super::address;
use crate::abi::{Sqe, op};

impl Sqe {
    /// Waits until a child of this process changes its state.
    ///
    /// `idtype` and `id` say which children: `libc::P_PID`, `P_PGID`, `P_PIDFD` or
    /// `P_ALL`. `options` are `libc::WEXITED`, `WSTOPPED`, `WCONTINUED`, `WNOHANG` and
    /// `WNOWAIT`, one of the first three at least. `info` may be null.
    ///
    /// One CQE: `res` is 0, and `info` tells the state; with `WNOHANG` its `si_pid` is 0
    /// when there is none yet. `ECHILD` (no such child). `info` is written on a failure
    /// and a cancel as well. Linux 6.7; `io_uring_prep_waitid(3)`, `waitid(2)`.
    ///
    /// ```
    /// use std::mem::MaybeUninit;
    /// use std::process::Command;
    ///
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// # if !ring.probe()?.supports(ringway::op::WAITID) {
    /// #     return Ok(());
    /// # }
    /// let child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// // It stays, also if a `?` returns early.
    /// let info = Box::leak(Box::new(MaybeUninit::<libc::siginfo_t>::zeroed()));
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `info` is never freed, and left alone until the CQE is here.
    /// unsafe { slot.prep_waitid(libc::P_PID, child.id(), info.as_mut_ptr(), libc::WEXITED) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// cq.wait_one(None)?.expect("there is no timeout").result()?;
    /// // SAFETY: all zeros is a siginfo_t, and the kernel has filled in that of a child.
    /// let (pid, status) = unsafe {
    ///     let info = info.assume_init_ref();
    ///     (info.si_pid(), info.si_status())
    /// };
    /// assert_eq!((pid as u32, status), (child.id(), 3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `info` must be null or valid for writes, and nobody else may access it, until the
    /// CQE. A process that is waited for with `WEXITED` is gone after the CQE, and its
    /// number may be another's. A descriptor given with `P_PIDFD` stays open until the
    /// CQE.
    #[inline]
    pub unsafe fn prep_waitid(
        &mut self,
        idtype: libc::idtype_t,
        id: libc::id_t,
        info: *mut libc::siginfo_t,
        options: i32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::WAITID,
            fd: id.cast_signed(),
            off: address(info),
            len: idtype,
            file_index: options.cast_unsigned(),
            ..Sqe::default()
        })
    }
}
