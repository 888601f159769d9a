//! Messages of 64 bytes to and fro over sockets, both ends driven by rings.
//!
//! A receive is armed at both ends. Each thread starts the connections that are its own,
//! `Run::batch` of them; then whoever reaps a completion handles it, and sleeps in the
//! kernel when there is none. A rate is of round trips.

use std::cell::UnsafeCell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::watch::{WAKE, Watch};
use super::{Run, Seen, Window};
use crate::design::{Design, Port};
use crate::machine::{self, Schedule};
use crate::op::{Op, Span};

/// In words of 8 bytes, each the message's number.
const WORDS: usize = 8;
const LEN: u32 = 64;
/// The message after which the connection is still.
const LAST: u64 = 1 << 63;
/// Operations of one submit.
const AT_ONCE: usize = 64;

/// Over socketpairs.
pub fn unix<D: Design>(run: Run) -> Window {
    window::<D>(run, || {
        let (a, b) = UnixStream::pair()?;
        Ok([a.into(), b.into()])
    })
}

/// Over loopback, with TCP_NODELAY.
pub fn tcp<D: Design>(run: Run) -> Window {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    window::<D>(run, || {
        let a = TcpStream::connect(address)?;
        let (b, _) = listener.accept()?;
        Ok([hurried(a)?, hurried(b)?])
    })
}

/// Sends at once; when closed, is gone, and keeps no port.
fn hurried(stream: TcpStream) -> io::Result<OwnedFd> {
    stream.set_nodelay(true)?;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the kernel reads one struct of this length.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as u32,
        );
    }
    Ok(stream.into())
}

/// What says of a completion whose it is.
#[derive(Clone, Copy, PartialEq)]
struct Tag {
    is_send: bool,
    /// 0 speaks first.
    end: usize,
    /// Bytes asked for: the last of the message.
    len: u32,
    connection: usize,
    number: u64,
}

impl Tag {
    fn pack(self) -> u64 {
        u64::from(self.is_send)
            | (self.end as u64) << 1
            | u64::from(self.len) << 2
            | (self.connection as u64) << 9
            | (self.number & 0xffff_ffff) << 25
    }

    fn unpack(user_data: u64) -> Self {
        Self {
            is_send: user_data & 1 == 1,
            end: (user_data >> 1 & 1) as usize,
            len: (user_data >> 2 & 0x7f) as u32,
            connection: (user_data >> 9 & 0xffff) as usize,
            number: user_data >> 25 & 0xffff_ffff,
        }
    }
}

/// One end of a connection.
#[repr(align(64))]
struct End {
    received: UnsafeCell<[u64; WORDS]>,
    /// Free again when the other end has the whole message: the kernel has copied it then.
    sent: UnsafeCell<[u64; WORDS]>,
    /// The receive that is armed, or 0.
    armed: AtomicU64,
    socket: OwnedFd,
}

// SAFETY: the messages belong to whoever has taken `armed`, or to the kernel.
unsafe impl Sync for End {}

impl End {
    fn new(socket: OwnedFd) -> Self {
        Self {
            received: UnsafeCell::default(),
            sent: UnsafeCell::default(),
            armed: AtomicU64::new(0),
            socket,
        }
    }
}

/// What the threads of a window share.
struct Round {
    connections: Vec<[End; 2]>,
    start: Barrier,
    watch: Watch,
    counts: Vec<CachePadded<Counts>>,
}

/// Of one thread, for the others.
#[derive(Default)]
struct Counts {
    pushed: AtomicU64,
    seen: AtomicU64,
}

impl Round {
    /// Nothing is in flight, and so nothing will be: what is pushed follows from what was
    /// seen, and is counted before it.
    fn is_still(&self) -> bool {
        let sum = |count: fn(&Counts) -> &AtomicU64| -> u64 {
            self.counts
                .iter()
                .map(|counts| count(counts).load(Acquire))
                .sum()
        };
        let seen = sum(|counts| &counts.seen);
        seen == sum(|counts| &counts.pushed)
    }
}

