//! Buffers that the kernel picks from, provided by operations.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::ptr;

use ringway::prep::CancelFlags;
use ringway::register::{BufRing, BufRingFlags};

use super::child::{has, linux, tried};
use super::*;

/// Provides all of this memory, which has to stay, as buffers of `len` bytes.
#[track_caller]
pub fn provide(ring: &Ring, memory: *mut [u8], len: u32, group: u16, first_id: u16) {
    let count = u16::try_from(memory.len() / len as usize).unwrap();
    let got = run(ring, |sqe| {
        // SAFETY: the memory stays, and is lent out for ever.
        unsafe { sqe.prep_provide_buffers(memory.cast(), len, count, group, first_id) }
    });
    assert_eq!(got, Ok(0));
}

fn remove(ring: &Ring, count: u16, group: u16) -> Result<u32, i32> {
    run(ring, |sqe| {
        // SAFETY: nothing has to stay alive.
        unsafe { sqe.prep_remove_buffers(count, group) }
    })
}

/// A read of up to `len` bytes at `offset` into a buffer of the group: the result, and the
/// buffer's id.
fn read_into(
    ring: &Ring,
    file: &File,
    (len, offset): (u32, u64),
    group: u16,
) -> (Result<u32, i32>, Option<u16>) {
    start(ring, |sqe| {
        // SAFETY: the kernel writes to provided memory only.
        unsafe { sqe.prep_read(file, ptr::null_mut(), len, offset) }.buffer_select(group)
    });
    let cqe = next(ring);
    (result(cqe), cqe.buffer_id())
}

const NONE_LEFT: (Result<u32, i32>, Option<u16>) = (Err(libc::ENOBUFS), None);

#[test]
fn buffers_are_taken_in_order_and_once() {
    let ring = ring();
    let (_, file) = file("provide", b"0123456789");
    let memory: *mut [u8; 12] = memory();
    provide(&ring, memory, 4, 3, 0xFFF0);
    // Another group is another set.
    assert_eq!(read_into(&ring, &file, (4, 0), 4), NONE_LEFT);
    for (len, offset, got) in [
        (4, 0, (Ok(4), Some(0xFFF0))),
        (9, 4, (Ok(4), Some(0xFFF1))), // no more than the buffer
        (1, 9, (Ok(1), Some(0xFFF2))),
        (1, 0, NONE_LEFT),
    ] {
        assert_eq!(read_into(&ring, &file, (len, offset), 3), got);
    }
    // SAFETY: all buffers are back, and nothing reads into them any more.
    unsafe {
        assert_eq!(&*memory, b"012345679...");
        memory.write([b'.'; 12]);
    }

    // Given again, with other numbers.
    provide(&ring, memory, 12, 3, 0);
    assert_eq!(read_into(&ring, &file, (0, 0), 3), (Ok(10), Some(0)));
    // SAFETY: as above.
    assert_eq!(unsafe { &*memory }, b"0123456789..");
    tried("OP_PROVIDE_BUFFERS");
}

#[test]
fn a_receive_takes_a_buffer_when_data_come() {
    const RECV: u8 = 27;
    let ring = ring();
    let (receiver, mut sender) = UnixStream::pair().unwrap();
    let (_, file) = file("provide_recv", b"0123456789");
    let second: *mut [u8; 4] = memory();
    provide(&ring, memory::<4>(), 4, 0, 7);
    start(&ring, |sqe| {
        // SAFETY: the kernel writes to provided memory only; a receive has the fields of a
        // read at 0.
        unsafe {
            sqe.prep_read(&receiver, ptr::null_mut(), 4, 0);
            sqe.as_bytes_mut()[0] = RECV;
        }
        sqe.buffer_select(0).user_data(1)
    });
    // While it waits, the buffer is there for others.
    assert_eq!(read_into(&ring, &file, (4, 0), 0), (Ok(4), Some(7)));
    provide(&ring, second, 4, 0, 8);
    sender.write_all(b"data").unwrap();
    let cqe = next(&ring);
    assert_eq!((cqe.user_data(), result(cqe)), (1, Ok(4)));
    assert_eq!(cqe.buffer_id(), Some(8));
    // SAFETY: the buffer is back, and nothing reads into it any more.
    assert_eq!(unsafe { &*second }, b"data");
}

