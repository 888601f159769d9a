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
    /// Requests in the queue.
    pending: AtomicU32,
    queue: Mutex<Queue>,
    /// A wake was sent and not reaped.
    is_woken: AtomicBool,
}

struct Queue {
    waiting: VecDeque<Request>,
    /// Those on their way, at the places that their CQEs name: as many as there are CQEs for
    /// them. The kernel may yet look their files up.
    sent: Box<[Option<Request>]>,
}

/// What the request at a place is called.
fn name(place: u32) -> Id {
    Id::new(Kind::Control, place, 0)
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
            pending: AtomicU32::new(0),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                sent: (0..reserve).map(|_| None).collect(),
            }),
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
    pub(super) fn done(&self, id: Id) -> bool {
        let place = id.slot();
        let mut queue = self.queue();
        let sent = queue.sent.get_mut(place as usize);
        let done = sent.filter(|_| id == name(place)).and_then(Option::take);
        drop(queue);
        done.is_some()
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
        let mut queue = self.control.queue();
        let Queue { waiting, sent } = &mut *queue;
        let (mut count, mut has_room) = (0, true);
        let places = (0..).zip(sent).filter(|(_, sent)| sent.is_none());
        for (place, sent) in places.take(waiting.len()) {
            let Some(mut slot) = self.ring.core.pop() else {
                has_room = false;
                break;
            };
            *sent = waiting.pop_front();
            *slot = sent.as_ref().map_or_else(Sqe::default, Request::sqe);
            slot.user_data = name(place).0;
            // Ordering: Relaxed; only the count matters.
            self.control.pending.fetch_sub(1, Relaxed);
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
