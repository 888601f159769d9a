//! The table of registered buffers.

use std::fs::File;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::sync::mpsc;
use std::{ptr, thread};

use ringway::Sqe;
use ringway::prep::Target;
use ringway::register::{CloneFlags, CloneSource};

use super::child::{has, here, in_child, patiently, tried};
use super::op::*;
use super::*;

const REGISTER_RING_FDS: u32 = 20;
const OP_READ_FIXED: u8 = 4;
const OP_WRITE_FIXED: u8 = 5;

/// The first operation is a read or write; this one is it with buffer `index`.
fn fixed(sqe: &mut Sqe, opcode: u8, index: u16) -> &mut Sqe {
    // SAFETY: READ_FIXED and WRITE_FIXED name the same memory and file.
    let bytes = unsafe { sqe.as_bytes_mut() };
    bytes[0] = opcode;
    bytes[40..42].copy_from_slice(&index.to_ne_bytes());
    sqe
}

/// Starts a read to this memory as buffer `index`.
fn start_read(ring: &Ring, file: impl AsFd, to: &[u8], index: u16) {
    start(ring, |sqe| {
        let to = to.as_ptr().cast_mut();
        let file: Target = file.as_fd().into();
        // SAFETY: the memory is leaked, and looked at when the CQE is here.
        let sqe = unsafe { sqe.prep_read(file, to, 4, 0) }.user_data(77);
        fixed(sqe, OP_READ_FIXED, index)
    });
}

fn said(text: &str) -> PipeReader {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    reader
}

/// Reads "data" there as buffer `index`, and has a look.
fn reads(ring: &Ring, place: &[u8], index: u16) -> Result<u32, i32> {
    start_read(ring, said("data"), place, index);
    let answer = result(next(ring));
    if answer.is_ok() {
        assert_eq!(place[..4], *b"data");
    }
    answer
}

fn iovec(memory: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: memory.as_ptr().cast_mut().cast(),
        iov_len: memory.len(),
    }
}

const EMPTY: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

/// Registers leaked memory.
fn register(ring: &Ring, buffers: &[libc::iovec]) -> i32 {
    // SAFETY: the memory of tests stays where it is, unless they say so.
    refusal(unsafe { ring.registrar().register_buffers(buffers) })
}

fn update(ring: &Ring, offset: u32, buffers: &[libc::iovec], tags: &[u64]) -> Result<u32, i32> {
    let registrar = ring.registrar();
    // SAFETY: as in `register`.
    raw(unsafe { registrar.register_buffers_update_tag(offset, buffers, tags) })
}

/// The tag that has come back.
fn tag(ring: &Ring) -> u64 {
    let cqe = next(ring);
    assert_eq!((cqe.res(), cqe.flags()), (0, 0));
    cqe.user_data()
}

/// Memory of a file, at an address of the kernel's choice, or over what is there.
fn map(file: Option<&File>, over: Option<&mut [u8]>) -> &'static mut [u8] {
    let (at, fixed) = match over {
        Some(over) => (over.as_mut_ptr(), libc::MAP_FIXED),
        None => (ptr::null_mut(), 0),
    };
    let (fd, kind) = match file {
        Some(file) => (file.as_raw_fd(), libc::MAP_SHARED),
        None => (-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
    };
    // SAFETY: a new mapping touches nothing; one over another replaces memory that the
    // caller has, and which is not used as it was any more.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let mapped = libc::mmap(at.cast(), 4096, access, kind | fixed, fd, 0);
        assert_ne!(mapped, libc::MAP_FAILED);
        std::slice::from_raw_parts_mut(mapped.cast(), 4096)
    }
}

/// A file in memory, of a page.
fn memfd() -> File {
    // SAFETY: makes a descriptor, which is nobody else's.
    let file = unsafe { File::from_raw_fd(libc::memfd_create(c"".as_ptr(), libc::MFD_CLOEXEC)) };
    file.set_len(4096).unwrap();
    file
}

