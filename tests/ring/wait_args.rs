//! Everything that a wait may be told, by each way of saying it.

use super::LOST;
use super::child::{has, in_child, patiently, tried, untried};
use super::refuse::deny;
use ringway::register::{Clock, WaitMemory};
use ringway::{Builder, EnterError, Errno, Local, Order, Ring, Wait, Waited};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Of the signals that nothing else uses, one for each test: their handlers are the
/// process's.
const DELIVERED: i32 = 40;
const HELD_BACK: i32 = 41;

type Way = fn(&Local, u32, Wait) -> Result<Waited, EnterError>;

/// The ring must have a table of waits for the last two. There, entries on both sides that
/// say something else change nothing.
const WAYS: [Way; 4] = [
    |ring, want, wait| ring.wait_with(want, wait),
    |ring, want, wait| ring.submit_and_wait_with(want, wait),
    |ring, want, wait| {
        set_among_others(ring, 1, wait);
        ring.wait_reg(want, 1)
    },
    |ring, want, wait| {
        set_among_others(ring, 2, wait);
        ring.submit_and_wait_reg(want, 2)
    },
];

fn set_among_others(ring: &Local, index: u32, wait: Wait) {
    ring.set_wait(index, wait).expect("an entry");
    let both = signals(&[DELIVERED, HELD_BACK]);
    let other = Wait::new().until(Duration::ZERO).sigmask(&both);
    for index in [index - 1, index + 1] {
        ring.set_wait(index, other).expect("an entry");
    }
}

/// Runs `test` by each way on each kind of ring, and says whether it did.
fn each(name: &str, test: impl Fn(&Local, Way)) -> bool {
    if !has(6, 13, name, "a table of waits") {
        return false;
    }
    type Set = fn(Builder<'_>) -> Builder<'_>;
    let modes: [(Set, WaitMemory); 4] = [
        (|builder| builder, WaitMemory::Process),
        (|builder| builder.order(Order::Claim), WaitMemory::Kernel),
        (
            |builder| builder.coop_taskrun().taskrun_flag(),
            WaitMemory::Process,
        ),
        (
            |builder| builder.single_issuer().defer_taskrun(),
            WaitMemory::Kernel,
        ),
    ];
    for (set, memory) in modes {
        for way in WAYS {
            let mut ring = patiently(|| set(Ring::builder(8)).build_disabled()).expect("io_uring");
            ring.register_waits(4, memory).expect("a table");
            test(&ring.enable_local().expect("enable"), way);
        }
    }
    true
}

fn push_nops(ring: &Local, count: u32) {
    // Unprepared slots are NOPs.
    ring.pop_batch(count).expect("free slots").push();
}

/// Whether less time passed than a wait that is never woken would take.
#[track_caller]
fn soon<T>(wait: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = wait();
    assert!(start.elapsed() < LOST, "only the timeout ended the wait");
    result
}

#[test]
fn ends_with_as_many_completions_as_are_wanted() {
    let name = "ends_with_as_many_completions_as_are_wanted";
    each(name, |ring, way| {
        let pipes: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap()).collect();
        let mut buffers = [0u8; 3];
        for ((read, _), buffer) in pipes.iter().zip(&mut buffers) {
            let mut slot = ring.pop().unwrap();
            // SAFETY: pipes and buffers stay until all CQEs are reaped below.
            unsafe { slot.prep_read(read.as_fd(), buffer, 1, u64::MAX) };
            slot.push();
        }
        ring.submit().unwrap();
        let wait = Wait::new().timeout(2 * LOST);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pipes
                    .iter()
                    .for_each(|(_, write)| (&*write).write_all(b"x").unwrap())
            });
            assert_eq!(soon(|| way(ring, 3, wait)), Ok(Waited::Maybe));
        });
        assert_eq!(ring.ready(), 3);
        // They lie ready: no wait at all.
        assert_eq!(way(ring, 3, wait), Ok(Waited::Maybe));
        assert_eq!(ring.reap_batch(&mut [ringway::Cqe::default(); 4]), 3);
    });
}

#[test]
fn wants_none_or_more_than_there_is_room_for() {
    let name = "wants_none_or_more_than_there_is_room_for";
    each(name, |ring, way| {
        assert_eq!(way(ring, 0, Wait::new()), Ok(Waited::Maybe));
        // What another thread has posted is run, where that is left to this one.
        let waker = ring.waker().expect("a descriptor");
        std::thread::scope(|scope| scope.spawn(|| waker.wake(9).unwrap()).join()).unwrap();
        assert_eq!(way(ring, 0, Wait::new()), Ok(Waited::Maybe));
        assert_eq!(ring.ready(), 1);
        assert!(ring.reap().is_some());
        for _ in 0..2 {
            push_nops(ring, 8);
            ring.submit().unwrap();
        }
        // 16 CQEs fit, so it is 16 that the kernel waits for.
        let wait = Wait::new().timeout(2 * LOST);
        assert_eq!(soon(|| way(ring, u32::MAX, wait)), Ok(Waited::Maybe));
        assert_eq!(ring.ready(), 16);
    });
}