fn window<D: Design>(run: Run, connect: impl Fn() -> io::Result<[OwnedFd; 2]>) -> Window {
    let connections =
        (0..run.threads * run.batch).map(|_| connect().expect("sockets").map(End::new));
    let round = Round {
        connections: connections.collect(),
        start: Barrier::new(run.threads as usize + 1),
        watch: Watch::new(run.threads),
        counts: (0..run.threads).map(|_| CachePadded::default()).collect(),
    };
    let design = D::new(run.threads, run.setup);
    let is_over = || round.watch.all_left();
    let (time, parts) = thread::scope(|threads| {
        let parts: Vec<_> = (0..run.threads)
            .map(|thread| {
                let (design, round) = (&design, &round);
                threads.spawn(move || part(design, run, thread, round))
            })
            .collect();
        if D::SERVES {
            threads.spawn(|| design.serve(&is_over));
        }
        round.start.wait();
        let start = Instant::now();
        thread::sleep(run.window);
        round.watch.stop();
        let time = start.elapsed();
        round.watch.end();
        let parts: Vec<_> = parts
            .into_iter()
            .map(|part| part.join().expect("no panic"))
            .collect();
        (time, parts)
    });
    let (mut pushed, mut seen) = (Seen::default(), Seen::default());
    for part in &parts {
        pushed.merge(part.pushed);
        seen.merge(part.seen);
    }
    let sums = (pushed != seen).then(|| format!("pushed {pushed:?}, seen {seen:?}"));
    let wrong = parts.iter().find_map(|part| part.wrong.clone()).or(sums);
    if wrong.is_some() {
        // The kernel may still write to it.
        std::mem::forget(round);
    }
    Window {
        operations: parts.iter().map(|part| part.trips).sum(),
        time,
        delayed: parts.iter().map(|part| part.delayed).fold(0.0, f64::max),
        wrong,
    }
}

/// How one thread of a window ended.
struct Part {
    pushed: Seen,
    seen: Seen,
    trips: u64,
    delayed: f64,
    wrong: Option<String>,
}

fn part<D: Design>(design: &D, run: Run, thread: u32, round: &Round) -> Part {
    machine::pin(thread + 1);
    let mut port = design.port(thread);
    round.watch.add(port.ring());
    let mut hand = Hand {
        round,
        todo: Vec::new(),
        pushed: Seen::default(),
        seen: Seen::default(),
        trips: 0,
        wrong: None,
    };
    for connection in thread * run.batch..(thread + 1) * run.batch {
        let connection = connection as usize;
        hand.receive(connection, 1, 0);
        hand.receive(connection, 0, 0);
        hand.send(connection, 0, 0, 0);
    }
    let counts = &round.counts[thread as usize];
    hand.publish(counts);
    round.start.wait();
    let schedule = Schedule::now();
    loop {
        hand.submit(&mut port, counts);
        if round.watch.is_abandoned() || round.watch.is_over() && round.is_still() {
            break;
        }
        port.wait(&mut |user_data, result| hand.take(user_data, result));
        hand.publish(counts);
    }
    round.watch.leave();
    Part {
        pushed: hand.pushed,
        seen: hand.seen,
        trips: hand.trips,
        delayed: schedule.delayed(),
        wrong: hand.wrong,
    }
}

/// A thread's handling of completions.
struct Hand<'r> {
    round: &'r Round,
    /// What follows from them.
    todo: Vec<(Op, u64)>,
    pushed: Seen,
    seen: Seen,
    trips: u64,
    wrong: Option<String>,
}

