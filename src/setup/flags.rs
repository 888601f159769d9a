//! Names of the setup flags and features, and the Linux that brought each.

use std::fmt;

use crate::abi::{features, setup};

/// One bit, for the wording of errors.
pub(super) struct Flag {
    pub(super) bit: u32,
    pub(super) name: &'static str,
    /// First Linux version.
    pub(super) since: &'static str,
}

const fn flag(bit: u32, name: &'static str, since: &'static str) -> Flag {
    Flag { bit, name, since }
}

/// Every `IORING_SETUP_*`.
pub(super) const SETUP: [Flag; 21] = [
    flag(setup::IOPOLL, "IOPOLL", "5.1"),
    flag(setup::SQPOLL, "SQPOLL", "5.1"),
    flag(setup::SQ_AFF, "SQ_AFF", "5.1"),
    flag(setup::CQSIZE, "CQSIZE", "5.5"),
    flag(setup::CLAMP, "CLAMP", "5.6"),
    flag(setup::ATTACH_WQ, "ATTACH_WQ", "5.6"),
    flag(setup::R_DISABLED, "R_DISABLED", "5.10"),
    flag(setup::SUBMIT_ALL, "SUBMIT_ALL", "5.18"),
    flag(setup::COOP_TASKRUN, "COOP_TASKRUN", "5.19"),
    flag(setup::TASKRUN_FLAG, "TASKRUN_FLAG", "5.19"),
    flag(setup::SQE128, "SQE128", "5.19"),
    flag(setup::CQE32, "CQE32", "5.19"),
    flag(setup::SINGLE_ISSUER, "SINGLE_ISSUER", "6.0"),
    flag(setup::DEFER_TASKRUN, "DEFER_TASKRUN", "6.1"),
    flag(setup::NO_MMAP, "NO_MMAP", "6.5"),
    flag(setup::REGISTERED_FD_ONLY, "REGISTERED_FD_ONLY", "6.5"),
    flag(setup::NO_SQARRAY, "NO_SQARRAY", "6.6"),
    flag(setup::HYBRID_IOPOLL, "HYBRID_IOPOLL", "6.13"),
    flag(setup::CQE_MIXED, "CQE_MIXED", "6.18"),
    flag(setup::SQE_MIXED, "SQE_MIXED", "6.19"),
    flag(setup::SQ_REWIND, "SQ_REWIND", "7.0"),
];

/// Every `IORING_FEAT_*`.
pub(super) const FEATURES: [Flag; 18] = [
    flag(features::SINGLE_MMAP, "SINGLE_MMAP", "5.4"),
    flag(features::NODROP, "NODROP", "5.5"),
    flag(features::SUBMIT_STABLE, "SUBMIT_STABLE", "5.5"),
    flag(features::RW_CUR_POS, "RW_CUR_POS", "5.6"),
    flag(features::CUR_PERSONALITY, "CUR_PERSONALITY", "5.6"),
    flag(features::FAST_POLL, "FAST_POLL", "5.7"),
    flag(features::POLL_32BITS, "POLL_32BITS", "5.9"),
    flag(features::SQPOLL_NONFIXED, "SQPOLL_NONFIXED", "5.11"),
    flag(features::EXT_ARG, "EXT_ARG", "5.11"),
    flag(features::NATIVE_WORKERS, "NATIVE_WORKERS", "5.12"),
    flag(features::RSRC_TAGS, "RSRC_TAGS", "5.13"),
    flag(features::CQE_SKIP, "CQE_SKIP", "5.17"),
    flag(features::LINKED_FILE, "LINKED_FILE", "5.18"),
    flag(features::REG_REG_RING, "REG_REG_RING", "6.3"),
    flag(features::RECVSEND_BUNDLE, "RECVSEND_BUNDLE", "6.10"),
    flag(features::MIN_TIMEOUT, "MIN_TIMEOUT", "6.12"),
    flag(features::RW_ATTR, "RW_ATTR", "6.14"),
    flag(features::NO_IOWAIT, "NO_IOWAIT", "6.15"),
];

/// The table's entry for one bit.
pub(super) fn setup_flag(bit: u32) -> &'static Flag {
    let found = SETUP.iter().find(|flag| flag.bit == bit);
    found.unwrap_or(&Flag {
        bit: 0,
        name: "an unknown flag",
        since: "",
    })
}

/// Shows the bits of `bits` by their names in `table`, the rest as a number.
pub(super) struct Names {
    pub(super) table: &'static [Flag],
    pub(super) bits: u32,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.bits;
        let mut between = "";
        for flag in self.table {
            if self.bits & flag.bit != 0 {
                write!(f, "{between}{}", flag.name)?;
                between = " | ";
                rest &= !flag.bit;
            }
        }
        if rest != 0 || self.bits == 0 {
            write!(f, "{between}{rest:#x}")?;
        }
        Ok(())
    }
}

/// The leading `major.minor` of a release such as `6.18.44-generic`.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_has_each_bit_once_and_in_order() {
        for table in [&SETUP[..], &FEATURES[..]] {
            for (index, flag) in table.iter().enumerate() {
                assert_eq!(flag.bit, 1 << index, "{}", flag.name);
                assert!(version(flag.since).is_some(), "{}", flag.name);
            }
        }
    }

    #[test]
    fn names_are_joined_and_strangers_are_numbers() {
        let show = |bits| {
            let table = &SETUP[..];
            Names { table, bits }.to_string()
        };
        assert_eq!(show(0), "0x0");
        assert_eq!(show(setup::SQPOLL), "SQPOLL");
        assert_eq!(show(setup::IOPOLL | setup::CLAMP), "IOPOLL | CLAMP");
        assert_eq!(show(setup::CLAMP | 1 << 31), "CLAMP | 0x80000000");
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("7.0-rc1"), Some((7, 0)));
        assert!(version("5.10") > version("5.9"));
        assert_eq!(version("Linux"), None);
        assert_eq!(version("6"), None);
        assert_eq!(version("99999999999.1"), None);
    }
}
