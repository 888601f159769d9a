//! The submission queue: claiming slots, pushing them, publishing the tail.
//! The protocol is in [`super`], rules S1 to S8.

#[cfg(not(ringway_loom))]
pub(super) mod local;
mod walk;

use super::Owner;
use super::edges;
use super::hint;
use super::index::{self, Found, Stamp};
use super::view::SqView;
use crate::abi::Sqe;
use crate::setup::Order;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::{ReadMarks, UnsafeCell, reached};
use crossbeam_utils::CachePadded;
use std::mem::MaybeUninit;

pub(crate) use walk::Walk;

/// Batches up to this size are claimed without allocating.
const STACK_BATCH: usize = 128;

/// A ring of fewer entries is not worth cutting.
const SMALL: u32 = 16;

/// How far ahead of a push its lines are fetched: by then they are there.
const AHEAD: u64 = 4;

/// Words from one stamp to the next. Who publishes reads stamps while others push: with all in
/// a few lines they take these from each other, with each in its own a walk over single pushes
/// waits for every one.
const SPREAD: usize = if cfg!(ringway_loom) { 1 } else { 2 };

pub(crate) struct SqQueue {
    pub(crate) view: SqView,
    order: Order,
    claims: CachePadded<Claims>,
    /// Tickets given out. Any order only: in claim order the claim is the ticket. Of a local
    /// ring, in either order: what is pushed without a gap (rule L2).
    tickets: CachePadded<AtomicU64>,
    /// One per cell, `SPREAD` words apart: whether the batch whose first ticket it is, is
    /// ready (rule S4).
    stamps: Box<[AtomicU64]>,
    /// Any order: for each slot of a claimed batch the next one; its owner's alone.
    links: Box<[UnsafeCell<u32>]>,
    /// What a pass publishes at most (rule E7).
    half: i64,
    /// Cells that claimers read (rule S3).
    marks: ReadMarks,
    /// Gaps that submitters looked behind (rule S6).
    gaps: ReadMarks,
    #[cfg(not(ringway_loom))]
    local: local::State,
}

/// Both are read by every pop; one line holds them.
struct Claims {
    /// Slots claimed since the start.
    next: AtomicU64,
    /// Claims that the kernel's head is known to allow.
    limit: AtomicU64,
}

// SAFETY: the cells in `links` belong to the owner of the slot (rule S1); all else
// is atomic.
unsafe impl Sync for SqQueue {}

/// From where the kernel will read the last batch that is published; those before it, most
/// likely, from the caches of other threads.
#[derive(Clone, Copy)]
pub(crate) enum Read {
    /// The cache of the thread that publishes, which has just pushed it.
    Here,
    Elsewhere,
}

fn stamps(words: usize, start: u64) -> Box<[AtomicU64]> {
    let unready = || AtomicU64::new(Stamp::before(start).0);
    (0..words).map(|_| unready()).collect()
}

/// A claimed run of slots: where it starts and how many.
#[derive(Clone, Copy)]
pub(crate) struct Claim {
    /// The claim's position, which in claim order is also its first ticket.
    pub(crate) position: u64,
    /// The first slot.
    pub(crate) slot: u32,
    pub(crate) len: u32,
    /// 1 if the slots are found by links; else they follow each other. A word: in a bool, an
    /// `Option` would hide its tag, and looking for it there costs 14 instructions an operation.
    pub(crate) linked: u32,
}

impl SqQueue {
    /// The ring must be empty: head and tail equal.
    pub(crate) fn new(view: SqView, order: Order) -> Self {
        let entries = view.entries();
        let start = u64::from(view.tail());
        if order == Order::Any {
            for cell in 0..entries {
                view.set_index(cell, cell);
            }
        }
        let links = if order == Order::Any { entries } else { 0 };
        Self {
            view,
            order,
            claims: CachePadded::new(Claims {
                next: AtomicU64::new(start),
                limit: AtomicU64::new(start + u64::from(entries)),
            }),
            tickets: CachePadded::new(AtomicU64::new(start)),
            stamps: stamps(entries as usize * SPREAD, start),
            half: i64::from(if entries < SMALL {
                entries
            } else {
                entries / 2
            }),
            links: (0..links).map(|_| UnsafeCell::new(0)).collect(),
            marks: ReadMarks::new(entries),
            gaps: ReadMarks::new(entries),
            #[cfg(not(ringway_loom))]
            local: local::State::default(),
        }
    }

