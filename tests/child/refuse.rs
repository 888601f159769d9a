//! What a child process has refused to itself: a call with this argument, more of a
//! resource than that.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::mem::offset_of;
use std::ptr;

/// One more filter for this thread, never to be taken off: `call` fails with
/// `errno`, if `condition` is given only when the low half of that argument has
/// that value.
pub fn deny(call: libc::c_long, condition: Option<(usize, u32)>, errno: i32) {
    let load = |offset: usize| libc::sock_filter {
        code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        jt: 0,
        jf: 0,
        k: offset as u32,
    };
    // Falls through if equal, else skips `skip` instructions.
    let equal = |value: u32, skip: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: skip,
        k: value,
    };
    let ret = |value: u32| libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: value,
    };
    let mut program = vec![load(offset_of!(libc::seccomp_data, nr))];
    match condition {
        None => program.push(equal(call as u32, 1)),
        Some((argument, value)) => {
            let low = if cfg!(target_endian = "little") { 0 } else { 4 };
            program.push(equal(call as u32, 3));
            program.push(load(
                offset_of!(libc::seccomp_data, args) + 8 * argument + low,
            ));
            program.push(equal(value, 1));
        }
    }
    program.push(ret(libc::SECCOMP_RET_ERRNO | errno as u32));
    program.push(ret(libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &filter), 0);
    }
}

/// Changes the limit of this process, within the hard limit.
pub fn limit(resource: u32, to: u64) {
    let change = |new: *const libc::rlimit64, old: *mut libc::rlimit64| {
        // SAFETY: prlimit(2) reads and writes one `rlimit64` each, if not null. The
        // type of a resource differs between libcs, so the call goes past them.
        let done = unsafe {
            libc::syscall(
                libc::SYS_prlimit64,
                0,
                libc::c_long::from(resource),
                new,
                old,
            )
        };
        assert_eq!(done, 0);
    };
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    change(ptr::null(), &mut limit);
    limit.rlim_cur = to;
    change(&limit, ptr::null_mut());
}
