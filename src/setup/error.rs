//! Why there is no ring, and what to do about it.

use std::fmt;

use super::flags::{Names, SETUP};
use crate::abi::setup;
use crate::mapping::MapError;
use crate::syscall::Errno;

/// Why a ring was not made.
///
/// Arguments and flags have the names of `io_uring_setup(2)`. Nothing is left
/// behind: no file descriptor, no mapping, no thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// A number is below what is possible.
    TooFew {
        /// `"entries"`, `"cq_entries"` or `"max_passes"`.
        argument: &'static str,
        /// What was asked.
        given: u32,
        /// The least that is accepted here.
        min: u32,
        /// Why not less.
        reason: &'static str,
    },
    /// A number of entries is above the kernel's limit.
    TooMany {
        /// `"entries"` or `"cq_entries"`.
        argument: &'static str,
        /// What was asked.
        given: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// A number of entries is no power of two. The kernel would round it up;
    /// nobody would know how large the ring is.
    NotPowerOfTwo {
        /// `"entries"` or `"cq_entries"`.
        argument: &'static str,
        /// What was asked.
        given: u32,
        /// The next larger one.
        next: u32,
    },
    /// Ringway does not offer the flag, or not in this mode.
    Refused {
        /// The setup flag, or `"REGISTER_RING_FDS"`, or `"legacy"`.
        flag: &'static str,
        /// Why, and what to take instead.
        reason: &'static str,
    },
    /// The flag is meaningless without another one.
    Needs {
        /// The setup flag.
        flag: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// The two flags contradict each other.
    Excludes {
        /// The setup flag, or `"REGISTER_RING_FDS"`.
        flag: &'static str,
        /// The one that it cannot go with.
        other: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The kernel refused, and it is older than the flag.
    UnsupportedFlag {
        /// The setup flag.
        flag: &'static str,
        /// The Linux that brought it.
        since: &'static str,
        /// The release that is running.
        running: String,
    },
    /// The kernel made a ring, but lacks what every ring here relies on, or what was asked
    /// for.
    MissingFeature {
        /// The feature, as in [`Features`](crate::Features).
        feature: &'static str,
        /// The Linux that brought it.
        since: &'static str,
    },
    /// The SQPOLL thread cannot run on the CPU that was asked for.
    SqPollCpu {
        /// The CPU's number.
        cpu: u32,
    },
    /// The kernel could not start the SQPOLL thread.
    SqPollThread {
        /// What it said.
        errno: Errno,
        /// `RLIMIT_NPROC`, if there is one.
        limit: Option<u64>,
    },
    /// The file descriptor given to `attach_wq` is closed, or is no ring.
    AttachWq {
        /// What the kernel said.
        errno: Errno,
    },
    /// All of the thread's 16 places for registered rings are taken.
    RegisteredRingsFull,
    /// The ring's descriptor could not be registered; what the kernel said.
    RegisterRingFd(Errno),
    /// The kernel refused and did not say which argument it meant.
    Rejected {
        /// All setup flags of the call, as the kernel has them: `IORING_SETUP_*` of
        /// `linux/io_uring.h`. The message names them.
        flags: u32,
        /// What the kernel said.
        errno: Errno,
    },
    /// A disabled ring could not be enabled; what the kernel said.
    Enable(Errno),
    /// There is no io_uring for this process, or not enough of a resource.
    Unavailable(Unavailable),
    /// A ring was made, and its memory could not be mapped.
    Map {
        /// `"ring"` or `"sqes"`.
        region: &'static str,
        /// Its length in bytes.
        len: usize,
        /// What `mmap(2)` or `madvise(2)` said.
        errno: Errno,
    },
    /// The kernel's answer contradicts itself. Nothing was read through it.
    BadAnswer {
        /// The field of `struct io_uring_params`, or the word in the ring.
        field: &'static str,
    },
}

/// Why io_uring is not available to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// There is no such system call (`ENOSYS`).
    Missing {
        /// Whether a seccomp filter is installed, which may be what said so.
        seccomp: bool,
    },
    /// `kernel.io_uring_disabled` forbids it (`EPERM`).
    DeniedBySysctl {
        /// 1: for unprivileged processes. 2: for all.
        value: u8,
    },
    /// A seccomp filter forbids it (`EPERM`).
    DeniedBySeccomp,
    /// A Linux security module forbids it (`EACCES`).
    DeniedByLsm {
        /// Whether a seccomp filter is installed, which may be what said so.
        seccomp: bool,
    },
    /// Something else forbids it.
    Denied {
        /// What the kernel said.
        errno: Errno,
    },
    /// The ring is larger than the memory that may be locked (`ENOMEM`).
    Memlock {
        /// What the ring takes, in bytes.
        need: u64,
        /// `RLIMIT_MEMLOCK`, in bytes.
        limit: u64,
    },
    /// There is no memory (`ENOMEM`), although `RLIMIT_MEMLOCK` is large enough
    /// for this ring.
    OutOfMemory {
        /// What the ring takes, in bytes.
        need: u64,
        /// `RLIMIT_MEMLOCK` in bytes, if there is one. All rings and registered
        /// buffers of the user count against it; a closed ring does until the
        /// kernel has taken it apart, shortly after.
        limit: Option<u64>,
    },
    /// The process has as many files open as it may (`EMFILE`).
    NoFile {
        /// `RLIMIT_NOFILE`.
        limit: u64,
    },
    /// The system has as many files open as it may (`ENFILE`).
    SystemFiles,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew {
                argument,
                given,
                min,
                reason,
            } => write!(f, "{argument} is {given}: ask for at least {min}; {reason}"),
            Self::TooMany {
                argument,
                given,
                max,
            } => write!(
                f,
                "{argument} is {given}: ask for at most {max}, or set CLAMP to take what there is"
            ),
            Self::NotPowerOfTwo {
                argument,
                given,
                next,
            } => write!(f, "{argument} is {given}, no power of two: ask for {next}"),
            Self::Refused { flag, reason } => write!(f, "{flag} is refused: {reason}"),
            Self::Needs { flag, needs } => {
                write!(f, "{flag} needs {needs}: set that too, or leave {flag} out")
            }
            Self::Excludes {
                flag,
                other,
                reason,
            } => write!(
                f,
                "{flag} excludes {other}: {reason}; leave one of them out"
            ),
            Self::UnsupportedFlag {
                flag,
                since,
                running,
            } => {
                write!(f, "{flag} needs Linux {since} and this is {running}: ")?;
                if *flag == "SUBMIT_ALL" {
                    f.write_str("only a local ring can do without, see Builder::legacy")
                } else if *flag == "NO_SQARRAY" {
                    f.write_str("use Order::Any, or a newer kernel")
                } else {
                    f.write_str("leave it out, or use a newer kernel")
                }
            }
            Self::MissingFeature { feature, since } => {
                write!(
                    f,
                    "this kernel lacks {feature}, which came with Linux {since}: "
                )?;
                match *feature {
                    "NO_IOWAIT" => f.write_str("leave no_iowait out, or use a newer kernel"),
                    _ => f.write_str("every ring relies on it, so a newer kernel is needed"),
                }
            }
            Self::SqPollCpu { cpu } => write!(
                f,
                "SQ_AFF: no CPU {cpu} is online and allowed to this process: \
                 see Cpus_allowed_list in /proc/self/status"
            ),
            Self::SqPollThread { errno, limit } => {
                write!(f, "the SQPOLL thread could not be started ({errno})")?;
                match limit {
                    Some(limit) => write!(f, ": RLIMIT_NPROC is {limit}, end threads or raise it"),
                    None => f.write_str(": leave SQPOLL out, or end threads"),
                }
            }
            Self::AttachWq { errno } => write!(
                f,
                "attach_wq: not the open file descriptor of a ring ({errno})"
            ),
            Self::RegisteredRingsFull => f.write_str(
                "REGISTERED_FD_ONLY or register_ring_fd: this thread has 16 registered rings, the \
                 most there can be: drop one, or leave it out",
            ),
            Self::RegisterRingFd(errno) => write!(
                f,
                "the ring's descriptor could not be registered ({errno}): leave register_ring_fd \
                 out"
            ),
            Self::Rejected { flags, errno } => {
                let names = Names {
                    table: &SETUP,
                    bits: *flags,
                };
                write!(
                    f,
                    "the kernel rejected the setup with {names} ({errno}): try fewer flags"
                )?;
                if flags & setup::NO_MMAP != 0 {
                    f.write_str("; NO_MMAP takes more than a page each only from Linux 6.10 on")?;
                }
                Ok(())
            }
            Self::Enable(errno) => write!(
                f,
                "the ring could not be enabled ({errno}): a ring is enabled once"
            ),
            Self::Unavailable(reason) => write!(f, "io_uring is not available: {reason}"),
            Self::Map { region, len, errno } => write!(
                f,
                "{len} bytes could not be mapped for {region} ({errno}): see RLIMIT_AS, \
                 vm.max_map_count, and with mlockall(2) RLIMIT_MEMLOCK"
            ),
            Self::BadAnswer { field } => write!(
                f,
                "the kernel's {field} does not fit the rest of its answer: \
                 this is no kernel that Ringway can work with"
            ),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { seccomp: false } => f.write_str(
                "this kernel has no io_uring (ENOSYS); it came with Linux 5.1 and can be left \
                 out when the kernel is built (CONFIG_IO_URING)",
            ),
            Self::Missing { seccomp: true } => f.write_str(
                "the system call is missing (ENOSYS), and a seccomp filter is installed: \
                 have the filter allow io_uring_setup, io_uring_enter and io_uring_register, \
                 or use a kernel with io_uring",
            ),
            Self::DeniedBySysctl { value: 1 } => f.write_str(
                "kernel.io_uring_disabled is 1: set it to 0, join the group in \
                 kernel.io_uring_group, or run with CAP_SYS_ADMIN",
            ),
            Self::DeniedBySysctl { value } => {
                write!(f, "kernel.io_uring_disabled is {value}: set it to 0")
            }
            Self::DeniedBySeccomp => f.write_str(
                "a seccomp filter forbids it (EPERM): have the filter (of the container, the \
                 service manager or the sandbox) allow io_uring_setup, io_uring_enter and \
                 io_uring_register",
            ),
            Self::DeniedByLsm { seccomp } => {
                f.write_str(
                    "a security module forbids it (EACCES): see the audit log and the policy of \
                     SELinux, AppArmor or Smack",
                )?;
                if *seccomp {
                    f.write_str("; or the seccomp filter that is installed does")?;
                }
                Ok(())
            }
            Self::Denied { errno } => write!(
                f,
                "something forbids it ({errno}), neither kernel.io_uring_disabled nor a seccomp \
                 filter of this thread: see the security policy of the system"
            ),
            Self::Memlock { need, limit } => write!(
                f,
                "the ring takes {need} bytes of locked memory and RLIMIT_MEMLOCK is {limit}: \
                 raise the limit, or ask for fewer entries"
            ),
            Self::OutOfMemory {
                need,
                limit: Some(limit),
            } => write!(
                f,
                "no memory for the {need} bytes of the ring: all rings and registered buffers of \
                 the user together may lock {limit} bytes (RLIMIT_MEMLOCK), and a memory cgroup \
                 may allow less"
            ),
            Self::OutOfMemory { need, limit: None } => write!(
                f,
                "no memory for the {need} bytes of the ring: see the limit of the memory cgroup, \
                 or ask for fewer entries"
            ),
            Self::NoFile { limit } => write!(
                f,
                "the process has all its {limit} files open: close some, or raise RLIMIT_NOFILE"
            ),
            Self::SystemFiles => f.write_str(
                "the system has all its files open: see fs.file-max in /proc/sys/fs/file-nr",
            ),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::SqPollThread { errno, .. }
            | Self::AttachWq { errno }
            | Self::Rejected { errno, .. }
            | Self::Enable(errno)
            | Self::RegisterRingFd(errno)
            | Self::Map { errno, .. } => Some(errno),
            Self::Unavailable(reason) => Some(reason),
            _ => None,
        }
    }
}