impl Hand<'_> {
    fn take(&mut self, user_data: u64, result: i32) {
        if user_data == WAKE {
            return;
        }
        self.seen.add(user_data);
        let tag = Tag::unpack(user_data);
        let Some([_, _]) = self.round.connections.get(tag.connection) else {
            return self.fail(format!("user_data {user_data:#x} is of no connection"));
        };
        if result <= 0 || result as u32 > tag.len {
            return self.fail(format!("{} bytes were asked for: {result}", tag.len));
        }
        let len = tag.len - result as u32;
        if !tag.is_send {
            let end = &self.round.connections[tag.connection][tag.end];
            if end.armed.swap(0, AcqRel) != user_data {
                return self.fail(format!(
                    "receive {user_data:#x} completed and was not armed"
                ));
            }
        }
        match (tag.is_send, len) {
            (true, 0) => {}
            (false, 0) => self.answer(tag),
            _ => self.push(Tag { len, ..tag }),
        }
    }

    /// What would follow does not.
    #[cold]
    fn fail(&mut self, what: String) {
        self.wrong.get_or_insert(what);
        self.round.watch.abandon();
    }

    /// A whole message is there.
    fn answer(
        &mut self,
        Tag {
            connection,
            end,
            number,
            ..
        }: Tag,
    ) {
        // SAFETY: `armed` was taken: no receive writes here.
        let words = unsafe {
            self.round.connections[connection][end]
                .received
                .get()
                .read_volatile()
        };
        let is_last = words[0] & LAST != 0;
        if words != [words[0]; WORDS] || words[0] & !LAST != number {
            return self.fail(format!("message {number} says {words:?}"));
        }
        match (end, is_last, self.round.watch.is_over()) {
            (0, false, false) => {
                self.trips += 1;
                self.receive(connection, 0, number + 1);
                self.send(connection, 0, number + 1, 0);
            }
            (0, false, true) => self.send(connection, 0, number + 1, LAST),
            (1, false, _) => {
                self.receive(connection, 1, number + 1);
                self.send(connection, 1, number, 0);
            }
            (1, true, _) => {}
            _ => self.fail("the last message came back".into()),
        }
    }

    fn receive(&mut self, connection: usize, end: usize, number: u64) {
        self.push(Tag {
            is_send: false,
            end,
            len: LEN,
            connection,
            number,
        });
    }

    fn send(&mut self, connection: usize, end: usize, number: u64, mark: u64) {
        let sent = self.round.connections[connection][end].sent.get();
        // SAFETY: the message before is with the other end: it has answered, or asked.
        unsafe { sent.write_volatile([number | mark; WORDS]) };
        self.push(Tag {
            is_send: true,
            end,
            len: LEN,
            connection,
            number,
        });
    }

    /// For what is left of the tag's message.
    fn push(&mut self, tag: Tag) {
        let end = &self.round.connections[tag.connection][tag.end];
        let user_data = tag.pack();
        let message = match tag.is_send {
            true => end.sent.get(),
            false => end.received.get(),
        };
        let fd: RawFd = end.socket.as_raw_fd();
        let span = Span {
            fd,
            at: message.cast::<u8>().wrapping_add((LEN - tag.len) as usize),
            len: tag.len,
            offset: 0,
        };
        if !tag.is_send {
            end.armed.store(user_data, Release);
        }
        self.pushed.add(user_data);
        self.todo.push(match tag.is_send {
            true => (Op::Send(span), user_data),
            false => (Op::Recv(span), user_data),
        });
    }

    /// What follows is counted no later than what it follows from.
    fn publish(&self, counts: &Counts) {
        counts.pushed.store(self.pushed.count, Release);
        counts.seen.store(self.seen.count, Release);
    }

    /// Everything that is to do, also what comes of it meanwhile.
    fn submit(&mut self, port: &mut impl Port, counts: &Counts) {
        let mut ops = Vec::new();
        while !self.todo.is_empty() {
            ops.clear();
            std::mem::swap(&mut ops, &mut self.todo);
            let mut rest = ops.iter().copied();
            while rest.len() > 0 && !self.round.watch.is_abandoned() {
                let len = rest.len().min(AT_ONCE) as u32;
                let next = || rest.next().expect("counted");
                if !port.submit(len, next, &mut |n, r| self.take(n, r))
                    && port.reap(&mut |n, r| self.take(n, r)) == 0
                {
                    thread::yield_now();
                }
            }
            self.publish(counts);
            if self.round.watch.is_abandoned() {
                return;
            }
        }
    }
}
