//! How large a ring's memory is, and what lies where in it.

use super::EntrySize;
use crate::abi::{Params, setup};

pub(super) fn entry_size(flags: u32, big: u32, mixed: u32) -> EntrySize {
    if flags & big != 0 {
        EntrySize::Big
    } else if flags & mixed != 0 {
        EntrySize::Mixed
    } else {
        EntrySize::Small
    }
}

/// From one entry of the CQ to the next.
pub(super) fn cqe_bytes(flags: u32) -> u32 {
    if flags & setup::CQE32 != 0 { 32 } else { 16 }
}

pub(super) fn sqe_bytes(flags: u32) -> u32 {
    if flags & setup::SQE128 != 0 { 128 } else { 64 }
}

/// The size of a page.
pub(crate) fn page() -> u64 {
    // SAFETY: sysconf(3) reads a constant of the process.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(page).unwrap_or(4096)
}

/// What the kernel takes for the rings and for the SQEs, in bytes and whole
/// pages: `rings_size` in the kernel. This much counts as locked memory.
pub(crate) fn bytes(flags: u32, sq: u32, cq: u32) -> (u64, u64) {
    let array = if flags & setup::NO_SQARRAY == 0 {
        4 * u64::from(sq)
    } else {
        0
    };
    let ring = cq_end(flags, 64, cq).next_multiple_of(CACHE_LINE) + array;
    let sqes = u64::from(sq) * u64::from(sqe_bytes(flags));
    (ring.next_multiple_of(page()), sqes.next_multiple_of(page()))
}

/// Where the CQEs end, the first of which is at `cqes`.
fn cq_end(flags: u32, cqes: u32, cq: u32) -> u64 {
    // With CQE32 the kernel doubles the header too.
    (u64::from(cqes) + 16 * u64::from(cq)) * u64::from(cqe_bytes(flags) / 16)
}

/// Most processors' lines: the kernel's SMP_CACHE_BYTES.
const CACHE_LINE: u64 = if cfg!(target_arch = "s390x") {
    256
} else if cfg!(target_arch = "powerpc64") {
    128
} else {
    64
};

/// Where the index array will lie in a ring that had `params` when its CQ has another
/// size: behind the CQEs, from a cache line on. The kernel does not say so when it
/// resizes. `None` if it was not there in the first place.
pub(crate) fn sq_array(params: &Params, cq: u32) -> Option<u32> {
    let end = |cq| cq_end(params.flags, params.cq_off.cqes, cq);
    let was = |line: &u64| {
        end(params.cq_entries).next_multiple_of(*line) == u64::from(params.sq_off.array)
    };
    let line = [CACHE_LINE, 32, 64, 128, 256].into_iter().find(was)?;
    u32::try_from(end(cq).next_multiple_of(line)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_array_lies_behind_the_cqes() {
        let params = |flags, cq_entries, array| {
            let mut params = Params {
                flags,
                cq_entries,
                ..Params::default()
            };
            (params.cq_off.cqes, params.sq_off.array) = (64, array);
            params
        };
        // 64 + 16 * n, or twice that, from a line on.
        let small = params(0, 8, 192);
        assert_eq!(sq_array(&small, 16), Some(320));
        assert_eq!(sq_array(&small, 65536), Some(64 + 16 * 65536));
        let big = params(setup::CQE32, 8, 384);
        assert_eq!(sq_array(&big, 16), Some(640));
        // Lines of 128 and 256 bytes give themselves away.
        assert_eq!(sq_array(&params(0, 16, 384), 32), Some(640));
        assert_eq!(sq_array(&params(0, 16, 512), 32), Some(768));
        assert_eq!(sq_array(&params(0, 8, 200), 16), None);
    }

    #[test]
    fn sizes_are_the_kernels() {
        let page = page();
        assert_eq!(bytes(0, 1, 2), (page, page));
        // 64 + 16 * 65536 + 4 * 32768, and 64 * 32768.
        let whole = |n: u64| n.next_multiple_of(page);
        assert_eq!(bytes(0, 32768, 65536), (whole(1_179_712), whole(2_097_152)));
        // Doubled, the header reaches into a second page.
        let filled = (page / 32 - 2) as u32;
        let cqe32 = setup::CQE32 | setup::NO_SQARRAY;
        assert_eq!(bytes(cqe32, 1, filled), (2 * page, page));
        let wide = setup::SQE128 | setup::CQE32 | setup::NO_SQARRAY;
        assert_eq!(
            bytes(wide, 32768, 65536),
            (whole(2_097_280), whole(4_194_304))
        );
    }
}
