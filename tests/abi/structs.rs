//! The structures, field by field.

use std::mem::{align_of, size_of};
use std::ops::Range;

use memoffset::span_of;

use super::{Facts, abi};

/// Compares with `struct name`; `fields` are the header's names and our spans,
/// all of them.
#[track_caller]
fn compare<T>(name: &str, fields: &[(&str, Range<usize>)]) {
    let facts = Facts::read();
    let ours = (size_of::<T>(), align_of::<T>());
    assert_eq!(ours, facts.structs[name], "size and alignment of {name}");
    let mut covered = 0;
    for (field, span) in fields {
        let theirs = facts.fields.get(&(name, field));
        assert_eq!(Some(span), theirs, "{name}.{field}");
        covered += span.len();
    }
    assert_eq!(covered, size_of::<T>(), "{name}: a field is missing");
}

#[test]
fn entries_are_laid_out_as_the_kernel_reads_them() {
    use abi::{Cqe, Cqe32, Sqe};
    compare::<Sqe>(
        "io_uring_sqe",
        &[
            ("opcode", span_of!(Sqe, opcode)),
            ("flags", span_of!(Sqe, flags)),
            ("ioprio", span_of!(Sqe, ioprio)),
            ("fd", span_of!(Sqe, fd)),
            ("off", span_of!(Sqe, off)),
            ("addr", span_of!(Sqe, addr)),
            ("len", span_of!(Sqe, len)),
            ("rw_flags", span_of!(Sqe, op_flags)),
            ("user_data", span_of!(Sqe, user_data)),
            ("buf_index", span_of!(Sqe, buf_index)),
            ("personality", span_of!(Sqe, personality)),
            ("file_index", span_of!(Sqe, file_index)),
            ("addr3", span_of!(Sqe, addr3)),
            ("__pad2", span_of!(Sqe, pad2)),
        ],
    );
    compare::<Cqe>(
        "io_uring_cqe",
        &[
            ("user_data", span_of!(Cqe, user_data)),
            ("res", span_of!(Cqe, res)),
            ("flags", span_of!(Cqe, flags)),
        ],
    );
    let big_cqe = &Facts::read().fields[&("io_uring_cqe", "big_cqe")];
    assert_eq!(span_of!(Cqe32, extra), big_cqe.start..big_cqe.start + 16);
}

#[test]
fn setup_structures_are_the_kernels() {
    use abi::{CqOffsets, Params, SqOffsets};
    compare::<SqOffsets>(
        "io_sqring_offsets",
        &[
            ("head", span_of!(SqOffsets, head)),
            ("tail", span_of!(SqOffsets, tail)),
            ("ring_mask", span_of!(SqOffsets, ring_mask)),
            ("ring_entries", span_of!(SqOffsets, ring_entries)),
            ("flags", span_of!(SqOffsets, flags)),
            ("dropped", span_of!(SqOffsets, dropped)),
            ("array", span_of!(SqOffsets, array)),
            ("resv1", span_of!(SqOffsets, resv1)),
            ("user_addr", span_of!(SqOffsets, user_addr)),
        ],
    );
    compare::<CqOffsets>(
        "io_cqring_offsets",
        &[
            ("head", span_of!(CqOffsets, head)),
            ("tail", span_of!(CqOffsets, tail)),
            ("ring_mask", span_of!(CqOffsets, ring_mask)),
            ("ring_entries", span_of!(CqOffsets, ring_entries)),
            ("overflow", span_of!(CqOffsets, overflow)),
            ("cqes", span_of!(CqOffsets, cqes)),
            ("flags", span_of!(CqOffsets, flags)),
            ("resv1", span_of!(CqOffsets, resv1)),
            ("user_addr", span_of!(CqOffsets, user_addr)),
        ],
    );
    // The header ends with the two structures above, which `uapi.tsv` does not
    // repeat: SQ first.
    let facts = Facts::read();
    let (params, _) = facts.structs["io_uring_params"];
    assert_eq!(size_of::<Params>(), params);
    for (name, span) in [
        ("sq_entries", span_of!(Params, sq_entries)),
        ("cq_entries", span_of!(Params, cq_entries)),
        ("flags", span_of!(Params, flags)),
        ("sq_thread_cpu", span_of!(Params, sq_thread_cpu)),
        ("sq_thread_idle", span_of!(Params, sq_thread_idle)),
        ("features", span_of!(Params, features)),
        ("wq_fd", span_of!(Params, wq_fd)),
        ("resv", span_of!(Params, resv)),
    ] {
        assert_eq!(facts.fields[&("io_uring_params", name)], span, "{name}");
    }
    assert_eq!(span_of!(Params, sq_off), params - 80..params - 40);
    assert_eq!(span_of!(Params, cq_off), params - 40..params);
}

