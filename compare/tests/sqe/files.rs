//! Files: opening, metadata, names, pipes, the table of registered files.

use io_uring::{opcode, types};
use ringway::prep::{
    CURRENT_POSITION, FallocateFlags, Fixed, FsyncFlags, InstallFlags, LinkFlags, OpenHow,
    RenameFlags, SpliceFlags, StatxFlags, SyncFileRangeFlags, UnlinkFlags, XattrFlags,
};

use crate::fields::Pair;
use crate::random::{Random, borrowed};
use crate::{Case, on_file};

pub const CASES: [Case; 24] = [
    ("OpenAt", openat),
    ("OpenAt2", openat2),
    ("Close", close),
    ("Fsync", fsync),
    ("SyncFileRange", sync_file_range),
    ("Fallocate", fallocate),
    ("Ftruncate", ftruncate),
    ("Fadvise", fadvise),
    ("Madvise", madvise),
    ("Statx", statx),
    ("GetXattr", getxattr),
    ("SetXattr", setxattr),
    ("FGetXattr", fgetxattr),
    ("FSetXattr", fsetxattr),
    ("RenameAt", renameat),
    ("UnlinkAt", unlinkat),
    ("MkDirAt", mkdirat),
    ("SymlinkAt", symlinkat),
    ("LinkAt", linkat),
    ("Splice", splice),
    ("Tee", tee),
    ("Pipe", pipe),
    ("FilesUpdate", files_update),
    ("FixedFdInstall", fixed_fd_install),
];

fn openat(random: &mut Random) -> Pair {
    let ((dir, fd), path) = (random.dir(), random.pointer());
    let (flags, mode) = (random.i32(), random.u32());
    let theirs = opcode::OpenAt::new(fd, path).flags(flags).mode(mode);
    match random.option(Random::place) {
        Some((place, slot)) => Pair::new(
            |sqe| unsafe { sqe.prep_openat_direct(dir, path, flags, mode, place) },
            theirs.file_index(Some(slot)).build(),
        ),
        None => Pair::new(
            |sqe| unsafe { sqe.prep_openat(dir, path, flags, mode) },
            theirs.build(),
        ),
    }
}

fn openat2(random: &mut Random) -> Pair {
    let ((dir, fd), path) = (random.dir(), random.pointer());
    let how = random.pointer::<OpenHow>();
    let theirs = opcode::OpenAt2::new(fd, path, how.cast());
    match random.option(Random::place) {
        Some((place, slot)) => Pair::new(
            |sqe| unsafe { sqe.prep_openat2_direct(dir, path, how, place) },
            theirs.file_index(Some(slot)).build(),
        ),
        None => Pair::new(
            |sqe| unsafe { sqe.prep_openat2(dir, path, how) },
            theirs.build(),
        ),
    }
}

fn close(random: &mut Random) -> Pair {
    if random.bool() {
        let fd = random.fd();
        return Pair::new(
            |sqe| unsafe { sqe.prep_close(fd) },
            opcode::Close::new(types::Fd(fd)).build(),
        );
    }
    let index = random.index();
    Pair::new(
        |sqe| unsafe { sqe.prep_close_direct(Fixed(index)) },
        opcode::Close::new(types::Fixed(index)).build(),
    )
}

fn fsync(random: &mut Random) -> Pair {
    let bits = random.u32();
    let theirs = types::FsyncFlags::from_bits_retain(bits);
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe { sqe.prep_fsync(file, FsyncFlags::from_bits(bits)) },
        opcode::Fsync::new(fd).flags(theirs).build(),
    ))
}

fn sync_file_range(random: &mut Random) -> Pair {
    let (len, offset, flags) = (random.u32(), random.u64(), random.u32());
    let ours = SyncFileRangeFlags::from_bits(flags);
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe { sqe.prep_sync_file_range(file, len, offset, ours) },
        opcode::SyncFileRange::new(fd, len)
            .offset(offset)
            .flags(flags)
            .build(),
    ))
}

