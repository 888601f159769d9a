//! The submission queue entry.

/// A submission queue entry: one operation, as the kernel reads it.
///
/// The fields have the meaning that the operation gives them; the `prep_*`
/// methods write all 64 bytes, so nothing of an earlier operation is left.
/// See `io_uring_enter(2)`. The default is a NOP.
///
/// Not `Clone`: what an unsafe prep promised holds for one execution.
///
/// ```compile_fail
/// # let ring = ringway::Ring::builder(8).build().unwrap();
/// # let sq = ring.sq();
/// let slot = sq.pop().unwrap();
/// let copy: ringway::Sqe = *slot;
/// ```
#[repr(C, align(8))]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sqe {
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) ioprio: u16,
    pub(crate) fd: i32,
    pub(crate) off: u64,
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) op_flags: u32,
    pub(crate) user_data: u64,
    pub(crate) buf_index: u16,
    pub(crate) personality: u16,
    pub(crate) file_index: u32,
    pub(crate) addr3: u64,
    pub(crate) pad2: u64,
}
