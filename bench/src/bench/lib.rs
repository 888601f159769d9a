//! Ringway and what its users would pick instead, side by side.
#![allow(missing_docs, reason = "its own programs are all that uses it")]
#![allow(
    clippy::disallowed_types,
    reason = "the peers' and the bench's own; no model runs them"
)]

#[cfg(test)]
mod broken;
pub mod ceiling;
pub mod cells;
pub mod design;
pub mod enter;
pub mod goals;
pub mod load;
pub mod machine;
pub mod op;
pub mod outcomes;
pub mod peers;
pub mod plot;
pub mod report;
pub mod rounds;
pub mod stats;
pub mod verdicts;