#[test]
fn operations_use_them_by_index() {
    let ring = ring();
    let (one, two) = (memory(5000), memory(64));
    assert_eq!(register(&ring, &[iovec(one), EMPTY, iovec(two)]), 0);
    assert_eq!(register(&ring, &[iovec(one)]), libc::EBUSY);
    assert_eq!(reads(&ring, &one[4990..], 0), Ok(4));
    assert_eq!(reads(&ring, two, 2), Ok(4));
    // Outside the buffer, across its end, an empty place, outside the table.
    for (place, index) in [(&two[..], 0), (&one[4998..], 0), (two, 1), (two, 3)] {
        assert_eq!(reads(&ring, place, index), Err(libc::EFAULT));
    }

    two[60..].copy_from_slice(b"here");
    let (mut reader, writer) = pipe().unwrap();
    let cqe = run(&ring, |sqe| {
        // SAFETY: the memory is leaked.
        let sqe = unsafe { sqe.prep_write(&writer, two[60..].as_ptr(), 4, 0) };
        fixed(sqe, OP_WRITE_FIXED, 2)
    });
    assert_eq!(result(cqe), Ok(4));
    let mut written = [0; 4];
    reader.read_exact(&mut written).unwrap();
    assert_eq!(written, *b"here");
    tried("REGISTER_BUFFERS");

    assert_eq!(ring.registrar().unregister_buffers(), Ok(()));
    assert_eq!(reads(&ring, two, 2), Err(libc::EFAULT));
    let again = ring.registrar().unregister_buffers();
    assert_eq!(refusal(again), libc::ENXIO);
    tried("UNREGISTER_BUFFERS");
}

#[test]
fn memory_that_is_refused() {
    let ring = ring();
    let good = iovec(memory(64));
    let readonly = map(None, None);
    // SAFETY: nobody writes there.
    let made = unsafe { libc::mprotect(readonly.as_mut_ptr().cast(), 4096, libc::PROT_READ) };
    assert_eq!(made, 0);
    let gone = map(None, None);
    let gone = iovec(gone);
    // SAFETY: the memory is not used any more.
    assert_eq!(unsafe { libc::munmap(gone.iov_base, 4096) }, 0);
    let with = |iov_base, iov_len| libc::iovec { iov_base, iov_len };
    for (bad, errno) in [
        (gone, libc::EFAULT),
        (iovec(readonly), libc::EFAULT),
        (with(ptr::null_mut(), 1), libc::EFAULT),
        (with(good.iov_base, 0), libc::EFAULT),
        (with(good.iov_base, (1 << 30) + 1), libc::EFAULT),
    ] {
        assert_eq!(register(&ring, &[good, bad]), errno);
        let none = ring.registrar().unregister_buffers();
        assert_eq!(refusal(none), libc::ENXIO, "all or none");
    }
    assert_eq!(register(&ring, &[]), libc::EINVAL);
    assert_eq!(register(&ring, &vec![EMPTY; (1 << 14) + 1]), libc::EINVAL);
    assert_eq!(register(&ring, &vec![EMPTY; 1 << 14]), 0);
}

#[test]
fn what_may_be_locked_has_a_limit() {
    in_child("buffers::what_may_be_locked_has_a_limit", || {
        let limit = libc::rlimit {
            rlim_cur: 1 << 16,
            rlim_max: 1 << 16,
        };
        // SAFETY: reads one limit; as root, becomes a user for whom it counts.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
            if libc::geteuid() == 0 {
                assert_eq!(libc::setuid(65534), 0);
            }
        }
        let ring = patiently(|| Ring::builder(8).build()).unwrap();
        assert_eq!(register(&ring, &[iovec(memory(1 << 20))]), libc::ENOMEM);
    });
}

/// `io_uring_register(2)` says that it must be anonymous.
#[test]
fn memory_of_a_file_may_be_registered() {
    let ring = ring();
    let mut file = memfd();
    let memory = map(Some(&file), None);
    assert_eq!(register(&ring, &[iovec(memory)]), 0);
    assert_eq!(reads(&ring, memory, 0), Ok(4));
    let mut written = [0; 4];
    file.read_exact(&mut written).unwrap();
    assert_eq!(written, *b"data");
}

