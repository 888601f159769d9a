//! Rings of provided buffers.

use std::fs::File;
use std::io::{Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;

use ringway::register::{BufRing, BufRingFlags};

use super::child::{forked, has, in_child, linux, skip, traces, tried, untried};
use super::op::*;
use super::*;

const REGISTER_RESTRICTIONS: u32 = 11;
const REGISTER_PBUF_RING: u32 = 22;
const OP_RECV: u8 = 27;

/// Adds `len` bytes at each of the places, under these ids, and gives them to the kernel.
fn give<R>(buffers: &mut BufRing<R>, memory: &mut [u8], len: u32, places: &[(usize, u16)]) {
    for &(place, id) in places {
        let buffer = &mut memory[place..place + len as usize];
        // SAFETY: the memory is leaked, and read by tests only where it was given back;
        // they add no more than fit.
        unsafe { buffers.add(buffer.as_mut_ptr(), len, id) };
    }
    buffers.advance();
}

fn plain(ring: &Ring, entries: u32, group: u16) -> BufRing {
    let made = ring.register_buf_ring(entries, group, BufRingFlags::NONE);
    made.unwrap()
}

/// How many buffers the kernel has picked.
#[track_caller]
fn assert_head<R>(buffers: &BufRing<R>, head: u16) {
    if has(6, 8, "buf_ring::assert_head", "IORING_REGISTER_PBUF_STATUS") {
        assert_eq!(buffers.head(), Ok(head));
    }
}

/// How many it can pick.
#[track_caller]
fn assert_left<R>(buffers: &BufRing<R>, left: u16) {
    if has(6, 8, "buf_ring::assert_left", "IORING_REGISTER_PBUF_STATUS") {
        assert_eq!(buffers.available(), Ok(left));
    }
}

/// The two kinds of memory, as far as the kernel has them.
fn kinds() -> Vec<BufRingFlags> {
    let mut kinds = vec![BufRingFlags::NONE];
    if has(6, 4, "buf_ring::kinds", "IOU_PBUF_RING_MMAP") {
        kinds.push(BufRingFlags::MMAP);
    }
    kinds
}

fn has_inc(test: &str) -> bool {
    has(6, 12, test, "IOU_PBUF_RING_INC")
}

#[test]
fn data_arrives_under_the_id_of_its_buffer() {
    let ring = ring();
    for kind in kinds() {
        let memory = memory(4 * 8);
        let mut buffers = ring.register_buf_ring(4, 7, kind).unwrap();
        assert_eq!((buffers.group(), buffers.entries()), (7, 4));
        let places = [(8, 9), (0, 65535), (24, 0), (16, 3)];
        give(&mut buffers, memory, 8, &places);

        let (reader, mut writer) = pipe().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        for (i, (place, id)) in places.into_iter().enumerate() {
            let text = [b'a' + i as u8; 3];
            let cqe = if i % 2 == 0 {
                writer.write_all(&text).unwrap();
                run(&ring, |sqe| select(sqe, &reader, 64, 7))
            } else {
                start(&ring, |sqe| {
                    let sqe = select(sqe, &far, 64, 7);
                    // SAFETY: of the same buffers and the same file; RECV has no offset.
                    let bytes = unsafe { sqe.as_bytes_mut() };
                    bytes[0] = OP_RECV;
                    sqe
                });
                near.write_all(&text).unwrap();
                next(&ring)
            };
            assert_eq!((result(cqe), cqe.buffer_id()), (Ok(3), Some(id)));
            assert!(!cqe.buffer_more());
            assert_eq!(&memory[place..place + 3], &text);
            assert_left(&buffers, 3 - i as u16);
        }
        assert_eq!(memory.iter().filter(|&&byte| byte == b'.').count(), 4 * 5);

        writer.write_all(b"x").unwrap();
        let cqe = run(&ring, |sqe| select(sqe, &reader, 64, 7));
        assert_eq!((result(cqe), cqe.buffer_id()), (Err(libc::ENOBUFS), None));
        give(&mut buffers, memory, 8, &[(0, 1)]);
        let cqe = run(&ring, |sqe| select(sqe, &reader, 64, 7));
        assert_eq!((result(cqe), cqe.buffer_id()), (Ok(1), Some(1)));
    }
    tried("REGISTER_PBUF_RING");
    match linux(6, 8) {
        true => tried("REGISTER_PBUF_STATUS"),
        false => untried("REGISTER_PBUF_STATUS", "it came with Linux 6.8"),
    }
}

#[test]
fn a_failed_read_gives_its_buffer_back() {
    let ring = ring();
    let memory = memory(16);
    let mut buffers = plain(&ring, 2, 0);
    give(&mut buffers, memory, 8, &[(0, 5), (8, 6)]);
    // No file that can be polled: the buffer is picked before the read.
    let directory = File::open("/").unwrap();
    let cqe = run(&ring, |sqe| select(sqe, &directory, 8, 0));
    assert_eq!((result(cqe), cqe.buffer_id()), (Err(libc::EISDIR), Some(5)));
    assert_head(&buffers, 1);
    assert_left(&buffers, 1);
}

#[test]
fn counters_go_round_at_65536() {
    let ring = ring();
    for kind in kinds() {
        let memory = memory(8 * 8);
        let mut buffers = ring.register_buf_ring(8, 1, kind).unwrap();
        let (reader, mut writer) = pipe().unwrap();
        // Before Linux 6.4 workers read pipes, and in no order.
        let by_workers = !linux(6, 4);
        for lap in 0..8200u32 {
            let numbers: Vec<u32> = (lap * 8..lap * 8 + 8).collect();
            let place = |number: u32| number as usize % 8 * 8;
            let places: Vec<_> = numbers.iter().map(|&n| (place(n), n as u16)).collect();
            give(&mut buffers, memory, 8, &places);
            // Among them the lap that has the tail past the wrap, and the head before it.
            if lap > 8180 {
                assert_left(&buffers, 8);
            }
            for number in &numbers {
                writer.write_all(&number.to_ne_bytes()).unwrap();
            }
            let read = || push(&ring, |sqe| select(sqe, &reader, 4, 1));
            if !by_workers {
                numbers.iter().for_each(|_| read());
                ring.submit().unwrap();
            }
            for number in numbers {
                if by_workers {
                    read();
                    ring.submit().unwrap();
                }
                let cqe = next(&ring);
                assert_eq!((result(cqe), cqe.buffer_id()), (Ok(4), Some(number as u16)));
                let data = &memory[place(number)..][..4];
                assert_eq!(data, number.to_ne_bytes());
            }
        }
        assert_head(&buffers, (8200 * 8) as u16);
    }
}

/// What is added is the kernel's after the advance only; and the tail, which lies in the
/// first entry, is not touched by adding there.
#[test]
fn adding_shows_nothing_before_the_advance() {
    let ring = ring();
    for kind in kinds() {
        let memory = memory(16);
        let mut buffers = ring.register_buf_ring(2, 3, kind).unwrap();
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"1234").unwrap();
        let pick = || {
            let cqe = run(&ring, |sqe| select(sqe, &reader, 1, 3));
            result(cqe).map(|_| cqe.buffer_id())
        };
        give(&mut buffers, memory, 8, &[(0, 10), (8, 11)]);
        assert_eq!(pick(), Ok(Some(10)));
        // SAFETY: the buffer was given back; the memory stays.
        unsafe { buffers.add(memory.as_mut_ptr(), 8, 12) };
        assert_eq!(pick(), Ok(Some(11)));
        assert_eq!(pick(), Err(libc::ENOBUFS));
        // SAFETY: as above.
        unsafe { buffers.add(memory.as_mut_ptr().wrapping_add(8), 8, 13) };
        assert_eq!(pick(), Err(libc::ENOBUFS));
        buffers.advance();
        assert_eq!([pick(), pick()], [Ok(Some(12)), Ok(Some(13))]);
        buffers.advance();
        assert_eq!(pick(), Err(libc::ENOBUFS));
    }
}