#[test]
fn argument_structures_are_the_kernels() {
    use abi::{GetEventsArg, ProbeHeader, ProbeOp, ProbeTable, RsrcUpdate, Timespec};
    compare::<GetEventsArg>(
        "io_uring_getevents_arg",
        &[
            ("sigmask", span_of!(GetEventsArg, sigmask)),
            ("sigmask_sz", span_of!(GetEventsArg, sigmask_sz)),
            ("min_wait_usec", span_of!(GetEventsArg, min_wait_usec)),
            ("ts", span_of!(GetEventsArg, ts)),
        ],
    );
    compare::<Timespec>(
        "io_timespec",
        &[
            ("tv_sec", span_of!(Timespec, tv_sec)),
            ("tv_nsec", span_of!(Timespec, tv_nsec)),
        ],
    );
    compare::<RsrcUpdate>(
        "io_uring_rsrc_update",
        &[
            ("offset", span_of!(RsrcUpdate, offset)),
            ("resv", span_of!(RsrcUpdate, resv)),
            ("data", span_of!(RsrcUpdate, data)),
        ],
    );
    compare::<ProbeHeader>(
        "io_uring_probe",
        &[
            ("last_op", span_of!(ProbeHeader, last_op)),
            ("ops_len", span_of!(ProbeHeader, ops_len)),
            ("resv", span_of!(ProbeHeader, resv)),
            ("resv2", span_of!(ProbeHeader, resv2)),
        ],
    );
    compare::<ProbeOp>(
        "io_uring_probe_op",
        &[
            ("op", span_of!(ProbeOp, op)),
            ("resv", span_of!(ProbeOp, resv)),
            ("flags", span_of!(ProbeOp, flags)),
            ("resv2", span_of!(ProbeOp, resv2)),
        ],
    );
    let ops = &Facts::read().fields[&("io_uring_probe", "ops")];
    assert_eq!(span_of!(ProbeTable, ops).start, ops.start);
}

