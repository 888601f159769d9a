//! An operation that starts when the test says so.

use std::io::{self, PipeReader, PipeWriter, Write};

use super::*;

/// What an operation waits for: a read of a pipe that it is linked to.
#[must_use]
pub struct Gate {
    _reader: PipeReader,
    writer: PipeWriter,
}

/// Prepares an operation and submits it. The kernel has consumed the SQE on return, and
/// has not started the operation.
pub fn held(ring: &Ring, prep: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe) -> Gate {
    let (reader, writer) = io::pipe().unwrap();
    let buf = memory::<1>();
    push(ring, |sqe| {
        // SAFETY: the memory stays, the gate keeps the pipe open until the CQE.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }.link()
    });
    start(ring, prep);
    assert_idle(ring);
    Gate {
        _reader: reader,
        writer,
    }
}

impl Gate {
    /// Starts the operation, and waits for its result.
    #[track_caller]
    pub fn open(mut self, ring: &Ring) -> Result<u32, i32> {
        self.writer.write_all(b"!").unwrap();
        assert_eq!(result(next(ring)), Ok(1));
        result(next(ring))
    }

    /// Lets the operation never start: a read of nothing breaks the chain.
    #[track_caller]
    pub fn cancel(self, ring: &Ring) {
        drop(self.writer);
        assert_eq!(result(next(ring)), Ok(0));
        assert_eq!(result(next(ring)), Err(libc::ECANCELED));
    }
}
