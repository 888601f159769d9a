//! Which rings the kernel makes: the README's table.

use std::error::Error;

use ringway::set::Set;
use ringway::{Builder, Order, Ring, SetupError, SqPoll};

use super::child::{has, mode, patiently};

type Outcome = Result<(), Box<dyn Error>>;

fn base() -> Builder<'static> {
    Ring::builder(8)
}

/// A NOP from one thread, reaped by another.
fn shared(builder: Builder<'static>) -> Outcome {
    let ring = patiently(|| builder.build())?;
    let sq = ring.sq();
    let mut slot = sq.pop().expect("an empty ring");
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(7);
    std::thread::scope(|scope| scope.spawn(move || slot.push()).join()).expect("no panic");
    ring.submit()?;
    let cqe = ring.cq().wait_one(None)?;
    assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(7));
    Ok(())
}

fn local(builder: Builder<'static>) -> Outcome {
    let ring = patiently(|| builder.build_local())?;
    let mut slot = ring.pop().expect("an empty ring");
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(7);
    slot.push();
    ring.submit_and_wait(1, None)?;
    let cqe = ring.wait_one(None)?;
    assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(7));
    Ok(())
}

/// Name, first kernel, whether such a ring does a NOP.
type Mode = (&'static str, (u32, u32), fn() -> Outcome);

const MODES: [Mode; 17] = [
    ("shared, `Order::Any`", (5, 18), || shared(base())),
    ("shared, `Order::Claim`", (6, 6), || {
        shared(base().order(Order::Claim))
    }),
    ("shared, SQPOLL", (5, 18), || {
        shared(base().sqpoll(SqPoll::new()))
    }),
    ("shared, IOPOLL", (5, 18), || polled(base().iopoll())),
    ("shared, HYBRID_IOPOLL", (6, 13), || {
        polled(base().iopoll().hybrid_iopoll())
    }),
    ("shared, SQE128 and CQE32", (5, 19), || {
        shared(base().sqe128().cqe32())
    }),
    ("shared, CQE_MIXED", (6, 18), || shared(base().cqe_mixed())),
    ("shared, SQE_MIXED", (6, 19), || {
        shared(base().order(Order::Claim).sqe_mixed())
    }),
    ("shared, NO_MMAP", (6, 5), || shared(base().no_mmap())),
    ("local", (5, 18), || local(base())),
    ("local, `legacy()`", (5, 10), || local(base().legacy())),
    ("local, COOP_TASKRUN", (5, 19), || {
        local(base().coop_taskrun().taskrun_flag())
    }),
    ("local, SINGLE_ISSUER", (6, 0), || {
        local(base().single_issuer())
    }),
    ("local, DEFER_TASKRUN", (6, 1), || {
        local(base().single_issuer().defer_taskrun())
    }),
    ("local, REGISTERED_FD_ONLY", (6, 5), || {
        local(base().no_mmap().registered_fd_only())
    }),
    ("waking a local ring, resizing", (6, 13), wakes_and_resizes),
    ("`set::Set`", (5, 18), set),
];

/// Without a disk to poll: that the ring is made.
fn polled(builder: Builder<'static>) -> Outcome {
    patiently(|| builder.build())
        .map(drop)
        .map_err(SetupError::into)
}

fn wakes_and_resizes() -> Outcome {
    let builder = base().single_issuer().defer_taskrun();
    let mut ring = patiently(|| builder.build_local())?;
    ring.resize(16, 32)?;
    let waker = ring.waker().expect("a descriptor");
    waker.wake(7)?;
    let cqe = ring.wait_one(None)?;
    assert_eq!(cqe.map(|cqe| cqe.user_data()), Some(7));
    Ok(())
}

fn set() -> Outcome {
    let set = Set::builder(base()).build()?;
    let member = set.member()?;
    member.pop().expect("an empty ring").push();
    member.submit()?;
    assert!(member.wait_one(None)?.is_some());
    Ok(())
}

#[test]
fn each_mode_works_from_its_kernel_on() {
    for (name, since, works) in MODES {
        let outcome = works();
        mode(name, since, outcome.is_ok());
        let expected = has(
            since.0,
            since.1,
            "modes::each_mode_works_from_its_kernel_on",
            name,
        );
        assert_eq!(outcome.is_ok(), expected, "{name}: {outcome:?}");
    }
}
