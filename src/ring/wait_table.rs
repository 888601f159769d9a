//! Registered waits: a table that the kernel reads in place.

use super::kernel::{Enter, Real};
use super::local::Local;
use super::wait_args::{SigSet, Wait};
use super::{EnterError, Waited};
use crate::abi::{RegWait, enter};
use crate::mapping::{self, Region};
use crate::syscall::Errno;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The ring's memory region: first the entries, then for each of them a set of signals
/// that it may point to. Written by the thread of the ring only; the kernel reads what an
/// enter of that thread names.
#[derive(Debug)]
pub(crate) struct WaitTable {
    memory: Region,
    /// Whether an entry's time is a moment, which is said at enter.
    time_flags: Box<[Cell<u32>]>,
}

impl WaitTable {
    /// The memory that so many waits need: whole pages.
    pub(crate) fn len(count: u32) -> Result<usize, Errno> {
        let each = size_of::<RegWait>() + size_of::<SigSet>();
        let len = (each as u64 * u64::from(count)).next_multiple_of(mapping::page());
        usize::try_from(len).map_err(|_| Errno::from_raw(libc::ENOMEM))
    }

    /// A table in memory that is a ring's region, for nothing else, and of at least
    /// [`len`](Self::len) bytes: otherwise `None`.
    pub(crate) fn new(memory: Region, count: u32) -> Option<Self> {
        let is_enough = Self::len(count).is_ok_and(|len| len <= memory.memory().len());
        is_enough.then(|| Self {
            memory,
            time_flags: (0..count).map(|_| Cell::new(0)).collect(),
        })
    }

    fn start(&self) -> NonNull<u8> {
        self.memory.memory().cast()
    }

    fn set(&self, index: u32, wait: Wait) -> Result<(), Errno> {
        let flags = self.time_flags.get(index as usize);
        let flags = flags.ok_or(Errno::from_raw(libc::EFAULT))?;
        let index = index as usize;
        let masks = self.time_flags.len() * size_of::<RegWait>();
        // SAFETY: `new` saw that there is room for as many entries and sets as there are
        // flags, and the index is one of them; both sizes are multiples of the alignment.
        // The kernel reads them only while this thread is in it.
        unsafe {
            let entry = self.start().cast::<RegWait>().add(index);
            let mask = self.start().add(masks).cast::<SigSet>().add(index);
            let (value, set) = wait.entry(mask.as_ptr().expose_provenance() as u64);
            entry.write_volatile(value);
            mask.write_volatile(set);
        }
        flags.set(wait.time_flags());
        Ok(())
    }

    fn entry(&self, index: u32) -> Option<Entry> {
        let time_flags = self.time_flags.get(index as usize)?.get();
        let offset = index as usize * size_of::<RegWait>();
        Some(Entry { offset, time_flags })
    }
}

/// An entry of a ring's table.
struct Entry {
    offset: usize,
    time_flags: u32,
}

impl Entry {
    /// Enters the ring of this table with this as the argument.
    fn enter(&self, real: &Real, request: Enter) -> Result<u32, Errno> {
        let request = Enter {
            flags: request.flags | enter::EXT_ARG | enter::EXT_ARG_REG | self.time_flags,
            ..request
        };
        let offset = ptr::without_provenance(self.offset);
        // SAFETY: with EXT_ARG_REG the argument is a place in the ring's region. The entry
        // there points to the same memory, which stays as long as the ring.
        unsafe { real.enter_with(request, offset, size_of::<RegWait>()) }
    }
}

impl Local {
    /// How many entries the table of registered waits has: 0 without a table.
    pub fn registered_waits(&self) -> u32 {
        // Their number came as a u32.
        self.waits
            .as_ref()
            .map_or(0, |waits| waits.time_flags.len()) as u32
    }

    /// Writes an entry of the table of [registered waits](crate::Disabled::register_waits). An
    /// entry that was never set has no limit.
    ///
    /// # Errors
    ///
    /// EFAULT for an index outside the table.
    pub fn set_wait(&self, index: u32, wait: Wait) -> Result<(), Errno> {
        match &self.waits {
            Some(waits) => waits.set(index, wait),
            None => Err(Errno::from_raw(libc::EFAULT)),
        }
    }

    /// As [`Local::wait_with`], with the wait that the entry `index` of the table of
    /// [registered waits](crate::Disabled::register_waits) says. Linux 6.13.
    ///
    /// # Errors
    ///
    /// As there; [`EnterError::Kernel`] with EFAULT for an index outside the table, and
    /// with EINVAL on an IOPOLL ring.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringway::{Ring, Wait, Waited, register::WaitMemory};
    ///
    /// let mut ring = Ring::builder(8).build_disabled()?;
    /// match ring.register_waits(2, WaitMemory::Process) {
    ///     Err(errno) if errno.raw() == libc::EINVAL => return Ok(()), // before Linux 6.13
    ///     registered => registered?,
    /// }
    /// let ring = ring.enable_local()?;
    /// ring.set_wait(1, Wait::new().timeout(Duration::from_millis(1)))?;
    /// assert_eq!(ring.wait_reg(1, 1)?, Waited::TimedOut);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_reg(&self, want: u32, index: u32) -> Result<Waited, EnterError> {
        let entry = self.entry(index)?;
        self.enter_to_wait(want, |real, request| entry.enter(real, request))
    }

    /// As [`Local::submit_and_wait_with`], with the wait that the entry `index` of the
    /// table of [registered waits](crate::Disabled::register_waits) says. Linux 6.13.
    ///
    /// # Errors
    ///
    /// As [`Local::wait_reg`]; nothing was submitted when the index is outside the table.
    pub fn submit_and_wait_reg(&self, want: u32, index: u32) -> Result<Waited, EnterError> {
        let entry = self.entry(index)?;
        self.enter_to_submit(want, |real, request| entry.enter(real, request))
    }

    /// Looked for before anything is submitted: afterwards the kernel would not say that it
    /// is missing.
    fn entry(&self, index: u32) -> Result<Entry, EnterError> {
        let entry = self.waits.as_ref().and_then(|waits| waits.entry(index));
        entry.ok_or(EnterError::Kernel(Errno::from_raw(libc::EFAULT)))
    }
}
