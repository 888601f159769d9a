//! Cancel requests: sent as soon as there is room, never dropped.

use super::driver::{Driver, Shared};
use super::edges;
use super::op::{Id, Kind, OpId};
use crate::abi::{Sqe, cancel, op};
use crate::ring::{By, EnterError};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use crate::sync::{Mutex, MutexGuard};
use std::collections::VecDeque;

/// Rule K1: a request takes a CQE of the reserve, so at most that many are on their way; the
/// others wait here, and whoever has reaped or submitted sends them.
pub(super) struct Control {
    reserve: u32,
    /// CQEs of requests to come.
    sent: AtomicU32,
    /// Requests in the queue.
    pending: AtomicU32,
    queue: Mutex<Queue>,
    /// A wake was sent and not reaped.
    is_woken: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Request>,
    /// Those on their way, which are named by their places; the kernel may yet look their files
    /// up.
    sent: Vec<Option<Request>>,
}

impl Queue {
    /// Puts a request among those on their way.
    fn name(&mut self, request: Request) -> Id {
        let free = self.sent.iter().position(Option::is_none);
        let place = free.unwrap_or(self.sent.len());
        match self.sent.get_mut(place) {
            Some(free) => *free = Some(request),
            None => self.sent.push(Some(request)),
        }
        // There are no more than the reserve, which the CQ has room for.
        Id::new(Kind::Control, place as u32, 0)
    }
}

/// What is to be cancelled.
enum Request {
    Op(Id),
    All,
    /// All on one file; a descriptor of our own, so that it stays that file's.
    #[cfg(not(ringway_loom))]
    File(std::os::fd::OwnedFd),
}

impl Control {
    pub(super) fn new(reserve: u32) -> Self {
        Self {
            reserve,
            sent: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            queue: Mutex::new(Queue::default()),
            is_woken: AtomicBool::new(false),
        }
    }

    #[inline(always)]
    pub(super) fn is_pending(&self) -> bool {
        // Ordering: Relaxed; a request that is not seen here is seen by whoever reaps or
        // submits next, its sender among them.
        self.pending.load(Relaxed) > 0
    }

    /// The request of this name has completed; false if there is none.
    pub(super) fn done(&self, name: Id) -> bool {
        let place = name.slot();
        let mut queue = self.queue();
        let sent = queue.sent.get_mut(place as usize);
        let sent = sent.filter(|_| name == Id::new(Kind::Control, place, 0));
        let request = sent.and_then(Option::take);
        drop(queue);
        if request.is_some() {
            // Ordering: Relaxed; the CQ head that moved is the kernel's to see.
            self.sent.fetch_sub(1, Relaxed);
        }
        request.is_some()
    }

    /// Sends a wake of this name, unless one is on its way.
    pub(super) fn wake_with(
        &self,
        send: impl FnOnce(Id) -> Result<(), EnterError>,
    ) -> Result<(), EnterError> {
        // Ordering: Release, see `WAKE_SENT`.
        if self.is_woken.swap(true, edges::WAKE_SENT.order()) {
            return Ok(());
        }
        send(Id::new(Kind::Wake, 0, 0)).inspect_err(|_| self.woken())
    }

    /// A wake was reaped, or could not be sent.
    pub(super) fn woken(&self) {
        // Ordering: Acquire, see `WAKE_TAKEN`. A swap: the wakes that were not sent are read.
        self.is_woken.swap(false, edges::WAKE_TAKEN.order());
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Shared {
    #[inline(always)]
    pub(super) fn send_pending_controls(&self) {
        if self.control.is_pending() {
            self.send_controls();
        }
    }

    /// Sends what is in the queue. What finds no SQE is left to who makes room: a thread that
    /// pushes and submits, the dedicated submitter, the owner.
    #[cold]
    pub(super) fn send_controls(&self) {
        // Two attempts: an SQ that is full of what was pushed has room after a submit; or with
        // an SQ thread, when that has taken some, of which it tells nobody.
        let mut attempts = 2;
        while attempts > 0 && !self.push_controls() {
            self.hurry();
            match self.ring.core.awaits_sq_thread() {
                true => {
                    if let Err(error) = self.ring.core.wait_for_space(By::Ring) {
                        return self.left(error);
                    }
                }
                false => attempts -= 1,
            }
        }
    }

    /// Pushes what is in the queue, as far as there is room, and has it submitted. False if
    /// something is left for want of an SQE.
    pub(super) fn push_controls(&self) -> bool {
        let control = &self.control;
        let mut queue = control.queue();
        let mut count = 0;
        let mut has_room = true;
        // Ordering: Relaxed; all that add to it hold the queue's lock.
        while !queue.waiting.is_empty() && control.sent.load(Relaxed) < control.reserve {
            let Some(mut slot) = self.ring.core.pop() else {
                has_room = false;
                break;
            };
            if let Some(request) = queue.waiting.pop_front() {
                *slot = request.sqe();
                slot.user_data = queue.name(request).0;
            }
            // Ordering: Relaxed; only the count matters.
            control.pending.fetch_sub(1, Relaxed);
            control.sent.fetch_add(1, Relaxed);
            slot.push();
            count += 1;
        }
        drop(queue);
        if count > 0 {
            self.hurry();
        }
        has_room
    }

    pub(super) fn cancel_everything(&self) {
        self.request(Request::All);
    }

    fn request(&self, request: Request) {
        let mut queue = self.control.queue();
        queue.waiting.push_back(request);
        // Ordering: Relaxed; see `is_pending`.
        self.control.pending.fetch_add(1, Relaxed);
        drop(queue);
        self.send_controls();
    }
}

impl Request {
    fn sqe(&self) -> Sqe {
        let sqe = |fd, addr, op_flags| Sqe {
            opcode: op::ASYNC_CANCEL,
            fd,
            addr,
            op_flags,
            ..Sqe::default()
        };
        match self {
            Request::Op(id) => sqe(-1, id.0, 0),
            Request::All => sqe(-1, 0, cancel::ANY | cancel::ALL),
            #[cfg(not(ringway_loom))]
            Request::File(fd) => {
                use std::os::fd::AsRawFd;
                sqe(fd.as_raw_fd(), 0, cancel::FD | cancel::ALL)
            }
        }
    }
}

impl Driver {
    /// Asks the kernel to cancel an operation, or a chain wherever it is. It completes all the
    /// same: as cancelled, or with its result if it was faster. Nothing happens if it has
    /// ended.
    ///
    /// Never refused for want of room: the request waits its turn. Operations that a device
    /// is working on, such as reads of a disk, end by themselves only.
    pub fn cancel(&self, op: OpId) {
        for member in 0..=self.shared.table.last_member(op.0) {
            self.shared.request(Request::Op(op.0.with_member(member)));
        }
    }

    /// Asks the kernel to cancel all operations on this file, through whichever descriptor
    /// they were started; see [`Driver::cancel`].
    ///
    /// # Errors
    ///
    /// There is no descriptor left to keep the file by until the kernel has looked.
    #[cfg(not(ringway_loom))]
    pub fn cancel_file(&self, file: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
        let file = file.try_clone_to_owned()?;
        self.shared.request(Request::File(file));
        Ok(())
    }

    /// Asks the kernel to cancel everything that is in flight; see [`Driver::cancel`].
    pub fn cancel_all(&self) {
        self.shared.cancel_everything();
    }
}
