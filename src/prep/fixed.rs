//! The ring's table of registered files.
