//! Waiting for readiness.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use ringway::prep::{CancelFlags, Fixed, PollFlags};

use super::child::tried;
use super::*;

const POLLIN: u32 = libc::POLLIN as u32;
const POLLOUT: u32 = libc::POLLOUT as u32;
const POLLHUP: u32 = libc::POLLHUP as u32;

#[test]
fn completes_when_the_file_is_ready() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&reader, POLLIN) }
    });
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    let cqe = next(&ring);
    assert_eq!((result(cqe), cqe.has_more()), (Ok(POLLIN), false));
    tried("OP_POLL_ADD");
}

#[test]
fn completes_at_once_if_the_file_is_ready() {
    let ring = ring();
    let (_reader, writer) = io::pipe().unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&writer, POLLIN | POLLOUT) }
    });
    assert_eq!(got, Ok(POLLOUT));
}

#[test]
fn reports_a_hang_up_unasked() {
    let ring = ring();
    let (reader, writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&reader, POLLIN) }
    });
    drop(writer);
    assert_eq!(result(next(&ring)), Ok(POLLHUP));
}

#[test]
fn multishot_reports_each_event() {
    let ring = ring();
    let (mut reader, mut writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the last CQE.
        unsafe { sqe.prep_poll_multishot(&reader, POLLIN) }.user_data(1)
    });
    for _ in 0..3 {
        assert_idle(&ring);
        writer.write_all(b"!").unwrap();
        let cqe = next(&ring);
        assert_eq!((result(cqe), cqe.has_more()), (Ok(POLLIN), true));
        reader.read_exact(&mut [0]).unwrap();
    }
    start(&ring, |sqe| {
        // SAFETY: a removal names no memory.
        unsafe { sqe.prep_poll_remove(1) }.user_data(2)
    });
    let cqes = [next(&ring), next(&ring)];
    let last = cqes.iter().find(|cqe| cqe.user_data() == 1).unwrap();
    assert_eq!(result(*last), Err(libc::ECANCELED));
    assert!(!last.has_more());
    let removal = cqes.iter().find(|cqe| cqe.user_data() == 2).unwrap();
    assert_eq!(result(*removal), Ok(0));
    tried("OP_POLL_REMOVE");
}

#[test]
fn multishot_reports_what_is_there_once() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"!").unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the last CQE.
        unsafe { sqe.prep_poll_multishot(&reader, POLLIN) }.user_data(1)
    });
    let cqe = next(&ring);
    assert_eq!((result(cqe), cqe.has_more()), (Ok(POLLIN), true));
    // It is not read, and not reported again: a NOP overtakes whatever would be.
    assert_eq!(run(&ring, nop), Ok(0));
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    assert_eq!(result(next(&ring)), Ok(POLLIN));
}

#[test]
fn no_kernel_polls_by_level() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"!").unwrap();
    for flags in [PollFlags::LEVEL, PollFlags::LEVEL | PollFlags::MULTI] {
        let got = run(&ring, |sqe| {
            // SAFETY: the pipe is open until the CQE.
            unsafe { sqe.prep_poll(&reader, POLLIN, flags) }
        });
        assert_eq!(got, Err(libc::EINVAL));
    }
    // Of the flags it is not MULTI.
    start(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_poll(&reader, POLLIN, PollFlags::MULTI) }
    });
    let cqe = next(&ring);
    assert_eq!((result(cqe), cqe.has_more()), (Ok(POLLIN), true));
}

/// Starts a poll that finds nothing, with `user_data` 1, and an update of it, with 100.
fn start_update(
    ring: &Ring,
    file: &UnixStream,
    poll: PollFlags,
    new_user_data: Option<u64>,
    mask: Option<u32>,
    flags: PollFlags,
) {
    start(ring, |sqe| {
        // SAFETY: the tests keep the file open.
        unsafe { sqe.prep_poll(file, POLLIN, poll) }.user_data(1)
    });
    start(ring, |sqe| {
        // SAFETY: an update names no memory.
        unsafe { sqe.prep_poll_update(1, new_user_data, mask, flags) }.user_data(100)
    });
}

const UPDATED: (u64, Result<u32, i32>) = (100, Ok(0));
const NONE: PollFlags = PollFlags::NONE;

#[test]
fn update_changes_what_it_is_told_to() {
    // The socket can be written to at once, and read only when something was written.
    for (new_user_data, mask) in [(None, Some(POLLOUT)), (Some(2), Some(POLLOUT))] {
        let ring = ring();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        start_update(&ring, &ours, NONE, new_user_data, mask, NONE);
        let user_data = new_user_data.unwrap_or(1);
        assert_eq!(results(&ring), [(user_data, Ok(POLLOUT)), UPDATED]);
    }
    for (new_user_data, mask) in [(Some(2), None), (Some(0), Some(POLLIN))] {
        let ring = ring();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        start_update(&ring, &ours, NONE, new_user_data, mask, NONE);
        assert_eq!(results(&ring), [UPDATED]);
        assert_idle(&ring);
        theirs.write_all(b"!").unwrap();
        assert_eq!(results(&ring), [(new_user_data.unwrap(), Ok(POLLIN))]);
    }
    tried("OP_POLL_REMOVE");
}

