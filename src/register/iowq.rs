//! The kernel's worker threads (io-wq).
//!
//! They belong to the thread that submits, not to the ring: each thread has its own, for
//! all its rings. Those of an SQPOLL ring belong to its SQ thread.

use std::ffi::c_ulong;
use std::ptr;

use super::{Registrar, count};
use crate::abi::{iowq, register};
use crate::syscall::Errno;

/// Limits on the number of worker threads, for each kind of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxWorkers {
    /// For work that ends soon: files, and what needs no file. At first as many as the SQ
    /// has entries, and at most 4 for each CPU.
    pub bounded: u32,
    /// For work that may take for ever: pipes, sockets, devices. At first as many as
    /// `RLIMIT_NPROC` allows.
    pub unbounded: u32,
}

/// More CPUs than any kernel can be built for.
const CPUS: u32 = 1 << 16;

impl Registrar<'_> {
    /// Lets worker threads that start from now on run on these CPUs only. Those that there
    /// are stay where they may run, and end when they had nothing to do for some seconds.
    ///
    /// The worker threads are those of the calling thread, on whatever ring it submits; other
    /// threads of a shared ring call it for themselves. With SQPOLL those of the SQ thread.
    /// Linux 5.14; `io_uring_register_iowq_aff(3)`.
    ///
    /// ```
    /// use ringway::{Ring, register::MaxWorkers};
    ///
    /// let ring = Ring::builder(8).build()?;
    /// let two = MaxWorkers { bounded: 2, unbounded: 2 };
    /// ring.registrar().register_iowq_max_workers(two)?;
    /// let now = ring.registrar().register_iowq_max_workers(MaxWorkers::default())?;
    /// assert_eq!(now, two);
    ///
    /// ring.registrar().unregister_iowq_aff()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `EINVAL` for no CPU, for one outside the thread's cpuset (`cpuset(7)`), for a number
    /// from 65536 on, and for a thread that has neither made a ring nor submitted. Numbers
    /// below 65536 that the machine does not have are ignored by the kernel.
    pub fn register_iowq_aff(self, cpus: &[u32]) -> Result<(), Errno> {
        let Some(last) = cpus.iter().copied().max().filter(|&last| last < CPUS) else {
            return Err(Errno::from_raw(libc::EINVAL));
        };
        let place = |cpu: u32| ((cpu / c_ulong::BITS) as usize, cpu % c_ulong::BITS);
        let mut mask = vec![0 as c_ulong; place(last).0 + 1];
        for &cpu in cpus {
            let (word, bit) = place(cpu);
            mask[word] |= 1 << bit;
        }
        let bytes = count(&mask)? * size_of::<c_ulong>() as u32;
        // SAFETY: the kernel copies `bytes` bytes, which is the mask, during the call.
        unsafe { self.register(register::IOWQ_AFF, mask.as_mut_ptr().cast(), bytes) }.map(|_| ())
    }

    /// Lets worker threads that start from now on run on all CPUs of the thread's cpuset
    /// again; for which ones see [`register_iowq_aff`](Self::register_iowq_aff). Linux 5.14;
    /// `io_uring_unregister_iowq_aff(3)`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a thread that has neither made a ring nor submitted.
    pub fn unregister_iowq_aff(self) -> Result<(), Errno> {
        // SAFETY: the opcode takes no argument.
        unsafe { self.register(register::UNREGISTER_IOWQ_AFF, ptr::null_mut(), 0) }.map(|_| ())
    }

    /// Sets how many worker threads each thread that submits to this ring may have; the
    /// answer is what the calling thread had until now (zeros for one that has neither made
    /// a ring nor submitted, and with SQPOLL what the SQ thread had).
    ///
    /// A thread has one pair of limits for all its rings: what was set last, on any of them. 0
    /// sets again what was last set on this ring, if anything was; so a call that only asks, by
    /// zeros, changes the limits if others were set on another ring since. More than
    /// `RLIMIT_NPROC` becomes that. Linux 5.15; `io_uring_register_iowq_max_workers(3)`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more than `i32::MAX`.
    pub fn register_iowq_max_workers(self, max: MaxWorkers) -> Result<MaxWorkers, Errno> {
        const BOUND: usize = iowq::BOUND as usize;
        const UNBOUND: usize = iowq::UNBOUND as usize;
        let mut limits = [0; 2];
        (limits[BOUND], limits[UNBOUND]) = (max.bounded, max.unbounded);
        // SAFETY: the kernel reads and writes two numbers during the call.
        unsafe { self.register(register::IOWQ_MAX_WORKERS, limits.as_mut_ptr().cast(), 2) }?;
        Ok(MaxWorkers {
            bounded: limits[BOUND],
            unbounded: limits[UNBOUND],
        })
    }
}
