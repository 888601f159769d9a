//! What the kernel said it can do when the ring was made.

use std::fmt;

use super::flags::{FEATURES, Names};
use crate::abi::features;

/// The features of the running kernel, as it told them at setup:
/// `IORING_FEAT_*` in `io_uring_setup(2)`.
///
/// No ring exists without `SINGLE_MMAP`, `NODROP` and `SUBMIT_STABLE`, and only a
/// [`legacy`](crate::Builder::legacy) one without `EXT_ARG` and `CQE_SKIP`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Features(u32);

impl Features {
    pub(crate) fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// All bits, those without a method here included.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// Both rings come in one mapping (Linux 5.4).
    pub fn single_mmap(self) -> bool {
        self.has(features::SINGLE_MMAP)
    }

    /// A CQE that finds the CQ full is kept, not dropped (Linux 5.5).
    pub fn nodrop(self) -> bool {
        self.has(features::NODROP)
    }

    /// What an SQE points to for its preparation (iovecs, timespecs, paths) may
    /// be freed once it is submitted (Linux 5.5).
    pub fn submit_stable(self) -> bool {
        self.has(features::SUBMIT_STABLE)
    }

    /// Offset -1 means the file's position (Linux 5.6).
    pub fn rw_cur_pos(self) -> bool {
        self.has(features::RW_CUR_POS)
    }

    /// Requests run with the credentials of the thread that entered, not with
    /// those of the one that made the ring (Linux 5.6).
    pub fn cur_personality(self) -> bool {
        self.has(features::CUR_PERSONALITY)
    }

    /// Requests wait for readiness without holding a worker thread (Linux 5.7).
    pub fn fast_poll(self) -> bool {
        self.has(features::FAST_POLL)
    }

    /// Poll takes all 32 bits of epoll's events (Linux 5.9).
    pub fn poll_32bits(self) -> bool {
        self.has(features::POLL_32BITS)
    }

    /// SQPOLL works with files that are not registered (Linux 5.11).
    pub fn sqpoll_nonfixed(self) -> bool {
        self.has(features::SQPOLL_NONFIXED)
    }

    /// Waiting takes a timeout as an argument (Linux 5.11).
    pub fn ext_arg(self) -> bool {
        self.has(features::EXT_ARG)
    }

    /// Worker threads belong to the process (Linux 5.12).
    pub fn native_workers(self) -> bool {
        self.has(features::NATIVE_WORKERS)
    }

    /// Registered files and buffers carry tags and can be updated (Linux 5.13).
    pub fn rsrc_tags(self) -> bool {
        self.has(features::RSRC_TAGS)
    }

    /// An SQE may ask for no CQE on success (Linux 5.17).
    pub fn cqe_skip(self) -> bool {
        self.has(features::CQE_SKIP)
    }

    /// A linked request looks its file up only when its turn has come (Linux
    /// 5.18).
    pub fn linked_file(self) -> bool {
        self.has(features::LINKED_FILE)
    }

    /// `io_uring_register(2)` takes registered rings (Linux 6.3).
    pub fn reg_reg_ring(self) -> bool {
        self.has(features::REG_REG_RING)
    }

    /// Send and receive in bundles of provided buffers (Linux 6.10).
    pub fn recvsend_bundle(self) -> bool {
        self.has(features::RECVSEND_BUNDLE)
    }

    /// Waiting takes a least time for batching (Linux 6.12).
    pub fn min_timeout(self) -> bool {
        self.has(features::MIN_TIMEOUT)
    }

    /// Reads and writes take attributes, such as protection information (Linux
    /// 6.14).
    pub fn rw_attr(self) -> bool {
        self.has(features::RW_ATTR)
    }

    /// A wait may be left out of the iowait statistics (Linux 6.15).
    pub fn no_iowait(self) -> bool {
        self.has(features::NO_IOWAIT)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Names {
            table: &FEATURES,
            bits: self.0,
        };
        names.fmt(f)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_reads_its_own_bit() {
        let methods: [fn(Features) -> bool; 18] = [
            Features::single_mmap,
            Features::nodrop,
            Features::submit_stable,
            Features::rw_cur_pos,
            Features::cur_personality,
            Features::fast_poll,
            Features::poll_32bits,
            Features::sqpoll_nonfixed,
            Features::ext_arg,
            Features::native_workers,
            Features::rsrc_tags,
            Features::cqe_skip,
            Features::linked_file,
            Features::reg_reg_ring,
            Features::recvsend_bundle,
            Features::min_timeout,
            Features::rw_attr,
            Features::no_iowait,
        ];
        for (bit, method) in methods.into_iter().enumerate() {
            assert!(method(Features::new(1 << bit)), "bit {bit}");
            assert!(!method(Features::new(!(1 << bit))), "bit {bit}");
        }
    }

    #[test]
    fn features_are_shown_by_name() {
        let some = Features::new(features::NODROP | features::NO_IOWAIT);
        assert_eq!(some.to_string(), "NODROP | NO_IOWAIT");
        assert_eq!(format!("{some:?}"), "Features(NODROP | NO_IOWAIT)");
    }
}