impl std::error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Denied { errno } => Some(errno),
            _ => None,
        }
    }
}

impl From<Unavailable> for SetupError {
    fn from(reason: Unavailable) -> Self {
        Self::Unavailable(reason)
    }
}

impl From<MapError> for SetupError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Refused { region, len, errno } => Self::Map { region, len, errno },
            MapError::Answer { field } => Self::BadAnswer { field },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_told_what_to_do() {
        let text = |flag| {
            let since = "6.6";
            let running = "6.1.9".to_owned();
            let error = SetupError::UnsupportedFlag {
                flag,
                since,
                running,
            };
            error.to_string()
        };
        assert!(
            text("CQE_MIXED").starts_with("CQE_MIXED needs Linux 6.6 and this is 6.1.9: leave")
        );
        assert!(text("NO_SQARRAY").contains("use Order::Any"));
        assert!(text("SUBMIT_ALL").contains("see Builder::legacy"));
    }

    #[test]
    fn a_rejection_lists_the_flags() {
        let text = |flags| {
            let errno = Errno::from_raw(libc::EINVAL);
            SetupError::Rejected { flags, errno }.to_string()
        };
        assert!(text(setup::SQPOLL | setup::CLAMP).contains("with SQPOLL | CLAMP (EINVAL"));
        assert!(!text(setup::SQPOLL).contains("6.10"));
        assert!(text(setup::NO_MMAP).contains("Linux 6.10"));
    }

    #[test]
    fn the_cause_is_the_source() {
        use std::error::Error;
        let error = SetupError::from(Unavailable::SystemFiles);
        let source = error.source().expect("a source");
        assert_eq!(source.to_string(), Unavailable::SystemFiles.to_string());
        let errno = Errno::from_raw(libc::ENOMEM);
        let error = SetupError::from(MapError::Refused {
            region: "sqes",
            len: 64,
            errno,
        });
        assert_eq!(error.source().unwrap().to_string(), errno.to_string());
        let text = error.to_string();
        assert!(text.contains("64 bytes") && text.contains("sqes"), "{text}");
    }
}