#[test]
fn the_numbers_that_make_no_ring() {
    let ring = ring();
    for entries in [0, 3, 24, 65536, 1 << 31, u32::MAX] {
        for flags in [BufRingFlags::NONE, BufRingFlags::MMAP] {
            let refused = ring.register_buf_ring(entries, 0, flags);
            assert_eq!(refusal(refused), libc::EINVAL, "{entries}");
        }
    }
    let unknown = BufRingFlags::from_bits(1 << 15);
    let refused = ring.register_buf_ring(4, 0, unknown);
    assert_eq!(refusal(refused), libc::EINVAL);

    let largest = plain(&ring, 32768, u16::MAX);
    assert_eq!(largest.entries(), 32768);
    let refused = ring.register_buf_ring(4, u16::MAX, BufRingFlags::NONE);
    assert_eq!(refusal(refused), libc::EEXIST);
    assert_eq!(largest.unregister(), Ok(()));
    plain(&ring, 4, u16::MAX);
    tried("UNREGISTER_PBUF_RING");
}

/// The group is a part of the offset by which its memory is mapped, and has 11 bits there.
/// The kernel makes a larger one all the same.
#[test]
fn the_kernels_memory_has_room_for_2048_groups() {
    let test = "buf_ring::the_kernels_memory_has_room_for_2048_groups";
    if !has(6, 4, test, "IOU_PBUF_RING_MMAP") {
        return;
    }
    let ring = ring();
    let memory = memory(8);
    let (reader, mut writer) = pipe().unwrap();
    for group in [0, 1, 2047] {
        let mut buffers = ring
            .register_buf_ring(1, group, BufRingFlags::MMAP)
            .unwrap();
        give(&mut buffers, memory, 8, &[(0, group)]);
        writer.write_all(b"x").unwrap();
        let cqe = run(&ring, |sqe| select(sqe, &reader, 8, group));
        assert_eq!(cqe.buffer_id(), Some(group));
    }
    let low = ring.register_buf_ring(1, 1, BufRingFlags::MMAP).unwrap();
    for group in [2048, 0x8000, 0x8001, u16::MAX] {
        let refused = ring.register_buf_ring(1, group, BufRingFlags::MMAP);
        assert_eq!(refusal(refused), libc::EINVAL);
    }
    drop(low);

    // `struct io_uring_buf_reg`: the address, then entries, group, flags.
    let mut large = [0u8; 40];
    large[8..12].copy_from_slice(&1u32.to_ne_bytes());
    large[12..14].copy_from_slice(&2048u16.to_ne_bytes());
    large[14..16].copy_from_slice(&BufRingFlags::MMAP.bits().to_ne_bytes());
    // SAFETY: the kernel reads one structure, and allocates the memory.
    let made = unsafe {
        let large = large.as_mut_ptr().cast();
        ring.registrar().register(REGISTER_PBUF_RING, large, 1)
    };
    assert_eq!(made, Ok(0));
    let offset = (1 << 31) | (2048 << 16);
    // SAFETY: a new mapping touches nothing.
    let mapped = unsafe {
        let fd = ring.fd().unwrap().as_raw_fd();
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ,
            libc::MAP_SHARED,
            fd,
            offset,
        )
    };
    assert_eq!(mapped, libc::MAP_FAILED);
}

