//! What the driver itself has to push: sent as soon as there is room, never dropped.

use super::driver::{Driver, Shared};
use super::edges;
use super::op::{Id, Kind, OpId};
use crate::abi::{Sqe, cancel, op};
use crate::prep::Nop;
use crate::ring::{By, EnterError};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use crate::sync::{Mutex, MutexGuard, unpoisoned};
use std::collections::VecDeque;

/// Rule K1: a request takes a CQE of the reserve, so at most that many are on their way; the
/// others wait here, and so does what finds no SQE. Whoever has reaped or submitted sends them.
pub(super) struct Control {
    /// What is in the queue.
    pending: AtomicU32,
    queue: Mutex<Queue>,
    /// A wake was sent and not reaped: as a message, and as a NOP.
    is_woken: AtomicBool,
    is_nop_on_its_way: AtomicBool,
}

struct Queue {
    /// SQEs whose CQEs have room: ends of jobs, which hold permits, and a wake.
    ready: VecDeque<Sqe>,
    waiting: VecDeque<Request>,
    /// Those on their way, at the places that their CQEs name: as many as there are CQEs for
    /// them. The kernel may yet look their files up.
    sent: Box<[Option<Request>]>,
}

impl Queue {
    /// Whether there is something to push now.
    fn has_next(&self) -> bool {
        let has_place = || self.sent.iter().any(Option::is_none);
        !self.ready.is_empty() || (!self.waiting.is_empty() && has_place())
    }

    /// What is to be pushed next.
    fn next(&mut self) -> Option<Sqe> {
        if let Some(sqe) = self.ready.pop_front() {
            return Some(sqe);
        }
        let mut places = (0..).zip(&mut self.sent);
        let (place, sent) = places.find(|(_, sent)| sent.is_none())?;
        let request = sent.insert(self.waiting.pop_front()?);
        let mut sqe = request.sqe();
        sqe.user_data = name(place).0;
        Some(sqe)
    }
}

/// What was pushed of what was pending.
pub(super) struct Pushed {
    pub(super) count: u32,
    /// Not if something is left for want of an SQE.
    pub(super) has_room: bool,
}

/// What the request at a place is called.
fn name(place: u32) -> Id {
    Id::new(Kind::Control, place, 0)
}

/// The wake's name.
pub(super) const WAKE: Id = Id(Kind::Wake as u64);

/// A NOP of this name.
pub(super) fn nop(nop: Nop, id: Id) -> Sqe {
    let mut sqe = Sqe::default();
    // SAFETY: a NOP names no memory and no file.
    unsafe { sqe.prep_nop_with(nop) }.user_data(id.0);
    sqe
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
                ready: VecDeque::new(),
                waiting: VecDeque::new(),
                sent: (0..reserve).map(|_| None).collect(),
            }),
            is_woken: AtomicBool::new(false),
            is_nop_on_its_way: AtomicBool::new(false),
        }
    }

    /// Leaves the files of requests on their way to the kernel.
    pub(super) fn leak(&mut self) {
        let queue = unpoisoned(self.queue.get_mut());
        if queue.sent.iter().any(Option::is_some) {
            Box::leak(std::mem::take(&mut queue.sent));
        }
    }

    #[inline(always)]
    pub(super) fn is_pending(&self) -> bool {
        // Ordering: Relaxed; after a submit the fences of the submitter's role order it: what is
        // not seen here comes from a thread that sees the role free, and submits.
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
        send(WAKE).inspect_err(|_| self.no_longer_woken())
    }

    /// Whether something waits for an SQE alone.
    pub(super) fn is_short_of_sqes(&self) -> bool {
        !self.queue().ready.is_empty()
    }

    /// Adds a NOP that is a wake, unless one is on its way.
    pub(super) fn add_wake(&self) {
        // Ordering: Release, see `WAKE_SENT`.
        if !(self.is_nop_on_its_way).swap(true, edges::WAKE_SENT.order()) {
            self.add(nop(Nop::new(), WAKE));
        }
    }

    /// A wake was reaped.
    pub(super) fn woken(&self) {
        self.no_longer_woken();
        // Ordering: as there.
        (self.is_nop_on_its_way).swap(false, edges::WAKE_TAKEN.order());
    }

    /// A message was reaped, or could not be sent.
    fn no_longer_woken(&self) {
        // Ordering: Acquire, see `WAKE_TAKEN`. A swap: the wakes that were not sent are read.
        self.is_woken.swap(false, edges::WAKE_TAKEN.order());
    }

    /// Adds an SQE whose CQE has room.
    pub(super) fn add(&self, sqe: Sqe) {
        self.add_with(|queue| queue.ready.push_back(sqe));
    }

    fn add_with(&self, add: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue();
        add(&mut queue);
        // Ordering: Relaxed; see `is_pending`.
        self.pending.fetch_add(1, Relaxed);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(self.queue.lock())
    }
}

impl Shared {
    #[inline(always)]
    pub(super) fn send_pending(&self) {
        if self.control.is_pending() {
            self.send_now();
        }
    }

    /// Sends what is in the queue. What finds no SQE is left to who makes room: a thread that
    /// pushes and submits, the dedicated submitter, the owner.
    #[cold]
    pub(super) fn send_now(&self) {
        // Two attempts: an SQ that is full of what was pushed has room after a submit; or with
        // an SQ thread, when that has taken some, of which it tells nobody.
        let mut attempts = 2;
        while attempts > 0 {
            let pushed = self.push_pending();
            if pushed.count > 0 || !pushed.has_room {
                self.hurry();
            }
            if pushed.has_room {
                return;
            }
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

    /// Pushes what is in the queue, as far as there is room, for the caller to have it submitted.
    pub(super) fn push_pending(&self) -> Pushed {
        let mut queue = self.control.queue();
        let mut count = 0;
        while queue.has_next() {
            let Some(mut batch) = self.ring.core.pop_batch(1) else {
                let has_room = false;
                return Pushed { count, has_room };
            };
            if let Some(place) = batch.iter_mut().next() {
                *place = queue.next().unwrap_or_default();
            }
            // Ordering: Relaxed; only the count matters.
            self.control.pending.fetch_sub(1, Relaxed);
            // Whatever else it is that waits for this push, it is submitted.
            let _ = batch.push_only();
            count += 1;
        }
        let has_room = true;
        Pushed { count, has_room }
    }

    pub(super) fn cancel_everything(&self) {
        self.request(Request::All);
    }

    fn request(&self, request: Request) {
        (self.control).add_with(|queue| queue.waiting.push_back(request));
        self.send_now();
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
    /// ended. A chain that is at an operation which cannot be cancelled goes on to the next:
    /// ask again.
    ///
    /// Never refused for want of room: the request waits its turn. Takes a lock, which is held
    /// while requests are pushed; may enter the kernel as a submit does. Operations that a device
    /// is working on, such as reads of a disk, end by themselves only.
    pub fn cancel(&self, op: OpId) {
        for member in 0..=self.shared.table.last_member(op.0) {
            self.shared.request(Request::Op(op.0.with_member(member)));
        }
    }

    /// Asks the kernel to cancel all operations on this file, through whichever descriptor
    /// they were started; see [`Driver::cancel`]. Linux 5.19; before, nothing is cancelled.
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

    /// Asks the kernel to cancel everything that is in flight; see [`Driver::cancel`]. Linux
    /// 5.19; before, nothing is cancelled.
    pub fn cancel_all(&self) {
        self.shared.cancel_everything();
    }
}
