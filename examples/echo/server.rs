//! The server: one thread that reaps, and starts what follows from each completion.

use std::error::Error;
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};
use std::{fmt, io, ptr, thread};

use ringway::pool::{Completion, Driver, Event, Leaked, Op, OpId, Outcome, Refusal, Stats};
use ringway::prep::AcceptFlags;
use ringway::{EnterError, Ring, Sqe};
use slab::Slab;

use crate::buffers::{Buffers, Filled};
use crate::datagram::{Datagrams, REPLIES};
use crate::stream::{Step, Stream};

const SQ_ENTRIES: u32 = 256;

/// Connections that a listening socket may hand over at a time. If there are more, the
/// accept ends, and is started again.
const ACCEPTS: u32 = 64;

/// Connections that may wait to be accepted.
const QUEUE: i32 = 1024;

const GROUP: u16 = 0;

/// Bytes of a buffer for TCP.
pub const SIZE: u32 = 16 << 10;

/// When to try again what the kernel had no memory or descriptors for.
const PAUSE: Duration = Duration::from_millis(50);

/// Within this time everything that was cancelled ends: nothing here waits for a disk.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Connections at a time; others are closed at once.
    pub clients: u32,
    /// Buffers for TCP, a power of two.
    pub buffers: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clients: 3000,
            buffers: 256,
        }
    }
}

/// What an operation is for: its `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The file that says when to stop.
    Stop,
    /// Of a listening socket.
    Accept(u32),
    /// Of a connection.
    Receive(u32),
    /// Of a connection.
    Send(u32),
    /// Of a UDP socket.
    Datagrams(u32),
    /// Of a buffer.
    Reply(u32),
}

impl Key {
    pub fn user_data(self) -> u64 {
        let (kind, index) = match self {
            Key::Stop => (0, 0),
            Key::Accept(index) => (1, index),
            Key::Receive(index) => (2, index),
            Key::Send(index) => (3, index),
            Key::Datagrams(index) => (4, index),
            Key::Reply(index) => (5, index),
        };
        kind << 32 | u64::from(index)
    }

    pub fn of(user_data: u64) -> Option<Self> {
        let index = user_data as u32;
        Some(match user_data >> 32 {
            0 => Key::Stop,
            1 => Key::Accept(index),
            2 => Key::Receive(index),
            3 => Key::Send(index),
            4 => Key::Datagrams(index),
            5 => Key::Reply(index),
            _ => return None,
        })
    }
}

/// What a server has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub connections: u64,
    /// One too many.
    pub turned_away: u64,
    /// Connections that broke.
    pub broken: u64,
    pub bytes: u64,
    /// Sends that took a part only.
    pub partial: u64,
    /// Receives that found no buffer.
    pub starved: u64,
    /// Receives that were stopped because the client did not read.
    pub paused: u64,
    /// The most bytes that waited for one client.
    pub backlog: usize,
    pub datagrams: u64,
    /// Datagrams that did not go back.
    pub dropped: u64,
    /// Operations that had to be tried again later.
    pub retries: u64,
    /// Of these, for want of descriptors.
    pub out_of_files: u64,
}

/// What it came to.
#[derive(Debug)]
pub struct Report {
    pub tally: Tally,
    pub stats: Stats,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, stats } = self;
        write!(
            f,
            "{} connections, {} turned away, {} broken; {} bytes and {} datagrams echoed\n\
             {} partial sends, {} receives without a buffer, {} pauses, {} datagrams dropped, \
             {} retries, {} times out of descriptors\n\
             {} CQEs in {} batches, {} enters, {} in flight",
            tally.connections,
            tally.turned_away,
            tally.broken,
            tally.bytes,
            tally.datagrams,
            tally.partial,
            tally.starved,
            tally.paused,
            tally.dropped,
            tally.retries,
            tally.out_of_files,
            stats.cqes,
            stats.batches,
            stats.enters,
            stats.in_flight,
        )
    }
}

pub struct Server {
    driver: Driver,
    stop: OwnedFd,
    listeners: Vec<TcpListener>,
    streams: Slab<Stream>,
    buffers: Buffers,
    datagrams: Datagrams,
    settings: Settings,
    /// What could not be started, and when to try again.
    later: Vec<Key>,
    again: Instant,
    is_stopping: bool,
    tally: Tally,
}

