//! The table of registered files.

use std::os::fd::AsFd;

use super::child::tried;
use super::*;

#[test]
fn there_is_one_table() {
    let ring = ring();
    let (reader, _writer) = std::io::pipe().unwrap();
    let files = [None, Some(reader.as_fd())];
    assert_eq!(ring.registrar().register_files(&files), Ok(()));
    let again = ring.registrar().register_files(&files);
    assert_eq!(again.map_err(|errno| errno.raw()), Err(libc::EBUSY));
    tried("REGISTER_FILES");
}
