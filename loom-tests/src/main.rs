//! Models of the shared ring. The code under test is the code that ships; only its
//! atomics are loom's and its kernel is the simulated one.
//!
//! `--list` prints the models and the edges that each is aimed at, `--edges` what
//! `RINGWAY_WEAKEN` may name, `--model NAME` runs one. `cargo xtask loom` and `cargo
//! xtask weaken` drive it.
#![allow(clippy::print_stdout, reason = "what it prints is its interface")]

#[cfg(ringway_loom)]
mod cq;
#[cfg(ringway_loom)]
mod harness;
#[cfg(ringway_loom)]
mod offload;
#[cfg(ringway_loom)]
mod pool;
#[cfg(ringway_loom)]
mod roles;
#[cfg(ringway_loom)]
mod sq;
#[cfg(ringway_loom)]
mod submit;
#[cfg(ringway_loom)]
mod wait;

#[cfg(ringway_loom)]
fn main() -> std::process::ExitCode {
    let families = [
        sq::MODELS,
        submit::MODELS,
        cq::MODELS,
        wait::MODELS,
        pool::MODELS,
        offload::MODELS,
        roles::MODELS,
    ];
    let models = families.concat();
    harness::main(&models)
}

#[cfg(not(ringway_loom))]
fn main() -> std::process::ExitCode {
    eprintln!("built without --cfg ringway_loom: use `cargo xtask loom`");
    std::process::ExitCode::from(2)
}
