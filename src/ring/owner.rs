//! Who has a ring, as its slots know it: what one thread does without locked instructions is
//! told apart when the program is compiled.

use super::Ring;

/// [`Ring`], which threads share, or `Local`, which belongs to one. Sealed.
pub trait Owner: sealed::Sealed {
    /// All users are one thread (rule L1).
    #[doc(hidden)]
    const IS_LOCAL: bool;
}

impl Owner for Ring {
    const IS_LOCAL: bool = false;
}

#[cfg(not(ringway_loom))]
impl Owner for super::Local {
    const IS_LOCAL: bool = true;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Ring {}
    #[cfg(not(ringway_loom))]
    impl Sealed for crate::Local {}
}