#[test]
fn resources_are_the_kernels() {
    use abi::{
        Buf, BufReg, BufStatus, CloneBuffers, FileIndexRange, FilesUpdate, RsrcRegister,
        RsrcUpdate2,
    };
    compare::<FilesUpdate>(
        "io_uring_files_update",
        &[
            ("offset", span_of!(FilesUpdate, offset)),
            ("resv", span_of!(FilesUpdate, resv)),
            ("fds", span_of!(FilesUpdate, fds)),
        ],
    );
    compare::<RsrcRegister>(
        "io_uring_rsrc_register",
        &[
            ("nr", span_of!(RsrcRegister, nr)),
            ("flags", span_of!(RsrcRegister, flags)),
            ("resv2", span_of!(RsrcRegister, resv2)),
            ("data", span_of!(RsrcRegister, data)),
            ("tags", span_of!(RsrcRegister, tags)),
        ],
    );
    compare::<RsrcUpdate2>(
        "io_uring_rsrc_update2",
        &[
            ("offset", span_of!(RsrcUpdate2, offset)),
            ("resv", span_of!(RsrcUpdate2, resv)),
            ("data", span_of!(RsrcUpdate2, data)),
            ("tags", span_of!(RsrcUpdate2, tags)),
            ("nr", span_of!(RsrcUpdate2, nr)),
            ("resv2", span_of!(RsrcUpdate2, resv2)),
        ],
    );
    compare::<CloneBuffers>(
        "io_uring_clone_buffers",
        &[
            ("src_fd", span_of!(CloneBuffers, src_fd)),
            ("flags", span_of!(CloneBuffers, flags)),
            ("src_off", span_of!(CloneBuffers, src_off)),
            ("dst_off", span_of!(CloneBuffers, dst_off)),
            ("nr", span_of!(CloneBuffers, nr)),
            ("pad", span_of!(CloneBuffers, pad)),
        ],
    );
    compare::<Buf>(
        "io_uring_buf",
        &[
            ("addr", span_of!(Buf, addr)),
            ("len", span_of!(Buf, len)),
            ("bid", span_of!(Buf, bid)),
            ("resv", span_of!(Buf, resv)),
        ],
    );
    compare::<BufReg>(
        "io_uring_buf_reg",
        &[
            ("ring_addr", span_of!(BufReg, ring_addr)),
            ("ring_entries", span_of!(BufReg, ring_entries)),
            ("bgid", span_of!(BufReg, bgid)),
            ("flags", span_of!(BufReg, flags)),
            ("min_left", span_of!(BufReg, min_left)),
            ("resv", span_of!(BufReg, resv)),
        ],
    );
    compare::<BufStatus>(
        "io_uring_buf_status",
        &[
            ("buf_group", span_of!(BufStatus, buf_group)),
            ("head", span_of!(BufStatus, head)),
            ("resv", span_of!(BufStatus, resv)),
        ],
    );
    compare::<FileIndexRange>(
        "io_uring_file_index_range",
        &[
            ("off", span_of!(FileIndexRange, off)),
            ("len", span_of!(FileIndexRange, len)),
            ("resv", span_of!(FileIndexRange, resv)),
        ],
    );
}

#[test]
fn registration_structures_are_the_kernels() {
    use abi::{
        ClockRegister, MemRegionReg, Napi, RegWait, RegionDesc, Restriction, SyncCancelReg,
        TaskRestriction,
    };
    compare::<RegionDesc>(
        "io_uring_region_desc",
        &[
            ("user_addr", span_of!(RegionDesc, user_addr)),
            ("size", span_of!(RegionDesc, size)),
            ("flags", span_of!(RegionDesc, flags)),
            ("id", span_of!(RegionDesc, id)),
            ("mmap_offset", span_of!(RegionDesc, mmap_offset)),
            ("__resv", span_of!(RegionDesc, resv)),
        ],
    );
    compare::<MemRegionReg>(
        "io_uring_mem_region_reg",
        &[
            ("region_uptr", span_of!(MemRegionReg, region_uptr)),
            ("flags", span_of!(MemRegionReg, flags)),
            ("__resv", span_of!(MemRegionReg, resv)),
        ],
    );
    compare::<Restriction>(
        "io_uring_restriction",
        &[
            ("opcode", span_of!(Restriction, opcode)),
            ("register_op", span_of!(Restriction, op_or_flags)),
            ("resv", span_of!(Restriction, resv)),
            ("resv2", span_of!(Restriction, resv2)),
        ],
    );
    compare::<TaskRestriction>(
        "io_uring_task_restriction",
        &[
            ("flags", span_of!(TaskRestriction, flags)),
            ("nr_res", span_of!(TaskRestriction, nr_res)),
            ("resv", span_of!(TaskRestriction, resv)),
        ],
    );
    compare::<ClockRegister>(
        "io_uring_clock_register",
        &[
            ("clockid", span_of!(ClockRegister, clockid)),
            ("__resv", span_of!(ClockRegister, resv)),
        ],
    );
    compare::<Napi>(
        "io_uring_napi",
        &[
            ("busy_poll_to", span_of!(Napi, busy_poll_to)),
            ("prefer_busy_poll", span_of!(Napi, prefer_busy_poll)),
            ("opcode", span_of!(Napi, opcode)),
            ("pad", span_of!(Napi, pad)),
            ("op_param", span_of!(Napi, op_param)),
            ("resv", span_of!(Napi, resv)),
        ],
    );
    compare::<RegWait>(
        "io_uring_reg_wait",
        &[
            ("ts", span_of!(RegWait, ts)),
            ("min_wait_usec", span_of!(RegWait, min_wait_usec)),
            ("flags", span_of!(RegWait, flags)),
            ("sigmask", span_of!(RegWait, sigmask)),
            ("sigmask_sz", span_of!(RegWait, sigmask_sz)),
            ("pad", span_of!(RegWait, pad)),
            ("pad2", span_of!(RegWait, pad2)),
        ],
    );
    compare::<SyncCancelReg>(
        "io_uring_sync_cancel_reg",
        &[
            ("addr", span_of!(SyncCancelReg, addr)),
            ("fd", span_of!(SyncCancelReg, fd)),
            ("flags", span_of!(SyncCancelReg, flags)),
            ("timeout", span_of!(SyncCancelReg, timeout)),
            ("opcode", span_of!(SyncCancelReg, opcode)),
            ("pad", span_of!(SyncCancelReg, pad)),
            ("pad2", span_of!(SyncCancelReg, pad2)),
        ],
    );
}