#[test]
fn ends_with_its_timeout() {
    each("ends_with_its_timeout", |ring, way| {
        for timeout in [Duration::ZERO, 3 * MS] {
            let start = Instant::now();
            let wait = Wait::new().timeout(timeout);
            assert_eq!(way(ring, 1, wait), Ok(Waited::TimedOut));
            assert!(start.elapsed() >= timeout);
        }
        // Completions that are too few end it as well when the time is over.
        push_nops(ring, 1);
        ring.submit().unwrap();
        let wait = Wait::new().timeout(MS);
        assert_eq!(soon(|| way(ring, 2, wait)), Ok(Waited::Maybe));
        assert_eq!(ring.ready(), 1);
    });
}

#[test]
fn the_longest_times_are_not_short() {
    each("the_longest_times_are_not_short", |ring, way| {
        let waker = ring.waker().expect("a descriptor");
        for wait in [
            Wait::new().timeout(Duration::MAX),
            Wait::new().until(Duration::MAX),
            Wait::new().timeout(Duration::MAX).min_wait(MS),
            // Without a timeout the kernel alone would end this after a millisecond.
            Wait::new().min_wait(MS),
            Wait::new(),
        ] {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(10 * MS);
                    waker.wake(9).unwrap();
                });
                assert_eq!(way(ring, 1, wait), Ok(Waited::Maybe), "{wait:?}");
            });
            assert_eq!(ring.reap().map(|cqe| cqe.user_data()), Some(9), "{wait:?}");
        }
    });
}

/// What the clock says now.
fn now(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec.
    assert_eq!(unsafe { libc::clock_gettime(clock, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn ends_at_a_moment_of_the_registered_clock() {
    let clocks = [
        (None, libc::CLOCK_MONOTONIC),
        (Some(Clock::Boottime), libc::CLOCK_BOOTTIME),
        (Some(Clock::Monotonic), libc::CLOCK_MONOTONIC),
    ];
    let name = "ends_at_a_moment_of_the_registered_clock";
    let has_run = each(name, |ring, way| {
        for (register, clock) in clocks {
            if let Some(clock) = register {
                ring.registrar().register_clock(clock).expect("a clock");
            }
            for past in [Duration::ZERO, Duration::from_nanos(1), now(clock)] {
                let wait = Wait::new().until(past);
                assert_eq!(soon(|| way(ring, 1, wait)), Ok(Waited::TimedOut));
            }
            let moment = now(clock) + 3 * MS;
            let wait = Wait::new().until(moment);
            // As a duration it would be the time that the machine has run.
            assert_eq!(soon(|| way(ring, 1, wait)), Ok(Waited::TimedOut));
            assert!(now(clock) >= moment);

            push_nops(ring, 1);
            let wait = Wait::new().until(now(clock) + 2 * LOST);
            ring.submit().unwrap();
            assert_eq!(soon(|| way(ring, 1, wait)), Ok(Waited::Maybe));
            assert!(ring.reap().is_some());
        }
    });
    match has_run {
        true => tried("ENTER_ABS_TIMER"),
        false => untried(
            "ENTER_ABS_TIMER",
            "it is tried with a table of waits, Linux 6.13",
        ),
    }
}

#[test]
fn a_least_wait_collects_and_then_takes_the_first() {
    let name = "a_least_wait_collects_and_then_takes_the_first";
    each(name, |ring, way| {
        let wait = Wait::new().min_wait(5 * MS).timeout(2 * LOST);
        // Two of three are there when the least wait is over: both come back at once.
        push_nops(ring, 2);
        ring.submit().unwrap();
        let start = Instant::now();
        assert_eq!(soon(|| way(ring, 3, wait)), Ok(Waited::Maybe));
        assert!(start.elapsed() >= 5 * MS, "it did not wait for the third");
        assert_eq!(ring.reap_batch(&mut [ringway::Cqe::default(); 4]), 2);

        // None is: the first one ends it.
        let waker = ring.waker().expect("a descriptor");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(20 * MS);
                waker.wake(9).unwrap();
            });
            assert_eq!(soon(|| way(ring, 3, wait)), Ok(Waited::Maybe));
        });
        assert_eq!(ring.reap().map(|cqe| cqe.user_data()), Some(9));

        // None ever is: the timeout does, the shorter of the two as well.
        for wait in [
            Wait::new().min_wait(MS).timeout(3 * MS),
            Wait::new().min_wait(2 * LOST).timeout(MS),
        ] {
            assert_eq!(soon(|| way(ring, 3, wait)), Ok(Waited::TimedOut));
        }
    });
}

