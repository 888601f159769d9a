//! Futexes.
#![allow(clippy::disallowed_types, reason = "loom never runs this")]

use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{ptr, thread};

use ringway::prep::{CancelFlags, FUTEX_MATCH_ANY, FutexFlags, FutexWaitv, TimeoutFlags, Timespec};

use super::child::{has, here, knows, tried};
use super::*;

const WAIT: u8 = 51;
const WAITV: u8 = 53;
const PRIVATE: FutexFlags = FutexFlags::from_bits(0x82);
const CANCELED: Result<u32, i32> = Err(libc::ECANCELED);

/// A futex that outlives every operation.
fn futex(value: u32) -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(value)))
}

fn start_wait(ring: &Ring, futex: &'static AtomicU32, mask: u64, user_data: u64) {
    let value = futex.load(Ordering::Relaxed).into();
    start(ring, |sqe| {
        // SAFETY: the futex stays.
        unsafe { sqe.prep_futex_wait(futex.as_ptr(), value, mask, PRIVATE) }.user_data(user_data)
    });
}

/// Wakes; the CQE has `user_data` 100.
fn start_wake(ring: &Ring, futex: &'static AtomicU32, count: u64, mask: u64) {
    start(ring, |sqe| {
        // SAFETY: the futex stays.
        unsafe { sqe.prep_futex_wake(futex.as_ptr(), count, mask, PRIVATE) }.user_data(100)
    });
}

#[test]
fn wait_until_woken() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAIT") {
        return;
    }
    let (mine, other) = (futex(7), futex(7));
    start_wait(&ring, mine, FUTEX_MATCH_ANY, 1);
    start_wake(&ring, other, 1, FUTEX_MATCH_ANY);
    assert_eq!(results(&ring), [(100, Ok(0))]);
    start_wake(&ring, mine, 1, FUTEX_MATCH_ANY);
    assert_eq!(results(&ring), [(1, Ok(0)), (100, Ok(1))]);
    tried("OP_FUTEX_WAIT");
    tried("OP_FUTEX_WAKE");
}

#[test]
fn wait_until_a_thread_wakes() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAIT") {
        return;
    }
    let futex = futex(0);
    start_wait(&ring, futex, FUTEX_MATCH_ANY, 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the futex stays.
            let woken = unsafe { libc::syscall(libc::SYS_futex, futex.as_ptr(), operation, 1) };
            assert_eq!(woken, 1);
        });
        assert_eq!(results(&ring), [(1, Ok(0))]);
    });
}

#[test]
fn wake_a_thread() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAKE") {
        return;
    }
    let futex = futex(0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
            let longest = libc::timespec {
                tv_sec: 20,
                tv_nsec: 0,
            };
            // SAFETY: the futex stays, the time stays during the call.
            unsafe { libc::syscall(libc::SYS_futex, futex.as_ptr(), operation, 0, &longest) }
        });
        // Until it waits there is nobody to wake.
        while !waiter.is_finished() {
            start_wake(&ring, futex, 1, FUTEX_MATCH_ANY);
            if results(&ring) == [(100, Ok(1))] {
                break;
            }
            thread::yield_now();
        }
        assert_eq!(waiter.join().unwrap(), 0);
    });
    tried("OP_FUTEX_WAKE");
}

/// The manual page says that the result is an index.
#[test]
fn wake_as_many_as_told() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAKE") {
        return;
    }
    // Most kernels count all that are cancelled as one; the manual page says how many.
    let is_counted = here(&[("5.18", false), ("6.12.118", true), ("6.13", false)]);
    let too_many = i32::MAX as u64 + 1;
    for (count, woken) in [(0, 0), (1, 1), (2, 2), (i32::MAX as u64, 3), (too_many, 1)] {
        let futex = futex(0);
        for _ in 0..3 {
            start_wait(&ring, futex, FUTEX_MATCH_ANY, 1);
        }
        start_wake(&ring, futex, count, FUTEX_MATCH_ANY);
        start(&ring, |sqe| {
            // SAFETY: a cancel request names no memory.
            unsafe { sqe.prep_cancel64(1, CancelFlags::ALL) }.user_data(101)
        });
        let left = 3 - woken as u32;
        let mut want = [(1, CANCELED); 5];
        want[..woken].fill((1, Ok(0)));
        want[3] = (100, Ok(woken as u32));
        want[4] = (101, Ok(if is_counted { left } else { left.min(1) }));
        assert_eq!(results(&ring), want, "{count}");
    }
}

