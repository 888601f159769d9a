//! Which pieces of the source are read, and in which order.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The most that one operation moves, in bytes.
pub const CHUNK: usize = 128 << 10;

/// What is still to be read. All numbers are positions in the source, in bytes.
pub struct Plan {
    next: u64,
    /// Where the data that `next` lies in ends, and a hole may begin.
    data_end: u64,
    /// The length of the source, as far as it is known.
    end: u64,
}

impl Plan {
    pub fn of_file(len: u64) -> Self {
        Self {
            next: 0,
            data_end: 0,
            end: len,
        }
    }

    /// Data without positions: no holes, and an end that only a read can find.
    pub fn of_stream() -> Self {
        Self {
            next: 0,
            data_end: u64::MAX,
            end: u64::MAX,
        }
    }

    /// The length that the copy must have.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// There is nothing to read from here on.
    pub fn end_at(&mut self, end: u64) {
        self.end = self.end.min(end);
    }

    /// The last piece went only so far.
    pub fn resume_at(&mut self, next: u64) {
        self.next = next;
    }

    /// The next piece: where, and how long.
    pub fn next(&mut self, source: &File) -> Option<(u64, usize)> {
        if self.data_end <= self.next && self.next < self.end {
            self.skip_hole(source);
        }
        let at = self.next;
        let left = self.data_end.min(self.end).saturating_sub(at);
        let len = left.min(CHUNK as u64);
        self.next += len;
        (len > 0).then_some((at, len as usize))
    }

    fn skip_hole(&mut self, source: &File) {
        match seek(source, self.next, libc::SEEK_DATA) {
            Ok(data) => {
                self.next = data;
                self.data_end = seek(source, data, libc::SEEK_HOLE).unwrap_or(self.end);
            }
            // Nothing but a hole up to the end, which may have moved.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                self.end_at(seek(source, 0, libc::SEEK_END).unwrap_or(self.end));
                self.next = self.end;
            }
            // A file that knows no holes.
            Err(_) => self.data_end = self.end,
        }
    }
}

/// lseek(2). It moves the position of the file, which reads at an offset do not use.
fn seek(file: &File, from: u64, whence: i32) -> io::Result<u64> {
    // SAFETY: the call takes numbers only.
    let at = unsafe { libc::lseek64(file.as_raw_fd(), from.cast_signed(), whence) };
    u64::try_from(at).map_err(|_| io::Error::last_os_error())
}