fn signals(signals: &[i32]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::zeroed();
    // SAFETY: the set is emptied before it is used.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Blocks or unblocks for this thread.
fn change_mask(how: i32, signal: i32) {
    let set = signals(&[signal]);
    // SAFETY: reads one set.
    let changed = unsafe { libc::pthread_sigmask(how, &set, std::ptr::null_mut()) };
    assert_eq!(changed, 0);
}

fn is_blocked(signal: i32) -> bool {
    let mut set = signals(&[]);
    // SAFETY: writes one set, and reads it.
    unsafe {
        assert_eq!(
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut set),
            0
        );
        libc::sigismember(&set, signal) == 1
    }
}

fn handle(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: the action is whole, and its handler only adds to an atomic. No SA_RESTART:
    // a wait is to end.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

#[test]
fn a_signal_comes_during_the_wait_that_unblocks_it_and_not_before() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_signal: i32) {
        HANDLED.fetch_add(1, SeqCst);
    }
    handle(DELIVERED, handler);
    change_mask(libc::SIG_BLOCK, DELIVERED);
    let name = "a_signal_comes_during_the_wait_that_unblocks_it_and_not_before";
    each(name, |ring, way| {
        let before = HANDLED.load(SeqCst);
        // SAFETY: sends this thread a signal that has a handler.
        unsafe { libc::pthread_kill(libc::pthread_self(), DELIVERED) };
        let wait = Wait::new().timeout(MS);
        assert_eq!(way(ring, 1, wait), Ok(Waited::TimedOut), "it is blocked");
        assert_eq!(HANDLED.load(SeqCst), before);

        let wait = Wait::new().timeout(2 * LOST).sigmask(&signals(&[]));
        assert_eq!(soon(|| way(ring, 1, wait)), Ok(Waited::Maybe));
        assert_eq!(HANDLED.load(SeqCst), before + 1);
        assert!(is_blocked(DELIVERED), "the thread's own mask is back");
        assert_eq!(ring.reap(), None);
        // With no limit but the signal.
        // SAFETY: as above.
        unsafe { libc::pthread_kill(libc::pthread_self(), DELIVERED) };
        let wait = Wait::new().sigmask(&signals(&[]));
        assert_eq!(way(ring, 1, wait), Ok(Waited::Maybe));
        assert_eq!(HANDLED.load(SeqCst), before + 2);
    });
}

/// Signals that would end each wait, blocked for it.
#[test]
fn a_signal_waits_for_the_wait_that_blocks_it() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_signal: i32) {
        HANDLED.fetch_add(1, SeqCst);
    }
    handle(HELD_BACK, handler);
    change_mask(libc::SIG_UNBLOCK, HELD_BACK);
    // SAFETY: names this thread.
    let waiter = unsafe { libc::pthread_self() };
    let (waits, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            while !over.load(SeqCst) && start.elapsed() < LOST {
                if waits.load(SeqCst) {
                    // SAFETY: the waiter outlives the scope, and has a handler.
                    unsafe { libc::pthread_kill(waiter, HELD_BACK) };
                }
                std::thread::sleep(MS / 10);
            }
        });
        each("a_signal_waits_for_the_wait_that_blocks_it", |ring, way| {
            let wait = Wait::new().timeout(20 * MS);
            let before = HANDLED.load(SeqCst);
            let wait = wait.sigmask(&signals(&[HELD_BACK]));
            let start = Instant::now();
            waits.store(true, SeqCst);
            let ended = way(ring, 1, wait);
            waits.store(false, SeqCst);
            assert_eq!(ended, Ok(Waited::TimedOut));
            while HANDLED.load(SeqCst) == before {
                assert!(start.elapsed() < LOST, "no signal came after the wait");
                std::thread::yield_now();
            }
        });
        over.store(true, SeqCst);
    });
}

/// Why the size of the set is not libc's: raw, the kernel says so.
#[test]
fn the_kernel_takes_no_other_size_of_a_set_than_its_own() {
    #[repr(C)]
    struct Argument {
        sigmask: u64,
        sigmask_sz: u32,
        min_wait_usec: u32,
        ts: u64,
    }
    const GETEVENTS: u32 = 1;
    const EXT_ARG: u32 = 1 << 3;
    let ring = Ring::builder(8).build_local().expect("io_uring");
    let set = signals(&[]);
    let time = [0i64, 1_000_000];
    let enter = |sigmask_sz: usize| {
        let argument = Argument {
            sigmask: &raw const set as u64,
            sigmask_sz: sigmask_sz as u32,
            min_wait_usec: 0,
            ts: time.as_ptr() as u64,
        };
        let fd = ring.fd().expect("a descriptor").as_raw_fd();
        // SAFETY: the argument and what it points to outlive the call.
        let result = unsafe {
            let (call, size) = (libc::SYS_io_uring_enter, size_of::<Argument>());
            libc::syscall(call, fd, 0, 1, GETEVENTS | EXT_ARG, &argument, size)
        };
        assert_eq!(result, -1);
        std::io::Error::last_os_error().raw_os_error()
    };
    let kernels = if cfg!(target_arch = "mips") { 16 } else { 8 };
    assert_eq!(enter(kernels), Some(libc::ETIME));
    assert_eq!(
        enter(size_of::<libc::sigset_t>().max(128)),
        Some(libc::EINVAL)
    );
}