/// With several buffers in the call it is not clear which one to replace.
#[test]
fn readv_takes_the_length_of_its_one_buffer() {
    let ring = ring();
    let (_, file) = file("provide_readv", b"0123456789");
    let memory: *mut [u8; 8] = memory();
    provide(&ring, memory, 8, 2, 5);
    let lengths = [3, 1].map(|iov_len| libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len,
    });
    for (count, want) in [(2, (Err(libc::EINVAL), None)), (1, (Ok(3), Some(5)))] {
        start(&ring, |sqe| {
            // SAFETY: the iovecs stay until the CQE; the memory that is lent stays.
            unsafe { sqe.prep_readv(&file, lengths.as_ptr(), count, 1) }.buffer_select(2)
        });
        let cqe = next(&ring);
        assert_eq!((result(cqe), cqe.buffer_id()), want);
    }
    // SAFETY: the buffer is back, and nothing reads into it any more.
    assert_eq!(unsafe { &*memory }, b"123.....");
}

#[test]
fn removed_buffers_are_not_taken() {
    let ring = ring();
    let (_, file) = file("remove", b"0123456789");
    assert_eq!(remove(&ring, 1, 6), Err(libc::ENOENT));
    provide(&ring, memory::<20>(), 4, 6, 40);
    assert_eq!(remove(&ring, 0, 6), Err(libc::EINVAL));
    assert_eq!(remove(&ring, 2, 6), Ok(2));
    assert_eq!(read_into(&ring, &file, (4, 0), 6), (Ok(4), Some(42)));
    assert_eq!(remove(&ring, u16::MAX, 6), Ok(2));
    assert_eq!(read_into(&ring, &file, (4, 0), 6), NONE_LEFT);
    tried("OP_REMOVE_BUFFERS");
}

/// A ring of buffers, without any.
fn buffer_ring(ring: &Ring, group: u16) -> Result<BufRing, i32> {
    let made = ring.register_buf_ring(8, group, BufRingFlags::NONE);
    made.map_err(|errno| errno.raw())
}

#[test]
fn providing_fails() {
    let ring = ring();
    let memory = memory::<8>().as_mut_ptr();
    let wild = |address| ptr::without_provenance_mut(address);
    let kernels = wild(usize::MAX - 64);
    for (addr, len, count, first_id, errno) in [
        (memory, 4, 0, 0, libc::E2BIG),
        (memory, 1, 2, u16::MAX, libc::EINVAL),
        (kernels, 8, 8, 0, libc::EFAULT),
        (kernels, 64, 8, 0, libc::EOVERFLOW),
        (memory, 0, 1, 0, libc::EINVAL),
    ] {
        if len == 0 && !linux(6, 16) {
            continue;
        }
        let got = run(&ring, |sqe| {
            // SAFETY: the kernel refuses to take anything; nothing is read.
            unsafe { sqe.prep_provide_buffers(addr, len, count, 1, first_id) }
        });
        assert_eq!(got, Err(errno), "{addr:?} {len} {count} {first_id}");
    }
    assert_eq!(remove(&ring, 1, 1), Err(libc::ENOENT));
}

#[test]
fn a_ring_of_buffers_has_its_own_way() {
    if !has(5, 19, "a_ring_of_buffers_has_its_own_way", "PBUF_RING") {
        return;
    }
    let ring = ring();
    let _nine = buffer_ring(&ring, 9).unwrap();
    let memory = memory::<8>();
    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays.
        unsafe { sqe.prep_provide_buffers(memory.as_mut_ptr(), 8, 1, 9, 0) }
    });
    assert_eq!(got, Err(libc::EINVAL));
    assert_eq!(remove(&ring, 1, 9), Err(libc::EINVAL));

    // The other way round too, as long as the group is not empty.
    provide(&ring, memory, 8, 10, 0);
    assert_eq!(buffer_ring(&ring, 10).err(), Some(libc::EEXIST));
    assert_eq!(remove(&ring, 1, 10), Ok(1));
    assert!(buffer_ring(&ring, 10).is_ok());
}

