//! Holds every constant and structure of `src/abi` against `uapi.tsv`, the facts
//! of the kernel's header.
//!
//! Most constants are private, so this compiles the module itself. Their values are
//! read from the source text: that way a constant cannot be left out of the check.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

#[path = "../../src/abi/mod.rs"]
mod abi;
mod structs;
#[path = "../../src/syscall.rs"]
#[allow(dead_code, reason = "abi needs its Errno only")]
mod syscall;

/// `uapi.tsv` as it is.
struct Facts {
    consts: BTreeMap<&'static str, u64>,
    /// Size and alignment.
    structs: BTreeMap<&'static str, (usize, usize)>,
    fields: BTreeMap<(&'static str, &'static str), Range<usize>>,
}

impl Facts {
    fn read() -> Self {
        let mut facts = Facts {
            consts: BTreeMap::new(),
            structs: BTreeMap::new(),
            fields: BTreeMap::new(),
        };
        let lines = concat!(
            include_str!("../uapi.tsv"),
            include_str!("../uapi-kernel.tsv")
        )
        .lines();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let number = |index: usize| number(columns[index]).expect(line);
            let size = |index| number(index) as usize;
            match columns[0] {
                "const" => {
                    facts.consts.insert(columns[1], number(2));
                }
                "size" => {
                    facts.structs.insert(columns[1], (size(3), size(4)));
                }
                "field" => {
                    let span = size(3)..size(3) + size(4);
                    facts.fields.insert((columns[1], columns[2]), span);
                }
                other => panic!("a line of an unknown kind: {other}"),
            }
        }
        facts
    }
}

/// `12`, `-2`, `0xc` or `1 << 3`.
fn number(text: &str) -> Option<u64> {
    if let Some(positive) = text.strip_prefix('-') {
        return Some(number(positive)?.wrapping_neg());
    }
    if let Some((left, right)) = text.split_once(" << ") {
        return Some(number(left)? << number(right)?);
    }
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A constant in a source text.
struct Constant {
    /// What the documentation of its module says the header's names begin with.
    prefixes: Vec<&'static str>,
    name: &'static str,
    value: u64,
}

/// Every constant in a source text.
fn constants(source: &'static str) -> Vec<Constant> {
    let (mut prefixes, mut block) = (Vec::new(), Vec::new());
    let mut found = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("//!").or(line.strip_prefix("///")) {
            let quoted = doc.split('`').skip(1).step_by(2);
            block.extend(quoted.filter_map(|name| name.strip_suffix('*')));
            continue;
        }
        if !block.is_empty() {
            prefixes = std::mem::take(&mut block);
        }
        let public = line.strip_prefix("pub const ");
        if let Some(constant) = public.or(line.strip_prefix("pub(crate) const ")) {
            let (name, value) = constant.split_once(": ").expect(line);
            let (_type, value) = value.split_once(" = ").expect(line);
            found.push(Constant {
                prefixes: prefixes.clone(),
                name,
                value: value.strip_suffix(';').and_then(number).expect(line),
            });
        }
    }
    assert_eq!(found.len(), source.matches("const ").count());
    found
}

fn all_constants() -> Vec<Constant> {
    [
        include_str!("../../src/abi/op.rs"),
        include_str!("../../src/abi/flags.rs"),
        include_str!("../../src/abi/op_flags.rs"),
        include_str!("../../src/abi/register.rs"),
        include_str!("../../src/abi/register_flags.rs"),
    ]
    .into_iter()
    .flat_map(constants)
    .collect()
}

/// The header's name: one of the prefixes of the module, such as `IORING_OP_*` in its
/// documentation, before ours.
fn header_name(facts: &Facts, constant: &Constant) -> String {
    let Constant { prefixes, name, .. } = constant;
    match (prefixes[0], *name) {
        ("IORING_CQE_F_", "BIG") => return "IORING_CQE_F_32".into(),
        ("IORING_TIMEOUT_", "LINK_UPDATE") => return "IORING_LINK_TIMEOUT_UPDATE".into(),
        _ => {}
    }
    let mut names = prefixes.iter().map(|prefix| format!("{prefix}{name}"));
    let found = names.find(|name| facts.consts.contains_key(name.as_str()));
    found.unwrap_or_else(|| panic!("{prefixes:?}{name} is not in the facts"))
}

#[test]
fn every_constant_has_the_headers_value() {
    let facts = Facts::read();
    for constant in all_constants() {
        let header = header_name(&facts, &constant);
        assert_eq!(constant.value, facts.consts[header.as_str()], "{header}");
    }
}

/// What the header counts with, and masks of families that are listed whole.
const NOT_OURS: [&str; 5] = ["_LAST", "_BIT", "_MAX", "CLOCK_MASK", "UPDATE_MASK"];

#[test]
fn no_constant_is_missing() {
    let facts = Facts::read();
    let ours: BTreeSet<String> = all_constants()
        .iter()
        .map(|constant| header_name(&facts, constant))
        .collect();
    let theirs = facts.consts.keys().copied();
    let missing: Vec<&str> = theirs
        .filter(|name| !NOT_OURS.iter().any(|end| name.ends_with(end)))
        .filter(|name| !ours.contains(*name))
        .collect();
    assert_eq!(missing, [""; 0]);
}
