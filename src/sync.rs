//! The primitives that threads share: `std` in production, loom's under
//! `cfg(ringway_loom)`.
//!
//! Everything above this file takes its atomics, cells, `Arc` and futex from
//! here, so that the models check the functions that ship. `clippy.toml`
//! refuses the raw types elsewhere.
//!
//! Under loom the types have other sizes: pointers into a kernel mapping are
//! never cast to them (the mapping is not compiled there).
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

#[cfg(not(ringway_loom))]
pub(crate) use std_side::*;

#[cfg(ringway_loom)]
pub(crate) use loom_side::*;

/// A number that orders nothing and that nothing depends on. Also under loom it is one of
/// `std`: the models need not tell its values apart.
#[derive(Default)]
pub(crate) struct Tally(std::sync::atomic::AtomicU64);

impl Tally {
    #[inline(always)]
    pub(crate) fn add(&self, count: u64) {
        // Ordering: Relaxed; a statistic.
        self.0
            .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    }

    /// As `add`, by threads that take turns: costs no locked instruction.
    #[inline(always)]
    pub(crate) fn add_in_turn(&self, count: u64) {
        let before = self.get();
        // Ordering: Relaxed; a statistic, whose last value came over with the turn.
        self.0
            .store(before + count, std::sync::atomic::Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        // Ordering: Relaxed; a statistic.
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A flag that may be seen late, or early: nothing but time is lost. One of `std`, as `Tally`.
#[derive(Default)]
pub(crate) struct Hint(std::sync::atomic::AtomicBool);

impl Hint {
    #[inline(always)]
    pub(crate) fn set(&self, to: bool) {
        // Ordering: Relaxed; a hint.
        self.0.store(to, std::sync::atomic::Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> bool {
        // Ordering: Relaxed; a hint.
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// What a lock guards, also after a panic under it: it is whole whenever anything may panic.
pub(crate) fn unpoisoned<T>(locked: std::sync::LockResult<T>) -> T {
    locked.unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(not(ringway_loom))]
mod std_side {
    use std::cell;
    use std::time::{Duration, Instant};

    #[cfg(feature = "sim")]
    pub(crate) use std::sync::Condvar;
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) mod atomic {
        // Aliases: the ban in clippy.toml follows a re-export to where it is used.
        pub(crate) type AtomicBool = std::sync::atomic::AtomicBool;
        /// For memory of the kernel's that models do not have.
        pub(crate) type AtomicU16 = std::sync::atomic::AtomicU16;
        pub(crate) type AtomicU32 = std::sync::atomic::AtomicU32;
        pub(crate) type AtomicU64 = std::sync::atomic::AtomicU64;
        pub(crate) use std::sync::atomic::Ordering;

        #[inline(always)]
        pub(crate) fn fence(order: Ordering) {
            std::sync::atomic::fence(order);
        }
    }

    /// `UnsafeCell` with loom's interface. `repr(transparent)`: it may lie over
    /// memory that the kernel mapped.
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(cell::UnsafeCell::new(value))
        }

        #[cfg(feature = "sim")]
        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// When a wait ends by itself.
    pub(crate) struct Deadline(Option<Instant>);

    impl Deadline {
        /// A timeout beyond the clock's range is none.
        pub(crate) fn after(timeout: Option<Duration>) -> Self {
            Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
        }

        /// Zero when it is over, `None` when there is none.
        pub(crate) fn left(&self) -> Option<Duration> {
            self.0
                .map(|at| at.saturating_duration_since(Instant::now()))
        }
    }

    /// Waits for a notification, but no longer than this.
    #[cfg(feature = "sim")]
    pub(crate) fn wait_for<'m, T>(
        condvar: &Condvar,
        _mutex: &'m Mutex<T>,
        guard: MutexGuard<'m, T>,
        timeout: Duration,
    ) -> MutexGuard<'m, T> {
        super::unpoisoned(condvar.wait_timeout(guard, timeout)).0
    }

    pub(crate) use std::thread::yield_now;

    /// A word that threads sleep on: futex(2), private to the process.
    pub(crate) struct Futex(atomic::AtomicU32);

    impl Futex {
        pub(crate) fn new() -> Self {
            Self(atomic::AtomicU32::new(0))
        }

        /// The word itself; its changes are the caller's to order.
        pub(crate) fn word(&self) -> &atomic::AtomicU32 {
            &self.0
        }

        /// Sleeps while the word is `seen`: until a wake, the timeout, a signal or
        /// no reason at all.
        pub(crate) fn wait(&self, seen: u32, timeout: Option<Duration>) {
            let spec = timeout.map(|t| libc::timespec {
                tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: t.subsec_nanos().into(),
            });
            let spec = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the word and the timespec outlive the call; futex(2) with
            // FUTEX_WAIT reads both and writes neither. The result is not looked at:
            // each way of returning means "look again" to the caller.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.0.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    seen,
                    spec,
                );
            }
        }

        /// Wakes at most one sleeper.
        pub(crate) fn wake_one(&self) {
            self.wake(1);
        }

        /// Wakes all sleepers.
        pub(crate) fn wake_all(&self) {
            self.wake(i32::MAX);
        }

        fn wake(&self, count: i32) {
            // SAFETY: FUTEX_WAKE does not access the word; its address is the key.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.0.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    count,
                );
            }
        }
    }

    /// Ties a speculative read to the overwrite that follows it; see the loom side.
    /// In production it holds nothing and does nothing.
    #[derive(Clone)]
    pub(crate) struct ReadMarks;

    /// One speculative read.
    pub(crate) struct Mark;

    /// A place that models want to know they came by.
    #[inline(always)]
    pub(crate) fn reached(_place: &'static str) {}

    impl ReadMarks {
        pub(crate) fn new(_slots: u32) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn begin(&self) -> Mark {
            Mark
        }

        #[inline(always)]
        pub(crate) fn commit(&self, _slot: u32, _mark: &Mark) {}

        #[inline(always)]
        pub(crate) fn overwrite(&self, _slot: u32) {}
    }
}

