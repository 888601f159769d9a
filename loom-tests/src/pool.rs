//! Permits, names and the submitter: rules G1, P1, T1, T2 and D1.

use crate::harness::{Log, Model, driver, nop, settings, simulated, together, witness};
use crate::roles::Flag;
use ringway::Order::{Any, Claim};
use ringway::pool::{Batching, Driver, Event, OwnerError, Refusal, Submission};
use ringway::{EnterError, Errno};

pub const MODELS: &[Model] = &[
    Model {
        aims: &["PERMIT_GIVEN", "PERMIT_TAKEN"],
        bound: Some(3),
        witnesses: &["no permit", "slot reused"],
        floor: 200,
        ..Model::new("permit_reuse", permit_reuse)
    },
    Model {
        aims: &["SLOT_TAKEN", "SLOT_FREED"],
        bound: Some(2),
        witnesses: &["slot lost", "both in flight"],
        floor: 25_000,
        ..Model::new("slots_taken_and_freed", slots_taken_and_freed)
    },
    Model {
        aims: &["GATE_FENCE"],
        bound: Some(3),
        witnesses: &["waits at the gate"],
        floor: 187,
        ..Model::new("gate", gate)
    },
    Model {
        bound: Some(2),
        witnesses: &["waits at the gate"],
        floor: 11_000,
        ..Model::new("gate_of_two", gate_of_two)
    },
    Model {
        aims: &["SUBMITTER_ASKED", "SUBMITTER_SEEN"],
        bound: Some(3),
        witnesses: &["submitter sleeps", "submitter woken"],
        floor: 31_000,
        ..Model::new("submitter", || submitter(Batching::default()))
    },
    Model {
        aims: &["DENIED_SLEEPS"],
        bound: Some(3),
        witnesses: &["refused for nothing", "waits at the gate"],
        floor: 5_600,
        ..Model::new("permits_unused", permits_unused)
    },
    Model {
        bound: Some(2),
        aims: &["WAKE_TAKEN"],
        witnesses: &["owner sleeps", "submitter woken"],
        floor: 5_000,
        ..Model::new("owner", owner)
    },
    Model {
        bound: Some(2),
        witnesses: &["submitter woken"],
        floor: 40,
        ..Model::new("owner_without_messages", owner_without_messages)
    },
    Model {
        bound: Some(2),
        witnesses: &["owner sleeps"],
        floor: 13_000,
        ..Model::new("owner_cancel", owner_cancel)
    },
    Model {
        bound: Some(1),
        witnesses: &["waits at the gate", "refused"],
        floor: 3_000,
        ..Model::new("late_submit", late_submit)
    },
    Model {
        bound: Some(1),
        witnesses: &["waits at the gate", "gap filled"],
        floor: 8_000,
        ..Model::new("gap_before_the_gate", gap_before_the_gate)
    },
    Model {
        bound: Some(3),
        witnesses: &["waits for the owner"],
        floor: 6_700,
        ..Model::new("owner_fails", owner_fails)
    },
    Model {
        bound: Some(3),
        witnesses: &["both reaped"],
        floor: 220,
        ..Model::new("multishot_end", multishot_end)
    },
    Model {
        bound: Some(3),
        witnesses: &["submitted", "closed"],
        floor: 670,
        ..Model::new("close_submit", close_submit)
    },
    Model {
        bound: Some(1),
        witnesses: &[],
        floor: 11_000,
        ..Model::new("wake_at_the_end", wake_at_the_end)
    },
    Model {
        aims: &["WAKE_SENT"],
        bound: Some(3),
        witnesses: &["woken"],
        floor: 20_000,
        ..Model::new("wakes_coalesce", wakes_coalesce)
    },
];

/// Reaps once, and records what completed.
fn reap(driver: &Driver, log: &Log) -> usize {
    driver.reap(|event| log.completed(event))
}

/// As many permits as CQEs: whoever gets one that was given back finds room in the CQ.
fn permit_reuse() {
    let (driver, kernel) = driver(simulated(2, Claim).cq_entries(2), settings(1));
    // One CQE that nobody has a permit for takes the CQ's other place.
    let log = Log::default();
    driver.try_submit(nop(1)).unwrap();
    kernel.post(0, 0, 0);
    let (one, two) = (driver.clone(), driver.clone());
    let record = log.clone();
    together(
        || {
            one.reap(|event| {
                if let Event::Completed(completion) = event {
                    record.record(completion.user_data());
                }
            });
        },
        [Box::new(move || match two.try_submit(nop(2)) {
            Ok(_) => witness("slot reused"),
            Err(refused) => {
                assert_eq!(refused.why, Refusal::Full);
                two.submit(refused.op, None).unwrap();
            }
        })],
    );
    assert_eq!(kernel.overflowed(), 0, "rule P1");
    reap(&driver, &log);
    assert_eq!(log.all(), [1, 2]);
    assert_eq!(driver.in_flight(), 0);
}

