//! What `io_uring_register(2)` does: `IORING_REGISTER_*`, and `IORING_*` for what
//! unregisters.

pub(crate) const BUFFERS: u32 = 0;
pub(crate) const UNREGISTER_BUFFERS: u32 = 1;
pub(crate) const FILES: u32 = 2;
pub(crate) const UNREGISTER_FILES: u32 = 3;
pub(crate) const EVENTFD: u32 = 4;
pub(crate) const UNREGISTER_EVENTFD: u32 = 5;
pub(crate) const FILES_UPDATE: u32 = 6;
pub(crate) const EVENTFD_ASYNC: u32 = 7;
pub(crate) const PROBE: u32 = 8;
pub(crate) const PERSONALITY: u32 = 9;
pub(crate) const UNREGISTER_PERSONALITY: u32 = 10;
pub(crate) const RESTRICTIONS: u32 = 11;
pub(crate) const ENABLE_RINGS: u32 = 12;
pub(crate) const FILES2: u32 = 13;
pub(crate) const FILES_UPDATE2: u32 = 14;
pub(crate) const BUFFERS2: u32 = 15;
pub(crate) const BUFFERS_UPDATE: u32 = 16;
pub(crate) const IOWQ_AFF: u32 = 17;
pub(crate) const UNREGISTER_IOWQ_AFF: u32 = 18;
pub(crate) const IOWQ_MAX_WORKERS: u32 = 19;
pub(crate) const RING_FDS: u32 = 20;
pub(crate) const UNREGISTER_RING_FDS: u32 = 21;
pub(crate) const PBUF_RING: u32 = 22;
pub(crate) const UNREGISTER_PBUF_RING: u32 = 23;
pub(crate) const SYNC_CANCEL: u32 = 24;
pub(crate) const FILE_ALLOC_RANGE: u32 = 25;
pub(crate) const PBUF_STATUS: u32 = 26;
pub(crate) const NAPI: u32 = 27;
pub(crate) const UNREGISTER_NAPI: u32 = 28;
pub(crate) const CLOCK: u32 = 29;
pub(crate) const CLONE_BUFFERS: u32 = 30;
pub(crate) const SEND_MSG_RING: u32 = 31;
pub(crate) const ZCRX_IFQ: u32 = 32;
pub(crate) const RESIZE_RINGS: u32 = 33;
pub(crate) const MEM_REGION: u32 = 34;
pub(crate) const QUERY: u32 = 35;
pub(crate) const ZCRX_CTRL: u32 = 36;
pub(crate) const BPF_FILTER: u32 = 37;

/// Set in the opcode: the fd is the index of a registered ring.
pub(crate) const USE_REGISTERED_RING: u32 = 0x80000000;
