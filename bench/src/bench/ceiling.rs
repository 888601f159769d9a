//! What there is to reach, whoever writes the code: measured in the same rounds as what is held
//! against it.

use crate::cells::{Cell, Workload};
use crate::rounds::Results;
use crate::stats::Distance;

/// What bounds a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// Nothing that is known.
    Open,
    /// What the kernel takes from one thread alone, in the batches that go best. Threads that
    /// enter one ring at once are slower.
    OneRing,
    /// A ring for each thread, by hand.
    Rings,
    /// The loop by hand, with the locked instructions of a ring that can be shared.
    Locked,
    /// Two threads that share a ring by hand. Not more than an example: who does without the
    /// second CPU can be faster.
    Two,
}

/// What a ratio can be.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    AtMost(f64),
    /// By hand it comes to this.
    ByHand(f64),
}

impl Ceiling {
    pub fn reach(
        self,
        results: &Results,
        cell: Cell,
        distance: Distance,
        other: (Cell, &'static str),
    ) -> Option<Reach> {
        let of = |by_hand| Some(results.ratio(by_hand, other, distance)?.median);
        match self {
            Self::Open => None,
            Self::OneRing => {
                let sizes = Workload::NopOpen.sizes().iter();
                let cells = sizes.map(|&size| Cell::new(Workload::NopOpen, 1, size));
                let rates = cells.filter_map(|cell| of((cell, "kernel")));
                rates.reduce(f64::max).map(Reach::AtMost)
            }
            Self::Rings => of((cell, "raw")).map(Reach::AtMost),
            Self::Locked => of((cell, "raw-locked")).map(Reach::AtMost),
            Self::Two => {
                let cell = Cell { threads: 2, ..cell };
                of((cell, "raw-two")).map(Reach::ByHand)
            }
        }
    }
}
