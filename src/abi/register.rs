//! What `io_uring_register(2)` does: `IORING_REGISTER_*`, and `IORING_*` for what
//! unregisters; each with the kernel that brought it.
//!
//! For [`Registrar::register`](crate::register::Registrar::register) and for restrictions.

/// Registers buffers. Linux 5.1.
pub const BUFFERS: u32 = 0;
/// Forgets all registered buffers. Linux 5.1.
pub const UNREGISTER_BUFFERS: u32 = 1;
/// Registers files. Linux 5.1.
pub const FILES: u32 = 2;
/// Forgets all registered files. Linux 5.1.
pub const UNREGISTER_FILES: u32 = 3;
/// Registers an eventfd that is told of completions. Linux 5.2.
pub const EVENTFD: u32 = 4;
/// Forgets the eventfd. Linux 5.2.
pub const UNREGISTER_EVENTFD: u32 = 5;
/// Changes the table of registered files. Linux 5.5.
pub const FILES_UPDATE: u32 = 6;
/// Registers an eventfd that is told of completions out of line. Linux 5.6.
pub const EVENTFD_ASYNC: u32 = 7;
/// Asks for the supported opcodes. Linux 5.6.
pub const PROBE: u32 = 8;
/// Registers the credentials of the thread. Linux 5.6.
pub const PERSONALITY: u32 = 9;
/// Forgets registered credentials. Linux 5.6.
pub const UNREGISTER_PERSONALITY: u32 = 10;
/// Restricts what the ring may be asked. Linux 5.10.
pub const RESTRICTIONS: u32 = 11;
/// Starts a disabled ring. Linux 5.10.
pub const ENABLE_RINGS: u32 = 12;
/// Registers files with tags, or an empty table. Linux 5.13.
pub const FILES2: u32 = 13;
/// Changes the table of registered files, with tags. Linux 5.13.
pub const FILES_UPDATE2: u32 = 14;
/// Registers buffers with tags, or an empty table. Linux 5.13.
pub const BUFFERS2: u32 = 15;
/// Changes the table of registered buffers. Linux 5.13.
pub const BUFFERS_UPDATE: u32 = 16;
/// Sets the CPUs of worker threads. Linux 5.14.
pub const IOWQ_AFF: u32 = 17;
/// Lets worker threads run on any CPU. Linux 5.14.
pub const UNREGISTER_IOWQ_AFF: u32 = 18;
/// Limits the number of worker threads. Linux 5.15.
pub const IOWQ_MAX_WORKERS: u32 = 19;
/// Registers ring descriptors with the thread. Linux 5.18.
pub const RING_FDS: u32 = 20;
/// Forgets registered ring descriptors. Linux 5.18.
pub const UNREGISTER_RING_FDS: u32 = 21;
/// Registers a ring of provided buffers. Linux 5.19.
pub const PBUF_RING: u32 = 22;
/// Forgets a ring of provided buffers. Linux 5.19.
pub const UNREGISTER_PBUF_RING: u32 = 23;
/// Cancels operations, and waits for them. Linux 6.0.
pub const SYNC_CANCEL: u32 = 24;
/// Sets the range for places of the kernel's choice. Linux 6.0.
pub const FILE_ALLOC_RANGE: u32 = 25;
/// Asks for the head of a ring of provided buffers. Linux 6.8.
pub const PBUF_STATUS: u32 = 26;
/// Sets the busy polling of network devices. Linux 6.9.
pub const NAPI: u32 = 27;
/// Stops the busy polling. Linux 6.9.
pub const UNREGISTER_NAPI: u32 = 28;
/// Sets the clock of waits. Linux 6.12.
pub const CLOCK: u32 = 29;
/// Takes over the buffers of another ring. Linux 6.12.
pub const CLONE_BUFFERS: u32 = 30;
/// Posts a completion on a ring, from no ring. Linux 6.13.
pub const SEND_MSG_RING: u32 = 31;
/// Registers a queue of a network device for zero-copy receive. Linux 6.15.
pub const ZCRX_IFQ: u32 = 32;
/// Changes the sizes of the rings. Linux 6.13.
pub const RESIZE_RINGS: u32 = 33;
/// Registers memory for arguments. Linux 6.13.
pub const MEM_REGION: u32 = 34;
/// Asks what the kernel can do. Linux 6.18.
pub const QUERY: u32 = 35;
/// Controls zero-copy receive. Linux 6.19.
pub const ZCRX_CTRL: u32 = 36;
/// Registers a filter for an opcode. Linux 7.0.
pub const BPF_FILTER: u32 = 37;

/// Set in the opcode: the fd is the index of a registered ring.
pub(crate) const USE_REGISTERED_RING: u32 = 0x80000000;
