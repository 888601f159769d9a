//! The table of registered files.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use super::resource::{address, tags_of};
use super::{Registrar, count};
use crate::abi::{self, register};
use crate::syscall::Errno;

/// What becomes of one place in the table of registered files.
///
/// ```
/// use ringway::register::FilePlace;
///
/// let file = std::fs::File::open("/dev/null")?;
/// let update: [FilePlace; 3] = [(&file).into(), FilePlace::EMPTY, FilePlace::SKIP];
/// # let _ = update;
/// # Ok::<(), std::io::Error>(())
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct FilePlace<'fd> {
    fd: RawFd,
    lifetime: PhantomData<BorrowedFd<'fd>>,
}

impl FilePlace<'static> {
    /// The place becomes empty; also what `None` converts to.
    pub const EMPTY: Self = Self {
        fd: -1,
        lifetime: PhantomData,
    };

    /// The place stays as it is. Linux 5.12.
    pub const SKIP: Self = Self {
        fd: abi::files::SKIP,
        lifetime: PhantomData,
    };
}

impl<'fd> From<BorrowedFd<'fd>> for FilePlace<'fd> {
    fn from(file: BorrowedFd<'fd>) -> Self {
        Self {
            fd: file.as_raw_fd(),
            lifetime: PhantomData,
        }
    }
}

impl<'fd, F: AsFd + ?Sized> From<&'fd F> for FilePlace<'fd> {
    fn from(file: &'fd F) -> Self {
        file.as_fd().into()
    }
}

impl<'fd> From<Option<BorrowedFd<'fd>>> for FilePlace<'fd> {
    fn from(file: Option<BorrowedFd<'fd>>) -> Self {
        file.map_or(FilePlace::EMPTY, Self::from)
    }
}

