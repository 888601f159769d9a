//! A ring for each thread behind one handle, on the real kernel.
#![allow(
    clippy::disallowed_types,
    reason = "what the tests count is not what the set shares"
)]

use std::time::{Duration, Instant};

use ringway::prep::MsgRingFlags;
use ringway::set::{Member, Peer, Set, SetBuilder, SetError};
use ringway::{Cqe, Ring, SetupError, Unavailable};

#[path = "../child/mod.rs"]
mod child;
mod gone;
mod handles;
mod messages;
mod refusals;
mod stress;

/// Longer than anything here takes: a wait that ends by it has lost its wake-up.
const LOST: Duration = Duration::from_secs(20);

/// Each way of running the rings: as the set chooses, and as plain as they come.
fn each_way() -> [SetBuilder; 2] {
    let plain = Set::builder(Ring::builder(64).cq_entries(1024));
    [plain, plain.exact()]
}

fn set() -> Set {
    each_way()[0].build().unwrap()
}

/// The memory of rings that were closed counts until the kernel has taken them apart.
fn is_passing(error: &SetError) -> bool {
    let memory = |reason: &Unavailable| matches!(reason, Unavailable::OutOfMemory { .. });
    matches!(error, SetError::Setup(SetupError::Unavailable(reason)) if memory(reason))
}

/// What is answered once there is memory.
fn patient<T>(make: impl Fn() -> Result<T, SetError>) -> Result<T, SetError> {
    let start = Instant::now();
    loop {
        match make() {
            Err(error) if is_passing(&error) && start.elapsed() < LOST => {
                std::thread::sleep(Duration::from_millis(1));
            }
            answer => return answer,
        }
    }
}

/// The thread's ring.
fn member(set: &Set) -> Member {
    patient(|| set.member()).unwrap_or_else(|error| panic!("{error}"))
}

fn next(member: &Member) -> Cqe {
    let cqe = member.wait_one(Some(LOST)).expect("wait");
    cqe.expect("a completion or a wake-up was lost")
}

/// Sends through the member's own ring; the CQE there has `token`.
///
/// # Safety
///
/// `to` stays until that CQE.
unsafe fn send(from: &Member, to: &Peer, user_data: u64, res: i32, token: u64) {
    let mut slot = from.pop().expect("a free slot");
    // SAFETY: the caller's promise; receivers here know what is a message.
    unsafe { slot.prep_msg_ring(to, res, user_data, MsgRingFlags::NONE) }.user_data(token);
    slot.push();
    from.submit().expect("submit");
}
