//! Where the two crates mean to differ.
//!
//! Options of io-uring's builders that the cases leave alone, since ringway has no such
//! argument: `Fsync::offset` and `len` (liburing has none either), `ReadMulti`'s `len` (the
//! kernel refuses all but 0), the flags of `FutexWait`, `FutexWake`, `FutexWaitV`, `WaitId`
//! and `EpollWait` (it knows none) and those of `SetSockOpt` (about a fixed buffer, which it
//! does not use).

/// A field that ringway writes in another way, on purpose. A row that no comparison needs
/// is an error.
pub struct Difference {
    pub operation: &'static str,
    pub field: &'static str,
    /// Whether what ringway has, and io-uring has, is this difference.
    pub is_meant: fn(u64, u64) -> bool,
    pub reason: &'static str,
}

pub const DIFFERENCES: [Difference; 6] = [
    Difference {
        operation: "Nop",
        field: "fd",
        is_meant: |ours, theirs| (ours, theirs) == (0, u32::MAX.into()),
        reason: "ringway's NOP is the SQE of 64 zeros; the kernel does not look at fd",
    },
    Difference {
        operation: "ReadMulti",
        field: "flags",
        is_meant: |ours, theirs| ours == theirs | 1 && theirs & 1 == 0,
        reason: "io-uring sets BUFFER_SELECT over FIXED_FILE, and reads another file",
    },
    Difference {
        operation: "Socket",
        field: "off",
        is_meant: |ours, theirs| ours >> 32 == 0 && theirs == ours | u64::MAX << 32,
        reason: "the type has 32 bits, of which io-uring makes 64 by its sign; the kernel \
                 reads 32",
    },
    Difference {
        operation: "Send",
        field: "file_index",
        is_meant: address_is_cut,
        reason: ADDRESS,
    },
    Difference {
        operation: "SendZc",
        field: "file_index",
        is_meant: address_is_cut,
        reason: ADDRESS,
    },
    Difference {
        operation: "FilesUpdate",
        field: "off",
        is_meant: |ours, theirs| (ours, theirs) == (u32::MAX.into(), u64::MAX),
        reason: "FILE_INDEX_ALLOC has 32 bits, of which io-uring makes 64 by its sign; the \
                 kernel reads 32",
    },
];

const ADDRESS: &str = "the length of an address has 16 bits: ringway says the largest of them \
                       for more, which the kernel refuses, io-uring leaves the rest out";

/// The length is in the first two of the field's four bytes.
fn address_is_cut(ours: u64, theirs: u64) -> bool {
    let [ours, theirs] = [ours, theirs].map(|field| (field as u32).to_ne_bytes());
    ours[..2] == [0xFF; 2] && ours[2..] == theirs[2..]
}
