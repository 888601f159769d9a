//! The flag families of `io_uring_register(2)`: one module each.

/// `IORING_RSRC_REGISTER_*`.
pub(crate) mod rsrc {
    pub(crate) const SPARSE: u32 = 1;
}

/// `IORING_REGISTER_FILES_*`: in place of a descriptor, in a table of updates.
pub(crate) mod files {
    pub(crate) const SKIP: i32 = -2;
}

/// `IO_WQ_*`, places in the table of worker limits.
pub(crate) mod iowq {
    pub(crate) const BOUND: u32 = 0;
    pub(crate) const UNBOUND: u32 = 1;
}

/// `IORING_MEM_REGION_*`.
pub(crate) mod mem_region {
    pub(crate) const TYPE_USER: u64 = 1;
    pub(crate) const REG_WAIT_ARG: u64 = 1;
}

/// `IORING_REGISTER_*`, flags of CLONE_BUFFERS.
pub(crate) mod clone {
    pub(crate) const SRC_REGISTERED: u32 = 1;
    pub(crate) const DST_REPLACE: u32 = 1 << 1;
}

/// `IOU_PBUF_RING_*`.
pub(crate) mod pbuf {
    pub(crate) const MMAP: u16 = 1;
    pub(crate) const INC: u16 = 1 << 1;
}

/// `IORING_RESTRICTION_*`.
pub(crate) mod restriction {
    pub(crate) const REGISTER_OP: u16 = 0;
    pub(crate) const SQE_OP: u16 = 1;
    pub(crate) const SQE_FLAGS_ALLOWED: u16 = 2;
    pub(crate) const SQE_FLAGS_REQUIRED: u16 = 3;
}

/// `IORING_REG_WAIT_*`.
pub(crate) mod reg_wait {
    pub(crate) const TS: u32 = 1;
}

/// `IO_URING_NAPI_*`: operations, and ways of tracking.
pub(crate) mod napi {
    pub(crate) const REGISTER_OP: u8 = 0;
    pub(crate) const STATIC_ADD_ID: u8 = 1;
    pub(crate) const STATIC_DEL_ID: u8 = 2;
    pub(crate) const TRACKING_DYNAMIC: u8 = 0;
    pub(crate) const TRACKING_STATIC: u8 = 1;
    pub(crate) const TRACKING_INACTIVE: u8 = 255;
}

/// `IORING_ZCRX_AREA_*`.
pub(crate) mod zcrx_area {
    pub(crate) const DMABUF: u64 = 1;
    pub(crate) const SHIFT: u64 = 48;
    pub(crate) const MASK: u64 = 0xffff000000000000;
}

/// `ZCRX_*`: registration, features, control.
pub(crate) mod zcrx {
    pub(crate) const REG_IMPORT: u32 = 1;
    pub(crate) const REG_NODEV: u32 = 1 << 1;
    pub(crate) const FEATURE_RX_PAGE_SIZE: u32 = 1;
    pub(crate) const CTRL_FLUSH_RQ: u32 = 0;
    pub(crate) const CTRL_EXPORT: u32 = 1;
}

/// `IO_URING_BPF_*`.
pub(crate) mod bpf {
    pub(crate) const CMD_FILTER: u16 = 1;
    pub(crate) const FILTER_DENY_REST: u16 = 1;
    pub(crate) const FILTER_SZ_STRICT: u16 = 1 << 1;
}

/// `IO_URING_QUERY_*`.
pub(crate) mod query {
    pub(crate) const OPCODES: u32 = 0;
    pub(crate) const ZCRX: u32 = 1;
    pub(crate) const SCQ: u32 = 2;
}
