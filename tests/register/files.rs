//! The table of registered files.

use std::fs::File;
use std::io::ErrorKind::BrokenPipe;
use std::io::{PipeReader, Write, pipe};
use std::os::fd::AsFd;

use ringway::prep::{Dir, Fixed};
use ringway::register::FilePlace;

use super::child::{has, tried};
use super::op::*;
use super::*;

const REGISTER_FILE_ALLOC_RANGE: u32 = 25;

/// Reads from the table, so that the pipe behind each place says which it is: at most 8
/// bytes, waiting if there are none.
fn read(ring: &Ring, place: u32) -> Result<Vec<u8>, i32> {
    let buf = memory(8);
    // SAFETY: the memory is leaked.
    let cqe = run(ring, |sqe| unsafe {
        sqe.prep_read(Fixed(place), buf.as_mut_ptr(), 8, 0)
    });
    result(cqe).map(|len| buf[..len as usize].to_vec())
}

/// A pipe with this text in it, and no more to come.
fn said(text: &str) -> PipeReader {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    reader
}

/// The tags that have come back, in order of size.
fn tags<const N: usize>(ring: &Ring) -> [u64; N] {
    let mut tags = [(); N].map(|()| {
        let cqe = next(ring);
        assert_eq!((cqe.res(), cqe.flags()), (0, 0));
        cqe.user_data()
    });
    tags.sort();
    assert_idle(ring);
    tags
}

#[test]
fn there_is_one_table() {
    let ring = ring();
    let (one, two) = (said("one"), said("two"));
    let files = [Some(two.as_fd()), None, Some(one.as_fd())];
    assert_eq!(ring.registrar().register_files(&files), Ok(()));
    let again = ring.registrar().register_files(&files);
    assert_eq!(refusal(again), libc::EBUSY);
    let again = ring.registrar().register_files_sparse(1);
    assert_eq!(refusal(again), libc::EBUSY);
    drop((one, two));
    assert_eq!(read(&ring, 0), Ok(b"two".to_vec()));
    assert_eq!(read(&ring, 1), Err(libc::EBADF));
    assert_eq!(read(&ring, 2), Ok(b"one".to_vec()));
    assert_eq!(read(&ring, 3), Err(libc::EBADF));
    tried("REGISTER_FILES");
}

#[test]
fn without_a_table_operations_find_nothing() {
    let ring = ring();
    let registrar = ring.registrar();
    assert_eq!(refusal(registrar.unregister_files()), libc::ENXIO);
    let (reader, writer) = pipe().unwrap();
    registrar.register_files(&[Some(reader.as_fd())]).unwrap();

    drop(reader);
    (&writer).write_all(b"there").unwrap();
    assert_eq!(read(&ring, 0), Ok(b"there".to_vec()));
    assert_eq!(registrar.unregister_files(), Ok(()));
    assert_eq!(read(&ring, 0), Err(libc::EBADF));
    assert_eq!(refusal(registrar.unregister_files()), libc::ENXIO);
    assert_eq!((&writer).write(b"x").unwrap_err().kind(), BrokenPipe);
    assert_eq!(registrar.register_files(&[None]), Ok(()));
    tried("UNREGISTER_FILES");
}

#[test]
fn an_operation_that_runs_keeps_its_file() {
    let test = "files::an_operation_that_runs_keeps_its_file";
    if !has(6, 13, test, "unregistering without waiting") {
        return;
    }
    let ring = ring();
    let registrar = ring.registrar();
    let (reader, mut writer) = pipe().unwrap();
    registrar.register_files(&[Some(reader.as_fd())]).unwrap();
    let buf = memory(8);
    start(&ring, |sqe| {
        // SAFETY: the memory is leaked.
        unsafe { sqe.prep_read(Fixed(0), buf.as_mut_ptr(), 8, 0) }.user_data(1)
    });
    assert_eq!(registrar.unregister_files(), Ok(()));
    assert_eq!(read(&ring, 0), Err(libc::EBADF));
    drop(reader);
    writer.write_all(b"late").unwrap();
    let cqe = next(&ring);
    assert_eq!((cqe.user_data(), result(cqe)), (1, Ok(4)));
    assert_eq!(buf[..4], *b"late");
}

