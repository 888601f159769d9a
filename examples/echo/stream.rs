//! One TCP connection: what came in and is to go out.

use std::mem::{replace, swap};
use std::net::TcpStream;

use ringway::Sqe;
use ringway::pool::{Op, OpId};
use ringway::prep::{RecvFlags, SendFlags};

/// How many bytes may wait for a client that does not read, before the server stops
/// reading from it; what is in the buffers by then comes on top.
pub const BACKLOG: usize = 256 << 10;

/// What is received is copied to `backlog`, and the buffer given back at once: no client,
/// however slow, keeps buffers from the others.
pub struct Stream {
    socket: TcpStream,
    /// The kernel's to read while a send is in flight.
    sending: Vec<u8>,
    /// So much of it was sent.
    sent: usize,
    is_sending: bool,
    /// What goes out next.
    backlog: Vec<u8>,
    receive: Option<OpId>,
    /// The receive was asked to end.
    is_pausing: bool,
    /// The client sends no more.
    is_over: bool,
    /// The connection is broken.
    is_broken: bool,
}

/// What a connection needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Send,
    Receive,
    /// Ending a receive.
    Pause(OpId),
    /// Closing: nothing is in flight.
    Close,
    /// Nothing but completions.
    Wait,
}

impl Stream {
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            sending: Vec::new(),
            sent: 0,
            is_sending: false,
            backlog: Vec::new(),
            receive: None,
            is_pausing: false,
            is_over: false,
            is_broken: false,
        }
    }

    pub fn next(&mut self) -> Step {
        if !self.is_sending && self.sent == self.sending.len() {
            self.sending.clear();
            self.sent = 0;
            swap(&mut self.sending, &mut self.backlog);
        }
        let has_ended = self.is_over || self.is_broken;
        let is_full = self.backlog.len() >= BACKLOG;
        if self.sent < self.sending.len() && !self.is_sending && !self.is_broken {
            return Step::Send;
        }
        match self.receive {
            Some(op) if (is_full || self.is_broken) && !self.is_pausing => {
                self.is_pausing = true;
                Step::Pause(op)
            }
            None if has_ended && !self.is_sending => Step::Close,
            None if !has_ended && !is_full => Step::Receive,
            _ => Step::Wait,
        }
    }

    /// Receives again and again, each time into a buffer of the group.
    ///
    /// One permit, for its last CQE. Each of the others names a buffer, which posts no more
    /// until it is given back: `Server::bind` makes the CQ larger than the permits by all
    /// buffers. A permit for each that a receive might fill would count them once for each
    /// connection.
    pub fn receive(&self, group: u16, user_data: u64) -> Op {
        let mut sqe = Sqe::default();
        // SAFETY: the socket is open until nothing is in flight.
        unsafe { sqe.prep_recv_multishot(&self.socket, 0, 0, RecvFlags::NONE) }
            .buffer_select(group)
            .user_data(user_data);
        sqe.into()
    }

    /// Sends the rest of what is to be sent.
    pub fn send(&self, user_data: u64) -> Op {
        let mut sqe = Sqe::default();
        let rest = &self.sending[self.sent..];
        let len = rest.len().min(i32::MAX as usize) as u32;
        // SAFETY: nobody writes to `sending`, and the socket is open, until the CQE: see
        // `next`, and `Server::run` for the end.
        unsafe { sqe.prep_send(&self.socket, rest.as_ptr(), len, 0, SendFlags::NONE) }
            .user_data(user_data);
        sqe.into()
    }

    pub fn is_receiving(&mut self, op: OpId) {
        self.receive = Some(op);
        self.is_pausing = false;
    }

    pub fn is_sending(&mut self) {
        self.is_sending = true;
    }

    pub fn received(&mut self, bytes: &[u8]) {
        self.backlog.extend_from_slice(bytes);
    }

    /// Bytes that wait for what is being sent.
    pub fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// The client sends no more.
    pub fn was_ended(&mut self) {
        self.is_over = true;
    }

    /// The receive posts no more completions.
    pub fn has_received(&mut self) {
        self.receive = None;
    }

    /// Whether that was all.
    pub fn has_sent(&mut self, count: u32) -> bool {
        self.is_sending = false;
        self.sent += count as usize;
        self.sent == self.sending.len()
    }

    /// Whether the connection was whole so far.
    pub fn has_failed(&mut self) -> bool {
        self.is_sending = false;
        self.broke()
    }

    /// As `has_failed`.
    pub fn broke(&mut self) -> bool {
        !replace(&mut self.is_broken, true)
    }
}
