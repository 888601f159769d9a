//! What the `cp` example copies is byte-exact, and what it cannot copy leaves nothing
//! behind.

#[path = "../child/built.rs"]
mod built;
#[path = "../child/mod.rs"]
mod child;
mod copies;
mod folder;
mod refusals;
mod steps;

#[path = "../../examples/cp/crew.rs"]
#[allow(dead_code, reason = "runs as a whole, in the program")]
mod crew;
#[path = "../../examples/cp/op.rs"]
#[allow(dead_code, reason = "opening and closing too")]
mod op;
#[path = "../../examples/cp/plan.rs"]
#[allow(dead_code, reason = "and what has no positions")]
mod plan;
