//! What is measured: workloads, at numbers of threads and of operations at a time.

/// What the threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    NopOpen,
    NopClosed,
}

/// What the first value of a sample is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Millions of operations a second.
    Rate,
    /// Nanoseconds of the median call.
    Latency,
}

impl Workload {
    pub const ALL: [Self; 2] = [Self::NopOpen, Self::NopClosed];

    /// For files and the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NopOpen => "nop-open",
            Self::NopClosed => "nop-closed",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            Self::NopOpen => {
                "NOPs, open loop: a thread pushes a batch, submits, takes what lies ready, \
                 whosever it is, and goes on"
            }
            Self::NopClosed => {
                "NOPs, closed loop: a thread pushes a batch, submits, and waits until its own \
                 have completed; whoever reaps tells the owner"
            }
        }
    }

    pub fn unit(self) -> Unit {
        Unit::Rate
    }

    /// What a cell has so many of.
    pub fn each(self) -> &'static str {
        "batch"
    }

    fn sizes(self) -> &'static [u32] {
        &[1, 8, 32, 128]
    }

    fn threads(self) -> &'static [u32] {
        &[1, 2, 4]
    }

    /// Whether all peers take part, or those alone that stand for a family.
    pub fn is_for_all(self) -> bool {
        matches!(self, Self::NopOpen | Self::NopClosed)
    }
}

/// A workload of so many threads, and so many operations of each at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    pub workload: Workload,
    pub threads: u32,
    pub batch: u32,
}

impl Cell {
    pub const fn new(workload: Workload, threads: u32, batch: u32) -> Self {
        Self {
            workload,
            threads,
            batch,
        }
    }
}

/// All of them.
pub fn full() -> Vec<Cell> {
    let mut cells = Vec::new();
    for workload in Workload::ALL {
        for &threads in workload.threads() {
            let sizes = workload.sizes().iter();
            cells.extend(sizes.map(|&batch| Cell::new(workload, threads, batch)));
        }
    }
    cells
}

/// Those that the line of ratios is made of.
pub fn quick() -> Vec<Cell> {
    let is_quick = |cell: &Cell| match cell.workload {
        Workload::NopOpen => cell.threads <= 2,
        Workload::NopClosed => cell.threads == 2,
    };
    full().into_iter().filter(is_quick).collect()
}