    #[inline(always)]
    pub(crate) fn pop<R: Owner>(&self) -> Option<Claim> {
        #[cfg(not(ringway_loom))]
        if R::IS_LOCAL {
            return self.pop_local(1);
        }
        let mut slot = 0;
        let read = |at| {
            slot = self.slot_at(at);
            true
        };
        let position = self.claim::<R>(|_| 1, read)?;
        hint::will_write(self.sqe(position.wrapping_add(AHEAD)));
        let claim = Claim {
            position,
            slot,
            len: 1,
            linked: 0,
        };
        self.clear_if_big(claim);
        Some(claim)
    }

    #[inline(always)]
    pub(crate) fn pop_batch<R: Owner>(&self, len: u32) -> Option<Claim> {
        if len == 0 {
            return None;
        }
        #[cfg(not(ringway_loom))]
        if R::IS_LOCAL {
            return self.pop_local(len);
        }
        let claim = match self.order {
            Order::Claim => self.pop_in_claim_order::<R>(len)?,
            Order::Any => self.pop_run::<R>(len)?,
        };
        if claim.linked == 0 {
            let slots = claim.slot..claim.slot.wrapping_add(len);
            // SAFETY: the slots are the ring's.
            let sqe = |slot| unsafe { self.view.sqes().of(slot & self.view.mask()) };
            slots.for_each(|slot| hint::will_write(sqe(slot)));
        }
        self.clear_if_big(claim);
        Some(claim)
    }

    #[inline(always)]
    fn pop_in_claim_order<R: Owner>(&self, len: u32) -> Option<Claim> {
        let position = self.claim::<R>(|_| len, |_| true)?;
        Some(self.in_claim_order(position, len))
    }

    fn in_claim_order(&self, position: u64, len: u32) -> Claim {
        Claim {
            position,
            slot: self.view.cell(position),
            len,
            linked: 0,
        }
    }

    /// In any order: slots that follow each other, as they do where all are pushed as they
    /// were popped, or in batches of one size; else any.
    #[inline(always)]
    fn pop_run<R: Owner>(&self, len: u32) -> Option<Claim> {
        let (mut slot, mut is_run) = (0, true);
        let read = |at: u64| {
            slot = self.slot_at(at);
            let follows =
                |i: u32| self.slot_at(at.wrapping_add(i.into())) == self.view.wrap(slot, i);
            is_run = (1..len).all(follows);
            is_run
        };
        match self.claim::<R>(|_| len, read) {
            Some(position) => Some(Claim {
                position,
                slot,
                len,
                linked: 0,
            }),
            None if is_run => None,
            None => self.pop_linked::<R>(len),
        }
    }

    /// Claims two neighbours; of the last slot of the ring, which has none, that slot
    /// alone. Claim order only.
    pub(crate) fn pop_pair<R: Owner>(&self) -> Option<Claim> {
        let len = |at| {
            if self.view.cell(at) == self.view.mask() && !edges::broken("STRADDLE") {
                1
            } else {
                2
            }
        };
        let position = self.claim::<R>(len, |_| true)?;
        Some(self.in_claim_order(position, len(position)))
    }

    #[inline(never)]
    fn pop_linked<R: Owner>(&self, len: u32) -> Option<Claim> {
        reached("slots linked");
        if len as usize <= STACK_BATCH {
            let mut slots = [const { MaybeUninit::uninit() }; STACK_BATCH];
            self.pop_into::<R>(&mut slots[..len as usize])
        } else {
            self.pop_into::<R>(&mut vec![MaybeUninit::uninit(); len as usize])
        }
    }

    fn pop_into<R: Owner>(&self, slots: &mut [MaybeUninit<u32>]) -> Option<Claim> {
        let len = slots.len() as u32;
        let read = |at: u64| {
            for (i, slot) in slots.iter_mut().enumerate() {
                slot.write(self.slot_at(at.wrapping_add(i as u64)));
            }
            true
        };
        let position = self.claim::<R>(|_| len, read)?;
        // SAFETY: a claim that succeeded has run the closure, which wrote each.
        let slots = unsafe { &*(std::ptr::from_ref(slots) as *const [u32]) };
        for pair in slots.windows(2) {
            // SAFETY: the claim made these slots, and so their links, ours alone
            // (rule S1).
            self.links[pair[0] as usize].with_mut(|link| unsafe { *link = pair[1] });
        }
        Some(Claim {
            position,
            slot: slots[0],
            len,
            linked: 1,
        })
    }

