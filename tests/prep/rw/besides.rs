//! What a read or write can carry besides.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;

use ringway::prep::{IoPriority, PiAttribute, PiFlags};

use super::super::child::{has, here, linux, skip};
use super::*;

/// Writes `bytes` at 2, with what `carry` adds.
fn write(
    ring: &Ring,
    file: &impl AsFd,
    bytes: &'static [u8],
    carry: impl for<'sqe> FnOnce(&'sqe mut Sqe) -> &'sqe mut Sqe,
) -> Result<u32, i32> {
    run(ring, |sqe| {
        let len = bytes.len() as u32;
        // SAFETY: the bytes are constant, the file is open until the CQE.
        carry(unsafe { sqe.prep_write(file, bytes.as_ptr(), len, 2) })
    })
}

/// The SQE, which is one that reads or writes, with these flags.
fn with_flags(sqe: &mut Sqe, flags: RwFlags) -> &mut Sqe {
    // SAFETY: it reads or writes.
    unsafe { sqe.rw_flags(flags) }
}

#[test]
fn flags_of_a_read_and_a_write() {
    let ring = ring();
    let (path, file) = file("rw_flags", b"0123456789");
    let got = write(&ring, &file, b"ab", |sqe| with_flags(sqe, RwFlags::APPEND));
    assert_eq!(got, Ok(2));
    assert_eq!(fs::read(&path).unwrap(), b"0123456789ab");
    let got = write(&ring, &file, b"c", |sqe| {
        with_flags(sqe, RwFlags::SYNC | RwFlags::DSYNC)
    });
    assert_eq!(got, Ok(1));
    assert_eq!(fs::read(&path).unwrap(), b"01c3456789ab");
    // The last ones count.
    let got = write(&ring, &file, b"d", |sqe| {
        with_flags(with_flags(sqe, RwFlags::APPEND), RwFlags::NONE)
    });
    assert_eq!(got, Ok(1));
    assert_eq!(fs::read(&path).unwrap(), b"01d3456789ab");

    let (reader, _writer) = io::pipe().unwrap();
    let buf = memory::<2>();
    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays, the pipe is open until the CQE.
        let sqe = unsafe { sqe.prep_read(&reader, buf.as_mut_ptr(), 2, 0) };
        with_flags(sqe, RwFlags::NOWAIT)
    });
    // Pipes that can be read without waiting.
    let expected = here(&[("5.18", libc::EOPNOTSUPP), ("6.4", libc::EAGAIN)]);
    assert_eq!(got, Err(expected));
}

#[test]
fn noappend_writes_at_the_offset() {
    if !has(6, 9, "noappend_writes_at_the_offset", "RWF_NOAPPEND") {
        return;
    }
    let ring = ring();
    let (path, _) = file("noappend", b"0123");
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    assert_eq!(write(&ring, &file, b"a", |sqe| sqe), Ok(1));
    let got = write(&ring, &file, b"b", |sqe| with_flags(sqe, RwFlags::NOAPPEND));
    assert_eq!(got, Ok(1));
    assert_eq!(fs::read(&path).unwrap(), b"01b3a");
}

/// A pipe can neither; other files and devices vary.
#[test]
fn flags_that_not_every_file_has() {
    let ring = ring();
    let (_reader, writer) = io::pipe().unwrap();
    for (flag, since) in [(RwFlags::ATOMIC, (6, 11)), (RwFlags::DONTCACHE, (6, 14))] {
        if linux(since.0, since.1) {
            let got = write(&ring, &writer, b"a", |sqe| with_flags(sqe, flag));
            assert_eq!(got, Err(libc::EOPNOTSUPP), "{flag:?}");
        }
    }
    let all = RwFlags::from_bits(u32::MAX);
    let got = write(&ring, &writer, b"a", |sqe| with_flags(sqe, all));
    assert_eq!(got, Err(libc::EOPNOTSUPP));
    assert_eq!(write(&ring, &writer, b"a", |sqe| sqe), Ok(1));
}

#[test]
fn dontcache_reads_and_writes() {
    let test = "dontcache_reads_and_writes";
    if !has(6, 14, test, "RWF_DONTCACHE") {
        return;
    }
    let ring = ring();
    let (path, file) = file("dontcache", b"0123456789");
    match write(&ring, &file, b"ab", |sqe| {
        with_flags(sqe, RwFlags::DONTCACHE)
    }) {
        Err(libc::EOPNOTSUPP) => skip(test, "this file system does not have it"),
        got => {
            assert_eq!(got, Ok(2));
            assert_eq!(fs::read(&path).unwrap(), b"01ab456789");
        }
    }
}

/// Takes the SIGPIPE that this thread has blocked, if there is one.
fn take_sigpipe(set: &libc::sigset_t) -> bool {
    let now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both are initialised, and no information is asked for.
    unsafe { libc::sigtimedwait(set, ptr::null_mut(), &now) == libc::SIGPIPE }
}

#[test]
fn nosignal_spares_the_signal() {
    if !has(6, 18, "nosignal_spares_the_signal", "RWF_NOSIGNAL") {
        return;
    }
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call initialises the set. A blocked signal waits for this thread,
    // though all others ignore it.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
        set.assume_init()
    };
    let ring = ring();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    for (flags, signal) in [(RwFlags::NOSIGNAL, false), (RwFlags::NONE, true)] {
        let got = write(&ring, &writer, b"a", |sqe| with_flags(sqe, flags));
        assert_eq!((got, take_sigpipe(&set)), (Err(libc::EPIPE), signal));
    }
}

