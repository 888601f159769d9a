//! A simulated kernel: the other side of the same memory, scripted, with faults.
//!
//! The ring's own code runs unchanged; only the memory comes from the heap and
//! `io_uring_enter` from here. So what is built on ringway can be model-checked with
//! loom (`--cfg ringway_loom`), fuzzed, and run under Miri, none of which know
//! io_uring.
//!
//! Only a shared [`Ring`] is simulated, and what is built on one: a
//! [`Driver`](crate::pool::Driver), a pool. There is no simulated local ring, and so no set; the
//! ring has no descriptor, and each registration fails with ENXIO. Operations do nothing: the
//! script says what comes of them.
//!
//! What the simulation assumes of the kernel is named, function by function, in
//! `memory.rs` (orderings) and on [`Kernel`] (behaviour). It holds no more than that: a
//! ring that passes here can still meet a kernel that differs.
//!
//! ```
//! use ringway::Ring;
//!
//! let (ring, kernel) = Ring::simulated(4)
//!     .script(|sqe, fate| fate.complete(if sqe.get_user_data() == 1 { -5 } else { 0 }))
//!     .build();
//! let sq = ring.sq();
//! for user_data in 0..3 {
//!     let mut slot = sq.pop().unwrap();
//!     unsafe { slot.prep_nop() }.user_data(user_data);
//!     slot.push();
//! }
//! sq.submit()?;
//! let results: Vec<i32> = std::iter::from_fn(|| ring.cq().reap()).map(|c| c.res()).collect();
//! assert_eq!(results, [0, -5, 0]);
//! assert_eq!(kernel.consumed(), 3);
//! # Ok::<(), ringway::EnterError>(())
//! ```

mod fate;
mod kernel;
mod memory;

pub use fate::Fate;
pub use kernel::Kernel;

use crate::Ring;
use crate::abi::{Params, Sqe, setup};
use crate::mapping::EntrySize;
use crate::ring::{self, Core};
use crate::setup::{MAX_PASSES, Order};
use crate::sync::ReadMarks;
use crate::syscall::Errno;
use memory::{Memory, Shape};
use std::fmt;
use std::sync::Arc;

/// When the simulated kernel gives SQEs back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Once, at the end of an enter, after the completions: what the kernel does.
    Late,
    /// Each as soon as it was read, before anything completes: what it might do.
    Early,
}

/// In which order the operations of one enter complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionOrder {
    /// As submitted.
    Forward,
    /// The last first.
    Backward,
}