/// Why the memory must stay where it is: other memory at its addresses is not written.
#[test]
fn the_kernel_keeps_the_pages_not_the_addresses() {
    let ring = ring();
    let mut file = memfd();
    let memory = map(Some(&file), None);
    assert_eq!(register(&ring, &[iovec(memory)]), 0);
    let memory = map(None, Some(memory));
    start_read(&ring, said("data"), memory, 0);
    assert_eq!(result(next(&ring)), Ok(4));
    assert_eq!(memory[..4], [0; 4]);
    let mut written = [0; 4];
    file.read_exact(&mut written).unwrap();
    assert_eq!(written, *b"data");
}

/// `io_uring_register(2)` says that unregistering releases the buffers at once.
#[test]
fn an_operation_that_runs_keeps_its_buffer() {
    let test = "buffers::an_operation_that_runs_keeps_its_buffer";
    if !has(6, 13, test, "unregistering without waiting") {
        return;
    }
    let ring = ring();
    let memory = memory(64);
    let registrar = ring.registrar();
    // SAFETY: the memory is leaked.
    unsafe { registrar.register_buffers_tags(&[iovec(memory)], &[5]) }.unwrap();
    let (reader, mut writer) = pipe().unwrap();
    start_read(&ring, &reader, memory, 0);
    assert_eq!(ring.registrar().unregister_buffers(), Ok(()));
    assert_eq!(reads(&ring, memory, 0), Err(libc::EFAULT));
    assert_idle(&ring);
    writer.write_all(b"late").unwrap();
    let mut cqes = [next(&ring), next(&ring)].map(|cqe| (cqe.user_data(), result(cqe)));
    cqes.sort();
    assert_eq!(cqes, [(5, Ok(0)), (77, Ok(4))]);
    assert_eq!(memory[..4], *b"late");
}

#[test]
fn a_tag_comes_back_when_the_buffer_is_let_go() {
    if !has(
        6,
        13,
        "buffers::a_tag_comes_back_when_the_buffer_is_let_go",
        "tags at once",
    ) {
        return;
    }
    let ring = ring();
    let (one, two, three) = (memory(64), memory(64), memory(64));
    let buffers = [iovec(one), iovec(two)];
    let register = |buffers: &[_], tags: &[_]| {
        // SAFETY: the memory is leaked.
        refusal(unsafe { ring.registrar().register_buffers_tags(buffers, tags) })
    };
    for tags in [&[1][..], &[1, 2, 3]] {
        assert_eq!(register(&buffers, tags), libc::EINVAL);
    }
    assert_eq!(register(&[iovec(one), EMPTY], &[1, 2]), libc::EINVAL);
    assert_idle(&ring);
    assert_eq!(register(&buffers, &[11, 12]), 0);
    assert_eq!(register(&buffers, &[11, 12]), libc::EBUSY);
    assert_eq!(reads(&ring, two, 1), Ok(4));

    assert_eq!(update(&ring, 1, &[iovec(three)], &[13]), Ok(1));
    assert_eq!(tag(&ring), 12);
    assert_eq!(reads(&ring, two, 1), Err(libc::EFAULT));
    assert_eq!(reads(&ring, three, 1), Ok(4));
    assert_eq!(update(&ring, 0, &[EMPTY], &[0]), Ok(1));
    assert_eq!(tag(&ring), 11);
    assert_eq!(reads(&ring, one, 0), Err(libc::EFAULT));
    ring.registrar().unregister_buffers().unwrap();
    assert_eq!(tag(&ring), 13);
    assert_idle(&ring);
    tried("REGISTER_BUFFERS2");
}

