//! What becomes of operations.

use super::Script;
use crate::abi::{Sqe, cqe_flags, sqe_flags};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// An SQE that was consumed.
pub(super) struct Taken {
    pub(super) sqe: Sqe,
    /// Of a big one.
    pub(super) second_half: Option<Sqe>,
    /// `io_init_req` would not have it.
    pub(super) is_refused: bool,
}

/// What the kernel keeps of an SQE.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) user_data: u64,
    pub(super) flags: u8,
}

#[derive(Clone, Copy)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) res: i32,
    pub(super) flags: u32,
    /// The second 16 bytes of a big CQE.
    pub(super) extra: Option<[u64; 2]>,
}

/// What becomes of one operation. Nothing said is the same as [`Fate::hold`].
pub struct Fate<'s> {
    operation: Operation,
    second_half: Option<Sqe>,
    completions: &'s mut Vec<Completion>,
    result: Option<i32>,
}

impl Fate<'_> {
    /// It completes now, with this result: a negative errno is a failure.
    pub fn complete(&mut self, res: i32) {
        self.complete_with(res, None);
    }

    /// As [`complete`](Self::complete), with a CQE of 32 bytes where the ring has such; on
    /// a ring of small ones `extra` is dropped.
    pub fn complete_big(&mut self, res: i32, extra: [u64; 2]) {
        self.complete_with(res, Some(extra));
    }

    fn complete_with(&mut self, res: i32, extra: Option<[u64; 2]>) {
        self.result = Some(res);
        let last = self.operation.completion(res);
        self.completions
            .extend(last.map(|last| Completion { extra, ..last }));
    }

    /// It posts a CQE now, and more will follow (multishot).
    pub fn more(&mut self, res: i32) {
        self.more_with(res, None);
    }

    /// As [`more`](Self::more), with a CQE of 32 bytes; see
    /// [`complete_big`](Self::complete_big).
    pub fn more_big(&mut self, res: i32, extra: [u64; 2]) {
        self.more_with(res, Some(extra));
    }

    fn more_with(&mut self, res: i32, extra: Option<[u64; 2]>) {
        self.completions.push(Completion {
            user_data: self.operation.user_data,
            res,
            flags: cqe_flags::MORE,
            extra,
        });
    }

    /// The second 64 bytes of the SQE, if it has 128.
    pub fn second_half(&mut self) -> Option<&[u8; 64]> {
        // SAFETY: it is the kernel's copy, which nothing is done with.
        (self.second_half.as_mut()).map(|half| unsafe { &*half.as_bytes_mut() })
    }

    /// It stays in flight until [`Kernel::complete`](super::Kernel::complete); what is linked to it waits.
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
    pub(super) fn of(sqe: &Sqe) -> Self {
        Self {
            user_data: sqe.user_data,
            flags: sqe.flags,
        }
    }

    pub(super) fn is_linked(self) -> bool {
        self.flags & (sqe_flags::IO_LINK | sqe_flags::IO_HARDLINK) != 0
    }

    /// `io_disarm_next`: a failure ends the chain, unless the link is a hard one.
    pub(super) fn ends_chain(self, res: i32) -> bool {
        res < 0 && self.flags & sqe_flags::IO_HARDLINK == 0
    }

    /// Its last CQE, if it posts one.
    pub(super) fn completion(self, res: i32) -> Option<Completion> {
        let is_skipped = res >= 0 && self.flags & sqe_flags::CQE_SKIP_SUCCESS != 0;
        (!is_skipped).then_some(Completion {
            user_data: self.user_data,
            res,
            flags: 0,
            extra: None,
        })
    }
}

/// An operation that has not completed for good, and the rest of its chain.
pub(super) struct Held {
    pub(super) operation: Operation,
    pub(super) rest: VecDeque<Taken>,
}

/// What a script threw. It fails the operation with EFAULT, and goes on to whoever had
/// the kernel run when the kernel is done.
pub(super) type Panic = Option<Box<dyn Any + Send>>;

pub(super) fn resume(panic: Panic) {
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// Runs the script for each of a chain, until one is held or ends it.
pub(super) fn run_chain(
    script: &mut Script,
    held: &mut Vec<Held>,
    mut chain: VecDeque<Taken>,
    mut has_ended: bool,
    completions: &mut Vec<Completion>,
) -> Panic {
    let mut panic = None;
    // `io_submit_fail_init`: what the kernel would not have fails its whole chain.
    has_ended |= chain.iter().any(|taken| taken.is_refused);
    while let Some(taken) = chain.pop_front() {
        let operation = Operation::of(&taken.sqe);
        let mut fate = Fate {
            operation,
            second_half: taken.second_half,
            completions,
            result: None,
        };
        if taken.is_refused {
            fate.complete(-libc::EINVAL);
            continue;
        }
        if has_ended {
            fate.complete(-libc::ECANCELED);
            continue;
        }
        let script = AssertUnwindSafe(|| script(&taken.sqe, &mut fate));
        if let Err(thrown) = catch_unwind(script) {
            fate.complete(-libc::EFAULT);
            panic = Some(thrown);
        }
        match fate.result {
            Some(res) => has_ended = operation.ends_chain(res),
            None => {
                held.push(Held {
                    operation,
                    rest: chain,
                });
                break;
            }
        }
    }
    panic
}
