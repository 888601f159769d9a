//! Each way in which the system refuses a ring, made for real in a child process:
//! the reason is typed, and what was made before is gone again.

mod child;
#[path = "child/refuse.rs"]
mod refuse;

use std::fs::{self, File};

use child::{has, here, in_child, linux, patiently, skip, traces};
use refuse::{deny, limit};
use ringway::{Builder, Errno, Ring, SetupError, Unavailable};

fn make(builder: Builder<'_>) -> Result<Ring, SetupError> {
    patiently(|| builder.build())
}

/// What the first attempt says.
#[track_caller]
fn reason(builder: Builder<'_>) -> Unavailable {
    let before = traces();
    let error = builder.build().expect_err("was built");
    assert_eq!(traces(), before);
    let text = error.to_string();
    let SetupError::Unavailable(reason) = error else {
        panic!("{error:?}");
    };
    assert_eq!(text, format!("io_uring is not available: {reason}"));
    reason
}

/// What the tests below stand on: a child's failure is the test's.
#[test]
#[should_panic = "found no line"]
fn a_failure_in_the_child_is_seen() {
    in_child("a_failure_in_the_child_is_seen", || panic!("found no line"));
}

#[test]
fn a_filter_that_answers_eperm() {
    in_child("a_filter_that_answers_eperm", || {
        assert!(make(Ring::builder(8)).is_ok());
        deny(libc::SYS_io_uring_setup, None, libc::EPERM);
        let reason = reason(Ring::builder(8));
        assert_eq!(reason, Unavailable::DeniedBySeccomp);
        assert!(reason.to_string().contains("seccomp filter"));
    });
}

#[test]
fn a_filter_that_answers_enosys() {
    in_child("a_filter_that_answers_enosys", || {
        deny(libc::SYS_io_uring_setup, None, libc::ENOSYS);
        let reason = reason(Ring::builder(8));
        assert_eq!(reason, Unavailable::Missing { seccomp: true });
        assert!(reason.to_string().contains("have the filter allow"));
    });
}

#[test]
fn a_filter_that_answers_eacces() {
    in_child("a_filter_that_answers_eacces", || {
        deny(libc::SYS_io_uring_setup, None, libc::EACCES);
        let reason = reason(Ring::builder(8));
        assert_eq!(reason, Unavailable::DeniedByLsm { seccomp: true });
        assert!(reason.to_string().contains("security module"));
    });
}

/// The filter is the calling thread's: another one's says nothing about it.
#[test]
fn the_filter_of_another_thread_is_not_blamed() {
    in_child("the_filter_of_another_thread_is_not_blamed", || {
        std::thread::spawn(|| {
            deny(libc::SYS_io_uring_setup, None, libc::EPERM);
            assert_eq!(reason(Ring::builder(8)), Unavailable::DeniedBySeccomp);
        })
        .join()
        .unwrap();
        assert!(make(Ring::builder(8)).is_ok());
    });
}

#[test]
fn no_files_left() {
    in_child("no_files_left", || {
        let before = traces();
        let knows_no_mmap = linux(6, 5);
        limit(libc::RLIMIT_NOFILE, 40);
        let mut files: Vec<File> = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        let error = make(Ring::builder(8)).expect_err("was built");
        let own = make(Ring::builder(8).no_mmap());
        let expected = Unavailable::NoFile { limit: 40 };
        assert_eq!(error, SetupError::Unavailable(expected));
        assert!(error.to_string().contains("all its 40 files"));
        let own = own.expect_err("was built");
        match knows_no_mmap {
            true => assert_eq!(own, error),
            // Without a file to read, the kernel's version is known.
            false => assert!(own.to_string().starts_with("NO_MMAP needs Linux 6.5")),
        }
        drop(files);
        assert_eq!(traces(), before);
        assert!(make(Ring::builder(8)).is_ok());
    });
}

/// Becomes a user of its own, to whom limits apply and whose memory nobody else
/// counts against.
fn lose_privileges() -> bool {
    let user = 2_000_000_000 + std::process::id();
    // SAFETY: changes who this process is, and nothing in memory.
    unsafe { libc::geteuid() == 0 && libc::setgid(user) == 0 && libc::setuid(user) == 0 }
}

