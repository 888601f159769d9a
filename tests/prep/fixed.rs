//! The table of registered files, changed by operations.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};

use ringway::prep::{Direct, Fixed, InstallFlags, SKIP_FILE};

use super::child::{has, knows, tried};
use super::gate::held;
use super::open::{is_cloexec, opened, peek};
use super::*;

const NOBODY: RawFd = -1;
const EMPTY: Result<u8, i32> = Err(libc::EBADF);

/// Three files whose first bytes are `a`, `b` and `c`.
fn abc(test: &str) -> [File; 3] {
    ["a", "b", "c"].map(|name| file(&format!("{test}-{name}"), name.as_bytes()).1)
}

/// An array that stays.
fn array<const N: usize>(fds: [RawFd; N]) -> &'static mut [RawFd; N] {
    Box::leak(Box::new(fds))
}

fn update(ring: &Ring, fds: &'static mut [RawFd], place: Direct) -> Result<u32, i32> {
    run(ring, |sqe| {
        // SAFETY: the memory stays, the files of the tests are open until the CQE.
        unsafe { sqe.prep_files_update(fds.as_mut_ptr(), fds.len() as u32, place) }
    })
}

fn table<const N: usize>(ring: &Ring) -> [Result<u8, i32>; N] {
    std::array::from_fn(|index| peek(ring, Fixed(index as u32)))
}

fn at(index: u32) -> Direct {
    Direct::at(Fixed(index))
}

#[test]
fn files_update_puts_files_into_places() {
    let ring = ring();
    let files = abc("update");
    let [a, b, c] = files.each_ref().map(|file| file.as_raw_fd());
    assert_eq!(update(&ring, array([a]), at(0)), Err(libc::ENXIO));
    register_files(&ring, &[None; 4]);
    assert_eq!(update(&ring, array([a, b]), at(1)), Ok(2));
    assert_eq!(table(&ring), [EMPTY, Ok(b'a'), Ok(b'b'), EMPTY]);
    // Replaced, left, emptied, and an empty one left and one emptied.
    let all = [SKIP_FILE, c, NOBODY, NOBODY];
    assert_eq!(update(&ring, array(all), at(0)), Ok(4));
    assert_eq!(table(&ring), [EMPTY, Ok(b'c'), EMPTY, EMPTY]);
    assert_eq!(update(&ring, array([a, SKIP_FILE, b]), at(0)), Ok(3));
    let full = [Ok(b'a'), Ok(b'c'), Ok(b'b'), EMPTY];
    drop(files);
    assert_eq!(table(&ring), full, "the table holds the files");
    tried("OP_FILES_UPDATE");
}

#[test]
fn files_update_says_how_far_it_came() {
    let ring = ring();
    let files = abc("update_far");
    let [a, b, c] = files.each_ref().map(|file| file.as_raw_fd());
    let closed = RawFd::MAX;
    register_files(&ring, &[None; 3]);
    for (fds, place, want) in [
        (&mut array([closed, b, c])[..], at(0), Err(libc::EBADF)),
        (array([a, b]), at(2), Err(libc::EINVAL)),
        (array([a]), at(3), Err(libc::EINVAL)),
        (array([a]), at(u32::MAX), Err(libc::EINVAL)),
        (&mut [], at(0), Err(libc::EINVAL)),
    ] {
        assert_eq!(update(&ring, fds, place), want, "{place:?}");
        assert_eq!(table(&ring), [EMPTY; 3]);
    }
    assert_eq!(update(&ring, array([a, closed, c]), at(0)), Ok(1));
    assert_eq!(table(&ring), [Ok(b'a'), EMPTY, EMPTY]);

    // The end of the range is what overflows, not a product.
    for (index, count, errno) in [
        (i32::MAX as u32, 1 << 31 | 1, libc::EOVERFLOW),
        (i32::MAX as u32, 1 << 31, libc::EINVAL),
    ] {
        let fds = array([a]).as_mut_ptr();
        let got = run(&ring, |sqe| {
            // SAFETY: the kernel refuses the range before it reads a descriptor.
            unsafe { sqe.prep_files_update(fds, count, at(index)) }
        });
        assert_eq!(got, Err(errno));
    }
}

