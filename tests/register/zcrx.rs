//! Zero-copy receive. A queue of a device is not taken here: what is tested is what the kernel
//! refuses, and, where it has the mode, a queue of no device.

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ringway::register::{Ifq, Zcrx, ZcrxArea, ZcrxChunk, register_query};
use ringway::{Builder, Cqe32, Local, op};

use super::child::{linux, skip, tried, untried};
use super::*;

/// What a ring for zero-copy receives needs.
fn builder<'fd>() -> Builder<'fd> {
    Ring::builder(16).single_issuer().defer_taskrun().cqe32()
}

fn page() -> usize {
    // SAFETY: reads a constant.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Pages that stay.
fn pages(count: usize) -> *mut u8 {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory = unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let own = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(std::ptr::null_mut(), count * page(), both, own, -1, 0)
    };
    assert_ne!(memory, libc::MAP_FAILED);
    memory.cast()
}

fn area(count: usize) -> ZcrxArea<'static> {
    ZcrxArea::memory(pages(count), count * page())
}

/// The index of the loopback interface, which no device stands behind.
fn loopback() -> u32 {
    // SAFETY: a name that ends in 0.
    let index = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
    assert_ne!(index, 0);
    index
}

/// What `EPERM` stands before.
fn privileged(test: &str) -> bool {
    // SAFETY: reads a number of this process.
    if unsafe { libc::geteuid() } != 0 {
        skip(test, "only root may take a queue");
        return false;
    }
    true
}

fn register(ring: &Local, ifq: &Ifq<'_>) -> Result<Zcrx, i32> {
    // SAFETY: the area stays, and is read only where a CQE says.
    raw(unsafe { ring.registrar().register_ifq(ifq) })
}

#[test]
fn without_privileges() {
    // SAFETY: reads a number of this process.
    if unsafe { libc::geteuid() } == 0 {
        return skip("zcrx::without_privileges", "root has them");
    }
    let ring = builder().build_local().unwrap();
    let refused = register(&ring, &Ifq::new(loopback(), 0, 16, area(4)));
    let expected = if linux(6, 15) {
        libc::EPERM
    } else {
        libc::EINVAL
    };
    assert_eq!(refused.err(), Some(expected));
}

#[test]
fn what_is_refused() {
    let test = "zcrx::what_is_refused";
    const NO_INTERFACE: u32 = i32::MAX as u32;
    if !privileged(test) {
        return untried("REGISTER_ZCRX_IFQ", "only root may take a queue");
    }
    let ring = builder().build_local().unwrap();
    let ifq = |interface, queue, entries| Ifq::new(interface, queue, entries, area(4));
    let reason = match register(&ring, &ifq(NO_INTERFACE, 0, 16)).unwrap_err() {
        libc::ENODEV => "it takes a queue of a network device",
        libc::EPERM => "this root is not privileged",
        libc::EOPNOTSUPP => "this kernel is built without CONFIG_IO_URING_ZCRX",
        libc::EINVAL if !linux(6, 15) => "it came with Linux 6.15",
        errno => panic!("errno {errno}"),
    };
    untried("REGISTER_ZCRX_IFQ", reason);
    if !reason.starts_with("it takes") {
        return;
    }

    let lo = loopback();
    for (ifq, expected) in [
        // No device stands behind it.
        (ifq(lo, 0, 16), libc::EOPNOTSUPP),
        (ifq(lo, u32::MAX, 16), libc::EINVAL),
        (ifq(lo, 0, 0), libc::EINVAL),
        (ifq(lo, 0, 32769), libc::EINVAL),
        (ifq(lo, 0, u32::MAX), libc::EINVAL),
        (ifq(lo, 0, 32768), libc::EOPNOTSUPP),
    ] {
        assert_eq!(register(&ring, &ifq).err(), Some(expected), "{ifq:?}");
    }
    if !linux(7, 0) {
        let sized = ifq(lo, 0, 16).rx_buf_len(1 << 16);
        assert_eq!(register(&ring, &sized).err(), Some(libc::EINVAL));
    }
    // On a ring with CLAMP too many entries become as many as there may be.
    let clamped = builder().clamp().build_local().unwrap();
    let many = ifq(lo, 0, u32::MAX);
    assert_eq!(register(&clamped, &many).err(), Some(libc::EOPNOTSUPP));

    // Rings that cannot receive in this way.
    for builder in [
        Ring::builder(16).single_issuer().defer_taskrun(),
        Ring::builder(16).single_issuer().cqe32(),
    ] {
        let ring = builder.build_local().unwrap();
        assert_eq!(register(&ring, &ifq(lo, 0, 16)).err(), Some(libc::EINVAL));
    }
    let shared = Ring::builder(16).cqe32().build().unwrap();
    // SAFETY: the area stays.
    let refused = unsafe { shared.registrar().register_ifq(&ifq(lo, 0, 16)) };
    assert_eq!(raw(refused).err(), Some(libc::EINVAL));
}

