//! What every operation can carry.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;

use ringway::prep::{Dir, Fixed, FsyncFlags};

use super::child::{here, skip};
use super::*;

/// An operation that fails with EBADF.
fn failing(sqe: &mut Sqe) -> &mut Sqe {
    // SAFETY: there is no such fixed file.
    unsafe { sqe.prep_fsync(Fixed(0), FsyncFlags::NONE) }
}

#[test]
fn link_cancels_after_a_failure() {
    let ring = ring();
    push(&ring, |sqe| failing(sqe).link());
    push(&ring, |sqe| nop(sqe).user_data(1).link());
    push(&ring, |sqe| nop(sqe).user_data(2));
    start(&ring, |sqe| nop(sqe).user_data(3));
    assert_eq!(
        results(&ring),
        [
            (0, Err(libc::EBADF)),
            (1, Err(libc::ECANCELED)),
            (2, Err(libc::ECANCELED)),
            (3, Ok(0)),
        ]
    );
}

#[test]
fn link_cancels_after_a_short_read() {
    let ring = ring();
    let (_, file) = file("link_short", b"0123456789");
    for (len, second) in [(10, Ok(0)), (11, Err(libc::ECANCELED))] {
        let buf = memory::<11>();
        push(&ring, |sqe| {
            // SAFETY: the memory stays, the file is open until the CQE.
            unsafe { sqe.prep_read(&file, buf.as_mut_ptr(), len, 0) }.link()
        });
        start(&ring, |sqe| nop(sqe).user_data(1));
        assert_eq!(results(&ring), [(0, Ok(10)), (1, second)]);
    }
}

#[test]
fn hardlink_goes_on_after_a_failure() {
    let ring = ring();
    push(&ring, |sqe| failing(sqe).hardlink());
    start(&ring, |sqe| nop(sqe).user_data(1));
    assert_eq!(results(&ring), [(0, Err(libc::EBADF)), (1, Ok(0))]);
}

#[test]
fn links_wait_for_the_one_before() {
    type Setter = fn(&mut Sqe) -> &mut Sqe;
    let ring = ring();
    for link in [Sqe::link as Setter, Sqe::hardlink] {
        let (reader, mut writer) = io::pipe().unwrap();
        let buf = memory::<1>();
        push(&ring, |sqe| {
            // SAFETY: the memory stays, the pipe is open until the CQE.
            link(unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) })
        });
        start(&ring, |sqe| nop(sqe).user_data(1));
        assert_idle(&ring);
        writer.write_all(b"!").unwrap();
        assert_eq!(results(&ring), [(0, Ok(1)), (1, Ok(0))]);
    }
}

#[test]
fn drain_waits_for_all_before_and_holds_all_after() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    let buf = memory::<1>();
    push(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }
    });
    push(&ring, |sqe| nop(sqe).user_data(1).drain());
    start(&ring, |sqe| nop(sqe).user_data(2));
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    let order = [(); 3].map(|()| next(&ring).user_data());
    // Old kernels hold the later one, but a worker queues both for this thread, which takes the
    // last first; unless it wakes in between.
    let may_overtake = here(&[("5.18", true), ("6.12", false)]);
    let is_known = order == [0, 1, 2] || may_overtake && order == [0, 2, 1];
    assert!(is_known, "{order:?}");
}

#[test]
fn force_async_gives_the_operation_to_a_worker() {
    let ring = ring();
    // What this path leads to depends on the thread that opens it. Open once, it leads
    // there without waiting, so that no worker is needed but by the flag.
    let path = c"/proc/thread-self/comm";
    let _held = File::open(path.to_str().unwrap()).unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the path is constant.
        unsafe { sqe.prep_openat(Dir::CWD, path.as_ptr(), libc::O_CLOEXEC, 0) }.force_async()
    });
    let fd = RawFd::try_from(got.unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let name = io::read_to_string(file).unwrap();
    assert!(name.starts_with("iou-wrk-"), "{name}");
}

#[test]
fn skip_success_reports_failures_only() {
    let ring = ring();
    push(&ring, |sqe| nop(sqe).user_data(1).skip_success());
    push(&ring, |sqe| failing(sqe).user_data(2).skip_success());
    start(&ring, |sqe| nop(sqe).user_data(3));
    assert_eq!(results(&ring), [(2, Err(libc::EBADF)), (3, Ok(0))]);
    assert_idle(&ring);

    // From now on the kernel cannot tell what has completed.
    let got = run(&ring, |sqe| nop(sqe).drain());
    assert_eq!(got, Err(libc::EOPNOTSUPP));
}

