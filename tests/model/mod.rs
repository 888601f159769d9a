//! Random sequences of calls on a simulated ring, each answer compared with that of a
//! sequential model. Shared by `tests/sim/main.rs` and the fuzz target.

mod case;
mod expected;

use case::{Bytes, Config, Link, Op, Step, fated};
use expected::Expected;
use ringway::sim::Kernel;
use ringway::{Batch, Cq, Cqe, EnterError, Errno, Ring, Slot, Sq, Waited};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// `CQE_F_MORE`.
const MORE: u32 = 2;

/// A CQE, with its second half where it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    user_data: u64,
    res: i32,
    flags: u32,
    extra: [u64; 2],
}

impl Entry {
    fn new(user_data: u64, res: i32, flags: u32) -> Self {
        Self {
            user_data,
            res,
            flags,
            extra: [0, 0],
        }
    }

    fn more(user_data: u64, res: i32) -> Self {
        Self::new(user_data, res, MORE)
    }

    fn of(cqe: &Cqe) -> Self {
        Self::new(cqe.user_data(), cqe.res(), cqe.flags())
    }

    /// The second half of a 32-byte CQE: the first as it lies in memory, inverted.
    fn words(&self) -> [u64; 2] {
        let mut result = [0; 8];
        result[..4].copy_from_slice(&self.res.to_ne_bytes());
        result[4..].copy_from_slice(&self.flags.to_ne_bytes());
        [!self.user_data, !u64::from_ne_bytes(result)]
    }
}

/// A CQE of no operation.
fn posted(user_data: u64) -> Entry {
    Entry::new(user_data, !user_data as i32, (user_data as u32) << 3)
}

/// What a call said.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Popped(bool),
    Entered(Result<(), EnterError>),
    Waited(Result<Waited, EnterError>),
    Reaped(Vec<Entry>),
    Completed(bool),
    Consumed(u32),
}

/// What can be seen between two calls.
#[derive(Debug, PartialEq, Eq)]
struct State {
    in_use: u32,
    ready: u32,
    enters: u64,
    consumed: u64,
    overflowed: u64,
    in_flight: usize,
    /// SQEs dropped, CQEs lost.
    lost: (u32, u32),
    /// The `user_data` of what the script ran since the last look, in its order.
    ran: Vec<u64>,
}

/// What the script and the faults share with the test.
#[derive(Default)]
struct Shared {
    ran: Vec<u64>,
    is_calm: bool,
}

enum Held<'r> {
    Slot(Slot<'r>),
    Batch(Batch<'r>),
}

/// Runs the calls that the bytes say.
///
/// # Panics
///
/// If the ring answers anything else than the model.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes.iter());
    let config = bytes.config();
    let shared = Arc::new(Mutex::new(Shared::default()));
    let (ring, kernel) = build(&config, &shared);
    let sq = ring.sq();
    let mut actual = Actual {
        ring: &ring,
        sq: &sq,
        cq: ring.cq(),
        kernel,
        shared: &shared,
        held: Vec::new(),
    };
    let mut expected = Expected::new(&config);
    let mut number = 0;
    let mut step = |step| {
        number += 1;
        let context = || format!("step {number}, {step:?}, of {config:?}");
        let (answer, wanted) = both(step, &mut actual, &mut expected);
        assert_eq!(answer, wanted, "answer (left) to {}", context());
        let (state, wanted) = (actual.state(), expected.state());
        assert_eq!(state, wanted, "state (left) after {}", context());
        let is_over = state.in_use == 0 && state.in_flight == 0 && state.ready == 0;
        (answer, is_over)
    };
    while let Some(next) = bytes.step() {
        step(next);
    }
    let is_empty = Answer::Reaped(Vec::new());
    shared.lock().unwrap().is_calm = true;
    step(Step::Submit);
    for i in 0.. {
        step(Step::Push(i, 0xff));
        step(Step::Submit);
        step(Step::Complete(i, 0));
        let (answer, is_over) = step(Step::Reap);
        if is_over && answer == is_empty {
            break;
        }
    }
    // Every slot is there, and there once: SQEs that two of them shared would show.
    for _ in 0..config.sq_entries {
        assert_eq!(step(Step::Pop).0, Answer::Popped(true));
    }
    assert_eq!(step(Step::Pop).0, Answer::Popped(false));
    for last in (0..config.sq_entries).rev() {
        step(Step::Push(last as usize, 0));
    }
    step(Step::Submit);
    let all = config.sq_entries as usize;
    assert!(matches!(step(Step::ReapBatch(all)).0, Answer::Reaped(cqes) if cqes.len() == all));
    step(Step::PopBatch(config.sq_entries));
    step(Step::Drop(0, 0));
    step(Step::Submit);
    assert_eq!(step(Step::Reap), (is_empty, true));
}