/// The effect is the device's; here, that the kernel looks at it as `ioprio_set(2)` does.
#[test]
fn the_priority_is_the_kernels() {
    let ring = ring();
    let (path, file) = file("ioprio", b"0123456789");
    let bits = IoPriority::from_bits;
    for (priority, is_valid) in [
        (IoPriority::best_effort(0), true),
        (IoPriority::best_effort(7), true),
        (IoPriority::IDLE, true),
        (bits(1), false),       // no class, but a level
        (bits(4 << 13), false), // no such class
        (bits(7 << 13), false),
    ] {
        let got = write(&ring, &file, b"ab", |sqe| {
            // SAFETY: it writes.
            unsafe { sqe.ioprio(priority) }
        });
        let want = if is_valid { Ok(2) } else { Err(libc::EINVAL) };
        assert_eq!(got, want, "{priority:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"01ab456789");

    const WHO_PROCESS: i32 = 1;
    let real_time = IoPriority::real_time(4);
    let value = libc::c_int::from(real_time.bits());
    // SAFETY: the call takes no memory; it changes this thread alone.
    let set = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    let want = match set {
        0 => Ok(2),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap()),
    };
    let got = write(&ring, &file, b"cd", |sqe| {
        // SAFETY: it writes.
        unsafe { sqe.ioprio(real_time) }
    });
    assert_eq!(got, want);
}

/// A loop device over a file, until it is dropped.
struct LoopDevice(File);

impl LoopDevice {
    const SET_FD: u64 = 0x4C00;
    const CLR_FD: u64 = 0x4C01;
    const CTL_GET_FREE: u64 = 0x4C82;

    /// `None` where there are none, or not for us.
    fn over(file: &File) -> Option<Self> {
        let control = File::open("/dev/loop-control").ok()?;
        // Another process may be faster.
        for _ in 0..100 {
            // SAFETY: the call takes no memory.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), Self::CTL_GET_FREE as _) };
            let device = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_DIRECT)
                .open(format!("/dev/loop{number}"))
                .ok()?;
            let (fd, file) = (device.as_raw_fd(), file.as_raw_fd());
            // SAFETY: as above.
            if unsafe { libc::ioctl(fd, Self::SET_FD as _, file) } == 0 {
                return Some(Self(device));
            }
        }
        None
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // SAFETY: the call takes no memory.
        unsafe { libc::ioctl(self.0.as_raw_fd(), Self::CLR_FD as _) };
    }
}

/// What a device demands of memory that it reads directly.
#[repr(align(4096))]
struct Aligned([u8; 4096]);

#[test]
fn a_write_stream_is_the_devices() {
    let test = "a_write_stream_is_the_devices";
    if !has(6, 16, test, "write_stream") {
        return;
    }
    let ring = ring();
    let (path, file) = file("write_stream", &[b'.'; 3 * 4096]);
    let write = |target: &File, stream, offset| {
        static DATA: Aligned = Aligned([b'a'; 4096]);
        run(&ring, |sqe| {
            // SAFETY: the bytes are constant, the file is open until the CQE.
            unsafe {
                sqe.prep_write(target, DATA.0.as_ptr(), 4096, offset)
                    .write_stream(stream)
            }
        })
    };
    // A file does not know streams.
    assert_eq!(write(&file, 1, 0), Ok(4096));

    let Some(device) = LoopDevice::over(&file) else {
        return skip(test, "no loop device");
    };
    assert_eq!(write(&device.0, 0, 4096), Ok(4096));
    for stream in [1, u8::MAX] {
        assert_eq!(write(&device.0, stream, 8192), Err(libc::EINVAL));
    }
    drop(device);
    let written = [b'a', b'a', b'.'].map(|byte| [byte; 4096]);
    assert!(fs::read(path).unwrap() == written.concat());
}

/// No device here keeps such metadata. What is shown: the kernel reads the attribute where
/// the SQE says that it is, at once, looks at the place of its buffer, and refuses a file
/// that cannot have it.
#[test]
fn protection_information_is_seen() {
    if !has(6, 14, "protection_information_is_seen", "the PI attribute") {
        return;
    }
    let ring = ring();
    let (path, file) = file("pi", b"0123456789");
    let write = |attribute| {
        write(&ring, &file, b"ab", |sqe| {
            // SAFETY: it writes; the attribute stays until the CQE, or is nowhere, and its
            // buffer is not used.
            unsafe { sqe.pi_attribute(attribute) }
        })
    };
    let (tuple, kernels) = (memory::<8>(), ptr::without_provenance_mut(usize::MAX - 64));
    let attribute = |buf| {
        PiAttribute::new(buf, 8, PiFlags::GUARD | PiFlags::APPTAG)
            .app_tag(1)
            .seed(2)
    };
    let good = attribute(tuple.as_mut_ptr());
    // Not for a buffered file, whatever the device.
    let refused = [Err(libc::EINVAL), Err(libc::EOPNOTSUPP)];
    assert!(refused.contains(&write(&good)), "{:?}", write(&good));
    assert_eq!(write(ptr::without_provenance(8)), Err(libc::EFAULT));
    assert_eq!(write(&attribute(kernels)), Err(libc::EFAULT));
    assert_eq!(fs::read(&path).unwrap(), b"0123456789");
}