    /// Where the SQE of a position lies: in any order, as the array has it now.
    #[inline(always)]
    fn sqe(&self, at: u64) -> *const UnsafeCell<Sqe> {
        // SAFETY: the slot is one of the ring's.
        unsafe { self.view.sqes().of(self.slot_at(at)) }
    }

    /// The slot that a claim of position `at` gets.
    #[inline(always)]
    fn slot_at(&self, at: u64) -> u32 {
        match self.order {
            Order::Any => self.view.index(self.view.cell(at)),
            Order::Claim => self.view.cell(at),
        }
    }

    /// The slots of a claim, in order.
    ///
    /// # Safety
    ///
    /// The caller owns the claim for as long as it walks.
    #[inline(always)]
    pub(crate) unsafe fn walk(&self, claim: Claim) -> Walk<'_> {
        let links = (claim.linked != 0).then_some(&self.links[..]);
        Walk {
            links,
            mask: self.view.mask(),
            next: claim.slot,
            left: claim.len,
        }
    }

    /// Claims as many positions as `len` says from the first of them; `read` looks at their
    /// cells before the claim, and may not want them.
    #[inline(always)]
    fn claim<R: Owner>(
        &self,
        len: impl Fn(u64) -> u32,
        mut read: impl FnMut(u64) -> bool,
    ) -> Option<u64> {
        // Ordering: Relaxed; a stale position fails the CAS.
        let mut at = self.claims.next.load(Relaxed);
        loop {
            let len = len(at);
            // Ordering: Acquire, see `SQ_LIMIT_SEEN`; Relaxed would hand out a slot
            // that the kernel's head freed for another thread only.
            let limit = self.claims.limit.load(edges::SQ_LIMIT_SEEN.order());
            if index::ahead(at, limit) < i64::from(len)
                && index::ahead(at, self.raise_limit(at)) < i64::from(len)
            {
                return None;
            }
            let mark = self.marks.begin();
            if !read(at) {
                return None;
            }
            let next = at.wrapping_add(u64::from(len));
            if R::IS_LOCAL {
                // Ordering: Relaxed; of one thread (rule L1).
                self.claims.next.store(next, Relaxed);
                return Some(at);
            }
            // Ordering: AcqRel, see `SQ_CLAIM`: the cells were read before anybody
            // who sees this claim, or one after it, may overwrite them (rule S3).
            // Relaxed on failure: what was read is thrown away.
            match self
                .claims
                .next
                .compare_exchange(at, next, edges::SQ_CLAIM.order(), Relaxed)
            {
                Ok(_) => {
                    for i in 0..u64::from(len) {
                        self.marks.commit(self.view.cell(at.wrapping_add(i)), &mark);
                    }
                    return Some(at);
                }
                Err(now) => {
                    reached("claim lost");
                    at = now;
                }
            }
        }
    }

    /// Looks at the kernel's head, for a claimer that has run into the limit.
    ///
    /// `near` may be stale: the head extended from it is then too low or exact, never
    /// too high, and a limit that is too low only costs another look (rule S5).
    #[cold]
    fn raise_limit(&self, near: u64) -> u64 {
        let head = index::extend(self.view.head(), near);
        let limit = head.wrapping_add(u64::from(self.view.entries()));
        // Ordering: Release, see `SQ_LIMIT_RAISED`. A maximum, since a thread with
        // an older head may come later.
        self.claims
            .limit
            .fetch_max(limit, edges::SQ_LIMIT_RAISED.order());
        limit
    }

    /// Makes a claimed batch ready for the kernel. True if a submitter left what is
    /// behind it to the caller, who must then submit (rule S6).
    #[inline(always)]
    pub(crate) fn push<R: Owner>(&self, claim: Claim) -> bool {
        #[cfg(not(ringway_loom))]
        if R::IS_LOCAL {
            return self.push_local(claim);
        }
        debug_assert!(!R::IS_LOCAL);
        match self.order {
            Order::Claim => self.stamp(claim.position, claim.len),
            Order::Any => {
                // Ordering: AcqRel, see `SQ_TICKET`: all claims of all earlier tickets are
                // before this one, so the cell is free (rule S3).
                let ticket =
                    (self.tickets).fetch_add(u64::from(claim.len), edges::SQ_TICKET.order());
                // At the place of its claim its cells are as they were read (rule S3).
                if ticket != claim.position {
                    self.set_indices(ticket, claim);
                }
                self.stamp(ticket, claim.len)
            }
        }
    }

    /// Puts the claim's slots into the cells of its tickets.
    #[inline(always)]
    fn set_indices(&self, ticket: u64, claim: Claim) {
        // SAFETY: the claim is the caller's until it is pushed.
        for (slot, i) in unsafe { self.walk(claim) }.zip(0..) {
            let cell = self.view.cell(ticket.wrapping_add(i));
            self.marks.overwrite(cell);
            self.view.set_index(cell, slot);
        }
    }

    #[inline(always)]
    fn stamp(&self, ticket: u64, len: u32) -> bool {
        if edges::broken("STAMP_PER_SQE") && len > 1 {
            let wanted = (0..u64::from(len)).map(|i| self.stamp(ticket.wrapping_add(i), 1));
            return wanted.fold(false, |any, one| any | one);
        }
        let (stamp, ready) = (self.stamp_of(ticket), Stamp::ready(ticket, len).0);
        hint::will_write(self.stamp_of(ticket.wrapping_add(AHEAD * u64::from(len))));
        // Ordering: AcqRel, see `SQ_READY`. A swap, not a store: a submitter that
        // found the gap and this push agree on which of them saw the other.
        let before = stamp.swap(ready, edges::SQ_READY.order());
        let is_wanted = before == Stamp::wanted(ticket).0;
        if is_wanted {
            reached("gap filled");
            self.gaps.overwrite(self.view.cell(ticket));
        }
        is_wanted
    }

    #[inline(always)]
    fn stamp_of(&self, ticket: u64) -> &AtomicU64 {
        let cell = self.view.cell(ticket) as usize;
        // SAFETY: there is a stamp for each cell, so far apart.
        unsafe { self.stamps.get_unchecked(cell * SPREAD) }
    }

    /// Tickets given out so far.
    #[inline(always)]
    pub(crate) fn end(&self) -> u64 {
        // Ordering: Relaxed; the tickets that a submitter must see reached it by the fences of
        // `SUBMIT_ASKED` and `SUBMIT_LEFT`, later ones ask for themselves.
        match self.order {
            Order::Any => self.tickets.load(Relaxed),
            Order::Claim => self.claims.next.load(Relaxed),
        }
    }

    /// About half the ring; all of a small one.
    #[inline(always)]
    pub(crate) fn half(&self) -> i64 {
        self.half
    }

    /// Moves the kernel's tail over the batches that are ready, until one is not, or it has
    /// moved by `most`, and says where it is. `near` was not far from there.
    ///
    /// Any number of threads may publish at once; each moves the tail forward from
    /// where it found it (rule S7). Lock-free: a step is repeated only because another
    /// thread published.
    #[inline(always)]
    pub(crate) fn publish(&self, near: u64, most: i64, read: Read) -> u64 {
        #[cfg(not(ringway_loom))]
        if self.local.is_owned {
            return self.publish_local();
        }
        let mut near = near;
        loop {
            let from = index::extend(self.view.tail(), near);
            let Some(to) = self.walk_ready(from, most, read) else {
                reached("stale tail");
                near = self.end();
                continue;
            };
            if from == to || self.view.publish(from as u32, to as u32).is_ok() {
                return to;
            }
            reached("tail moved by another");
        }
    }

    /// Where what is ready ends; `None` if somebody has published what is there already, and
    /// saw the kernel take it.
    #[inline(always)]
    fn walk_ready(&self, from: u64, most: i64, read: Read) -> Option<u64> {
        let (mut to, mut last) = (from, from);
        while index::ahead(from, to) < most {
            match self.stamp_seen(to).look(to) {
                Found::Ready(len) => {
                    if to != last {
                        self.fetch(last, to);
                        last = to;
                    }
                    to = to.wrapping_add(u64::from(len));
                    hint::will_read(self.stamp_of(to.wrapping_add(u64::from(len))));
                }
                Found::Newer => return None,
                Found::Older => break,
            }
        }
        if matches!(read, Read::Elsewhere) || index::ahead(from, to) >= most {
            self.fetch(last, to);
        }
        Some(to)
    }

    /// As `publish`, of everything that has a ticket now and no gap before it. A gap is left to
    /// who fills it.
    pub(crate) fn publish_all(&self) -> u64 {
        let end = self.end();
        loop {
            let to = self.publish(end, i64::MAX, Read::Elsewhere);
            if index::ahead(to, end) <= 0 || !self.is_more(to) {
                return to;
            }
        }
    }

    /// Whether the batch at `ticket` is ready.
    #[inline(always)]
    pub(crate) fn is_ready(&self, ticket: u64) -> bool {
        matches!(self.stamp_seen(ticket).look(ticket), Found::Ready(_))
    }

    /// Whether something lies ready at `from`, where the tail was. What lies behind a gap is
    /// left to who fills that (rule S6).
    #[inline(always)]
    pub(crate) fn is_more(&self, from: u64) -> bool {
        let mut from = from;
        loop {
            let seen = self.stamp_seen(from);
            let found = seen.look(from);
            if let Found::Ready(_) = found {
                return true;
            }
            let end = self.end();
            if let Found::Newer = found {
                reached("stale tail");
                from = index::extend(self.view.tail(), end);
            } else if index::ahead(from, end) <= 0 || self.leave_to_filler(seen, from, end) {
                return false;
            }
        }
    }

    #[inline(always)]
    fn stamp_seen(&self, ticket: u64) -> Stamp {
        // Ordering: Acquire, see `SQ_STAMP_SEEN`: the batch is the publisher's to pass on.
        Stamp(self.stamp_of(ticket).load(edges::SQ_STAMP_SEEN.order()))
    }

    /// Has the lines brought here that the kernel is about to read, all in the time of one.
    #[inline(never)]
    fn fetch(&self, from: u64, to: u64) {
        let len = to.wrapping_sub(from);
        (0..len).for_each(|i| hint::will_read(self.sqe(from.wrapping_add(i))));
    }

    /// Marks a gap, unless it is marked, or nothing behind it is ready that a submit could
    /// have been asked for. False if it was filled meanwhile.
    #[cold]
    fn leave_to_filler(&self, seen: Stamp, gap: u64, end: u64) -> bool {
        let behind = 1..index::ahead(gap, end) as u64;
        let is_ready = |i| {
            let ticket = gap.wrapping_add(i);
            // Ordering: Relaxed; only whether it is there counts, `SQ_GAP` passes it on
            // and the fences have made visible what was asked for.
            let stamp = Stamp(self.stamp_of(ticket).load(Relaxed));
            matches!(stamp.look(ticket), Found::Ready(_))
        };
        let wanted = Stamp::wanted(gap);
        if seen == wanted || !behind.into_iter().any(is_ready) || edges::broken("NO_GAP_MARK") {
            return true;
        }
        let mark = self.gaps.begin();
        // Ordering: Release, see `SQ_GAP`: the batches behind the gap go to whoever fills it.
        // Relaxed on failure: it was filled, and is looked at again.
        let marked =
            self.stamp_of(gap)
                .compare_exchange(seen.0, wanted.0, edges::SQ_GAP.order(), Relaxed);
        match marked {
            Ok(_) => {
                reached("gap marked");
                self.gaps.commit(self.view.cell(gap), &mark);
            }
            Err(_) => reached("gap closed"),
        }
        marked.is_ok()
    }

    /// Slots that are neither free nor consumed: claimed, pushed or published. A
    /// snapshot: other threads change it while it is taken.
    pub(crate) fn in_use(&self) -> u32 {
        // Ordering: Relaxed; a snapshot.
        let next = self.claims.next.load(Relaxed);
        let head = index::extend(self.view.head_hint(), next);
        index::ahead(head, next).clamp(0, i64::from(self.view.entries())) as u32
    }
}
