//! Restrictions on a ring, and on a thread.

use ringway::register::{Restriction, SqeFlags, opcode, register_restrictions_task};
use ringway::{Disabled, Sqe, op};

use super::child::{here, in_child, linux, skip, tried};
use super::ops::{next, nop, result, run, start};
use super::*;

const DENIED: Result<u32, i32> = Err(libc::EACCES);

fn disabled() -> Disabled {
    Ring::builder(16).build_disabled().unwrap()
}

fn restricted(restrictions: &[Restriction]) -> Ring {
    let disabled = disabled();
    let registered = disabled.registrar().register_restrictions(restrictions);
    registered.unwrap();
    disabled.enable().unwrap()
}

/// An fsync of nothing: refused by the kernel, but for another reason.
fn fsync(sqe: &mut Sqe) -> &mut Sqe {
    let flags = ringway::prep::FsyncFlags::NONE;
    // SAFETY: it names no memory.
    unsafe { sqe.prep_fsync(ringway::prep::Fixed(7), flags) }
}

#[test]
fn operations_and_registrations() {
    let ring = restricted(&[
        Restriction::Op(op::NOP),
        Restriction::Op(op::FSYNC),
        Restriction::FlagsAllowed(SqeFlags::FIXED_FILE),
        Restriction::Register(opcode::PROBE),
    ]);
    assert_eq!(run(&ring, nop), Ok(0));
    assert_eq!(run(&ring, fsync), Err(libc::EBADF));
    // SAFETY: a cancel request names no memory.
    let cancel = |sqe: &mut Sqe| unsafe {
        sqe.prep_cancel64(1, ringway::prep::CancelFlags::NONE);
    };
    assert_eq!(
        run(&ring, |sqe| {
            cancel(sqe);
            sqe
        }),
        DENIED
    );
    assert!(ring.probe().is_ok());
    assert_eq!(
        raw(ring.registrar().register_files(&[None])),
        Err(libc::EACCES)
    );
    tried("REGISTER_RESTRICTIONS");
}

/// Each row: what is allowed, what is required, and whether a NOP with these flags passes.
#[test]
fn flags() {
    const NONE: SqeFlags = SqeFlags::NONE;
    const ASYNC: SqeFlags = SqeFlags::ASYNC;
    const LINK: SqeFlags = SqeFlags::IO_LINK;
    for (allowed, required, passing) in [
        (NONE, NONE, &[NONE][..]),
        (ASYNC, NONE, &[NONE, ASYNC]),
        (NONE, ASYNC, &[ASYNC]),
        (LINK, ASYNC, &[ASYNC, ASYNC | LINK]),
        (LINK | ASYNC, NONE, &[NONE, ASYNC, LINK, ASYNC | LINK]),
    ] {
        let ring = restricted(&[
            Restriction::Op(op::NOP),
            Restriction::FlagsAllowed(allowed),
            Restriction::FlagsRequired(required),
        ]);
        for flags in [NONE, ASYNC, LINK, ASYNC | LINK] {
            let done = run(&ring, |sqe| {
                nop(sqe);
                if flags.contains(ASYNC) {
                    sqe.force_async();
                }
                if flags.contains(LINK) {
                    sqe.link();
                }
                sqe
            });
            let expected = if passing.contains(&flags) {
                Ok(0)
            } else {
                DENIED
            };
            assert_eq!(done, expected, "{allowed:?} {required:?}: {flags:?}");
        }
    }
}

/// Before the ring runs everything may be registered still, and once restrictions alone.
#[test]
fn they_count_from_the_start_on() {
    let disabled = disabled();
    let registrar = disabled.registrar();
    let only_nop = [Restriction::Op(op::NOP)];
    assert_eq!(registrar.register_restrictions(&only_nop), Ok(()));
    assert_eq!(
        raw(registrar.register_restrictions(&only_nop)),
        Err(libc::EBUSY)
    );
    assert_eq!(registrar.register_files(&[None]), Ok(()));
    let ring = disabled.enable().unwrap();
    assert_eq!(run(&ring, nop), Ok(0));
    // Since 7.0 a list without registrations is none.
    let expected = if linux(7, 0) {
        libc::EBADFD
    } else {
        libc::EACCES
    };
    let again = ring.registrar().register_restrictions(&only_nop);
    assert_eq!(raw(again), Err(expected));
}

#[test]
fn an_empty_list_allows_nothing() {
    let ring = restricted(&[]);
    assert_eq!(run(&ring, nop), DENIED);
    assert_eq!(raw(ring.probe()), Err(libc::EACCES));
}

#[test]
fn what_is_refused() {
    let running = ring().registrar().register_restrictions(&[]);
    assert_eq!(raw(running), Err(libc::EBADFD));
    let too_many = [Restriction::Op(op::NOP); 1000];
    for list in [
        // 999 is a number that no kernel could be told.
        &[Restriction::Op(255)][..],
        &[Restriction::Register(255)],
        &[Restriction::Register(999)],
        &too_many,
    ] {
        let disabled = disabled();
        let refused = disabled.registrar().register_restrictions(list);
        assert_eq!(raw(refused), Err(libc::EINVAL));
        // And none of it counts.
        let ring = disabled.enable().unwrap();
        assert_eq!(run(&ring, nop), Ok(0));
    }
}

/// A chain is judged entry by entry.
#[test]
fn one_in_a_chain() {
    let ring = restricted(&[
        Restriction::Op(op::NOP),
        Restriction::FlagsAllowed(SqeFlags::IO_LINK),
    ]);
    start(&ring, |sqe| nop(sqe).user_data(1));
    start(&ring, |sqe| fsync(sqe).user_data(2));
    assert_eq!([(); 2].map(|()| result(next(&ring))), [Ok(0), DENIED]);
}

/// Cannot be taken back: in a child. Before Linux 7.0 it is no registration.
#[test]
fn of_a_thread() {
    in_child("restrictions::of_a_thread", || {
        let list = [
            Restriction::Op(op::NOP),
            Restriction::Register(opcode::PROBE),
        ];
        let before = ring();
        if !linux(7, 0) {
            let errno = here(&[("5.18", libc::EBADF), ("6.13", libc::EINVAL)]);
            assert_eq!(raw(register_restrictions_task(&list)), Err(errno));
            let reason = "restrictions of a thread came with Linux 7.0";
            return skip("restrictions::of_a_thread", reason);
        }
        // SAFETY: changes what this process may become, and nothing in memory.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let too_many = [Restriction::Op(op::NOP); 1000];
        assert_eq!(
            raw(register_restrictions_task(&too_many)),
            Err(libc::EINVAL)
        );
        assert_eq!(register_restrictions_task(&list), Ok(()));
        assert_eq!(raw(register_restrictions_task(&list)), Err(libc::EPERM));

        let after = ring();
        assert_eq!(run(&after, nop), Ok(0));
        assert_eq!(run(&after, fsync), DENIED);
        assert!(after.probe().is_ok());
        assert_eq!(
            raw(after.registrar().register_files(&[None])),
            DENIED.map(|_| ())
        );
        // A ring that was there before is as it was.
        assert_eq!(run(&before, fsync), Err(libc::EBADF));
    });
}
