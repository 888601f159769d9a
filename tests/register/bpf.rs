//! Filters in classic BPF.

use ringway::prep::{Fixed, FsyncFlags};
use ringway::register::{BpfFilter, BpfFlags, register_bpf_filter_task};
use ringway::{Sqe, op};

use super::child::{in_child, linux, skip, tried, untried};
use super::ops::{nop, run};
use super::*;

const DENIED: Result<u32, i32> = Err(libc::EACCES);

/// Passes a NOP whose `user_data` is not 7.
fn not_seven() -> [libc::sock_filter; 4] {
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    let instruction = |code, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, low),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 7),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 1),
    ]
}

fn filter(program: &[libc::sock_filter], flags: BpfFlags) -> BpfFilter<'_> {
    BpfFilter {
        opcode: op::NOP,
        program,
        payload: 0,
        flags,
    }
}

/// An fsync of nothing: refused by the kernel, but for another reason.
fn fsync(sqe: &mut Sqe) -> &mut Sqe {
    // SAFETY: it names no memory.
    unsafe { sqe.prep_fsync(Fixed(7), FsyncFlags::NONE) }
}

#[test]
fn of_a_ring() {
    let ring = ring();
    let registrar = ring.registrar();
    let program = not_seven();
    let mut passing = filter(&program, BpfFlags::NONE);
    let registered = raw(registrar.register_bpf_filter(&mut passing));
    if !linux(7, 0) {
        assert_eq!(registered, Err(libc::EINVAL));
        assert_eq!(run(&ring, |sqe| nop(sqe).user_data(7)), Ok(0));
        return untried("REGISTER_BPF_FILTER", "it came with Linux 7.0");
    }
    assert_eq!(registered, Ok(()));
    assert_eq!(run(&ring, |sqe| nop(sqe).user_data(7)), DENIED);
    assert_eq!(run(&ring, |sqe| nop(sqe).user_data(8)), Ok(0));
    assert_eq!(run(&ring, fsync), Err(libc::EBADF));

    let mut rest = filter(&program, BpfFlags::DENY_REST);
    assert_eq!(registrar.register_bpf_filter(&mut rest), Ok(()));
    assert_eq!(run(&ring, |sqe| nop(sqe).user_data(8)), Ok(0));
    assert_eq!(run(&ring, fsync), DENIED);
    tried("REGISTER_BPF_FILTER");
}

/// The kernel tells the size of the payload that it has.
#[test]
fn payloads() {
    if !linux(7, 0) {
        return skip("bpf::payloads", "filters came with Linux 7.0");
    }
    let ring = ring();
    let program = not_seven();
    for (payload, flags, expected) in [
        (255, BpfFlags::NONE, Err(libc::EMSGSIZE)),
        (4, BpfFlags::SZ_STRICT, Err(libc::EMSGSIZE)),
        (4, BpfFlags::NONE, Ok(())),
    ] {
        let mut socket = BpfFilter {
            opcode: op::SOCKET,
            payload,
            ..filter(&program, flags)
        };
        let registered = ring.registrar().register_bpf_filter(&mut socket);
        assert_eq!(raw(registered), expected, "{payload} {flags:?}");
        assert!(socket.payload >= 12);
    }
}

#[test]
fn programs_that_are_none() {
    let ring = ring();
    let too_long = [not_seven()[3]; 4097];
    let reads_a_packet = [libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    for program in [&[][..], &too_long, &reads_a_packet] {
        let mut refused = filter(program, BpfFlags::NONE);
        let refused = ring.registrar().register_bpf_filter(&mut refused);
        assert_eq!(raw(refused), Err(libc::EINVAL));
    }
    assert_eq!(run(&ring, nop), Ok(0));
}

/// Cannot be taken back: in a child.
#[test]
fn of_a_thread() {
    in_child("bpf::of_a_thread", || {
        // SAFETY: changes what this process may become, and nothing in memory.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let before = ring();
        let program = not_seven();
        let mut passing = filter(&program, BpfFlags::DENY_REST);
        let registered = raw(register_bpf_filter_task(&mut passing));
        if !linux(7, 0) {
            assert_eq!(registered, Err(libc::EINVAL));
            return skip("bpf::of_a_thread", "filters came with Linux 7.0");
        }
        assert_eq!(registered, Ok(()));
        let after = ring();
        assert_eq!(run(&after, |sqe| nop(sqe).user_data(7)), DENIED);
        assert_eq!(run(&after, nop), Ok(0));
        assert_eq!(run(&after, fsync), DENIED);
        assert_eq!(run(&before, |sqe| nop(sqe).user_data(7)), Ok(0));
    });
}