#[test]
fn places_are_filled_emptied_and_skipped() {
    let ring = ring();
    let registrar = ring.registrar();
    let update = registrar.register_files_update(0, &[FilePlace::EMPTY]);
    assert_eq!(refusal(update), libc::ENXIO);
    if !has(
        5,
        19,
        "files::places_are_filled_emptied_and_skipped",
        "sparse",
    ) {
        return;
    }
    registrar.register_files_sparse(4).unwrap();
    let (one, two, three) = (said("one"), said("two"), said("three"));
    let all: [FilePlace; 3] = [
        (&one).into(),
        two.as_fd().into(),
        Some(three.as_fd()).into(),
    ];
    assert_eq!(registrar.register_files_update(1, &all), Ok(3));
    let some = [FilePlace::SKIP, None.into(), (&one).into()];
    assert_eq!(registrar.register_files_update(1, &some), Ok(3));
    drop((two, three));
    assert_eq!(read(&ring, 1), Ok(b"one".to_vec()));
    assert_eq!(read(&ring, 2), Err(libc::EBADF));
    assert_eq!(read(&ring, 3), Ok(vec![]), "the same pipe, read to its end");

    for (offset, count, errno) in [
        (4, 1, libc::EINVAL),
        (2, 3, libc::EINVAL),
        (0, 0, libc::EINVAL),
        (u32::MAX, 2, libc::EOVERFLOW),
    ] {
        let places = [FilePlace::EMPTY; 3];
        let update = registrar.register_files_update(offset, &places[..count]);
        assert_eq!(refusal(update), errno, "{offset} {count}");
    }
    tried("REGISTER_FILES_UPDATE");
}

/// A ring is no file to register; an update says how far it came.
#[test]
fn a_file_that_is_refused() {
    let (ring, other) = (ring(), super::ring());
    let registrar = ring.registrar();
    let (one, two) = (said("one"), said("two"));
    let path = {
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_PATH);
        options.read(true).open("/").unwrap()
    };
    for bad in [other.fd().unwrap(), path.as_fd()] {
        let refused = registrar.register_files(&[Some(one.as_fd()), Some(bad)]);
        assert_eq!(refusal(refused), libc::EBADF);
        assert_eq!(refusal(registrar.unregister_files()), libc::ENXIO);
    }
    let bad = other.fd().unwrap();
    let table = [Some(one.as_fd()), Some(two.as_fd()), Some(two.as_fd())];
    registrar.register_files(&table).unwrap();
    let places: [FilePlace; 3] = [(&two).into(), bad.into(), FilePlace::EMPTY];
    assert_eq!(registrar.register_files_update(0, &places), Ok(1));
    assert_eq!(read(&ring, 1), Err(libc::EBADF), "emptied");
    assert_eq!(read(&ring, 2), Ok(b"two".to_vec()), "not reached");
    assert_eq!(read(&ring, 0), Ok(vec![]), "the same pipe");
    let update = registrar.register_files_update(1, &places[1..]);
    assert_eq!(refusal(update), libc::EBADF);
}

#[test]
fn a_table_of_a_size_that_there_is_not() {
    let ring = ring();
    let registrar = ring.registrar();
    assert_eq!(refusal(registrar.register_files(&[])), libc::EINVAL);
    assert_eq!(refusal(registrar.register_files_sparse(0)), libc::EINVAL);
    assert_eq!(
        refusal(registrar.register_files_tags(&[], &[])),
        libc::EINVAL
    );
    for nr in [(1 << 20) + 1, u32::MAX] {
        let refused = registrar.register_files_sparse(nr);
        assert_eq!(refusal(refused), libc::EMFILE);
    }
    assert_eq!(read(&ring, 0), Err(libc::EBADF));
}

#[test]
fn a_tag_comes_back_when_the_file_is_let_go() {
    if !has(
        6,
        13,
        "files::a_tag_comes_back_when_the_file_is_let_go",
        "tags at once",
    ) {
        return;
    }
    let ring = ring();
    let registrar = ring.registrar();
    let (one, mut writer) = pipe().unwrap();
    let (two, three) = (said("two"), said("three"));
    let files = [one.as_fd(), two.as_fd(), three.as_fd()].map(Some);
    for tags in [&[1, 2][..], &[1, 2, 3, 4]] {
        let refused = registrar.register_files_tags(&files, tags);
        assert_eq!(refusal(refused), libc::EINVAL, "{} tags", tags.len());
    }
    let refused = registrar.register_files_tags(&[files[0], None], &[1, 2]);
    assert_eq!(refusal(refused), libc::EINVAL, "a tag for nothing");
    assert_idle(&ring);

    registrar.register_files_tags(&files, &[11, 0, 13]).unwrap();
    // Replaced, but an operation uses the file.
    let buf = memory(8);
    start(&ring, |sqe| {
        // SAFETY: the memory is leaked.
        unsafe { sqe.prep_read(Fixed(0), buf.as_mut_ptr(), 8, 0) }.user_data(99)
    });
    let places: [FilePlace; 2] = [(&two).into(), FilePlace::EMPTY];
    assert_eq!(registrar.register_files_update(0, &places), Ok(2));
    assert_idle(&ring);
    writer.write_all(b"first").unwrap();
    let (mut first, mut second) = (next(&ring), next(&ring));
    if first.user_data() == 11 {
        (first, second) = (second, first);
    }
    assert_eq!((first.user_data(), result(first)), (99, Ok(5)));
    assert_eq!((second.user_data(), result(second)), (11, Ok(0)));
    assert_idle(&ring);

    registrar.unregister_files().unwrap();
    assert_eq!(tags(&ring), [13]);
    tried("REGISTER_FILES2");
}

