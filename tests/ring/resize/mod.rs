//! Other sizes for a ring that runs: what lies in it stays, and a refusal changes nothing.

use super::LOST;
use super::child::{has, here, in_child, linux, patiently, traces, tried, untried};
use ringway::{Builder, Cqe, EnterError, Errno, Local, Order, ResizeError, Ring, SetupError};
use ringway::{Slot, Wait, Waited};
use std::io::Write;
use std::mem::forget;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

mod refused;

use refused::too_few;

/// Both: the kernels that resize have both.
const ORDERS: [Order; 2] = [Order::Any, Order::Claim];

type Set = fn(Builder<'static>) -> Builder<'static>;

fn deferred(entries: u32, order: Order, set: Set) -> Local {
    let builder = Ring::builder(entries).order(order);
    let builder = set(builder.single_issuer().defer_taskrun());
    patiently(|| builder.build_local()).unwrap_or_else(|refused| panic!("{refused}"))
}

fn plain(entries: u32, order: Order) -> Local {
    deferred(entries, order, |builder| builder)
}

/// Whether the kernel resizes; says so if not.
fn can(test: &str) -> bool {
    has(6, 13, test, "RESIZE_RINGS")
}

/// What a NOP gives back: its number, and in a CQE of 32 bytes more.
fn extra(number: u64) -> [u64; 2] {
    [number ^ u64::MAX, number << 32 | 5]
}

/// Whether this number's CQE is of 32 bytes, on a ring that can have both.
fn is_big(number: u64) -> bool {
    number % 2 == 1
}

/// Pushes NOPs that are to come in this order; `sized` with CQEs of 32 bytes among them. Of
/// two slots the later is pushed first: in any order its turn is then not where it lies, in
/// claim order it is.
fn push(ring: &Local, order: Order, sized: bool, numbers: Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for pair in numbers.chunks(2) {
        let mut slots: Vec<_> = pair.iter().map(|_| ring.pop().expect("a slot")).collect();
        if order == Order::Any {
            slots.reverse();
        }
        for (slot, &number) in slots.iter_mut().zip(pair) {
            // SAFETY: a NOP holds no pointer.
            unsafe { slot.prep_nop() }.user_data(number);
            if sized && is_big(number) {
                let [first, second] = extra(number);
                // SAFETY: off, addr and op_flags of a NOP are numbers; the flag is
                // IORING_NOP_CQE32.
                let bytes = unsafe { slot.as_bytes_mut() };
                bytes[8..16].copy_from_slice(&first.to_ne_bytes());
                bytes[16..24].copy_from_slice(&second.to_ne_bytes());
                bytes[28..32].copy_from_slice(&(1u32 << 5).to_ne_bytes());
            }
        }
        if order == Order::Claim {
            slots.reverse();
        }
        slots.into_iter().for_each(Slot::push);
    }
}

/// Reaps exactly these, in this order.
#[track_caller]
fn reap(ring: &Local, sized: bool, numbers: Range<u64>) {
    for number in numbers {
        let cqe = ring.reap_big().expect("a completion");
        assert_eq!((cqe.user_data(), cqe.result()), (number, Ok(0)));
        let expected = if sized && is_big(number) {
            extra(number)
        } else {
            [0, 0]
        };
        assert_eq!(cqe.extra(), expected, "of {number}");
    }
}

/// Two laps and one.
#[track_caller]
fn works(ring: &Local, order: Order) {
    let count = u64::from(2 * ring.sq_entries() + 1);
    for number in 0..count {
        push(ring, order, false, number..number + 1);
        assert_eq!(ring.submit_and_wait(1, Some(LOST)), Ok(Waited::Maybe));
        reap(ring, false, number..number + 1);
    }
    if ring.sq_entries() > 1 {
        let (first, second) = (ring.pop().expect("a slot"), ring.pop().expect("a slot"));
        second.push();
        ring.submit().unwrap();
        // In claim order it waits for the first.
        let count = u32::from(order == Order::Any);
        assert_eq!(ring.ready(), count);
        first.push();
        assert_eq!(ring.submit_and_wait(2, Some(LOST)), Ok(Waited::Maybe));
        assert_eq!(ring.reap_batch(&mut [Cqe::default(); 4]), 2);
    }
    assert_eq!((ring.in_use(), ring.reap()), (0, None));
    assert_eq!((ring.sq_dropped(), ring.cq_overflow()), (0, 0));
}

/// Every way of laying out the memory, larger and smaller, from every place in the rings.
#[test]
fn what_is_pushed_and_what_is_ready_stays() {
    let test = "resize::what_is_pushed_and_what_is_ready_stays";
    if !can(test) {
        untried("REGISTER_RESIZE_RINGS", "it came with Linux 6.13");
        return;
    }
    let mut layouts: Vec<(Set, bool)> = vec![
        (|builder| builder, false),
        (|builder| builder.sqe128(), false),
        (|builder| builder.cqe32(), linux(6, 18)),
        (|builder| builder.no_mmap(), false),
        (|builder| builder.sqe128().cqe32().no_mmap(), linux(6, 18)),
        (|builder| builder.no_mmap().registered_fd_only(), false),
        (|builder| builder.register_ring_fd().taskrun_flag(), false),
    ];
    if has(6, 18, test, "CQE_MIXED") {
        layouts.push((|builder| builder.cqe_mixed(), true));
        layouts.push((|builder| builder.cqe_mixed().no_mmap(), true));
    }
    let sizes = [(64, 128), (8, 8), (16, 64), (16, 32), (32, 32), (8, 1024)];
    for order in ORDERS {
        for &(set, sized) in &layouts {
            for (sq, mut cq) in sizes {
                // Eight CQEs, of which some take two slots, are to fit: without room, this
                // kernel's CQ of mixed sizes is filled past its end.
                cq = cq.max(if sized { 16 } else { 8 });
                for before in 0..17 {
                    let mut ring = deferred(16, order, set);
                    push(&ring, order, sized, 0..before);
                    ring.submit().unwrap();
                    reap(&ring, sized, 0..before);
                    push(&ring, order, sized, 100..105);
                    ring.submit().unwrap();
                    push(&ring, order, sized, 105..111);
                    let ready = ring.ready();
                    let features = ring.features();
                    assert!(ready >= 5);

                    assert_eq!(ring.resize(sq, cq), Ok(()));
                    assert_eq!((ring.sq_entries(), ring.cq_entries()), (sq, cq));
                    assert_eq!(ring.features(), features);
                    assert_eq!((ring.in_use(), ring.ready()), (6, ready));
                    push(&ring, order, sized, 111..113);
                    reap(&ring, sized, 100..105);
                    assert_eq!(ring.submit_and_wait(8, Some(LOST)), Ok(Waited::Maybe));
                    reap(&ring, sized, 105..113);
                    works(&ring, order);
                }
            }
        }
    }
    tried("REGISTER_RESIZE_RINGS");
}

/// NOPs do not look at the second halves, so they are looked at in the ring's memory.
#[test]
fn both_halves_of_a_large_sqe_stay() {
    if !can("both_halves_of_a_large_sqe_stay") {
        return;
    }
    const OFF_SQES: libc::off_t = 0x1000_0000;
    for order in ORDERS {
        let mut ring = deferred(4, order, |builder| builder.sqe128());
        works(&ring, order);
        let mut slots: Vec<_> = (0..3).map(|_| ring.pop().expect("a slot")).collect();
        for (slot, number) in slots.iter_mut().zip(1u8..) {
            // SAFETY: a NOP holds no pointer, and its command area means nothing.
            unsafe {
                slot.prep_nop().user_data(number.into());
                slot.command_mut().fill(0xa0 + number);
            }
        }
        slots.into_iter().rev().for_each(Slot::push);
        assert_eq!(ring.resize(16, 32), Ok(()));
        let fd = ring.fd().expect("a descriptor").as_raw_fd();
        let len = 16 * 128;
        // SAFETY: a new mapping, read while the kernel is not in the ring.
        let sqes = unsafe {
            let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED);
            let at = libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, OFF_SQES);
            assert_ne!(at, libc::MAP_FAILED);
            let sqes = std::slice::from_raw_parts(at.cast::<u8>(), len).to_vec();
            libc::munmap(at, len);
            sqes
        };
        let mut found: Vec<u8> = sqes
            .chunks(128)
            .filter(|sqe| sqe[48] != 0)
            .map(|sqe| {
                let number = sqe[32];
                assert!(sqe[48..].iter().all(|&byte| byte == 0xa0 + number));
                number
            })
            .collect();
        found.sort_unstable();
        // Before a fix, half of one is left over elsewhere.
        if !here(&[("6.13", false), ("6.18.44", true)]) {
            found.dedup();
        }
        assert_eq!(found, [1, 2, 3]);
        ring.submit().unwrap();
        let mut seen = [(); 3].map(|_| ring.reap().expect("a completion").user_data());
        if order == Order::Any {
            seen.reverse();
        }
        assert_eq!(seen, [1, 2, 3]);
    }
}

