//! Every operation that the io-uring crate can build, built by both crates from the same
//! random arguments, and compared field by field.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "the promise of every prep is about its SQE's execution, and none is submitted"
)]

use std::collections::{BTreeMap, BTreeSet};

mod commands;
mod differences;
mod fields;
mod files;
mod net;
mod random;
mod rw;
mod waiting;

use differences::{DIFFERENCES, Difference};
use fields::Pair;
use random::Random;

/// The name of io-uring's builder, and one operation of each crate.
type Case = (&'static str, fn(&mut Random) -> Pair);

/// Pairs of each case.
const ROUNDS: u64 = 1000;

/// Runs the expression with the same file in the types of both crates: a descriptor, or a
/// fixed file. io-uring's two types have a trait in common that cannot be named.
macro_rules! on_file {
    ($random:ident, |$ours:ident, $theirs:ident| $pair:expr) => {
        if $random.bool() {
            let fd = $random.fd();
            let ($ours, $theirs) = (crate::random::borrowed(fd), io_uring::types::Fd(fd));
            $pair
        } else {
            let index = $random.u32();
            let ($ours, $theirs) = (ringway::prep::Fixed(index), io_uring::types::Fixed(index));
            $pair
        }
    };
}
pub(crate) use on_file;

fn cases() -> impl Iterator<Item = Case> {
    let groups = [
        &rw::CASES[..],
        &files::CASES,
        &net::CASES,
        &waiting::CASES,
        &commands::CASES,
    ];
    groups.into_iter().flatten().copied()
}

#[test]
fn every_sqe_is_what_io_uring_builds() {
    let mut wrong: BTreeMap<(&str, &str), String> = BTreeMap::new();
    let mut met = BTreeSet::new();
    for (operation, case) in cases() {
        let random = &mut Random::new(name_as_seed(operation));
        for round in 0..ROUNDS {
            for unlike in case(random).carry(random).unlike() {
                let is_meant = |difference: &Difference| {
                    (difference.operation, difference.field) == (operation, unlike.field)
                        && (difference.is_meant)(unlike.ours, unlike.theirs)
                };
                match DIFFERENCES.iter().position(is_meant) {
                    Some(row) => drop(met.insert(row)),
                    None => {
                        let what = format!(
                            "{operation}, {}: ringway {:#x}, io-uring {:#x} (round {round})",
                            unlike.field, unlike.ours, unlike.theirs
                        );
                        wrong.entry((operation, unlike.field)).or_insert(what);
                    }
                }
            }
        }
    }
    let wrong: Vec<String> = wrong.into_values().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (row, listed) in DIFFERENCES.iter().enumerate() {
        let is_met = met.contains(&row);
        let (operation, field) = (listed.operation, listed.field);
        assert!(
            is_met,
            "{operation}, {field}: the same, but {}",
            listed.reason
        );
    }
}

/// So that each case has arguments of its own, whatever cases there are besides.
fn name_as_seed(name: &str) -> u64 {
    let add = |seed: u64, byte| seed.rotate_left(5) ^ u64::from(byte);
    name.bytes().fold(0, add)
}

#[test]
fn every_opcode_of_io_uring_is_compared() {
    // Version 0.7.15 has 74 builders, for the opcodes up to PIPE.
    let names: BTreeSet<&str> = cases().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 74);
    let random = &mut Random::new(0);
    let compared: BTreeSet<u32> = cases().map(|(_, case)| case(random).opcode()).collect();
    assert_eq!(compared, (0..63).collect());
}
