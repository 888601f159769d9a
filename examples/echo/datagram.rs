//! UDP: datagrams that go back from the buffer in which they came.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;

use ringway::pool::{Completion, Op};
use ringway::prep::{RecvFlags, RecvmsgOut, SendFlags};
use ringway::{Ring, Sqe};

use crate::buffers::{Buffers, Filled};

/// How many datagrams may be on their way back.
pub const REPLIES: u16 = 32;

/// The largest datagram, with the address of its sender and what tells them apart.
const SIZE: u32 = 66 << 10;

const GROUP: u16 = 1;

/// The room for addresses in each buffer: for all sockets, and never changed.
struct Room(libc::msghdr);

// SAFETY: its pointers are null.
unsafe impl Send for Room {}

pub struct Datagrams {
    sockets: Vec<UdpSocket>,
    buffers: Buffers,
    room: Box<Room>,
    /// What is being sent, by the buffer's id.
    replies: Vec<Option<Filled>>,
    /// Sockets that found no buffer.
    starved: Vec<u32>,
}

impl Datagrams {
    pub fn new(ring: &Ring, sockets: Vec<UdpSocket>) -> io::Result<Self> {
        // SAFETY: a msghdr is numbers and pointers, which may be 0 and null.
        let mut room = Box::new(Room(unsafe { zeroed() }));
        // The largest of the internet's addresses.
        room.0.msg_namelen = size_of::<libc::sockaddr_in6>() as u32;
        Ok(Self {
            sockets,
            buffers: Buffers::new(ring, GROUP, REPLIES, SIZE)?,
            room,
            replies: (0..REPLIES).map(|_| None).collect(),
            starved: Vec::new(),
        })
    }

    /// Receives again and again. For the permits see `Stream::receive`.
    pub fn receive(&self, socket: usize, user_data: u64) -> Op {
        let mut sqe = Sqe::default();
        let (socket, room) = (&self.sockets[socket], &raw const self.room.0);
        // SAFETY: the message and the socket are there until nothing is in flight.
        unsafe { sqe.prep_recvmsg_multishot(socket, room, 0, RecvFlags::NONE) }
            .buffer_select(self.buffers.group())
            .user_data(user_data);
        sqe.into()
    }

    /// The buffer of a completion of `receive`.
    pub fn take(&mut self, completion: &Completion) -> Option<Filled> {
        self.buffers.take(completion)
    }

    /// Sends what is in the buffer to whom it is from; `None` if there is nobody.
    pub fn reply(&self, socket: usize, filled: &Filled, user_data: u64) -> Option<Op> {
        let out = RecvmsgOut::parse(self.buffers.bytes(filled), &self.room.0)?;
        let is_whole = out.flags() & libc::MSG_TRUNC == 0 && !out.name().is_empty();
        let (name, payload) = is_whole.then(|| (out.name(), out.payload()))?;
        let mut sqe = Sqe::default();
        // SAFETY: name and payload are in the buffer, which is given back with the CQE of
        // this; the socket is open until nothing is in flight.
        unsafe {
            sqe.prep_sendto(
                &self.sockets[socket],
                payload.as_ptr(),
                payload.len() as u32,
                0,
                name.as_ptr().cast(),
                name.len() as u32,
                SendFlags::NONE,
            )
        }
        .user_data(user_data);
        Some(sqe.into())
    }

    /// The reply is in flight.
    pub fn is_replying(&mut self, filled: Filled) {
        let place = usize::from(filled.id());
        self.replies[place] = Some(filled);
    }

    /// The reply is not in flight any more.
    pub fn has_replied(&mut self, id: u32) {
        let place = self.replies.get_mut(id as usize);
        if let Some(filled) = place.and_then(Option::take) {
            self.buffers.give_back(filled);
        }
    }

    pub fn give_back(&mut self, filled: Filled) {
        self.buffers.give_back(filled);
    }

    /// A socket must wait until a buffer is given back.
    pub fn starves(&mut self, socket: u32) {
        self.starved.push(socket);
    }

    /// A socket that may find a buffer by now.
    pub fn starved(&mut self) -> Option<u32> {
        self.starved.pop()
    }
}
