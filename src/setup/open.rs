//! The calls that make a ring, in order. Each step owns what it made, so that an
//! early return undoes it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{ffi::c_void, ptr};

use super::builder::Builder;
use super::diagnose::{Asked, Surroundings, diagnose};
use super::error::SetupError;
use super::flags::FEATURES;
use super::{Order, check};
use crate::abi::{self, Params, enter, features, register, setup};
use crate::mapping::{self, Mapping, RingMemory};
use crate::syscall::{self, Errno};

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
}

/// What names the ring in system calls.
#[derive(Debug)]
pub(crate) enum RingFd {
    /// A file descriptor, closed on exec.
    Owned(OwnedFd),
    /// `REGISTERED_FD_ONLY`. Setup makes it for a local ring that is not disabled
    /// only: one that stays on its thread.
    Registered(RegisteredIndex),
}

/// One of the thread's places for registered rings; given back when dropped, which
/// closes the ring.
#[derive(Debug)]
pub(crate) struct RegisteredIndex(i32);

impl Opened {
    /// Refuses flags that the ring cannot have once it is enabled in this mode.
    pub(crate) fn check(&self, mode: Mode) -> Result<(), SetupError> {
        check::flags(self.params.flags, mode)
    }
}

impl RingFd {
    /// What the system calls take as `fd`, together with
    /// [`enter_flag`](Self::enter_flag).
    #[inline]
    pub(crate) fn raw(&self) -> i32 {
        match self {
            Self::Owned(fd) => fd.as_raw_fd(),
            Self::Registered(index) => index.0,
        }
    }

    /// The file descriptor, if there is one.
    pub(crate) fn borrow(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Owned(fd) => Some(fd.as_fd()),
            Self::Registered(_) => None,
        }
    }

    /// To be set in the flags of every `io_uring_enter`.
    #[inline]
    pub(crate) fn enter_flag(&self) -> u32 {
        match self {
            Self::Owned(_) => 0,
            Self::Registered(_) => enter::REGISTERED_RING,
        }
    }

    /// `io_uring_register(2)` on this ring.
    ///
    /// # Safety
    /// As for [`syscall::io_uring_register`].
    pub(crate) unsafe fn register(&self, op: u32, arg: *mut c_void, nr: u32) -> Result<u32, Errno> {
        let registered = match self {
            Self::Owned(_) => 0,
            Self::Registered(_) => register::USE_REGISTERED_RING,
        };
        // SAFETY: the caller's promise, passed on.
        unsafe { syscall::io_uring_register(self.raw(), op | registered, arg, nr) }
    }
}

impl Drop for RegisteredIndex {
    fn drop(&mut self) {
        let mut update = abi::RsrcUpdate {
            // An index is 0 to 15.
            offset: self.0 as u32,
            ..abi::RsrcUpdate::default()
        };
        // SAFETY: the kernel reads one update during the call. It fails only if the
        // place is free already, or on a thread that never had it.
        let _ = unsafe {
            syscall::io_uring_register(
                self.0,
                register::UNREGISTER_RING_FDS | register::USE_REGISTERED_RING,
                ptr::from_mut(&mut update).cast(),
                1,
            )
        };
    }
}

/// What no ring can be without.
const REQUIRED: u32 = features::SINGLE_MMAP
    | features::NODROP
    | features::SUBMIT_STABLE
    | features::EXT_ARG
    | features::CQE_SKIP;

impl Builder<'_> {
    /// Makes the ring; `disabled` with `R_DISABLED`.
    pub(crate) fn open(&self, mode: Mode, disabled: bool) -> Result<Opened, SetupError> {
        let mut params = self.params();
        if disabled {
            params.flags |= setup::R_DISABLED;
        }
        check::flags(params.flags, mode)?;
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
            RingFd::Registered(RegisteredIndex(raw))
        } else {
            // SAFETY: the kernel just opened this file descriptor for this call alone.
            RingFd::Owned(unsafe { OwnedFd::from_raw_fd(raw) })
        };

        has_features(params.features)?;
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
        })
    }
}

fn has_features(answered: u32) -> Result<(), SetupError> {
    let missing = REQUIRED & !answered;
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
        assert_eq!(has_features(REQUIRED), Ok(()));
        assert_eq!(has_features(!0), Ok(()));
        for (bit, feature, since) in [
            (features::SINGLE_MMAP, "SINGLE_MMAP", "5.4"),
            (features::NODROP, "NODROP", "5.5"),
            (features::SUBMIT_STABLE, "SUBMIT_STABLE", "5.5"),
            (features::EXT_ARG, "EXT_ARG", "5.11"),
            (features::CQE_SKIP, "CQE_SKIP", "5.17"),
        ] {
            let missing = SetupError::MissingFeature { feature, since };
            assert_eq!(has_features(!bit), Err(missing));
        }
    }
}
