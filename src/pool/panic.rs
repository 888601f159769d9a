//! What the user's code throws.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) type Payload = Box<dyn Any + Send>;

/// Runs what is the user's. It is unwind safe as far as the pool goes, which shares nothing
/// with it but the driver; what the user's own parts share is theirs to keep whole.
pub(super) fn contained<R>(run: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(run))
}

/// Drops what is the user's, or what was thrown; if that throws, what it throws is leaked.
pub(super) fn dispose<T>(it: T) {
    if let Err(another) = contained(|| drop(it)) {
        std::mem::forget(another);
    }
}
