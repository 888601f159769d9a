//! Filters that look at each operation.

use super::{Registrar, count};
use crate::abi::{self, bpf, register};
use crate::flags::flags;
use crate::syscall::{self, Errno};

flags! {
    /// Flags of a [`BpfFilter`].
    BpfFlags: u16 {
        /// Refuses from now on every opcode that has no filter. Linux 7.0.
        DENY_REST = bpf::FILTER_DENY_REST,
        /// The size of the payload must be the kernel's, not only no larger. Linux 7.0.
        SZ_STRICT = bpf::FILTER_SZ_STRICT,
    }
}

/// A program in classic BPF that decides on each operation of one opcode: 0 refuses it with
/// `EACCES`, anything else lets the next filter decide.
///
/// With `BPF_LD | BPF_W | BPF_ABS` the program loads aligned words of this, in the byte order
/// of the machine:
///
/// | offset | size | |
/// |---|---|---|
/// | 0 | 8 | `user_data` |
/// | 8 | 1 | the opcode |
/// | 9 | 1 | the flags of the SQE |
/// | 10 | 1 | the size of the payload |
/// | 16 | | the payload: for `SOCKET` family, type and protocol, 4 bytes each; for `OPENAT` and `OPENAT2` flags, mode and resolve, 8 bytes each; for the others none |
///
/// ```no_run
/// use ringway::register::{BpfFilter, BpfFlags};
/// use ringway::{Ring, op};
///
/// // Not run: Linux 7.0. AF_INET sockets alone: load the family, compare, return.
/// let instruction = |code, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
/// let program = [
///     instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 16),
///     instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::AF_INET as u32),
///     instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 1),
///     instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
/// ];
/// let mut filter = BpfFilter {
///     opcode: op::SOCKET,
///     program: &program,
///     payload: 12,
///     flags: BpfFlags::NONE,
/// };
/// let ring = Ring::builder(8).build()?;
/// ring.registrar().register_bpf_filter(&mut filter)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BpfFilter<'p> {
    /// Whose operations are filtered; see [`op`](crate::op).
    pub opcode: u8,
    /// 1 to 4096 instructions; jumps, arithmetic and loads of words only.
    pub program: &'p [libc::sock_filter],
    /// How many bytes of payload the program knows: no more than the kernel has for the
    /// opcode. Registering sets it to what the kernel has.
    pub payload: u8,
    /// See [`BpfFlags`].
    pub flags: BpfFlags,
}

impl BpfFilter<'_> {
    fn register(
        &mut self,
        call: impl FnOnce(*mut abi::Bpf) -> Result<u32, Errno>,
    ) -> Result<(), Errno> {
        let mut argument = abi::Bpf {
            cmd_type: bpf::CMD_FILTER,
            filter: abi::BpfFilter {
                opcode: self.opcode.into(),
                flags: self.flags.0.into(),
                filter_len: count(self.program)?,
                pdu_size: self.payload,
                filter_ptr: self.program.as_ptr().expose_provenance() as u64,
                ..abi::BpfFilter::default()
            },
            ..abi::Bpf::default()
        };
        let done = call(&mut argument);
        self.payload = argument.filter.pdu_size;
        done.map(|_| ())
    }
}

impl Registrar<'_> {
    /// Has operations of this ring filtered, for good; the newest filter of an opcode comes
    /// first, and all must let an operation pass. The kernel copies the program. Linux 7.0;
    /// `io_uring_register_bpf_filter(3)`.
    ///
    /// # Errors
    ///
    /// `EINVAL` also before Linux 7.0, and for a program that does what it must not;
    /// `EMSGSIZE` for a payload larger than the kernel's, or with
    /// [`SZ_STRICT`](BpfFlags::SZ_STRICT) another: [`payload`](BpfFilter::payload) is the
    /// kernel's then; `ENOMEM`.
    pub fn register_bpf_filter(self, filter: &mut BpfFilter<'_>) -> Result<(), Errno> {
        // SAFETY: the kernel copies the argument and the program, and writes to the
        // argument, during the call.
        filter
            .register(|argument| unsafe { self.register(register::BPF_FILTER, argument.cast(), 1) })
    }
}

/// Has the operations of every ring filtered that the calling thread makes from now on, and
/// of those that the threads and processes make which it starts. Cannot be taken back. Linux
/// 7.0; `io_uring_register_bpf_filter_task(3)`.
///
/// # Errors
///
/// As [`Registrar::register_bpf_filter`]; `EACCES` for a thread that has neither
/// `CAP_SYS_ADMIN` nor `no_new_privs` (`prctl(2)`).
pub fn register_bpf_filter_task(filter: &mut BpfFilter<'_>) -> Result<(), Errno> {
    // SAFETY: the kernel copies the argument and the program, and writes to the argument,
    // during the call.
    filter.register(|argument| unsafe {
        syscall::io_uring_register(-1, register::BPF_FILTER, argument.cast(), 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_and_the_answer() {
        let program = [libc::sock_filter {
            code: 6,
            jt: 0,
            jf: 0,
            k: 1,
        }; 3];
        let mut filter = BpfFilter {
            opcode: 45,
            program: &program,
            payload: 99,
            flags: BpfFlags::SZ_STRICT,
        };
        let refused = Errno::from_raw(libc::EMSGSIZE);
        let registered = filter.register(|argument| {
            // SAFETY: the argument is valid during the call, and nobody else has it.
            let argument = unsafe { &mut *argument };
            let given = &mut argument.filter;
            assert_eq!(
                (argument.cmd_type, argument.cmd_flags),
                (bpf::CMD_FILTER, 0)
            );
            assert_eq!((given.opcode, given.flags), (45, 2));
            assert_eq!((given.filter_len, given.pdu_size), (3, 99));
            assert_eq!(given.filter_ptr, program.as_ptr().addr() as u64);
            given.pdu_size = 12;
            Err(refused)
        });
        assert_eq!((registered, filter.payload), (Err(refused), 12));
    }
}