#[test]
fn masks_must_meet() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAIT") {
        return;
    }
    let futex = futex(0);
    start_wait(&ring, futex, 1 << 31, 1);
    start_wait(&ring, futex, 0b0110, 2);
    start_wake(&ring, futex, 9, 0b1000);
    assert_eq!(results(&ring), [(100, Ok(0))]);
    start_wake(&ring, futex, 9, 0b1100);
    assert_eq!(results(&ring), [(2, Ok(0)), (100, Ok(1))]);
    start_wake(&ring, futex, 9, FUTEX_MATCH_ANY);
    assert_eq!(results(&ring), [(1, Ok(0)), (100, Ok(1))]);
    start_wait(&ring, futex, FUTEX_MATCH_ANY, 1);
    start_wake(&ring, futex, 9, 1 << 31);
    assert_eq!(results(&ring), [(1, Ok(0)), (100, Ok(1))]);
}

#[test]
fn private_and_shared_are_two() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAIT") {
        return;
    }
    let futex = futex(0);
    let wait = |flags, user_data| {
        start(&ring, |sqe| {
            // SAFETY: the futex stays.
            unsafe { sqe.prep_futex_wait(futex.as_ptr(), 0, FUTEX_MATCH_ANY, flags) }
                .user_data(user_data)
        });
    };
    let wake = |flags| {
        start(&ring, |sqe| {
            // SAFETY: the futex stays.
            unsafe { sqe.prep_futex_wake(futex.as_ptr(), 9, FUTEX_MATCH_ANY, flags) }.user_data(100)
        });
    };
    let private = FutexFlags::SIZE_U32 | FutexFlags::PRIVATE;
    for (flags, others) in [
        (private, FutexFlags::SIZE_U32),
        (FutexFlags::SIZE_U32, private),
    ] {
        wait(flags, 1);
        wake(others);
        assert_eq!(results(&ring), [(100, Ok(0))]);
        wake(flags);
        assert_eq!(results(&ring), [(1, Ok(0)), (100, Ok(1))]);
    }
}

/// A futex and its node, which outlive every operation.
fn on_a_node(node: u32) -> &'static [AtomicU32; 2] {
    #[repr(align(8))]
    struct Aligned([AtomicU32; 2]);
    &Box::leak(Box::new(Aligned([0, node].map(AtomicU32::new)))).0
}

#[test]
fn a_futex_on_a_node() {
    let ring = ring();
    if !has(6, 16, "futex::a_futex_on_a_node", "FUTEX2_NUMA") {
        return;
    }
    const NO_NODE: u32 = u32::MAX;
    let numa = PRIVATE | FutexFlags::NUMA;
    for flags in [numa, numa | FutexFlags::MPOL] {
        let [futex, node] = on_a_node(NO_NODE);
        let address = futex.as_ptr();
        start(&ring, |sqe| {
            // SAFETY: both words stay.
            unsafe { sqe.prep_futex_wait(address, 0, FUTEX_MATCH_ANY, flags) }.user_data(1)
        });
        // The kernel has chosen one: the node on which it looks for those who wait.
        assert_ne!(node.load(Ordering::Relaxed), NO_NODE);
        start(&ring, |sqe| {
            // SAFETY: as above.
            unsafe { sqe.prep_futex_wake(address, 1, FUTEX_MATCH_ANY, flags) }.user_data(100)
        });
        assert_eq!(results(&ring), [(1, Ok(0)), (100, Ok(1))]);

        let [futex, _] = on_a_node(NO_NODE - 1);
        let got = run(&ring, |sqe| {
            // SAFETY: both words stay.
            unsafe { sqe.prep_futex_wait(futex.as_ptr(), 0, FUTEX_MATCH_ANY, flags) }
        });
        assert_eq!(got, Err(libc::EINVAL), "there is no such node");
    }
}

#[test]
fn wait_and_wake_fail() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAIT") {
        return;
    }
    let futex = futex(7);
    let (here, any) = (futex.as_ptr(), FUTEX_MATCH_ANY);
    let odd = here.wrapping_byte_add(1);
    let unmapped = ptr::without_provenance_mut(8);
    let big = 1 << 32;
    for (address, value, mask, flags, wait, wake) in [
        (here, 8, any, PRIVATE, Err(libc::EAGAIN), Ok(0)),
        (here, 7, 0, PRIVATE, Err(libc::EINVAL), Err(libc::EINVAL)),
        (here, 7, big, PRIVATE, Err(libc::EINVAL), Err(libc::EINVAL)),
        (
            here,
            big,
            any,
            PRIVATE,
            Err(libc::EINVAL),
            Err(libc::EINVAL),
        ),
        (odd, 7, any, PRIVATE, Err(libc::EINVAL), Err(libc::EINVAL)),
        (
            here,
            7,
            any,
            FutexFlags::PRIVATE,
            Err(libc::EINVAL),
            Err(libc::EINVAL),
        ),
        (unmapped, 7, any, PRIVATE, Err(libc::EFAULT), Ok(0)),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the futex stays; the kernel does not take the other addresses.
            unsafe { sqe.prep_futex_wait(address, value, mask, flags) }
        });
        assert_eq!(got, wait, "{address:?} {value} {mask} {flags:?}");
        let got = run(&ring, |sqe| {
            // SAFETY: as above.
            unsafe { sqe.prep_futex_wake(address, value, mask, flags) }
        });
        assert_eq!(got, wake, "{address:?} {value} {mask} {flags:?}");
    }
}

