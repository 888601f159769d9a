//! Directories: names of files.
