//! Reading and writing, provided buffers, and nothing.

use super::*;

const IOPRIO: usize = 2;
const WRITE_STREAM: usize = 44;
const ADDR3: usize = 48;
const ATTR_TYPE_MASK: usize = 56;

const GROUP: u16 = 0xA1B2;
const INDEX: u16 = 0xC3D4;

type Prep<'a> = &'a dyn for<'sqe> Fn(&'sqe mut Sqe) -> &'sqe mut Sqe;

/// Each prep writes its fields over whatever was there, and zeros elsewhere.
#[track_caller]
fn assert_preps(cases: &[(Prep, Fields)]) {
    for (prep, fields) in cases {
        let mut sqe = used();
        prep(&mut sqe);
        assert_fields(sqe, fields);
    }
}

/// The fields of what reads or writes at OFFSET: its opcode, and what else it has.
fn at_offset<'a>(
    fd: &'a [u8; 4],
    opcode: &'a [u8; 1],
    more: [(usize, &'a [u8]); 2],
) -> Vec<(usize, &'a [u8])> {
    const AT: [u8; 8] = OFFSET.to_ne_bytes();
    const BUF: [u8; 8] = (WILD as u64).to_ne_bytes();
    const LENGTH: [u8; 4] = COUNT.to_ne_bytes();
    let mut fields = vec![
        (OPCODE, opcode as &[u8]),
        (FD, fd),
        (OFF, &AT),
        (ADDR, &BUF),
        (LEN, &LENGTH),
    ];
    fields.extend(more);
    fields
}

const NOTHING: (usize, &[u8]) = (0, &[]);

#[test]
fn reads_and_writes() {
    let (file, fd) = null();
    let at = |opcode| at_offset(&fd, opcode, [NOTHING, NOTHING]);
    // SAFETY: nobody submits these SQEs.
    unsafe {
        assert_preps(&[
            (
                &|sqe| sqe.prep_read(&file, wild(), COUNT, OFFSET),
                &at(&[22]),
            ),
            (
                &|sqe| sqe.prep_write(&file, wild(), COUNT, OFFSET),
                &at(&[23]),
            ),
            (
                &|sqe| sqe.prep_readv(&file, wild(), COUNT, OFFSET),
                &at(&[1]),
            ),
            (
                &|sqe| sqe.prep_writev(&file, wild(), COUNT, OFFSET),
                &at(&[2]),
            ),
            (
                &|sqe| sqe.prep_read(&file, ptr::null_mut(), 0, CURRENT_POSITION),
                &[(OPCODE, &[22]), (FD, &fd), (OFF, &[0xFF; 8])],
            ),
        ]);
    }
}

#[test]
fn vectors_with_flags() {
    let (file, fd) = null();
    let (read, write) = (n32(0x9), n32(0x16));
    let read_flags = RwFlags::HIPRI | RwFlags::NOWAIT;
    let write_flags = RwFlags::DSYNC | RwFlags::SYNC | RwFlags::APPEND;
    // SAFETY: nobody submits these SQEs.
    unsafe {
        assert_preps(&[
            (
                &|sqe| sqe.prep_readv2(&file, wild(), COUNT, OFFSET, read_flags),
                &at_offset(&fd, &[1], [(OP_FLAGS, &read), NOTHING]),
            ),
            (
                &|sqe| sqe.prep_writev2(&file, wild(), COUNT, OFFSET, write_flags),
                &at_offset(&fd, &[2], [(OP_FLAGS, &write), NOTHING]),
            ),
        ]);
    }
}

#[test]
fn registered_buffers() {
    let (file, fd) = null();
    let index = n16(INDEX);
    let (read, write) = (n32(0x80), n32(0x160));
    let write_flags = RwFlags::NOAPPEND | RwFlags::ATOMIC | RwFlags::NOSIGNAL;
    let at = |opcode, flags| at_offset(&fd, opcode, [(BUF_INDEX, &index), flags]);
    // SAFETY: nobody submits these SQEs.
    unsafe {
        assert_preps(&[
            (
                &|sqe| sqe.prep_read_fixed(&file, wild(), COUNT, OFFSET, INDEX),
                &at(&[4], NOTHING),
            ),
            (
                &|sqe| sqe.prep_write_fixed(&file, wild(), COUNT, OFFSET, INDEX),
                &at(&[5], NOTHING),
            ),
            (
                &|sqe| {
                    sqe.prep_readv_fixed(&file, wild(), COUNT, OFFSET, RwFlags::DONTCACHE, INDEX)
                },
                &at(&[60], (OP_FLAGS, &read)),
            ),
            (
                &|sqe| sqe.prep_writev_fixed(&file, wild(), COUNT, OFFSET, write_flags, INDEX),
                &at(&[61], (OP_FLAGS, &write)),
            ),
        ]);
    }
}

#[test]
fn provided_buffers() {
    let (file, fd) = null();
    let group = (BUF_INDEX, &n16(GROUP) as &[u8]);
    // SAFETY: nobody submits these SQEs.
    unsafe {
        assert_preps(&[
            (
                &|sqe| sqe.prep_read_multishot(&file, OFFSET, GROUP),
                &[
                    (OPCODE, &[49]),
                    (FLAGS, &[0x20]),
                    (FD, &fd),
                    (OFF, &n64(OFFSET)),
                    group,
                ],
            ),
            (
                &|sqe| sqe.prep_read_multishot(Fixed(7), 0, GROUP),
                &[(OPCODE, &[49]), (FLAGS, &[0x21]), (FD, &n32(7)), group],
            ),
            (
                &|sqe| sqe.prep_provide_buffers(wild(), COUNT, 0xF0E1, GROUP, 0xD2C3),
                &[
                    (OPCODE, &[31]),
                    (FD, &n32(0xF0E1)),
                    (OFF, &n64(0xD2C3)),
                    (ADDR, &n64(WILD as u64)),
                    (LEN, &n32(COUNT)),
                    group,
                ],
            ),
            (
                &|sqe| sqe.prep_remove_buffers(0xF0E1, GROUP),
                &[(OPCODE, &[32]), (FD, &n32(0xF0E1)), group],
            ),
        ]);
    }
}

#[test]
fn what_a_read_or_write_can_carry() {
    type Carry = unsafe fn(&mut Sqe) -> &mut Sqe;
    let flags: (usize, &[u8]) = (OP_FLAGS, &n32(1));
    let cases: [(Carry, Fields); 4] = [
        (
            // SAFETY: nobody submits this SQE.
            |sqe| unsafe { sqe.rw_flags(RwFlags::DSYNC | RwFlags::from_bits(1 << 31)) },
            &[(OP_FLAGS, &n32(1 << 31 | 2))],
        ),
        (
            // SAFETY: nobody submits this SQE.
            |sqe| unsafe { sqe.ioprio(IoPriority::from_bits(0x8123)) },
            &[flags, (IOPRIO, &n16(0x8123))],
        ),
        (
            // SAFETY: nobody submits this SQE.
            |sqe| unsafe { sqe.write_stream(0xF1) },
            &[flags, (WRITE_STREAM, &[0xF1])],
        ),
        (
            // SAFETY: nobody submits this SQE.
            |sqe| unsafe { sqe.pi_attribute(wild()) },
            &[flags, (ADDR3, &n64(WILD as u64)), (ATTR_TYPE_MASK, &n64(1))],
        ),
    ];
    for (carry, fields) in cases {
        let mut sqe = used();
        // SAFETY: nobody submits this SQE.
        unsafe { carry(sqe.prep_readv2(Fixed(3), ptr::null(), 0, 0, RwFlags::HIPRI)) };
        let read: Fields = &[(OPCODE, &[1]), (FLAGS, &[1]), (FD, &n32(3))];
        assert_fields(sqe, &[read, fields].concat());
    }
}

#[test]
fn priorities() {
    for (priority, bits) in [
        (IoPriority::real_time(0), 0x2000),
        (IoPriority::real_time(6), 0x2006),
        (IoPriority::best_effort(4), 0x4004),
        (IoPriority::best_effort(7), 0x4007),
        (IoPriority::best_effort(u8::MAX), 0x4007),
        (IoPriority::IDLE, 0x6000),
    ] {
        assert_eq!(priority.bits(), bits);
        assert_eq!(IoPriority::from_bits(bits), priority);
    }
}

#[test]
fn the_pi_attribute() {
    let flags = PiFlags::GUARD | PiFlags::REFTAG | PiFlags::APPTAG;
    let attribute = PiAttribute::new(wild(), COUNT, flags)
        .app_tag(0x0102)
        .seed(OFFSET);
    // SAFETY: it is 32 bytes of integers without padding, as the kernel reads them.
    let bytes: [u8; 32] = unsafe { std::mem::transmute(attribute) };
    let mut want = [0; 32];
    want[..2].copy_from_slice(&n16(7));
    want[2..4].copy_from_slice(&n16(0x0102));
    want[4..8].copy_from_slice(&n32(COUNT));
    want[8..16].copy_from_slice(&n64(WILD as u64));
    want[16..24].copy_from_slice(&n64(OFFSET));
    assert_eq!(bytes, want);
}

#[test]
fn nops() {
    let (file, fd) = null();
    // SAFETY: nobody submits these SQEs.
    unsafe {
        assert_preps(&[
            (&|sqe| sqe.prep_nop(), &[]),
            (&|sqe| sqe.prep_nop_with(Nop::new()), &[]),
            (
                &|sqe| sqe.prep_nop_with(Nop::new().inject_result(-2)),
                &[(LEN, &n32(u32::MAX - 1)), (OP_FLAGS, &n32(0x01))],
            ),
            (
                &|sqe| sqe.prep_nop_with(Nop::new().file(&file)),
                &[(FD, &fd), (OP_FLAGS, &n32(0x02))],
            ),
            (
                &|sqe| sqe.prep_nop_with(Nop::new().file(Fixed(7))),
                &[(FD, &n32(7)), (OP_FLAGS, &n32(0x06))],
            ),
            (
                &|sqe| sqe.prep_nop_with(Nop::new().file(Fixed(7)).file(&file)),
                &[(FD, &fd), (OP_FLAGS, &n32(0x02))],
            ),
            (
                &|sqe| sqe.prep_nop_with(Nop::new().fixed_buffer(INDEX)),
                &[(BUF_INDEX, &n16(INDEX)), (OP_FLAGS, &n32(0x08))],
            ),
            (
                &|sqe| sqe.prep_nop_with(Nop::new().task_work()),
                &[(OP_FLAGS, &n32(0x10))],
            ),
            (
                &|sqe| sqe.prep_nop_with(Nop::new().cqe32([OFFSET, 3])),
                &[(OFF, &n64(OFFSET)), (ADDR, &n64(3)), (OP_FLAGS, &n32(0x20))],
            ),
            (
                &|sqe| {
                    let nop = Nop::new().inject_result(1).file(&file).file(Fixed(7));
                    sqe.prep_nop_with(nop.fixed_buffer(INDEX).cqe32([1, 2]).task_work())
                },
                &[
                    (FD, &n32(7)),
                    (OFF, &n64(1)),
                    (ADDR, &n64(2)),
                    (LEN, &n32(1)),
                    (OP_FLAGS, &n32(0x3F)),
                    (BUF_INDEX, &n16(INDEX)),
                ],
            ),
        ]);
    }
}
