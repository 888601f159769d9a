//! Moving data between pipes and files, and making pipes.

use std::os::fd::RawFd;

use super::{Direct, Fixed, Target, address};
use crate::abi::{self, Sqe, op, sqe_flags};
use crate::flags::flags;

flags! {
    /// Flags of [`Sqe::prep_splice`] and [`Sqe::prep_tee`] (`SPLICE_F_*`). See `splice(2)`.
    SpliceFlags: u32 {
        /// Moves pages instead of copying them, where that is possible.
        MOVE = libc::SPLICE_F_MOVE,
        /// Ends in `EAGAIN` instead of waiting for a pipe.
        NONBLOCK = libc::SPLICE_F_NONBLOCK,
        /// More will follow: a socket may wait for it before it sends.
        MORE = libc::SPLICE_F_MORE,
    }
}

impl Sqe {
    /// Moves up to `len` bytes from one file to another, one of which is a pipe.
    ///
    /// Offsets are in bytes; [`CURRENT_POSITION`](super::CURRENT_POSITION) for the file's
    /// own position, and always for a pipe, where any other number ends in `ESPIPE`. One
    /// CQE: `res` is the number of bytes moved, which may be less than `len` and then
    /// breaks a chain; 0 is the end of the file, or a pipe that has no writer any more.
    /// `EINVAL` when neither is a pipe, or when the other cannot be spliced. A worker
    /// thread of the kernel does it, and waits inside. Linux 5.7;
    /// `io_uring_prep_splice(3)`, `splice(2)`.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use ringway::{Ring, prep::{CURRENT_POSITION, SpliceFlags}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let ring = Ring::builder(8).build()?;
    /// let (sq, cq) = (ring.sq(), ring.cq());
    /// let (reader, mut writer) = std::io::pipe()?;
    /// let file = tempfile::NamedTempFile::new()?;
    /// writer.write_all(b"data")?;
    ///
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// let flags = SpliceFlags::NONE;
    /// // SAFETY: the pipe and the file stay open until the CQE.
    /// unsafe { slot.prep_splice(&reader, CURRENT_POSITION, &file, 2, 4, flags) };
    /// slot.push();
    /// ring.submit()?;
    ///
    /// let cqe = cq.wait_one(None)?.expect("waited without a limit");
    /// assert_eq!(cqe.result()?, 4);
    /// assert_eq!(std::fs::read(&file)?, b"\0\0data");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// Both files stay open until the CQE.
    #[inline]
    pub unsafe fn prep_splice<'from, 'to>(
        &mut self,
        from: impl Into<Target<'from>>,
        from_offset: u64,
        to: impl Into<Target<'to>>,
        to_offset: u64,
        len: u32,
        flags: SpliceFlags,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            off: to_offset,
            addr: from_offset,
            ..splice(op::SPLICE, from.into(), to.into(), len, flags)
        })
    }

    /// Copies up to `len` bytes from one pipe to another; they stay in the first.
    ///
    /// One CQE: `res` is the number of bytes copied, which may be less than `len` and then
    /// breaks a chain; 0 when the first pipe is empty and has no writer any more. `EINVAL`
    /// when one is no pipe. A worker thread of the kernel does it, and waits inside.
    /// Linux 5.8; `io_uring_prep_tee(3)`, `tee(2)`.
    ///
    /// # Safety
    /// Both pipes stay open until the CQE.
    #[inline]
    pub unsafe fn prep_tee<'from, 'to>(
        &mut self,
        from: impl Into<Target<'from>>,
        to: impl Into<Target<'to>>,
        len: u32,
        flags: SpliceFlags,
    ) -> &mut Sqe {
        self.reset_to(splice(op::TEE, from.into(), to.into(), len, flags))
    }

    /// Makes a pipe.
    ///
    /// `flags` are of `O_CLOEXEC`, which is not implied, `O_NONBLOCK` and `O_DIRECT`. One
    /// CQE: `res` is 0, and `fds` has the descriptor to read from and the one to write to,
    /// which the caller owns. Linux 6.16; `io_uring_prep_pipe(3)`, `pipe2(2)`.
    ///
    /// # Safety
    /// `fds` must be valid for writes, and nobody else may access it, until the CQE.
    #[inline]
    pub unsafe fn prep_pipe(&mut self, fds: *mut [RawFd; 2], flags: i32) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::PIPE,
            addr: address(fds),
            op_flags: flags.cast_unsigned(),
            ..Sqe::default()
        })
    }

    /// As [`prep_pipe`](Sqe::prep_pipe), but both ends go to places in the table of
    /// registered files and get no descriptors.
    ///
    /// With [`Direct::ALLOC`] each end gets a free place, and `files` has the two. With
    /// [`Direct::at`] the end to read from goes there and the one to write to goes to the
    /// next place; files that were in them are replaced; rely on that, since some kernels
    /// before 7.0 write zeros to `files` instead of the two places. `O_CLOEXEC` ends in
    /// `EINVAL`. One CQE: `res` is 0; an error leaves neither end behind. Linux 6.16;
    /// `io_uring_prep_pipe_direct(3)`.
    ///
    /// # Safety
    /// `files` must be valid for writes, and nobody else may access it, until the CQE.
    #[inline]
    pub unsafe fn prep_pipe_direct(
        &mut self,
        files: *mut [Fixed; 2],
        flags: i32,
        place: Direct,
    ) -> &mut Sqe {
        self.reset_to(Sqe {
            opcode: op::PIPE,
            addr: address(files),
            op_flags: flags.cast_unsigned(),
            file_index: place.field(),
            ..Sqe::default()
        })
    }
}

#[inline(always)]
fn splice(opcode: u8, from: Target, to: Target, len: u32, flags: SpliceFlags) -> Sqe {
    // The flag of the SQE is about `to`; there is one of the operation's own about `from`.
    let from_fixed = if from.sqe_flags & sqe_flags::FIXED_FILE == 0 {
        0
    } else {
        abi::splice::FD_IN_FIXED
    };
    Sqe {
        len,
        op_flags: flags.0 | from_fixed,
        // The header's `splice_fd_in`.
        file_index: from.fd.cast_unsigned(),
        ..to.sqe(opcode)
    }
}