#[cfg(ringway_loom)]
mod loom_side {
    use std::collections::BTreeSet;
    use std::time::Duration;

    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) mod atomic {
        use loom::sync::atomic;
        pub(crate) use loom::sync::atomic::{Ordering, fence};
        use std::ops::Deref;

        /// An atomic whose every access first passes a gate, so that loom explores all
        /// orders of its accesses.
        ///
        /// loom 0.7 remembers only the last access of an object. A load that is followed
        /// by another thread's load is forgotten, and when that thread then stores or
        /// swaps (load, then CAS: every retry loop), loom does not see that the two
        /// could have come in the other order. On the gate every access is a
        /// read-modify-write, so none is forgotten. It is Relaxed, and orders nothing.
        pub(crate) struct Gated<A> {
            gate: atomic::AtomicUsize,
            inner: A,
        }

        pub(crate) type AtomicBool = Gated<atomic::AtomicBool>;
        pub(crate) type AtomicU32 = Gated<atomic::AtomicU32>;
        pub(crate) type AtomicU64 = Gated<atomic::AtomicU64>;

        impl<A> Gated<A> {
            pub(crate) fn new<T>(value: T) -> Self
            where
                A: From<T>,
            {
                Self {
                    gate: atomic::AtomicUsize::new(0),
                    inner: A::from(value),
                }
            }
        }

        impl<A> Deref for Gated<A> {
            type Target = A;

            fn deref(&self) -> &A {
                // Ordering: Relaxed, so that the gate hands nothing over.
                self.gate.fetch_add(1, Ordering::Relaxed);
                &self.inner
            }
        }
    }
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::thread::yield_now;

    /// A deadline that passes between the first look at it and the second: the shortest
    /// of the timeouts that the kernel may give, and the one that races with most.
    pub(crate) struct Deadline {
        is_timed: bool,
        has_looked: std::cell::Cell<bool>,
    }

    impl Deadline {
        pub(crate) fn after(timeout: Option<Duration>) -> Self {
            Self {
                is_timed: timeout.is_some(),
                has_looked: std::cell::Cell::new(timeout == Some(Duration::ZERO)),
            }
        }

        pub(crate) fn left(&self) -> Option<Duration> {
            let is_over = self.has_looked.replace(true);
            let left = if is_over {
                Duration::ZERO
            } else {
                Duration::MAX
            };
            self.is_timed.then_some(left)
        }
    }

    /// Times out at the next opportunity.
    pub(crate) fn wait_for<'m, T>(
        _condvar: &Condvar,
        mutex: &'m Mutex<T>,
        guard: MutexGuard<'m, T>,
        _timeout: Duration,
    ) -> MutexGuard<'m, T> {
        drop(guard);
        loom::thread::yield_now();
        mutex.lock().unwrap()
    }

    /// futex(2) as loom can see it: the kernel compares the word and queues the
    /// sleeper under the lock of the word's hash bucket (`futex_wait_setup`), and
    /// a wake takes the same lock (`futex_wake`).
    pub(crate) struct Futex {
        word: atomic::AtomicU32,
        bucket: Mutex<Bucket>,
        sleepers: Condvar,
    }

    /// Timed sleepers: their number, and how many of them a wake has chosen.
    #[derive(Default)]
    struct Bucket {
        timed: u32,
        chosen: u32,
    }

    impl Futex {
        pub(crate) fn new() -> Self {
            Self {
                word: atomic::AtomicU32::new(0),
                bucket: Mutex::new(Bucket::default()),
                sleepers: Condvar::new(),
            }
        }

        pub(crate) fn word(&self) -> &atomic::AtomicU32 {
            &self.word
        }

        /// A timed wait expires at the next opportunity; a wake that comes before may
        /// choose it all the same.
        pub(crate) fn wait(&self, seen: u32, timeout: Option<Duration>) {
            let mut bucket = self.bucket.lock().unwrap();
            // Ordering: Relaxed; `futex_wait_setup` reads the word with no ordering
            // of its own, the bucket lock orders it against the wakers.
            if self.word.load(atomic::Ordering::Relaxed) != seen {
                return;
            }
            if timeout.is_none() {
                drop(self.sleepers.wait(bucket).unwrap());
                return;
            }
            bucket.timed += 1;
            drop(bucket);
            loom::thread::yield_now();
            let mut bucket = self.bucket.lock().unwrap();
            bucket.timed -= 1;
            bucket.chosen = bucket.chosen.saturating_sub(1);
        }

        /// Prefers a timed sleeper, which may be about to leave.
        pub(crate) fn wake_one(&self) {
            let mut bucket = self.bucket.lock().unwrap();
            if bucket.chosen < bucket.timed {
                bucket.chosen += 1;
            } else {
                self.sleepers.notify_one();
            }
        }

        pub(crate) fn wake_all(&self) {
            let mut bucket = self.bucket.lock().unwrap();
            bucket.chosen = bucket.timed;
            self.sleepers.notify_all();
        }
    }

    static REACHED: std::sync::Mutex<BTreeSet<&str>> = std::sync::Mutex::new(BTreeSet::new());

    /// A place that models want to know they came by.
    pub(crate) fn reached(place: &'static str) {
        REACHED.lock().unwrap().insert(place);
    }

    /// The places that any execution so far has come by.
    pub(crate) fn all_reached() -> Vec<&'static str> {
        REACHED.lock().unwrap().iter().copied().collect()
    }

    /// Ties a speculative read to the overwrite that follows it, so that loom sees
    /// an order that it cannot violate by itself.
    ///
    /// A ring cell is read first and claimed by a CAS afterwards; only then may
    /// somebody overwrite it. Without the CAS's Release half, hardware may let the
    /// read see the overwrite (load buffering), and loom never produces that
    /// outcome. So each read touches a cell of its own before the CAS, the winner
    /// leaves that cell at the slot, and whoever overwrites the slot looks at it:
    /// loom then reports the missing edge as a race. What passes the cells on is a
    /// `std` lock, which loom does not see and which so adds no edge.
    #[derive(Clone)]
    pub(crate) struct ReadMarks(std::sync::Arc<[std::sync::Mutex<Option<Mark>>]>);

    /// One speculative read.
    #[derive(Clone)]
    pub(crate) struct Mark(std::sync::Arc<UnsafeCell<()>>);

    // SAFETY: loom watches the accesses, and there is nothing in the cell.
    unsafe impl Send for Mark {}
    // SAFETY: as for Send.
    unsafe impl Sync for Mark {}

    impl ReadMarks {
        pub(crate) fn new(slots: u32) -> Self {
            Self((0..slots).map(|_| std::sync::Mutex::new(None)).collect())
        }

        /// Before the claiming CAS.
        pub(crate) fn begin(&self) -> Mark {
            #[allow(clippy::arc_with_non_send_sync, reason = "Mark says why it is both")]
            let mark = Mark(std::sync::Arc::new(UnsafeCell::new(())));
            mark.0.with_mut(|_| ());
            mark
        }

        /// After the claiming CAS succeeded, with no loom operation in between.
        pub(crate) fn commit(&self, slot: u32, mark: &Mark) {
            *self.0[slot as usize].lock().unwrap() = Some(mark.clone());
        }

        /// By whoever is about to overwrite the slot.
        pub(crate) fn overwrite(&self, slot: u32) {
            if let Some(mark) = self.0[slot as usize].lock().unwrap().take() {
                // A read: one batch read several cells, which several may overwrite.
                mark.0.with(|_| ());
            }
        }
    }
}
