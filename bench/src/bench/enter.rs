//! Entering the kernel the same way for every peer that is made here.
//!
//! On some machines the first `ret` after the system call costs as much as the call: an
//! inlined one and one through libc are therefore different peers.

use std::os::fd::RawFd;

pub const GETEVENTS: u32 = 1;

/// `io_uring_enter(2)`; what the kernel took, or a negative error number.
#[inline(always)]
pub fn enter<const INLINE: bool>(
    ring: RawFd,
    to_submit: u32,
    min_complete: u32,
    flags: u32,
) -> i32 {
    if INLINE && cfg!(target_arch = "x86_64") {
        inline(ring, to_submit, min_complete, flags)
    } else {
        through_libc(ring, to_submit, min_complete, flags)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn inline(ring: RawFd, to_submit: u32, min_complete: u32, flags: u32) -> i32 {
    let ret: isize;
    // SAFETY: the system call's register convention; no argument is a pointer.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_io_uring_enter as isize => ret,
            in("rdi") ring as isize,
            in("rsi") to_submit as usize,
            in("rdx") min_complete as usize,
            in("r10") flags as usize,
            in("r8") 0usize,
            in("r9") 0usize,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    ret as i32
}

#[cfg(not(target_arch = "x86_64"))]
use through_libc as inline;

#[inline(always)]
fn through_libc(ring: RawFd, to_submit: u32, min_complete: u32, flags: u32) -> i32 {
    let null = std::ptr::null::<u8>();
    // SAFETY: no argument is a pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring,
            to_submit,
            min_complete,
            flags,
            null,
            0,
        )
    };
    if ret < 0 {
        // SAFETY: this thread's own errno.
        return -unsafe { *libc::__errno_location() };
    }
    ret as i32
}
