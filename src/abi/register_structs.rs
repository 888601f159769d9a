//! The structures that `io_uring_register(2)` takes, and those in buffers.

use super::structs::Timespec;

/// `struct io_uring_files_update`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FilesUpdate {
    pub(crate) offset: u32,
    pub(crate) resv: u32,
    pub(crate) fds: u64,
}

/// `struct io_uring_region_desc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RegionDesc {
    pub(crate) user_addr: u64,
    pub(crate) size: u64,
    pub(crate) flags: u32,
    pub(crate) id: u32,
    pub(crate) mmap_offset: u64,
    pub(crate) resv: [u64; 4],
}

/// `struct io_uring_mem_region_reg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemRegionReg {
    pub(crate) region_uptr: u64,
    pub(crate) flags: u64,
    pub(crate) resv: [u64; 2],
}

/// `struct io_uring_rsrc_register`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RsrcRegister {
    pub(crate) nr: u32,
    pub(crate) flags: u32,
    pub(crate) resv2: u64,
    pub(crate) data: u64,
    pub(crate) tags: u64,
}

/// `struct io_uring_rsrc_update2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RsrcUpdate2 {
    pub(crate) offset: u32,
    pub(crate) resv: u32,
    pub(crate) data: u64,
    pub(crate) tags: u64,
    pub(crate) nr: u32,
    pub(crate) resv2: u32,
}

/// `struct io_uring_restriction`: `register_op`, `sqe_op` and `sqe_flags` share one byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restriction {
    pub(crate) opcode: u16,
    pub(crate) op_or_flags: u8,
    pub(crate) resv: u8,
    pub(crate) resv2: [u32; 3],
}

/// `struct io_uring_task_restriction`, without its table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TaskRestriction {
    pub(crate) flags: u16,
    pub(crate) nr_res: u16,
    pub(crate) resv: [u32; 3],
}

/// `struct io_uring_clock_register`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClockRegister {
    pub(crate) clockid: u32,
    pub(crate) resv: [u32; 3],
}

/// `struct io_uring_clone_buffers`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloneBuffers {
    pub(crate) src_fd: u32,
    pub(crate) flags: u32,
    pub(crate) src_off: u32,
    pub(crate) dst_off: u32,
    pub(crate) nr: u32,
    pub(crate) pad: [u32; 3],
}

/// `struct io_uring_buf`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Buf {
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) bid: u16,
    pub(crate) resv: u16,
}

/// `struct io_uring_buf_reg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BufReg {
    pub(crate) ring_addr: u64,
    pub(crate) ring_entries: u32,
    pub(crate) bgid: u16,
    pub(crate) flags: u16,
    pub(crate) min_left: u32,
    pub(crate) resv: [u32; 5],
}

/// `struct io_uring_buf_status`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BufStatus {
    pub(crate) buf_group: u32,
    pub(crate) head: u32,
    pub(crate) resv: [u32; 8],
}

/// `struct io_uring_napi`: `opcode` and `op_param` came with Linux 6.13.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Napi {
    pub(crate) busy_poll_to: u32,
    pub(crate) prefer_busy_poll: u8,
    pub(crate) opcode: u8,
    pub(crate) pad: [u8; 2],
    pub(crate) op_param: u32,
    pub(crate) resv: u32,
}

/// `struct io_uring_reg_wait`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RegWait {
    pub(crate) ts: Timespec,
    pub(crate) min_wait_usec: u32,
    pub(crate) flags: u32,
    pub(crate) sigmask: u64,
    pub(crate) sigmask_sz: u32,
    pub(crate) pad: [u32; 3],
    pub(crate) pad2: [u64; 2],
}

/// `struct io_uring_sync_cancel_reg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SyncCancelReg {
    pub(crate) addr: u64,
    pub(crate) fd: i32,
    pub(crate) flags: u32,
    pub(crate) timeout: Timespec,
    pub(crate) opcode: u8,
    pub(crate) pad: [u8; 7],
    pub(crate) pad2: [u64; 3],
}

/// `struct io_uring_file_index_range`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileIndexRange {
    pub(crate) off: u32,
    pub(crate) len: u32,
    pub(crate) resv: u64,
}

