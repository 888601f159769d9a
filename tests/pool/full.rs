//! A full SQ: who cancels, and who waits for room as a task, gets through all the same.

use super::*;
use crate::faults::{HELD, Said, Script, Stop, errno, operation};
use ringway::pool::{Batching, Offload, Pool, Refusal, Submission};
use ringway::sim::{Kernel, Simulation};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Gathers for longer than a test may take.
const PATIENT: Submission = Submission::Dedicated(Batching {
    size: 100,
    delay: Duration::from_secs(3_600),
});

/// A simulated ring with an SQ thread, which the test starts.
fn sqpoll(script: &Script) -> Simulation {
    script.simulation(2, 16).sqpoll()
}

/// Ends the kernel's threads, also of a test that fails.
struct Over<'k>(&'k Kernel, &'k Script);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.stop();
        let _ = self.1.says.send(Said::Over);
    }
}

#[test]
fn a_cancel_waits_for_the_sq_thread() {
    let script = Script::default();
    let (ring, kernel) = sqpoll(&script).build();
    let driver = Driver::builder().build(ring).unwrap();
    thread::scope(|scope| {
        let _over = Over(&kernel, &script);
        let reaper = scope.spawn(|| next_of::<2>(&driver));
        until(|| kernel.enters() == 1);
        let ids = [1, 2].map(|i| driver.try_submit(operation(HELD | i)).unwrap());
        let (canceller, first) = (&driver, ids[0]);
        let canceller = scope.spawn(move || canceller.cancel(first));
        // Until it has found the SQ full.
        until(|| canceller.is_finished() || kernel.enters() > 1);
        scope.spawn(|| kernel.sq_thread());
        scope.spawn(|| script.cancel(&kernel));
        reaper.join().unwrap();
    });
    assert_eq!(driver.in_flight(), 0);
}

/// A pool whose reaper sleeps in the kernel, and whose SQ is full: its end has entered so many
/// times when the SQ thread begins.
fn shut_down(simulation: Simulation, script: &Script, enters: u64) {
    let (ring, kernel) = simulation.build();
    let ignore = |_: &Driver, _: Completion| ();
    let pool = Pool::builder()
        .build(ring, |_: &Driver, (): ()| (), ignore)
        .unwrap();
    until(|| kernel.enters() == 1);
    let driver = pool.driver();
    for i in 1..=2 {
        driver.try_submit(operation(HELD | i)).unwrap();
    }
    thread::scope(|scope| {
        let _over = Over(&kernel, script);
        let ending = scope.spawn(|| pool.shutdown(Some(LOST)).unwrap());
        until(|| kernel.enters() > enters);
        scope.spawn(|| kernel.sq_thread());
        scope.spawn(|| script.cancel(&kernel));
        let shutdown = ending.join().unwrap();
        assert!(shutdown.is_clean(), "{shutdown:?}");
    });
}

#[test]
fn a_shutdown_waits_for_the_sq_thread() {
    let script = Script::default();
    shut_down(sqpoll(&script), &script, 1);
}

/// No memory either for the wait, or for the eight wakes that have somebody else try.
#[test]
fn a_shutdown_asks_again_for_what_it_could_not_ask() {
    let script = Script::default();
    let faults = |call| (1..10).contains(&call).then(|| errno(libc::ENOMEM));
    let simulation = sqpoll(&script).without_messages().faults(faults);
    shut_down(simulation, &script, 10);
}

#[test]
fn a_cancel_ends_the_delay_if_the_sq_is_full() {
    let script = Script::default();
    let (ring, kernel) = script.simulation(2, 16).build();
    let driver = Driver::builder().submission(PATIENT).build(ring).unwrap();
    thread::scope(|scope| {
        let _over = Over(&kernel, &script);
        let _stop = Stop(&driver);
        let ids = [1, 2].map(|i| driver.try_submit(operation(HELD | i)).unwrap());
        driver.cancel(ids[0]);
        scope.spawn(|| driver.serve());
        scope.spawn(|| script.cancel(&kernel));
        next_of::<2>(&driver);
    });
}

/// The request comes while others have all SQEs, who push them and ask for nothing, and while
/// the reaper sleeps.
fn cancel_behind_others(driver: &Driver, kernel: &Kernel, reaper_sleeps: impl Fn() -> bool) {
    thread::scope(|scope| {
        let reaper = scope.spawn(|| next_beside_others(driver));
        until(reaper_sleeps);
        let id = driver.try_submit(operation(HELD)).unwrap();
        driver.flush();
        until(|| kernel.in_flight() == 1);
        let sq = driver.ring().sq();
        let mut batch = sq.pop_batch(2).unwrap();
        for sqe in batch.iter_mut() {
            // SAFETY: the simulation touches no memory.
            unsafe { sqe.prep_read(&std::io::stdin(), std::ptr::null_mut(), 0, 0) };
        }
        let submits = driver.stats().submits;
        driver.cancel(id);
        // Until it has been tried in vain.
        until(|| driver.stats().submits > submits);
        batch.push();
        assert_eq!(reaper.join().unwrap().op(), id);
    });
}

/// The next completion of the driver's; what others pushed completes beside it.
fn next_beside_others(driver: &Driver) -> Completion {
    let start = Instant::now();
    let mut found = None;
    while found.is_none() {
        assert!(start.elapsed() < LOST, "a completion was lost");
        let take = |event| match event {
            Event::Completed(completion) => found = Some(completion),
            Event::Stale(_) => {}
        };
        driver.wait_reap(Some(LOST), take).unwrap();
    }
    found.expect("it was found")
}

