//! The flag families of the ring: one module each.

/// `IOSQE_*`, the SQE's `flags`.
pub(crate) mod sqe_flags {
    pub(crate) const FIXED_FILE: u8 = 1;
    pub(crate) const IO_DRAIN: u8 = 1 << 1;
    pub(crate) const IO_LINK: u8 = 1 << 2;
    pub(crate) const IO_HARDLINK: u8 = 1 << 3;
    pub(crate) const ASYNC: u8 = 1 << 4;
    pub(crate) const BUFFER_SELECT: u8 = 1 << 5;
    pub(crate) const CQE_SKIP_SUCCESS: u8 = 1 << 6;
}

/// `IORING_CQE_F_*` and `IORING_CQE_*`, the CQE's `flags`. `BIG` is `IORING_CQE_F_32`, which is
/// no Rust name. From `BUFFER_SHIFT` upwards: the id of the provided buffer.
pub(crate) mod cqe_flags {
    pub(crate) const BUFFER: u32 = 1;
    pub(crate) const MORE: u32 = 1 << 1;
    pub(crate) const SOCK_NONEMPTY: u32 = 1 << 2;
    pub(crate) const NOTIF: u32 = 1 << 3;
    pub(crate) const BUF_MORE: u32 = 1 << 4;
    pub(crate) const SKIP: u32 = 1 << 5;
    pub(crate) const BIG: u32 = 1 << 15;
    pub(crate) const BUFFER_SHIFT: u32 = 16;
}

/// `IORING_SETUP_*`, flags of `io_uring_setup(2)`.
pub(crate) mod setup {
    pub(crate) const IOPOLL: u32 = 1;
    pub(crate) const SQPOLL: u32 = 1 << 1;
    pub(crate) const SQ_AFF: u32 = 1 << 2;
    pub(crate) const CQSIZE: u32 = 1 << 3;
    pub(crate) const CLAMP: u32 = 1 << 4;
    pub(crate) const ATTACH_WQ: u32 = 1 << 5;
    pub(crate) const R_DISABLED: u32 = 1 << 6;
    pub(crate) const SUBMIT_ALL: u32 = 1 << 7;
    pub(crate) const COOP_TASKRUN: u32 = 1 << 8;
    pub(crate) const TASKRUN_FLAG: u32 = 1 << 9;
    pub(crate) const SQE128: u32 = 1 << 10;
    pub(crate) const CQE32: u32 = 1 << 11;
    pub(crate) const SINGLE_ISSUER: u32 = 1 << 12;
    pub(crate) const DEFER_TASKRUN: u32 = 1 << 13;
    pub(crate) const NO_MMAP: u32 = 1 << 14;
    pub(crate) const REGISTERED_FD_ONLY: u32 = 1 << 15;
    pub(crate) const NO_SQARRAY: u32 = 1 << 16;
    pub(crate) const HYBRID_IOPOLL: u32 = 1 << 17;
    pub(crate) const CQE_MIXED: u32 = 1 << 18;
    pub(crate) const SQE_MIXED: u32 = 1 << 19;
    pub(crate) const SQ_REWIND: u32 = 1 << 20;
}

/// `IORING_FEAT_*`, the kernel's answer to setup.
pub(crate) mod features {
    pub(crate) const SINGLE_MMAP: u32 = 1;
    pub(crate) const NODROP: u32 = 1 << 1;
    pub(crate) const SUBMIT_STABLE: u32 = 1 << 2;
    pub(crate) const RW_CUR_POS: u32 = 1 << 3;
    pub(crate) const CUR_PERSONALITY: u32 = 1 << 4;
    pub(crate) const FAST_POLL: u32 = 1 << 5;
    pub(crate) const POLL_32BITS: u32 = 1 << 6;
    pub(crate) const SQPOLL_NONFIXED: u32 = 1 << 7;
    pub(crate) const EXT_ARG: u32 = 1 << 8;
    pub(crate) const NATIVE_WORKERS: u32 = 1 << 9;
    pub(crate) const RSRC_TAGS: u32 = 1 << 10;
    pub(crate) const CQE_SKIP: u32 = 1 << 11;
    pub(crate) const LINKED_FILE: u32 = 1 << 12;
    pub(crate) const REG_REG_RING: u32 = 1 << 13;
    pub(crate) const RECVSEND_BUNDLE: u32 = 1 << 14;
    pub(crate) const MIN_TIMEOUT: u32 = 1 << 15;
    pub(crate) const RW_ATTR: u32 = 1 << 16;
    pub(crate) const NO_IOWAIT: u32 = 1 << 17;
}

/// `IORING_ENTER_*`, flags of `io_uring_enter(2)`.
pub(crate) mod enter {
    pub(crate) const GETEVENTS: u32 = 1;
    pub(crate) const SQ_WAKEUP: u32 = 1 << 1;
    pub(crate) const SQ_WAIT: u32 = 1 << 2;
    pub(crate) const EXT_ARG: u32 = 1 << 3;
    pub(crate) const REGISTERED_RING: u32 = 1 << 4;
    pub(crate) const ABS_TIMER: u32 = 1 << 5;
    pub(crate) const EXT_ARG_REG: u32 = 1 << 6;
    pub(crate) const NO_IOWAIT: u32 = 1 << 7;
}

/// `IORING_SQ_*`, written by the kernel into the SQ ring's `flags`.
pub(crate) mod sq_flags {
    pub(crate) const NEED_WAKEUP: u32 = 1;
    pub(crate) const CQ_OVERFLOW: u32 = 1 << 1;
    pub(crate) const TASKRUN: u32 = 1 << 2;
}

/// `IORING_CQ_*`, written by the application into the CQ ring's `flags`.
pub(crate) mod cq_flags {
    pub(crate) const EVENTFD_DISABLED: u32 = 1;
}

/// `IORING_OFF_*`, the offsets for `mmap(2)` on the ring fd.
pub(crate) mod off {
    pub(crate) const SQ_RING: u64 = 0;
    pub(crate) const CQ_RING: u64 = 1 << 27;
    pub(crate) const SQES: u64 = 1 << 28;
    pub(crate) const PBUF_RING: u64 = 1 << 31;
    pub(crate) const PBUF_SHIFT: u64 = 16;
    pub(crate) const MMAP_MASK: u64 = 0xf8000000;
}

/// `IO_URING_OP_*`, in the `flags` of a probe's entry.
pub(crate) mod probe {
    pub(crate) const SUPPORTED: u16 = 1;
}
