//! Each registration on the real kernel: what it changes, and how it fails.

use ringway::Ring;

#[path = "../child/mod.rs"]
mod child;
mod files;

fn ring() -> Ring {
    Ring::builder(16)
        .build()
        .unwrap_or_else(|refused| panic!("{refused}"))
}
