//! Each registration on the real kernel: what it changes, and how it fails.

use ringway::{Errno, Ring};

mod bpf;
mod buf_ring;
mod buffers;
mod cancel;
#[path = "../child/mod.rs"]
mod child;
mod clock;
mod eventfd;
mod files;
mod iowq;
mod msg;
mod napi;
mod op;
#[path = "../child/ops.rs"]
mod ops;
mod personality;
mod query;
mod region;
mod restrictions;
mod ring_fd;
mod threads;
mod zcrx;

use ops::ring;

/// Errors as numbers.
fn raw<T>(done: Result<T, Errno>) -> Result<T, i32> {
    done.map_err(|errno| errno.raw())
}
