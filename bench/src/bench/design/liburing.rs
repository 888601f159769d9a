//! A ring for each thread, in C, through liburing.
//!
//! Filling, submitting and reaping a batch is one call of C each. What Rust adds is the
//! array of what to push, and that of what came: a word, and two, for each NOP.

/// Why there is no such peer.
#[cfg(not(liburing))]
pub const SKIPPED: Option<&str> = Some("liburing: no header and library that pkg-config knows");
#[cfg(liburing)]
pub const SKIPPED: Option<&str> = None;

/// What was built against.
pub const VERSION: &str = env!("LIBURING");

#[cfg(liburing)]
pub use peer::{Liburing, setup};

#[cfg(liburing)]
mod peer {
    use std::os::fd::RawFd;
    use std::ptr::NonNull;

    use super::super::{CQ, Design, Port, REAP, SQ, Setup};
    use crate::op::{Op, Span};

    #[repr(C)]
    struct Peer([u8; 0]);

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct PeerOp {
        user_data: u64,
        at: *mut u8,
        offset: u64,
        len: u32,
        fd: i32,
        what: u32,
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct PeerCqe {
        user_data: u64,
        res: i32,
    }

    unsafe extern "C" {
        safe fn peer_has_no_sqarray() -> i32;
        fn peer_new(out: *mut *mut Peer, sq: u32, cq: u32, no_sqarray: i32, defers: i32) -> i32;
        fn peer_free(peer: *mut Peer);
        fn peer_fd(peer: *const Peer) -> i32;
        fn peer_nops(peer: *mut Peer, user_data: *const u64, len: u32) -> u32;
        fn peer_ops(peer: *mut Peer, ops: *const PeerOp, len: u32) -> u32;
        fn peer_reap(peer: *mut Peer, out: *mut PeerCqe, room: u32) -> u32;
        fn peer_wait(peer: *mut Peer);
    }

    /// What comes of a setup: liburing before 2.5 knows no NO_SQARRAY.
    pub fn setup(asked: Setup) -> Setup {
        Setup {
            no_sqarray: asked.no_sqarray && peer_has_no_sqarray() != 0,
            ..asked
        }
    }

    pub struct Liburing(Setup);

    pub struct LiburingPort {
        peer: NonNull<Peer>,
        /// Free SQEs: only an enter makes some.
        room: u32,
        numbers: [u64; REAP],
        ops: Vec<PeerOp>,
        cqes: [PeerCqe; REAP],
    }

    impl Design for Liburing {
        type Port<'d> = LiburingPort;

        const SHARED: bool = false;

        fn new(_: u32, asked: Setup) -> Self {
            Self(setup(asked))
        }

        fn port(&self, _: u32) -> Self::Port<'_> {
            let mut peer = std::ptr::null_mut();
            let Setup { no_sqarray, defers } = self.0;
            // SAFETY: `peer` is written when there is one.
            let ret = unsafe { peer_new(&raw mut peer, SQ, CQ, no_sqarray.into(), defers.into()) };
            assert_eq!(ret, 0, "io_uring");
            LiburingPort {
                peer: NonNull::new(peer).expect("made"),
                room: SQ,
                numbers: [0; REAP],
                ops: Vec::with_capacity(REAP),
                cqes: [PeerCqe {
                    user_data: 0,
                    res: 0,
                }; REAP],
            }
        }
    }

    fn described(op: Op, user_data: u64) -> PeerOp {
        let none = Span {
            fd: -1,
            at: std::ptr::null_mut(),
            len: 0,
            offset: 0,
        };
        let (what, span) = match op {
            Op::Nop => (0, none),
            Op::Read(span) => (1, span),
            Op::ReadFixed(span) => (2, span),
            Op::Recv(span) => (3, span),
            Op::Send(span) => (4, span),
        };
        let Span {
            fd,
            at,
            len,
            offset,
        } = span;
        PeerOp {
            user_data,
            at,
            offset,
            len,
            fd,
            what,
        }
    }

    impl LiburingPort {
        /// A batch of NOPs, or of anything else.
        #[inline(always)]
        fn submitted(&mut self, nops: u32, ops: u32) {
            assert!(nops == 0 || ops == 0, "NOPs are pushed by themselves");
            let peer = self.peer.as_ptr();
            // SAFETY: as many are there, and there is room for them; a load keeps what its
            // operations point to until they have completed.
            self.room = unsafe {
                match ops {
                    0 => peer_nops(peer, self.numbers.as_ptr(), nops),
                    _ => peer_ops(peer, self.ops.as_ptr(), ops),
                }
            };
        }
    }

    impl Port for LiburingPort {
        #[inline(always)]
        fn submit(
            &mut self,
            len: u32,
            mut next: impl FnMut() -> (Op, u64),
            _: &mut impl FnMut(u64, i32),
        ) -> bool {
            if len > self.room {
                self.submitted(0, 0);
                return false;
            }
            let mut nops = 0;
            for _ in 0..len {
                match next() {
                    (Op::Nop, user_data) => {
                        self.numbers[nops as usize] = user_data;
                        nops += 1;
                    }
                    (op, user_data) => self.ops.push(described(op, user_data)),
                }
            }
            self.submitted(nops, len - nops);
            self.ops.clear();
            true
        }

        #[inline(always)]
        fn reap(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
            // SAFETY: the ring is this port's; there is room for REAP.
            let count =
                unsafe { peer_reap(self.peer.as_ptr(), self.cqes.as_mut_ptr(), REAP as u32) };
            for cqe in &self.cqes[..count as usize] {
                seen(cqe.user_data, cqe.res);
            }
            count as usize
        }

        #[inline(always)]
        fn wait(&mut self, seen: &mut impl FnMut(u64, i32)) -> usize {
            // SAFETY: the ring is this port's.
            unsafe { peer_wait(self.peer.as_ptr()) };
            self.reap(seen)
        }

        fn ring(&self) -> RawFd {
            // SAFETY: as above.
            unsafe { peer_fd(self.peer.as_ptr()) }
        }
    }

    impl Drop for LiburingPort {
        fn drop(&mut self) {
            // SAFETY: made by `peer_new`, and used no more.
            unsafe { peer_free(self.peer.as_ptr()) };
        }
    }
}
