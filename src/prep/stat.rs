//! The metadata of files.
