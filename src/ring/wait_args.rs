//! What a wait of a local ring may be told, and how the kernel takes it.

use super::kernel::{Enter, Real};
use crate::abi::{GetEventsArg, RegWait, Timespec, enter, reg_wait};
use crate::syscall::Errno;
use std::time::Duration;

/// The kernel's set of signals, in bytes. libc's is larger, and the kernel takes no other
/// size than its own.
const SIGSET: usize = if cfg!(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6"
)) {
    16
} else {
    8
};

/// A set of signals as the kernel takes it.
pub(super) type SigSet = [u64; SIGSET / 8];

/// Long enough to be no limit, and short enough to be added to any clock: 136 years.
const FOREVER: Duration = Duration::from_secs(1 << 32);

/// When a wait of a [`Local`](crate::Local) ring ends, other than by enough completions:
/// for [`Local::wait_with`](crate::Local::wait_with),
/// [`Local::submit_and_wait_with`](crate::Local::submit_and_wait_with) and
/// [`Local::set_wait`](crate::Local::set_wait). Without any of these, it ends with the
/// completions or a signal only.
///
/// On an IOPOLL ring the kernel polls instead of sleeping, and looks at none of them.
///
/// ```
/// use std::time::Duration;
/// use ringway::{Ring, Wait, Waited};
///
/// let ring = Ring::builder(8).build_local()?;
/// // Three completions, or as many as there are after 10 µs, or the first one after that.
/// let wait = Wait::new()
///     .min_wait(Duration::from_micros(10))
///     .timeout(Duration::from_millis(1));
/// assert_eq!(ring.wait_with(3, wait)?, Waited::TimedOut);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a wait does nothing until it is given to a ring"]
pub struct Wait {
    end: End,
    /// Microseconds.
    min_wait: u32,
    sigmask: Option<SigSet>,
}

#[derive(Clone, Copy, Debug, Default)]
enum End {
    #[default]
    Never,
    After(Duration),
    /// Counted from where the ring's clock started.
    At(Duration),
}