#[test]
fn files_update_finds_free_places() {
    let ring = ring();
    if !has(5, 19, "files_update", "Direct::ALLOC") {
        return;
    }
    let files = abc("update_alloc");
    let [a, b, c] = files.each_ref().map(|file| file.as_raw_fd());
    let none = update(&ring, array([a]), Direct::ALLOC);
    assert_eq!(none, Err(libc::ENXIO), "there is no table");
    register_files(&ring, &[None, Some(files[2].as_fd()), None]);
    let fds = array([a, b]).as_mut_ptr_range().start;
    let got = run(&ring, |sqe| {
        // SAFETY: the memory stays, the files are open until the CQE.
        unsafe { sqe.prep_files_update(fds, 2, Direct::ALLOC) }
    });
    assert_eq!(got, Ok(2));
    // SAFETY: two numbers, and the operation has ended.
    let mut places = unsafe { *fds.cast::<[RawFd; 2]>() };
    assert_eq!(
        places.map(|index| peek(&ring, Fixed(index as u32))),
        [Ok(b'a'), Ok(b'b')]
    );
    places.sort();
    assert_eq!(places, [0, 2]);
    assert_eq!(update(&ring, array([a]), Direct::ALLOC), Err(libc::ENFILE));
    for no_file in [NOBODY, SKIP_FILE] {
        assert_eq!(update(&ring, array([NOBODY]), at(1)), Ok(1));
        let got = update(&ring, array([no_file]), Direct::ALLOC);
        assert_eq!(got, Err(libc::EBADF));
    }

    // One place for two files.
    let fds = array([c, b]).as_mut_ptr();
    let got = run(&ring, |sqe| {
        // SAFETY: as above.
        unsafe { sqe.prep_files_update(fds, 2, Direct::ALLOC) }
    });
    assert_eq!(got, Ok(1));
    // SAFETY: as above.
    assert_eq!(unsafe { *fds.cast::<[RawFd; 2]>() }, [1, b]);
    assert_eq!(peek(&ring, Fixed(1)), Ok(b'c'));
}

/// Unlike a path: so the array has to stay until the CQE.
#[test]
fn the_descriptors_are_read_when_the_update_starts() {
    let ring = ring();
    let files = abc("update_late");
    let [a, b, _] = files.each_ref().map(|file| file.as_raw_fd());
    register_files(&ring, &[None]);
    let fds = array([a]).as_mut_ptr();
    let gate = held(&ring, |sqe| {
        // SAFETY: the memory stays, the files are open until the CQE.
        unsafe { sqe.prep_files_update(fds, 1, at(0)) }
    });
    // SAFETY: the operation has not started.
    unsafe { *fds = b };
    assert_eq!(gate.open(&ring), Ok(1));
    assert_eq!(peek(&ring, Fixed(0)), Ok(b'b'));
}

#[test]
fn fixed_fd_install_makes_a_descriptor() {
    let ring = ring();
    if !knows(&ring, 54, "OP_FIXED_FD_INSTALL") {
        return;
    }
    let [a, ..] = abc("install");
    register_files(&ring, &[None, Some(a.as_fd())]);
    drop(a);
    let install = |index, flags| {
        run(&ring, |sqe| {
            // SAFETY: an install names no memory.
            unsafe { sqe.prep_fixed_fd_install(Fixed(index), flags) }
        })
    };
    for (flags, cloexec) in [
        (InstallFlags::NONE, true),
        (InstallFlags::NO_CLOEXEC, false),
    ] {
        let file = opened(install(1, flags));
        assert_eq!(is_cloexec(&file), cloexec);
        assert_eq!(std::io::read_to_string(&file).unwrap(), "a");
        std::io::Seek::rewind(&mut &file).unwrap();
    }
    assert_eq!(table(&ring), [EMPTY, Ok(b'a')], "the table keeps its own");

    for (index, flags, errno) in [
        (0, InstallFlags::NONE, libc::EBADF),
        (2, InstallFlags::NONE, libc::EBADF),
        (1, InstallFlags::from_bits(2), libc::EINVAL),
    ] {
        assert_eq!(install(index, flags), Err(errno), "{index} {flags:?}");
    }
    let id = ring.registrar().register_personality().unwrap();
    let got = run(&ring, |sqe| {
        // SAFETY: an install names no memory.
        unsafe { sqe.prep_fixed_fd_install(Fixed(1), InstallFlags::NONE) }.personality(id)
    });
    assert_eq!(got, Err(libc::EPERM));
    tried("OP_FIXED_FD_INSTALL");
}