#[test]
fn control_without_a_queue() {
    let test = "zcrx::control_without_a_queue";
    let ring = builder().build_local().unwrap();
    let registrar = ring.registrar();
    // Linux 6.15, says the manual.
    let expected = if linux(6, 19) {
        libc::ENXIO
    } else {
        libc::EINVAL
    };
    assert_eq!(raw(registrar.register_zcrx_ctrl_flush(0)), Err(expected));
    let exported = raw(registrar.register_zcrx_ctrl_export(0));
    assert_eq!(exported.err(), Some(expected));
    if expected == libc::EINVAL {
        untried("REGISTER_ZCRX_CTRL", "it came with Linux 6.19");
    }

    if privileged(test) && linux(6, 15) {
        let file = File::open("/dev/null").unwrap();
        let imported = registrar.register_ifq_import(file.as_fd());
        // Before, the kernel looked for a refill ring.
        let expected = if linux(6, 19) {
            libc::EBADF
        } else {
            libc::EFAULT
        };
        assert_eq!(raw(imported), Err(expected));
    }
}

/// The next completion, with what comes with it.
fn next(ring: &Local) -> Cqe32 {
    loop {
        if let Some(cqe) = ring.reap_big() {
            return cqe;
        }
        ring.wait(Some(Duration::from_secs(20))).unwrap();
    }
}

/// A connection over the loopback interface.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// All of it, with a queue of no device: the kernel copies, otherwise all is the same.
#[test]
fn without_a_device() {
    let test = "zcrx::without_a_device";
    if !linux(7, 1) || !privileged(test) {
        return skip(test, "queues of no device came with Linux 7.1");
    }
    if !register_query()
        .unwrap()
        .zcrx
        .is_ok_and(|zcrx| zcrx.no_device())
    {
        return skip(test, "this kernel has no queues without a device");
    }
    const PAGES: usize = 4;
    let ring = builder().build_local().unwrap();
    let memory = pages(PAGES);
    let area = ZcrxArea::memory(memory, PAGES * page());
    let mut zcrx = match register(&ring, &Ifq::no_device(3, area)) {
        Err(libc::EPERM) => return skip(test, "this root is not privileged"),
        registered => registered.unwrap(),
    };
    assert_eq!((zcrx.refill.entries(), zcrx.refill.room()), (4, 4));

    let (mut sender, receiver) = connection();
    let mut slot = ring.pop().expect("an empty ring");
    // SAFETY: the socket is open until the last CQE; the area stays.
    let bytes = unsafe { slot.as_bytes_mut() };
    bytes.fill(0);
    bytes[0] = op::RECV_ZC;
    // RECV_MULTISHOT.
    bytes[2..4].copy_from_slice(&2u16.to_ne_bytes());
    bytes[4..8].copy_from_slice(&receiver.as_raw_fd().to_ne_bytes());
    bytes[44..48].copy_from_slice(&zcrx.id.to_ne_bytes());
    slot.push();
    ring.submit().unwrap();

    // More than the area holds at once.
    for round in 0..4 * PAGES {
        let sent = [round as u8 + 1; 100];
        sender.write_all(&sent).unwrap();
        let mut seen = 0;
        while seen < sent.len() {
            let chunk = ZcrxChunk::of(&next(&ring)).expect("a chunk");
            let (at, len) = (chunk.offset() as usize, chunk.bytes() as usize);
            assert!(at + len <= PAGES * page());
            for byte in at..at + len {
                // SAFETY: the chunk is inside the area, and not given back yet.
                assert_eq!(unsafe { memory.add(byte).read() }, round as u8 + 1);
            }
            seen += len;
            // SAFETY: it has been read.
            assert_eq!(unsafe { zcrx.refill.give_back(&[chunk]) }, 1);
            ring.registrar().register_zcrx_ctrl_flush(zcrx.id).unwrap();
            assert_eq!(zcrx.refill.room(), 4);
        }
    }
    drop(sender);
    assert_eq!(ZcrxChunk::of(&next(&ring)), None);
    tried("REGISTER_ZCRX_IFQ");

    let another = builder().build_local().unwrap();
    let exported = ring.registrar().register_zcrx_ctrl_export(zcrx.id).unwrap();
    let imported = another.registrar().register_ifq_import(exported.as_fd());
    let id = raw(imported).unwrap();
    assert_eq!(another.registrar().register_zcrx_ctrl_flush(id), Ok(()));
    tried("REGISTER_ZCRX_CTRL");
}
