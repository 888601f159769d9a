//! The operations in flight, by slot and generation.

use super::edges;
use super::op::{Completion, Id, Kind, OpId, Outcome};
use crate::abi::{Cqe, Timespec};
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use crate::sync::reached;
use crossbeam_utils::CachePadded;

/// Rule T1: a slot is its submitter's from [`Table::insert`] to the push; then nobody's,
/// until the CQE: the kernel hands it to whoever reaps. What a CQE names is believed only if
/// the slot's generation is the CQE's, and odd: in flight.
///
/// Rule T2: CQEs are looked up in the order in which they were posted, under one lock with
/// the reaping. Otherwise the last CQE of a multishot operation could free the slot while
/// another thread has yet to look up an earlier one.
pub(super) struct Table {
    entries: Box<[Entry]>,
    free: CachePadded<FreeList>,
}

/// Every field is an atomic, so that a CQE which names a slot wrongly reads nonsense and not
/// undefined memory. Relaxed throughout: the ring's edges order the submitter before the
/// reaper, the free list orders the reaper before the next submitter.
struct Entry {
    /// Odd while in flight.
    generation: AtomicU64,
    /// The user's.
    user_data: AtomicU64,
    /// Permits held.
    weight: AtomicU32,
    /// The next free slot, plus one.
    next: AtomicU32,
    /// Completions told.
    sequence: AtomicU32,
    /// CQEs to come: [`OP`], [`DEADLINE`]; whether it has a deadline: [`TIMED`]; of a chain
    /// its last operation: [`LAST`].
    awaited: AtomicU32,
    /// With a deadline: `res` and `flags` of the CQE that came first.
    first: AtomicU64,
    /// Result of a job, where the kernel cannot carry it.
    side: AtomicU32,
    /// Read by the kernel.
    deadline: UnsafeCell<Timespec>,
}

const OP: u32 = 1;
const DEADLINE: u32 = 2;
const TIMED: u32 = 4;

/// The CQEs to come.
const PARTS: u32 = OP | DEADLINE;

/// Where the place of a chain's last operation lies among those bits.
const LAST: u32 = 8;

// SAFETY: the timespec is written by the slot's one owner before its push (rule T1).
unsafe impl Sync for Table {}
// SAFETY: as for Sync.
unsafe impl Send for Table {}

/// A stack of slots. The tag changes with every change, so that a CAS does not take a list
/// for the one it saw when that has come back (in less than 2^32 changes).
struct FreeList(AtomicU64);

/// What a CQE came to.
pub(super) enum Answer {
    /// Tell the user.
    Completed(Completion),
    /// One of two CQEs; nothing to tell of it.
    Half,
    /// It names no operation in flight.
    Stale,
}

/// Slots and permits that a batch of CQEs has freed.
#[derive(Default)]
pub(super) struct Freed {
    /// The slots, linked, plus one each: first and last.
    pub(super) slots: Option<(u32, u32)>,
    pub(super) permits: u32,
    pub(super) operations: u64,
}

impl Table {
    /// Leaves its memory to the kernel.
    pub(super) fn leak(&mut self) {
        Box::leak(std::mem::take(&mut self.entries));
    }

    pub(super) fn new(slots: u32) -> Self {
        let entry = |slot: u32| Entry {
            generation: AtomicU64::new(0),
            user_data: AtomicU64::new(0),
            weight: AtomicU32::new(0),
            next: AtomicU32::new(if slot + 1 < slots { slot + 2 } else { 0 }),
            sequence: AtomicU32::new(0),
            awaited: AtomicU32::new(0),
            first: AtomicU64::new(0),
            side: AtomicU32::new(0),
            deadline: UnsafeCell::new(Timespec::default()),
        };
        Self {
            entries: (0..slots).map(entry).collect(),
            free: CachePadded::new(FreeList(AtomicU64::new(1))),
        }
    }