#[test]
fn what_is_left_of_a_dropped_one() {
    let test = "buf_ring::what_is_left_of_a_dropped_one";
    in_child(test, || {
        let (files, _) = traces();
        let ring = ring();
        let before = traces();
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"x").unwrap();
        for kind in kinds() {
            let mut buffers = ring.register_buf_ring(4, 4, kind).unwrap();
            give(&mut buffers, memory(8), 8, &[(0, 0)]);
            assert_ne!(traces().1, before.1, "no memory");
            drop(buffers);
            assert_eq!(traces().1, before.1);
            let cqe = run(&ring, |sqe| select(sqe, &reader, 8, 4));
            assert_eq!(result(cqe), Err(libc::ENOBUFS));
        }
        drop((reader, writer));
        assert_eq!(traces(), before);

        // It holds the ring.
        let buffers = plain(&ring, 4, 4);
        drop(ring);
        assert_eq!(traces().0, before.0);
        assert_left(&buffers, 0);
        drop(buffers);
        assert_eq!(traces().0, files);
    });
}

/// A ring whose restrictions let it register one, and not unregister it.
#[test]
fn memory_that_the_kernel_keeps_is_leaked() {
    let test = "buf_ring::memory_that_the_kernel_keeps_is_leaked";
    in_child(test, || {
        let disabled = Ring::builder(8).build_disabled().unwrap();
        // `struct io_uring_restriction`: of the kind REGISTER_OP, with the opcode behind.
        let mut allowed = [0u8; 16];
        allowed[2] = REGISTER_PBUF_RING as u8;
        // SAFETY: the kernel reads one structure of 16 bytes.
        unsafe {
            let allowed = allowed.as_mut_ptr().cast();
            disabled
                .registrar()
                .register(REGISTER_RESTRICTIONS, allowed, 1)
        }
        .unwrap();
        let ring = disabled.enable().unwrap();
        let (_, before) = traces();
        let buffers = plain(&ring, 4, 4);
        assert_eq!(refusal(buffers.unregister()), libc::EACCES);
        assert_eq!(traces().1.len(), before.len() + 1);
        drop(plain(&ring, 4, 5));
        assert_eq!(traces().1.len(), before.len() + 2);
    });
}

