//! Calls on a simulated ring, from bytes, against the sequential model that
//! `tests/sim/main.rs` also uses: `cargo +nightly fuzz run ring`.
#![no_main]

#[path = "../../tests/model/mod.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| model::run(bytes));