/// An operation that waits for another looks its descriptor up afterwards; the one that
/// has started, the read, holds its file.
#[test]
fn descriptors_are_looked_up_at_the_start() {
    type Setter = fn(&mut Sqe) -> &mut Sqe;
    // Not so where a worker does the read, as kernels before 6.4 have pipes read.
    let expected = here(&[("5.18", Ok(0)), ("6.4", Err(libc::EBADF))]);
    let cases: [(Setter, Setter); 2] = [(Sqe::link, |sync| sync), (|read| read, Sqe::drain)];
    let (_, file) = file("look_up", b"");
    for (set_read, set_sync) in cases {
        let ring = ring();
        let (reader, mut writer) = io::pipe().unwrap();
        // A number that no other test gets when it is free again.
        // SAFETY: the call takes no memory, and its result is a new descriptor.
        let far = unsafe {
            let fd = libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 500);
            assert_ne!(fd, -1, "{}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        };
        let buf = memory::<1>();
        push(&ring, |sqe| {
            // SAFETY: the memory stays.
            set_read(unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) })
        });
        start(&ring, |sqe| {
            // SAFETY: closing early is what is tested: the number stays unused.
            set_sync(unsafe { sqe.prep_fsync(&far, FsyncFlags::NONE) }).user_data(1)
        });
        drop((far, reader));
        writer.write_all(b"!").unwrap();
        assert_eq!(results(&ring), [(0, Ok(1)), (1, expected)]);
    }
}

#[test]
fn personality_must_be_registered() {
    let ring = ring();
    assert_eq!(run(&ring, |sqe| nop(sqe).personality(9)), Err(libc::EINVAL));
    let id = ring.registrar().register_personality().unwrap();
    assert_eq!(run(&ring, |sqe| nop(sqe).personality(id)), Ok(0));
}

/// Takes another effective user for this thread only.
fn become_user(user: libc::uid_t) {
    let same = libc::uid_t::MAX;
    // SAFETY: the call takes no memory.
    let ret = unsafe { libc::syscall(libc::SYS_setresuid, same, user, same) };
    assert_eq!(ret, 0, "{}", io::Error::last_os_error());
}

#[test]
fn personality_is_who_opens() {
    // SAFETY: the call takes no memory.
    if unsafe { libc::geteuid() } != 0 {
        return skip(
            "personality_is_who_opens",
            "only root can become somebody else",
        );
    }
    let ring = ring();
    let (path, _) = file("personality", b"secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let path = c_path(&path);
    become_user(65534);
    let nobody = ring.registrar().register_personality().unwrap();
    become_user(0);
    let open_as = |id| {
        run(&ring, |sqe| {
            // SAFETY: the path stays until the CQE.
            unsafe { sqe.prep_openat(Dir::CWD, path.as_ptr(), libc::O_CLOEXEC, 0) }.personality(id)
        })
    };
    assert_eq!(open_as(nobody), Err(libc::EACCES));
    let fd = RawFd::try_from(open_as(0).unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

#[test]
fn buffer_select_takes_a_buffer_of_the_group() {
    const PROVIDE_BUFFERS: u8 = 31;
    let ring = ring();
    let (_, file) = file("buffer_select", b"0123456789");
    let read_into = |group| {
        start(&ring, |sqe| {
            // SAFETY: the kernel writes to provided memory only.
            unsafe { sqe.prep_read(&file, std::ptr::null_mut(), 3, 4) }.buffer_select(group)
        });
        next(&ring)
    };
    assert_eq!(result(read_into(6)), Err(libc::ENOBUFS));

    // An operation without a method: group 6 gets one buffer of 8 bytes, number 40.
    let buf = memory::<8>();
    let address = buf.as_mut_ptr().expose_provenance() as u64;
    let got = run(&ring, |sqe| {
        nop(sqe);
        // SAFETY: the memory that the operation provides stays for ever.
        let bytes = unsafe { sqe.as_bytes_mut() };
        bytes[0] = PROVIDE_BUFFERS;
        bytes[4..8].copy_from_slice(&1i32.to_ne_bytes());
        bytes[8..16].copy_from_slice(&40u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&address.to_ne_bytes());
        bytes[24..28].copy_from_slice(&8u32.to_ne_bytes());
        bytes[40..42].copy_from_slice(&6u16.to_ne_bytes());
        sqe
    });
    assert_eq!(got, Ok(0));

    assert_eq!(result(read_into(5)), Err(libc::ENOBUFS));
    let cqe = read_into(6);
    assert_eq!((result(cqe), cqe.buffer_id()), (Ok(3), Some(40)));
    assert_eq!(buf, b"456.....");
}
