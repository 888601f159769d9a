//! What the kernel can do, asked without a ring.

use std::ptr;

use crate::abi::{self, query, register};
use crate::syscall::{self, Errno};

/// What [`register_query`] learned. A part that the kernel knows nothing of is `EOPNOTSUPP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// Opcodes and flags.
    pub opcodes: Result<QueryOpcodes, Errno>,
    /// Zero-copy receive. Linux 6.19.
    pub zcrx: Result<QueryZcrx, Errno>,
    /// The memory of the rings. Linux 6.19.
    pub rings: Result<QueryRings, Errno>,
}

/// Opcodes and flags of the running kernel. A flag may still be refused in some combination,
/// and an opcode may be left out of the build: see [`Probe`](crate::Probe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryOpcodes {
    /// How many opcodes there are; the largest is one less. See [`op`](crate::op).
    pub request_opcodes: u32,
    /// How many registrations there are. See [`opcode`](super::opcode).
    pub register_opcodes: u32,
    /// `IORING_FEAT_*`: [`Features::bits`](crate::Features::bits).
    pub feature_flags: u64,
    /// `IORING_SETUP_*`.
    pub setup_flags: u64,
    /// `IORING_ENTER_*`.
    pub enter_flags: u64,
    /// `IOSQE_*`: [`SqeFlags`](super::SqeFlags).
    pub sqe_flags: u64,
    /// How many kinds of queries there are; 0 when the kernel does not say.
    pub query_opcodes: u32,
}

/// Zero-copy receive of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryZcrx {
    /// `ZCRX_REG_*`.
    pub register_flags: u64,
    /// `IORING_ZCRX_AREA_*`.
    pub area_flags: u64,
    /// How many control operations there are.
    pub ctrl_opcodes: u32,
    /// `ZCRX_FEATURE_*`.
    pub features: u32,
    /// The header of a refill ring, in bytes.
    pub refill_header: u32,
    /// How that header is aligned, in bytes.
    pub refill_alignment: u32,
}

impl QueryZcrx {
    /// Whether [`Ifq::no_device`](super::Ifq::no_device) is possible (`ZCRX_REG_NODEV`).
    pub fn no_device(&self) -> bool {
        self.register_flags & u64::from(abi::zcrx::REG_NODEV) != 0
    }
}

/// The memory that a ring shares with the kernel, for who provides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryRings {
    /// The header of the rings, in bytes.
    pub header: u64,
    /// How that header is aligned, in bytes.
    pub alignment: u64,
}

/// Asks what the kernel can do, all in one call and without a ring. Linux 6.18;
/// `io_uring_register_query(3)`.
///
/// ```
/// use ringway::{op, register::register_query};
///
/// match register_query() {
///     Ok(kernel) => assert!(kernel.opcodes?.request_opcodes > op::PIPE.into()),
///     Err(errno) => assert_eq!(errno.raw(), libc::EINVAL), // before Linux 6.18
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `EINVAL` before Linux 6.18.
pub fn register_query() -> Result<Query, Errno> {
    let mut opcodes = abi::QueryOpcode::default();
    let mut zcrx = abi::QueryZcrx::default();
    let mut rings = abi::QueryScq::default();
    let mut third = header(query::SCQ, &mut rings, ptr::null_mut());
    let mut second = header(query::ZCRX, &mut zcrx, &mut third);
    let mut first = header(query::OPCODES, &mut opcodes, &mut second);
    let chain = ptr::from_mut(&mut first);
    // SAFETY: the kernel follows the chain, and reads and writes the headers and what they
    // point to, each with its size, during the call.
    unsafe { syscall::io_uring_register(-1, register::QUERY, chain.cast(), 0) }?;
    Ok(Query {
        opcodes: answer(&first).map(|()| QueryOpcodes {
            request_opcodes: opcodes.nr_request_opcodes,
            register_opcodes: opcodes.nr_register_opcodes,
            feature_flags: opcodes.feature_flags,
            setup_flags: opcodes.ring_setup_flags,
            enter_flags: opcodes.enter_flags,
            sqe_flags: opcodes.sqe_flags,
            query_opcodes: opcodes.nr_query_opcodes,
        }),
        zcrx: answer(&second).map(|()| QueryZcrx {
            register_flags: zcrx.register_flags,
            area_flags: zcrx.area_flags,
            ctrl_opcodes: zcrx.nr_ctrl_opcodes,
            features: zcrx.features,
            refill_header: zcrx.rq_hdr_size,
            refill_alignment: zcrx.rq_hdr_alignment,
        }),
        rings: answer(&third).map(|()| QueryRings {
            header: rings.hdr_size,
            alignment: rings.hdr_alignment,
        }),
    })
}

/// One entry of the chain. The kernel will write to what is pointed to.
fn header<T>(op: u32, data: *mut T, next: *mut abi::QueryHdr) -> abi::QueryHdr {
    abi::QueryHdr {
        next_entry: next.expose_provenance() as u64,
        query_data: data.expose_provenance() as u64,
        query_op: op,
        size: size_of::<T>() as u32,
        ..abi::QueryHdr::default()
    }
}

fn answer(header: &abi::QueryHdr) -> Result<(), Errno> {
    match header.result {
        0 => Ok(()),
        error => Err(Errno::from_raw(error.wrapping_neg())),
    }
}