#[test]
fn an_update_says_how_far_it_came() {
    let ring = ring();
    let (one, two, three) = (memory(64), memory(64), memory(64));
    assert_eq!(update(&ring, 0, &[iovec(one)], &[0]), Err(libc::ENXIO));
    if !has(5, 19, "buffers::an_update_says_how_far_it_came", "sparse") {
        return;
    }
    ring.registrar().register_buffers_sparse(4).unwrap();
    assert_eq!(reads(&ring, one, 1), Err(libc::EFAULT));
    let buffers = [iovec(one), iovec(two), iovec(three)];
    assert_eq!(update(&ring, 1, &buffers, &[0; 3]), Ok(3));
    assert_eq!(reads(&ring, one, 1), Ok(4));
    assert_eq!(reads(&ring, three, 3), Ok(4));

    let mut bad = iovec(one);
    bad.iov_base = ptr::null_mut();
    let buffers = [iovec(two), bad, EMPTY];
    assert_eq!(update(&ring, 1, &buffers, &[0; 3]), Ok(1));
    assert_eq!(reads(&ring, two, 1), Ok(4));
    assert_eq!(reads(&ring, two, 2), Ok(4), "as it was");
    assert_eq!(reads(&ring, three, 3), Ok(4), "not reached");
    assert_eq!(update(&ring, 1, &buffers[1..], &[0; 2]), Err(libc::EFAULT));
    assert_eq!(update(&ring, 0, &[EMPTY], &[1]), Err(libc::EINVAL));
    assert_eq!(update(&ring, 0, &[EMPTY], &[]), Err(libc::EINVAL));
    assert_eq!(update(&ring, 0, &[], &[]), Err(libc::EINVAL));
    assert_eq!(update(&ring, 4, &[EMPTY], &[0]), Err(libc::EINVAL));
    let beyond = update(&ring, u32::MAX, &[EMPTY; 2], &[0; 2]);
    assert_eq!(beyond, Err(libc::EOVERFLOW));
    for nr in [0, (1 << 14) + 1, u32::MAX] {
        let refused = super::ring().registrar().register_buffers_sparse(nr);
        assert_eq!(refusal(refused), libc::EINVAL);
    }
    tried("REGISTER_BUFFERS_UPDATE");
}

/// Clones into `ring`.
fn clone<'s>(ring: &Ring, source: impl Into<CloneSource<'s>>, flags: CloneFlags) -> i32 {
    // SAFETY: the memory of tests stays where it is.
    refusal(unsafe { ring.registrar().clone_buffers(source, flags) })
}

#[test]
fn clones_work_on_the_other_ring() {
    let test = "buffers::clones_work_on_the_other_ring";
    if !has(6, 12, test, "IORING_REGISTER_CLONE_BUFFERS") {
        return;
    }
    let (source, ring) = (ring(), ring());
    let (one, two) = (memory(64), memory(64));
    assert_eq!(clone(&ring, &source, CloneFlags::NONE), libc::ENXIO);
    assert_eq!(register(&source, &[iovec(one), EMPTY, iovec(two)]), 0);
    assert_eq!(clone(&ring, &source, CloneFlags::NONE), 0);
    assert_eq!(clone(&ring, &source, CloneFlags::NONE), libc::EBUSY);
    assert_eq!(source.registrar().unregister_buffers(), Ok(()));
    drop(source);
    assert_eq!(reads(&ring, one, 0), Ok(4));
    assert_eq!(reads(&ring, one, 1), Err(libc::EFAULT));
    assert_eq!(reads(&ring, two, 2), Ok(4));
    assert_eq!(reads(&ring, two, 3), Err(libc::EFAULT));
    tried("REGISTER_CLONE_BUFFERS");
}

#[test]
fn a_part_of_a_table_is_cloned() {
    let test = "buffers::a_part_of_a_table_is_cloned";
    if !has(6, 13, test, "cloning a part") {
        return;
    }
    let (source, ring) = (ring(), ring());
    let (one, two, three) = (memory(64), memory(64), memory(64));
    let clone = |dst, src, nr, flags| {
        // SAFETY: the memory is leaked.
        refusal(unsafe {
            let registrar = ring.registrar();
            registrar.clone_buffers_offset(&source, dst, src, nr, flags)
        })
    };
    assert_eq!(
        register(&source, &[iovec(one), iovec(two), iovec(three)]),
        0
    );
    let (none, replace) = (CloneFlags::NONE, CloneFlags::DST_REPLACE);
    assert_eq!(clone(2, 1, 2, none), 0);
    for (place, index, read) in [
        (&*one, 0, Err(libc::EFAULT)),
        (two, 2, Ok(4)),
        (three, 3, Ok(4)),
        (three, 4, Err(libc::EFAULT)),
    ] {
        assert_eq!(reads(&ring, place, index), read, "{index}");
    }
    assert_eq!(clone(0, 0, 1, none), libc::EBUSY);
    assert_eq!(clone(3, 0, 1, replace), 0);
    assert_eq!(reads(&ring, two, 2), Ok(4), "not in the range");
    assert_eq!(reads(&ring, one, 3), Ok(4));
    assert_eq!(reads(&ring, three, 3), Err(libc::EFAULT));
    for (dst, src, nr, errno) in [
        (1, 0, 0, libc::EINVAL),
        (0, 1, 0, libc::EINVAL),
        (0, 0, 4, libc::EINVAL),
        (1 << 14, 0, 1, libc::EINVAL),
        (0, 2, 2, libc::EOVERFLOW),
        (u32::MAX, 0, 1, libc::EOVERFLOW),
    ] {
        assert_eq!(clone(dst, src, nr, replace), errno, "{dst} {src} {nr}");
    }
    assert_eq!(clone(0, 0, 0, replace), 0);
    assert_eq!(reads(&ring, three, 2), Ok(4), "the whole table");
    assert_eq!(reads(&ring, one, 3), Ok(4), "behind it");
    let unknown = CloneFlags::from_bits(1 << 7);
    assert_eq!(clone(0, 0, 0, unknown), libc::EINVAL);
}