#[test]
fn update_to_nothing_ends_the_poll() {
    let ring = ring();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    start_update(&ring, &ours, NONE, None, None, NONE);
    assert_eq!(results(&ring), [(1, Err(libc::ECANCELED)), UPDATED]);
}

/// The manual page says that it makes a poll a multishot one.
#[test]
fn update_leaves_a_poll_as_multishot_as_it_is() {
    for (poll, flags, mask) in [
        (NONE, PollFlags::MULTI, POLLIN),
        (PollFlags::MULTI, NONE, POLLIN),
        // Nor by its bits above 15.
        (
            PollFlags::MULTI,
            PollFlags::MULTI,
            POLLIN | libc::EPOLLONESHOT as u32,
        ),
    ] {
        let ring = ring();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        start_update(&ring, &ours, poll, None, Some(mask), flags);
        assert_eq!(results(&ring), [UPDATED]);
        let is_multishot = poll == PollFlags::MULTI;
        for _ in 0..1 + u32::from(is_multishot) {
            theirs.write_all(b"!").unwrap();
            let cqe = next(&ring);
            assert_eq!((result(cqe), cqe.has_more()), (Ok(POLLIN), is_multishot));
            ours.read_exact(&mut [0]).unwrap();
        }
        start(&ring, |sqe| {
            // SAFETY: a removal names no memory.
            unsafe { sqe.prep_poll_remove(1) }.user_data(100)
        });
        if is_multishot {
            let [poll, removal] = results(&ring);
            assert_eq!((poll.1, removal), (Err(libc::ECANCELED), (100, Ok(0))));
        } else {
            assert_eq!(results(&ring), [(100, Err(libc::ENOENT))]);
        }
    }
}

#[test]
fn update_fails() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    for (new_user_data, mask, flags) in [
        (None, None, PollFlags::MULTI),
        (None, Some(POLLIN), PollFlags::LEVEL),
        (Some(2), None, PollFlags::LEVEL),
    ] {
        let ring = ring();
        start_update(&ring, &ours, NONE, new_user_data, mask, flags);
        let refused = (100, Err(libc::EINVAL));
        let case = format!("{new_user_data:?} {mask:?} {flags:?}");
        assert_eq!(results(&ring), [refused], "{case}");
        // The poll is where it was, for one more update.
        for got in [Ok(0), Err(libc::ENOENT)] {
            start(&ring, |sqe| {
                // SAFETY: an update names no memory.
                unsafe { sqe.prep_poll_update(1, Some(3), None, NONE) }.user_data(100)
            });
            assert_eq!(results(&ring), [(100, got)]);
        }
    }
}

#[test]
fn remove_finds_polls_only() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    let buf = memory::<1>();
    start(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 1, 0) }.user_data(1)
    });
    for user_data in [1, 2] {
        let got = run(&ring, |sqe| {
            // SAFETY: a removal names no memory.
            unsafe { sqe.prep_poll_remove(user_data) }
        });
        assert_eq!(got, Err(libc::ENOENT));
    }
    writer.write_all(b"!").unwrap();
    assert_eq!(results(&ring), [(1, Ok(1))]);
}

#[test]
fn fixed_files() {
    let ring = ring();
    let (reader, mut writer) = io::pipe().unwrap();
    register_files(&ring, &[None, Some(reader.as_fd())]);
    start(&ring, |sqe| {
        // SAFETY: the ring holds the file.
        unsafe { sqe.prep_poll_multishot(Fixed(1), POLLIN) }
    });
    assert_idle(&ring);
    writer.write_all(b"!").unwrap();
    assert_eq!(result(next(&ring)), Ok(POLLIN));
}

#[test]
fn can_be_cancelled() {
    let ring = ring();
    let (reader, _writer) = io::pipe().unwrap();
    start(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_add(&reader, POLLIN) }.user_data(1)
    });
    start(&ring, |sqe| {
        // SAFETY: a cancel request names no memory.
        unsafe { sqe.prep_cancel64(1, CancelFlags::NONE) }.user_data(2)
    });
    assert_eq!(results(&ring), [(1, Err(libc::ECANCELED)), (2, Ok(0))]);
}

#[test]
fn fails() {
    let ring = ring();
    let got = run(&ring, |sqe| {
        // SAFETY: there is no such fixed file.
        unsafe { sqe.prep_poll_add(Fixed(0), POLLIN) }
    });
    assert_eq!(got, Err(libc::EBADF));

    let (reader, _writer) = io::pipe().unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: the pipe is open until the CQE.
        unsafe { sqe.prep_poll_multishot(&reader, POLLIN) }.skip_success()
    });
    assert_eq!(got, Err(libc::EINVAL));
}
