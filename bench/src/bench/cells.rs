//! What is measured: workloads, at numbers of threads and of operations at a time.

/// What the threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    NopOpen,
    NopClosed,
    ReadCached,
    ReadRegistered,
    ReadDirect,
    PingPongUnix,
    PingPongTcp,
    Latency,
    Wake,
    Idle,
}

use Workload::*;

impl Workload {
    pub const ALL: [Self; 10] = [
        NopOpen,
        NopClosed,
        ReadCached,
        ReadRegistered,
        ReadDirect,
        PingPongUnix,
        PingPongTcp,
        Latency,
        Wake,
        Idle,
    ];

    /// For files and the command line.
    pub fn name(self) -> &'static str {
        match self {
            NopOpen => "nop-open",
            NopClosed => "nop-closed",
            ReadCached => "read-cached",
            ReadRegistered => "read-registered",
            ReadDirect => "read-direct",
            PingPongUnix => "ping-pong-unix",
            PingPongTcp => "ping-pong-tcp",
            Latency => "latency",
            Wake => "wake",
            Idle => "idle",
        }
    }

    pub fn about(self) -> &'static str {
        match self {
            NopOpen => {
                "NOPs, open loop: a thread pushes a batch, submits, takes what lies ready, \
                 whosever it is, and goes on"
            }
            NopClosed => {
                "NOPs, closed loop: a thread pushes a batch, submits, and waits until its own \
                 have completed; whoever reaps tells the owner"
            }
            ReadCached => "Random 4 KiB of a file of 256 MiB in the page cache, open loop",
            ReadRegistered => "The same with the file and the buffers registered",
            ReadDirect => "Random 4 KiB of the same file past the page cache (O_DIRECT), open loop",
            PingPongUnix => {
                "64 bytes there and back over socketpairs, both ends on the ring; threads wait \
                 in the kernel, and on a shared ring any of them handles any completion"
            }
            PingPongTcp => "The same over TCP on the loopback",
            Latency => {
                "How long push and submit hold their caller in the open loop of NOPs, less the \
                 clock's own cost; one call in 32 or so is timed, at random, since the clock in \
                 each makes the loop another"
            }
            Wake => {
                "From before the push of one thread until another, asleep in the kernel, has \
                 the completion; of the set: until it has the message"
            }
            Idle => "As many threads asleep on one ring; one more submits a NOP at a time",
        }
    }

    /// What a sample's values are.
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Latency | Wake => &["p50 in ns", "p99", "longest"],
            Idle => &["context switches a completion", "CPU ns a completion"],
            _ => &["million operations a second"],
        }
    }

    /// Whether the first value is better when it is more.
    pub fn is_rate(self) -> bool {
        self.values().len() == 1
    }

    /// What a cell has so many of.
    pub fn each(self) -> &'static str {
        match self {
            PingPongUnix | PingPongTcp => "connections a thread",
            _ => "batch",
        }
    }

    pub fn sizes(self) -> &'static [u32] {
        match self {
            PingPongUnix | PingPongTcp => &[1, 8, 64],
            Wake | Idle => &[1],
            _ => &[1, 8, 32, 128],
        }
    }

    fn threads(self) -> &'static [u32] {
        match self {
            Wake => &[2],
            Idle => &[8, 64],
            _ => &[1, 2, 4],
        }
    }

    /// Whether its threads sleep while they wait: then one that is ready and does not run says
    /// nothing of the machine.
    pub fn sleeps(self) -> bool {
        matches!(self, ReadDirect | PingPongUnix | PingPongTcp | Wake | Idle)
    }

    /// Whether all peers take part, or those alone that stand for a family.
    pub fn is_for_all(self) -> bool {
        matches!(self, NopOpen | NopClosed)
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
    let is_quick = |cell: &Cell| match (cell.workload, cell.threads) {
        (NopOpen, 1 | 2) | (NopClosed, 2) => true,
        (PingPongUnix | PingPongTcp | Latency, 2) => cell.batch == 1,
        _ => false,
    };
    full().into_iter().filter(is_quick).collect()
}