#[test]
fn too_little_memory_to_lock() {
    let test = "too_little_memory_to_lock";
    in_child(test, || {
        if !lose_privileges() {
            return skip(test, "only root can become another user");
        }
        // The header, 8192 CQEs and the index array; 4096 SQEs.
        let need = pages(64 + 8192 * 16 + 4096 * 4) + pages(4096 * 64);
        limit(libc::RLIMIT_MEMLOCK, need - 1);
        // Not every kernel counts rings.
        if !here(&[("5.18", false), ("6.18", true), ("7.2", false)]) {
            assert!(make(Ring::builder(4096)).is_ok());
            return;
        }
        assert_eq!(
            reason(Ring::builder(4096)),
            Unavailable::Memlock {
                need,
                limit: need - 1
            }
        );
        // What was refused does not count: this fits exactly.
        limit(libc::RLIMIT_MEMLOCK, need);
        let ring = Ring::builder(4096).build().unwrap();

        // Now the user has used it up, with a limit that would do for this one.
        assert_eq!(
            reason(Ring::builder(8)),
            Unavailable::OutOfMemory {
                need: 2 * pages(1),
                limit: Some(need)
            }
        );
        drop(ring);
    });
}

#[test]
fn no_thread_for_sqpoll() {
    let test = "no_thread_for_sqpoll";
    in_child(test, || {
        if !lose_privileges() {
            return skip(test, "only root can become another user");
        }
        limit(libc::RLIMIT_NPROC, 1);
        let before = traces();
        let sqpoll = Ring::builder(8).sqpoll(ringway::SqPoll::new());
        assert_eq!(
            sqpoll.build().expect_err("was built"),
            SetupError::SqPollThread {
                errno: Errno::from_raw(libc::EAGAIN),
                limit: Some(1)
            }
        );
        assert_eq!(traces(), before);
    });
}

/// Rounded up to whole pages.
fn pages(bytes: u64) -> u64 {
    // SAFETY: reads a constant.
    bytes.next_multiple_of(unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64)
}

/// Address space of this process, in bytes.
fn address_space() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let size: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    size * pages(1)
}

/// The region that could not be mapped; nothing is left of the other.
#[track_caller]
fn unmapped(builder: Builder<'_>) -> &'static str {
    let before = traces();
    let error = make(builder).expect_err("was built");
    assert_eq!(traces(), before, "{error}");
    let SetupError::Map {
        region,
        errno,
        len: _,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(errno, Errno::from_raw(libc::ENOMEM));
    region
}

/// Both regions are far larger than what else the process may map meanwhile:
/// 1.1 MiB of rings and 2 MiB of SQEs.
const LARGEST: u32 = 32768;
const MIB: u64 = 1 << 20;

#[test]
fn each_mapping_that_fails_takes_the_others_along() {
    let test = "each_mapping_that_fails_takes_the_others_along";
    in_child(test, || {
        let kernels = Ring::builder(LARGEST);
        let both = [kernels, kernels.no_mmap()];
        let own = has(6, 10, test, "NO_MMAP of any size");
        let count = if own { 2 } else { 1 };
        for builder in &both[..count] {
            let base = address_space();
            limit(libc::RLIMIT_AS, base + MIB / 2);
            assert_eq!(unmapped(*builder), "ring");
            limit(libc::RLIMIT_AS, base + 2 * MIB);
            assert_eq!(unmapped(*builder), "sqes");
            limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
            assert!(make(*builder).is_ok());
        }
    });
}

#[test]
fn each_dontfork_that_fails_takes_the_mappings_along() {
    let test = "each_dontfork_that_fails_takes_the_mappings_along";
    in_child(test, || {
        let kernels = Ring::builder(LARGEST);
        let own = has(6, 10, test, "NO_MMAP of any size");
        // 64 bytes each; then, for memory of the process's own, all that is left.
        deny(libc::SYS_madvise, Some((1, LARGEST * 64)), libc::ENOMEM);
        assert_eq!(unmapped(kernels), "sqes");
        deny(
            libc::SYS_madvise,
            Some((2, libc::MADV_DONTFORK as u32)),
            libc::ENOMEM,
        );
        assert_eq!(unmapped(kernels), "ring");
        if own {
            assert_eq!(unmapped(kernels.no_mmap()), "ring");
        }
    });
}

#[test]
fn memory_of_the_process_goes_when_the_kernel_refuses() {
    let test = "memory_of_the_process_goes_when_the_kernel_refuses";
    in_child(test, || {
        if has(6, 5, test, "NO_MMAP") {
            deny(libc::SYS_io_uring_setup, None, libc::EPERM);
            let own = Ring::builder(LARGEST).no_mmap();
            assert_eq!(reason(own), Unavailable::DeniedBySeccomp);
        }
    });
}