fn fallocate(random: &mut Random) -> Pair {
    let (mode, offset, len) = (random.u32(), random.u64(), random.u64());
    let ours = FallocateFlags::from_bits(mode);
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe { sqe.prep_fallocate(file, ours, offset, len) },
        opcode::Fallocate::new(fd, len)
            .offset(offset)
            .mode(mode.cast_signed())
            .build(),
    ))
}

fn ftruncate(random: &mut Random) -> Pair {
    let len = random.u64();
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe { sqe.prep_ftruncate(file, len) },
        opcode::Ftruncate::new(fd, len).build(),
    ))
}

fn fadvise(random: &mut Random) -> Pair {
    let (offset, len, advice) = (random.u64(), random.u32(), random.i32());
    on_file!(random, |file, fd| Pair::new(
        |sqe| unsafe { sqe.prep_fadvise(file, offset, len, advice) },
        opcode::Fadvise::new(fd, len.into(), advice)
            .offset(offset)
            .build(),
    ))
}

fn madvise(random: &mut Random) -> Pair {
    let (addr, len, advice) = (random.pointer(), random.u32(), random.i32());
    Pair::new(
        |sqe| unsafe { sqe.prep_madvise(addr, len, advice) },
        opcode::Madvise::new(addr, len.into(), advice).build(),
    )
}

fn statx(random: &mut Random) -> Pair {
    let ((dir, fd), path) = (random.dir(), random.pointer());
    let buf = random.pointer::<libc::statx>();
    let (flags, mask) = (random.u32(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_statx(dir, path, StatxFlags::from_bits(flags), mask, buf) },
        opcode::Statx::new(fd, path, buf.cast())
            .flags(flags.cast_signed())
            .mask(mask)
            .build(),
    )
}

fn getxattr(random: &mut Random) -> Pair {
    let (name, path, len) = (random.pointer(), random.pointer(), random.u32());
    let value = random.pointer::<u8>();
    Pair::new(
        |sqe| unsafe { sqe.prep_getxattr(name, value, path, len) },
        opcode::GetXattr::new(name, value.cast(), path, len).build(),
    )
}

fn setxattr(random: &mut Random) -> Pair {
    let (name, value, path) = (random.pointer(), random.pointer::<u8>(), random.pointer());
    let (flags, len) = (random.u32(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_setxattr(name, value, path, XattrFlags::from_bits(flags), len) },
        opcode::SetXattr::new(name, value.cast(), path, len)
            .flags(flags.cast_signed())
            .build(),
    )
}

/// The kernel takes no fixed file here, and ringway asks for a descriptor.
fn fgetxattr(random: &mut Random) -> Pair {
    let (fd, name) = (random.fd(), random.pointer());
    let (value, len) = (random.pointer::<u8>(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_fgetxattr(borrowed(fd), name, value, len) },
        opcode::FGetXattr::new(types::Fd(fd), name, value.cast(), len).build(),
    )
}

/// As [`fgetxattr`].
fn fsetxattr(random: &mut Random) -> Pair {
    let (fd, name, value) = (random.fd(), random.pointer(), random.pointer::<u8>());
    let (flags, len) = (random.u32(), random.u32());
    let ours = XattrFlags::from_bits(flags);
    Pair::new(
        |sqe| unsafe { sqe.prep_fsetxattr(borrowed(fd), name, value, ours, len) },
        opcode::FSetXattr::new(types::Fd(fd), name, value.cast(), len)
            .flags(flags.cast_signed())
            .build(),
    )
}

fn renameat(random: &mut Random) -> Pair {
    let ((old_dir, old_fd), old) = (random.dir(), random.pointer());
    let ((new_dir, new_fd), new) = (random.dir(), random.pointer());
    let flags = random.u32();
    let ours = RenameFlags::from_bits(flags);
    Pair::new(
        |sqe| unsafe { sqe.prep_renameat(old_dir, old, new_dir, new, ours) },
        opcode::RenameAt::new(old_fd, old, new_fd, new)
            .flags(flags)
            .build(),
    )
}