fn build(config: &Config, shared: &Arc<Mutex<Shared>>) -> (Ring, Kernel) {
    let (of_script, of_faults) = (shared.clone(), shared.clone());
    let faults = config.faults();
    let mut simulation = Ring::simulated(config.sq_entries)
        .cq_entries(config.cq_entries)
        .order(config.order)
        .counters_at(config.start)
        .head(config.head)
        .completions(config.completions)
        .max_passes(config.max_passes)
        .script(move |sqe, fate| {
            let user_data = sqe.get_user_data();
            of_script.lock().unwrap().ran.push(user_data);
            let fated = fated(user_data);
            (0..fated.mores).for_each(|i| fate.more(i));
            match fated.end {
                Some(res) => fate.complete(res),
                None => fate.hold(),
            }
        })
        .faults(move |call| {
            let is_calm = of_faults.lock().unwrap().is_calm;
            let errno = Config::fault(faults, call).filter(|_| !is_calm);
            errno.map(Errno::from_raw)
        });
    if config.sqe128 {
        simulation = simulation.sqe128();
    }
    if config.cqe32 {
        simulation = simulation.cqe32();
    }
    if !config.has_messages {
        simulation = simulation.without_messages();
    }
    simulation.build()
}

/// Does the step on both sides.
fn both(step: Step, actual: &mut Actual<'_>, expected: &mut Expected) -> (Answer, Answer) {
    expected.is_calm = actual.shared.lock().unwrap().is_calm;
    match step {
        Step::Pop => (actual.pop(), expected.pop(1)),
        Step::PopBatch(len) => (actual.pop_batch(len), expected.pop(len)),
        Step::Push(at, prep) | Step::Drop(at, prep) => {
            let Some(at) = at.checked_rem(expected.held()) else {
                return (Answer::Done, Answer::Done);
            };
            let len = expected.len_of(at);
            let ops: Vec<_> = (0..len)
                .map(|i| Op::decode(prep, i, expected.id()))
                .collect();
            actual.prepare(at, &ops);
            let held = actual.held.swap_remove(at);
            if let Step::Drop(..) = step {
                drop(held);
                expected.push(at, vec![Op::DROPPED; len]);
            } else {
                held.push();
                let ops = ops.into_iter().map(|op| op.unwrap_or(Op::UNPREPARED));
                expected.push(at, ops.collect());
            }
            (Answer::Done, Answer::Done)
        }
        _ => {
            let user_data = match step {
                // Also one that is not there.
                Step::Complete(at, _) => expected.in_flight(at).unwrap_or(u64::MAX),
                _ => expected.id() << 8 | 3,
            };
            (actual.step(step, user_data), expected.step(step, user_data))
        }
    }
}

/// The ring, and what the test holds of it.
struct Actual<'r> {
    ring: &'r Ring,
    sq: &'r Sq,
    cq: Cq,
    kernel: Kernel,
    shared: &'r Mutex<Shared>,
    held: Vec<Held<'r>>,
}