#[test]
fn the_largest_ring_can_be_had_and_left() {
    if !can("the_largest_ring_can_be_had_and_left") {
        return;
    }
    for order in ORDERS {
        let mut ring = plain(1, order);
        push(&ring, order, false, 0..1);
        assert_eq!(ring.resize(32768, 65536), Ok(()));
        push(&ring, order, false, 1..32768);
        assert!(ring.pop().is_none());
        ring.submit().unwrap();
        reap(&ring, false, 0..32767);
        assert_eq!(ring.resize(1, 1), Ok(()));
        reap(&ring, false, 32767..32768);
        works(&ring, order);
    }
}

#[test]
fn the_old_memory_goes() {
    let test = "resize::the_old_memory_goes";
    in_child(test, || {
        if !can(test) {
            return;
        }
        for set in [
            (|builder| builder) as Set,
            |builder| builder.no_mmap(),
            |builder| builder.register_ring_fd(),
        ] {
            let before = traces();
            let mut ring = deferred(8, Order::Any, set);
            let with_ring = traces();
            for _ in 0..20 {
                assert_eq!(ring.resize(256, 512), Ok(()));
                assert_eq!(traces().1.len(), with_ring.1.len());
                assert_eq!(ring.resize(8, 16), Ok(()));
            }
            assert_eq!(traces().0, with_ring.0);
            drop(ring);
            assert_eq!(traces(), before);
        }
    });
}

