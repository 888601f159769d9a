//! The completion queue: many reapers, no claim before the read.
//! The protocol is in [`super`], rules C1 to C5.

#[cfg(not(ringway_loom))]
mod local;

use super::Owner;
use super::edges;
use super::view::CqView;
use crate::abi::{Cqe, Cqe32, cqe_flags};
use crate::mapping::EntrySize;
use crate::sync::{Mark, ReadMarks, reached};

pub(crate) struct CqQueue {
    pub(crate) view: CqView,
    marks: ReadMarks,
    #[cfg(not(ringway_loom))]
    taken: local::Taken,
}

impl CqQueue {
    /// `marks` are shared with a simulated kernel, which overwrites what was read.
    pub(crate) fn new(view: CqView, marks: ReadMarks) -> Self {
        Self {
            #[cfg(not(ringway_loom))]
            taken: local::Taken::new(view.head()),
            view,
            marks,
        }
    }

    /// The head, and how many slots the kernel has filled from there.
    ///
    /// More than there are: the head that was seen is a lap behind the tail, since another
    /// reaper has moved it, and then nothing is taken from there (rule C2). Or the kernel has
    /// overrun the ring, as 6.18 does with CQEs of mixed sizes.
    #[inline(always)]
    fn filled(&self) -> (u32, u32) {
        // Head before tail (rule C1): the other way round, or with a Relaxed head, the tail
        // could be older than the head.
        let head = self.view.head();
        let filled = self.view.tail().wrapping_sub(head);
        if filled <= self.view.entries() || edges::broken("LAP_UNCHECKED") {
            return (head, filled);
        }
        if cfg!(ringway_loom) {
            assert!(filled as i32 > 0, "rule C1: a tail older than its head");
        }
        reached("lap seen");
        (head, self.view.entries())
    }

    /// Whether all CQEs are of 16 bytes.
    #[inline(always)]
    pub(super) fn is_small(&self) -> bool {
        self.view.size() == EntrySize::Small
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled().1 == 0
    }

    /// Slots filled and not taken: CQEs, except where 32-byte ones are mixed in.
    pub(crate) fn ready(&self) -> u32 {
        self.filled().1
    }

    #[inline(always)]
    pub(crate) fn pop<R: Owner>(&self) -> Option<Cqe> {
        if !self.is_small() {
            return self.pop_big().map(|big| big.cqe);
        }
        #[cfg(not(ringway_loom))]
        if R::IS_LOCAL {
            return self.pop_local();
        }
        debug_assert!(!R::IS_LOCAL);
        loop {
            let (head, filled) = self.filled();
            if filled == 0 {
                return None;
            }
            let mark = self.marks.begin();
            let cqe = self.view.read_small(self.view.slot_of(head));
            if self.take(head, 1, &mark) {
                return Some(cqe);
            }
        }
    }

    /// Moves up to `out.len()` CQEs out of the ring, oldest first.
    #[inline]
    pub(crate) fn pop_batch<R: Owner>(&self, out: &mut [Cqe]) -> usize {
        if !self.is_small() {
            return self.pop_sized(out.len(), |i, cqe, _| out[i] = cqe);
        }
        #[cfg(not(ringway_loom))]
        if R::IS_LOCAL {
            return self.pop_batch_local(out);
        }
        debug_assert!(!R::IS_LOCAL);
        loop {
            let (head, filled) = self.filled();
            let count = out.len().min(filled as usize);
            if count == 0 {
                return 0;
            }
            let mark = self.marks.begin();
            self.view.read_all(head, &mut out[..count]);
            if self.take(head, count as u32, &mark) {
                return count;
            }
        }
    }

    pub(crate) fn pop_big(&self) -> Option<Cqe32> {
        let mut one = None;
        let count = self.pop_sized(1, |_, cqe, extra| one = Some(Cqe32 { cqe, extra }));
        // Something may have been read, and lost to another reaper.
        one.filter(|_| count == 1 || edges::broken("STALE_READ_KEPT"))
    }

    /// Steps over padding; true if there is nothing behind it yet.
    #[cold]
    pub(crate) fn skip_padding(&self) -> bool {
        if self.view.size() != EntrySize::Mixed || edges::broken("PADDING_IS_ALL") {
            return false;
        }
        let ready = self.ready();
        self.pop_sized(0, |_, _, _| ());
        ready > 0 && self.is_empty()
    }

