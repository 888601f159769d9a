//! What the bytes mean: how the ring is made, and what is done to it.

use ringway::Order;
use ringway::sim::{CompletionOrder, Head};

/// How the ring is made.
#[derive(Debug)]
pub struct Config {
    pub order: Order,
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub sqe128: bool,
    pub cqe32: bool,
    pub head: Head,
    pub completions: CompletionOrder,
    pub start: u32,
    pub has_messages: bool,
    pub max_passes: u32,
    /// Comes round again and again; each byte says what one enter comes to.
    faults: [u8; 8],
}

/// One call. What is picked among several is picked modulo their number.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Pop,
    PopBatch(u32),
    /// Which of the held slots and batches, and how it is prepared.
    Push(usize, u16),
    Drop(usize, u16),
    Submit,
    Post,
    /// Which of the operations in flight, and its result.
    Complete(usize, i32),
    Consume,
    Reap,
    ReapBig,
    ReapBatch(usize),
    Wait,
    WaitReap(usize),
    Wake,
}

/// The bytes, one after the other.
pub struct Bytes<'b>(pub std::slice::Iter<'b, u8>);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn pair(&mut self) -> u16 {
        u16::from_le_bytes([self.next(), self.next()])
    }

    pub fn config(&mut self) -> Config {
        let [bits, sizes, rest] = [self.next(), self.next(), self.next()];
        let has = |bit: u8| bits & 1 << bit != 0;
        let sq_entries = 1 << (sizes % 7);
        let start = match rest % 4 {
            0 => u32::from(self.next()),
            1 => u32::from_le_bytes([self.next(), self.next(), self.next(), self.next()]),
            _ => u32::MAX - u32::from(self.next()),
        };
        let mut faults = [0; 8];
        if has(0) {
            faults = std::array::from_fn(|_| self.next());
        }
        Config {
            order: [Order::Any, Order::Claim][usize::from(has(1))],
            sq_entries,
            cq_entries: sq_entries << (sizes / 7 % 3),
            sqe128: has(2),
            cqe32: has(3),
            head: [Head::Late, Head::Early][usize::from(has(4))],
            completions: [CompletionOrder::Forward, CompletionOrder::Backward][usize::from(has(5))],
            start,
            has_messages: has(6),
            max_passes: if has(7) {
                8
            } else {
                1 + u32::from(rest / 4 % 8)
            },
            faults,
        }
    }

    /// `None` when the bytes are used up.
    pub fn step(&mut self) -> Option<Step> {
        let code = self.0.next()?;
        Some(match code % 18 {
            0 | 1 => Step::Pop,
            2 => Step::PopBatch(self.next().into()),
            3..=5 => Step::Push(self.next().into(), self.pair()),
            6 => Step::Drop(self.next().into(), self.pair()),
            7 | 8 => Step::Submit,
            9 => Step::Post,
            10 => Step::Complete(self.next().into(), i32::from(self.next() as i8)),
            11 => Step::Consume,
            12 => Step::Reap,
            13 => Step::ReapBig,
            14 => Step::ReapBatch(self.next().into()),
            15 => Step::Wait,
            16 => Step::WaitReap(self.next().into()),
            _ => Step::Wake,
        })
    }
}

impl Config {
    /// What becomes of an enter: an errno, or nothing.
    pub fn fault(faults: [u8; 8], call: u64) -> Option<i32> {
        let byte = faults[(call % 8) as usize];
        let errno =
            [libc::EAGAIN, libc::EINTR, libc::EBUSY, libc::ENOMEM][usize::from(byte / 4 % 4)];
        (byte % 4 == 3).then_some(errno)
    }

    pub fn faults(&self) -> [u8; 8] {
        self.faults
    }
}

/// What the script does with an operation.
pub struct Fated {
    pub mores: i32,
    /// `None`: it is held.
    pub end: Option<i32>,
}

/// The lowest three bits of an operation's `user_data` say what becomes of it.
pub fn fated(user_data: u64) -> Fated {
    let number = (user_data >> 8) as i32 & 0xffff;
    Fated {
        mores: if user_data & 4 != 0 { 2 } else { 0 },
        end: match user_data & 3 {
            0 => Some(number),
            1 => None,
            2 => Some(-1 - number),
            _ => Some(0),
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    No,
    Soft,
    Hard,
}

/// What a user, or the ring for him, put into one SQE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    pub user_data: u64,
    pub link: Link,
    pub skip: bool,
}

impl Op {
    /// A slot that was pushed as it was popped.
    pub const UNPREPARED: Op = Op {
        user_data: 0,
        link: Link::No,
        skip: false,
    };

    /// A slot that was dropped.
    pub const DROPPED: Op = Op {
        skip: true,
        ..Op::UNPREPARED
    };

    /// The operation for SQE `i`, if it is to be prepared.
    pub fn decode(prep: u16, i: usize, id: u64) -> Option<Op> {
        let bits = prep.rotate_right(i as u32 * 3 % 16);
        (bits & 0xc0 != 0xc0).then_some(Op {
            user_data: id << 8 | u64::from(bits & 7),
            link: [Link::No, Link::No, Link::Soft, Link::Hard][usize::from(bits >> 3 & 3)],
            skip: bits & 0x20 != 0,
        })
    }
}
