//! Which opcodes the kernel knows.

use std::fmt;
use std::ptr;

use super::ring_fd::RingFd;
use crate::abi::{self, PROBE_OPS, ProbeHeader, ProbeOp, ProbeTable};
use crate::syscall::Errno;

/// The opcodes that the running kernel supports, as `io_uring_register(2)` tells
/// them (`IORING_REGISTER_PROBE`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// One bit for each opcode.
    ops: [u64; PROBE_OPS / 64],
}

impl Probe {
    /// Whether the opcode is known and compiled in. Some of its flags may still be
    /// newer than the kernel.
    pub fn supports(&self, op: u8) -> bool {
        self.ops[usize::from(op) / 64] >> (op % 64) & 1 != 0
    }

    /// The supported opcodes, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|&op| self.supports(op))
    }

    fn of(table: &[ProbeOp]) -> Self {
        let mut ops = [0; PROBE_OPS / 64];
        for entry in table {
            if entry.flags & abi::probe::SUPPORTED != 0 {
                ops[usize::from(entry.op) / 64] |= 1 << (entry.op % 64);
            }
        }
        Self { ops }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe ")?;
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Asks the kernel.
///
/// # Errors
/// `EEXIST` from any thread but the one that a ring with `SINGLE_ISSUER` belongs
/// to; `EACCES` where restrictions leave the probe out.
pub(crate) fn probe(fd: &RingFd) -> Result<Probe, Errno> {
    let mut table = ProbeTable {
        header: ProbeHeader::default(),
        ops: [ProbeOp::default(); PROBE_OPS],
    };
    // SAFETY: the kernel writes a header and at most PROBE_OPS entries during the
    // call, which is the whole table.
    unsafe {
        fd.register(
            abi::register::PROBE,
            ptr::from_mut(&mut table).cast(),
            PROBE_OPS as u32,
        )
    }?;
    let known = usize::from(table.header.ops_len);
    Ok(Probe::of(&table.ops[..known]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_flagged_is_supported() {
        let entry = |op, flags| ProbeOp {
            op,
            flags,
            ..ProbeOp::default()
        };
        let probe = Probe::of(&[entry(0, 1), entry(63, 1), entry(64, 3), entry(65, 2)]);
        assert_eq!(probe.iter().collect::<Vec<_>>(), [0, 63, 64]);
        assert!(!probe.supports(65) && !probe.supports(255));
        assert_eq!(format!("{probe:?}"), "Probe {0, 63, 64}");
    }
}