fn unlinkat(random: &mut Random) -> Pair {
    let ((dir, fd), path, flags) = (random.dir(), random.pointer(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_unlinkat(dir, path, UnlinkFlags::from_bits(flags)) },
        opcode::UnlinkAt::new(fd, path)
            .flags(flags.cast_signed())
            .build(),
    )
}

fn mkdirat(random: &mut Random) -> Pair {
    let ((dir, fd), path, mode) = (random.dir(), random.pointer(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_mkdirat(dir, path, mode) },
        opcode::MkDirAt::new(fd, path).mode(mode).build(),
    )
}

fn symlinkat(random: &mut Random) -> Pair {
    let ((dir, fd), target, path) = (random.dir(), random.pointer(), random.pointer());
    Pair::new(
        |sqe| unsafe { sqe.prep_symlinkat(target, dir, path) },
        opcode::SymlinkAt::new(fd, target, path).build(),
    )
}

fn linkat(random: &mut Random) -> Pair {
    let ((old_dir, old_fd), old) = (random.dir(), random.pointer());
    let ((new_dir, new_fd), new) = (random.dir(), random.pointer());
    let flags = random.u32();
    let ours = LinkFlags::from_bits(flags);
    Pair::new(
        |sqe| unsafe { sqe.prep_linkat(old_dir, old, new_dir, new, ours) },
        opcode::LinkAt::new(old_fd, old, new_fd, new)
            .flags(flags.cast_signed())
            .build(),
    )
}

fn splice(random: &mut Random) -> Pair {
    let (len, flags) = (random.u32(), random.u32());
    let offsets = [(); 2].map(|()| random.option(Random::u64).unwrap_or(CURRENT_POSITION));
    on_file!(random, |from, fd_in| on_file!(random, |to, fd_out| {
        Pair::new(
            |sqe| unsafe {
                let flags = SpliceFlags::from_bits(flags);
                sqe.prep_splice(from, offsets[0], to, offsets[1], len, flags)
            },
            opcode::Splice::new(
                fd_in,
                offsets[0].cast_signed(),
                fd_out,
                offsets[1].cast_signed(),
                len,
            )
            .flags(flags)
            .build(),
        )
    }))
}

fn tee(random: &mut Random) -> Pair {
    let (len, flags) = (random.u32(), random.u32());
    let ours = SpliceFlags::from_bits(flags);
    on_file!(random, |from, fd_in| on_file!(random, |to, fd_out| {
        Pair::new(
            |sqe| unsafe { sqe.prep_tee(from, to, len, ours) },
            opcode::Tee::new(fd_in, fd_out, len).flags(flags).build(),
        )
    }))
}

fn pipe(random: &mut Random) -> Pair {
    let (fds, flags) = (random.pointer::<[i32; 2]>(), random.i32());
    let theirs = opcode::Pipe::new(fds.cast()).flags(flags.cast_unsigned());
    match random.option(Random::place) {
        Some((place, slot)) => Pair::new(
            |sqe| unsafe { sqe.prep_pipe_direct(fds.cast(), flags, place) },
            theirs.file_index(Some(slot)).build(),
        ),
        None => Pair::new(|sqe| unsafe { sqe.prep_pipe(fds, flags) }, theirs.build()),
    }
}

fn files_update(random: &mut Random) -> Pair {
    let (fds, count) = (random.pointer(), random.u32());
    let (place, offset) = random.places();
    Pair::new(
        |sqe| unsafe { sqe.prep_files_update(fds, count, place) },
        opcode::FilesUpdate::new(fds, count).offset(offset).build(),
    )
}

fn fixed_fd_install(random: &mut Random) -> Pair {
    let (index, flags) = (random.u32(), random.u32());
    Pair::new(
        |sqe| unsafe { sqe.prep_fixed_fd_install(Fixed(index), InstallFlags::from_bits(flags)) },
        opcode::FixedFdInstall::new(types::Fixed(index), flags).build(),
    )
}
