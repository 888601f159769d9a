//! The three system calls, and the error numbers they answer with.

use std::fmt;
use std::io;

#[cfg(not(ringway_loom))]
pub(crate) use calls::{io_uring_enter, io_uring_register, io_uring_setup};

/// An error number of the kernel, as in `errno(3)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The positive number, such as `libc::EAGAIN`. Any value is accepted; the
    /// kernel's are 1 to 4095.
    pub const fn from_raw(errno: i32) -> Self {
        Self(errno)
    }

    /// What libc left in `errno` for this thread.
    #[cfg(not(ringway_loom))]
    pub(crate) fn last() -> Self {
        // The last OS error is never without a number.
        Self(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The header's name, such as `"EAGAIN"`.
    pub fn name(self) -> Option<&'static str> {
        name(self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0);
        match self.name() {
            Some(name) => write!(f, "{name}: {text}"),
            None => write!(f, "{text}"),
        }
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        io::Error::from_raw_os_error(errno.0)
    }
}

#[cfg(not(ringway_loom))]
mod calls {
    use std::ffi::c_void;

    use super::Errno;
    use crate::abi;

    /// What `libc::syscall` returned, with its `errno`.
    fn checked(ret: libc::c_long) -> Result<i32, Errno> {
        if ret == -1 {
            return Err(Errno::last());
        }
        // The three calls answer with an `int`.
        Ok(ret as i32)
    }

    /// Makes a ring: `io_uring_setup(2)`. Answers with a new fd, or with the index
    /// of a registered ring under `REGISTERED_FD_ONLY`.
    pub(crate) fn io_uring_setup(entries: u32, params: &mut abi::Params) -> Result<i32, Errno> {
        // SAFETY: the kernel reads and writes one `struct io_uring_params`, which
        // the reference gives it; addresses inside are checked by the kernel.
        checked(unsafe {
            libc::syscall(
                libc::SYS_io_uring_setup,
                entries,
                std::ptr::from_mut(params),
            )
        })
    }

    /// Submits and waits: `io_uring_enter(2)`. Inline, so that a submission costs
    /// no call through libc and no `errno`.
    ///
    /// # Safety
    /// `arg` and `size` are what `flags` say they are, and valid for reads during
    /// the call. What the SQEs that this submits point to is valid until their
    /// completion.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline(always)]
    pub(crate) unsafe fn io_uring_enter(
        fd: i32,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        arg: *const c_void,
        size: usize,
    ) -> Result<u32, Errno> {
        let ret: isize;
        // SAFETY: the system call's register convention; the kernel keeps all
        // registers but those named, and the stack. Memory is not promised
        // unchanged: the kernel writes to the rings.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") libc::SYS_io_uring_enter as isize => ret,
                in("rdi") fd as isize,
                in("rsi") to_submit as usize,
                in("rdx") min_complete as usize,
                in("r10") flags as usize,
                in("r8") arg,
                in("r9") size,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            std::arch::asm!(
                "svc 0",
                in("x8") libc::SYS_io_uring_enter as isize,
                inlateout("x0") fd as isize => ret,
                in("x1") to_submit as usize,
                in("x2") min_complete as usize,
                in("x3") flags as usize,
                in("x4") arg,
                in("x5") size,
                options(nostack),
            );
        }
        if ret < 0 {
            std::hint::cold_path();
            return Err(Errno(ret.wrapping_neg() as i32));
        }
        Ok(ret as u32)
    }

    /// Submits and waits: `io_uring_enter(2)`.
    ///
    /// # Safety
    /// `arg` and `size` are what `flags` say they are, and valid for reads during
    /// the call. What the SQEs that this submits point to is valid until their
    /// completion.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[inline(always)]
    pub(crate) unsafe fn io_uring_enter(
        fd: i32,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        arg: *const c_void,
        size: usize,
    ) -> Result<u32, Errno> {
        // SAFETY: the caller's promise, passed on.
        checked(unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                fd,
                to_submit,
                min_complete,
                flags,
                arg,
                size,
            )
        })
        .map(|n| n as u32)
    }

    /// Tells the ring about resources: `io_uring_register(2)`.
    ///
    /// # Safety
    /// `arg` and `nr` are what `op` says they are, valid for the kernel's reads and
    /// writes for as long as `op` says.
    pub(crate) unsafe fn io_uring_register(
        fd: i32,
        op: u32,
        arg: *mut c_void,
        nr: u32,
    ) -> Result<u32, Errno> {
        // SAFETY: the caller's promise, passed on.
        checked(unsafe { libc::syscall(libc::SYS_io_uring_register, fd, op, arg, nr) })
            .map(|n| n as u32)
    }
}

/// Spells each name once, so that name and number cannot disagree.
macro_rules! names {
    ($($errno:ident)*) => {
        fn name(errno: i32) -> Option<&'static str> {
            Some(match errno {
                $(libc::$errno => stringify!($errno),)*
                _ => return None,
            })
        }
    };
}

names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
    ELOOP ENOMSG EIDRM EBADE EBADR EXFULL ENOSTR ENODATA ETIME ENOSR EREMOTE ENOLINK ECOMM EPROTO
    EMULTIHOP EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG EILSEQ ERESTART EUSERS ENOTSOCK
    EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
    EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
    ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
    ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN EDQUOT ENOMEDIUM
    EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD
    ENOTRECOVERABLE ERFKILL EHWPOISON
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_says_its_name_and_its_meaning() {
        let again = Errno::from_raw(libc::EAGAIN);
        assert_eq!(format!("{again:?}"), "EAGAIN");
        assert!(again.to_string().starts_with("EAGAIN: Resource temp"));
        assert_eq!(io::Error::from(again).kind(), io::ErrorKind::WouldBlock);
        let unknown = Errno::from_raw(4000);
        assert_eq!(format!("{unknown:?}"), "Errno(4000)");
        assert!(unknown.to_string().contains("4000"));
    }

    #[cfg(not(ringway_loom))]
    #[test]
    fn each_call_returns_the_kernels_error() {
        let mut params = crate::abi::Params::default();
        let refused = io_uring_setup(0, &mut params);
        assert_eq!(refused, Err(Errno(libc::EINVAL)));
        // SAFETY: nothing is open under the largest number, so nothing is read or
        // written.
        unsafe {
            let entered = io_uring_enter(i32::MAX, 0, 0, 0, std::ptr::null(), 0);
            assert_eq!(entered, Err(Errno(libc::EBADF)));
            let registered = io_uring_register(i32::MAX, 0, std::ptr::null_mut(), 0);
            assert_eq!(registered, Err(Errno(libc::EBADF)));
        }
    }
}