/// The manual has the number of buffers as the result, or 0.
#[test]
fn a_group_that_is_full_takes_what_fits_and_says_0() {
    let test = "a_group_that_is_full_takes_what_fits_and_says_0";
    if !has(6, 16, test, "the limit of a group") {
        return;
    }
    let ring = ring();
    let memory = memory::<{ u16::MAX as usize }>();
    let address = memory.as_mut_ptr();
    let provide = |count, first_id| {
        run(&ring, |sqe| {
            // SAFETY: the memory stays.
            unsafe { sqe.prep_provide_buffers(address, 1, count, 0, first_id) }
        })
    };
    assert_eq!(provide(u16::MAX - 1, 0), Ok(0));
    assert_eq!(provide(2, u16::MAX - 1), Ok(0));
    assert_eq!(provide(1, 0), Err(libc::EOVERFLOW));
    assert_eq!(remove(&ring, u16::MAX, 0), Ok(u16::MAX.into()));
    // Newer kernels have room for one more.
    let last = child::here(&[("6.16", 0), ("7.2", 1)]);
    assert_eq!(remove(&ring, u16::MAX, 0), Ok(last));
}

/// The manual says `EBUSY`.
#[test]
fn an_id_may_be_given_twice() {
    let ring = ring();
    let (_, file) = file("provide_twice", b"0123456789");
    provide(&ring, memory::<4>(), 4, 0, 7);
    provide(&ring, memory::<4>(), 4, 0, 7);
    assert_eq!(read_into(&ring, &file, (4, 0), 0), (Ok(4), Some(7)));
    assert_eq!(read_into(&ring, &file, (4, 0), 0), (Ok(4), Some(7)));
    assert_eq!(read_into(&ring, &file, (4, 0), 0), NONE_LEFT);
}

/// The manual says `EINVAL`.
#[test]
fn only_what_reads_takes_buffers() {
    let ring = ring();
    let (path, file) = file("provide_write", b"0123456789");
    provide(&ring, memory::<4>(), 4, 0, 0);
    let got = run(&ring, |sqe| {
        // SAFETY: the bytes are constant.
        unsafe { sqe.prep_write(&file, b"abc".as_ptr(), 3, 0) }.buffer_select(0)
    });
    assert_eq!(got, Err(libc::EOPNOTSUPP));
    assert_eq!(
        run(&ring, |sqe| nop(sqe).buffer_select(0)),
        Err(libc::EOPNOTSUPP)
    );
    assert_eq!(fs::read(path).unwrap(), b"0123456789");
    assert_eq!(remove(&ring, 2, 0), Ok(1));
}

/// The manual says that a buffer is taken when the data are there. A read that waits for
/// them holds one meanwhile on some kernels, 6.18 among them: the CQE tells.
#[test]
fn a_cancelled_read_says_whether_it_has_the_buffer() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    let read = || {
        start(&ring, |sqe| {
            // SAFETY: the kernel writes to provided memory only.
            unsafe { sqe.prep_read(&reader, ptr::null_mut(), 4, 0) }.buffer_select(0)
        });
    };
    provide(&ring, memory::<4>(), 4, 0, 3);
    read();
    start(&ring, |sqe| {
        // SAFETY: nothing has to stay alive.
        unsafe { sqe.prep_cancel64(0, CancelFlags::NONE) }.user_data(1)
    });
    let mut cqes = [next(&ring), next(&ring)];
    cqes.sort_by_key(Cqe::user_data);
    assert_eq!(cqes.map(result), [Err(libc::ECANCELED), Ok(0)]);
    let has_it = cqes[0].buffer_id();
    assert!(has_it.is_some() || !linux(6, 18) || linux(6, 19));
    let left = match has_it {
        Some(id) => {
            assert_eq!(id, 3);
            0
        }
        None => 1,
    };
    assert_eq!(remove(&ring, 2, 0), Ok(left));

    // Not cancelled, it has it in any case.
    provide(&ring, memory::<4>(), 4, 0, 4);
    read();
    writer.write_all(b"ab").unwrap();
    let cqe = next(&ring);
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(2), Some(4)));
}
