//! The sequential model: what one thread must see.

use super::case::{Config, Link, Op, Step, fated};
use super::{Answer, Entry, State};
use ringway::sim::CompletionOrder;
use ringway::{EnterError, Order, Waited};
use std::collections::VecDeque;

/// A slot or batch that was popped.
struct Unit {
    id: u64,
    /// `None` until it is pushed.
    ops: Option<Vec<Op>>,
    /// A submit left what is behind it to its push.
    is_wanted: bool,
}

/// An operation in flight, and what is linked to it.
struct InFlight {
    op: Op,
    rest: VecDeque<Op>,
}

pub struct Expected {
    order: Order,
    sq_entries: u64,
    cq_entries: usize,
    cqe32: bool,
    completions: CompletionOrder,
    has_messages: bool,
    max_passes: u32,
    faults: [u8; 8],
    pub is_calm: bool,
    /// Popped and not pushed: what it is in `units`, and how many SQEs.
    held: Vec<(u64, usize)>,
    /// What the kernel does not see yet, in the order in which it will.
    units: VecDeque<Unit>,
    published: VecDeque<Op>,
    in_flight: Vec<InFlight>,
    cq: VecDeque<Entry>,
    backlog: VecDeque<Entry>,
    has_overflowed: bool,
    is_owed: bool,
    claims: u64,
    consumed: u64,
    enters: u64,
    overflowed: u64,
    ran: Vec<u64>,
    next_id: u64,
}

