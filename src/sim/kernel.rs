//! What the simulated kernel does.

use super::fate::{Completion, Held, Operation, Taken, resume, run_chain};
use super::{CompletionOrder, Faults, Head, Memory, Most, Script, Simulation};
use crate::abi::{cqe_flags, enter, op, sq_flags};
use crate::mapping::EntrySize;
use crate::ring::{Enter, Simulated};
use crate::sync::atomic::{self, Ordering::SeqCst};
use crate::sync::{Condvar, Deadline, Mutex, MutexGuard, ReadMarks, unpoisoned, wait_for};
use crate::syscall::Errno;
use std::collections::VecDeque;
use std::fmt;
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
/// - `io_init_req`: an operation of 128 bytes ends in EINVAL where SQEs are small, or mixed
///   and it is cut by the end of the ring or of the enter.
/// - `io_cqe_cache_refill`: a big CQE that would straddle the end of a CQ of mixed sizes
///   leaves a CQE with the SKIP flag in the last slot.
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
        unpoisoned(self.shared.state.lock())
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
        let state = &mut *state;
        let panic = run_chain(
            &mut state.script,
            &mut state.held,
            rest,
            operation.ends_chain(res),
            &mut completions,
        );
        self.shared.post_all(state, completions);
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
                extra: None,
            },
        );
    }

    /// As [`post`](Self::post), a CQE of 32 bytes; see
    /// [`Fate::complete_big`](super::Fate::complete_big).
    pub fn post_big(&self, user_data: u64, res: i32, flags: u32, extra: [u64; 2]) {
        self.shared.post(
            &mut self.lock(),
            Completion {
                user_data,
                res,
                flags,
                extra: Some(extra),
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
                    state = unpoisoned(wakeup.wait(state));
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
        let mut left = count;
        while left > 0 {
            let taken = self.take(state, &mut left);
            if self.head == Head::Early {
                self.memory.set_sq_head(state.sq_head);
            }
            let is_linked = |taken: &Taken| Operation::of(&taken.sqe).is_linked();
            let goes_on = left > 0 && taken.as_ref().is_some_and(is_linked);
            chain.extend(taken);
            if !goes_on {
                let chain = std::mem::take(&mut chain);
                panic = run_chain(
                    &mut state.script,
                    &mut state.held,
                    chain,
                    false,
                    &mut completions,
                )
                .or(panic);
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

    /// The next SQE, of one slot or two.
    fn take(&self, state: &mut State, left: &mut u32) -> Option<Taken> {
        let sqe = self.memory.sqe(state.sq_head);
        state.sq_head = state.sq_head.wrapping_add(1);
        *left -= 1;
        let (sqe, mut second_half) = sqe?;
        let is_last = |head: u32| head & (self.memory.shape.sq_entries - 1) == 0;
        let mut is_refused = false;
        if matches!(sqe.opcode, op::NOP128 | op::URING_CMD128) && second_half.is_none() {
            is_refused = self.memory.shape.sqe_size != EntrySize::Mixed
                || *left == 0
                || is_last(state.sq_head);
            if !is_refused {
                second_half = self.memory.sqe(state.sq_head).map(|(half, _)| half);
                state.sq_head = state.sq_head.wrapping_add(1);
                *left -= 1;
            }
        }
        Some(Taken {
            sqe,
            second_half,
            is_refused,
        })
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
        let has_room = |state: &State, slots: u32| {
            let used = state.cq_tail.wrapping_sub(self.memory.cq_head());
            used + slots <= entries
        };
        let takes_two = self.memory.takes_two(completion.extra.is_some());
        if takes_two && state.cq_tail & (entries - 1) == entries - 1 {
            if !has_room(state, 1) {
                return false;
            }
            self.write(state, &[0, pair(0, cqe_flags::SKIP)]);
        }
        if !has_room(state, 1 + u32::from(takes_two)) {
            return false;
        }
        let Completion {
            user_data,
            res,
            mut flags,
            extra,
        } = completion;
        flags |= if takes_two { cqe_flags::BIG } else { 0 };
        let result = pair(res as u32, flags);
        // Where all CQEs are big, a small one's second half tells that it is the second.
        let [third, fourth] = extra.unwrap_or([!user_data, !result]);
        let words = [user_data, result, third, fourth];
        let is_big = takes_two || self.memory.shape.cqe_size == EntrySize::Big;
        self.write(state, &words[..if is_big { 4 } else { 2 }]);
        true
    }

    /// Writes a CQE at the tail, and steps over its slots.
    fn write(&self, state: &mut State, words: &[u64]) {
        let slot = state.cq_tail & (self.memory.shape.cq_entries - 1);
        let slots = self.memory.slots_of(words);
        for i in 0..slots {
            self.cq_marks.overwrite(slot + i);
        }
        self.memory.set_cqe(slot, words);
        state.cq_tail = state.cq_tail.wrapping_add(slots);
        self.memory.set_cq_tail(state.cq_tail);
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

/// The two halves of a CQE's second word.
fn pair(res: u32, flags: u32) -> u64 {
    let (low, high) = if cfg!(target_endian = "little") {
        (res, flags)
    } else {
        (flags, res)
    };
    u64::from(low) | u64::from(high) << 32
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
                state = unpoisoned(taken.wait(state));
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
                None => unpoisoned(posted.wait(state)),
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
