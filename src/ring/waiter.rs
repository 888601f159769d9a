//! A thread that goes on leading between its waits. Rule W5 of [`super`].

use super::kernel::By;
use super::{Core, EnterError, Ring, edges};
use crate::abi::Cqe;
use crate::sync::{Deadline, reached};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A reaper's way to wait on a shared ring that keeps the lead while there is little to do;
/// made by [`Cq::waiter`](super::Cq::waiter).
///
/// [`Cq::wait_reap`](super::Cq::wait_reap) lets the next thread wait before it returns: one
/// sleeping thread is woken for each wait that ends. That is right when completions take time
/// to handle. Where they take less than the wake, as in an exchange of short messages over
/// few connections, a thread that keeps the lead handles them alone, and the others sleep
/// until there is more than it is to handle by itself.
///
/// While a `Waiter` leads and its thread does something else, nobody waits in the kernel, and
/// threads that sleep are not woken by completions: come back soon, or drop it. Dropped, it
/// lets the next thread lead; leaked, it leaves the others asleep.
///
/// One thread at a time uses it. It may be moved to another.
#[must_use = "dropped, it keeps no lead"]
pub struct Waiter {
    core: Arc<Core>,
    /// With so many completions, or fewer, the lead is kept.
    keep: usize,
    leads: bool,
}

impl Waiter {
    pub(super) fn new(core: Arc<Core>, keep: usize) -> Self {
        Self {
            core,
            keep,
            leads: false,
        }
    }

    /// Waits until something was completed, or the timeout passes (`None`: no limit), and
    /// takes up to `out.len()` completions, oldest first; their number. If that is more than
    /// the waiter's number, or that is 0, the next thread waits from then on; otherwise this one
    /// keeps the lead. 0 means nothing came: another thread was faster, or the timeout passed.
    ///
    /// # Errors
    ///
    /// As [`Cq::wait`](super::Cq::wait); nothing was taken then, and the lead is given up.
    pub fn wait_reap(
        &mut self,
        out: &mut [Cqe],
        timeout: Option<Duration>,
    ) -> Result<usize, EnterError> {
        if let Err(error) = self.wait(timeout) {
            self.give_up();
            return Err(error);
        }
        let count = self.core.reap_batch::<Ring>(out);
        if count > self.keep || self.keep == 0 {
            self.give_up();
        } else if self.leads && count > 0 {
            reached("lead kept");
        }
        Ok(count)
    }

    /// Leads afterwards, unless something lay ready or another thread led until the end.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), EnterError> {
        if !self.core.cq.is_empty() {
            return Ok(());
        }
        self.core.submit_owed(By::Ring)?;
        let deadline = Deadline::after(timeout);
        self.leads = self.leads || self.core.take_lead(&deadline);
        match self.leads {
            true => self.core.lead(By::Ring, &deadline).map(|_| ()),
            false => Ok(()),
        }
    }

    fn give_up(&mut self) {
        if std::mem::take(&mut self.leads) && !edges::broken("LEAD_LOST") {
            self.core.seat.hand_over();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter")
            .field("keep", &self.keep)
            .field("leads", &self.leads)
            .finish()
    }
}