impl Server {
    /// Listens at each address, for TCP and for UDP. With port 0 the system chooses one.
    pub fn bind(addresses: &[SocketAddr], settings: Settings, stop: OwnedFd) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let mut sockets = Vec::new();
        for address in addresses {
            let (listener, socket) = listen(*address)?;
            listeners.push(listener);
            sockets.push(socket);
        }
        // A receive and a send for each connection; the accepts; the receives and replies
        // of UDP; what stops the server.
        let files = addresses.len() as u32;
        let permits = 2 * settings.clients + (ACCEPTS + 1) * files + u32::from(REPLIES) + 1;
        // And room for a CQE of each buffer, which a multishot receive posts without a
        // permit of its own.
        let filled = u32::from(settings.buffers) + u32::from(REPLIES);
        let room = (permits + filled + 4).next_power_of_two();
        let ring = Ring::builder(SQ_ENTRIES).cq_entries(room).build();
        let ring = ring.map_err(io::Error::other)?;
        let buffers = Buffers::new(&ring, GROUP, settings.buffers, SIZE)?;
        let datagrams = Datagrams::new(&ring, sockets)?;
        let driver = Driver::builder().permits(permits).build(ring);
        Ok(Self {
            driver: driver.map_err(io::Error::other)?,
            stop,
            listeners,
            streams: Slab::new(),
            buffers,
            datagrams,
            settings,
            later: Vec::new(),
            again: Instant::now(),
            is_stopping: false,
            tally: Tally::default(),
        })
    }

    /// The addresses, with their ports.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `stop` is readable, or has no writers, then cancels all and waits until nothing is
    /// in flight.
    ///
    /// If that does not come about, what the kernel may still write to is leaked.
    pub fn run(self) -> Result<Report, Box<dyn Error>> {
        // So also when something here panics.
        let mut server = ManuallyDrop::new(self);
        server.serve()?;
        server.drain()?;
        let report = Report {
            tally: server.tally,
            stats: server.driver.stats(),
        };
        drop(ManuallyDrop::into_inner(server));
        Ok(report)
    }

    fn serve(&mut self) -> Result<(), Box<dyn Error>> {
        let mut sqe = Sqe::default();
        // SAFETY: the file is open until nothing is in flight.
        unsafe { sqe.prep_poll_add(&self.stop, libc::POLLIN as u32) }
            .user_data(Key::Stop.user_data());
        self.driver.try_submit(sqe).map_err(|refused| refused.why)?;
        for index in 0..self.listeners.len() as u32 {
            self.start(Key::Accept(index));
            self.start(Key::Datagrams(index));
        }
        while !self.is_stopping {
            let timeout = match self.later.is_empty() {
                true => None,
                false => Some(self.again.saturating_duration_since(Instant::now())),
            };
            self.reap(timeout)?;
            if !self.later.is_empty() && self.again <= Instant::now() {
                for key in std::mem::take(&mut self.later) {
                    self.start(key);
                }
            }
        }
        Ok(())
    }

    /// Ends everything. What does not end is leaked, and so is its memory: see `run`.
    fn drain(&mut self) -> Result<(), Leaked> {
        let driver = self.driver.clone();
        driver.quiesce(Some(DRAIN), |event| self.happened(event))
    }

    fn reap(&mut self, timeout: Option<Duration>) -> Result<(), EnterError> {
        let driver = self.driver.clone();
        match driver.wait_reap(timeout, |event| self.happened(event)) {
            Ok(_) => Ok(()),
            Err(error) if error.is_transient() => {
                thread::sleep(Duration::from_millis(1));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Completed(completion) => self.completed(&completion),
            // Nobody else uses the ring.
            Event::Stale(_) => {}
        }
    }

    fn completed(&mut self, completion: &Completion) {
        match Key::of(completion.user_data()) {
            Some(Key::Stop) => self.is_stopping = true,
            Some(Key::Accept(index)) => self.accepted(index, completion),
            Some(Key::Receive(index)) => self.received(index, completion),
            Some(Key::Send(index)) => self.sent(index, completion),
            Some(Key::Datagrams(index)) => self.datagram(index, completion),
            Some(Key::Reply(id)) => self.replied(id, completion),
            None => {}
        }
    }

    /// Starts an operation, now or later.
    fn start(&mut self, key: Key) {
        match key {
            Key::Accept(index) => {
                let op = accept(&self.listeners[index as usize], key);
                self.submit(op, key);
            }
            Key::Datagrams(index) => {
                let op = self.datagrams.receive(index as usize, key.user_data());
                self.submit(op, key);
            }
            Key::Receive(index) | Key::Send(index) => self.go_on(index),
            // These are not tried again.
            Key::Stop | Key::Reply(_) => {}
        }
    }

    fn submit(&mut self, op: Op, key: Key) -> Option<OpId> {
        match self.driver.try_submit(op) {
            Ok(op) => Some(op),
            // The kernel has no memory just now.
            Err(refused) if refused.why == Refusal::Full => {
                self.start_later(key);
                None
            }
            // Stopping; or the ring is broken, which the next wait says.
            Err(_) => None,
        }
    }

    fn start_later(&mut self, key: Key) {
        if self.later.is_empty() {
            self.again = Instant::now() + PAUSE;
        }
        self.tally.retries += 1;
        self.later.push(key);
    }

    fn accepted(&mut self, index: u32, completion: &Completion) {
        match completion.outcome() {
            Outcome::Done(fd) => {
                // SAFETY: the kernel has just made this descriptor for us.
                let fd = unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) };
                if !self.is_stopping {
                    self.welcome(fd.into());
                }
            }
            Outcome::Failed(errno) => {
                // What lies in the queue stays there meanwhile.
                let is_out = matches!(errno.raw(), libc::EMFILE | libc::ENFILE);
                self.tally.out_of_files += u64::from(is_out);
                return self.start_later(Key::Accept(index));
            }
            _ => return,
        }
        if completion.is_last() {
            self.start(Key::Accept(index));
        }
    }

    fn welcome(&mut self, socket: TcpStream) {
        if self.streams.len() >= self.settings.clients as usize {
            self.tally.turned_away += 1;
            return;
        }
        self.tally.connections += 1;
        // Without it the answers come a little later.
        let _ = socket.set_nodelay(true);
        let index = self.streams.insert(Stream::new(socket));
        self.go_on(index as u32);
    }

    fn received(&mut self, index: u32, completion: &Completion) {
        let filled = self.buffers.take(completion);
        let Some(stream) = self.streams.get_mut(index as usize) else {
            return;
        };
        if completion.is_last() {
            stream.has_received();
        }
        match completion.outcome() {
            Outcome::Done(0) => stream.was_ended(),
            Outcome::Done(_) | Outcome::Cancelled => {}
            Outcome::Failed(errno) if errno.raw() == libc::ENOBUFS => self.tally.starved += 1,
            _ => self.tally.broken += u64::from(stream.broke()),
        }
        if let Some(filled) = filled {
            stream.received(self.buffers.bytes(&filled));
            self.tally.backlog = self.tally.backlog.max(stream.backlog());
            self.buffers.give_back(filled);
        }
        self.go_on(index);
    }

    fn sent(&mut self, index: u32, completion: &Completion) {
        let Some(stream) = self.streams.get_mut(index as usize) else {
            return;
        };
        match completion.outcome() {
            Outcome::Done(count) => {
                self.tally.bytes += u64::from(count);
                self.tally.partial += u64::from(!stream.has_sent(count));
            }
            outcome => {
                let is_first = stream.has_failed() && outcome != Outcome::Cancelled;
                self.tally.broken += u64::from(is_first);
            }
        }
        self.go_on(index);
    }

    /// Starts what a connection needs, or closes it.
    fn go_on(&mut self, index: u32) {
        loop {
            let Some(stream) = self.streams.get_mut(index as usize) else {
                return;
            };
            let (op, key) = match stream.next() {
                Step::Send => {
                    let key = Key::Send(index);
                    (stream.send(key.user_data()), key)
                }
                Step::Receive => {
                    let key = Key::Receive(index);
                    let group = self.buffers.group();
                    (stream.receive(group, key.user_data()), key)
                }
                Step::Pause(op) => {
                    self.tally.paused += 1;
                    self.driver.cancel(op);
                    continue;
                }
                Step::Close => {
                    self.streams.remove(index as usize);
                    return;
                }
                Step::Wait => return,
            };
            let Some(op) = self.submit(op, key) else {
                return;
            };
            if let Some(stream) = self.streams.get_mut(index as usize) {
                match key {
                    Key::Send(_) => stream.is_sending(),
                    _ => stream.is_receiving(op),
                }
            }
        }
    }

    fn datagram(&mut self, index: u32, completion: &Completion) {
        if let Some(filled) = self.datagrams.take(completion) {
            self.reply(index, filled);
        }
        match completion.outcome() {
            _ if !completion.is_last() => {}
            Outcome::Done(_) => self.start(Key::Datagrams(index)),
            Outcome::Failed(errno) if errno.raw() == libc::ENOBUFS => {
                self.tally.starved += 1;
                self.datagrams.starves(index);
            }
            Outcome::Failed(_) => self.start_later(Key::Datagrams(index)),
            _ => {}
        }
    }

    fn reply(&mut self, index: u32, filled: Filled) {
        let key = Key::Reply(filled.id().into());
        let op = self
            .datagrams
            .reply(index as usize, &filled, key.user_data());
        match op.map(|op| self.driver.try_submit(op)) {
            Some(Ok(_)) => self.datagrams.is_replying(filled),
            _ => {
                self.tally.dropped += 1;
                self.datagrams.give_back(filled);
            }
        }
    }

    fn replied(&mut self, id: u32, completion: &Completion) {
        match completion.outcome() {
            Outcome::Done(_) => self.tally.datagrams += 1,
            _ => self.tally.dropped += 1,
        }
        self.datagrams.has_replied(id);
        if let Some(socket) = self.datagrams.starved() {
            self.start(Key::Datagrams(socket));
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    loop {
        let listener = TcpListener::bind(address)?;
        // SAFETY: takes numbers only. The library has asked for a shorter queue.
        if unsafe { libc::listen(listener.as_raw_fd(), QUEUE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        match UdpSocket::bind(listener.local_addr()?) {
            Ok(socket) => return Ok((listener, socket)),
            // Of the ports that are free for TCP this one was not free for UDP.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Accepts connection after connection.
fn accept(listener: &TcpListener, key: Key) -> Op {
    let mut sqe = Sqe::default();
    let (addr, len) = (ptr::null_mut(), ptr::null_mut());
    let (flags, how) = (libc::SOCK_CLOEXEC, AcceptFlags::NONE);
    // SAFETY: the socket is open until nothing is in flight; no address is asked for.
    unsafe { sqe.prep_multishot_accept(listener, addr, len, flags, how) }
        .user_data(key.user_data());
    Op::from(sqe).cqes(ACCEPTS)
}