#[test]
fn structures_in_buffers_are_the_kernels() {
    use abi::{AttrPi, RecvmsgOut};
    compare::<RecvmsgOut>(
        "io_uring_recvmsg_out",
        &[
            ("namelen", span_of!(RecvmsgOut, namelen)),
            ("controllen", span_of!(RecvmsgOut, controllen)),
            ("payloadlen", span_of!(RecvmsgOut, payloadlen)),
            ("flags", span_of!(RecvmsgOut, flags)),
        ],
    );
    compare::<AttrPi>(
        "io_uring_attr_pi",
        &[
            ("flags", span_of!(AttrPi, flags)),
            ("app_tag", span_of!(AttrPi, app_tag)),
            ("len", span_of!(AttrPi, len)),
            ("addr", span_of!(AttrPi, addr)),
            ("seed", span_of!(AttrPi, seed)),
            ("rsvd", span_of!(AttrPi, rsvd)),
        ],
    );
}

#[test]
fn filters_and_queries_are_the_kernels() {
    use abi::{Bpf, BpfFilter, QueryHdr, QueryOpcode, QueryScq, QueryZcrx};
    compare::<BpfFilter>(
        "io_uring_bpf_filter",
        &[
            ("opcode", span_of!(BpfFilter, opcode)),
            ("flags", span_of!(BpfFilter, flags)),
            ("filter_len", span_of!(BpfFilter, filter_len)),
            ("pdu_size", span_of!(BpfFilter, pdu_size)),
            ("resv", span_of!(BpfFilter, resv)),
            ("filter_ptr", span_of!(BpfFilter, filter_ptr)),
            ("resv2", span_of!(BpfFilter, resv2)),
        ],
    );
    compare::<Bpf>(
        "io_uring_bpf",
        &[
            ("cmd_type", span_of!(Bpf, cmd_type)),
            ("cmd_flags", span_of!(Bpf, cmd_flags)),
            ("resv", span_of!(Bpf, resv)),
            ("filter", span_of!(Bpf, filter)),
        ],
    );
    compare::<QueryHdr>(
        "io_uring_query_hdr",
        &[
            ("next_entry", span_of!(QueryHdr, next_entry)),
            ("query_data", span_of!(QueryHdr, query_data)),
            ("query_op", span_of!(QueryHdr, query_op)),
            ("size", span_of!(QueryHdr, size)),
            ("result", span_of!(QueryHdr, result)),
            ("__resv", span_of!(QueryHdr, resv)),
        ],
    );
    compare::<QueryOpcode>(
        "io_uring_query_opcode",
        &[
            (
                "nr_request_opcodes",
                span_of!(QueryOpcode, nr_request_opcodes),
            ),
            (
                "nr_register_opcodes",
                span_of!(QueryOpcode, nr_register_opcodes),
            ),
            ("feature_flags", span_of!(QueryOpcode, feature_flags)),
            ("ring_setup_flags", span_of!(QueryOpcode, ring_setup_flags)),
            ("enter_flags", span_of!(QueryOpcode, enter_flags)),
            ("sqe_flags", span_of!(QueryOpcode, sqe_flags)),
            ("nr_query_opcodes", span_of!(QueryOpcode, nr_query_opcodes)),
            ("__pad", span_of!(QueryOpcode, pad)),
        ],
    );
    compare::<QueryZcrx>(
        "io_uring_query_zcrx",
        &[
            ("register_flags", span_of!(QueryZcrx, register_flags)),
            ("area_flags", span_of!(QueryZcrx, area_flags)),
            ("nr_ctrl_opcodes", span_of!(QueryZcrx, nr_ctrl_opcodes)),
            ("features", span_of!(QueryZcrx, features)),
            ("rq_hdr_size", span_of!(QueryZcrx, rq_hdr_size)),
            ("rq_hdr_alignment", span_of!(QueryZcrx, rq_hdr_alignment)),
            ("__resv2", span_of!(QueryZcrx, resv2)),
        ],
    );
    compare::<QueryScq>(
        "io_uring_query_scq",
        &[
            ("hdr_size", span_of!(QueryScq, hdr_size)),
            ("hdr_alignment", span_of!(QueryScq, hdr_alignment)),
        ],
    );
}

