//! How the end of a job comes into the ring.

use super::control::nop;
#[cfg(not(ringway_loom))]
use super::driver::Submission;
use super::driver::{Driver, Shared};
use super::op::Id;
use crate::prep::Nop;
#[cfg(not(ringway_loom))]
use crate::ring::{Ring, message};

/// What takes a job's end into the ring. Whoever reaps sees no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A message to the ring, Linux 6.13. Needs no SQE, and the job's thread submits nothing:
    /// where threads combine, it otherwise enters for others, whose operations are then tied
    /// to it ([`Submission::Combining`]).
    Message,
    /// A NOP whose result is the job's, Linux 6.10. Goes with the next batch of a dedicated
    /// submitter, or of an SQ thread.
    Nop,
    /// A NOP, and the result beside the ring. Every kernel that has the ring, Linux 5.18.
    PlainNop,
}

impl Shared {
    /// Takes a result into the ring; `id` says of what kind. Waits for nothing: what finds no
    /// SQE is sent when there is one. False if the ring is of no use any more.
    pub(super) fn carry(&self, carrier: Carrier, id: Id, res: i32) -> bool {
        // A CQE that says 0 has the result there.
        self.table.set_side(id, res);
        if carrier == Carrier::Message && self.send(id, res) {
            return true;
        }
        if self.counters.fatal().is_some() {
            return false;
        }
        let plain = Nop::new();
        let sqe = match carrier {
            Carrier::Nop => nop(plain.inject_result(res), id),
            _ => nop(plain, id),
        };
        let Some(mut batch) = self.slots(1) else {
            self.control.add(sqe);
            self.send_now();
            return true;
        };
        if let Some(place) = batch.iter_mut().next() {
            *place = sqe;
        }
        self.push(batch);
        true
    }

    /// False if the kernel would not have it.
    #[cfg(not(ringway_loom))]
    fn send(&self, id: Id, res: i32) -> bool {
        let ring = self.ring.fd();
        ring.is_some_and(|ring| message(ring, res.cast_unsigned(), id.0, 0).is_ok())
    }

    #[cfg(ringway_loom)]
    fn send(&self, _: Id, _: i32) -> bool {
        false
    }
}

impl Carrier {
    /// What is wanted, as far as the driver's kernel has it.
    #[cfg(not(ringway_loom))]
    pub(super) fn over(driver: &Driver, wanted: Option<Self>) -> Self {
        let shared = &driver.shared;
        let is_combining =
            shared.submission == Submission::Combining && !shared.ring.core.is_sqpoll();
        let wanted = wanted.unwrap_or(match is_combining {
            true => Self::Message,
            false => Self::Nop,
        });
        // A simulated ring's script gives the results.
        if driver.ring().fd().is_none() || wanted == Self::PlainNop {
            return Self::PlainNop;
        }
        // A refusal of any kind is a no: plain NOPs always work.
        let Ok(ring) = Ring::builder(2).build() else {
            return Self::PlainNop;
        };
        match wanted {
            Self::Message if takes_messages(&ring) => Self::Message,
            _ if injects_results(&ring) => Self::Nop,
            _ => Self::PlainNop,
        }
    }

    #[cfg(ringway_loom)]
    pub(super) fn over(_: &Driver, wanted: Option<Self>) -> Self {
        wanted.unwrap_or(Self::PlainNop)
    }
}

/// A result that nothing has by itself.
#[cfg(not(ringway_loom))]
const TRIED: u32 = 0x5eed;

#[cfg(not(ringway_loom))]
fn takes_messages(ring: &Ring) -> bool {
    let is_sent = ring.fd().is_some_and(|fd| message(fd, TRIED, 0, 0).is_ok());
    is_sent && reaps_it(ring)
}

#[cfg(not(ringway_loom))]
fn injects_results(ring: &Ring) -> bool {
    let sq = ring.sq();
    let Some(mut slot) = sq.pop() else {
        return false;
    };
    let nop = Nop::new().inject_result(TRIED.cast_signed());
    // SAFETY: a NOP names no memory and no file.
    unsafe { slot.prep_nop_with(nop) };
    slot.push();
    ring.submit().is_ok() && reaps_it(ring)
}

#[cfg(not(ringway_loom))]
fn reaps_it(ring: &Ring) -> bool {
    let cqe = ring.cq().reap();
    cqe.is_some_and(|cqe| cqe.result() == Ok(TRIED))
}
