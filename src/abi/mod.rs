//! The kernel ABI as data: constants, structures, no logic.
//!
//! Names are the header's (`linux/io_uring.h`) without `IORING_` and without the
//! prefix that the module says already; each value is checked against
//! `uapi.tsv` in `tests/abi.rs`.
#![allow(
    dead_code,
    reason = "families are listed whole, whatever part of them is used"
)]

mod cqe;
mod flags;
pub(crate) mod op;
pub(crate) mod register;
mod sqe;
mod structs;

pub use cqe::{Cqe, Cqe32};
pub(crate) use flags::*;
pub use sqe::Sqe;
pub(crate) use structs::*;
