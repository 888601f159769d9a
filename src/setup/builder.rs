//! What is asked of a new ring.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{MAX_PASSES, Order};
use crate::abi::{Params, enter, features, setup};

/// Describes a ring; nothing happens until one of the `build` functions is called.
///
/// One method for each flag of `io_uring_setup(2)`: `IORING_SETUP_IOPOLL` is
/// [`iopoll`](Self::iopoll). Only these go by other names: `CQSIZE` is
/// [`cq_entries`](Self::cq_entries), `SQ_AFF` [`SqPoll::cpu`], `NO_SQARRAY`
/// [`order`](Self::order), `R_DISABLED` [`build_disabled`](Self::build_disabled). `SUBMIT_ALL`
/// (Linux 5.18) is always set, but for [`legacy`](Self::legacy) rings: an SQE that is refused
/// does not hold up those behind it. A flag that the mode cannot have, or that contradicts
/// another, is a [`SetupError`] from `build`, by name and with the reason; so is one that the
/// running kernel does not know. None is ever left out silently.
///
/// [`SetupError`]: crate::SetupError
///
/// # A CQ that overflows
///
/// The kernel holds back the CQEs for which the CQ has no room: on a list of its own, with an
/// allocation for each, and from then on all that come after, in order (5.10 lets those
/// overtake). It refuses no operation for that. A reap that finds the CQ empty, and a wait,
/// enter the kernel for them, which costs more than reaping; when there is no memory for one,
/// it is lost ([`EnterError::CompletionLost`](crate::EnterError::CompletionLost)). So make the
/// CQ as large as the number of CQEs that can be unreaped at a time: one for each operation in
/// flight, two for a zero-copy send, for a multishot operation as many as its buffers, plus
/// one. A ring does not hold anybody to that; the permits of a
/// [`Driver`](crate::pool::Driver) do.
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder makes no ring until it is built"]
pub struct Builder<'fd> {
    pub(super) entries: u32,
    pub(super) cq_entries: Option<u32>,
    pub(super) order: Order,
    pub(super) sqpoll: Option<SqPoll>,
    attach_wq: Option<BorrowedFd<'fd>>,
    pub(super) register_ring_fd: bool,
    no_iowait: bool,
    pub(super) max_passes: u32,
    pub(super) legacy: bool,
    /// The flags that are nothing but a flag.
    plain: u32,
}

impl<'fd> Builder<'fd> {
    /// A ring with an SQ of `entries` slots: a power of two, 1 to 32768. Besides the kernel's
    /// memory, a ring takes 16 bytes a slot, 20 in [`Order::Any`].
    pub fn new(entries: u32) -> Self {
        Self {
            entries,
            cq_entries: None,
            order: Order::Any,
            sqpoll: None,
            attach_wq: None,
            register_ring_fd: false,
            no_iowait: false,
            max_passes: MAX_PASSES,
            legacy: false,
            plain: 0,
        }
    }

    /// `CQSIZE`: the CQ's entries, a power of two from `entries` to 65536. Without
    /// it, twice the SQ's. How many it takes is said [above](Self#a-cq-that-overflows).
    pub fn cq_entries(mut self, cq_entries: u32) -> Self {
        self.cq_entries = Some(cq_entries);
        self
    }

    /// `CLAMP`: takes the largest sizes there are (32768 and 65536) where more
    /// were asked for.
    pub fn clamp(self) -> Self {
        self.set(setup::CLAMP)
    }

    /// How SQEs find their way to the kernel; [`Order::Any`] unless told.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// `SQPOLL`: a kernel thread takes SQEs without a system call, at the price of
    /// a CPU while it is busy. Not with `COOP_TASKRUN` or `DEFER_TASKRUN`. See
    /// `io_uring_sqpoll(7)`.
    pub fn sqpoll(mut self, sqpoll: SqPoll) -> Self {
        self.sqpoll = Some(sqpoll);
        self
    }

    /// `IOPOLL`: completions are polled from the device instead of interrupting.
    /// Only for reads and writes on files opened with `O_DIRECT` whose device has
    /// poll queues; nearly everything else fails with `EOPNOTSUPP` or `EINVAL`.
    pub fn iopoll(self) -> Self {
        self.set(setup::IOPOLL)
    }

