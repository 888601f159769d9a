//! Each registration on the real kernel: what it changes, and how it fails.

use ringway::Ring;

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
mod ops;
mod personality;
mod query;
#[path = "../child/raw.rs"]
mod raw;
mod region;
mod restrictions;
mod ring_fd;
mod threads;
mod zcrx;

fn ring() -> Ring {
    Ring::builder(16)
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}