impl Actual<'_> {
    fn pop(&mut self) -> Answer {
        let slot = self.sq.pop();
        let is_some = slot.is_some();
        self.held.extend(slot.map(Held::Slot));
        Answer::Popped(is_some)
    }

    fn pop_batch(&mut self, len: u32) -> Answer {
        let batch = self.sq.pop_batch(len);
        let is_some = batch.is_some();
        if let Some(batch) = &batch {
            assert_eq!(batch.len(), len as usize);
        }
        self.held.extend(batch.map(Held::Batch));
        Answer::Popped(is_some)
    }

    /// Leaves what is behind the last operation untouched.
    fn prepare(&mut self, at: usize, ops: &[Option<Op>]) {
        let until = ops
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        let ops = &ops[..until];
        match &mut self.held[at] {
            Held::Slot(slot) => {
                if let [Some(op)] = ops {
                    write(slot, op);
                    // SAFETY: a NOP has no command.
                    unsafe { slot.command_mut() }.fill(0xff);
                }
            }
            Held::Batch(batch) => {
                for (sqe, op) in batch.iter_mut().zip(ops) {
                    op.iter().for_each(|op| write(sqe, op));
                }
                // A second look changes nothing.
                for (sqe, op) in batch.iter_mut().zip(ops) {
                    let user_data = op.map_or(0, |op| op.user_data);
                    assert_eq!(sqe.get_user_data(), user_data);
                }
            }
        }
    }

    fn step(&mut self, step: Step, user_data: u64) -> Answer {
        let now = Some(Duration::ZERO);
        match step {
            Step::Submit => Answer::Entered(self.sq.submit()),
            Step::Post => {
                let entry = posted(user_data);
                self.kernel.post(entry.user_data, entry.res, entry.flags);
                Answer::Done
            }
            Step::Complete(_, res) => Answer::Completed(self.kernel.complete(user_data, res)),
            Step::Consume => Answer::Consumed(self.kernel.consume()),
            Step::Reap => Answer::Reaped(self.cq.reap().iter().map(Entry::of).collect()),
            Step::ReapBig => {
                let big = self.cq.reap_big();
                let entry = big.map(|big| Entry {
                    extra: big.extra(),
                    ..Entry::of(big.cqe())
                });
                Answer::Reaped(entry.into_iter().collect())
            }
            Step::ReapBatch(max) => {
                let mut cqes = vec![Cqe::default(); max];
                let count = self.cq.reap_batch(&mut cqes);
                Answer::Reaped(cqes[..count].iter().map(Entry::of).collect())
            }
            Step::Wait => Answer::Waited(self.cq.wait(now)),
            Step::WaitReap(max) => {
                let mut cqes = vec![Cqe::default(); max];
                match self.cq.wait_reap(&mut cqes, now) {
                    Ok(count) => Answer::Reaped(cqes[..count].iter().map(Entry::of).collect()),
                    Err(error) => Answer::Entered(Err(error)),
                }
            }
            Step::Wake => Answer::Entered(self.ring.wake(user_data)),
            Step::Pop | Step::PopBatch(_) | Step::Push(..) | Step::Drop(..) => {
                unreachable!("has its own function")
            }
        }
    }

    fn state(&mut self) -> State {
        State {
            in_use: self.sq.in_use(),
            ready: self.cq.ready(),
            enters: self.kernel.enters(),
            consumed: self.kernel.consumed(),
            overflowed: self.kernel.overflowed(),
            in_flight: self.kernel.in_flight(),
            lost: (self.ring.sq_dropped(), self.ring.cq_overflow()),
            ran: std::mem::take(&mut self.shared.lock().unwrap().ran),
        }
    }
}

impl Held<'_> {
    fn push(self) {
        match self {
            Held::Slot(slot) => slot.push(),
            Held::Batch(batch) => batch.push(),
        }
    }
}

fn write(sqe: &mut ringway::Sqe, op: &Op) {
    // SAFETY: a NOP holds no pointer.
    let sqe = unsafe { sqe.prep_nop() }.user_data(op.user_data);
    match op.link {
        Link::No => {}
        Link::Soft => _ = sqe.link(),
        Link::Hard => _ = sqe.hardlink(),
    }
    if op.skip {
        sqe.skip_success();
    }
}
