//! The opcodes, `IORING_OP_*`, each with the kernel that brought it.
//!
//! For [`Probe::supports`](crate::Probe::supports), for restrictions and filters, and for
//! cancelling by opcode.

/// Does nothing. Linux 5.1.
pub const NOP: u8 = 0;
/// Reads into several buffers. Linux 5.1.
pub const READV: u8 = 1;
/// Writes from several buffers. Linux 5.1.
pub const WRITEV: u8 = 2;
/// Brings a file to stable storage. Linux 5.1.
pub const FSYNC: u8 = 3;
/// Reads into a registered buffer. Linux 5.1.
pub const READ_FIXED: u8 = 4;
/// Writes from a registered buffer. Linux 5.1.
pub const WRITE_FIXED: u8 = 5;
/// Waits for readiness. Linux 5.1.
pub const POLL_ADD: u8 = 6;
/// Cancels or changes a poll. Linux 5.1.
pub const POLL_REMOVE: u8 = 7;
/// Brings a part of a file to storage. Linux 5.2.
pub const SYNC_FILE_RANGE: u8 = 8;
/// Sends a message with its header. Linux 5.3.
pub const SENDMSG: u8 = 9;
/// Receives a message with its header. Linux 5.3.
pub const RECVMSG: u8 = 10;
/// Completes when a time is over. Linux 5.4.
pub const TIMEOUT: u8 = 11;
/// Cancels or changes a timeout. Linux 5.5.
pub const TIMEOUT_REMOVE: u8 = 12;
/// Accepts a connection. Linux 5.5.
pub const ACCEPT: u8 = 13;
/// Cancels operations. Linux 5.5.
pub const ASYNC_CANCEL: u8 = 14;
/// Limits the time of the operation before it in the chain. Linux 5.5.
pub const LINK_TIMEOUT: u8 = 15;
/// Connects a socket. Linux 5.5.
pub const CONNECT: u8 = 16;
/// Allocates or frees room of a file. Linux 5.6.
pub const FALLOCATE: u8 = 17;
/// Opens a file. Linux 5.6.
pub const OPENAT: u8 = 18;
/// Closes a file. Linux 5.6.
pub const CLOSE: u8 = 19;
/// Changes the table of registered files. Linux 5.6.
pub const FILES_UPDATE: u8 = 20;
/// Reads the metadata of a file. Linux 5.6.
pub const STATX: u8 = 21;
/// Reads into one buffer. Linux 5.6.
pub const READ: u8 = 22;
/// Writes from one buffer. Linux 5.6.
pub const WRITE: u8 = 23;
/// Says how a file will be used. Linux 5.6.
pub const FADVISE: u8 = 24;
/// Says how memory will be used. Linux 5.6.
pub const MADVISE: u8 = 25;
/// Sends from one buffer. Linux 5.6.
pub const SEND: u8 = 26;
/// Receives into one buffer. Linux 5.6.
pub const RECV: u8 = 27;
/// Opens a file, with the resolving of its path limited. Linux 5.6.
pub const OPENAT2: u8 = 28;
/// Changes what an epoll instance watches. Linux 5.6.
pub const EPOLL_CTL: u8 = 29;
/// Moves data between a pipe and a file. Linux 5.7.
pub const SPLICE: u8 = 30;
/// Gives buffers to a group. Linux 5.7.
pub const PROVIDE_BUFFERS: u8 = 31;
/// Takes buffers out of a group. Linux 5.7.
pub const REMOVE_BUFFERS: u8 = 32;
/// Copies data from pipe to pipe. Linux 5.8.
pub const TEE: u8 = 33;
/// Shuts a connection down. Linux 5.11.
pub const SHUTDOWN: u8 = 34;
/// Renames a file. Linux 5.11.
pub const RENAMEAT: u8 = 35;
/// Removes a file or a directory. Linux 5.11.
pub const UNLINKAT: u8 = 36;
/// Makes a directory. Linux 5.15.
pub const MKDIRAT: u8 = 37;
/// Makes a symbolic link. Linux 5.15.
pub const SYMLINKAT: u8 = 38;
/// Makes a hard link. Linux 5.15.
pub const LINKAT: u8 = 39;
/// Posts a completion on another ring, or sends it a file. Linux 5.18.
pub const MSG_RING: u8 = 40;
/// Sets an extended attribute of an open file. Linux 5.19.
pub const FSETXATTR: u8 = 41;
/// Sets an extended attribute. Linux 5.19.
pub const SETXATTR: u8 = 42;
/// Reads an extended attribute of an open file. Linux 5.19.
pub const FGETXATTR: u8 = 43;
/// Reads an extended attribute. Linux 5.19.
pub const GETXATTR: u8 = 44;
/// Makes a socket. Linux 5.19.
pub const SOCKET: u8 = 45;
/// A command to a driver, a socket or a block device. Linux 5.19.
pub const URING_CMD: u8 = 46;
/// Sends without a copy. Linux 6.0.
pub const SEND_ZC: u8 = 47;
/// Sends a message with its header, without a copy. Linux 6.1.
pub const SENDMSG_ZC: u8 = 48;
/// Reads again and again into provided buffers. Linux 6.7.
pub const READ_MULTISHOT: u8 = 49;
/// Waits for a process to change. Linux 6.7.
pub const WAITID: u8 = 50;
/// Waits on a futex. Linux 6.7.
pub const FUTEX_WAIT: u8 = 51;
/// Wakes waiters of a futex. Linux 6.7.
pub const FUTEX_WAKE: u8 = 52;
/// Waits on several futexes. Linux 6.7.
pub const FUTEX_WAITV: u8 = 53;
/// Gives a registered file a descriptor. Linux 6.8.
pub const FIXED_FD_INSTALL: u8 = 54;
/// Sets the length of a file. Linux 6.9.
pub const FTRUNCATE: u8 = 55;
/// Binds a socket to an address. Linux 6.11.
pub const BIND: u8 = 56;
/// Lets a socket listen. Linux 6.11.
pub const LISTEN: u8 = 57;
/// Receives without a copy. Linux 6.15.
pub const RECV_ZC: u8 = 58;
/// Waits for events of an epoll instance. Linux 6.15.
pub const EPOLL_WAIT: u8 = 59;
/// Reads into several parts of a registered buffer. Linux 6.15.
pub const READV_FIXED: u8 = 60;
/// Writes from several parts of a registered buffer. Linux 6.15.
pub const WRITEV_FIXED: u8 = 61;
/// Makes a pipe. Linux 6.16.
pub const PIPE: u8 = 62;
/// Does nothing, with an SQE of 128 bytes. Linux 6.19.
pub const NOP128: u8 = 63;
/// A command with an SQE of 128 bytes. Linux 6.19.
pub const URING_CMD128: u8 = 64;
