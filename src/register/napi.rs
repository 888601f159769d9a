//! Busy polling of network devices while waiting (NAPI).

use std::ptr;

use super::Registrar;
use crate::abi::{self, napi, register};
use crate::syscall::Errno;

/// How a ring polls the queues of network devices (NAPI instances) while it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Napi {
    /// For how long, in microseconds, and at most for as long as the wait's timeout. Newer
    /// kernels make it 10,000 at most.
    pub busy_poll_us: u32,
    /// Keeps the device's interrupts off meanwhile; see `SO_PREFER_BUSY_POLL` in `socket(7)`.
    pub prefer_busy_poll: bool,
}

/// Which queues a ring polls. Linux 6.13; before there is [`Dynamic`](Self::Dynamic) alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NapiTracking {
    /// Those of the sockets that the ring's operations use; each is forgotten after a minute
    /// without use.
    Dynamic,
    /// Those given by [`Registrar::register_napi_add_id`].
    Static,
    /// None: busy polling is not registered. The kernel says it, and does not take it.
    Inactive,
}

impl NapiTracking {
    fn number(self) -> u32 {
        u32::from(match self {
            Self::Dynamic => napi::TRACKING_DYNAMIC,
            Self::Static => napi::TRACKING_STATIC,
            Self::Inactive => napi::TRACKING_INACTIVE,
        })
    }
}

impl Registrar<'_> {
    /// Polls network devices while waiting for completions on this ring, instead of sleeping
    /// until they interrupt; the answer is what was set before. Queues that were added are
    /// forgotten. Linux 6.9; `io_uring_register_napi(3)`.
    ///
    /// ```
    /// use ringway::{Ring, register::{Napi, NapiTracking}};
    ///
    /// let ring = Ring::builder(8).build()?;
    /// let napi = Napi { busy_poll_us: 50, prefer_busy_poll: true };
    /// match ring.registrar().register_napi(napi, NapiTracking::Dynamic) {
    ///     Ok((_before, _tracking)) => {
    ///         assert_eq!(ring.registrar().unregister_napi()?, napi);
    ///     }
    ///     Err(errno) => println!("before Linux 6.9: {errno}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `EINVAL` also before Linux 6.9, on an IOPOLL ring, and for
    /// [`Inactive`](NapiTracking::Inactive); `EOPNOTSUPP` for a kernel without
    /// `CONFIG_NET_RX_BUSY_POLL`.
    pub fn register_napi(
        self,
        napi: Napi,
        tracking: NapiTracking,
    ) -> Result<(Napi, NapiTracking), Errno> {
        let mut argument = abi::Napi {
            busy_poll_to: napi.busy_poll_us,
            prefer_busy_poll: napi.prefer_busy_poll.into(),
            opcode: napi::REGISTER_OP,
            op_param: tracking.number(),
            ..abi::Napi::default()
        };
        // SAFETY: the kernel reads and writes one argument during the call.
        unsafe { self.register(register::NAPI, ptr::from_mut(&mut argument).cast(), 1) }?;
        let tracking = [NapiTracking::Dynamic, NapiTracking::Static]
            .into_iter()
            .find(|tracking| tracking.number() == argument.op_param)
            .unwrap_or(NapiTracking::Inactive);
        Ok((settings(&argument), tracking))
    }

    /// Stops busy polling; the answer is what was set. Linux 6.9;
    /// `io_uring_unregister_napi(3)`.
    ///
    /// # Errors
    ///
    /// `EINVAL` before Linux 6.9; `EOPNOTSUPP` for a kernel without
    /// `CONFIG_NET_RX_BUSY_POLL`.
    pub fn unregister_napi(self) -> Result<Napi, Errno> {
        let mut argument = abi::Napi::default();
        let pointer = ptr::from_mut(&mut argument).cast();
        // SAFETY: the kernel writes one argument during the call.
        unsafe { self.register(register::UNREGISTER_NAPI, pointer, 1) }?;
        Ok(settings(&argument))
    }

    /// Polls this queue too; a socket tells its own by `SO_INCOMING_NAPI_ID` (`socket(7)`).
    /// Whether there is such a queue is not looked at. Linux 6.13; no manual page.
    ///
    /// # Errors
    ///
    /// `EINVAL` also before Linux 6.13, unless [`Static`](NapiTracking::Static) tracking is
    /// registered, and for a number too small for a queue's; `EEXIST` when it is polled
    /// already; `ENOMEM`.
    pub fn register_napi_add_id(self, id: u32) -> Result<(), Errno> {
        self.napi_id(napi::STATIC_ADD_ID, id)
    }

    /// Stops polling this queue. Linux 6.13; no manual page.
    ///
    /// # Errors
    ///
    /// `EINVAL` as for [`register_napi_add_id`](Self::register_napi_add_id); `ENOENT` when it
    /// was not added.
    pub fn register_napi_del_id(self, id: u32) -> Result<(), Errno> {
        self.napi_id(napi::STATIC_DEL_ID, id)
    }

    fn napi_id(self, opcode: u8, id: u32) -> Result<(), Errno> {
        let mut argument = abi::Napi {
            opcode,
            op_param: id,
            ..abi::Napi::default()
        };
        let argument = ptr::from_mut(&mut argument).cast();
        // SAFETY: the kernel reads and writes one argument during the call.
        unsafe { self.register(register::NAPI, argument, 1) }.map(|_| ())
    }
}

fn settings(argument: &abi::Napi) -> Napi {
    Napi {
        busy_poll_us: argument.busy_poll_to,
        prefer_busy_poll: argument.prefer_busy_poll != 0,
    }
}
