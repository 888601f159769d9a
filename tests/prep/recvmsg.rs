//! Receiving messages.