/// `struct io_uring_recvmsg_out`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecvmsgOut {
    pub(crate) namelen: u32,
    pub(crate) controllen: u32,
    pub(crate) payloadlen: u32,
    pub(crate) flags: u32,
}

/// `struct io_uring_attr_pi`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttrPi {
    pub(crate) flags: u16,
    pub(crate) app_tag: u16,
    pub(crate) len: u32,
    pub(crate) addr: u64,
    pub(crate) seed: u64,
    pub(crate) rsvd: u64,
}

/// `struct io_uring_bpf_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BpfFilter {
    pub(crate) opcode: u32,
    pub(crate) flags: u32,
    pub(crate) filter_len: u32,
    pub(crate) pdu_size: u8,
    pub(crate) resv: [u8; 3],
    pub(crate) filter_ptr: u64,
    pub(crate) resv2: [u64; 5],
}

/// `struct io_uring_bpf`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bpf {
    pub(crate) cmd_type: u16,
    pub(crate) cmd_flags: u16,
    pub(crate) resv: u32,
    pub(crate) filter: BpfFilter,
}

/// `struct io_uring_query_hdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueryHdr {
    pub(crate) next_entry: u64,
    pub(crate) query_data: u64,
    pub(crate) query_op: u32,
    pub(crate) size: u32,
    pub(crate) result: i32,
    pub(crate) resv: [u32; 3],
}

/// `struct io_uring_query_opcode`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueryOpcode {
    pub(crate) nr_request_opcodes: u32,
    pub(crate) nr_register_opcodes: u32,
    pub(crate) feature_flags: u64,
    pub(crate) ring_setup_flags: u64,
    pub(crate) enter_flags: u64,
    pub(crate) sqe_flags: u64,
    pub(crate) nr_query_opcodes: u32,
    pub(crate) pad: u32,
}

/// `struct io_uring_query_zcrx`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueryZcrx {
    pub(crate) register_flags: u64,
    pub(crate) area_flags: u64,
    pub(crate) nr_ctrl_opcodes: u32,
    pub(crate) features: u32,
    pub(crate) rq_hdr_size: u32,
    pub(crate) rq_hdr_alignment: u32,
    pub(crate) resv2: u64,
}

/// `struct io_uring_query_scq`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueryScq {
    pub(crate) hdr_size: u64,
    pub(crate) hdr_alignment: u64,
}

/// `struct io_uring_zcrx_rqe`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZcrxRqe {
    pub(crate) off: u64,
    pub(crate) len: u32,
    pub(crate) pad: u32,
}

/// `struct io_uring_zcrx_cqe`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZcrxCqe {
    pub(crate) off: u64,
    pub(crate) pad: u64,
}

/// `struct io_uring_zcrx_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZcrxOffsets {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) rqes: u32,
    pub(crate) resv2: u32,
    pub(crate) resv: [u64; 2],
}

/// `struct io_uring_zcrx_area_reg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZcrxAreaReg {
    pub(crate) addr: u64,
    pub(crate) len: u64,
    pub(crate) rq_area_token: u64,
    pub(crate) flags: u32,
    pub(crate) dmabuf_fd: u32,
    pub(crate) resv2: [u64; 2],
}

/// `struct io_uring_zcrx_ifq_reg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZcrxIfqReg {
    pub(crate) if_idx: u32,
    pub(crate) if_rxq: u32,
    pub(crate) rq_entries: u32,
    pub(crate) flags: u32,
    pub(crate) area_ptr: u64,
    pub(crate) region_ptr: u64,
    pub(crate) offsets: ZcrxOffsets,
    pub(crate) zcrx_id: u32,
    pub(crate) rx_buf_len: u32,
    pub(crate) resv: [u64; 3],
}

/// `struct zcrx_ctrl`: `arg` is the union of its commands.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ZcrxCtrl {
    pub(crate) zcrx_id: u32,
    pub(crate) op: u32,
    pub(crate) resv: [u64; 2],
    pub(crate) arg: [u64; 6],
}
