//! What the simulated kernel does.

use super::{CompletionOrder, Faults, Head, Memory, Most, Script, Simulation};
use crate::abi::{Sqe, cqe_flags, enter, sq_flags, sqe_flags};
use crate::ring::{Enter, Simulated};
use crate::sync::atomic::{self, Ordering::SeqCst};
use crate::sync::{Condvar, Deadline, Mutex, MutexGuard, ReadMarks, wait_for};
use crate::syscall::Errno;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The kernel's side of a simulated ring. A clone is another handle.
///
/// Behaves as `io_uring/io_uring.c` does, as far as the ring can tell:
///
/// - `io_submit_sqes`: consumes the smaller of `to_submit` and what is published; posts
///   the completions, then commits the head ([`Head::Late`]). A chain of links ends with
///   the enter; it waits for an operation that is held, and what follows a failed one
///   completes with ECANCELED (`io_disarm_next`).
/// - `io_cqring_wait`: flushes the backlog; blocks until the CQ holds what was asked for
///   when the wait began. A wait is skipped after a short submit.
/// - `io_cqring_overflow`: a full CQ, or a backlog, sends a CQE to the backlog and sets
///   CQ_OVERFLOW; only an enter with GETEVENTS flushes it.
/// - `io_sq_thread`: NEED_WAKEUP, full barrier, one more look at the tail, sleep.
/// - One lock is `uring_lock`, `completion_lock` and the wait queue's lock in one.
///
/// Not simulated: task work, polling, credentials, memory limits.
#[derive(Clone)]
pub struct Kernel {
    shared: Arc<Shared>,
}

struct Shared {
    memory: Memory,
    cq_marks: ReadMarks,
    is_sqpoll: bool,
    has_messages: bool,
    head: Head,
    completions: CompletionOrder,
    state: Mutex<State>,
    /// A CQE was posted.
    posted: Condvar,
    /// The SQ thread has been woken or stopped.
    wakeup: Condvar,
    /// SQEs were consumed.
    taken: Condvar,
}

struct State {
    script: Script,
    faults: Faults,
    most: Most,
    sq_head: u32,
    cq_tail: u32,
    backlog: VecDeque<Completion>,
    held: Vec<Held>,
    is_woken: bool,
    is_stopped: bool,
    enters: u64,
    consumed: u64,
    overflowed: u64,
}

/// An operation that has not completed for good, and the rest of its chain.
struct Held {
    operation: Operation,
    rest: VecDeque<Sqe>,
}

/// What the kernel keeps of an SQE.
#[derive(Clone, Copy)]
struct Operation {
    user_data: u64,
    flags: u8,
}

#[derive(Clone, Copy)]
struct Completion {
    user_data: u64,
    res: i32,
    flags: u32,
}

/// What becomes of one operation. Nothing said is the same as [`Fate::hold`].
pub struct Fate<'s> {
    operation: Operation,
    completions: &'s mut Vec<Completion>,
    result: Option<i32>,
}

impl Fate<'_> {
    /// It completes now, with this result: a negative errno is a failure.
    pub fn complete(&mut self, res: i32) {
        self.result = Some(res);
        self.completions.extend(self.operation.completion(res));
    }

    /// It posts a CQE now, and more will follow (multishot).
    pub fn more(&mut self, res: i32) {
        let user_data = self.operation.user_data;
        self.completions.push(Completion {
            user_data,
            res,
            flags: cqe_flags::MORE,
        });
    }

    /// It stays in flight until [`Kernel::complete`]; what is linked to it waits.
    pub fn hold(&mut self) {}
}

impl fmt::Debug for Fate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user_data = self.operation.user_data;
        f.debug_struct("Fate")
            .field("user_data", &user_data)
            .finish_non_exhaustive()
    }
}

impl Operation {
    fn of(sqe: &Sqe) -> Self {
        Self {
            user_data: sqe.user_data,
            flags: sqe.flags,
        }
    }

    fn is_linked(self) -> bool {
        self.flags & (sqe_flags::IO_LINK | sqe_flags::IO_HARDLINK) != 0
    }

    /// `io_disarm_next`: a failure ends the chain, unless the link is a hard one.
    fn ends_chain(self, res: i32) -> bool {
        res < 0 && self.flags & sqe_flags::IO_HARDLINK == 0
    }

    /// Its last CQE, if it posts one.
    fn completion(self, res: i32) -> Option<Completion> {
        let is_skipped = res >= 0 && self.flags & sqe_flags::CQE_SKIP_SUCCESS != 0;
        (!is_skipped).then_some(Completion {
            user_data: self.user_data,
            res,
            flags: 0,
        })
    }
}