    /// Takes a slot for an operation. Whoever holds a permit finds one.
    pub(super) fn insert(&self, user_data: u64, weight: u32, has_deadline: bool) -> Option<Id> {
        let slot = self.pop()?;
        let entry = &self.entries[slot as usize];
        let generation = (entry.generation.load(Relaxed) + 1) & Id::GENERATIONS;
        entry.user_data.store(user_data, Relaxed);
        entry.weight.store(weight, Relaxed);
        entry.sequence.store(0, Relaxed);
        let awaited = if has_deadline {
            OP | DEADLINE | TIMED
        } else {
            OP
        };
        entry.awaited.store(awaited, Relaxed);
        entry.generation.store(generation, Relaxed);
        Some(Id::new(Kind::Op, slot, generation))
    }

    /// Says of an operation that is not pushed yet that it is a chain, which ends so.
    pub(super) fn set_last_member(&self, id: Id, last: u8) {
        let chain = OP | u32::from(last) << LAST;
        self.entries[id.slot() as usize]
            .awaited
            .store(chain, Relaxed);
    }

    /// The place of its last operation; 0 of what is no chain, or has ended.
    pub(super) fn last_member(&self, id: Id) -> u8 {
        let entry = &self.entries[id.slot() as usize];
        let last = (entry.awaited.load(Relaxed) >> LAST) as u8;
        // What is read of another operation does no harm: a request names this one.
        match entry.generation.load(Relaxed) == id.generation() {
            true => last,
            false => 0,
        }
    }

    /// Writes the deadline of an operation that is not pushed yet, and says where it lies.
    pub(super) fn set_deadline(&self, id: Id, deadline: Timespec) -> *const Timespec {
        self.entries[id.slot() as usize].deadline.with_mut(|place| {
            // SAFETY: the slot is its submitter's, who is the caller (rule T1).
            unsafe { place.write(deadline) };
            place.cast_const()
        })
    }

    /// Writes the result of a job, for a CQE that is not pushed yet and will say 0.
    pub(super) fn set_side(&self, id: Id, res: i32) {
        let entry = &self.entries[id.slot() as usize];
        entry.side.store(res.cast_unsigned(), Relaxed);
    }

    /// Takes back an operation that was not pushed.
    pub(super) fn withdraw(&self, id: Id) {
        let mut freed = Freed::default();
        self.free(id.slot(), &mut freed);
        self.put(freed.slots);
    }

    /// Looks a CQE up. In the order of the CQEs (rule T2).
    pub(super) fn complete(&self, cqe: Cqe, freed: &mut Freed) -> Answer {
        let id = Id(cqe.user_data());
        let Some(entry) = self.entries.get(id.slot() as usize) else {
            return Answer::Stale;
        };
        let generation = entry.generation.load(Relaxed);
        if generation != id.generation() || generation % 2 == 0 {
            reached("stale CQE");
            // A zero-copy send that ended with its chain, before it began, has said that no
            // more comes; its notification does.
            let is_late = id.kind() == Some(Kind::Op) && cqe.is_notif();
            return if is_late { Answer::Half } else { Answer::Stale };
        }
        let awaited = entry.awaited.load(Relaxed);
        let part = match id.kind() {
            Some(Kind::Op | Kind::Job | Kind::Panicked) => OP,
            Some(Kind::Deadline) => DEADLINE,
            _ => return Answer::Stale,
        };
        if awaited & part == 0 {
            return Answer::Stale;
        }
        let has_more = part == OP && cqe.has_more();
        if !has_more {
            entry.awaited.store(awaited & !part, Relaxed);
            if awaited & !part & PARTS != 0 {
                let first = u64::from(cqe.res.cast_unsigned()) | u64::from(cqe.flags) << 32;
                entry.first.store(first, Relaxed);
                return Answer::Half;
            }
            freed.permits += entry.weight.load(Relaxed);
            freed.operations += 1;
            self.free(id.slot(), freed);
        }
        let first = || {
            let first = entry.first.load(Relaxed);
            ((first as u32).cast_signed(), (first >> 32) as u32)
        };
        let (mut cqe, timer) = match part {
            DEADLINE => {
                let (res, flags) = first();
                (Cqe { res, flags, ..cqe }, Some(cqe.res))
            }
            // The timer's came before; also before one that is not the last.
            _ if awaited & (TIMED | DEADLINE) == TIMED => (cqe, Some(first().0)),
            _ => (cqe, None),
        };
        if matches!(id.kind(), Some(Kind::Job | Kind::Panicked)) && cqe.res == 0 {
            cqe.res = entry.side.load(Relaxed).cast_signed();
        }
        let outcome = match id.kind() {
            Some(Kind::Panicked) => Outcome::Panicked,
            _ => Outcome::of(&cqe, timer),
        };
        let sequence = entry.sequence.load(Relaxed);
        entry.sequence.store(sequence.wrapping_add(1), Relaxed);
        let user_data = entry.user_data.load(Relaxed);
        Answer::Completed(Completion {
            op: OpId(id.with_kind(Kind::Op).with_member(0)),
            member: id.member(),
            cqe: Cqe { user_data, ..cqe },
            outcome,
            is_last: !has_more,
            sequence,
        })
    }

