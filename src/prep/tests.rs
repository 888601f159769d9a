//! Every byte of a prep, against the offsets of `struct io_uring_sqe`; some families have
//! theirs in their own file.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::*;

mod rw;

pub(super) const OPCODE: usize = 0;
pub(super) const FLAGS: usize = 1;
pub(super) const FD: usize = 4;
pub(super) const OFF: usize = 8;
pub(super) const ADDR: usize = 16;
pub(super) const LEN: usize = 24;
pub(super) const OP_FLAGS: usize = 28;
pub(super) const USER_DATA: usize = 32;
pub(super) const BUF_INDEX: usize = 40;
pub(super) const PERSONALITY: usize = 42;
pub(super) const FILE_INDEX: usize = 44;

/// An SQE that an earlier operation left with every bit set.
pub(super) fn used() -> Sqe {
    let mut sqe = Sqe::default();
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.as_bytes_mut() }.fill(0xFF);
    sqe
}

/// Where fields lie, and what they hold.
pub(super) type Fields<'a> = &'a [(usize, &'a [u8])];

/// The SQE holds these fields, and zeros elsewhere.
#[track_caller]
pub(super) fn assert_fields(mut sqe: Sqe, fields: Fields) {
    let mut want = [0; 64];
    for (offset, value) in fields {
        want[*offset..offset + value.len()].copy_from_slice(value);
    }
    // SAFETY: nobody submits this SQE.
    assert_eq!(unsafe { sqe.as_bytes_mut() }, &want);
}

pub(super) fn n16(n: u16) -> [u8; 2] {
    n.to_ne_bytes()
}

pub(super) fn n32(n: u32) -> [u8; 4] {
    n.to_ne_bytes()
}

pub(super) fn n64(n: u64) -> [u8; 8] {
    n.to_ne_bytes()
}

/// A pointer that no prep may follow.
pub(super) fn wild<T>() -> *mut T {
    ptr::without_provenance_mut(WILD)
}

/// Bits in the uppermost byte, too.
pub(super) const WILD: usize = usize::MAX / 3;
pub(super) const OFFSET: u64 = 0x0102_0304_0506_0708;
pub(super) const COUNT: u32 = 0x8899_AABB;

pub(super) fn null() -> (File, [u8; 4]) {
    let file = File::open("/dev/null").unwrap();
    let fd = file.as_raw_fd().to_ne_bytes();
    (file, fd)
}

#[test]
fn fsync() {
    let (file, fd) = null();
    let mut sqe = used();
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.prep_fsync(&file, FsyncFlags::NONE) };
    assert_fields(sqe, &[(OPCODE, &[3]), (FD, &fd)]);
}

#[test]
fn fdatasync() {
    let (file, fd) = null();
    let mut sqe = used();
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.prep_fsync(&file, FsyncFlags::NONE | FsyncFlags::DATASYNC) };
    assert_fields(sqe, &[(OPCODE, &[3]), (FD, &fd), (OP_FLAGS, &n32(1))]);
}

#[test]
fn openat() {
    let (file, fd) = null();
    let mut sqe = used();
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.prep_openat(&file, wild(), libc::O_RDWR | libc::O_CREAT, 0o640) };
    assert_fields(
        sqe,
        &[
            (OPCODE, &[18]),
            (FD, &fd),
            (ADDR, &n64(WILD as u64)),
            (LEN, &n32(0o640)),
            (OP_FLAGS, &n32(0o102)),
        ],
    );
}

#[test]
fn openat_from_the_working_directory() {
    let mut sqe = used();
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.prep_openat(Dir::CWD, wild(), 0, 0) };
    assert_fields(
        sqe,
        &[
            (OPCODE, &[18]),
            (FD, &n32(-100i32 as u32)),
            (ADDR, &n64(WILD as u64)),
        ],
    );
}

#[test]
fn close() {
    let mut sqe = used();
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.prep_close(0x0102_0304) };
    assert_fields(sqe, &[(OPCODE, &[19]), (FD, &n32(0x0102_0304))]);
}