#[test]
fn zero_copy_receive_is_the_kernels() {
    use abi::{ZcrxAreaReg, ZcrxCqe, ZcrxCtrl, ZcrxIfqReg, ZcrxOffsets, ZcrxRqe};
    compare::<ZcrxRqe>(
        "io_uring_zcrx_rqe",
        &[
            ("off", span_of!(ZcrxRqe, off)),
            ("len", span_of!(ZcrxRqe, len)),
            ("__pad", span_of!(ZcrxRqe, pad)),
        ],
    );
    compare::<ZcrxCqe>(
        "io_uring_zcrx_cqe",
        &[
            ("off", span_of!(ZcrxCqe, off)),
            ("__pad", span_of!(ZcrxCqe, pad)),
        ],
    );
    compare::<ZcrxOffsets>(
        "io_uring_zcrx_offsets",
        &[
            ("head", span_of!(ZcrxOffsets, head)),
            ("tail", span_of!(ZcrxOffsets, tail)),
            ("rqes", span_of!(ZcrxOffsets, rqes)),
            ("__resv2", span_of!(ZcrxOffsets, resv2)),
            ("__resv", span_of!(ZcrxOffsets, resv)),
        ],
    );
    compare::<ZcrxAreaReg>(
        "io_uring_zcrx_area_reg",
        &[
            ("addr", span_of!(ZcrxAreaReg, addr)),
            ("len", span_of!(ZcrxAreaReg, len)),
            ("rq_area_token", span_of!(ZcrxAreaReg, rq_area_token)),
            ("flags", span_of!(ZcrxAreaReg, flags)),
            ("dmabuf_fd", span_of!(ZcrxAreaReg, dmabuf_fd)),
            ("__resv2", span_of!(ZcrxAreaReg, resv2)),
        ],
    );
    compare::<ZcrxIfqReg>(
        "io_uring_zcrx_ifq_reg",
        &[
            ("if_idx", span_of!(ZcrxIfqReg, if_idx)),
            ("if_rxq", span_of!(ZcrxIfqReg, if_rxq)),
            ("rq_entries", span_of!(ZcrxIfqReg, rq_entries)),
            ("flags", span_of!(ZcrxIfqReg, flags)),
            ("area_ptr", span_of!(ZcrxIfqReg, area_ptr)),
            ("region_ptr", span_of!(ZcrxIfqReg, region_ptr)),
            ("offsets", span_of!(ZcrxIfqReg, offsets)),
            ("zcrx_id", span_of!(ZcrxIfqReg, zcrx_id)),
            ("rx_buf_len", span_of!(ZcrxIfqReg, rx_buf_len)),
            ("__resv", span_of!(ZcrxIfqReg, resv)),
        ],
    );
    compare::<ZcrxCtrl>(
        "zcrx_ctrl",
        &[
            ("zcrx_id", span_of!(ZcrxCtrl, zcrx_id)),
            ("op", span_of!(ZcrxCtrl, op)),
            ("__resv", span_of!(ZcrxCtrl, resv)),
            ("arg", span_of!(ZcrxCtrl, arg)),
        ],
    );
}