#[test]
fn an_owner_does_not_sleep_over_a_cancel() {
    let script = Script::default();
    let (ring, kernel) = script.simulation(2, 16).build();
    let (driver, owner) = Driver::builder().build_owned_simulated(ring).unwrap();
    thread::scope(|scope| {
        let _over = Over(&kernel, &script);
        let _stop = Stop(&driver);
        scope.spawn(|| owner.serve().unwrap());
        scope.spawn(|| script.cancel(&kernel));
        cancel_behind_others(&driver, &kernel, || true);
    });
}

#[test]
fn a_submitter_does_not_sleep_over_a_cancel() {
    let script = Script::default();
    let (ring, kernel) = script.simulation(2, 16).build();
    let driver = Driver::builder().submission(PATIENT).build(ring).unwrap();
    thread::scope(|scope| {
        let _over = Over(&kernel, &script);
        let _stop = Stop(&driver);
        scope.spawn(|| driver.serve());
        scope.spawn(|| script.cancel(&kernel));
        cancel_behind_others(&driver, &kernel, || kernel.enters() == 1);
    });
}

/// The request finds the SQ full while a thread that waits for a permit has it submitted, and
/// then sleeps.
#[test]
fn who_waits_for_a_permit_does_not_sleep_over_a_cancel() {
    const STALLS: u64 = 1 << 42;
    let script = Script::default();
    let (entered, has_entered) = channel();
    let (let_go, is_let_go) = channel::<()>();
    let (says, heard) = channel();
    let simulation = Ring::simulated(2).cq_entries(16).script(move |sqe, fate| {
        let user_data = sqe.get_user_data();
        if user_data == STALLS {
            entered.send(()).unwrap();
            let _ = is_let_go.recv();
        }
        match user_data & 0xf {
            // The driver's operation, which is held, and the request to cancel it.
            1 => {}
            5 => says.send(()).unwrap(),
            _ => fate.complete(0),
        }
    });
    let (ring, kernel) = simulation.build();
    let _over = Over(&kernel, &script);
    let driver = Driver::builder().permits(1).build(ring.clone()).unwrap();
    let id = driver.try_submit(operation(0)).unwrap();
    let push = |user_data| {
        let sq = ring.sq();
        let slot = sq.pop();
        let is_room = slot.is_some();
        if let Some(mut slot) = slot {
            slot.user_data(user_data);
            slot.push();
        }
        is_room
    };
    push(STALLS);
    thread::scope(|scope| {
        let waits = scope.spawn(|| driver.submit(operation(0), Some(LOST)).map(drop));
        has_entered.recv_timeout(LOST).unwrap();
        while push(0) {}
        driver.cancel(id);
        drop(let_go);
        heard.recv_timeout(LOST / 2).expect("it was never asked");
        driver.close();
        assert_eq!(waits.join().unwrap().unwrap_err().why, Refusal::Closed);
    });
}

/// Polls on this thread, asleep until it is woken in between.
fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    struct Unpark(thread::Thread, AtomicBool);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.store(true, SeqCst);
            self.0.unpark();
        }
    }
    let woken = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let waker = Waker::from(woken.clone());
    loop {
        if let Poll::Ready(found) = poll(&mut Context::from_waker(&waker)) {
            return found;
        }
        let start = Instant::now();
        while !woken.1.swap(false, SeqCst) {
            assert!(start.elapsed() < LOST, "the task was not woken");
            thread::park_timeout(LOST);
        }
    }
}

#[test]
fn a_task_gets_the_room_that_the_sq_thread_makes() {
    let script = Script::default();
    let (ring, kernel) = sqpoll(&script).build();
    let driver = Driver::builder().build(ring).unwrap();
    let (polls, has_polled) = channel();
    thread::scope(|scope| {
        let _over = Over(&kernel, &script);
        for i in 1..=2 {
            driver.try_submit(operation(HELD | i)).unwrap();
        }
        let task = scope.spawn(|| {
            let mut op = Some(operation(HELD | 3));
            block_on(|context| {
                let polled = driver.poll_submit(context, &mut op);
                let _ = polls.send(());
                polled
            })
        });
        has_polled.recv_timeout(LOST).unwrap();
        scope.spawn(|| kernel.sq_thread());
        task.join().unwrap().unwrap();
        scope.spawn(|| script.cancel(&kernel));
        driver.cancel_all();
        next_of::<3>(&driver);
    });
}

/// A submitter that gathers, and all permits with what it has gathered; then the third one.
fn third(take: impl FnOnce(&Driver)) {
    let builder = Driver::builder().permits(2).submission(PATIENT);
    let driver = driver(8, 16, builder);
    thread::scope(|scope| {
        let _stop = Stop(&driver);
        scope.spawn(|| driver.serve());
        for user_data in 1..=2 {
            driver.try_submit(nop(user_data)).unwrap();
        }
        scope.spawn(|| next_of::<3>(&driver));
        take(&driver);
        driver.flush();
    });
}

#[test]
fn a_task_that_waits_to_submit_ends_the_delay() {
    third(|driver| {
        let mut op = Some(nop(3));
        block_on(|context| driver.poll_submit(context, &mut op)).unwrap();
    });
}

#[test]
fn a_task_that_waits_to_offload_ends_the_delay() {
    third(|driver| {
        let offload = Offload::builder().threads(1).build(driver).unwrap();
        let mut job = Some(|| Ok(3));
        block_on(|context| offload.poll_offload(context, &mut job, 3)).unwrap();
    });
}