#[test]
fn whom_buffers_can_be_cloned_from() {
    let test = "buffers::whom_buffers_can_be_cloned_from";
    if !has(6, 12, test, "IORING_REGISTER_CLONE_BUFFERS") {
        return;
    }
    let memory: &[u8] = memory(64);
    let clones = |source: CloneSource| {
        let ring = ring();
        let errno = clone(&ring, source, CloneFlags::NONE);
        if errno == 0 {
            assert_eq!(reads(&ring, memory, 0), Ok(4));
        }
        errno
    };
    let source = ring();
    register(&source, &[iovec(memory)]);
    assert_eq!(clones((&source).into()), 0);
    assert_eq!(clones(source.fd().unwrap().into()), 0);
    let (pipe, _writer) = pipe().unwrap();
    assert_eq!(clones(pipe.as_fd().into()), libc::EOPNOTSUPP);

    // Indices are each thread's own.
    let index = thread::scope(|scope| {
        let registered = scope.spawn(|| {
            // `struct io_uring_rsrc_update`: which index, -1 for any; nothing; the descriptor.
            let mut update = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let fd = source.fd().unwrap().as_raw_fd() as u64;
            update[8..].copy_from_slice(&fd.to_ne_bytes());
            // SAFETY: the kernel reads and writes one structure.
            let count = unsafe {
                let update = update.as_mut_ptr().cast();
                source.registrar().register(REGISTER_RING_FDS, update, 1)
            };
            assert_eq!(count, Ok(1));
            let index = u32::from_ne_bytes(*update.first_chunk().unwrap());
            assert_eq!(clones(CloneSource::registered(index)), 0);
            index
        });
        registered.join().unwrap()
    });
    assert_ne!(clones(CloneSource::registered(index)), 0);
    assert_eq!(clones(CloneSource::registered(16)), libc::EINVAL);

    for builder in [
        Ring::builder(8).single_issuer(),
        Ring::builder(8).registered_fd_only().no_mmap(),
    ] {
        let local = builder.build_local().unwrap();
        // SAFETY: the memory is leaked.
        unsafe { local.registrar().register_buffers(&[iovec(memory)]) }.unwrap();
        assert_eq!(clones((&local).into()), 0);
    }
}

#[test]
fn a_ring_of_another_thread_is_not_cloned_from() {
    let test = "buffers::a_ring_of_another_thread_is_not_cloned_from";
    if !has(6, 12, test, "IORING_REGISTER_CLONE_BUFFERS") {
        return;
    }
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let local = Ring::builder(8).single_issuer().build_local().unwrap();
            // SAFETY: the memory is leaked.
            unsafe { local.registrar().register_buffers(&[iovec(memory(64))]) }.unwrap();
            tell.send(local.fd().unwrap().as_raw_fd()).unwrap();
            let _ = ended.recv();
        });
        // SAFETY: the ring is there until `end` is dropped.
        let source = unsafe { BorrowedFd::borrow_raw(told.recv().unwrap()) };
        let expected = here(&[("6.12", 0), ("6.13", libc::EEXIST)]);
        assert_eq!(clone(&ring(), source, CloneFlags::NONE), expected);
        drop(end);
    });
}
