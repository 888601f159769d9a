//! From an errno of `io_uring_setup(2)` to the reason.
//!
//! The kernel has two dozen reasons and half as many numbers. What else is known
//! about the process only words an error that the kernel has already returned; it
//! never decides whether to ask.

use std::fs;
use std::mem::MaybeUninit;

use super::error::{SetupError, Unavailable};
use super::flags::{SETUP, version};
use crate::abi::setup;
use crate::syscall::Errno;

/// What the kernel was asked.
pub(super) struct Asked {
    pub(super) flags: u32,
    /// With `SQ_AFF`.
    pub(super) cpu: u32,
    /// What the ring takes of locked memory, in bytes.
    pub(super) need: u64,
}

/// What may explain a refusal. Files that could not be read are empty; a limit of
/// `None` is none.
#[derive(Default)]
pub(super) struct Surroundings {
    /// `/proc/sys/kernel/io_uring_disabled`.
    disabled: String,
    /// `/proc/thread-self/status`.
    status: String,
    /// That of uname(2), which needs no file: there may be none left.
    release: String,
    memlock: Option<u64>,
    nofile: Option<u64>,
    nproc: Option<u64>,
}

impl Surroundings {
    /// Those of the calling thread.
    pub(super) fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let [memlock, nofile, nproc] = limits();
        Self {
            disabled: read("/proc/sys/kernel/io_uring_disabled"),
            status: read("/proc/thread-self/status"),
            release: release(),
            memlock,
            nofile,
            nproc,
        }
    }

    fn status(&self, key: &str) -> Option<&str> {
        self.status
            .lines()
            .find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
    }

    fn seccomp(&self) -> bool {
        // 0: none. 1: strict. 2: a filter.
        self.status("Seccomp") == Some("2")
    }

    fn sys_admin(&self) -> bool {
        const CAP_SYS_ADMIN: u32 = 21;
        let capabilities = self.status("CapEff").unwrap_or_default();
        u64::from_str_radix(capabilities, 16).is_ok_and(|bits| bits >> CAP_SYS_ADMIN & 1 != 0)
    }

    /// Whether the list of CPUs, such as `0-3,8`, has this one.
    fn allows_cpu(&self, cpu: u32) -> bool {
        let list = self.status("Cpus_allowed_list").unwrap_or_default();
        list.split(',').any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            match (first.parse::<u32>(), last.parse::<u32>()) {
                (Ok(first), Ok(last)) => (first..=last).contains(&cpu),
                _ => false,
            }
        })
    }
}

/// The kernel's, such as `6.18.44`.
fn release() -> String {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: uname(2) writes strings into the structure, which may be all zeros.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let bytes = name.release.iter().map(|&byte| byte.cast_unsigned());
    let bytes = bytes.take_while(|&byte| byte != 0).collect();
    String::from_utf8(bytes).unwrap_or_default()
}

/// `RLIMIT_MEMLOCK`, `RLIMIT_NOFILE`, `RLIMIT_NPROC`.
fn limits() -> [Option<u64>; 3] {
    // The type of these constants differs from one libc to the next.
    [
        libc::RLIMIT_MEMLOCK,
        libc::RLIMIT_NOFILE,
        libc::RLIMIT_NPROC,
    ]
    .map(|resource| {
        let mut limit = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: getrlimit(2) writes one `rlimit`. On failure it stays as it is.
        unsafe { libc::getrlimit(resource, &mut limit) };
        #[allow(clippy::unnecessary_cast, reason = "some targets have 32 bits there")]
        (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as u64)
    })
}

/// The reason for `errno`.
pub(super) fn diagnose(errno: Errno, asked: &Asked, around: &Surroundings) -> SetupError {
    let set = |flag| asked.flags & flag != 0;
    match errno.raw() {
        libc::ENOSYS => Unavailable::Missing {
            seccomp: around.seccomp(),
        }
        .into(),
        libc::EPERM => denied(errno, around).into(),
        libc::EACCES => Unavailable::DeniedByLsm {
            seccomp: around.seccomp(),
        }
        .into(),
        libc::ENOMEM => no_memory(asked.need, around.memlock).into(),
        libc::EMFILE => Unavailable::NoFile {
            limit: around.nofile.unwrap_or(u64::MAX),
        }
        .into(),
        libc::ENFILE => Unavailable::SystemFiles.into(),
        libc::EAGAIN if set(setup::SQPOLL) => SetupError::SqPollThread {
            errno,
            limit: around.nproc,
        },
        libc::ENXIO if set(setup::ATTACH_WQ) => SetupError::AttachWq { errno },
        libc::EBUSY if set(setup::REGISTERED_FD_ONLY) => SetupError::RegisteredRingsFull,
        libc::EINVAL => invalid(errno, asked, around),
        _ => SetupError::Rejected {
            flags: asked.flags,
            errno,
        },
    }
}