#[test]
fn operations_in_flight_and_wakers_do_not_notice() {
    if !can("operations_in_flight_and_wakers_do_not_notice") {
        return;
    }
    for order in ORDERS {
        let mut ring = plain(8, order);
        let waker = ring.waker().expect("a descriptor");
        let (read, mut write) = std::io::pipe().unwrap();
        let buffer = Box::leak(Box::new([0u8; 4]));
        let mut slot = ring.pop().unwrap();
        // SAFETY: the buffer is never freed; the pipe stays until the CQE.
        unsafe { slot.prep_read(read.as_fd(), buffer.as_mut_ptr(), 4, u64::MAX) }.user_data(7);
        slot.push();
        ring.submit().unwrap();
        assert_eq!(ring.resize(64, 256), Ok(()));
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake(9).unwrap());
            assert_eq!(ring.submit_and_wait(1, Some(LOST)), Ok(Waited::Maybe));
        });
        assert_eq!(ring.reap().map(|cqe| cqe.user_data()), Some(9));
        // A wake that lies in the kernel while the ring changes.
        std::thread::scope(|scope| scope.spawn(|| waker.wake(10).unwrap()).join()).unwrap();
        assert_eq!(ring.resize(2, 4), Ok(()));
        let woken = ring.wait_one(Some(LOST)).unwrap();
        assert_eq!(woken.map(|cqe| cqe.user_data()), Some(10));
        write.write_all(b"done").unwrap();
        let read = ring.wait_one(Some(LOST)).unwrap().expect("the read");
        assert_eq!((read.user_data(), read.result()), (7, Ok(4)));
        assert_eq!(buffer, b"done");
        drop(ring);
        // It holds the ring open, and there is nobody to hear it.
        waker.wake(11).unwrap();
    }
}

/// The manual page says that a ring with an overflow cannot be resized.
#[test]
fn an_overflow_flows_into_a_larger_ring() {
    if !can("an_overflow_flows_into_a_larger_ring") {
        return;
    }
    for order in ORDERS {
        let mut ring = plain(8, order);
        for first in (0..64).step_by(8) {
            push(&ring, order, false, first..first + 8);
            ring.submit().unwrap();
        }
        assert_eq!(ring.ready(), 16);
        too_few(ring.resize(8, 8), "cq_entries", 8, 16);
        assert_eq!(ring.resize(8, 128), Ok(()));
        assert_eq!((ring.ready(), ring.cq_entries()), (16, 128));
        assert_eq!(
            ring.wait_with(64, Wait::new().timeout(LOST)),
            Ok(Waited::Maybe)
        );
        assert_eq!(ring.ready(), 64);
        reap(&ring, false, 0..64);
        works(&ring, order);
    }
}