/// The group is made, and then there is no room for the mapping.
#[test]
fn a_group_that_cannot_be_mapped_is_undone() {
    let test = "buf_ring::a_group_that_cannot_be_mapped_is_undone";
    in_child(test, || {
        if !has(6, 4, test, "IOU_PBUF_RING_MMAP") {
            return;
        }
        let ring = ring();
        let limit = |soft| {
            let limit = libc::rlimit {
                rlim_cur: soft,
                rlim_max: libc::RLIM_INFINITY,
            };
            // SAFETY: reads one limit.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        };
        for kind in kinds() {
            limit(4096);
            let refused = ring.register_buf_ring(32768, 4, kind);
            limit(libc::RLIM_INFINITY);
            assert_eq!(refusal(refused), libc::ENOMEM);
            assert!(ring.register_buf_ring(32768, 4, kind).is_ok());
        }
    });
}

#[test]
fn a_forked_child_leaves_the_group_alone() {
    in_child("buf_ring::a_forked_child_leaves_the_group_alone", || {
        let ring = ring();
        let mut buffers = Some(plain(&ring, 4, 4));
        let ended = forked(|| {
            drop(buffers.take());
            0
        });
        assert_eq!(ended, Ok(0));
        assert_eq!(buffers.unwrap().unregister(), Ok(()));
    });
}

#[test]
fn of_a_ring_that_belongs_to_a_thread() {
    let (reader, mut writer) = pipe().unwrap();
    let memory = memory(8);
    let deferring = Ring::builder(8).single_issuer().defer_taskrun();
    let without_fd = Ring::builder(8).registered_fd_only().no_mmap();
    for (builder, mapped) in [(deferring, 0), (without_fd, libc::EBADF)] {
        let local = match builder.build_local() {
            Ok(local) => local,
            Err(refused) => {
                assert!(!linux(6, 5), "{refused}");
                let test = "buf_ring::of_a_ring_that_belongs_to_a_thread";
                skip(test, "REGISTERED_FD_ONLY came with Linux 6.5");
                continue;
            }
        };
        let mut buffers = local.register_buf_ring(1, 1, BufRingFlags::NONE).unwrap();
        if has(6, 4, "buf_ring::of_a_ring_that_belongs_to_a_thread", "MMAP") {
            let other = local.register_buf_ring(1, 2, BufRingFlags::MMAP);
            assert_eq!(refusal(other), mapped);
        }
        give(&mut buffers, memory, 8, &[(0, 6)]);
        writer.write_all(b"local").unwrap();
        let mut slot = local.pop().unwrap();
        select(&mut slot, &reader, 8, 1);
        slot.push();
        local.submit().unwrap();
        // Before Linux 6.4 a worker reads the pipe, later.
        let kept = (!linux(6, 4)).then_some(buffers);
        let cqe = local.wait_one(None).unwrap().unwrap();
        drop(kept);
        assert_eq!((result(cqe), cqe.buffer_id()), (Ok(5), Some(6)));
        assert_eq!(&memory[..5], b"local");
    }
}

#[test]
fn an_incremental_buffer_is_used_bit_by_bit() {
    if !has_inc("buf_ring::an_incremental_buffer_is_used_bit_by_bit") {
        return;
    }
    let ring = ring();
    let memory = memory(32);
    let mut buffers = ring.register_buf_ring(2, 1, BufRingFlags::INC).unwrap();
    give(&mut buffers, memory, 16, &[(0, 5), (16, 6)]);
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"abcdefghijklmnopqrst").unwrap();
    for (len, got, id, more) in [
        (3, 3, 5, true),
        (6, 6, 5, true),
        (64, 7, 5, false),
        (64, 4, 6, true),
    ] {
        let cqe = run(&ring, |sqe| select(sqe, &reader, len, 1));
        assert_eq!((result(cqe), cqe.buffer_id()), (Ok(got), Some(id)));
        assert_eq!(cqe.buffer_more(), more);
    }
    assert_eq!(memory, *b"abcdefghijklmnopqrst............");
    assert_head(&buffers, 1);

    // Nothing comes, nothing is used up.
    drop(writer);
    let cqe = run(&ring, |sqe| select(sqe, &reader, 8, 1));
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(0), Some(6)));
    assert_head(&buffers, 1);
    give(&mut buffers, memory, 16, &[(0, 7)]);
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"uvw").unwrap();
    let cqe = run(&ring, |sqe| select(sqe, &reader, 8, 1));
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(3), Some(6)));
    assert_eq!(memory, *b"abcdefghijklmnopqrstuvw.........");
}

