//! Buffers that the kernel picks from, provided by operations.
