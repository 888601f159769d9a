//! Cancelling, with the answer at once.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use super::Registrar;
use crate::abi::{self, cancel, register};
use crate::prep::Fixed;
use crate::syscall::Errno;

/// Which operations to cancel: one that fits, or [`all`](Self::all) of them.
#[derive(Clone, Copy, Debug)]
pub struct CancelBy<'fd> {
    user_data: Option<u64>,
    file: Option<File<'fd>>,
    opcode: Option<u8>,
    all: bool,
}

#[derive(Clone, Copy, Debug)]
enum File<'fd> {
    Fd(BorrowedFd<'fd>),
    Fixed(Fixed),
}

impl<'fd> CancelBy<'fd> {
    const ONE: Self = Self {
        user_data: None,
        file: None,
        opcode: None,
        all: false,
    };

    /// All operations of the ring.
    pub const fn any() -> Self {
        Self::ONE.all()
    }

    /// An operation with this `user_data`.
    pub const fn user_data(user_data: u64) -> Self {
        Self::ONE.and_user_data(user_data)
    }

    /// An operation on this file, through whatever descriptor it was started.
    pub const fn fd(file: BorrowedFd<'fd>) -> Self {
        Self {
            file: Some(File::Fd(file)),
            ..Self::ONE
        }
    }

    /// An operation on the file that is registered at this index.
    pub const fn fixed(index: Fixed) -> Self {
        Self {
            file: Some(File::Fixed(index)),
            ..Self::ONE
        }
    }

    /// An operation with this opcode; see [`op`](crate::op). Linux 6.6.
    pub const fn opcode(opcode: u8) -> Self {
        Self::ONE.and_opcode(opcode)
    }

    /// Only those that have this `user_data` as well. Besides a file or an opcode: Linux 6.6.
    #[must_use]
    pub const fn and_user_data(mut self, user_data: u64) -> Self {
        self.user_data = Some(user_data);
        self
    }

    /// Only those that have this opcode as well. Linux 6.6.
    #[must_use]
    pub const fn and_opcode(mut self, opcode: u8) -> Self {
        self.opcode = Some(opcode);
        self
    }

    /// All that fit.
    #[must_use]
    pub const fn all(mut self) -> Self {
        self.all = true;
        self
    }

    fn argument(self) -> abi::SyncCancelReg {
        let (fd, by_file) = match self.file {
            None => (-1, 0),
            Some(File::Fd(fd)) => (fd.as_raw_fd(), cancel::FD),
            // The kernel reads an index back as unsigned.
            Some(File::Fixed(index)) => (index.0.cast_signed(), cancel::FD | cancel::FD_FIXED),
        };
        let by_opcode = if self.opcode.is_some() { cancel::OP } else { 0 };
        let by_user_data = match (self.user_data, by_file | by_opcode) {
            (None, 0) => cancel::ANY,
            // What the kernel looks at unless it is given another key.
            (None, _) | (Some(_), 0) => 0,
            (Some(_), _) => cancel::USERDATA,
        };
        let all = if self.all { cancel::ALL } else { 0 };
        abi::SyncCancelReg {
            addr: self.user_data.unwrap_or(0),
            fd,
            flags: by_file | by_opcode | by_user_data | all,
            opcode: self.opcode.unwrap_or(0),
            ..abi::SyncCancelReg::default()
        }
    }
}

impl Registrar<'_> {
    /// Cancels operations of this ring, whichever thread submitted them, and posts no CQE for
    /// the request itself. Each operation found posts its own CQE, with `ECANCELED` or with
    /// its result, and needs its buffers until then.
    ///
    /// Without [`all`](CancelBy::all) the answer is 0: one operation was found. If it was
    /// running in a worker thread, the call blocks until it has ended, at most for `timeout`
    /// (`None`: no limit); other threads may use the ring meanwhile.
    ///
    /// With `all` the answer is how many were found waiting, 0 included, and nothing is waited
    /// for. Those that run in a worker thread are told to end, and not counted.
    ///
    /// Linux 6.0; `io_uring_register_sync_cancel(3)`.
    ///
    /// ```
    /// use ringway::{Ring, register::CancelBy};
    ///
    /// let ring = Ring::builder(8).build()?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// let byte = Box::leak(Box::new(0u8)); // stays, also if a `?` returns early
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `byte` is never freed; `reader` is open while the read starts.
    /// unsafe { slot.prep_read(&reader, byte, 1, 0) }.user_data(7);
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let found = ring.registrar().register_sync_cancel(CancelBy::any(), None)?;
    /// assert_eq!(found, 1);
    /// let cqe = ring.cq().wait_one(None)?.expect("no limit, so no timeout");
    /// assert_eq!(cqe.user_data(), 7);
    /// assert_eq!(cqe.result().unwrap_err().raw(), libc::ECANCELED);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is none, unless all were asked for; `ETIME` when the time was over
    /// first: the operation has been told to end, and will; `EBADF` for an index where no
    /// file is; `EINTR` for a signal that came while it waited; `EINVAL` also for an opcode
    /// before Linux 6.6.
    pub fn register_sync_cancel(
        self,
        by: CancelBy<'_>,
        timeout: Option<Duration>,
    ) -> Result<u32, Errno> {
        const NONE: abi::Timespec = abi::Timespec {
            tv_sec: -1,
            tv_nsec: -1,
        };
        let mut argument = abi::SyncCancelReg {
            timeout: timeout.map_or(NONE, abi::Timespec::from),
            ..by.argument()
        };
        let argument = ptr::from_mut(&mut argument).cast();
        // SAFETY: the kernel copies one argument during the call.
        unsafe { self.register(register::SYNC_CANCEL, argument, 1) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn each_key_sets_its_own_flag() {
        let by = CancelBy::user_data(7);
        let file = std::io::stderr();
        for (by, flags) in [
            (CancelBy::any(), cancel::ANY | cancel::ALL),
            (by, 0),
            (by.all(), cancel::ALL),
            (by.and_opcode(3), cancel::OP | cancel::USERDATA),
            (CancelBy::opcode(3), cancel::OP),
            (CancelBy::any().and_opcode(3), cancel::OP | cancel::ALL),
            (CancelBy::fixed(Fixed(2)), cancel::FD | cancel::FD_FIXED),
            (CancelBy::fd(file.as_fd()), cancel::FD),
        ] {
            assert_eq!(by.argument().flags, flags, "{by:?}");
        }
    }
}
