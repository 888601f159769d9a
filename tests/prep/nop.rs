//! The operation that does nothing.

use std::os::fd::{AsRawFd, RawFd};

use ringway::prep::{Fixed, Nop};
use ringway::{Builder, Cqe32};

use super::child::{has, here, knows, tried};
use super::*;

/// A descriptor that is not open.
const CLOSED: RawFd = RawFd::MAX;

fn nop_with<'sqe>(sqe: &'sqe mut Sqe, nop: Nop) -> &'sqe mut Sqe {
    // SAFETY: the files that the tests name stay open until the CQE.
    unsafe { sqe.prep_nop_with(nop) }
}

#[test]
fn nop_completes_with_its_user_data() {
    let ring = ring();
    for user_data in [0, 7, u64::MAX] {
        start(&ring, |sqe| nop(sqe).user_data(user_data));
        let cqe = next(&ring);
        assert_eq!((cqe.user_data(), result(cqe)), (user_data, Ok(0)));
    }
    tried("OP_NOP");
}

#[test]
fn a_prep_drops_what_was_set_before() {
    let ring = ring();
    start(&ring, |sqe| {
        sqe.skip_success().personality(77).user_data(5);
        nop(sqe)
    });
    let cqe = next(&ring);
    assert_eq!((cqe.user_data(), result(cqe)), (0, Ok(0)));
}

#[test]
fn any_result_can_be_injected() {
    if !has(6, 10, "any_result_can_be_injected", "INJECT_RESULT") {
        return;
    }
    let ring = ring();
    let codes = [libc::EAGAIN, libc::ECANCELED, 512, 529, 4095, 4096].map(|code| -code);
    for injected in [0, 1, i32::MAX, -1, i32::MIN].into_iter().chain(codes) {
        push(&ring, |sqe| {
            nop_with(sqe, Nop::new().inject_result(injected)).link()
        });
        start(&ring, |sqe| nop(sqe).user_data(1));
        let first = next(&ring);
        // ERESTARTSYS, which no CQE should have.
        let restart = here(&[("6.10", -libc::EINTR), ("6.18", -512)]);
        let expected = if injected == -512 { restart } else { injected };
        assert_eq!((first.user_data(), first.res()), (0, expected));
        // A negative result is a failure.
        let behind = if injected < 0 { -libc::ECANCELED } else { 0 };
        assert_eq!(next(&ring).res(), behind, "after {injected}");
    }
}

#[test]
fn files_and_buffers_are_looked_up() {
    if !has(6, 13, "files_and_buffers_are_looked_up", "NOP's FILE") {
        return;
    }
    let ring = ring();
    let null = File::open("/dev/null").unwrap();
    register_files(&ring, &[None, Some(null.as_fd())]);
    register_buffers(&ring, &[iovec(memory::<8>()), iovec(memory::<8>())]);
    // SAFETY: nothing is done to the descriptor, which is never open.
    let closed = unsafe { BorrowedFd::borrow_raw(CLOSED) };
    let new = Nop::new;
    for (looks_up, errno) in [
        (new().file(&null), None),
        (new().file(Fixed(1)), None),
        (new().file(Fixed(9)).file(&null), None),
        (new().fixed_buffer(1), None),
        (new().file(&null).fixed_buffer(0), None),
        (new().file(closed), Some(libc::EBADF)),
        (new().file(Fixed(0)), Some(libc::EBADF)),
        (new().file(Fixed(2)), Some(libc::EBADF)),
        // The table's index is no descriptor, though this descriptor is open.
        (
            new().file(Fixed(null.as_raw_fd().cast_unsigned())),
            Some(libc::EBADF),
        ),
        (new().fixed_buffer(2), Some(libc::EFAULT)),
        (new().file(&null).fixed_buffer(2), Some(libc::EFAULT)),
    ] {
        push(&ring, |sqe| nop_with(sqe, looks_up.inject_result(5)).link());
        start(&ring, |sqe| nop(sqe).user_data(1));
        let (first, behind) = (next(&ring), next(&ring));
        let behind = result(behind);
        match errno {
            None => assert_eq!((result(first), behind), (Ok(5), Ok(0)), "{looks_up:?}"),
            Some(errno) => {
                assert_eq!(behind, Err(libc::ECANCELED), "{looks_up:?}");
                // Kernels without a fix of 2026 fail, but say what they were told to.
                let told = [Err(errno), Ok(5)].contains(&result(first));
                assert!(told, "{looks_up:?} {first:?}");
            }
        }
    }
}

#[test]
fn task_work_completes_behind_the_submit() {
    if !has(6, 17, "task_work_completes_behind_the_submit", "NOP's TW") {
        return;
    }
    let ring = ring();
    for (first, order) in [(Nop::new(), [1, 2]), (Nop::new().task_work(), [2, 1])] {
        push(&ring, |sqe| nop_with(sqe, first).user_data(1));
        start(&ring, |sqe| nop(sqe).user_data(2));
        assert_eq!([(); 2].map(|()| next(&ring).user_data()), order);
    }
}

/// The next CQE of a NOP, which is there when the submit is over.
#[track_caller]
fn next_big(ring: &Ring) -> Cqe32 {
    ring.cq().reap_big().expect("a completion")
}

#[test]
fn big_cqes() {
    if !has(6, 18, "big_cqes", "NOP's CQE32") {
        return;
    }
    // From the header: the CQE is one of 32 bytes.
    const CQE_F_32: u32 = 1 << 15;
    let build = |builder: Builder| builder.build().unwrap();
    let (big, mixed) = (Ring::builder(16).cqe32(), Ring::builder(16).cqe_mixed());
    for (ring, flag) in [(build(big), 0), (build(mixed), CQE_F_32)] {
        // More than the CQ holds: on the mixed ring they meet its end in each way.
        for i in 0..40 {
            let extra = [u64::MAX - i, i << 32];
            push(&ring, |sqe| {
                let nop = Nop::new().cqe32(extra).inject_result(-5);
                nop_with(sqe, nop).user_data(i)
            });
            start(&ring, |sqe| nop(sqe).user_data(u64::MAX));

            let cqe = next_big(&ring);
            assert_eq!((cqe.user_data(), cqe.cqe().res()), (i, -5));
            assert_eq!((cqe.extra(), cqe.cqe().flags()), (extra, flag));
            let cqe = next_big(&ring);
            assert_eq!((cqe.user_data(), cqe.result()), (u64::MAX, Ok(0)));
            assert_eq!((cqe.extra(), cqe.cqe().flags()), ([0, 0], 0));
        }
    }
    let small = run(&ring(), |sqe| nop_with(sqe, Nop::new().cqe32([1, 2])));
    assert_eq!(small, Err(libc::EINVAL));
}

#[test]
fn nop128() {
    let sqe128 = Ring::builder(16).sqe128().build().unwrap();
    if !knows(&sqe128, 63, "OP_NOP128") {
        return;
    }
    let sq = sqe128.sq();
    let mut slot = sq.pop128().expect("a ring of 128-byte SQEs");
    // SAFETY: a NOP names nothing.
    unsafe { slot.prep_nop128() }.user_data(7);
    slot.push();
    sq.submit().unwrap();
    let cqe = next(&sqe128);
    assert_eq!((cqe.user_data(), result(cqe)), (7, Ok(0)));
    tried("OP_NOP128");
}
