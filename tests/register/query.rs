//! What the kernel can do.

use ringway::op;
use ringway::register::{SqeFlags, opcode, register_query};

use super::child::{has, linux, tried};
use super::ops::{nop, run};
use super::*;

/// Submits an operation by its number alone.
fn errno_of(ring: &Ring, opcode: u8) -> i32 {
    let done = run(ring, |sqe| {
        nop(sqe);
        // SAFETY: the opcodes of the tests do nothing to memory or files with all fields 0 and
        // an fd that is not open.
        let bytes = unsafe { sqe.as_bytes_mut() };
        bytes[0] = opcode;
        bytes[4..8].copy_from_slice(&(-1i32).to_ne_bytes());
        sqe
    });
    done.map_or_else(|errno| errno, |_| 0)
}

/// An opcode that the probe does not know is refused; one that it knows is not, or for
/// another reason.
#[test]
fn the_probe_is_right() {
    let ring = ring();
    let probe = ring.probe().unwrap();
    let last = probe.iter().max().unwrap();
    assert!(last >= op::RENAMEAT && probe.supports(op::NOP));
    assert_eq!(errno_of(&ring, op::NOP), 0);
    assert_eq!(errno_of(&ring, op::FSYNC), libc::EBADF);
    for unknown in (last + 1..=last + 3).chain([u8::MAX]) {
        assert!(!probe.supports(unknown));
        assert_eq!(errno_of(&ring, unknown), libc::EINVAL, "{unknown}");
    }
    tried("REGISTER_PROBE");
}

#[test]
fn the_answers_are_right() {
    if !has(6, 18, "query::the_answers_are_right", "QUERY") {
        return;
    }
    // Before there is a ring.
    let kernel = register_query().unwrap();
    let opcodes = kernel.opcodes.unwrap();
    let ring = ring();

    let last = ring.probe().unwrap().iter().max().unwrap();
    assert!(opcodes.request_opcodes > last.into());
    let first_unknown = u8::try_from(opcodes.request_opcodes).unwrap();
    assert_eq!(errno_of(&ring, first_unknown), libc::EINVAL);

    // The newest registration that there is, and the next.
    assert!(opcodes.register_opcodes > opcode::QUERY);
    // SAFETY: the kernel knows no such registration.
    let next = unsafe {
        let nothing = std::ptr::null_mut();
        ring.registrar()
            .register(opcodes.register_opcodes, nothing, 0)
    };
    assert_eq!(next.unwrap_err().raw(), libc::EINVAL);

    let features = u64::from(ring.features().bits());
    assert_eq!(opcodes.feature_flags & features, features);
    // Up to SETUP_CQE_MIXED, and up to ENTER_NO_IOWAIT.
    for (flags, known) in [
        (opcodes.setup_flags, (1 << 19) - 1),
        (opcodes.enter_flags, (1 << 8) - 1),
    ] {
        assert_eq!(flags & known, known);
    }
    let named = [
        SqeFlags::FIXED_FILE,
        SqeFlags::IO_DRAIN,
        SqeFlags::IO_LINK,
        SqeFlags::IO_HARDLINK,
        SqeFlags::ASYNC,
        SqeFlags::BUFFER_SELECT,
        SqeFlags::CQE_SKIP_SUCCESS,
    ];
    let named = named
        .into_iter()
        .fold(SqeFlags::NONE, |all, flag| all | flag);
    assert_eq!(opcodes.sqe_flags, named.bits().into());
    tried("REGISTER_QUERY");
}

/// Each part has its own answer; the manual says 6.15 of all of them.
#[test]
fn what_the_kernel_knows_nothing_of() {
    if !has(6, 18, "query::what_the_kernel_knows_nothing_of", "QUERY") {
        return;
    }
    let kernel = register_query().unwrap();
    if linux(6, 19) {
        let (zcrx, rings) = (kernel.zcrx.unwrap(), kernel.rings.unwrap());
        assert!(zcrx.refill_alignment.is_power_of_two() && zcrx.refill_header > 0);
        // Two heads and two tails at least.
        assert!(rings.alignment.is_power_of_two() && rings.header >= 16);
        assert!(kernel.opcodes.unwrap().query_opcodes >= 3);
    } else {
        assert_eq!(kernel.opcodes.unwrap().query_opcodes, 1);
        let errno = ringway::Errno::from_raw(libc::EOPNOTSUPP);
        assert_eq!((kernel.zcrx, kernel.rings), (Err(errno), Err(errno)));
    }
}