    /// `HYBRID_IOPOLL` (Linux 6.13): the poll sleeps for a part of the expected
    /// time. Needs [`iopoll`](Self::iopoll).
    pub fn hybrid_iopoll(self) -> Self {
        self.set(setup::HYBRID_IOPOLL)
    }

    /// `ATTACH_WQ`: before Linux 5.12, shares the worker threads of another ring of this
    /// process; since then the kernel only checks the file descriptor. Not together with
    /// SQPOLL: a shared SQPOLL thread takes 8 SQEs of each ring at a time and ends link
    /// chains there, also those of the ring that is attached to.
    pub fn attach_wq<'ring>(self, ring: BorrowedFd<'ring>) -> Builder<'ring>
    where
        'fd: 'ring,
    {
        Builder {
            attach_wq: Some(ring),
            ..self
        }
    }

    /// `COOP_TASKRUN` (Linux 5.19): completions do not interrupt the thread that
    /// submitted, they wait until it enters the kernel. Local rings only.
    pub fn coop_taskrun(self) -> Self {
        self.set(setup::COOP_TASKRUN)
    }

    /// `TASKRUN_FLAG` (Linux 5.19): the ring shows when completions wait to be run. Without it
    /// every reap that finds nothing enters the kernel to see. Needs `COOP_TASKRUN` or `DEFER_TASKRUN`. Local rings only.
    pub fn taskrun_flag(self) -> Self {
        self.set(setup::TASKRUN_FLAG)
    }

    /// `SINGLE_ISSUER` (Linux 6.0): one thread submits, the one that makes the ring
    /// or enables it; the kernel answers all others with `EEXIST`. Local rings
    /// only.
    pub fn single_issuer(self) -> Self {
        self.set(setup::SINGLE_ISSUER)
    }

    /// `DEFER_TASKRUN` (Linux 6.1): completions run only while the thread waits for
    /// them. Needs [`single_issuer`](Self::single_issuer); best with
    /// [`taskrun_flag`](Self::taskrun_flag). Local rings only.
    pub fn defer_taskrun(self) -> Self {
        self.set(setup::DEFER_TASKRUN)
    }

    /// `SQE128` (Linux 5.19): SQEs of 128 bytes, for passthrough commands.
    pub fn sqe128(self) -> Self {
        self.set(setup::SQE128)
    }

    /// `CQE32` (Linux 5.19): CQEs of 32 bytes.
    pub fn cqe32(self) -> Self {
        self.set(setup::CQE32)
    }

    /// `CQE_MIXED` (Linux 6.18): CQEs of 16 bytes, and of 32 where the operation
    /// has that much to say. Keep it from overflowing: Linux 6.18 then loses CQEs, and
    /// brings others twice.
    pub fn cqe_mixed(self) -> Self {
        self.set(setup::CQE_MIXED)
    }

    /// `SQE_MIXED` (Linux 6.19): SQEs of 64 bytes, and of 128 where
    /// [`pop128`](crate::Sq::pop128) asks for one. Needs [`Order::Claim`] and at least 2
    /// entries, which are slots of 64 bytes.
    pub fn sqe_mixed(self) -> Self {
        self.set(setup::SQE_MIXED)
    }

    /// `NO_MMAP` (Linux 6.5): the memory of the rings is the process's own. Before
    /// Linux 6.10 the kernel takes it only if rings and SQEs fit a page each.
    pub fn no_mmap(self) -> Self {
        self.set(setup::NO_MMAP)
    }

    /// `REGISTERED_FD_ONLY` (Linux 6.5): the ring has no file descriptor, only an
    /// index that means something to its thread, one of 16. Needs
    /// [`no_mmap`](Self::no_mmap). Local rings only.
    pub fn registered_fd_only(self) -> Self {
        self.set(setup::REGISTERED_FD_ONLY)
    }

    /// `SQ_REWIND` (Linux 7.0) is not offered: every `build` refuses it.
    pub fn sq_rewind(self) -> Self {
        self.set(setup::SQ_REWIND)
    }

    /// Registers the ring's descriptor with the thread that will own it, and enters by the
    /// index (`REGISTER_RING_FDS`, `IORING_ENTER_REGISTERED_RING`): where the process has
    /// several threads, the kernel then need not take and give back a reference to the
    /// file each time. One of the thread's 16 places, given back with the ring; a ring
    /// with restrictions has to allow `UNREGISTER_RING_FDS` for that. Local rings only:
    /// for a shared one see [`Ring::register_ring_fd`](crate::Ring::register_ring_fd).
    pub fn register_ring_fd(mut self) -> Self {
        self.register_ring_fd = true;
        self
    }

    /// Waits are not counted as waits for I/O (`IORING_ENTER_NO_IOWAIT`, Linux 6.15): the
    /// CPU is shown as idle and may sleep deeper. `io_uring_set_iowait(3)`. Refused as
    /// the feature `NO_IOWAIT` where the kernel lacks it.
    pub fn no_iowait(mut self) -> Self {
        self.no_iowait = true;
        self
    }

    /// How often one submit of a shared ring enters the kernel at most, for everybody who
    /// asks meanwhile: 8 unless said otherwise, at least 1.
    ///
    /// When a submit has entered that often, another thread takes over, unless this one comes
    /// back at once, and the kernel's side of the ring moves to that thread's CPU. Fewer hold
    /// the caller up for less time; more submit more, when threads push as fast as they can.
    pub fn max_passes(mut self, passes: u32) -> Self {
        self.max_passes = passes;
        self
    }

    /// For kernels before 5.18, from 5.10 on: does without `SUBMIT_ALL` on any kernel, and
    /// without the features `EXT_ARG` (5.11) and `CQE_SKIP` (5.17) where there are none.
    /// Local rings only. What is different then:
    ///
    /// - An SQE that the kernel refuses ends the submit. What is behind it stays in the
    ///   ring, also the rest of a batch, and the submit is
    ///   [`Busy`](crate::EnterError::Busy): submit again.
    /// - Without `EXT_ARG` a wait has no timeout: one that is asked for is `EINVAL`.
    /// - Without `CQE_SKIP` a slot that is dropped posts a CQE, with `user_data` 0 and
    ///   result 0.
    pub fn legacy(mut self) -> Self {
        self.legacy = true;
        self
    }

    fn set(mut self, flag: u32) -> Self {
        self.plain |= flag;
        self
    }

    /// What every enter has in its flags.
    pub(super) fn enter_flags(&self) -> u32 {
        if self.no_iowait { enter::NO_IOWAIT } else { 0 }
    }

    /// The features that were asked for.
    pub(super) fn features(&self) -> u32 {
        if self.no_iowait {
            features::NO_IOWAIT
        } else {
            0
        }
    }

    /// The question as the kernel takes it, but for `R_DISABLED` and the entries.
    pub(super) fn params(&self) -> Params {
        let mut params = Params {
            flags: self.plain,
            ..Params::default()
        };
        if !self.legacy {
            params.flags |= setup::SUBMIT_ALL;
        }
        if let Some(cq_entries) = self.cq_entries {
            params.flags |= setup::CQSIZE;
            params.cq_entries = cq_entries;
        }
        if self.order == Order::Claim {
            params.flags |= setup::NO_SQARRAY;
        }
        if let Some(sqpoll) = self.sqpoll {
            params.flags |= setup::SQPOLL;
            params.sq_thread_idle = sqpoll.idle_ms;
            if let Some(cpu) = sqpoll.cpu {
                params.flags |= setup::SQ_AFF;
                params.sq_thread_cpu = cpu;
            }
        }
        if let Some(ring) = self.attach_wq {
            params.flags |= setup::ATTACH_WQ;
            // A borrowed fd is not negative.
            params.wq_fd = ring.as_raw_fd() as u32;
        }
        params
    }
}

