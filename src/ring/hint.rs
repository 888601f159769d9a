//! Hints to the CPU's cache. They change nothing but how long a later access takes: a line
//! that another CPU wrote is 100 ns away, and several are fetched in the time of one.

/// The line at `at` will be read soon.
#[inline(always)]
pub(super) fn will_read<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(ringway_loom)))]
    // SAFETY: a prefetch accesses no memory that a program could tell, and cannot fault.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) at.addr(), options(nomem, nostack, preserves_flags));
    }
    let _ = at;
}

/// The line at `at` will be written soon.
#[inline(always)]
pub(super) fn will_write<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(ringway_loom)))]
    // SAFETY: as in `will_read`; a CPU of this architecture without the instruction takes it
    // for a NOP.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at.addr(), options(nomem, nostack, preserves_flags));
    }
    let _ = at;
}