#[test]
fn what_is_submitted_hides_how_the_wait_ended() {
    each("what_is_submitted_hides_how_the_wait_ended", |ring, way| {
        let (read, _write) = std::io::pipe().unwrap();
        let buffer = Box::leak(Box::new([0u8; 1]));
        let mut slot = ring.pop().unwrap();
        // SAFETY: the buffer is never freed, and the read never ends.
        unsafe { slot.prep_read(read.as_fd(), buffer.as_mut_ptr(), 1, u64::MAX) };
        slot.push();
        let wait = Wait::new().timeout(MS);
        let ended = way(ring, 1, wait);
        if ring.in_use() == 0 {
            assert_eq!(ended, Ok(Waited::Maybe), "it submitted");
        } else {
            assert_eq!(ended, Ok(Waited::TimedOut), "it only waited");
        }
        assert_eq!(ring.ready(), 0);
    });
}

#[test]
fn a_shared_ring_waits_until_a_moment() {
    let ring = super::ring(8, Order::Any);
    let cq = ring.cq();
    let start = Instant::now();
    assert_eq!(soon(|| cq.wait_until(start)), Ok(Waited::TimedOut));
    let moment = start + 3 * MS;
    assert_eq!(soon(|| cq.wait_until(moment)), Ok(Waited::TimedOut));
    assert!(Instant::now() >= moment);
    super::push_nop(&ring.sq(), 1);
    ring.submit().unwrap();
    assert_eq!(cq.wait_until(start + 2 * LOST), Ok(Waited::Maybe));
    assert_eq!(cq.reap().map(|cqe| cqe.user_data()), Some(1));
}

/// In a process where a wait that counts as I/O is refused.
#[test]
fn without_iowait_every_wait_says_so() {
    let name = "wait_args::without_iowait_every_wait_says_so";
    in_child(name, || {
        if !has(6, 15, name, "NO_IOWAIT") {
            untried("ENTER_NO_IOWAIT", "it came with Linux 6.15");
            return;
        }
        const ENTER_GETEVENTS: u32 = 1;
        const EXT_ARG: u32 = 1 << 3;
        const REGISTERED_RING: u32 = 1 << 4;
        let builder = Ring::builder(8);
        let counted = [builder.build_local(), builder.build_local()].map(Result::unwrap);
        let local = builder.no_iowait().build_local().unwrap();
        let deferred = builder.no_iowait().single_issuer().defer_taskrun();
        let deferred = deferred.build_disabled().unwrap().enable_local().unwrap();
        let shared = builder.no_iowait().build().unwrap();
        let here = shared.register_ring_fd().unwrap();
        for flags in [0, EXT_ARG, REGISTERED_RING, EXT_ARG | REGISTERED_RING] {
            let counted = Some((3, ENTER_GETEVENTS | flags));
            deny(libc::SYS_io_uring_enter, counted, libc::EPERM);
        }
        let refused = Err(EnterError::Kernel(Errno::from_raw(libc::EPERM)));
        let timeouts = [Wait::new(), Wait::new().timeout(LOST)];
        for (ring, wait) in counted.iter().zip(timeouts) {
            assert_eq!(ring.wait_with(1, wait), refused);
        }
        for ring in [local, deferred] {
            push_nops(&ring, 2);
            assert_eq!(ring.submit_and_wait(1, None), Ok(Waited::Maybe));
            assert_eq!(ring.reap_batch(&mut [ringway::Cqe::default(); 2]), 2);
            let wait = Wait::new().timeout(MS);
            assert_eq!(ring.wait_with(1, wait), Ok(Waited::TimedOut));
        }
        super::push_nop(&shared.sq(), 3);
        shared.submit().unwrap();
        let cqe = shared.cq().wait_one(None).unwrap();
        assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(3));
        assert_eq!(shared.cq().wait(Some(MS)), Ok(Waited::TimedOut));
        assert_eq!(here.wait(Some(MS)), Ok(Waited::TimedOut));
        shared.wake(4).unwrap();
        let woken = here.wait_one(None).unwrap();
        assert_eq!(woken.map(|cqe| cqe.user_data()), Some(4));
        tried("ENTER_NO_IOWAIT");
    });
}