/// What `resize` has to make up for: the kernel's answer does not say where the index array
/// lies, though the manual page has the offsets copied back. A kernel that does say it must
/// say the right thing.
#[test]
fn the_kernel_does_not_say_where_the_array_lies() {
    if !can("the_kernel_does_not_say_where_the_array_lies") {
        return;
    }
    const RESIZE_RINGS: u32 = 33;
    const CQSIZE: u32 = 1 << 3;
    let ring = plain(8, Order::Any);
    // struct io_uring_params: sq_entries, cq_entries, flags; sq_off.array.
    let mut params = [0u32; 30];
    (params[0], params[1], params[2]) = (8, 16, CQSIZE);
    params[16] = 777;
    // SAFETY: 120 bytes, the size of the structure; the ring is not used afterwards.
    let resized = unsafe {
        ring.registrar()
            .register(RESIZE_RINGS, params.as_mut_ptr().cast(), 1)
    };
    assert_eq!(resized, Ok(0));
    assert_eq!((params[0], params[1]), (8, 16));
    assert!(matches!(params[16], 777 | 320), "{}", params[16]);
}

/// A thousand sizes, with pushed, ready and running operations at each change.
#[test]
fn a_thousand_sizes_with_traffic() {
    if !can("a_thousand_sizes_with_traffic") {
        return;
    }
    const READ: u64 = 1 << 32;
    for order in ORDERS {
        let mut ring = plain(4, order);
        let (read, write) = std::io::pipe().unwrap();
        let buffer = Box::leak(Box::new([0u8; 1]));
        // What is pushed, submitted and reaped until now: all of it in order.
        let (mut pushed, mut reaped, mut reads) = (0, 0, 0);
        let mut is_reading = false;
        let mut random = 1u32;
        let mut next = |most: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % most
        };
        let mut sizes = std::collections::BTreeSet::new();
        let mut changes = 0;
        let start = Instant::now();
        while changes < 1000 {
            assert!(start.elapsed() < 5 * LOST, "it takes too long: {changes}");
            let free = ring.sq_entries() - ring.in_use();
            let count = u64::from(next(free + 1));
            push(&ring, order, false, pushed..pushed + count);
            pushed += count;
            if !is_reading && ring.in_use() < ring.sq_entries() {
                let mut slot = ring.pop().expect("a slot");
                // SAFETY: the buffer is never freed, the pipe stays until the CQE.
                unsafe { slot.prep_read(read.as_fd(), buffer.as_mut_ptr(), 1, u64::MAX) }
                    .user_data(READ);
                slot.push();
                is_reading = true;
            }
            if next(3) > 0 {
                ring.submit().unwrap();
            }
            if is_reading && next(8) == 0 {
                (&write).write_all(b"x").unwrap();
            }
            let mut cqes = [Cqe::default(); 64];
            let most = next(64) as usize;
            let count = ring.reap_batch(&mut cqes[..most]);
            for cqe in &cqes[..count] {
                if cqe.user_data() == READ {
                    assert_eq!(cqe.result(), Ok(1));
                    (is_reading, reads) = (false, reads + 1);
                } else {
                    assert_eq!((cqe.user_data(), cqe.result()), (reaped, Ok(0)));
                    reaped += 1;
                }
            }
            let (sq, more) = (1 << next(8), next(4));
            let cq = sq << more;
            match ring.resize(sq, cq) {
                Ok(()) => {
                    sizes.insert((ring.sq_entries(), ring.cq_entries()));
                    changes += 1;
                }
                Err(ResizeError::Size(SetupError::TooFew { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sizes.len() >= 30 && reads > 10, "{} {reads}", sizes.len());
        while reaped < pushed {
            ring.submit().unwrap();
            let Some(cqe) = ring.wait_one(Some(LOST)).unwrap() else {
                panic!("{reaped} of {pushed} came");
            };
            if cqe.user_data() != READ {
                assert_eq!((cqe.user_data(), cqe.result()), (reaped, Ok(0)));
                reaped += 1;
            }
        }
    }
}