impl Wait {
    /// No limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends after this time: [`Waited::TimedOut`](crate::Waited::TimedOut). Measured by the
    /// ring's clock, see [`register_clock`](crate::register::Registrar::register_clock).
    /// Replaces [`until`](Self::until).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.end = End::After(timeout);
        self
    }

    /// Ends at this moment of the ring's clock, CLOCK_MONOTONIC unless another was
    /// [registered](crate::register::Registrar::register_clock): what `clock_gettime(2)`
    /// says then. A moment in the past ends the wait at once. `IORING_ENTER_ABS_TIMER`,
    /// Linux 6.12; EINVAL before. Replaces [`timeout`](Self::timeout).
    pub fn until(mut self, moment: Duration) -> Self {
        self.end = End::At(moment);
        self
    }

    /// For this long the wait is for all the completions that are wanted; after that one is
    /// enough, and if there is one already, the wait ends. Whole microseconds, rounded up, 71
    /// minutes at most. Zero is none.
    ///
    /// The kernel ignores the end of a wait that comes before its least wait is over. So a
    /// least wait that is not shorter than [`timeout`](Self::timeout) is not passed on; one
    /// that is longer than the time left to [`until`](Self::until) is, and outlasts it.
    /// `min_wait_usec`, Linux 6.12 ([`Features::min_timeout`]); EINVAL before, and nothing is
    /// submitted.
    ///
    /// [`Features::min_timeout`]: crate::Features::min_timeout
    pub fn min_wait(mut self, least: Duration) -> Self {
        let micros = least.as_nanos().div_ceil(1_000);
        self.min_wait = u32::try_from(micros).unwrap_or(u32::MAX);
        self
    }

    /// The signals that are blocked while the thread sleeps in the kernel, instead of those
    /// that the thread blocks: as in `pselect(2)`, a signal that is unblocked for the wait
    /// alone cannot come before it. When it comes, its handler runs and the wait ends, with
    /// [`Waited::Maybe`](crate::Waited::Maybe). When enough completions lie ready, the
    /// thread does not sleep, and the signal stays blocked.
    pub fn sigmask(mut self, blocked: &libc::sigset_t) -> Self {
        let mut mask = [0; SIGSET / 8];
        let size = SIGSET.min(size_of_val(blocked));
        // SAFETY: both are at least `size` bytes, which are signals in both: libc's set
        // begins with the kernel's.
        unsafe {
            std::ptr::from_ref(blocked)
                .cast::<u8>()
                .copy_to_nonoverlapping(mask.as_mut_ptr().cast(), size);
        }
        self.sigmask = Some(mask);
        self
    }

    /// As a function that returns at once may say it.
    pub(super) fn of(timeout: Option<Duration>) -> Self {
        Self {
            end: timeout.map_or(End::Never, End::After),
            ..Self::default()
        }
    }

    pub(super) fn has_min_wait(&self) -> bool {
        self.min_wait != 0
    }

    fn min_wait_usec(&self) -> u32 {
        match self.end {
            End::After(timeout) if Duration::from_micros(self.min_wait.into()) >= timeout => 0,
            _ => self.min_wait,
        }
    }

    fn time(&self) -> Option<Timespec> {
        match self.end {
            End::After(time) => Some(time.min(FOREVER).into()),
            End::At(time) => Some(time.into()),
            // Without a timeout the kernel would let the least wait end the whole.
            End::Never => self.has_min_wait().then_some(FOREVER.into()),
        }
    }

    /// What the time needs in the flags of enter.
    pub(super) fn time_flags(&self) -> u32 {
        match self.end {
            End::At(_) => enter::ABS_TIMER,
            End::Never | End::After(_) => 0,
        }
    }

    /// Enters with this as the argument.
    pub(super) fn enter(&self, real: &Real, request: Enter) -> Result<u32, Errno> {
        let time = self.time();
        if time.is_none() && self.sigmask.is_none() {
            // SAFETY: without EXT_ARG the kernel reads no argument.
            return unsafe { real.enter_with(request, std::ptr::null(), 0) };
        }
        let mask = self.sigmask.as_ref();
        let argument = GetEventsArg {
            sigmask: mask.map_or(0, |mask| mask.as_ptr().expose_provenance() as u64),
            sigmask_sz: mask.map_or(0, size_of_val) as u32,
            min_wait_usec: self.min_wait_usec(),
            ts: (time.as_ref()).map_or(0, |time| {
                std::ptr::from_ref(time).expose_provenance() as u64
            }),
        };
        let request = Enter {
            flags: request.flags | enter::EXT_ARG | self.time_flags(),
            ..request
        };
        // SAFETY: the argument, the time and the set of signals outlive the call, and the
        // sizes are theirs.
        unsafe {
            real.enter_with(
                request,
                (&raw const argument).cast(),
                size_of_val(&argument),
            )
        }
    }

    /// As an entry of a table of waits, and the set of signals that the entry is to point
    /// to, at `mask`.
    pub(super) fn entry(&self, mask: u64) -> (RegWait, SigSet) {
        let time = self.time();
        let has_mask = self.sigmask.is_some();
        let entry = RegWait {
            ts: time.unwrap_or_default(),
            min_wait_usec: self.min_wait_usec(),
            flags: if time.is_some() { reg_wait::TS } else { 0 },
            sigmask: if has_mask { mask } else { 0 },
            sigmask_sz: if has_mask { SIGSET as u32 } else { 0 },
            ..RegWait::default()
        };
        (entry, self.sigmask.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_time_is_after_or_at_whichever_was_said_last() {
        let wait = Wait::new();
        assert_eq!((wait.time(), wait.time_flags()), (None, 0));
        let wait = wait.until(MS).timeout(2 * MS);
        assert_eq!(wait.time(), Some((2 * MS).into()));
        assert_eq!(wait.time_flags(), 0);
        // The kernel adds it to its clock.
        assert_eq!(wait.timeout(Duration::MAX).time(), Some(FOREVER.into()));
        let wait = wait.until(3 * MS);
        assert_eq!(wait.time(), Some((3 * MS).into()));
        assert_eq!(wait.time_flags(), enter::ABS_TIMER);
    }

    #[test]
    fn a_least_wait_is_micros_and_never_the_only_limit() {
        let usec = |wait: Wait| wait.min_wait_usec();
        assert_eq!(usec(Wait::new().min_wait(Duration::from_nanos(1))), 1);
        assert_eq!(usec(Wait::new().min_wait(Duration::from_nanos(2001))), 3);
        assert_eq!(usec(Wait::new().min_wait(Duration::MAX)), u32::MAX);
        assert_eq!(Wait::new().min_wait(Duration::ZERO).time(), None);
        let wait = Wait::new().min_wait(MS);
        assert_eq!((wait.time(), usec(wait)), (Some(FOREVER.into()), 1000));
        assert_eq!(wait.time_flags(), 0);
        // As long as the timeout, or longer, it would outlast it.
        assert_eq!(usec(wait.timeout(2 * MS)), 1000);
        assert_eq!(usec(wait.timeout(MS)), 0);
        assert_eq!(usec(wait.timeout(Duration::ZERO)), 0);
        assert_eq!(usec(wait.until(Duration::ZERO)), 1000);
    }

    #[test]
    fn an_entry_says_what_it_has() {
        let (entry, _) = Wait::new().entry(64);
        assert_eq!((entry.flags, entry.sigmask, entry.sigmask_sz), (0, 0, 0));
        let mut set = std::mem::MaybeUninit::uninit();
        // SAFETY: the set is written before it is read.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), 3);
            set.assume_init()
        };
        let wait = Wait::new().sigmask(&set).timeout(MS);
        let (entry, mask) = wait.entry(64);
        assert_eq!((entry.flags, entry.ts), (reg_wait::TS, MS.into()));
        assert_eq!((entry.sigmask, entry.sigmask_sz), (64, SIGSET as u32));
        assert_eq!(mask[0].to_le_bytes()[0], 1 << 2);
    }
}
