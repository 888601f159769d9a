//! Ringway and what its users would pick instead, side by side.
#![allow(
    clippy::disallowed_types,
    reason = "the peers' and the bench's own; no model runs them"
)]

use std::time::Duration;
use bench::design::{locked::*, *};
use bench::load::*;
use bench::machine;

type W = fn(Run) -> Window;
fn main() {
    let noarr = Setup { no_sqarray: true, defers: false };
    let arr = Setup::default();
    let sidt = Setup { no_sqarray: true, defers: true };
    type O<const N: bool> = ();
    let _ = std::marker::PhantomData::<O<true>>;
    let list: Vec<(&str, Setup, W, W)> = vec![
        ("raw", noarr, |r| nop::open::<raw::Raw<true>, _>(r, &nop::Nop), |r| nop::closed::<raw::Raw<true>, _>(r, &nop::Nop)),
        ("raw arr", arr, |r| nop::open::<raw::Raw<true>, _>(r, &nop::Nop), |r| nop::closed::<raw::Raw<true>, _>(r, &nop::Nop)),
        ("raw libc", noarr, |r| nop::open::<raw::Raw<false>, _>(r, &nop::Nop), |r| nop::closed::<raw::Raw<false>, _>(r, &nop::Nop)),
        ("raw sidt", sidt, |r| nop::open::<raw::Raw<true>, _>(r, &nop::Nop), |r| nop::closed::<raw::Raw<true>, _>(r, &nop::Nop)),
        ("crate", noarr, |r| nop::open::<per_thread::PerThread<false>, _>(r, &nop::Nop), |r| nop::closed::<per_thread::PerThread<false>, _>(r, &nop::Nop)),
        ("crate inl", noarr, |r| nop::open::<per_thread::PerThread<true>, _>(r, &nop::Nop), |r| nop::closed::<per_thread::PerThread<true>, _>(r, &nop::Nop)),
        ("rw claim", noarr, |r| nop::open::<ringway::Shared<true>, _>(r, &nop::Nop), |r| nop::closed::<ringway::Shared<true>, _>(r, &nop::Nop)),
        ("rw claim outl", noarr, |r| nop::open::<ringway::Shared<false>, _>(r, &nop::Nop), |r| nop::closed::<ringway::Shared<false>, _>(r, &nop::Nop)),
        ("rw any", arr, |r| nop::open::<ringway::Shared<true>, _>(r, &nop::Nop), |r| nop::closed::<ringway::Shared<true>, _>(r, &nop::Nop)),
        ("rw local", noarr, |r| nop::open::<ringway::Own<true>, _>(r, &nop::Nop), |r| nop::closed::<ringway::Own<true>, _>(r, &nop::Nop)),
        ("rw local sidt", sidt, |r| nop::open::<ringway::Own<true>, _>(r, &nop::Nop), |r| nop::closed::<ringway::Own<true>, _>(r, &nop::Nop)),
        ("rw set", noarr, |r| nop::open::<ringway::InSet<true>, _>(r, &nop::Nop), |r| nop::closed::<ringway::InSet<true>, _>(r, &nop::Nop)),
        ("e1 std crate", arr, |r| nop::open::<Locked<Std, false, false, false>, _>(r, &nop::Nop), |r| nop::closed::<Locked<Std, false, false, false>, _>(r, &nop::Nop)),
        ("e1 std", noarr, |r| nop::open::<Locked<Std, false, false, true>, _>(r, &nop::Nop), |r| nop::closed::<Locked<Std, false, false, true>, _>(r, &nop::Nop)),
        ("e1 pl", noarr, |r| nop::open::<Locked<ParkingLot, false, false, true>, _>(r, &nop::Nop), |r| nop::closed::<Locked<ParkingLot, false, false, true>, _>(r, &nop::Nop)),
        ("e2 pl", noarr, |r| nop::open::<Locked<ParkingLot, false, true, true>, _>(r, &nop::Nop), |r| nop::closed::<Locked<ParkingLot, false, true, true>, _>(r, &nop::Nop)),
        ("e3 pl", noarr, |r| nop::open::<Locked<ParkingLot, true, false, true>, _>(r, &nop::Nop), |r| nop::closed::<Locked<ParkingLot, true, false, true>, _>(r, &nop::Nop)),
        ("e4 pl", noarr, |r| nop::open::<Locked<ParkingLot, true, true, true>, _>(r, &nop::Nop), |r| nop::closed::<Locked<ParkingLot, true, true, true>, _>(r, &nop::Nop)),
        ("e5 pl", noarr, |r| nop::open::<combining::Combining<ParkingLot, false>, _>(r, &nop::Nop), |r| nop::closed::<combining::Combining<ParkingLot, false>, _>(r, &nop::Nop)),
        ("e6 pl", noarr, |r| nop::open::<combining::Combining<ParkingLot, true>, _>(r, &nop::Nop), |r| nop::closed::<combining::Combining<ParkingLot, true>, _>(r, &nop::Nop)),
        ("h queue worker", noarr, |r| nop::open::<queued::Queued<true>, _>(r, &nop::Nop), |r| nop::closed::<queued::Queued<true>, _>(r, &nop::Nop)),
        ("i queue trylock", noarr, |r| nop::open::<queued::Queued<false>, _>(r, &nop::Nop), |r| nop::closed::<queued::Queued<false>, _>(r, &nop::Nop)),
    ];
    let threads: u32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let rounds: u32 = std::env::args().nth(2).unwrap().parse().unwrap();
    let is_closed = std::env::args().nth(3).is_some_and(|w| w == "closed");
    let only = std::env::args().nth(4).unwrap_or_default();
    let list: Vec<_> = list.into_iter().filter(|l| only.is_empty() || only.split(',').any(|o| l.0.starts_with(o))).collect();
    machine::pin(1);
    println!("line {:?}", machine::line_round_trip());
    for batch in [1, 8, 32, 128] {
        let mut all: Vec<Vec<f64>> = vec![vec![]; list.len()];
        for round in 0..rounds as usize {
            for i in 0..list.len() {
                let i = (i + round) % list.len();
                let (name, setup, open, closed) = &list[i];
                let w = if is_closed { closed } else { open };
                if std::env::var_os("V").is_some() { eprintln!("{name} {batch}"); }
                let w = w(Run { threads, batch, setup: *setup, window: Duration::from_millis(8) });
                if let Some(wrong) = &w.wrong { println!("{name}: {wrong}"); }
                if threads <= 2 && w.delayed > 0.06 { continue; }
                all[i].push(w.rate());
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        for (i, rates) in all.iter_mut().enumerate() {
            rates.sort_by(f64::total_cmp);
            if rates.is_empty() { continue; }
            println!("{:>3} {:<16} {:>7.2} [{:.2}-{:.2}] n={}", batch, list[i].0, rates[rates.len() / 2], rates[0], rates[rates.len()-1], rates.len());
        }
    }
    println!("line {:?}", machine::line_round_trip());
}