/// Two threads take slots of the table, one of which a third has just freed.
fn slots_taken_and_freed() {
    let (driver, _) = driver(simulated(4, Claim), settings(2));
    driver.try_submit(nop(1)).unwrap();
    let (one, two, log) = (driver.clone(), driver.clone(), Log::default());
    let record = log.clone();
    let submit = |driver: &Driver, user_data| driver.try_submit(nop(user_data)).ok();
    let ids = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (mine, theirs) = (ids.clone(), ids.clone());
    together(
        || {
            reap(&one, &record);
            let id = submit(&one, 2);
            mine.lock().unwrap().extend(id);
        },
        [Box::new(move || {
            let id = submit(&two, 3);
            theirs.lock().unwrap().extend(id);
        })],
    );
    let ids = ids.lock().unwrap().clone();
    if ids.len() == 2 {
        witness("both in flight");
        assert_ne!(ids[0], ids[1], "one slot for two operations");
    }
    while reap(&driver, &log) > 0 {}
    log.assert_each_once(if ids.len() == 2 {
        &[1, 2, 3]
    } else {
        panic!("{ids:?}: there were permits for all")
    });
    assert_eq!(driver.in_flight(), 0);
}

/// A thread waits for a permit that another gives back.
fn gate() {
    let (driver, _) = driver(simulated(2, Claim), settings(1));
    driver.try_submit(nop(1)).unwrap();
    let (one, two, log) = (driver.clone(), driver.clone(), Log::default());
    let record = log.clone();
    together(
        || assert_eq!(reap(&one, &record), 1),
        [Box::new(move || _ = two.submit(nop(2), None).unwrap())],
    );
    reap(&driver, &log);
    assert_eq!(log.all(), [1, 2]);
}

/// Waits for a completion, and records it.
fn wait_reap(driver: &Driver, log: &Log) {
    driver
        .wait_reap(None, |event| log.completed(event))
        .unwrap();
}

/// Two threads wait, and the first to get through lets the other in.
fn gate_of_two() {
    let (driver, _) = driver(simulated(2, Claim), settings(1));
    driver.try_submit(nop(1)).unwrap();
    let (one, log) = (driver.clone(), Log::default());
    let theirs = log.clone();
    together(
        || {
            reap(&driver, &log);
            driver.submit(nop(2), None).unwrap();
            wait_reap(&driver, &log);
        },
        [Box::new(move || {
            one.submit(nop(3), None).unwrap();
            wait_reap(&one, &theirs);
        })],
    );
    log.assert_each_once(&[1, 2, 3]);
}

/// A dedicated submitter asleep, or about to be, and a worker that pushes.
fn submitter(batching: Batching) {
    let settings = settings(2).submission(Submission::Dedicated(batching));
    let (driver, kernel) = driver(simulated(2, Claim), settings);
    let (server, worker) = (driver.clone(), driver.clone());
    let served = loom::thread::spawn(move || server.serve());
    worker.try_submit(nop(1)).unwrap();
    // Only the submitter enters: this ends because it was woken.
    let log = Log::default();
    while log.all().is_empty() {
        wait_reap(&worker, &log);
    }
    driver.stop_serving();
    served.join().unwrap();
    assert_eq!(kernel.consumed(), 1);
}

/// A thread takes permits that it cannot use, having found too few SQEs, while another waits
/// for one and needs no more than there are.
fn permits_unused() {
    let (driver, _) = driver(simulated(2, Any).cq_entries(4), settings(2));
    let sq = driver.ring().sq();
    let held = sq.pop().unwrap();
    let (one, two) = (driver.clone(), driver.clone());
    let other = loom::thread::spawn(move || two.submit(nop(2), None).map(drop).unwrap());
    let timed = nop(1).deadline(std::time::Duration::from_secs(1));
    assert_eq!(one.try_submit(timed).unwrap_err().why, Refusal::Full);
    other.join().unwrap();
    let log = Log::default();
    wait_reap(&driver, &log);
    assert_eq!((log.all(), driver.in_flight()), (vec![2], 0));
    drop(held);
}

