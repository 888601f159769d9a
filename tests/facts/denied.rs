//! io_uring that is switched off, or forbidden: the typed reason on each kernel.

use std::fs;
use std::path::Path;

use ringway::{Builder, Ring, SetupError, Unavailable};

use super::child::{has, in_child, linux, skip, traces};
use super::refuse::deny;

/// A ring that every kernel here makes.
fn any() -> Builder<'static> {
    Ring::builder(8).legacy()
}

#[track_caller]
fn reason() -> Unavailable {
    let before = traces();
    let error = any().build_local().expect_err("was built");
    assert_eq!(traces(), before);
    let SetupError::Unavailable(reason) = error else {
        panic!("{error:?}");
    };
    reason
}

#[test]
fn by_a_filter() {
    in_child("denied::by_a_filter", || {
        for (errno, expected) in [
            (libc::EPERM, Unavailable::DeniedBySeccomp),
            (libc::ENOSYS, Unavailable::Missing { seccomp: true }),
            (libc::EACCES, Unavailable::DeniedByLsm { seccomp: true }),
        ] {
            assert!(any().build_local().is_ok());
            // A filter stays, and is the thread's.
            let filtered = move || {
                deny(libc::SYS_io_uring_setup, None, errno);
                assert_eq!(reason(), expected);
            };
            std::thread::spawn(filtered).join().unwrap();
        }
    });
}

const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
const GROUP: &str = "/proc/sys/kernel/io_uring_group";

fn set(file: &str, value: &str) {
    fs::write(file, value).unwrap_or_else(|error| panic!("{file}: {error}"));
}

/// From now on nobody, with this group.
fn become_somebody(group: u32) {
    // SAFETY: changes who this process is, and nothing in memory.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!((libc::setgid(group), libc::setuid(65534)), (0, 0));
    }
}

/// The switch is the whole system's: so this runs in a machine of its own, alone.
#[test]
#[ignore = "switches io_uring off: cargo xtask kernels"]
fn by_the_switch() {
    let test = "denied::by_the_switch";
    if std::env::var_os("RINGWAY_GUEST").is_none() {
        return skip(test, "it switches io_uring off for the whole system");
    }
    if !has(6, 6, test, "kernel.io_uring_disabled") {
        assert!(!Path::new(DISABLED).exists());
        return;
    }
    let sysctl = |value| Unavailable::DeniedBySysctl { value };
    let child = |name: &str, group: Option<u32>, expected: Option<Unavailable>| {
        let pid = {
            // SAFETY: this process has one thread besides that of the test harness, which
            // waits for it; the child ends below.
            unsafe { libc::fork() }
        };
        if pid == 0 {
            if let Some(group) = group {
                become_somebody(group);
            }
            let built = any().build_local().map(drop);
            let right = match expected {
                None => built.is_ok(),
                Some(reason) => built == Err(SetupError::Unavailable(reason)),
            };
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 0;
        // SAFETY: waits for that child, and writes one number.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(status, 0, "{name}");
    };
    set(DISABLED, "1");
    child("1: root", None, None);
    child("1: nobody", Some(65534), Some(sysctl(1)));
    set(GROUP, "4000");
    child("1: a member of the group", Some(4000), None);
    child("1: no member of the group", Some(65534), Some(sysctl(1)));
    set(DISABLED, "2");
    child("2: root", None, Some(sysctl(2)));
    child("2: nobody", Some(65534), Some(sysctl(2)));
    child("2: a member of the group", Some(4000), Some(sysctl(2)));
    // A ring that there is goes on: only making one is forbidden.
    set(DISABLED, "0");
    child("0: nobody", Some(65534), None);
}

/// Below Linux 5.18 there is no ring but a legacy one, and the error says why.
#[test]
fn by_an_old_kernel() {
    if linux(5, 18) {
        assert!(Ring::builder(8).build().is_ok());
        return;
    }
    let refused = |built: Result<(), SetupError>| {
        let error = built.expect_err("was built");
        let text = error.to_string();
        assert!(text.starts_with("SUBMIT_ALL needs Linux 5.18"), "{text}");
        assert!(text.contains("Builder::legacy"), "{text}");
    };
    let base = Ring::builder(8);
    refused(base.build().map(drop));
    refused(base.build_local().map(drop));
    refused(base.build_disabled().map(drop));
    // What is newer still is named first: it is what the user asked for.
    let error = any().coop_taskrun().build_local().expect_err("was built");
    assert!(
        error
            .to_string()
            .starts_with("COOP_TASKRUN needs Linux 5.19")
    );
}