/// Fixed files. The ring holds the files themselves, so the descriptors may be closed
/// afterwards; an operation that has started holds its file too, whatever becomes of the
/// table. A ring has one table, of at most 2^20 places.
///
/// A *tag* is a number that comes back when the ring has let go of a file: when the place
/// has been emptied or replaced, or the table unregistered, and the operations on the file
/// have completed. It is the `user_data` of a CQE whose result is 0. A tag of 0 is none.
impl Registrar<'_> {
    /// Makes these the ring's fixed files, from index 0 on; `None` leaves a place empty.
    ///
    /// Linux 5.1, empty places since 5.5; `io_uring_register_files(3)`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when there is a table already; `EBADF` for a file that is a ring or was
    /// opened with `O_PATH`; `EMFILE` for more places than there may be, or than the
    /// process may have files open (`RLIMIT_NOFILE`, which is not raised for the call);
    /// `EINVAL` for an empty table; `ENOMEM`.
    pub fn register_files(self, files: &[Option<BorrowedFd<'_>>]) -> Result<(), Errno> {
        let nr = count(files)?;
        let files = ptr::from_ref(files).cast_mut().cast();
        // SAFETY: the kernel reads `nr` descriptors during the call; an Option<BorrowedFd>
        // is one, with -1 for `None`.
        unsafe { self.register(register::FILES, files, nr) }.map(|_| ())
    }

    /// As [`register_files`](Self::register_files), with a tag for each file.
    ///
    /// Linux 5.13; `io_uring_register_files_tags(3)`.
    ///
    /// # Errors
    ///
    /// As [`register_files`](Self::register_files); also `EINVAL` for an empty place with
    /// a tag, and, without asking the kernel, unless there are as many tags as files.
    pub fn register_files_tags(
        self,
        files: &[Option<BorrowedFd<'_>>],
        tags: &[u64],
    ) -> Result<(), Errno> {
        let table = abi::RsrcRegister {
            nr: count(files)?,
            data: address(files),
            tags: tags_of(files, tags)?,
            ..Default::default()
        };
        // SAFETY: the kernel reads `nr` descriptors and as many tags during the call; an
        // Option<BorrowedFd> is a descriptor, with -1 for `None`.
        unsafe { self.register_sized(register::FILES2, table) }.map(|_| ())
    }

    /// Makes a table of `nr` empty places.
    ///
    /// Linux 5.19; `io_uring_register_files_sparse(3)`.
    ///
    /// # Errors
    ///
    /// As [`register_files`](Self::register_files).
    pub fn register_files_sparse(self, nr: u32) -> Result<(), Errno> {
        let table = abi::RsrcRegister {
            nr,
            flags: abi::rsrc::SPARSE,
            ..Default::default()
        };
        // SAFETY: a sparse table has no pointers.
        unsafe { self.register_sized(register::FILES2, table) }.map(|_| ())
    }

    /// Changes the places from `offset` on; the answer is how many it got through.
    ///
    /// Fewer than asked for means that the file at the next place was refused; that place
    /// is then empty. Linux 5.5; `io_uring_register_files_update(3)`.
    ///
    /// ```
    /// use ringway::Ring;
    /// use ringway::prep::Fixed;
    ///
    /// let ring = Ring::builder(8).build()?;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// ring.registrar().register_files_sparse(4)?;
    /// assert_eq!(ring.registrar().register_files_update(2, &[(&file).into()])?, 1);
    /// drop(file);
    ///
    /// let magic = Box::leak(Box::new([0u8; 4])); // stays, also if a `?` returns early
    /// let sq = ring.sq();
    /// let mut slot = sq.pop().expect("the ring is empty");
    /// // SAFETY: `magic` is never freed, and left alone until the CQE is here.
    /// unsafe { slot.prep_read(Fixed(2), magic.as_mut_ptr(), 4, 0) };
    /// slot.push();
    /// ring.submit()?;
    /// let cqe = ring.cq().wait_one(None)?.expect("no time limit");
    /// assert_eq!(cqe.result()?, 4);
    /// assert_eq!(magic, b"\x7fELF");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only if the first place fails: `ENXIO` without a table; `EINVAL` for places outside
    /// the table and for none, `EOVERFLOW` far outside; `EBADF` for a file that is a ring
    /// or was opened with `O_PATH`; `ENOMEM`.
    pub fn register_files_update(self, offset: u32, files: &[FilePlace<'_>]) -> Result<u32, Errno> {
        let mut update = abi::FilesUpdate {
            offset,
            fds: address(files),
            ..Default::default()
        };
        let nr = count(files)?;
        // SAFETY: the kernel reads the update and the `nr` descriptors that it points to
        // during the call; a FilePlace is one.
        unsafe {
            let update = ptr::from_mut(&mut update).cast();
            self.register(register::FILES_UPDATE, update, nr)
        }
    }

    /// As [`register_files_update`](Self::register_files_update), with a tag for each
    /// file.
    ///
    /// Linux 5.13; `io_uring_register_files_update_tag(3)`.
    ///
    /// # Errors
    ///
    /// As [`register_files_update`](Self::register_files_update); also `EINVAL` for a tag
    /// without a file, and, without asking the kernel, unless there are as many tags as
    /// places.
    pub fn register_files_update_tag(
        self,
        offset: u32,
        files: &[FilePlace<'_>],
        tags: &[u64],
    ) -> Result<u32, Errno> {
        let update = abi::RsrcUpdate2 {
            offset,
            data: address(files),
            tags: tags_of(files, tags)?,
            nr: count(files)?,
            ..Default::default()
        };
        // SAFETY: the kernel reads `nr` descriptors and as many tags during the call; a
        // FilePlace is a descriptor.
        unsafe { self.register_sized(register::FILES_UPDATE2, update) }
    }

    /// Takes the table away.
    ///
    /// Does not wait for the operations that use it; before Linux 6.13 it does. Linux 5.1;
    /// `io_uring_unregister_files(3)`.
    ///
    /// # Errors
    ///
    /// `ENXIO` without a table.
    pub fn unregister_files(self) -> Result<(), Errno> {
        // SAFETY: the opcode takes no argument.
        unsafe { self.register(register::UNREGISTER_FILES, ptr::null_mut(), 0) }.map(|_| ())
    }

    /// Says from which `len` places, beginning at `offset`, the kernel chooses for
    /// [`Direct::ALLOC`](crate::prep::Direct::ALLOC). Without it, and again after the next
    /// table is registered, from all.
    ///
    /// With a `len` of 0 there is nothing to choose from. Linux 6.0;
    /// `io_uring_register_file_alloc_range(3)`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for places outside the table, `EOVERFLOW` far outside.
    pub fn register_file_alloc_range(self, offset: u32, len: u32) -> Result<(), Errno> {
        let mut range = abi::FileIndexRange {
            off: offset,
            len,
            resv: 0,
        };
        // SAFETY: the kernel reads one range during the call.
        unsafe {
            let range = ptr::from_mut(&mut range).cast();
            self.register(register::FILE_ALLOC_RANGE, range, 0)
        }
        .map(|_| ())
    }
}