    /// CQEs of whatever size, one look at each: steps over padding, never ends inside a CQE.
    /// `put` may be called again for the same place, when another reaper was faster.
    #[cold]
    fn pop_sized(&self, max: usize, mut put: impl FnMut(usize, Cqe, [u64; 2])) -> usize {
        loop {
            let (head, filled) = self.filled();
            let mark = self.marks.begin();
            let (mut slots, mut count) = (0, 0);
            let mut is_cut = false;
            while slots < filled {
                let slot = self.view.slot_of(head.wrapping_add(slots));
                let cqe = self.view.read(slot);
                let is_mixed = self.view.size() == EntrySize::Mixed;
                let len = 1 + u32::from(is_mixed && cqe.flags & cqe_flags::BIG != 0);
                // Words that were overwritten while they were read may say anything; of a ring
                // that the kernel has overrun, what ends outside is the next to take.
                is_cut = slots + len > filled;
                if is_cut {
                    break;
                }
                // The kernel's padding is small, that of a message may be big.
                if is_mixed && cqe.flags & cqe_flags::SKIP != 0 {
                    slots += len;
                    continue;
                }
                if count == max {
                    break;
                }
                slots += len;
                put(count, cqe, self.view.read_extra(slot, cqe));
                count += 1;
            }
            let is_taken = match slots {
                0 => !is_cut,
                _ => self.take(head, slots, &mark),
            };
            if is_taken {
                return count;
            }
        }
    }

    #[inline(always)]
    fn take(&self, head: u32, slots: u32, mark: &Mark) -> bool {
        if self.view.claim(head, head.wrapping_add(slots)).is_err() {
            reached("CQEs lost");
            return false;
        }
        for i in 0..slots {
            self.marks
                .commit(self.view.slot_of(head.wrapping_add(i)), mark);
        }
        true
    }
}

#[cfg(all(test, not(ringway_loom)))]
mod tests {
    use super::*;
    use crate::mapping::Pointers;
    use crate::ring::Ring;
    use crate::sync::atomic::{AtomicU32, AtomicU64};
    use std::ptr::NonNull;
    use std::sync::mpsc;
    use std::time::Duration;

    /// A mixed CQ of four slots that holds these words, with as many filled as are given.
    fn mixed(cqes: &'static [AtomicU64; 8], filled: u32) -> CqQueue {
        let word = |value| NonNull::from(Box::leak(Box::new(AtomicU32::new(value))));
        let pointers = Pointers {
            sq_head: word(0),
            sq_tail: word(0),
            sq_flags: word(0),
            sq_dropped: word(0),
            sq_array: None,
            sqes: NonNull::dangling(),
            sqe_size: EntrySize::Small,
            sq_entries: 4,
            cq_head: word(0),
            cq_tail: word(filled),
            cq_flags: word(0),
            cq_overflow: word(0),
            cqes: NonNull::from(cqes).cast(),
            cqe_size: EntrySize::Mixed,
            cq_entries: 4,
        };
        // SAFETY: all of it is leaked, but the SQEs, which a CQ does not look at.
        let view = unsafe { CqView::new(pointers) };
        CqQueue::new(view, ReadMarks::new(4))
    }

    /// A big CQE in the last slot, whose second half lies on the first one.
    #[test]
    fn a_ring_that_was_overrun_is_reaped_to_its_end() {
        let big = u64::from(cqe_flags::BIG) << 32;
        let words = [90, 0, 1, 0, 2, 0, 3, big.to_le()].map(AtomicU64::new);
        let cq = mixed(Box::leak(Box::new(words)), 5);
        let (reaped, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut cqes = [Cqe::default(); 8];
            for _ in 0..3 {
                let count = cq.pop_batch::<Ring>(&mut cqes);
                let _ = reaped.send(cqes[..count].iter().map(Cqe::user_data).collect::<Vec<_>>());
            }
        });
        let next = || told.recv_timeout(Duration::from_secs(20)).expect("an end");
        assert_eq!(next(), [90, 1, 2]);
        assert_eq!(next(), [3]);
        assert!(next().is_empty());
    }
}