/// `EPERM`. The kernel looks at the sysctl, a filter stands before it.
fn denied(errno: Errno, around: &Surroundings) -> Unavailable {
    let seccomp = around.seccomp();
    match around.disabled.trim().parse() {
        Ok(2) => Unavailable::DeniedBySysctl { value: 2 },
        // Level 1 does not concern who has the capability.
        Ok(1) if !(seccomp && around.sys_admin()) => Unavailable::DeniedBySysctl { value: 1 },
        _ if seccomp => Unavailable::DeniedBySeccomp,
        _ => Unavailable::Denied { errno },
    }
}

fn no_memory(need: u64, limit: Option<u64>) -> Unavailable {
    match limit {
        Some(limit) if limit < need => Unavailable::Memlock { need, limit },
        limit => Unavailable::OutOfMemory { need, limit },
    }
}

/// `EINVAL`. Contradictions were refused before, so what is left is a flag that
/// the kernel does not know, or a value that only it can judge.
fn invalid(errno: Errno, asked: &Asked, around: &Surroundings) -> SetupError {
    let running = version(&around.release);
    let too_new = SETUP
        .iter()
        .filter(|flag| asked.flags & flag.bit != 0)
        .find(|flag| running.is_some_and(|running| version(flag.since) > Some(running)));
    if let Some(flag) = too_new {
        return SetupError::UnsupportedFlag {
            flag: flag.name,
            since: flag.since,
            running: around.release.trim().to_owned(),
        };
    }
    if asked.flags & setup::SQ_AFF != 0 && !around.allows_cpu(asked.cpu) {
        return SetupError::SqPollCpu { cpu: asked.cpu };
    }
    if asked.flags & setup::ATTACH_WQ != 0 {
        return SetupError::AttachWq { errno };
    }
    SetupError::Rejected {
        flags: asked.flags,
        errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tringway\nCapEff:\t0000000000000000\nSeccomp:\t0\n\
                          Seccomp_filters:\t2\nCpus_allowed_list:\t0-1,4\n";

    fn around() -> Surroundings {
        Surroundings {
            disabled: "0\n".into(),
            status: STATUS.into(),
            release: "6.18.44\n".into(),
            ..Surroundings::default()
        }
    }

    fn filtered(mut around: Surroundings) -> Surroundings {
        around.status = around.status.replace("Seccomp:\t0", "Seccomp:\t2");
        around
    }

    fn privileged(mut around: Surroundings) -> Surroundings {
        let admin = "CapEff:\t0000000000200000";
        around.status = around.status.replace("CapEff:\t0000000000000000", admin);
        around
    }

    fn disabled(value: &str) -> Surroundings {
        Surroundings {
            disabled: value.into(),
            ..around()
        }
    }

    fn reason(errno: i32, around: &Surroundings) -> Unavailable {
        match why(errno, setup::SUBMIT_ALL, around) {
            SetupError::Unavailable(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn why(errno: i32, flags: u32, around: &Surroundings) -> SetupError {
        let asked = Asked {
            flags,
            cpu: 3,
            need: 8192,
        };
        diagnose(Errno::from_raw(errno), &asked, around)
    }

    #[test]
    fn a_missing_call_may_be_the_filters_word() {
        let missing = |seccomp| Unavailable::Missing { seccomp };
        assert_eq!(reason(libc::ENOSYS, &around()), missing(false));
        assert_eq!(reason(libc::ENOSYS, &filtered(around())), missing(true));
    }

    #[test]
    fn eperm_is_the_sysctl_the_filter_or_unknown() {
        let why = |around| reason(libc::EPERM, &around);
        let sysctl = |value| Unavailable::DeniedBySysctl { value };
        assert_eq!(why(disabled("1\n")), sysctl(1));
        assert_eq!(why(disabled("2\n")), sysctl(2));
        assert_eq!(why(privileged(disabled("2\n"))), sysctl(2));
        assert_eq!(why(filtered(disabled("1\n"))), sysctl(1));
        // Level 1 lets the privileged through: it must have been the filter.
        let filtered_admin = filtered(privileged(disabled("1\n")));
        assert_eq!(why(filtered_admin), Unavailable::DeniedBySeccomp);
        assert_eq!(why(filtered(around())), Unavailable::DeniedBySeccomp);
        assert_eq!(why(filtered(disabled(""))), Unavailable::DeniedBySeccomp);
        let errno = Errno::from_raw(libc::EPERM);
        assert_eq!(why(around()), Unavailable::Denied { errno });
        assert_eq!(why(Surroundings::default()), Unavailable::Denied { errno });
    }

    #[test]
    fn eacces_is_the_security_module() {
        let lsm = |seccomp| Unavailable::DeniedByLsm { seccomp };
        assert_eq!(reason(libc::EACCES, &around()), lsm(false));
        assert_eq!(reason(libc::EACCES, &filtered(around())), lsm(true));
    }

    #[test]
    fn enomem_tells_the_limit_from_the_machine() {
        let limited = |memlock| Surroundings {
            memlock,
            ..around()
        };
        let why = |memlock| reason(libc::ENOMEM, &limited(memlock));
        assert_eq!(
            why(Some(8191)),
            Unavailable::Memlock {
                need: 8192,
                limit: 8191
            }
        );
        for limit in [Some(8192), None] {
            assert_eq!(why(limit), Unavailable::OutOfMemory { need: 8192, limit });
        }
    }

    #[test]
    fn files_run_out_in_the_process_or_in_the_system() {
        let around = Surroundings {
            nofile: Some(64),
            ..around()
        };
        assert_eq!(
            reason(libc::EMFILE, &around),
            Unavailable::NoFile { limit: 64 }
        );
        assert_eq!(reason(libc::ENFILE, &around), Unavailable::SystemFiles);
    }

    #[test]
    fn einval_names_the_first_flag_that_is_too_new() {
        let on = |release: &str, flags| {
            let around = Surroundings {
                release: release.into(),
                ..around()
            };
            match why(libc::EINVAL, flags | setup::SUBMIT_ALL, &around) {
                SetupError::UnsupportedFlag { flag, since, .. } => (flag, since),
                SetupError::Rejected { .. } => ("", ""),
                other => panic!("{other:?}"),
            }
        };
        let deferred = setup::SINGLE_ISSUER | setup::DEFER_TASKRUN;
        assert_eq!(on("6.0.9\n", deferred), ("DEFER_TASKRUN", "6.1"));
        assert_eq!(on("5.19.0\n", deferred), ("SINGLE_ISSUER", "6.0"));
        assert_eq!(on("5.17.0\n", deferred), ("SUBMIT_ALL", "5.18"));
        assert_eq!(on("6.1.0\n", deferred), ("", ""));
        assert_eq!(on("", deferred), ("", ""));
    }

    #[test]
    fn einval_names_the_value_that_only_the_kernel_can_judge() {
        let on = |flags| why(libc::EINVAL, flags | setup::SQPOLL, &around());
        assert_eq!(on(setup::SQ_AFF), SetupError::SqPollCpu { cpu: 3 });
        let errno = Errno::from_raw(libc::EINVAL);
        assert_eq!(on(setup::ATTACH_WQ), SetupError::AttachWq { errno });
        let flags = setup::SQPOLL;
        assert_eq!(on(0), SetupError::Rejected { flags, errno });
    }

    #[test]
    fn lists_of_cpus_are_read() {
        let around = around();
        let allowed: Vec<u32> = (0..6).filter(|&cpu| around.allows_cpu(cpu)).collect();
        assert_eq!(allowed, [0, 1, 4]);
        assert!(!Surroundings::default().allows_cpu(0));
    }

    #[test]
    fn the_rest_is_named_by_its_flag() {
        let around = Surroundings {
            nproc: Some(9),
            ..around()
        };
        let why = |errno, flags| why(errno, flags, &around);
        let errno = Errno::from_raw(libc::EAGAIN);
        let limit = Some(9);
        assert_eq!(
            why(libc::EAGAIN, setup::SQPOLL),
            SetupError::SqPollThread { errno, limit }
        );
        let errno = Errno::from_raw(libc::ENXIO);
        assert_eq!(
            why(libc::ENXIO, setup::ATTACH_WQ),
            SetupError::AttachWq { errno }
        );
        assert_eq!(
            why(libc::EBUSY, setup::REGISTERED_FD_ONLY),
            SetupError::RegisteredRingsFull
        );
        let errno = Errno::from_raw(libc::EBUSY);
        let flags = setup::CLAMP;
        assert_eq!(
            why(libc::EBUSY, flags),
            SetupError::Rejected { flags, errno }
        );
    }

    #[test]
    fn the_surroundings_of_this_thread_are_readable() {
        let around = Surroundings::look();
        assert!(around.status("Seccomp").is_some());
        assert!(around.status("CapEff").is_some());
        assert!(version(&around.release).is_some());
        assert!((0..4096).any(|cpu| around.allows_cpu(cpu)));
    }
}
