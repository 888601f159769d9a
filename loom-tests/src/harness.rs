//! What every model needs: bounds, witnesses, a floor on executions, a ring whose
//! operations are recorded.

use loom::model::Builder;
use loom::thread;
use ringway::pool::{Driver, DriverBuilder, Event, Op};
use ringway::sim::{Kernel, Simulation};
use ringway::{Batch, Order, Ring, Slot, Sq, Sqe};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// One model.
#[derive(Clone, Copy)]
pub struct Model {
    pub name: &'static str,
    /// The weakenings that it is written to notice.
    pub aims: &'static [&'static str],
    /// Preemptions per execution; `None` explores all.
    pub bound: Option<usize>,
    /// Fewer executions than this mean that the model is not what it was.
    pub floor: u64,
    /// Places and events that some execution must come by.
    pub witnesses: &'static [&'static str],
    pub body: fn(),
}

impl Model {
    /// An unbounded model with nothing to say of itself yet.
    pub const fn new(name: &'static str, body: fn()) -> Self {
        Self {
            name,
            aims: &[],
            bound: None,
            floor: 10,
            witnesses: &[],
            body,
        }
    }
}

static EXECUTIONS: Mutex<u64> = Mutex::new(0);
static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Records that an execution came by here.
pub fn witness(event: &'static str) {
    SEEN.lock().unwrap().insert(event);
}

pub fn main(models: &[Model]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--list"] => {
            for model in models {
                println!("{}\t{}", model.name, model.aims.join(","));
            }
        }
        ["--edges"] => {
            for (name, what) in ringway::weakenings() {
                println!("{name}\t{what}");
            }
        }
        ["--model", name] => {
            let weakened = std::env::var("RINGWAY_WEAKEN").ok();
            let is_edge =
                |edge: &String| ringway::weakenings().iter().any(|(name, _)| name == edge);
            if !weakened.as_ref().is_none_or(is_edge) {
                eprintln!("RINGWAY_WEAKEN names no edge: see --edges");
                return ExitCode::from(2);
            }
            let Some(model) = models.iter().find(|model| model.name == name) else {
                eprintln!("no model {name}: see --list");
                return ExitCode::from(2);
            };
            run(model, weakened.is_some());
        }
        _ => {
            eprintln!("usage: loom-tests --list | --edges | --model NAME");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn run(model: &Model, is_weakened: bool) {
    const {
        assert!(
            cfg!(debug_assertions),
            "models need debug assertions: use --profile loom"
        )
    };
    let mut builder = Builder::new();
    builder.preemption_bound = model.bound;
    builder.max_branches = 20_000;
    let body = model.body;
    let start = Instant::now();
    builder.check(move || {
        *EXECUTIONS.lock().unwrap() += 1;
        body();
    });
    let executions = *EXECUTIONS.lock().unwrap();
    let mut seen = SEEN.lock().unwrap().clone();
    seen.extend(ringway::reached());
    if !is_weakened {
        assert!(
            executions >= model.floor,
            "{executions} executions, fewer than the floor of {}",
            model.floor
        );
        for witness in model.witnesses {
            assert!(
                seen.contains(witness),
                "no execution came by: {witness}; only by {seen:?}"
            );
        }
    }
    println!(
        "ok {} executions={executions} witnesses={} seconds={:.2}",
        model.name,
        model.witnesses.len(),
        start.elapsed().as_secs_f64()
    );
}

/// What the simulated kernel was given, in its order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u64>>>);

impl Log {
    pub fn record(&self, user_data: u64) {
        self.0.lock().unwrap().push(user_data);
    }

    pub fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }

    /// Records what completed, by its own user_data.
    #[track_caller]
    pub fn completed(&self, event: Event) {
        match event {
            Event::Completed(completion) => self.record(completion.user_data()),
            Event::Stale(cqe) => panic!("{cqe:?}"),
        }
    }

    /// Asserts that exactly these came, each once, in any order.
    #[track_caller]
    pub fn assert_each_once(&self, expected: &[u64]) {
        let mut all = self.all();
        all.sort_unstable();
        assert_eq!(all, expected, "operations were lost, doubled or invented");
    }
}

/// A ring that records each operation and completes it with 0. NOPs without user_data
/// are what dropped slots became, and are not recorded.
pub fn recorded(simulation: Simulation) -> (Ring, Kernel, Log) {
    let log = Log::default();
    let record = log.clone();
    let (ring, kernel) = simulation
        .script(move |sqe, fate| {
            if sqe.get_user_data() != 0 {
                record.record(sqe.get_user_data());
            }
            fate.complete(0);
        })
        .build();
    (ring, kernel, log)
}

/// A ring of `entries` in this order, its counters about to wrap.
pub fn simulated(entries: u32, order: Order) -> Simulation {
    Ring::simulated(entries).order(order)
}

/// An operation of a driver.
pub fn nop(user_data: u64) -> Op {
    let mut sqe = Sqe::default();
    // SAFETY: a NOP names nothing.
    unsafe { sqe.prep_nop() }.user_data(user_data);
    sqe.into()
}

/// A driver that keeps no CQE for requests.
pub fn settings(permits: u32) -> DriverBuilder {
    Driver::builder().permits(permits).control_reserve(0)
}

pub fn driver(simulation: Simulation, settings: DriverBuilder) -> (Driver, Kernel) {
    let (ring, kernel) = simulation.build();
    (settings.build(ring).unwrap(), kernel)
}

/// Pops, prepares and pushes one operation; false if the ring was full.
pub fn push(sq: &Sq, user_data: u64) -> bool {
    let Some(mut slot) = sq.pop() else {
        return false;
    };
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(user_data);
    slot.push();
    true
}

/// A prepared slot that may go to another thread of the model.
pub fn prepared(sq: &Sq, user_data: u64) -> Slot<'static> {
    let mut slot = sq.pop().expect("a free slot");
    // SAFETY: a NOP holds no pointer.
    unsafe { slot.prep_nop() }.user_data(user_data);
    // SAFETY: a model pushes its slots in threads that it joins before its ring goes.
    unsafe { std::mem::transmute::<Slot<'_>, Slot<'static>>(slot) }
}

/// As `prepared`: a batch, with this `user_data` and the next ones.
pub fn prepared_batch(sq: &Sq, len: u32, user_data: u64) -> Batch<'static> {
    let mut batch = sq.pop_batch(len).expect("free slots");
    for (sqe, user_data) in batch.iter_mut().zip(user_data..) {
        // SAFETY: a NOP holds no pointer.
        unsafe { sqe.prep_nop() }.user_data(user_data);
    }
    // SAFETY: as in `prepared`.
    unsafe { std::mem::transmute::<Batch<'_>, Batch<'static>>(batch) }
}

/// Runs all of them at once, the first on the calling thread.
pub fn together<const N: usize>(here: impl FnOnce(), others: [Box<dyn FnOnce() + Send>; N]) {
    let others = others.map(thread::spawn);
    here();
    for other in others {
        other.join().unwrap();
    }
}
