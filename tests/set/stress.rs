//! Eight threads send to each other at random, while members leave and others join.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use ringway::Cqe;
use ringway::set::{Member, Peer, SendError, Set};

use super::child::linux;
use super::{each_way, member, next, send};

const THREADS: u64 = 8;
/// Members that a thread is, one after the other.
const LIVES: u64 = 5;
const SENDS: u64 = 800;
/// Messages of one life that nobody has answered.
const UNANSWERED: usize = 32;

/// In the user_data of a message: who sent it, and which of its messages this is.
const MESSAGE: u64 = 1 << 63;

fn name(sender: u64, number: u64) -> u64 {
    MESSAGE | sender << 32 | number
}

/// What all see: for each member, the messages whose senders have no answer yet.
struct Shared {
    set: Set,
    underway: Vec<AtomicU64>,
}

#[derive(Default)]
struct Log {
    accepted: Vec<u64>,
    refused: Vec<u64>,
    received: Vec<u64>,
}

struct Life<'s> {
    shared: &'s Shared,
    log: &'s mut Log,
    member: Member,
    /// By the message's number. Holds the peers until the CQEs.
    unanswered: BTreeMap<u64, Peer>,
    /// The last message of each sender.
    last: BTreeMap<u64, u64>,
}

impl Life<'_> {
    fn underway(&self, peer: &Peer) -> &AtomicU64 {
        &self.shared.underway[peer.id().get() as usize]
    }

    fn handle(&mut self, cqe: Cqe) {
        let id = self.member.id().get();
        if cqe.user_data() & MESSAGE != 0 {
            assert_eq!(cqe.res() as u64, id, "somebody else's");
            let (sender, number) = (cqe.user_data() >> 32, cqe.user_data() & 0xffff_ffff);
            let before = self.last.insert(sender, number);
            assert!(before < Some(number), "{before:?}, then {number}");
            self.log.received.push(cqe.user_data());
            return;
        }
        let number = cqe.user_data();
        let peer = self.unanswered.remove(&number).expect("one of ours");
        let done = cqe.result().map(drop).map_err(|errno| errno.raw());
        self.answered(&peer, number, done != Err(libc::EBADFD));
        assert!(matches!(done, Ok(()) | Err(libc::EBADFD)), "{done:?}");
    }

    fn answered(&mut self, peer: &Peer, number: u64, accepted: bool) {
        let name = name(self.member.id().get(), number);
        let log = &mut *self.log;
        if accepted {
            &mut log.accepted
        } else {
            &mut log.refused
        }
        .push(name);
        self.underway(peer).fetch_sub(1, SeqCst);
    }

    fn send(&mut self, number: u64, peer: Peer, alone: bool) {
        let name = name(self.member.id().get(), number);
        let res = peer.id().get() as i32;
        self.underway(&peer).fetch_add(1, SeqCst);
        if alone {
            let sent = peer.send(name, res);
            assert!(matches!(sent, Ok(()) | Err(SendError::Gone)), "{sent:?}");
            self.answered(&peer, number, sent.is_ok());
        } else {
            // SAFETY: the peer is kept in `unanswered` until the CQE.
            unsafe { send(&self.member, &peer, name, res, number) };
            self.unanswered.insert(number, peer);
        }
    }

    fn live(mut self, random: &mut u64) {
        let alone = linux(6, 13);
        let mut peers = Vec::new();
        for number in 0..SENDS {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            if number % 64 == 0 {
                // Most of these will have gone before the list is made again.
                peers = self.shared.set.peers();
            }
            let peer = peers[(*random >> 8) as usize % peers.len()].clone();
            self.send(number, peer, alone && *random & 3 == 0);
            while let Some(cqe) = self.member.reap() {
                self.handle(cqe);
            }
            while self.unanswered.len() >= UNANSWERED {
                let cqe = next(&self.member);
                self.handle(cqe);
            }
        }
        while !self.unanswered.is_empty() {
            let cqe = next(&self.member);
            self.handle(cqe);
        }
        self.member.retire();
        // Whoever began before that will be answered; whoever begins now is refused.
        while self.underway(self.member.peer()).load(SeqCst) != 0 {
            thread::yield_now();
        }
        while let Some(cqe) = self.member.reap() {
            self.handle(cqe);
        }
    }
}

#[test]
fn every_message_once_while_members_come_and_go() {
    for builder in each_way() {
        let shared = Shared {
            set: builder.max_members(THREADS as u32).build().unwrap(),
            underway: (0..THREADS * LIVES).map(|_| AtomicU64::new(0)).collect(),
        };
        let logs: Vec<Log> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let shared = &shared;
                    scope.spawn(move || {
                        let mut log = Log::default();
                        let mut random = 0x9e37_79b9_7f4a_7c15 ^ (thread + 1);
                        for _ in 0..LIVES {
                            let life = Life {
                                shared,
                                log: &mut log,
                                member: member(&shared.set),
                                unanswered: BTreeMap::new(),
                                last: BTreeMap::new(),
                            };
                            life.live(&mut random);
                        }
                        log
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let all = |part: fn(&Log) -> &Vec<u64>| {
            let mut all: Vec<u64> = logs.iter().flat_map(part).copied().collect();
            all.sort_unstable();
            all
        };
        let (accepted, refused) = (all(|log| &log.accepted), all(|log| &log.refused));
        let received = all(|log| &log.received);
        assert!(received.windows(2).all(|two| two[0] != two[1]), "twice");
        assert_eq!(accepted, received);
        assert_eq!(
            accepted.len() + refused.len(),
            (THREADS * LIVES * SENDS) as usize
        );
        println!("{} accepted, {} refused", accepted.len(), refused.len());
        assert!(shared.set.peers().is_empty());
    }
}