/// `io_uring_register_buf_ring(3)` says that each completion goes on where the one before
/// it left off.
#[test]
fn a_file_uses_up_what_was_asked_for() {
    if !has_inc("buf_ring::a_file_uses_up_what_was_asked_for") {
        return;
    }
    let ring = ring();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("register-inc");
    std::fs::write(&path, "file").unwrap();
    let file = File::open(&path).unwrap();
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"pipe").unwrap();
    let memory = memory(32);
    let mut buffers = ring.register_buf_ring(2, 1, BufRingFlags::INC).unwrap();
    give(&mut buffers, memory, 32, &[(0, 5)]);
    let directory = File::open("/").unwrap();
    let cqe = run(&ring, |sqe| select(sqe, &directory, 8, 1));
    assert_eq!((result(cqe), cqe.buffer_id()), (Err(libc::EISDIR), Some(5)));
    let cqe = run(&ring, |sqe| select(sqe, &file, 8, 1));
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(4), Some(5)));
    // As does what a worker does.
    let cqe = run(&ring, |sqe| select(sqe, &reader, 9, 1).force_async());
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(4), Some(5)));
    writer.write_all(b"poll").unwrap();
    let cqe = run(&ring, |sqe| select(sqe, &reader, 64, 1));
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(4), Some(5)));
    assert_eq!(memory, *b"........file....pipe.....poll...");
    assert_head(&buffers, 0);
}

