//! Each registration on the real kernel: what it changes, and how it fails.

use ringway::Ring;

#[path = "../child/mod.rs"]
mod child;
mod clock;
mod files;
mod region;
mod ring_fd;

fn ring() -> Ring {
    Ring::builder(16)
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}
