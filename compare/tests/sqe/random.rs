//! Arguments by chance, the same in every run.

use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;

use io_uring::types;
use ringway::prep::{Dir, Direct, Fixed};

/// splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Of any width, and at the ends more often than by chance.
    pub fn u64(&mut self) -> u64 {
        match self.next() % 16 {
            0 => 0,
            1 => u64::MAX,
            2..8 => self.next() >> (self.next() % 64),
            _ => self.next(),
        }
    }

    pub fn u32(&mut self) -> u32 {
        self.u64() as u32
    }

    pub fn u16(&mut self) -> u16 {
        self.u64() as u16
    }

    pub fn u8(&mut self) -> u8 {
        self.u64() as u8
    }

    pub fn i32(&mut self) -> i32 {
        self.u64() as i32
    }

    pub fn bool(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub fn option<T>(&mut self, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| some(self))
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        [(); N].map(|()| self.u8())
    }

    /// One that nobody follows.
    pub fn pointer<T>(&mut self) -> *mut T {
        ptr::without_provenance_mut(self.u64() as usize)
    }

    /// A number that stands for a descriptor: -1 and AT_FDCWD have types of their own.
    pub fn fd(&mut self) -> RawFd {
        self.i32() & i32::MAX
    }

    /// A directory in both crates' types.
    pub fn dir(&mut self) -> (Dir<'static>, types::Fd) {
        if self.bool() {
            return (Dir::CWD, types::Fd(libc::AT_FDCWD));
        }
        let fd = self.fd();
        (borrowed(fd).into(), types::Fd(fd))
    }

    /// The index of a fixed file, for a field that holds one more: ringway takes larger ones
    /// for the same, since no table is so large.
    pub fn index(&mut self) -> u32 {
        self.u32() >> 1
    }

    /// A place for a new file.
    pub fn place(&mut self) -> (Direct, types::DestinationSlot) {
        if self.bool() {
            return (Direct::ALLOC, types::DestinationSlot::auto_target());
        }
        let index = self.index();
        let theirs = types::DestinationSlot::try_from_slot_target(index);
        (Direct::at(Fixed(index)), theirs.expect("a small index"))
    }

    /// A place for files in the table, or the kernel's choice of it.
    pub fn places(&mut self) -> (Direct, i32) {
        if self.bool() {
            return (Direct::ALLOC, -1);
        }
        let index = self.index();
        (Direct::at(Fixed(index)), index.cast_signed())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The number as a descriptor that is only named.
pub fn borrowed(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: no SQE of this test is submitted, so nobody uses the file; -1 is not given.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