/// An owner asleep in the kernel, or about to be, and a worker that pushes and reaps.
fn owner() {
    let (ring, kernel) = simulated(2, Claim).cq_entries(4).build();
    let (driver, owner) = settings(1).build_owned_simulated(ring).unwrap();
    let worker = driver.clone();
    let served = loom::thread::spawn(move || owner.serve());
    let log = Log::default();
    worker.try_submit(nop(1)).unwrap();
    // Only the owner enters: this ends because it was woken, and woke.
    wait_reap(&worker, &log);
    assert_eq!(log.all(), [1]);
    driver.stop_serving();
    assert_eq!(served.join().unwrap(), Ok(()));
    assert_eq!((kernel.consumed(), driver.in_flight()), (1, 0));
}

/// On a kernel that takes no messages an owner does not begin, though another thread is just
/// sending one.
fn owner_without_messages() {
    let simulation = simulated(2, Claim).cq_entries(4).without_messages();
    let (ring, _kernel) = simulation.build();
    let (driver, owner) = settings(1).build_owned_simulated(ring).unwrap();
    let refused = EnterError::Kernel(Errno::from_raw(libc::EINVAL));
    together(
        || assert_eq!(owner.serve(), Err(OwnerError::Wake(refused))),
        [Box::new(move || _ = driver.try_submit(nop(1)))],
    );
}

/// All who wait for an owner's completions learn that there will be none.
fn owner_fails() {
    let errno = Errno::from_raw(libc::EBADF);
    let simulation = simulated(2, Claim).cq_entries(4);
    let (ring, _kernel) = simulation.faults(move |_| Some(errno)).build();
    let (driver, owner) = settings(1).build_owned_simulated(ring).unwrap();
    let other = driver.clone();
    let failed = Err(EnterError::Kernel(errno));
    let wait = |driver: &Driver| driver.wait_reap(None, |_| ());
    together(
        || assert_eq!(wait(&driver), failed),
        [
            Box::new(move || assert_eq!(wait(&other), failed)),
            Box::new(move || _ = owner.serve()),
        ],
    );
}

/// A request that finds the SQ full of what its owner has yet to submit, who may be about to
/// sleep.
fn owner_cancel() {
    let cancelled = Flag::new();
    let asked = cancelled.clone();
    let simulation = (simulated(1, Claim).cq_entries(4)).script(move |sqe, fate| {
        // The second is the request.
        match sqe.get_user_data() & 0xf == 1 {
            true => fate.hold(),
            false => asked.raise(),
        }
    });
    let (ring, _) = simulation.build();
    let settings = settings(1).control_reserve(2);
    let (driver, owner) = settings.build_owned_simulated(ring).unwrap();
    let served = loom::thread::spawn(move || owner.serve());
    let id = driver.try_submit(nop(1)).unwrap();
    driver.cancel(id);
    cancelled.wait();
    driver.stop_serving();
    assert_eq!(served.join().unwrap(), Ok(()));
}

/// The kernel takes at last what it has refused, by a thread that waits for completions, while
/// another waits for the SQE.
fn late_submit() {
    let again = ringway::Errno::from_raw(libc::EAGAIN);
    // The first completes never: nothing but the kernel's taking it helps.
    let mut is_first = true;
    let simulation = simulated(1, Claim).cq_entries(4);
    let simulation = simulation.faults(move |call| (call < 3).then_some(again));
    let simulation = simulation.script(move |_, fate| match std::mem::take(&mut is_first) {
        true => fate.hold(),
        false => fate.complete(0),
    });
    let (driver, _) = driver(simulation, settings(2));
    driver.try_submit(nop(1)).unwrap();
    let (one, log) = (driver.clone(), Log::default());
    let submitting = loom::thread::spawn(move || one.submit(nop(2), None).map(drop).unwrap());
    while log.all().is_empty() {
        if driver
            .wait_reap(None, |event| log.completed(event))
            .is_err()
        {
            witness("refused");
            loom::thread::yield_now();
        }
    }
    submitting.join().unwrap();
    assert_eq!(log.all(), [2]);
}