#[test]
fn wait_ends_by_time_or_cancel() {
    let ring = ring();
    if !knows(&ring, WAIT, "OP_FUTEX_WAIT") {
        return;
    }
    let futex = futex(0);
    start_wait(&ring, futex, FUTEX_MATCH_ANY, 1);
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel_matching(None, None, Some(WAIT), CancelFlags::NONE) }.user_data(2)
    });
    // 0 for other operations, and so says the manual page.
    if here(&[("6.7", false), ("6.18", true)]) {
        assert_eq!(results(&ring), [(1, CANCELED), (2, Ok(1))]);
    } else {
        // It is found by its user_data only.
        assert_eq!(results(&ring), [(2, Err(libc::ENOENT))]);
        start(&ring, |sqe| {
            // SAFETY: a cancel request names no memory.
            unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
        });
        assert_eq!(results(&ring), [(1, CANCELED), (2, Ok(1))]);
    }

    let soon = Timespec::new(0, 10_000_000);
    push(&ring, |sqe| {
        // SAFETY: the futex stays.
        unsafe { sqe.prep_futex_wait(futex.as_ptr(), 0, FUTEX_MATCH_ANY, PRIVATE) }
            .user_data(1)
            .link()
    });
    start(&ring, |sqe| {
        // SAFETY: the time stays until submit.
        unsafe { sqe.prep_link_timeout(&soon, TimeoutFlags::NONE) }.user_data(2)
    });
    // ETIME for other operations, and so says the manual page.
    let expired = here(&[("6.7", Err(libc::ETIME)), ("6.18", Ok(1))]);
    assert_eq!(results(&ring), [(1, CANCELED), (2, expired)]);
}

#[test]
fn waitv_tells_which_was_woken() {
    let ring = ring();
    if !knows(&ring, WAITV, "OP_FUTEX_WAITV") {
        return;
    }
    let futexes = [futex(1), futex(2), futex(3)];
    for (index, futex) in (0..).zip(futexes) {
        let mut waits = futexes.map(|futex| {
            let value = futex.load(Ordering::Relaxed).into();
            FutexWaitv::new(futex.as_ptr(), value, PRIVATE)
        });
        let (gate, mut opener) = io::pipe().unwrap();
        let buf = memory::<1>();
        push(&ring, |sqe| {
            // SAFETY: the memory stays, the pipe is open until the CQE.
            unsafe { sqe.prep_read(&gate, buf.as_mut_ptr(), 1, 0) }.link()
        });
        start(&ring, |sqe| {
            // SAFETY: the array stays until submit, the futexes for ever.
            unsafe { sqe.prep_futex_waitv(waits.as_ptr(), 3) }.user_data(1)
        });
        // It has been copied.
        waits.fill(FutexWaitv::new(ptr::null(), 9, PRIVATE));
        opener.write_all(b"!").unwrap();
        assert_eq!(results(&ring), [(0, Ok(1))]);
        start_wake(&ring, futex, 1, FUTEX_MATCH_ANY);
        assert_eq!(results(&ring), [(1, Ok(index)), (100, Ok(1))]);
        assert_eq!(format!("{:?}", waits[0]), format!("{:?}", waits[2]));
    }
    tried("OP_FUTEX_WAITV");
}

#[test]
fn waitv_fails() {
    let ring = ring();
    if !knows(&ring, WAITV, "OP_FUTEX_WAITV") {
        return;
    }
    let futex = futex(7);
    let here = |value, flags| FutexWaitv::new(futex.as_ptr(), value, flags);
    let right = here(7, PRIVATE);
    let wrong = here(8, PRIVATE);
    let no_size = here(7, FutexFlags::PRIVATE);
    let many = vec![right; 129];
    let (einval, eagain) = (Err(libc::EINVAL), Err(libc::EAGAIN));
    for (waits, want) in [
        (&[][..], einval),
        (&many, einval),
        (&[right, wrong], eagain),
        (&[right, no_size], einval),
    ] {
        let got = run(&ring, |sqe| {
            // SAFETY: the array stays until the CQE, the futex for ever.
            unsafe { sqe.prep_futex_waitv(waits.as_ptr(), waits.len() as u32) }
        });
        assert_eq!(got, want);
    }
    // The most that there may be.
    start(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_futex_waitv(many.as_ptr(), 128) }.user_data(1)
    });
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
    });
    assert_eq!(results(&ring), [(1, CANCELED), (2, Ok(1))]);
}