    /// The `user_data` of every operation in flight.
    pub(super) fn in_flight(&self) -> Vec<u64> {
        self.open()
            .map(|entry| entry.user_data.load(Relaxed))
            .collect()
    }

    /// How many operations are in flight, or about to be.
    pub(super) fn count(&self) -> u64 {
        self.open().count() as u64
    }

    fn open(&self) -> impl Iterator<Item = &Entry> {
        let is_open = |entry: &&Entry| entry.generation.load(Relaxed) % 2 == 1;
        self.entries.iter().filter(is_open)
    }

    /// Ends a slot's generation, and links the slot to those that will be free.
    fn free(&self, slot: u32, freed: &mut Freed) {
        let entry = &self.entries[slot as usize];
        let generation = entry.generation.load(Relaxed);
        entry
            .generation
            .store((generation + 1) & Id::GENERATIONS, Relaxed);
        let (first, last) = freed.slots.unwrap_or((0, slot + 1));
        entry.next.store(first, Relaxed);
        freed.slots = Some((slot + 1, last));
    }

    /// Makes freed slots free. Before their permits: who holds a permit finds a slot.
    pub(super) fn put(&self, slots: Option<(u32, u32)>) {
        let Some((first, last)) = slots else { return };
        let last = &self.entries[last as usize - 1];
        let list = &self.free.0;
        // Ordering: Relaxed; a stale list fails the CAS.
        let mut seen = list.load(Relaxed);
        loop {
            // Ordering: Relaxed; the CAS passes it on.
            last.next.store(seen as u32, Relaxed);
            // Ordering: Release, see `SLOT_FREED`. Relaxed on failure: tried again.
            let freed = edges::SLOT_FREED.order();
            match list.compare_exchange(seen, changed(seen, first), freed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    fn pop(&self) -> Option<u32> {
        let list = &self.free.0;
        // Ordering: Acquire, see `SLOT_TAKEN`: the slot's `next` is the one put there with it.
        let mut seen = list.load(edges::SLOT_TAKEN.order());
        loop {
            let slot = (seen as u32).checked_sub(1)?;
            // Ordering: Relaxed; perhaps another's by now, then the CAS fails.
            let next = self.entries[slot as usize].next.load(Relaxed);
            // Ordering: Relaxed on success: what is needed was acquired with `seen`, and the
            // slots below stay released by whoever put them. Acquire on failure, as above.
            let again = edges::SLOT_TAKEN.order();
            match list.compare_exchange(seen, changed(seen, next), Relaxed, again) {
                Ok(_) => return Some(slot),
                Err(now) => {
                    reached("slot lost");
                    seen = now;
                }
            }
        }
    }
}

/// The list with another first slot.
fn changed(list: u64, first: u32) -> u64 {
    ((list >> 32) + 1) << 32 | u64::from(first)
}
