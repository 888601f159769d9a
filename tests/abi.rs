//! Holds every constant and structure of `src/abi` against `uapi.tsv`, the facts
//! of the kernel's header.
//!
//! The constants are private, so this compiles the module itself. Their values are
//! read from the source text: that way a constant cannot be left out of the check.

use std::collections::BTreeMap;
use std::mem::{align_of, size_of};
use std::ops::Range;

use memoffset::span_of;

#[path = "../src/abi/mod.rs"]
mod abi;
#[path = "../src/syscall.rs"]
#[allow(dead_code, reason = "abi needs its Errno only")]
mod syscall;

/// `uapi.tsv` as it is.
struct Facts {
    consts: BTreeMap<&'static str, u64>,
    /// Size and alignment.
    structs: BTreeMap<&'static str, (usize, usize)>,
    fields: BTreeMap<(&'static str, &'static str), Range<usize>>,
}

impl Facts {
    fn read() -> Self {
        let mut facts = Facts {
            consts: BTreeMap::new(),
            structs: BTreeMap::new(),
            fields: BTreeMap::new(),
        };
        let lines = include_str!("uapi.tsv").lines();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let number = |index: usize| number(columns[index]).expect(line);
            let size = |index| number(index) as usize;
            match columns[0] {
                "const" => {
                    facts.consts.insert(columns[1], number(2));
                }
                "size" => {
                    facts.structs.insert(columns[1], (size(3), size(4)));
                }
                "field" => {
                    let span = size(3)..size(3) + size(4);
                    facts.fields.insert((columns[1], columns[2]), span);
                }
                other => panic!("a line of an unknown kind: {other}"),
            }
        }
        facts
    }
}

/// `12`, `0xc` or `1 << 3`.
fn number(text: &str) -> Option<u64> {
    if let Some((left, right)) = text.split_once(" << ") {
        return Some(number(left)? << number(right)?);
    }
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Module, name and value of every constant in a source text.
fn constants(module: &str, source: &'static str) -> Vec<(String, &'static str, u64)> {
    let mut module = module.to_owned();
    let mut found = Vec::new();
    for line in source.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("pub(crate) mod ") {
            module = name.trim_end_matches(" {").to_owned();
        } else if let Some(constant) = line.strip_prefix("pub(crate) const ") {
            let (name, value) = constant.split_once(": ").expect(line);
            let (_type, value) = value.split_once(" = ").expect(line);
            let value = value.strip_suffix(';').and_then(number).expect(line);
            found.push((module.clone(), name, value));
        }
    }
    assert_eq!(found.len(), source.matches("const ").count());
    found
}

fn all_constants() -> Vec<(String, &'static str, u64)> {
    let mut all = constants("op", include_str!("../src/abi/op.rs"));
    all.extend(constants(
        "register",
        include_str!("../src/abi/register.rs"),
    ));
    all.extend(constants("", include_str!("../src/abi/flags.rs")));
    all
}

/// The header's name.
fn header_name(module: &str, name: &str) -> String {
    let prefix = match (module, name) {
        ("cqe_flags", "BIG") => return "IORING_CQE_F_32".into(),
        ("cqe_flags", "BUFFER_SHIFT") => "IORING_CQE_",
        ("timeout", "LINK_UPDATE") => return "IORING_LINK_TIMEOUT_UPDATE".into(),
        ("poll", "MULTI" | "LEVEL") => "IORING_POLL_ADD_",
        ("register", name) if name.starts_with("UNREGISTER_") => "IORING_",
        ("register", _) => "IORING_REGISTER_",
        ("op", _) => "IORING_OP_",
        ("sqe_flags", _) => "IOSQE_",
        ("cqe_flags", _) => "IORING_CQE_F_",
        ("setup", _) => "IORING_SETUP_",
        ("features", _) => "IORING_FEAT_",
        ("enter", _) => "IORING_ENTER_",
        ("sq_flags", _) => "IORING_SQ_",
        ("cq_flags", _) => "IORING_CQ_",
        ("off", _) => "IORING_OFF_",
        ("timeout", _) => "IORING_TIMEOUT_",
        ("fsync", _) => "IORING_FSYNC_",
        ("poll", _) => "IORING_POLL_",
        ("cancel", _) => "IORING_ASYNC_CANCEL_",
        ("nop", _) => "IORING_NOP_",
        ("probe", _) => "IO_URING_OP_",
        _ => panic!("{module}::{name}: which family of the header is that?"),
    };
    format!("{prefix}{name}")
}

#[test]
fn every_constant_has_the_headers_value() {
    let facts = Facts::read();
    for (module, name, value) in all_constants() {
        let header = header_name(&module, name);
        let expected = facts.consts.get(header.as_str());
        assert_eq!(Some(&value), expected, "{module}::{name} is {header}");
    }
}

#[test]
fn the_main_families_are_whole() {
    let facts = Facts::read();
    let ours: Vec<String> = all_constants()
        .iter()
        .map(|(module, name, _)| header_name(module, name))
        .collect();
    for (prefix, count) in [
        ("IORING_OP_", 65),
        ("IORING_SETUP_", 21),
        ("IORING_FEAT_", 18),
        ("IORING_ENTER_", 8),
        ("IORING_SQ_", 3),
        ("IORING_CQ_", 1),
        ("IORING_CQE_F_", 7),
    ] {
        let theirs: Vec<&str> = facts
            .consts
            .keys()
            .copied()
            // CQE_F_TSTAMP_HW is of one command.
            .filter(|name| name.starts_with(prefix) && !name.contains("TSTAMP"))
            .filter(|name| !name.ends_with("_LAST"))
            .collect();
        assert_eq!(theirs.len(), count, "{prefix}");
        for name in theirs {
            assert!(ours.iter().any(|our| our == name), "{name} is missing");
        }
    }
    let last = facts.consts["IORING_REGISTER_LAST"];
    for op in 0..last {
        let has = |(module, _, value): &(String, &str, u64)| module == "register" && *value == op;
        assert!(all_constants().iter().any(has), "register opcode {op}");
    }
}

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
