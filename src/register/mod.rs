//! What a ring is told beforehand: `io_uring_register(2)`.
//!
//! The methods of [`Registrar`] carry liburing's names without `io_uring_`: the manual
//! page of [`Registrar::register_files`] is `io_uring_register_files(3)`.
//!
//! # Errors
//!
//! The kernel's errno is handed on as it is, and each method names those that say more
//! than `EINVAL` (a kernel that does not know the opcode, or an argument that it does not
//! like). The same errno is given, without asking the kernel, for what cannot be said to
//! it: `EINVAL` for a table of more than `u32::MAX` entries; `ENXIO` for a simulated ring.
//! On any ring there are `EEXIST` (a ring with SINGLE_ISSUER, from another thread), `EACCES`
//! (a restriction forbids it) and `EBADFD` (the ring does not run yet, and this one needs
//! that it does).
//!
//! # Who may call
//!
//! A shared ring is registered with from any thread, at any time; each thread makes its
//! own [`Registrar`], which costs nothing. The kernel does one registration at a time, and
//! none while a thread submits: not for the hot path. Nothing here waits for operations
//! in flight, unless the method says so.

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::ring::{Disabled, Local, Ring};
use crate::setup::RingFd;
use crate::syscall::Errno;

mod bpf;
mod buf_ring;
mod buffers;
mod cancel;
mod clock;
mod eventfd;
mod files;
mod iowq;
mod msg;
mod napi;
mod personality;
mod query;
mod region;
mod resource;
mod restrictions;
mod ring_fd;
mod zcrx;

/// What a registration is called in restrictions, and by [`Registrar::register`].
pub use crate::abi::register as opcode;
pub use bpf::{BpfFilter, BpfFlags, register_bpf_filter_task};
pub use buf_ring::{BufRing, BufRingFlags};
pub use buffers::{CloneFlags, CloneSource};
pub use cancel::CancelBy;
pub use clock::Clock;
pub use files::FilePlace;
pub use iowq::MaxWorkers;
pub use msg::{register_sync_msg, register_sync_msg_cqe_flags};
pub use napi::{Napi, NapiTracking};
pub use query::{Query, QueryOpcodes, QueryRings, QueryZcrx, register_query};
pub use region::{Region, RegionFlags, WaitMemory};
pub use restrictions::{Restriction, SqeFlags, register_restrictions_task};
pub use ring_fd::RegisteredRing;
pub use zcrx::{Ifq, RefillRing, Zcrx, ZcrxArea, ZcrxChunk};

/// Registers with one ring: [`Ring::registrar`], [`Local::registrar`],
/// [`Disabled::registrar`].
///
/// Stays on its thread, since a ring may be known by a number that means something only
/// there:
///
/// ```compile_fail
/// let ring = ringway::Ring::builder(8).build().unwrap();
/// let registrar = ring.registrar();
/// std::thread::scope(|scope| { scope.spawn(move || registrar.unregister_files()); });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Registrar<'r> {
    /// `None` for a simulated ring.
    fd: Option<&'r RingFd>,
    thread: PhantomData<*mut ()>,
}

impl Ring {
    /// Registers with this ring.
    pub fn registrar(&self) -> Registrar<'_> {
        Registrar::new(self.core.ring_fd())
    }
}

impl Local {
    /// Registers with this ring.
    pub fn registrar(&self) -> Registrar<'_> {
        Registrar::new(self.core.ring_fd())
    }
}

impl Disabled {
    /// Registers with this ring before it runs: the time for restrictions.
    pub fn registrar(&self) -> Registrar<'_> {
        Registrar::new(Some(&self.opened.fd))
    }
}

impl<'r> Registrar<'r> {
    fn new(fd: Option<&'r RingFd>) -> Self {
        Self {
            fd,
            thread: PhantomData,
        }
    }

    /// `io_uring_register(2)` with any opcode: for those of a later kernel.
    ///
    /// Returns what the kernel returned, which for some opcodes is a count or an id.
    ///
    /// # Errors
    ///
    /// The kernel's errno.
    ///
    /// # Safety
    ///
    /// `arg` and `nr` are what the opcode asks for; what it points to is valid for as long
    /// as the kernel reads or writes it, which for some opcodes is until the ring is gone.
    pub unsafe fn register(self, opcode: u32, arg: *mut c_void, nr: u32) -> Result<u32, Errno> {
        let fd = self.fd.ok_or(Errno::from_raw(libc::ENXIO))?;
        // SAFETY: the caller's promise, passed on.
        unsafe { fd.register(opcode, arg, nr) }
    }
}

/// The length of a table as the kernel takes it.
fn count<T>(table: &[T]) -> Result<u32, Errno> {
    u32::try_from(table.len()).map_err(|_| Errno::from_raw(libc::EINVAL))
}
