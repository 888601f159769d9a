//! An eventfd that tells of completions.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, FromRawFd};

use super::child::{here, linux, tried};
use super::op::*;
use super::*;

/// One that does not block.
fn eventfd() -> File {
    // SAFETY: makes a descriptor, which is nobody else's.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        assert!(fd >= 0);
        File::from_raw_fd(fd)
    }
}

/// How often it was signalled since the last look.
fn signals(mut eventfd: &File) -> u64 {
    let mut count = [0; 8];
    match eventfd.read_exact(&mut count) {
        Ok(()) => u64::from_ne_bytes(count),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            0
        }
    }
}

/// Waits until it is signalled.
fn wait(eventfd: &File) {
    let mut poll = libc::pollfd {
        fd: eventfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the kernel reads and writes one structure.
    assert_eq!(unsafe { libc::poll(&mut poll, 1, 20_000) }, 1);
}

#[test]
fn completions_signal_it() {
    let ring = ring();
    let registrar = ring.registrar();
    assert_eq!(refusal(registrar.unregister_eventfd()), libc::ENXIO);
    let (no_eventfd, _writer) = pipe().unwrap();
    let refused = registrar.register_eventfd(&no_eventfd);
    assert_eq!(refusal(refused), libc::EINVAL);
    run(&ring, nop);

    let eventfd = eventfd();
    let registered = eventfd.try_clone().unwrap();
    assert_eq!(registrar.register_eventfd(&registered), Ok(()));
    let again = registrar.register_eventfd(&registered);
    assert_eq!(refusal(again), libc::EBUSY);
    drop(registered);
    assert_eq!(signals(&eventfd), 0, "for what was there before");
    start(&ring, nop);
    assert_ne!(signals(&eventfd), 0);
    next(&ring);
    assert_eq!(signals(&eventfd), 0, "for what was reaped");

    // Later, and by another thread than the one that waits.
    let (reader, mut writer) = pipe().unwrap();
    let buf = memory(8);
    start(&ring, |sqe| {
        // SAFETY: the memory is leaked.
        unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 8, 0) }.force_async()
    });
    assert_eq!(signals(&eventfd), 0);
    writer.write_all(b"now").unwrap();
    wait(&eventfd);
    assert_eq!(result(next(&ring)), Ok(3));
    tried("REGISTER_EVENTFD");

    signals(&eventfd);
    assert_eq!(registrar.unregister_eventfd(), Ok(()));
    assert_eq!(refusal(registrar.unregister_eventfd()), libc::ENXIO);
    run(&ring, nop);
    assert_eq!(signals(&eventfd), 0);
    assert_eq!(registrar.register_eventfd(&eventfd), Ok(()));
    run(&ring, nop);
    assert_ne!(signals(&eventfd), 0);
    tried("UNREGISTER_EVENTFD");
}

/// `io_uring_register_eventfd(3)` says that it is signalled for all that does not complete
/// in the submit.
#[test]
fn async_is_what_workers_complete() {
    let ring = ring();
    let registrar = ring.registrar();
    let eventfd = eventfd();
    assert_eq!(registrar.register_eventfd_async(&eventfd), Ok(()));
    let again = registrar.register_eventfd(&eventfd);
    assert_eq!(refusal(again), libc::EBUSY);
    run(&ring, nop);
    assert_eq!(signals(&eventfd), 0, "for one that completes in the submit");

    let (reader, mut writer) = pipe().unwrap();
    let buf = memory(8);
    let buf = buf.as_mut_ptr();
    // SAFETY: the memory is leaked.
    start(&ring, |sqe| unsafe { sqe.prep_read(&reader, buf, 8, 0) });
    assert_idle(&ring);
    writer.write_all(b"later").unwrap();
    assert_eq!(result(next(&ring)), Ok(5));
    // Where pipes cannot be read without waiting, a worker reads them.
    let by_worker = here(&[("5.18", 1), ("6.4", 0)]);
    assert_eq!(signals(&eventfd), by_worker, "for one that waited for data");

    start(&ring, |sqe| nop(sqe).force_async());
    wait(&eventfd);
    assert_eq!(result(next(&ring)), Ok(0));
    registrar.unregister_eventfd().unwrap();
    tried("REGISTER_EVENTFD_ASYNC");
}

/// Where completions are posted by their thread alone, it tells that there are some to
/// post, and reaping posts them.
#[test]
fn it_tells_of_deferred_completions() {
    let builder = Ring::builder(8).single_issuer().defer_taskrun();
    let ring = builder.build_local().unwrap();
    let eventfd = eventfd();
    ring.registrar().register_eventfd(&eventfd).unwrap();
    let (reader, mut writer) = pipe().unwrap();
    let buf = memory(8);
    let mut slot = ring.pop().unwrap();
    // SAFETY: the memory is leaked.
    unsafe { slot.prep_read(&reader, buf.as_mut_ptr(), 8, 0) };
    slot.push();
    ring.submit().unwrap();
    assert_eq!(signals(&eventfd), 0);
    writer.write_all(b"now").unwrap();
    wait(&eventfd);
    let reaped = ring.reap();
    // Old kernels need to be entered once more.
    assert_eq!(reaped.is_some(), linux(6, 4));
    let cqe = reaped.or_else(|| ring.wait_one(None).unwrap());
    assert_eq!(cqe.map(result), Some(Ok(3)));
}

/// `io_uring_cq_eventfd_toggle(3)` says that an eventfd must be registered first.
#[test]
fn signals_are_switched_off_and_on() {
    let ring = ring();
    let eventfd = eventfd();
    assert!(ring.cq_eventfd_enabled());
    ring.cq_eventfd_toggle(false);
    ring.registrar().register_eventfd(&eventfd).unwrap();
    for enabled in [false, true, true, false, false, true] {
        ring.cq_eventfd_toggle(enabled);
        assert_eq!(ring.cq_eventfd_enabled(), enabled);
        run(&ring, nop);
        assert_eq!(signals(&eventfd) > 0, enabled);
    }

    let local = Ring::builder(8).build_local().unwrap();
    local.registrar().register_eventfd(&eventfd).unwrap();
    for enabled in [true, false, true] {
        local.cq_eventfd_toggle(enabled);
        assert_eq!(local.cq_eventfd_enabled(), enabled);
        assert!(ring.cq_eventfd_enabled(), "each ring has its own");
        let mut slot = local.pop().unwrap();
        nop(&mut slot);
        slot.push();
        local.submit().unwrap();
        assert_eq!(signals(&eventfd) > 0, enabled);
        local.reap().unwrap();
    }
}