#[test]
fn targets() {
    let (file, fd) = null();
    let descriptors: [Target; 2] = [(&file).into(), file.as_fd().into()];
    for target in descriptors {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_fsync(target, FsyncFlags::NONE) };
        assert_fields(sqe, &[(OPCODE, &[3]), (FD, &fd)]);
    }
    for index in [0, 3, u32::MAX] {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_fsync(Fixed(index), FsyncFlags::NONE) };
        assert_fields(sqe, &[(OPCODE, &[3]), (FLAGS, &[0x01]), (FD, &n32(index))]);
    }
}

#[test]
fn directories() {
    let (file, fd) = null();
    let directories: [Dir; 2] = [(&file).into(), file.as_fd().into()];
    for dir in directories {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_openat(dir, ptr::null(), 0, 0) };
        assert_fields(sqe, &[(OPCODE, &[18]), (FD, &fd)]);
    }
}

#[test]
fn places() {
    // The last index that a table could have; what is above it is no other place.
    const LAST: u32 = i32::MAX as u32;
    for (place, field, index) in [
        (Direct::at(Fixed(0)), 1, 0),
        (Direct::at(Fixed(6)), 7, 6),
        (Direct::at(Fixed(LAST - 1)), LAST, LAST - 1),
        (Direct::at(Fixed(LAST)), LAST + 1, LAST),
        (Direct::at(Fixed(u32::MAX - 1)), LAST + 1, LAST),
        (Direct::at(Fixed(u32::MAX)), LAST + 1, LAST),
        (Direct::ALLOC, u32::MAX, u32::MAX),
    ] {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_open_direct(ptr::null(), 0, 0, place) };
        let fields: Fields = &[
            (OPCODE, &[18]),
            (FD, &n32(-100i32 as u32)),
            (FILE_INDEX, &n32(field)),
        ];
        assert_fields(sqe, fields);

        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_files_update(ptr::null_mut(), 0, place) };
        let fields: Fields = &[
            (OPCODE, &[20]),
            (FD, &n32(u32::MAX)),
            (OFF, &n64(index.into())),
        ];
        assert_fields(sqe, fields);
    }
}

#[test]
fn close_of_a_place() {
    for (index, field) in [(0, 1), (6, 7), (u32::MAX, 1 << 31)] {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { sqe.prep_close_direct(Fixed(index)) };
        assert_fields(sqe, &[(OPCODE, &[19]), (FILE_INDEX, &n32(field))]);
    }
}

type Setter = fn(&mut Sqe) -> &mut Sqe;

#[test]
fn each_setter_sets_its_own_field() {
    let cases: [(Setter, Fields); 8] = [
        (Sqe::drain, &[(FLAGS, &[0x02])]),
        (Sqe::link, &[(FLAGS, &[0x04])]),
        (Sqe::hardlink, &[(FLAGS, &[0x08])]),
        (Sqe::force_async, &[(FLAGS, &[0x10])]),
        (Sqe::skip_success, &[(FLAGS, &[0x40])]),
        (
            |sqe| sqe.buffer_select(0x0102),
            &[(FLAGS, &[0x20]), (BUF_INDEX, &n16(0x0102))],
        ),
        (
            |sqe| sqe.personality(0x0102),
            &[(PERSONALITY, &n16(0x0102))],
        ),
        (|sqe| sqe.user_data(OFFSET), &[(USER_DATA, &n64(OFFSET))]),
    ];
    for (set, fields) in cases {
        let mut sqe = Sqe::default();
        set(&mut sqe);
        assert_fields(sqe, fields);
    }
}

#[test]
fn setters_add_up_and_keep_the_target() {
    let mut sqe = used();
    // SAFETY: nobody submits this SQE.
    unsafe { sqe.prep_read(Fixed(9), ptr::null_mut(), 64, 0) }
        .user_data(5)
        .link()
        .force_async()
        .buffer_select(2)
        .personality(3);
    assert_eq!(sqe.get_user_data(), 5);
    assert_fields(
        sqe,
        &[
            (OPCODE, &[22]),
            (FLAGS, &[0x01 | 0x04 | 0x10 | 0x20]),
            (FD, &n32(9)),
            (LEN, &n32(64)),
            (USER_DATA, &n64(5)),
            (BUF_INDEX, &n16(2)),
            (PERSONALITY, &n16(3)),
        ],
    );
}