/// A push lets the kernel take what lay behind it, and so makes room for who waits for an SQE.
/// Nobody reaps meanwhile.
fn gap_before_the_gate() {
    let (driver, _) = driver(simulated(2, Claim).cq_entries(4), settings(3));
    let other = driver.clone();
    let submit = |driver: &Driver, user_data| _ = driver.submit(nop(user_data), None).unwrap();
    together(
        || submit(&driver, 1),
        [Box::new(move || {
            submit(&other, 2);
            submit(&other, 3);
        })],
    );
    let log = Log::default();
    while reap(&driver, &log) > 0 {}
    log.assert_each_once(&[1, 2, 3]);
}

/// The last CQE of a multishot operation frees its slot, and a new operation takes it,
/// while another reaper has an earlier CQE.
fn multishot_end() {
    let simulation = simulated(2, Claim).cq_entries(4).script(|sqe, fate| {
        if sqe.get_user_data() >> 28 == 1 {
            fate.more(1);
        }
        fate.complete(0);
    });
    let (driver, _) = driver(simulation, settings(2));
    driver.try_submit(nop(7).cqes(2)).unwrap();
    let other = driver.clone();
    let (log, theirs) = (Log::default(), Log::default());
    let record = theirs.clone();
    together(
        || {
            reap(&driver, &log);
            if driver.try_submit(nop(8)).is_ok() {
                reap(&driver, &log);
            }
        },
        [Box::new(move || _ = reap(&other, &record))],
    );
    if !log.all().is_empty() && !theirs.all().is_empty() {
        witness("both reaped");
    }
    while reap(&driver, &log) > 0 {}
    let mut all = [log.all(), theirs.all()].concat();
    all.sort_unstable();
    assert!(
        all == [7, 7] || all == [7, 7, 8],
        "completions came as {all:?}"
    );
    assert_eq!((driver.in_flight(), driver.stats().stale), (0, 0));
}

/// Closing against submitting: what was accepted completes, what was not is given back.
fn close_submit() {
    let (driver, kernel) = driver(simulated(2, Claim), settings(1));
    driver.try_submit(nop(1)).unwrap();
    let (one, log) = (driver.clone(), Log::default());
    let accepted = Log::default();
    let accept = accepted.clone();
    together(
        || {
            reap(&driver, &log);
            driver.close();
        },
        [Box::new(move || match one.submit(nop(2), None) {
            Ok(_) => {
                witness("submitted");
                accept.record(2);
            }
            Err(refused) => {
                witness("closed");
                assert_eq!(refused.why, Refusal::Closed);
            }
        })],
    );
    while reap(&driver, &log) > 0 {}
    assert_eq!(log.all().len(), 1 + accepted.all().len());
    assert_eq!((driver.in_flight(), kernel.in_flight()), (0, 0));
}

/// Two threads leave a message and wake; one wake stands for both.
fn wakes_coalesce() {
    let (driver, _) = driver(simulated(2, Claim), settings(2));
    let (one, two) = (driver.clone(), driver.clone());
    let left = loom::sync::Arc::new(loom::sync::atomic::AtomicU32::new(0));
    let [first, second] = [left.clone(), left.clone()];
    let leave = |left: &loom::sync::atomic::AtomicU32, driver: &Driver| {
        left.fetch_add(1, loom::sync::atomic::Ordering::Relaxed);
        driver.wake().unwrap();
    };
    let other = loom::thread::spawn(move || leave(&first, &one));
    let third = loom::thread::spawn(move || leave(&second, &two));
    // Sleeps until both are seen; a wake that went missing is a deadlock.
    while left.load(loom::sync::atomic::Ordering::Relaxed) < 2 {
        driver.wait_reap(None, |event| panic!("{event:?}")).unwrap();
        witness("woken");
    }
    other.join().unwrap();
    third.join().unwrap();
}

/// A wake that is an SQE, while the submitter ends that would submit it.
fn wake_at_the_end() {
    let settings = settings(1).submission(Submission::Dedicated(Batching::default()));
    let simulation = simulated(2, Claim).cq_entries(4).without_messages();
    let (driver, kernel) = driver(simulation, settings);
    let (server, waker) = (driver.clone(), driver.clone());
    let served = loom::thread::spawn(move || server.serve());
    let woken = loom::thread::spawn(move || waker.wake().unwrap());
    driver.stop_serving();
    // Sleeps until the wake comes, whoever submits it.
    driver.wait_reap(None, |event| panic!("{event:?}")).unwrap();
    served.join().unwrap();
    woken.join().unwrap();
    assert_eq!(kernel.consumed(), 1);
}
