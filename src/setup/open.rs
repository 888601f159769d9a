//! The calls that make a ring, in order. Each step owns what it made, so that an
//! early return undoes it.

use std::os::fd::{FromRawFd, OwnedFd};

use super::builder::Builder;
use super::diagnose::{Asked, Surroundings, diagnose};
use super::error::SetupError;
use super::flags::FEATURES;
use super::ring_fd::RingFd;
use super::{Order, check};
use crate::abi::{Params, features, setup};
use crate::mapping::{self, Mapping, RingMemory};
use crate::syscall;

/// Who will own the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Any thread.
    Shared,
    /// The thread that makes it, or enables it.
    Local,
}

/// A ring as setup leaves it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) fd: RingFd,
    pub(crate) mapping: Mapping,
    /// The kernel's answer.
    pub(crate) params: Params,
    pub(crate) order: Order,
    /// To be set in the flags of every `io_uring_enter`.
    pub(crate) enter_flags: u32,
    pub(crate) max_passes: u32,
    /// Whether the thread that will own the ring registers its descriptor.
    pub(crate) registers_fd: bool,
}

impl Opened {
    /// Refuses what the ring cannot have once it is enabled in this mode.
    pub(crate) fn check(&self, mode: Mode) -> Result<(), SetupError> {
        check::registered_fd(self.registers_fd, self.params.flags, mode)?;
        check::legacy(self.params.flags, mode)?;
        check::flags(self.params.flags, mode)
    }

    /// Registers the descriptor, if the builder said so. By the thread that owns the ring.
    pub(crate) fn on_its_thread(mut self) -> Result<Self, SetupError> {
        if self.registers_fd {
            let registered = self.fd.register_index(self.params.features);
            self.fd = registered.map_err(|errno| match errno.raw() {
                libc::EBUSY => SetupError::RegisteredRingsFull,
                _ => SetupError::RegisterRingFd(errno),
            })?;
        }
        Ok(self)
    }
}

/// What no ring can be without.
const REQUIRED: u32 = features::SINGLE_MMAP | features::NODROP | features::SUBMIT_STABLE;

/// What only a legacy ring can be without.
const MODERN: u32 = features::EXT_ARG | features::CQE_SKIP;

impl Builder<'_> {
    /// Makes the ring; `disabled` with `R_DISABLED`.
    pub(crate) fn open(&self, mode: Mode, disabled: bool) -> Result<Opened, SetupError> {
        let mut params = self.params();
        if disabled {
            params.flags |= setup::R_DISABLED;
        }
        check::registered_fd(self.register_ring_fd, params.flags, mode)?;
        check::legacy(params.flags, mode)?;
        check::flags(params.flags, mode)?;
        check::passes(self.max_passes)?;
        let (sq, cq) = check::entries(self.entries, self.cq_entries, params.flags)?;

        let memory = if params.flags & setup::NO_MMAP != 0 {
            let memory = RingMemory::of_user(params.flags, sq, cq)?;
            params.cq_off.user_addr = memory.ring_addr();
            params.sq_off.user_addr = memory.sqes_addr();
            Some(memory)
        } else {
            None
        };

        let asked = Asked {
            flags: params.flags,
            cpu: params.sq_thread_cpu,
            need: {
                let (ring, sqes) = mapping::bytes(params.flags, sq, cq);
                ring + sqes
            },
        };
        let raw = syscall::io_uring_setup(self.entries, &mut params)
            .map_err(|errno| diagnose(errno, &asked, &Surroundings::look()))?;
        let fd = if asked.flags & setup::REGISTERED_FD_ONLY != 0 {
            // An index is 0 to 15.
            RingFd::registered(raw as u32)
        } else {
            // SAFETY: the kernel just opened this file descriptor for this call alone.
            RingFd::owned(unsafe { OwnedFd::from_raw_fd(raw) })
        };

        let modern = if self.legacy { 0 } else { MODERN };
        has_features(params.features, REQUIRED | modern | self.features())?;
        let mapping = match (memory, fd.borrow()) {
            (Some(memory), _) => Mapping::measure(memory, &params)?,
            (None, Some(fd)) => Mapping::of_kernel(fd, &params)?,
            (None, None) => {
                return Err(SetupError::Needs {
                    flag: "REGISTERED_FD_ONLY",
                    needs: "NO_MMAP",
                });
            }
        };
        Ok(Opened {
            fd,
            mapping,
            params,
            order: self.order,
            enter_flags: self.enter_flags(),
            max_passes: self.max_passes,
            registers_fd: self.register_ring_fd,
        })
    }
}

fn has_features(answered: u32, needed: u32) -> Result<(), SetupError> {
    let missing = needed & !answered;
    match FEATURES.iter().find(|flag| missing & flag.bit != 0) {
        Some(flag) => Err(SetupError::MissingFeature {
            feature: flag.name,
            since: flag.since,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_is_named() {
        let needed = REQUIRED | MODERN | features::NO_IOWAIT;
        assert_eq!(has_features(needed, needed), Ok(()));
        assert_eq!(has_features(REQUIRED, REQUIRED), Ok(()));
        for (bit, feature, since) in [
            (features::SINGLE_MMAP, "SINGLE_MMAP", "5.4"),
            (features::NODROP, "NODROP", "5.5"),
            (features::SUBMIT_STABLE, "SUBMIT_STABLE", "5.5"),
            (features::EXT_ARG, "EXT_ARG", "5.11"),
            (features::CQE_SKIP, "CQE_SKIP", "5.17"),
            (features::NO_IOWAIT, "NO_IOWAIT", "6.15"),
        ] {
            let missing = SetupError::MissingFeature { feature, since };
            assert_eq!(has_features(!bit, needed), Err(missing));
        }
    }
}
