//! The structures that the system calls take.

use std::time::Duration;

/// `struct io_uring_params`: asked on the way in, answered on the way out.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Params {
    pub(crate) sq_entries: u32,
    pub(crate) cq_entries: u32,
    pub(crate) flags: u32,
    pub(crate) sq_thread_cpu: u32,
    pub(crate) sq_thread_idle: u32,
    pub(crate) features: u32,
    pub(crate) wq_fd: u32,
    pub(crate) resv: [u32; 3],
    pub(crate) sq_off: SqOffsets,
    pub(crate) cq_off: CqOffsets,
}

/// `struct io_sqring_offsets`: where each field lies in the ring mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SqOffsets {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) ring_mask: u32,
    pub(crate) ring_entries: u32,
    pub(crate) flags: u32,
    pub(crate) dropped: u32,
    pub(crate) array: u32,
    pub(crate) resv1: u32,
    /// With `NO_MMAP`: where the SQEs lie.
    pub(crate) user_addr: u64,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CqOffsets {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) ring_mask: u32,
    pub(crate) ring_entries: u32,
    pub(crate) overflow: u32,
    pub(crate) cqes: u32,
    pub(crate) flags: u32,
    pub(crate) resv1: u32,
    /// With `NO_MMAP`: where both rings lie.
    pub(crate) user_addr: u64,
}

/// `struct io_uring_getevents_arg`, the argument of `EXT_ARG`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GetEventsArg {
    pub(crate) sigmask: u64,
    pub(crate) sigmask_sz: u32,
    pub(crate) min_wait_usec: u32,
    /// Address of a [`Timespec`], or 0.
    pub(crate) ts: u64,
}

/// `struct __kernel_timespec`: 64 bits on every architecture.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: i64,
}

impl From<Duration> for Timespec {
    /// Longer than 292 thousand million years becomes that.
    fn from(duration: Duration) -> Self {
        Self {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        }
    }
}

/// `struct io_uring_probe` without its table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProbeHeader {
    pub(crate) last_op: u8,
    pub(crate) ops_len: u8,
    pub(crate) resv: u16,
    pub(crate) resv2: [u32; 3],
}

/// `struct io_uring_probe_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProbeOp {
    pub(crate) op: u8,
    pub(crate) resv: u8,
    pub(crate) flags: u16,
    pub(crate) resv2: u32,
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RsrcUpdate {
    pub(crate) offset: u32,
    pub(crate) resv: u32,
    pub(crate) data: u64,
}

/// Opcodes are bytes, so a table of this many entries holds any kernel's.
pub(crate) const PROBE_OPS: usize = 256;

/// `struct io_uring_probe` with a table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeTable {
    pub(crate) header: ProbeHeader,
    pub(crate) ops: [ProbeOp; PROBE_OPS],
}
