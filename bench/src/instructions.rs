//! One thread, NOPs in batches: what `cargo xtask instructions` counts under callgrind.
//!
//! `instructions PATH BATCH ROUNDS`, PATH one of any, claim, local.

use ringway::{Cqe, EnterError, Order, Ring};
use std::hint::black_box;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, batch, rounds] = &args[..] else {
        return usage();
    };
    let (Ok(batch), Ok(rounds)) = (batch.parse(), rounds.parse()) else {
        return usage();
    };
    let sum = match &path[..] {
        "any" => shared(Order::Any, batch, rounds),
        "claim" => shared(Order::Claim, batch, rounds),
        "local" => local(batch, rounds),
        _ => return usage(),
    };
    let operations = u64::from(batch) * rounds;
    assert_eq!(sum, Ok((0..operations).sum()), "operations were lost");
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: instructions any|claim|local BATCH ROUNDS");
    ExitCode::from(2)
}

fn shared(order: Order, batch: u32, rounds: u64) -> Result<u64, EnterError> {
    let ring = Ring::builder(256).order(order).build().expect("io_uring");
    let (sq, cq) = (ring.sq(), ring.cq());
    let mut cqes = [Cqe::default(); 128];
    let (mut next, mut sum) = (0, 0);
    for _ in 0..black_box(rounds) {
        if batch == 1 {
            let mut slot = sq.pop().expect("a free slot");
            // SAFETY: a NOP holds no pointer.
            unsafe { slot.prep_nop() }.user_data(next);
            next += 1;
            slot.push();
            sq.submit()?;
            sum += cq.reap().map_or(0, |cqe| cqe.user_data());
        } else {
            let mut slots = sq.pop_batch(batch).expect("free slots");
            for sqe in &mut slots {
                // SAFETY: a NOP holds no pointer.
                unsafe { sqe.prep_nop() }.user_data(next);
                next += 1;
            }
            slots.push();
            sq.submit()?;
            let count = cq.reap_batch(&mut cqes);
            sum += cqes[..count].iter().map(Cqe::user_data).sum::<u64>();
        }
    }
    Ok(sum)
}

fn local(batch: u32, rounds: u64) -> Result<u64, EnterError> {
    let ring = Ring::builder(256)
        .order(Order::Claim)
        .build_local()
        .expect("io_uring");
    let mut cqes = [Cqe::default(); 128];
    let (mut next, mut sum) = (0, 0);
    for _ in 0..black_box(rounds) {
        if batch == 1 {
            let mut slot = ring.pop().expect("a free slot");
            // SAFETY: a NOP holds no pointer.
            unsafe { slot.prep_nop() }.user_data(next);
            next += 1;
            slot.push();
            ring.submit()?;
            sum += ring.reap().map_or(0, |cqe| cqe.user_data());
        } else {
            let mut slots = ring.pop_batch(batch).expect("free slots");
            for sqe in &mut slots {
                // SAFETY: a NOP holds no pointer.
                unsafe { sqe.prep_nop() }.user_data(next);
                next += 1;
            }
            slots.push();
            ring.submit()?;
            let count = ring.reap_batch(&mut cqes);
            sum += cqes[..count].iter().map(Cqe::user_data).sum::<u64>();
        }
    }
    Ok(sum)
}
