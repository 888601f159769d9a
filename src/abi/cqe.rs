//! The completion queue entry.

use super::cqe_flags;
use crate::syscall::Errno;
use std::os::fd::{FromRawFd, OwnedFd};

/// A completion queue entry, copied out of the ring.
///
/// The flags mean something only for the operations that set them; for the
/// others they are clear. See `io_uring(7)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cqe {
    pub(crate) user_data: u64,
    pub(crate) res: i32,
    pub(crate) flags: u32,
}

impl Cqe {
    /// The `user_data` of the SQE that this completes.
    #[inline]
    pub fn user_data(&self) -> u64 {
        self.user_data
    }

    /// What the operation came to, as the system call of the same name would
    /// say it: a count, a file descriptor, or the error.
    ///
    /// # Errors
    /// `res` is negative.
    #[inline]
    pub fn result(&self) -> Result<u32, Errno> {
        u32::try_from(self.res).map_err(|_| Errno::from_raw(self.res.wrapping_neg()))
    }

    /// The descriptor that the operation made: of an open, an accept, a socket.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    ///
    /// # Safety
    /// This completes an operation whose result is a new descriptor, not a direct slot's
    /// index nor a number; and nobody has taken the descriptor from another copy of this
    /// CQE.
    pub unsafe fn result_fd(&self) -> Result<OwnedFd, Errno> {
        let fd = self.result()?.cast_signed();
        // SAFETY: the caller says that the kernel made it for this operation, and that
        // nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The result as the kernel wrote it: negative for `-errno`, but for messages
    /// ([`prep_msg_ring`](crate::Sqe::prep_msg_ring)) and NOPs with an
    /// [injected result](crate::prep::Nop::inject_result), where it is any number that
    /// the sender chose.
    #[inline]
    pub fn res(&self) -> i32 {
        self.res
    }

    /// All flags, the buffer id included.
    #[inline]
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether the same SQE will post further CQEs (`CQE_F_MORE`): multishot, or
    /// zero-copy with its notification to come.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.flags & cqe_flags::MORE != 0
    }

    /// The provided buffer that the kernel picked (`CQE_F_BUFFER`).
    #[inline]
    pub fn buffer_id(&self) -> Option<u16> {
        (self.flags & cqe_flags::BUFFER != 0)
            .then_some((self.flags >> cqe_flags::BUFFER_SHIFT) as u16)
    }

    /// Whether this is the second CQE of a zero-copy send: the buffer is free
    /// again (`CQE_F_NOTIF`, Linux 6.0).
    #[inline]
    pub fn is_notif(&self) -> bool {
        self.flags & cqe_flags::NOTIF != 0
    }

    /// Whether the socket has more to read (`CQE_F_SOCK_NONEMPTY`, Linux 5.19).
    #[inline]
    pub fn sock_nonempty(&self) -> bool {
        self.flags & cqe_flags::SOCK_NONEMPTY != 0
    }

    /// Whether the kernel will go on filling the same provided buffer
    /// (`CQE_F_BUF_MORE`, Linux 6.12).
    #[inline]
    pub fn buffer_more(&self) -> bool {
        self.flags & cqe_flags::BUF_MORE != 0
    }
}

/// A completion queue entry of 32 bytes, copied out of a ring with `CQE32` or
/// `CQE_MIXED`.
///
/// On a mixed ring a 16-byte entry is handed out in this type too, with `extra`
/// zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cqe32 {
    pub(crate) cqe: Cqe,
    pub(crate) extra: [u64; 2],
}

impl Cqe32 {
    /// The first 16 bytes.
    #[inline]
    pub fn cqe(&self) -> &Cqe {
        &self.cqe
    }

    /// Whether a ring of mixed sizes holds it with 32 bytes (`CQE_F_32`, Linux 6.18); on a
    /// ring with `CQE32` all have them, without the flag.
    #[inline]
    pub fn is_big(&self) -> bool {
        self.cqe.flags & cqe_flags::BIG != 0
    }

    /// The second 16 bytes; their meaning is the operation's.
    #[inline]
    pub fn extra(&self) -> [u64; 2] {
        self.extra
    }

    /// The `user_data` of the SQE that this completes.
    #[inline]
    pub fn user_data(&self) -> u64 {
        self.cqe.user_data
    }

    /// What the operation came to; see [`Cqe::result`].
    ///
    /// # Errors
    /// `res` is negative.
    #[inline]
    pub fn result(&self) -> Result<u32, Errno> {
        self.cqe.result()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cqe(res: i32, flags: u32) -> Cqe {
        Cqe {
            user_data: u64::MAX - 1,
            res,
            flags,
        }
    }

    #[test]
    fn result_keeps_the_sign() {
        assert_eq!(cqe(0, 0).result(), Ok(0));
        assert_eq!(cqe(i32::MAX, 0).result(), Ok(i32::MAX as u32));
        assert_eq!(
            cqe(-libc::ENOENT, 0).result(),
            Err(Errno::from_raw(libc::ENOENT))
        );
        // No kernel answers this; it must not overflow.
        assert_eq!(cqe(i32::MIN, 0).result(), Err(Errno::from_raw(i32::MIN)));
        assert_eq!(cqe(-libc::EIO, 0).res(), -libc::EIO);
    }

    #[test]
    fn each_flag_is_its_own() {
        let read = |flags| {
            let c = cqe(0, flags);
            [
                c.buffer_id().is_some(),
                c.has_more(),
                c.sock_nonempty(),
                c.is_notif(),
                c.buffer_more(),
            ]
        };
        for bit in 0..5 {
            let mut only = [false; 5];
            only[bit] = true;
            assert_eq!(read(1 << bit), only);
        }
        assert_eq!(read(!0x1f), [false; 5]);
    }

    #[test]
    fn buffer_id_is_the_upper_half() {
        assert_eq!(cqe(0, 0xffff_0001).buffer_id(), Some(0xffff));
        assert_eq!(cqe(0, 0x0007_801f).buffer_id(), Some(7));
        assert_eq!(cqe(0, 0xffff_0000).buffer_id(), None);
    }

    #[test]
    fn the_wide_entry_reads_as_the_narrow_one() {
        let wide = Cqe32 {
            cqe: cqe(-libc::EPERM, cqe_flags::MORE),
            extra: [3, 4],
        };
        assert_eq!(wide.user_data(), u64::MAX - 1);
        assert_eq!(wide.result(), Err(Errno::from_raw(libc::EPERM)));
        assert!(wide.cqe().has_more());
        assert_eq!(wide.extra(), [3, 4]);
        assert!(!wide.is_big());
        let cqe = cqe(0, cqe_flags::BIG);
        assert!(Cqe32 { cqe, extra: [0, 0] }.is_big());
    }
}
