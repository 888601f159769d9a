//! Epoll instances.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Target, address};
use crate::abi::{Sqe, op};

impl Sqe {
    /// Adds `fd` to the interest list of an epoll instance, changes its entry, or removes
    /// it.
    ///
    /// `operation` is `libc::EPOLL_CTL_ADD`, `EPOLL_CTL_MOD` or `EPOLL_CTL_DEL`; `event`
    /// says what to wait for, and may be null for the last. Neither descriptor can be a
    /// fixed file. One CQE: `res` is 0. Linux 5.6; `io_uring_prep_epoll_ctl(3)`,
    /// `epoll_ctl(2)`.
    ///
    /// # Safety
    /// `event` must be valid for reads until submit, where it is used; both files stay open
    /// until the CQE.
    #[inline]
    pub unsafe fn prep_epoll_ctl(
        &mut self,
        epoll: BorrowedFd<'_>,
        fd: BorrowedFd<'_>,
        operation: i32,
        event: *const libc::epoll_event,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::EPOLL_CTL,
            fd: epoll.as_raw_fd(),
            // A borrowed fd is not negative.
            off: fd.as_raw_fd() as u64,
            addr: address(event),
            len: operation.cast_unsigned(),
            ..Sqe::default()
        })
    }

    /// Waits until an epoll instance has events, and takes up to `max` of them.
    ///
    /// One CQE: `res` is the number of events, from 1 to `max`; `EINVAL` for a `max` of 0
    /// or a file that is no epoll instance. There is no time limit: link a
    /// [`prep_link_timeout`](Sqe::prep_link_timeout) to it. Linux 6.15;
    /// `io_uring_prep_epoll_wait(3)`, `epoll_wait(2)`.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    ///
    /// use ringway::Ring;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// # if !ring.probe()?.supports(ringway::op::EPOLL_WAIT) {
    /// #     return Ok(());
    /// # }
    /// let (reader, mut writer) = std::io::pipe()?;
    /// // SAFETY: the descriptor is ours, if there is one.
    /// let epoll = unsafe {
    ///     match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
    ///         -1 => return Err(std::io::Error::last_os_error().into()),
    ///         fd => OwnedFd::from_raw_fd(fd),
    ///     }
    /// };
    /// let interest = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
    /// // They stay, also if a `?` returns early.
    /// let events = Box::leak(Box::new([libc::epoll_event { events: 0, u64: 0 }; 4]));
    ///
    /// let mut batch = sq.pop_batch(2).expect("the ring is empty");
    /// let mut sqes = batch.iter_mut();
    /// let (add, wait) = (sqes.next().unwrap(), sqes.next().unwrap());
    /// // SAFETY: `events` are never freed, and left alone until the CQEs are here; `interest`
    /// // is copied by the submit; the files are open while the operations start.
    /// unsafe {
    ///     add.prep_epoll_ctl(epoll.as_fd(), reader.as_fd(), libc::EPOLL_CTL_ADD, &interest)
    ///         .link();
    ///     wait.prep_epoll_wait(&epoll, events.as_mut_ptr(), 4);
    /// }
    /// batch.push();
    /// ring.submit()?;
    /// writer.write_all(b"!")?;
    ///
    /// let added = cq.wait_one(None)?.expect("there is no timeout");
    /// assert_eq!(added.result()?, 0);
    /// let waited = cq.wait_one(None)?.expect("there is no timeout");
    /// assert_eq!(waited.result()?, 1);
    /// assert_eq!({ events[0].u64 }, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `events` must be valid for writes of `max` elements, and nobody else may access
    /// them, until the CQE; the epoll instance stays open until the CQE.
    #[inline]
    pub unsafe fn prep_epoll_wait<'fd>(
        &mut self,
        epoll: impl Into<Target<'fd>>,
        events: *mut libc::epoll_event,
        max: u32,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            addr: address(events),
            len: max,
            ..epoll.into().sqe(op::EPOLL_WAIT)
        })
    }
}
