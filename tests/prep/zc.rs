//! Sending without a copy.