/// What a worker does takes its part first: when the end of the buffer is used, the
/// operation that took the beginning may still be running.
#[test]
fn a_buffer_that_is_used_up_may_be_in_use() {
    let test = "buf_ring::a_buffer_that_is_used_up_may_be_in_use";
    if !has_inc(test) {
        return;
    }
    const LEN: usize = 1 << 20;
    let ring = ring();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("register-used-up");
    std::fs::write(&path, "f").unwrap();
    let file = File::open(&path).unwrap();
    let memory = memory(LEN);
    let mut buffers = ring.register_buf_ring(2, 1, BufRingFlags::INC).unwrap();
    give(&mut buffers, memory, LEN as u32, &[(0, 5)]);
    let (reader, mut writer) = pipe().unwrap();
    start(&ring, |sqe| {
        select(sqe, &reader, 8, 1).force_async().user_data(1)
    });
    // Bytes of the file come one behind the other, until the worker has taken its part.
    let mut used = 0;
    while memory[used..used + 9] != *b"........f" {
        assert!(used + 32 < LEN, "the worker took nothing");
        used += usize::from(memory[used] == b'f');
        let cqe = run(&ring, |sqe| select(sqe, &file, 1, 1));
        assert_eq!((result(cqe), cqe.buffer_id()), (Ok(1), Some(5)));
    }
    let rest = LEN - used - 9;
    let cqe = run(&ring, |sqe| select(sqe, &file, rest as u32, 1));
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(1), Some(5)));
    assert!(!cqe.buffer_more());
    assert_head(&buffers, 1);
    assert_idle(&ring);
    writer.write_all(b"pipe").unwrap();
    let cqe = next(&ring);
    assert_eq!((cqe.user_data(), result(cqe)), (1, Ok(4)));
    assert_eq!(memory[used..used + 10], *b"pipe....ff");
}

#[test]
fn a_rest_that_is_too_short_is_given_back() {
    let test = "buf_ring::a_rest_that_is_too_short_is_given_back";
    let ring = ring();
    let refused = ring.register_buf_ring_min_left(2, 1, BufRingFlags::NONE, 6);
    assert_eq!(refusal(refused), libc::EINVAL);
    let mut buffers = match ring.register_buf_ring_min_left(2, 1, BufRingFlags::INC, 6) {
        Ok(buffers) => buffers,
        Err(errno) if errno.raw() == libc::EINVAL && !linux(7, 1) => {
            return skip(test, "min_left came with Linux 7.1");
        }
        Err(errno) => panic!("{errno}"),
    };
    give(&mut buffers, memory(32), 16, &[(0, 5), (16, 6)]);
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[0; 16]).unwrap();
    let local = Ring::builder(8).build_local().unwrap();
    for (flags, refused) in [(BufRingFlags::NONE, libc::EINVAL), (BufRingFlags::INC, 0)] {
        let made = local.register_buf_ring_min_left(2, 1, flags, 6);
        assert_eq!(refusal(made), refused);
    }
    for (len, id, more) in [(10, 5, true), (1, 5, false), (1, 6, true)] {
        let cqe = run(&ring, |sqe| select(sqe, &reader, len, 1));
        assert_eq!((result(cqe), cqe.buffer_id()), (Ok(len), Some(id)));
        assert_eq!(cqe.buffer_more(), more);
    }
}

#[test]
fn a_thread_may_own_it() {
    fn is_send<T: Send + Sync>() {}
    is_send::<BufRing>();
}

#[test]
fn a_ring_with_buffer_rings_is_not_resized() {
    if !crate::child::has(
        6,
        13,
        "resize::a_ring_with_buffer_rings_is_not_resized",
        "resizing",
    ) {
        return;
    }
    let builder = Ring::builder(8).single_issuer().defer_taskrun();
    let mut ring = builder.build_local().expect("io_uring");
    let flags = ringway::register::BufRingFlags::NONE;
    let buffers = ring.register_buf_ring(8, 0, flags).expect("a buffer ring");
    assert_eq!(ring.resize(16, 32), Err(ringway::ResizeError::BufRings));
    drop(buffers);
    assert_eq!(ring.resize(16, 32), Ok(()));
    assert_eq!((ring.sq_entries(), ring.cq_entries()), (16, 32));
}
