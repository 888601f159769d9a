//! SQEs by fields.

use std::ops::Range;

use io_uring::squeue::{Entry128, Flags};
use ringway::Sqe;

use crate::random::Random;

/// `struct io_uring_sqe`, and what a 128-byte SQE has behind it.
const FIELDS: [(&str, Range<usize>); 22] = [
    ("opcode", 0..1),
    ("flags", 1..2),
    ("ioprio", 2..4),
    ("fd", 4..8),
    ("off", 8..16),
    ("addr", 16..24),
    ("len", 24..28),
    ("op_flags", 28..32),
    ("user_data", 32..40),
    ("buf_index", 40..42),
    ("personality", 42..44),
    ("file_index", 44..48),
    ("addr3", 48..56),
    ("pad2", 56..64),
    ("second half, 0", 64..72),
    ("second half, 8", 72..80),
    ("second half, 16", 80..88),
    ("second half, 24", 88..96),
    ("second half, 32", 96..104),
    ("second half, 40", 104..112),
    ("second half, 48", 112..120),
    ("second half, 56", 120..128),
];

/// One operation as both crates spell it.
pub struct Pair {
    pub ours: Sqe,
    /// Of a 128-byte SQE; zero for the others, as theirs has it.
    pub second_half: [u8; 64],
    pub theirs: Entry128,
}

/// A field in which the two are not the same.
pub struct Unlike {
    pub field: &'static str,
    pub ours: u64,
    pub theirs: u64,
}

impl Pair {
    /// Ours is prepared over an SQE that has every bit set.
    pub fn new(prep: impl FnOnce(&mut Sqe) -> &mut Sqe, theirs: impl Into<Entry128>) -> Self {
        let mut ours = Sqe::default();
        bytes(&mut ours).fill(0xFF);
        prep(&mut ours);
        Self {
            ours,
            second_half: [0; 64],
            theirs: theirs.into(),
        }
    }

    /// A buffer of this group, which their builder has been given; or the prep's own.
    pub fn select(mut self, group: Option<u16>) -> Self {
        if let Some(group) = group {
            self.ours.buffer_select(group);
            self.theirs = self.theirs.flags(Flags::BUFFER_SELECT);
        }
        self
    }

    /// What every operation can carry.
    pub fn carry(mut self, random: &mut Random) -> Self {
        type Setter = fn(&mut Sqe) -> &mut Sqe;
        let flags: [(Setter, Flags); 5] = [
            (Sqe::drain, Flags::IO_DRAIN),
            (Sqe::link, Flags::IO_LINK),
            (Sqe::hardlink, Flags::IO_HARDLINK),
            (Sqe::force_async, Flags::ASYNC),
            (Sqe::skip_success, Flags::SKIP_SUCCESS),
        ];
        for (ours, theirs) in flags {
            if random.bool() {
                ours(&mut self.ours);
                self.theirs = self.theirs.flags(theirs);
            }
        }
        let (user_data, personality) = (random.u64(), random.u16());
        self.ours.user_data(user_data).personality(personality);
        self.theirs = self.theirs.user_data(user_data).personality(personality);
        self
    }

    pub fn opcode(&self) -> u32 {
        self.theirs.get_opcode()
    }

    pub fn unlike(mut self) -> Vec<Unlike> {
        let mut ours = [0; 128];
        ours[..64].copy_from_slice(bytes(&mut self.ours));
        ours[64..].copy_from_slice(&self.second_half);
        // SAFETY: repr(C) around the kernel's structure and 64 bytes. All are initialised: the
        // structure has no padding, and was zeroed. That the sizes are equal, rustc checks.
        let theirs: [u8; 128] = unsafe { std::mem::transmute(self.theirs) };

        let fields = FIELDS.into_iter().map(|(field, range)| Unlike {
            field,
            ours: number(&ours[range.clone()]),
            theirs: number(&theirs[range]),
        });
        fields.filter(|field| field.ours != field.theirs).collect()
    }
}

pub fn bytes(sqe: &mut Sqe) -> &mut [u8; 64] {
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.as_bytes_mut() }
}

/// In the machine's order of bytes.
fn number(field: &[u8]) -> u64 {
    let mut wide = [0; 8];
    match cfg!(target_endian = "big") {
        true => wide[8 - field.len()..].copy_from_slice(field),
        false => wide[..field.len()].copy_from_slice(field),
    }
    u64::from_ne_bytes(wide)
}

#[test]
fn the_fields_cover_every_byte_once() {
    let mut end = 0;
    for (field, range) in FIELDS {
        assert_eq!(range.start, end, "{field}");
        end = range.end;
    }
    assert_eq!(end, 128);
}
