//! Memory that the kernel picks from when data arrives.

use std::io;
use std::ptr::NonNull;

use ringway::Ring;
use ringway::pool::Completion;
use ringway::register::{BufRing, BufRingFlags};

/// Buffers of one size, in a ring of provided buffers.
pub struct Buffers {
    // Dropped first: then the kernel picks no more.
    ring: BufRing,
    memory: Memory,
    size: u32,
}

/// A buffer that the kernel has filled: ours until it is given back.
pub struct Filled {
    id: u16,
    len: u32,
}

impl Buffers {
    /// `count` is a power of two.
    pub fn new(ring: &Ring, group: u16, count: u16, size: u32) -> io::Result<Self> {
        let ring = ring.register_buf_ring(count.into(), group, BufRingFlags::NONE)?;
        let memory = Memory::new(usize::from(count) * size as usize);
        let mut buffers = Self { ring, memory, size };
        for id in 0..count {
            buffers.give(id);
        }
        Ok(buffers)
    }

    pub fn group(&self) -> u16 {
        self.ring.group()
    }

    /// The buffer that a completion brings. To be asked once for each.
    pub fn take(&mut self, completion: &Completion) -> Option<Filled> {
        let id = completion.cqe().buffer_id()?;
        let len = completion.cqe().result().unwrap_or(0).min(self.size);
        Some(Filled { id, len })
    }

    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        let start = self.start(filled.id);
        // SAFETY: a CQE named the buffer, and it was not given back: nobody writes to it.
        // The length is within the buffer.
        unsafe { NonNull::slice_from_raw_parts(start, filled.len as usize).as_ref() }
    }

    pub fn give_back(&mut self, filled: Filled) {
        self.give(filled.id);
    }

    fn give(&mut self, id: u16) {
        let start = self.start(id).as_ptr();
        // SAFETY: each buffer is either the kernel's or a `Filled`, so there is room. The
        // memory outlives the ring, and what is in flight: the server sees to that.
        unsafe { self.ring.add(start, self.size, id) };
        self.ring.advance();
    }

    fn start(&self, id: u16) -> NonNull<u8> {
        debug_assert!(u32::from(id) < self.ring.entries());
        // SAFETY: ids are those of `new`, so this is within the memory.
        unsafe {
            self.memory
                .0
                .cast()
                .add(usize::from(id) * self.size as usize)
        }
    }
}

impl Filled {
    pub fn id(&self) -> u16 {
        self.id
    }
}

/// Memory that others write to: reached through a pointer only.
struct Memory(NonNull<[u8]>);

// SAFETY: plain memory with one owner.
unsafe impl Send for Memory {}

impl Memory {
    fn new(len: usize) -> Self {
        let memory = Box::into_raw(vec![0; len].into_boxed_slice());
        // SAFETY: a box is not null.
        Self(unsafe { NonNull::new_unchecked(memory) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it was a box.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