type Script = Box<dyn FnMut(&Sqe, &mut Fate<'_>) + Send>;
type Faults = Box<dyn FnMut(u64) -> Option<Errno> + Send>;
type Most = Box<dyn FnMut(u64) -> u32 + Send>;

/// Settings of a simulated ring; made by [`Ring::simulated`].
#[must_use = "nothing is made before build()"]
pub struct Simulation {
    shape: Shape,
    is_sqpoll: bool,
    has_messages: bool,
    max_passes: u32,
    head: Head,
    completions: CompletionOrder,
    script: Script,
    faults: Faults,
    most: Most,
}

impl Ring {
    /// A ring without a kernel, with this many SQEs: a power of two.
    ///
    /// Unless it is told otherwise: any order, twice as many CQEs, counters that wrap
    /// after a few operations, and every operation completes at once with result 0.
    pub fn simulated(entries: u32) -> Simulation {
        Simulation {
            shape: Shape {
                sq_entries: entries,
                cq_entries: entries.saturating_mul(2),
                has_array: true,
                sqe_size: EntrySize::Small,
                cqe_size: EntrySize::Small,
                start: u32::MAX - 1,
            },
            is_sqpoll: false,
            has_messages: true,
            max_passes: MAX_PASSES,
            head: Head::Late,
            completions: CompletionOrder::Forward,
            script: Box::new(|_, fate| fate.complete(0)),
            faults: Box::new(|_| None),
            most: Box::new(|_| u32::MAX),
        }
    }
}

impl Simulation {
    /// CQEs; a power of two.
    pub fn cq_entries(mut self, entries: u32) -> Self {
        self.shape.cq_entries = entries;
        self
    }

    /// How slots are given out.
    pub fn order(mut self, order: Order) -> Self {
        self.shape.has_array = order == Order::Any;
        self
    }

    /// Where all ring counters begin. The default is two steps before they wrap.
    pub fn counters_at(mut self, start: u32) -> Self {
        self.shape.start = start;
        self
    }

    /// SQEs of 128 bytes.
    pub fn sqe128(mut self) -> Self {
        self.shape.sqe_size = EntrySize::Big;
        self
    }

    /// SQEs of 64 bytes, and of 128 for [`Sq::pop128`](crate::Sq::pop128); needs
    /// [`Order::Claim`].
    pub fn sqe_mixed(mut self) -> Self {
        self.shape.sqe_size = EntrySize::Mixed;
        self
    }

    /// CQEs of 32 bytes.
    pub fn cqe32(mut self) -> Self {
        self.shape.cqe_size = EntrySize::Big;
        self
    }

    /// CQEs of 16 bytes, and of 32 for [`Fate::complete_big`] and [`Fate::more_big`].
    pub fn cqe_mixed(mut self) -> Self {
        self.shape.cqe_size = EntrySize::Mixed;
        self
    }

    /// SQEs are consumed by a thread of the kernel's: run [`Kernel::sq_thread`] on one.
    pub fn sqpoll(mut self) -> Self {
        self.is_sqpoll = true;
        self
    }

    /// A kernel before 6.13, to which no message can be sent without a ring.
    pub fn without_messages(mut self) -> Self {
        self.has_messages = false;
        self
    }

    /// How often one submit enters the kernel at most, instead of 8: a model that is to
    /// see what happens then reaches it sooner. At least 1.
    pub fn max_passes(mut self, passes: u32) -> Self {
        self.max_passes = passes;
        self
    }

    /// When SQEs are given back.
    pub fn head(mut self, head: Head) -> Self {
        self.head = head;
        self
    }

    /// In which order what one enter submits completes.
    pub fn completions(mut self, order: CompletionOrder) -> Self {
        self.completions = order;
        self
    }

    /// What becomes of each operation: called once for each SQE, in order of submission,
    /// also for the NOPs that dropped slots became. A panic fails the operation with
    /// EFAULT, and comes out of the call that had the kernel run. It runs in the middle of
    /// an enter: it must not use the ring or the [`Kernel`].
    pub fn script(mut self, script: impl FnMut(&Sqe, &mut Fate<'_>) + Send + 'static) -> Self {
        self.script = Box::new(script);
        self
    }

    /// Which calls of enter fail, by their number from 0, before they do anything. Must not
    /// use the ring or the [`Kernel`].
    pub fn faults(mut self, faults: impl FnMut(u64) -> Option<Errno> + Send + 'static) -> Self {
        self.faults = Box::new(faults);
        self
    }

    /// How many SQEs each call of enter takes at most, by its number from 0: the kernel
    /// takes fewer than it is given when it runs out of memory on the way. Must not use the
    /// ring or the [`Kernel`].
    pub fn short_submits(mut self, most: impl FnMut(u64) -> u32 + Send + 'static) -> Self {
        self.most = Box::new(most);
        self
    }

    /// The ring, and the kernel's side of it.
    ///
    /// # Panics
    ///
    /// If a number of entries is not a power of two, if there are fewer CQEs than SQEs, or
    /// more of either than the kernel allows (32768, 65536); if sizes are mixed and there is
    /// room for one entry only, or SQEs are in any order; if no pass is allowed.
    pub fn build(self) -> (Ring, Kernel) {
        let Shape {
            sq_entries,
            cq_entries,
            has_array,
            sqe_size,
            cqe_size,
            ..
        } = self.shape;
        assert!(
            sq_entries.is_power_of_two(),
            "{sq_entries} SQEs: not a power of two"
        );
        assert!(sq_entries <= 32768, "{sq_entries} SQEs: more than 32768");
        assert!(cq_entries <= 65536, "{cq_entries} CQEs: more than 65536");
        assert!(self.max_passes > 0, "a submit makes at least one pass");
        assert!(
            cq_entries.is_power_of_two(),
            "{cq_entries} CQEs: not a power of two"
        );
        let is_mixed = |size| size == EntrySize::Mixed;
        assert!(
            !is_mixed(sqe_size) || (sq_entries > 1 && !has_array),
            "SQEs of mixed sizes need Order::Claim, and room for two"
        );
        assert!(
            !is_mixed(cqe_size) || cq_entries > 1,
            "CQEs of mixed sizes need room for two"
        );
        assert!(
            cq_entries >= sq_entries,
            "fewer CQEs ({cq_entries}) than SQEs ({sq_entries})"
        );
        let params = Params {
            sq_entries,
            cq_entries,
            flags: if self.is_sqpoll { setup::SQPOLL } else { 0 },
            ..Params::default()
        };
        let marks = ReadMarks::new(cq_entries);
        let max_passes = self.max_passes;
        let kernel = Kernel::new(self, marks.clone());
        let order = if has_array { Order::Any } else { Order::Claim };
        let pointers = kernel.memory().pointers();
        let other_side = ring::Kernel::Simulated(Box::new(kernel.clone()));
        // SAFETY: the core holds a handle of the kernel, which holds the memory; this is
        // the only core made for it.
        let core = unsafe { Core::new(other_side, pointers, params, order, marks, max_passes) };
        (
            Ring {
                core: Arc::new(core),
            },
            kernel,
        )
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("sq_entries", &self.shape.sq_entries)
            .finish_non_exhaustive()
    }
}
