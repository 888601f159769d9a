//! The kernel ABI as data: constants, structures, no logic.
//!
//! Names are the header's (`linux/io_uring.h`) without `IORING_` and without the
//! prefix that the module says already; each value is checked against
//! `uapi.tsv` in `tests/abi`.
#![allow(
    dead_code,
    unused_imports,
    reason = "families are listed whole, whatever part of them is used"
)]

mod cqe;
mod flags;
pub mod op;
mod op_flags;
pub mod register;
mod register_flags;
mod register_structs;
mod sqe;
mod structs;

pub use cqe::{Cqe, Cqe32};
pub(crate) use flags::*;
pub(crate) use op_flags::*;
pub(crate) use register_flags::*;
pub(crate) use register_structs::*;
pub use sqe::Sqe;
pub(crate) use structs::*;
