//! Registered credentials.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use ringway::prep::Dir;

use super::child::{skip, tried};
use super::op::*;
use super::*;

/// Does nothing, as this personality.
fn nop_as(ring: &Ring, id: u16) -> Result<u32, i32> {
    // SAFETY: a NOP names nothing.
    result(run(ring, |sqe| unsafe { sqe.prep_nop() }.personality(id)))
}

#[test]
fn an_id_is_known_until_it_is_unregistered() {
    let ring = ring();
    let registrar = ring.registrar();
    let one = registrar.register_personality().unwrap();
    let two = registrar.register_personality().unwrap();
    assert_ne!(one, two);
    assert!(one != 0 && two != 0, "0 is no personality");
    assert_eq!([nop_as(&ring, one), nop_as(&ring, two)], [Ok(0), Ok(0)]);
    assert_eq!(nop_as(&ring, two + 1), Err(libc::EINVAL));

    assert_eq!(registrar.unregister_personality(one), Ok(()));
    assert_eq!(nop_as(&ring, one), Err(libc::EINVAL));
    assert_eq!(nop_as(&ring, two), Ok(0));
    for unknown in [one, 0, two + 1] {
        let refused = registrar.unregister_personality(unknown);
        assert_eq!(refusal(refused), libc::EINVAL);
    }
    tried("REGISTER_PERSONALITY");
    tried("UNREGISTER_PERSONALITY");
}

#[test]
fn there_are_65535() {
    let ring = ring();
    let registrar = ring.registrar();
    let ids: Vec<u16> = std::iter::from_fn(|| registrar.register_personality().ok()).collect();
    assert_eq!(ids.len(), 65535);
    assert_eq!(refusal(registrar.register_personality()), libc::EBUSY);
    assert_eq!(registrar.unregister_personality(u16::MAX), Ok(()));
    assert_eq!(registrar.register_personality(), Ok(u16::MAX));
    assert_eq!(nop_as(&ring, u16::MAX), Ok(0));
}

#[test]
fn operations_run_with_it() {
    let test = "personality::operations_run_with_it";
    // SAFETY: reads a number.
    if unsafe { libc::geteuid() } != 0 {
        return skip(test, "only root can be somebody else");
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("register-personality");
    fs::write(&path, "for its owner").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let directory = File::open(path.parent().unwrap()).unwrap();

    let ring = ring();
    let nobody = thread::scope(|scope| {
        let other = scope.spawn(|| {
            let keep = u32::MAX;
            // SAFETY: the system call itself changes this thread alone.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, keep, 65534, keep) };
            assert_eq!(changed, 0);
            ring.registrar().register_personality().unwrap()
        });
        other.join().unwrap()
    });
    let root = ring.registrar().register_personality().unwrap();
    let open = |id| {
        let cqe = run(&ring, |sqe| {
            let dir = Dir::from(&directory);
            let flags = libc::O_RDONLY | libc::O_CLOEXEC;
            // SAFETY: the path is a constant, and the directory stays open.
            unsafe { sqe.prep_openat(dir, c"register-personality".as_ptr(), flags, 0) }
                .personality(id)
        });
        result(cqe).map(|_| ())
    };
    assert_eq!([open(0), open(root)], [Ok(()), Ok(())]);
    assert_eq!(open(nobody), Err(libc::EACCES));
}
