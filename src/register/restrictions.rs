//! What a ring may be asked, limited for good.

use std::ptr;

use super::{Registrar, count};
use crate::abi::{self, register, restriction, sqe_flags};
use crate::flags::flags;
use crate::syscall::{self, Errno};

flags! {
    /// The flags that every SQE has room for (`IOSQE_*`), for [`Restriction`].
    SqeFlags: u8 {
        /// The file is a registered one. Linux 5.1.
        FIXED_FILE = sqe_flags::FIXED_FILE,
        /// See [`Sqe::drain`](crate::Sqe::drain). Linux 5.2.
        IO_DRAIN = sqe_flags::IO_DRAIN,
        /// See [`Sqe::link`](crate::Sqe::link). Linux 5.3.
        IO_LINK = sqe_flags::IO_LINK,
        /// See [`Sqe::hardlink`](crate::Sqe::hardlink). Linux 5.5.
        IO_HARDLINK = sqe_flags::IO_HARDLINK,
        /// See [`Sqe::force_async`](crate::Sqe::force_async). Linux 5.6.
        ASYNC = sqe_flags::ASYNC,
        /// See [`Sqe::buffer_select`](crate::Sqe::buffer_select). Linux 5.7.
        BUFFER_SELECT = sqe_flags::BUFFER_SELECT,
        /// See [`Sqe::skip_success`](crate::Sqe::skip_success). Linux 5.17.
        CQE_SKIP_SUCCESS = sqe_flags::CQE_SKIP_SUCCESS,
    }
}

/// One entry of a list of restrictions. What no entry allows is refused with `EACCES`: a
/// registration by its errno, an operation by its CQE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// Allows a registration, by its number in [`opcode`](super::opcode).
    Register(u32),
    /// Allows an operation, by its number in [`op`](crate::op).
    Op(u8),
    /// Allows SQEs to have these flags. The last such entry counts.
    FlagsAllowed(SqeFlags),
    /// Refuses SQEs that have not all of these flags, which are then allowed too. The last
    /// such entry counts.
    FlagsRequired(SqeFlags),
}

impl Restriction {
    fn entry(self) -> Result<abi::Restriction, Errno> {
        let (opcode, op_or_flags) = match self {
            Self::Register(opcode) => {
                let opcode = u8::try_from(opcode).map_err(|_| Errno::from_raw(libc::EINVAL))?;
                (restriction::REGISTER_OP, opcode)
            }
            Self::Op(opcode) => (restriction::SQE_OP, opcode),
            Self::FlagsAllowed(flags) => (restriction::SQE_FLAGS_ALLOWED, flags.0),
            Self::FlagsRequired(flags) => (restriction::SQE_FLAGS_REQUIRED, flags.0),
        };
        Ok(abi::Restriction {
            opcode,
            op_or_flags,
            ..abi::Restriction::default()
        })
    }
}

impl Registrar<'_> {
    /// Restricts the ring to what the list allows, from when it is enabled on, for good and
    /// for everybody who has the ring. All in one call: there is no second.
    ///
    /// Before Linux 7.0 everything is refused that the list does not allow. Since then a
    /// list without operations or flags leaves all operations allowed, and one without
    /// registrations all registrations; an empty list refuses everything still. Linux 5.10;
    /// `io_uring_register_restrictions(3)`.
    ///
    /// ```
    /// use ringway::register::Restriction;
    /// use ringway::{Ring, op};
    ///
    /// let disabled = Ring::builder(8).build_disabled()?;
    /// let only_reads = [Restriction::Op(op::READ), Restriction::Op(op::READV)];
    /// disabled.registrar().register_restrictions(&only_reads)?;
    /// let ring = disabled.enable()?;
    ///
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: a NOP names no memory and no file.
    /// unsafe { slot.prep_nop() };
    /// slot.push();
    /// ring.submit()?;
    /// let cqe = ring.cq().wait_one(None)?.expect("no limit, so no timeout");
    /// assert_eq!(cqe.result().unwrap_err().raw(), libc::EACCES);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `EBADFD` when the ring runs already; `EBUSY` when it is restricted already; `EINVAL`
    /// for a number that the kernel does not know, and for a list with more entries than
    /// there are numbers.
    pub fn register_restrictions(self, restrictions: &[Restriction]) -> Result<(), Errno> {
        let entries: Vec<_> = restrictions
            .iter()
            .map(|restriction| restriction.entry())
            .collect::<Result<_, _>>()?;
        let nr = count(&entries)?;
        let entries = entries.as_ptr().cast_mut().cast();
        // SAFETY: the kernel copies `nr` entries during the call.
        unsafe { self.register(register::RESTRICTIONS, entries, nr) }.map(|_| ())
    }
}

/// There are 256 numbers for operations, no more for registrations, and two sets of flags.
const MOST: usize = 2 * 256 + 2;

/// `struct io_uring_task_restriction` with its table.
#[repr(C)]
struct Table {
    header: abi::TaskRestriction,
    entries: [abi::Restriction; MOST],
}

impl Table {
    fn new(restrictions: &[Restriction]) -> Result<Self, Errno> {
        if restrictions.len() > MOST {
            return Err(Errno::from_raw(libc::EINVAL));
        }
        let mut table = Self {
            header: abi::TaskRestriction {
                nr_res: restrictions.len() as u16,
                ..abi::TaskRestriction::default()
            },
            entries: [abi::Restriction::default(); MOST],
        };
        for (entry, restriction) in table.entries.iter_mut().zip(restrictions) {
            *entry = restriction.entry()?;
        }
        Ok(table)
    }
}

/// Restricts every ring that the calling thread makes from now on, and those of the threads
/// and processes that it starts. Cannot be taken back, nor called again.
///
/// For the entries see [`Registrar::register_restrictions`]. Linux 7.0; no manual page.
///
/// # Errors
///
/// `EINVAL` also before Linux 7.0; `EACCES` for a thread that has neither `CAP_SYS_ADMIN`
/// nor `no_new_privs` (`prctl(2)`); `EPERM` when the thread is restricted already.
pub fn register_restrictions_task(restrictions: &[Restriction]) -> Result<(), Errno> {
    let mut table = Table::new(restrictions)?;
    let table = ptr::from_mut(&mut table).cast();
    // SAFETY: the kernel copies the header and `nr_res` entries during the call, which are
    // no more than there are.
    unsafe { syscall::io_uring_register(-1, register::RESTRICTIONS, table, 1) }.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_thread() {
        let some = [
            Restriction::Op(7),
            Restriction::FlagsRequired(SqeFlags::ASYNC | SqeFlags::IO_LINK),
        ];
        let table = Table::new(&some).unwrap();
        assert_eq!(std::mem::offset_of!(Table, entries), 16);
        assert_eq!((table.header.flags, table.header.nr_res), (0, 2));
        let entry = |index: usize| {
            let entry: abi::Restriction = table.entries[index];
            (entry.opcode, entry.op_or_flags)
        };
        assert_eq!(entry(0), (restriction::SQE_OP, 7));
        assert_eq!(entry(1), (restriction::SQE_FLAGS_REQUIRED, 0x14));

        let einval = Some(Errno::from_raw(libc::EINVAL));
        assert_eq!(Table::new(&[some[0]; MOST]).err(), None);
        assert_eq!(Table::new(&[some[0]; MOST + 1]).err(), einval);
        assert_eq!(Table::new(&[Restriction::Register(256)]).err(), einval);
    }
}
