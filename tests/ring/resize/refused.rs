//! What is refused, and that the ring is as it was afterwards.

use super::*;
use crate::refuse::{deny, limit};

#[track_caller]
pub fn too_few(resized: Result<(), ResizeError>, name: &str, wanted: u32, least: u32) {
    match resized {
        Err(ResizeError::Size(SetupError::TooFew {
            argument,
            given,
            min,
            ..
        })) => assert_eq!((argument, given, min), (name, wanted, least)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_leaves_the_ring_as_it_was() {
    if !can("a_refusal_leaves_the_ring_as_it_was") {
        return;
    }
    for order in ORDERS {
        let mut ring = plain(8, order);
        push(&ring, order, false, 0..5);
        ring.submit().unwrap();
        push(&ring, order, false, 5..10);
        too_few(ring.resize(0, 16), "entries", 0, 1);
        too_few(ring.resize(8, 4), "cq_entries", 4, 8);
        too_few(ring.resize(4, 8), "entries", 4, 8);
        let mut sizes = |sq, cq| match ring.resize(sq, cq) {
            Err(ResizeError::Size(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(sizes(3, 8).contains("ask for 4"));
        assert!(sizes(8, 24).contains("ask for 32"));
        assert!(sizes(65536, 65536).contains("at most 32768"));
        // As many are ready as four times the smallest.
        push(&ring, order, false, 10..13);
        ring.submit().unwrap();
        too_few(ring.resize(8, 8), "cq_entries", 8, 16);
        assert_eq!((ring.sq_entries(), ring.cq_entries()), (8, 16));
        reap(&ring, false, 0..13);
        works(&ring, order);
    }
    let mut others = [
        Ring::builder(8).build_local().unwrap(),
        Ring::builder(8).single_issuer().build_local().unwrap(),
    ];
    for ring in &mut others {
        assert_eq!(ring.resize(16, 32), Err(ResizeError::NotDeferred));
        works(ring, Order::Any);
    }
}

#[test]
fn forgotten_slots_are_counted() {
    if !can("forgotten_slots_are_counted") {
        return;
    }
    for order in ORDERS {
        let mut ring = plain(8, order);
        push(&ring, order, false, 0..2);
        forget(ring.pop());
        forget(ring.pop_batch(2));
        push(&ring, order, false, 2..3);
        let forgotten = match order {
            Order::Any => 3,
            // What is behind them cannot be the kernel's either.
            Order::Claim => 4,
        };
        let refused = ResizeError::SlotsForgotten(forgotten);
        assert!(refused.to_string().contains("drop each slot"));
        assert_eq!(ring.resize(16, 32), Err(refused));
        ring.submit().unwrap();
        reap(&ring, false, 0..if order == Order::Any { 3 } else { 2 });
        assert_eq!(ring.reap(), None);
    }
}

/// The kernel's own refusal: a ring that is restricted to NOPs and to being enabled.
#[test]
fn the_kernel_may_refuse() {
    if !can("the_kernel_may_refuse") {
        return;
    }
    for order in ORDERS {
        let builder = Ring::builder(8)
            .order(order)
            .single_issuer()
            .defer_taskrun();
        let disabled = builder.build_disabled().unwrap();
        // Twice struct io_uring_restriction: SQE_OP, NOP; REGISTER_OP, ENABLE_RINGS. New
        // kernels restrict registering only if there is one of the latter.
        let mut nops = [[1u16, 0, 0, 0, 0, 0, 0, 0], [0, 12, 0, 0, 0, 0, 0, 0]];
        const RESTRICTIONS: u32 = 11;
        // SAFETY: the kernel reads two restrictions of 16 bytes during the call.
        unsafe {
            let registrar = disabled.registrar();
            registrar.register(RESTRICTIONS, nops.as_mut_ptr().cast(), 2)
        }
        .unwrap();
        let mut ring = disabled.enable_local().unwrap();
        push(&ring, order, false, 0..2);
        ring.submit().unwrap();
        push(&ring, order, false, 2..5);
        let errno = Errno::from_raw(libc::EACCES);
        assert_eq!(ring.resize(16, 32), Err(ResizeError::Kernel(errno)));
        ring.submit().unwrap();
        reap(&ring, false, 0..5);
        works(&ring, order);
    }
}

#[test]
fn without_room_it_stays_small() {
    let test = "resize::refused::without_room_it_stays_small";
    in_child(test, || {
        if !can(test) {
            return;
        }
        for (order, set) in [
            (Order::Any, (|builder| builder) as Set),
            (Order::Claim, |builder| builder.no_mmap()),
        ] {
            let mut ring = deferred(8, order, set);
            push(&ring, order, false, 0..3);
            ring.submit().unwrap();
            push(&ring, order, false, 3..5);
            let before = traces();
            // Enough for a small ring, and not for this one.
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
            // The type of this constant differs from one libc to the next.
            #[allow(clippy::unnecessary_cast, reason = "some have another")]
            const AS: u32 = libc::RLIMIT_AS as u32;
            // SAFETY: reads a constant.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
            limit(AS, (pages * page) + (1 << 20));
            let resized = ring.resize(32768, 65536);
            limit(AS, libc::RLIM64_INFINITY);
            let errno = Errno::from_raw(libc::ENOMEM);
            assert_eq!(resized, Err(ResizeError::NoRoom(errno)));
            assert_eq!(traces(), before);
            ring.submit().unwrap();
            reap(&ring, false, 0..5);
            assert_eq!(ring.resize(32768, 65536), Ok(()));
            assert_eq!(ring.resize(8, 16), Ok(()));
            works(&ring, order);
        }
    });
}

/// There was room, the kernel has resized, and then the memory cannot be mapped: nothing
/// can be heard of what was in flight, and the ring says so from then on.
#[test]
fn a_ring_that_cannot_be_mapped_is_lost() {
    let test = "resize::refused::a_ring_that_cannot_be_mapped_is_lost";
    in_child(test, || {
        if !can(test) {
            return;
        }
        const OFF_SQES: u32 = 0x1000_0000;
        let mut ring = plain(8, Order::Any);
        push(&ring, Order::Any, false, 0..3);
        deny(libc::SYS_mmap, Some((5, OFF_SQES)), libc::EPERM);
        let errno = Errno::from_raw(libc::EPERM);
        assert_eq!(ring.resize(16, 32), Err(ResizeError::Unmapped(errno)));
        let lost = EnterError::CompletionLost;
        assert_eq!(ring.submit(), Err(lost));
        assert_eq!(ring.submit_and_wait(1, None), Err(lost));
        assert_eq!(ring.wait(None), Err(lost));
        assert_eq!(ring.wait_with(1, Wait::new()), Err(lost));
        assert_eq!(ring.resize(16, 32), Err(ResizeError::Enter(lost)));
        assert_eq!(ring.reap(), None);
    });
}