/// The SQPOLL thread of a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "it is given to Builder::sqpoll"]
pub struct SqPoll {
    idle_ms: u32,
    cpu: Option<u32>,
}

impl SqPoll {
    /// A thread that may run on any CPU and sleeps after a second without work.
    pub fn new() -> Self {
        Self::default()
    }

    /// For how long the thread spins without work before it sleeps: whole
    /// milliseconds, rounded up, 49 days at most. Zero does not mean never, nor at
    /// once: the kernel makes it one second.
    pub fn idle(mut self, idle: Duration) -> Self {
        let ms = idle.as_nanos().div_ceil(1_000_000);
        self.idle_ms = u32::try_from(ms).unwrap_or(u32::MAX);
        self
    }

    /// `SQ_AFF`: the CPU on which the thread runs, by its number in
    /// `/proc/cpuinfo`.
    pub fn cpu(mut self, cpu: u32) -> Self {
        self.cpu = Some(cpu);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn each_method_sets_its_own_flag() {
        let base = Builder::new(8);
        assert_eq!(base.params().flags, setup::SUBMIT_ALL);
        let stderr = std::io::stderr();
        let with = [
            (base.iopoll(), setup::IOPOLL),
            (base.sqpoll(SqPoll::new()), setup::SQPOLL),
            (
                base.sqpoll(SqPoll::new().cpu(0)),
                setup::SQPOLL | setup::SQ_AFF,
            ),
            (base.cq_entries(8), setup::CQSIZE),
            (base.clamp(), setup::CLAMP),
            (base.attach_wq(stderr.as_fd()), setup::ATTACH_WQ),
            (base.coop_taskrun(), setup::COOP_TASKRUN),
            (base.taskrun_flag(), setup::TASKRUN_FLAG),
            (base.sqe128(), setup::SQE128),
            (base.cqe32(), setup::CQE32),
            (base.single_issuer(), setup::SINGLE_ISSUER),
            (base.defer_taskrun(), setup::DEFER_TASKRUN),
            (base.no_mmap(), setup::NO_MMAP),
            (base.registered_fd_only(), setup::REGISTERED_FD_ONLY),
            (base.order(Order::Claim), setup::NO_SQARRAY),
            (base.hybrid_iopoll(), setup::HYBRID_IOPOLL),
            (base.cqe_mixed(), setup::CQE_MIXED),
            (base.sqe_mixed(), setup::SQE_MIXED),
            (base.sq_rewind(), setup::SQ_REWIND),
        ];
        let mut reached = setup::SUBMIT_ALL | setup::R_DISABLED;
        for (builder, flags) in with {
            assert_eq!(builder.params().flags, setup::SUBMIT_ALL | flags);
            reached |= flags;
        }
        assert_eq!(reached, (1 << 21) - 1, "a flag has no method");
    }

    #[test]
    fn a_legacy_ring_is_one_without_submit_all() {
        let legacy = Builder::new(8).legacy();
        assert_eq!(legacy.params().flags, 0);
        assert_eq!(legacy.clamp().params().flags, setup::CLAMP);
    }

    #[test]
    fn without_iowait_is_a_flag_of_enter_and_a_feature() {
        let asked = |builder: Builder<'_>| (builder.enter_flags(), builder.features());
        assert_eq!(asked(Builder::new(8)), (0, 0));
        let expected = (enter::NO_IOWAIT, features::NO_IOWAIT);
        assert_eq!(asked(Builder::new(8).no_iowait()), expected);
    }

    #[test]
    fn values_go_where_the_kernel_looks() {
        let sqpoll = SqPoll::new().idle(Duration::from_millis(7)).cpu(3);
        let params = Builder::new(8).cq_entries(32).sqpoll(sqpoll).params();
        assert_eq!((params.sq_thread_idle, params.sq_thread_cpu), (7, 3));
        assert_eq!(params.cq_entries, 32);
        let stderr = std::io::stderr();
        assert_eq!(Builder::new(8).attach_wq(stderr.as_fd()).params().wq_fd, 2);
    }

    #[test]
    fn idle_rounds_up_and_saturates() {
        let ms = |idle| SqPoll::new().idle(idle).idle_ms;
        assert_eq!(ms(Duration::ZERO), 0);
        assert_eq!(ms(Duration::from_nanos(1)), 1);
        assert_eq!(ms(Duration::from_micros(2001)), 3);
        assert_eq!(ms(Duration::MAX), u32::MAX);
    }
}