impl Expected {
    pub fn new(config: &Config) -> Self {
        Self {
            order: config.order,
            sq_entries: config.sq_entries.into(),
            cq_entries: config.cq_entries as usize,
            cqe32: config.cqe32,
            completions: config.completions,
            has_messages: config.has_messages,
            max_passes: config.max_passes,
            faults: config.faults(),
            is_calm: false,
            held: Vec::new(),
            units: VecDeque::new(),
            published: VecDeque::new(),
            in_flight: Vec::new(),
            cq: VecDeque::new(),
            backlog: VecDeque::new(),
            has_overflowed: false,
            is_owed: false,
            claims: 0,
            consumed: 0,
            enters: 0,
            overflowed: 0,
            ran: Vec::new(),
            next_id: 0,
        }
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The SQEs of a held slot or batch.
    pub fn len_of(&self, at: usize) -> usize {
        self.held[at].1
    }

    /// The `user_data` of an operation in flight.
    pub fn in_flight(&self, at: usize) -> Option<u64> {
        let at = at.checked_rem(self.in_flight.len())?;
        Some(self.in_flight[at].op.user_data)
    }

    /// A number that was never used.
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn state(&mut self) -> State {
        State {
            in_use: (self.claims - self.consumed) as u32,
            ready: self.cq.len() as u32,
            enters: self.enters,
            consumed: self.consumed,
            overflowed: self.overflowed,
            in_flight: self.in_flight.len(),
            lost: (0, 0),
            ran: std::mem::take(&mut self.ran),
        }
    }

    pub fn pop(&mut self, len: u32) -> Answer {
        let free = self.sq_entries - (self.claims - self.consumed);
        if len == 0 || u64::from(len) > free {
            return Answer::Popped(false);
        }
        let id = self.id();
        self.claims += u64::from(len);
        self.held.push((id, len as usize));
        if self.order == Order::Claim {
            self.units.push_back(Unit {
                id,
                ops: None,
                is_wanted: false,
            });
        }
        Answer::Popped(true)
    }

    pub fn push(&mut self, at: usize, ops: Vec<Op>) {
        let (id, _) = self.held.swap_remove(at);
        let ops = Some(ops);
        if self.order == Order::Any {
            let is_wanted = false;
            self.units.push_back(Unit { id, ops, is_wanted });
            return;
        }
        let unit = self.units.iter_mut().find(|unit| unit.id == id);
        let unit = unit.expect("a held unit is in the queue");
        unit.ops = ops;
        if unit.is_wanted {
            // A refusal becomes a debt.
            let _ = self.submit();
        }
    }

    /// All other steps.
    pub fn step(&mut self, step: Step, user_data: u64) -> Answer {
        match step {
            Step::Submit => Answer::Entered(self.submit()),
            Step::Post => {
                self.post(super::posted(user_data));
                Answer::Done
            }
            Step::Complete(_, res) => Answer::Completed(self.complete(user_data, res)),
            Step::Consume => {
                let before = self.consumed;
                self.consume();
                Answer::Consumed((self.consumed - before) as u32)
            }
            Step::Reap => Answer::Reaped(self.reap(1)),
            Step::ReapBig => {
                let mut reaped = self.reap(1);
                for entry in reaped.iter_mut().filter(|_| self.cqe32) {
                    entry.extra = entry.words();
                }
                Answer::Reaped(reaped)
            }
            Step::ReapBatch(max) => Answer::Reaped(self.reap(max)),
            Step::Wait => Answer::Waited(self.wait()),
            Step::WaitReap(max) => match self.wait() {
                Ok(_) => Answer::Reaped(self.reap(max)),
                Err(error) => Answer::Entered(Err(error)),
            },
            Step::Wake => Answer::Entered(self.wake(user_data)),
            Step::Pop | Step::PopBatch(_) | Step::Push(..) | Step::Drop(..) => {
                unreachable!("has its own function")
            }
        }
    }

    fn submit(&mut self) -> Result<(), EnterError> {
        let mut result = Ok(());
        for left in (0..self.max_passes).rev() {
            let pass = self.pass(left == 0);
            result = pass.map(|_| ());
            if !matches!(pass, Ok(true) | Err(EnterError::Interrupted)) {
                break;
            }
        }
        self.is_owed = result.is_err();
        result
    }

    /// True if it published no more than half the ring, and more lies ready behind that.
    fn pass(&mut self, is_last: bool) -> Result<bool, EnterError> {
        let most = match (is_last, self.sq_entries) {
            (true, _) => u64::MAX,
            (false, small @ ..16) => small,
            (false, entries) => entries / 2,
        };
        let mut moved = 0;
        while let Some(unit) = self.units.front_mut() {
            if moved >= most {
                break;
            }
            let Some(ops) = unit.ops.take() else { break };
            moved += ops.len() as u64;
            self.published.extend(ops);
            self.units.pop_front();
        }
        let is_next = |unit: &Unit| unit.ops.is_some();
        let is_cut = moved >= most && self.units.front().is_some_and(is_next);
        if !is_cut && self.units.iter().any(|unit| unit.ops.is_some()) {
            self.units[0].is_wanted = true;
        }
        if self.published.is_empty() {
            return Ok(is_cut);
        }
        self.enter()?;
        self.consume();
        Ok(is_cut)
    }

    fn enter(&mut self) -> Result<(), EnterError> {
        let call = self.enters;
        self.enters += 1;
        match Config::fault(self.faults, call) {
            Some(_) if self.is_calm => Ok(()),
            Some(libc::EINTR) => Err(EnterError::Interrupted),
            Some(_) => Err(EnterError::Busy),
            None => Ok(()),
        }
    }

    fn consume(&mut self) {
        let mut out = Vec::new();
        let mut chain = VecDeque::new();
        self.consumed += self.published.len() as u64;
        while let Some(op) = self.published.pop_front() {
            chain.push_back(op);
            if op.link == Link::No || self.published.is_empty() {
                self.run(std::mem::take(&mut chain), false, &mut out);
            }
        }
        if self.completions == CompletionOrder::Backward {
            out.reverse();
        }
        out.into_iter().for_each(|entry| self.post(entry));
    }

    /// Starts the operations of a chain until one stays in flight.
    fn run(&mut self, mut chain: VecDeque<Op>, mut is_cancelled: bool, out: &mut Vec<Entry>) {
        while let Some(op) = chain.pop_front() {
            if is_cancelled {
                out.push(Entry::new(op.user_data, -libc::ECANCELED, 0));
                continue;
            }
            self.ran.push(op.user_data);
            let fate = fated(op.user_data);
            out.extend((0..fate.mores).map(|i| Entry::more(op.user_data, i)));
            let Some(res) = fate.end else {
                self.in_flight.push(InFlight { op, rest: chain });
                return;
            };
            is_cancelled = end(op, res, out);
        }
    }

    fn complete(&mut self, user_data: u64, res: i32) -> bool {
        let is_it = |flight: &InFlight| flight.op.user_data == user_data;
        let Some(at) = self.in_flight.iter().position(is_it) else {
            return false;
        };
        let InFlight { op, rest } = self.in_flight.remove(at);
        let mut out = Vec::new();
        let is_cancelled = end(op, res, &mut out);
        self.run(rest, is_cancelled, &mut out);
        out.into_iter().for_each(|entry| self.post(entry));
        true
    }

    fn post(&mut self, entry: Entry) {
        if self.backlog.is_empty() && self.cq.len() < self.cq_entries {
            self.cq.push_back(entry);
        } else {
            self.backlog.push_back(entry);
            self.overflowed += 1;
            self.has_overflowed = true;
        }
    }

    fn flush(&mut self) {
        while self.cq.len() < self.cq_entries {
            let Some(entry) = self.backlog.pop_front() else {
                break;
            };
            self.cq.push_back(entry);
        }
        self.has_overflowed = !self.backlog.is_empty();
    }

    fn reap(&mut self, max: usize) -> Vec<Entry> {
        if max > 0 && self.cq.is_empty() && self.has_overflowed && self.enter().is_ok() {
            self.flush();
        }
        let count = max.min(self.cq.len());
        self.cq.drain(..count).collect()
    }

    fn wait(&mut self) -> Result<Waited, EnterError> {
        if self.cq.is_empty() && self.is_owed {
            self.submit()?;
        }
        if !self.cq.is_empty() {
            return Ok(Waited::Maybe);
        }
        match self.enter() {
            Err(EnterError::Interrupted) => return Ok(Waited::Maybe),
            other => other?,
        }
        self.flush();
        Ok(match self.cq.is_empty() {
            true => Waited::TimedOut,
            false => Waited::Maybe,
        })
    }

    fn wake(&mut self, user_data: u64) -> Result<(), EnterError> {
        if self.has_messages {
            self.post(Entry::new(user_data, 0, 0));
            return Ok(());
        }
        for _ in 0..2 {
            if self.pop(1) == Answer::Popped(true) {
                let op = Op {
                    user_data,
                    ..Op::UNPREPARED
                };
                self.push(self.held.len() - 1, vec![op]);
                return self.submit();
            }
            self.submit()?;
        }
        Err(EnterError::Busy)
    }
}

/// The last CQE, if there is one; and whether the rest of the chain is cancelled.
fn end(op: Op, res: i32, out: &mut Vec<Entry>) -> bool {
    if res < 0 || !op.skip {
        out.push(Entry::new(op.user_data, res, 0));
    }
    res < 0 && op.link != Link::Hard
}