impl Kernel {
    pub(super) fn new(simulation: Simulation, cq_marks: ReadMarks) -> Self {
        let Simulation {
            shape,
            is_sqpoll,
            has_messages,
            head,
            completions,
            script,
            faults,
            most,
            ..
        } = simulation;
        let start = shape.start;
        let state = State {
            script,
            faults,
            most,
            sq_head: start,
            cq_tail: start,
            backlog: VecDeque::new(),
            held: Vec::new(),
            is_woken: false,
            is_stopped: false,
            enters: 0,
            consumed: 0,
            overflowed: 0,
        };
        Self {
            shared: Arc::new(Shared {
                memory: Memory::new(shape),
                cq_marks,
                is_sqpoll,
                has_messages,
                head,
                completions,
                state: Mutex::new(state),
                posted: Condvar::new(),
                wakeup: Condvar::new(),
                taken: Condvar::new(),
            }),
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of a script goes on when the state is whole again.
        self.shared
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Consumes what is published, as an enter by some other thread would; returns how
    /// many SQEs.
    pub fn consume(&self) -> u32 {
        self.shared.consume(&mut self.lock(), u32::MAX)
    }

    /// Completes the oldest held operation with this `user_data`, and goes on with its
    /// chain; false if there is none.
    pub fn complete(&self, user_data: u64, res: i32) -> bool {
        let mut state = self.lock();
        let is_it = |held: &Held| held.operation.user_data == user_data;
        let Some(at) = state.held.iter().position(is_it) else {
            return false;
        };
        let Held { operation, rest } = state.held.remove(at);
        let mut completions = Vec::from_iter(operation.completion(res));
        let panic = run_chain(
            &mut state,
            rest,
            operation.ends_chain(res),
            &mut completions,
        );
        self.shared.post_all(&mut state, completions);
        resume(panic);
        true
    }

    /// Posts a CQE that belongs to no operation.
    pub fn post(&self, user_data: u64, res: i32, flags: u32) {
        self.shared.post(
            &mut self.lock(),
            Completion {
                user_data,
                res,
                flags,
            },
        );
    }

    /// Runs the SQ thread of a [`Simulation::sqpoll`] ring, until [`Kernel::stop`].
    pub fn sq_thread(&self) {
        let Shared { memory, wakeup, .. } = &*self.shared;
        let mut state = self.lock();
        while !state.is_stopped {
            if self.shared.consume(&mut state, u32::MAX) > 0 {
                continue;
            }
            memory.set_sq_flag(sq_flags::NEED_WAKEUP, true);
            // Ordering: SeqCst; `smp_mb__after_atomic` in `io_sq_thread`, partner of
            // `SQPOLL_FENCE`.
            atomic::fence(SeqCst);
            if memory.sq_tail() == state.sq_head {
                while !state.is_woken && !state.is_stopped {
                    state = wakeup
                        .wait(state)
                        .unwrap_or_else(|poisoned| poisoned.into_inner());
                }
                state.is_woken = false;
            }
            memory.set_sq_flag(sq_flags::NEED_WAKEUP, false);
        }
    }

    /// Ends the SQ thread.
    pub fn stop(&self) {
        self.lock().is_stopped = true;
        self.shared.wakeup.notify_all();
    }

    /// Calls of enter so far.
    pub fn enters(&self) -> u64 {
        self.lock().enters
    }

    /// SQEs consumed so far.
    pub fn consumed(&self) -> u64 {
        self.lock().consumed
    }

    /// CQEs that found no room so far.
    pub fn overflowed(&self) -> u64 {
        self.lock().overflowed
    }

    /// Operations held now.
    pub fn in_flight(&self) -> usize {
        self.lock().held.len()
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Kernel")
            .field("enters", &state.enters)
            .field("consumed", &state.consumed)
            .field("overflowed", &state.overflowed)
            .field("in_flight", &state.held.len())
            .finish()
    }
}

impl Shared {
    /// `io_sqring_full`, which a wait for space asks.
    fn is_full(&self, state: &State) -> bool {
        self.memory.sq_tail().wrapping_sub(state.sq_head) >= self.memory.shape.sq_entries
    }

    fn consume(&self, state: &mut State, limit: u32) -> u32 {
        let available = self.memory.sq_tail().wrapping_sub(state.sq_head);
        let count = available.min(limit).min(self.memory.shape.sq_entries);
        let mut completions = Vec::new();
        let mut panic = None;
        let mut chain = VecDeque::new();
        for left in (0..count).rev() {
            let sqe = self.memory.sqe(state.sq_head);
            state.sq_head = state.sq_head.wrapping_add(1);
            if self.head == Head::Early {
                self.memory.set_sq_head(state.sq_head);
            }
            let goes_on = left > 0
                && sqe
                    .as_ref()
                    .is_some_and(|sqe| Operation::of(sqe).is_linked());
            chain.extend(sqe);
            if !goes_on {
                let chain = std::mem::take(&mut chain);
                panic = run_chain(state, chain, false, &mut completions).or(panic);
            }
        }
        state.consumed += u64::from(count);
        if self.completions == CompletionOrder::Backward {
            completions.reverse();
        }
        self.post_all(state, completions);
        if count > 0 {
            self.memory.set_sq_head(state.sq_head);
            self.taken.notify_all();
        }
        resume(panic);
        count
    }

    fn post_all(&self, state: &mut State, completions: Vec<Completion>) {
        for completion in completions {
            self.post(state, completion);
        }
    }

    fn post(&self, state: &mut State, completion: Completion) {
        if !state.backlog.is_empty() || !self.put(state, completion) {
            state.overflowed += 1;
            state.backlog.push_back(completion);
            self.memory.set_sq_flag(sq_flags::CQ_OVERFLOW, true);
        }
        self.posted.notify_all();
    }

    /// Into the CQ, if there is room.
    fn put(&self, state: &mut State, completion: Completion) -> bool {
        let entries = self.memory.shape.cq_entries;
        if state.cq_tail.wrapping_sub(self.memory.cq_head()) >= entries {
            return false;
        }
        let slot = state.cq_tail & (entries - 1);
        self.cq_marks.overwrite(slot);
        let Completion {
            user_data,
            res,
            flags,
        } = completion;
        let (low, high) = if cfg!(target_endian = "little") {
            (res as u32, flags)
        } else {
            (flags, res as u32)
        };
        let result = u64::from(low) | u64::from(high) << 32;
        // The second half of a 32-byte CQE tells that it is the second.
        let words = [user_data, result, !user_data, !result];
        self.memory.set_cqe(slot, words);
        state.cq_tail = state.cq_tail.wrapping_add(1);
        self.memory.set_cq_tail(state.cq_tail);
        true
    }

    fn flush(&self, state: &mut State) {
        if state.backlog.is_empty() {
            return;
        }
        while let Some(&completion) = state.backlog.front() {
            if !self.put(state, completion) {
                return;
            }
            state.backlog.pop_front();
        }
        self.memory.set_sq_flag(sq_flags::CQ_OVERFLOW, false);
    }
}

/// What a script threw. It fails the operation with EFAULT, and goes on to whoever had
/// the kernel run when the kernel is done.
type Panic = Option<Box<dyn Any + Send>>;

fn resume(panic: Panic) {
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// Runs the script for each of a chain, until one is held or ends it.
fn run_chain(
    state: &mut State,
    mut chain: VecDeque<Sqe>,
    mut has_ended: bool,
    completions: &mut Vec<Completion>,
) -> Panic {
    let mut panic = None;
    while let Some(sqe) = chain.pop_front() {
        let operation = Operation::of(&sqe);
        let mut fate = Fate {
            operation,
            completions,
            result: None,
        };
        if has_ended {
            fate.complete(-libc::ECANCELED);
            continue;
        }
        let script = AssertUnwindSafe(|| (state.script)(&sqe, &mut fate));
        if let Err(thrown) = catch_unwind(script) {
            fate.complete(-libc::EFAULT);
            panic = Some(thrown);
        }
        match fate.result {
            Some(res) => has_ended = operation.ends_chain(res),
            None => {
                state.held.push(Held {
                    operation,
                    rest: chain,
                });
                break;
            }
        }
    }
    panic
}

impl Simulated for Kernel {
    fn enter(&self, request: Enter) -> Result<u32, Errno> {
        let Shared {
            memory,
            posted,
            wakeup,
            taken,
            ..
        } = &*self.shared;
        let mut state = self.lock();
        let call = state.enters;
        state.enters += 1;
        if let Some(errno) = (state.faults)(call) {
            return Err(errno);
        }
        let submitted = if self.shared.is_sqpoll {
            if request.flags & enter::SQ_WAKEUP != 0 {
                state.is_woken = true;
                wakeup.notify_all();
            }
            while request.flags & enter::SQ_WAIT != 0 && self.shared.is_full(&state) {
                state = (taken.wait(state)).unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            request.to_submit
        } else {
            let most = (state.most)(call);
            self.shared.consume(&mut state, request.to_submit.min(most))
        };
        if request.flags & enter::GETEVENTS == 0 || submitted < request.to_submit {
            return Ok(submitted);
        }
        self.shared.flush(&mut state);
        let wanted = request.min_complete.min(memory.shape.cq_entries);
        let target = memory.cq_head().wrapping_add(wanted);
        let deadline = Deadline::after(request.timeout);
        while (target.wrapping_sub(state.cq_tail) as i32) > 0 && state.backlog.is_empty() {
            state = match deadline.left() {
                None => (posted.wait(state)).unwrap_or_else(|poisoned| poisoned.into_inner()),
                Some(Duration::ZERO) => return Err(Errno::from_raw(libc::ETIME)),
                Some(left) => wait_for(posted, &self.shared.state, state, left),
            };
        }
        Ok(submitted)
    }

    fn post(&self, user_data: u64) -> Result<(), Errno> {
        if !self.shared.has_messages {
            return Err(Errno::from_raw(libc::EINVAL));
        }
        Kernel::post(self, user_data, 0, 0);
        Ok(())
    }
}
