//! Each registration on the real kernel: what it changes, and how it fails.

use ringway::Ring;

mod buf_ring;
mod buffers;
#[path = "../child/mod.rs"]
mod child;
mod eventfd;
mod files;
mod op;
mod personality;

fn ring() -> Ring {
    Ring::builder(16)
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}