#[test]
fn an_update_gives_tags() {
    if !has(6, 13, "files::an_update_gives_tags", "tags at once") {
        return;
    }
    let ring = ring();
    let registrar = ring.registrar();
    let (one, two) = (said("one"), said("two"));
    registrar.register_files(&[None, None, None]).unwrap();
    let places: [FilePlace; 2] = [(&one).into(), (&two).into()];
    let refused = registrar.register_files_update_tag(0, &places, &[1]);
    assert_eq!(refusal(refused), libc::EINVAL);
    for place in [FilePlace::EMPTY, FilePlace::SKIP] {
        let refused = registrar.register_files_update_tag(0, &[place], &[7]);
        assert_eq!(refusal(refused), libc::EINVAL, "a tag for nothing");
    }
    let update = |offset, tags| registrar.register_files_update_tag(offset, &places, tags);
    assert_eq!(update(1, &[21, 22]), Ok(2));
    assert_idle(&ring);
    assert_eq!(update(0, &[23, 24]), Ok(2));
    assert_eq!(tags(&ring), [21]);
    assert_eq!(read(&ring, 0), Ok(b"one".to_vec()));
    assert_eq!(read(&ring, 1), Ok(b"two".to_vec()));
    let emptied = registrar.register_files_update_tag(2, &[FilePlace::EMPTY], &[0]);
    assert_eq!((emptied, tags(&ring)), (Ok(1), [22]));
    let skipped = registrar.register_files_update_tag(1, &[FilePlace::SKIP], &[0]);
    assert_eq!((skipped, tags(&ring)), (Ok(1), []));
    assert_eq!(registrar.unregister_files(), Ok(()));
    assert_eq!(tags(&ring), [23, 24]);
    tried("REGISTER_FILES_UPDATE2");
}

/// Opens a file into a place of the kernel's choice.
fn open_somewhere(ring: &Ring) -> Result<u32, i32> {
    let cqe = run(ring, |sqe| {
        // SAFETY: the path is a constant.
        let sqe = unsafe { sqe.prep_openat(Dir::CWD, c"/dev/zero".as_ptr(), libc::O_RDONLY, 0) };
        // SAFETY: the field of the place: a number.
        let bytes = unsafe { sqe.as_bytes_mut() };
        bytes[44..48].copy_from_slice(&u32::MAX.to_ne_bytes());
        sqe
    });
    result(cqe)
}

/// `io_uring_register(2)` wants the count 1 for it; the kernel takes none but 0.
#[test]
fn the_kernel_chooses_from_a_range() {
    let test = "files::the_kernel_chooses_from_a_range";
    if !has(6, 0, test, "IORING_REGISTER_FILE_ALLOC_RANGE") {
        return;
    }
    let ring = ring();
    let registrar = ring.registrar();
    assert_eq!(
        refusal(registrar.register_file_alloc_range(0, 1)),
        libc::EINVAL
    );
    registrar.register_files_sparse(8).unwrap();
    assert_eq!(registrar.register_file_alloc_range(5, 2), Ok(()));
    let chosen = [open_somewhere(&ring), open_somewhere(&ring)];
    assert_eq!(chosen, [Ok(5), Ok(6)]);
    assert_eq!(open_somewhere(&ring), Err(libc::ENFILE));
    assert_eq!(read(&ring, 6), Ok(vec![0; 8]));
    assert_eq!(read(&ring, 4), Err(libc::EBADF));
    registrar.register_file_alloc_range(1, 1).unwrap();
    assert_eq!(open_somewhere(&ring), Ok(1));
    registrar.register_file_alloc_range(0, 0).unwrap();
    assert_eq!(open_somewhere(&ring), Err(libc::ENFILE));
    for (offset, len, errno) in [
        (0, 9, libc::EINVAL),
        (8, 1, libc::EINVAL),
        (u32::MAX, 2, libc::EOVERFLOW),
    ] {
        let refused = registrar.register_file_alloc_range(offset, len);
        assert_eq!(refusal(refused), errno);
    }
    registrar.unregister_files().unwrap();
    registrar.register_files_sparse(2).unwrap();
    assert_eq!(
        [open_somewhere(&ring), open_somewhere(&ring)],
        [Ok(0), Ok(1)]
    );

    // `struct io_uring_file_index_range`: offset 0, length 1.
    let mut range = [0u32, 1, 0, 0];
    for (count, answer) in [(0, 0), (1, libc::EINVAL)] {
        // SAFETY: the kernel reads one structure.
        let registered = unsafe {
            let range = range.as_mut_ptr().cast();
            registrar.register(REGISTER_FILE_ALLOC_RANGE, range, count)
        };
        assert_eq!(refusal(registered), answer);
    }
    tried("REGISTER_FILE_ALLOC_RANGE");
}
