//! The flag families of single operations: one module each.

/// `IORING_TIMEOUT_*` and `IORING_LINK_TIMEOUT_UPDATE`, in `op_flags`.
pub(crate) mod timeout {
    pub(crate) const ABS: u32 = 1;
    pub(crate) const UPDATE: u32 = 1 << 1;
    pub(crate) const BOOTTIME: u32 = 1 << 2;
    pub(crate) const REALTIME: u32 = 1 << 3;
    pub(crate) const ETIME_SUCCESS: u32 = 1 << 5;
    pub(crate) const MULTISHOT: u32 = 1 << 6;
    pub(crate) const IMMEDIATE_ARG: u32 = 1 << 7;
    pub(crate) const LINK_UPDATE: u32 = 1 << 4;
}

/// `IORING_FSYNC_*`, in `op_flags`.
pub(crate) mod fsync {
    pub(crate) const DATASYNC: u32 = 1;
}

/// `IORING_POLL_*` and `IORING_POLL_ADD_*`, in `len`.
pub(crate) mod poll {
    pub(crate) const MULTI: u32 = 1;
    pub(crate) const UPDATE_EVENTS: u32 = 1 << 1;
    pub(crate) const UPDATE_USER_DATA: u32 = 1 << 2;
    pub(crate) const LEVEL: u32 = 1 << 3;
}

/// `IORING_ASYNC_CANCEL_*`, in `op_flags`.
pub(crate) mod cancel {
    pub(crate) const ALL: u32 = 1;
    pub(crate) const FD: u32 = 1 << 1;
    pub(crate) const ANY: u32 = 1 << 2;
    pub(crate) const FD_FIXED: u32 = 1 << 3;
    pub(crate) const USERDATA: u32 = 1 << 4;
    pub(crate) const OP: u32 = 1 << 5;
}

/// `IORING_NOP_*`, in `op_flags`.
pub(crate) mod nop {
    pub(crate) const INJECT_RESULT: u32 = 1;
    pub(crate) const FILE: u32 = 1 << 1;
    pub(crate) const FIXED_FILE: u32 = 1 << 2;
    pub(crate) const FIXED_BUFFER: u32 = 1 << 3;
    pub(crate) const TW: u32 = 1 << 4;
    pub(crate) const CQE32: u32 = 1 << 5;
}

/// `IORING_RW_ATTR_FLAG_*`, in `pad2`, the header's `attr_type_mask`.
pub(crate) mod rw_attr {
    pub(crate) const PI: u64 = 1;
}

/// `SPLICE_F_*`, in `op_flags`.
pub(crate) mod splice {
    pub(crate) const FD_IN_FIXED: u32 = 1 << 31;
}

/// `IORING_RECVSEND_*`, `IORING_RECV_*`, `IORING_SEND_*`, in `ioprio`.
pub(crate) mod sendrecv {
    pub(crate) const POLL_FIRST: u16 = 1;
    pub(crate) const MULTISHOT: u16 = 1 << 1;
    pub(crate) const FIXED_BUF: u16 = 1 << 2;
    pub(crate) const ZC_REPORT_USAGE: u16 = 1 << 3;
    pub(crate) const BUNDLE: u16 = 1 << 4;
    pub(crate) const VECTORIZED: u16 = 1 << 5;
}

/// `IORING_NOTIF_USAGE_*`, in `res` of a zero-copy send's notification.
pub(crate) mod notif {
    pub(crate) const ZC_COPIED: u32 = 1 << 31;
}

/// `IORING_ACCEPT_*`, in `ioprio`.
pub(crate) mod accept {
    pub(crate) const MULTISHOT: u16 = 1;
    pub(crate) const DONTWAIT: u16 = 1 << 1;
    pub(crate) const POLL_FIRST: u16 = 1 << 2;
}

/// `IORING_MSG_*`, the commands of MSG_RING, in `addr`.
pub(crate) mod msg {
    pub(crate) const DATA: u64 = 0;
    pub(crate) const SEND_FD: u64 = 1;
}

/// `IORING_MSG_RING_*`, in `op_flags`.
pub(crate) mod msg_ring {
    pub(crate) const CQE_SKIP: u32 = 1;
    pub(crate) const FLAGS_PASS: u32 = 1 << 1;
}

/// `IORING_FIXED_FD_*`, in `op_flags`.
pub(crate) mod install {
    pub(crate) const NO_CLOEXEC: u32 = 1;
}

/// `IORING_URING_CMD_*`, in `op_flags`.
pub(crate) mod uring_cmd {
    pub(crate) const FIXED: u32 = 1;
    pub(crate) const MASK: u32 = 1;
}

/// `SOCKET_URING_OP_*`, in the lower half of `off`, the header's `cmd_op`.
pub(crate) mod socket_cmd {
    pub(crate) const SIOCINQ: u32 = 0;
    pub(crate) const SIOCOUTQ: u32 = 1;
    pub(crate) const GETSOCKOPT: u32 = 2;
    pub(crate) const SETSOCKOPT: u32 = 3;
    pub(crate) const TX_TIMESTAMP: u32 = 4;
    pub(crate) const GETSOCKNAME: u32 = 5;
}

/// `BLOCK_URING_CMD_*`, of `linux/blkdev.h`, in the lower half of `off`.
pub(crate) mod block_cmd {
    pub(crate) const DISCARD: u32 = 0x1200;
    pub(crate) const ZONE_RESET_ALL: u32 = 0x1201;
}

/// `IORING_FILE_INDEX_*`, in `file_index`.
pub(crate) mod file_index {
    pub(crate) const ALLOC: u32 = 0xffffffff;
}

/// `IORING_TIMESTAMP_*`, `IORING_CQE_F_*`, in the `flags` of a CQE with a timestamp.
pub(crate) mod timestamp {
    pub(crate) const HW_SHIFT: u32 = 1 << 4;
    pub(crate) const TYPE_SHIFT: u32 = 17;
    pub(crate) const TSTAMP_HW: u32 = 1 << 16;
}
