//! Preparing SQEs: one `prep_*` method of [`Sqe`] per operation.
//!
//! The names are liburing's without `io_uring_`: the manual page of
//! [`Sqe::prep_read`] is `io_uring_prep_read(3)`. What the fields of an SQE mean
//! is in `io_uring_enter(2)`.
//!
//! | family | operations |
//! |---|---|
//! | reading and writing | [`prep_read`](Sqe::prep_read), [`prep_write`](Sqe::prep_write), [`prep_readv`](Sqe::prep_readv), [`prep_readv2`](Sqe::prep_readv2), [`prep_writev`](Sqe::prep_writev), [`prep_writev2`](Sqe::prep_writev2), [`prep_read_fixed`](Sqe::prep_read_fixed), [`prep_write_fixed`](Sqe::prep_write_fixed), [`prep_readv_fixed`](Sqe::prep_readv_fixed), [`prep_writev_fixed`](Sqe::prep_writev_fixed), [`prep_read_multishot`](Sqe::prep_read_multishot); [`rw_flags`](Sqe::rw_flags), [`ioprio`](Sqe::ioprio), [`write_stream`](Sqe::write_stream), [`pi_attribute`](Sqe::pi_attribute) |
//! | files | [`prep_close`](Sqe::prep_close), [`prep_close_direct`](Sqe::prep_close_direct), [`prep_fsync`](Sqe::prep_fsync), [`prep_sync_file_range`](Sqe::prep_sync_file_range), [`prep_fallocate`](Sqe::prep_fallocate), [`prep_ftruncate`](Sqe::prep_ftruncate), [`prep_fadvise`](Sqe::prep_fadvise), [`prep_fadvise64`](Sqe::prep_fadvise64), [`prep_madvise`](Sqe::prep_madvise), [`prep_madvise64`](Sqe::prep_madvise64) |
//! | opening files | [`prep_openat`](Sqe::prep_openat), [`prep_openat_direct`](Sqe::prep_openat_direct), [`prep_open`](Sqe::prep_open), [`prep_open_direct`](Sqe::prep_open_direct), [`prep_openat2`](Sqe::prep_openat2), [`prep_openat2_direct`](Sqe::prep_openat2_direct) |
//! | metadata of files | [`prep_statx`](Sqe::prep_statx) |
//! | extended attributes | [`prep_getxattr`](Sqe::prep_getxattr), [`prep_setxattr`](Sqe::prep_setxattr), [`prep_fgetxattr`](Sqe::prep_fgetxattr), [`prep_fsetxattr`](Sqe::prep_fsetxattr) |
//! | names of files | [`prep_renameat`](Sqe::prep_renameat), [`prep_rename`](Sqe::prep_rename), [`prep_unlinkat`](Sqe::prep_unlinkat), [`prep_unlink`](Sqe::prep_unlink), [`prep_mkdirat`](Sqe::prep_mkdirat), [`prep_mkdir`](Sqe::prep_mkdir), [`prep_symlinkat`](Sqe::prep_symlinkat), [`prep_symlink`](Sqe::prep_symlink), [`prep_linkat`](Sqe::prep_linkat), [`prep_link`](Sqe::prep_link) |
//! | splicing, pipes | [`prep_splice`](Sqe::prep_splice), [`prep_tee`](Sqe::prep_tee), [`prep_pipe`](Sqe::prep_pipe), [`prep_pipe_direct`](Sqe::prep_pipe_direct) |
//! | the table of registered files | [`prep_files_update`](Sqe::prep_files_update), [`prep_fixed_fd_install`](Sqe::prep_fixed_fd_install) |
//! | provided buffers | [`prep_provide_buffers`](Sqe::prep_provide_buffers), [`prep_remove_buffers`](Sqe::prep_remove_buffers) |
//! | sockets | [`prep_socket`](Sqe::prep_socket), [`prep_socket_direct`](Sqe::prep_socket_direct), [`prep_socket_direct_alloc`](Sqe::prep_socket_direct_alloc), [`prep_bind`](Sqe::prep_bind), [`prep_listen`](Sqe::prep_listen), [`prep_connect`](Sqe::prep_connect), [`prep_accept`](Sqe::prep_accept), [`prep_accept_direct`](Sqe::prep_accept_direct), [`prep_multishot_accept`](Sqe::prep_multishot_accept), [`prep_multishot_accept_direct`](Sqe::prep_multishot_accept_direct), [`prep_shutdown`](Sqe::prep_shutdown) |
//! | sending | [`prep_send`](Sqe::prep_send), [`prep_send_bundle`](Sqe::prep_send_bundle), [`prep_sendto`](Sqe::prep_sendto), [`send_set_addr`](Sqe::send_set_addr), [`prep_sendmsg`](Sqe::prep_sendmsg), [`prep_send_zc`](Sqe::prep_send_zc), [`prep_send_zc_fixed`](Sqe::prep_send_zc_fixed), [`prep_sendmsg_zc`](Sqe::prep_sendmsg_zc), [`prep_sendmsg_zc_fixed`](Sqe::prep_sendmsg_zc_fixed) |
//! | receiving | [`prep_recv`](Sqe::prep_recv), [`prep_recv_multishot`](Sqe::prep_recv_multishot), [`recv_limit`](Sqe::recv_limit), [`prep_recvmsg`](Sqe::prep_recvmsg), [`prep_recvmsg_multishot`](Sqe::prep_recvmsg_multishot), [`prep_recv_zc`](Sqe::prep_recv_zc) |
//! | readiness | [`prep_poll_add`](Sqe::prep_poll_add), [`prep_poll_multishot`](Sqe::prep_poll_multishot), [`prep_poll`](Sqe::prep_poll), [`prep_poll_remove`](Sqe::prep_poll_remove), [`prep_poll_update`](Sqe::prep_poll_update) |
//! | epoll | [`prep_epoll_ctl`](Sqe::prep_epoll_ctl), [`prep_epoll_wait`](Sqe::prep_epoll_wait) |
//! | time | [`prep_timeout`](Sqe::prep_timeout), [`prep_timeout_immediate`](Sqe::prep_timeout_immediate), [`prep_timeout_remove`](Sqe::prep_timeout_remove), [`prep_timeout_update`](Sqe::prep_timeout_update), [`prep_timeout_update_immediate`](Sqe::prep_timeout_update_immediate), [`prep_link_timeout`](Sqe::prep_link_timeout), [`prep_link_timeout_immediate`](Sqe::prep_link_timeout_immediate) |
//! | cancelling | [`prep_cancel`](Sqe::prep_cancel), [`prep_cancel64`](Sqe::prep_cancel64), [`prep_cancel_fd`](Sqe::prep_cancel_fd), [`prep_cancel_matching`](Sqe::prep_cancel_matching) |
//! | messages to rings | [`prep_msg_ring`](Sqe::prep_msg_ring), [`prep_msg_ring_cqe_flags`](Sqe::prep_msg_ring_cqe_flags), [`prep_msg_ring_fd`](Sqe::prep_msg_ring_fd), [`prep_msg_ring_fd_alloc`](Sqe::prep_msg_ring_fd_alloc) |
//! | futexes | [`prep_futex_wait`](Sqe::prep_futex_wait), [`prep_futex_wake`](Sqe::prep_futex_wake), [`prep_futex_waitv`](Sqe::prep_futex_waitv) |
//! | processes | [`prep_waitid`](Sqe::prep_waitid) |
//! | commands | [`prep_uring_cmd`](Sqe::prep_uring_cmd), [`prep_uring_cmd128`](crate::Slot128::prep_uring_cmd128), [`prep_cmd_sock`](Sqe::prep_cmd_sock), [`prep_cmd_siocinq`](Sqe::prep_cmd_siocinq), [`prep_cmd_siocoutq`](Sqe::prep_cmd_siocoutq), [`prep_cmd_getsockopt`](Sqe::prep_cmd_getsockopt), [`prep_cmd_setsockopt`](Sqe::prep_cmd_setsockopt), [`prep_cmd_tx_timestamp`](Sqe::prep_cmd_tx_timestamp), [`prep_cmd_getsockname`](Sqe::prep_cmd_getsockname), [`prep_cmd_discard`](Sqe::prep_cmd_discard), [`prep_cmd_zone_reset_all`](Sqe::prep_cmd_zone_reset_all) |
//! | nothing | [`prep_nop`](Sqe::prep_nop), [`prep_nop_with`](Sqe::prep_nop_with), [`prep_nop128`](crate::Slot128::prep_nop128) |
//!
//! # A prep resets everything
//!
//! A prep writes all 64 bytes of the SQE: nothing that was set before it is left,
//! neither by an earlier operation nor by a setter. So `user_data`, the flags and
//! the personality come after the prep:
//!
//! ```
//! # let mut sqe = ringway::Sqe::default();
//! // SAFETY: a NOP names no memory and no file.
//! unsafe { sqe.prep_nop() }.user_data(7).link();
//! ```
//!
//! Of a 128-byte SQE the prep writes the first half; the kernel reads the second
//! half for the 128-byte operations only.
//!
//! # What must stay alive, and until when
//!
//! A prep stores pointers and descriptors; the kernel follows them later. Its
//! `# Safety` names, for each, one of two moments until which it must stay alive,
//! unmoved, and unshared as far as the kernel writes to it:
//!
//! * **until submit**: until the kernel has consumed the SQE. What a small
//!   structure holds (a path, a timespec, an array of iovecs) is copied then, for
//!   linked and drained operations as well. On a ring that one thread owns, without
//!   SQPOLL, that is when the submit that takes the SQE returns. On a shared ring
//!   another thread may be entering the kernel for this one, and with SQPOLL the
//!   kernel's thread consumes at its leisure: there, a CQE of the operation is the
//!   proof, the first one if it posts several.
//! * **until the CQE**: until the last CQE of the operation, the one without the
//!   `MORE` flag. A cancelled operation has one too; the CQE of the cancel request
//!   is not it. Closing the ring does not replace it: the kernel may write to the
//!   buffers of operations that were in flight for a while after the close.
//!
//! That holds for a function that returns early as well, or panics, while operations are in
//! flight: leak the memory, as the examples do (`Box::leak`), or own it where it outlives the
//! operations.
//!
//! With [`Sqe::skip_success`] there may be no CQE: then the caller has to know by
//! other means that the operation has ended. An SQE that the kernel never consumes
//! needs nothing to stay alive.
//!
//! The CQE is the one that the kernel posts for the operation. A message with the same
//! `user_data` ([`prep_msg_ring`](Sqe::prep_msg_ring), [`Ring::wake`](crate::Ring::wake)) is
//! not it, and looks like it: give a ring's handles and descriptor only to code that is
//! trusted not to send one.
//!
//! A descriptor is looked up when the operation starts. That is after the submit if
//! the operation is linked, drained or [`force_async`](Sqe::force_async), or one that
//! the kernel gives to a worker in any case, as it does with an fsync. Keep it open
//! until the CQE, so that the number cannot name another file meanwhile; once started,
//! the operation holds the file itself. A file that an operation replaces in the table of
//! registered files ([`Direct::at`]) must be one that nobody counts on.
//!
//! An SQE may be copied from place to place before it is pushed, but for the operations of
//! [`Slot128`](crate::Slot128): they are pushed from the slot in which they were prepared. In
//! a place of 64 bytes the kernel would take the SQE behind it, whoever's that is, for the
//! second half.
//!
//! Every prep is `unsafe`, also the few that name no memory: what a thread hands
//! to the kernel is then found by one search.
//!
//! # Results
//!
//! `res` of the CQE is what the system call of that name returns, or a negative
//! error number. Besides the errors of that call each operation may end in
//! `ECANCELED` (cancelled, or an earlier operation of its chain failed, or it waited
//! for an event, which has come, and the thread that submitted it has exited), `EINVAL`
//! (a field or flag that this kernel does not know) and `EBADF` (no such descriptor or
//! fixed file). No argument is checked before the kernel is asked.
//!
//! # Who may call
//!
//! Any thread that holds the SQE; the methods write 64 bytes of memory and do
//! nothing else, so they never wait.

use crate::abi::Sqe;

mod buf;
mod cancel;
mod cmd;
mod dir;
mod epoll;
mod file;
mod fixed;
mod futex;
mod msg;
mod nop;
mod open;
mod poll;
mod process;
mod recv;
mod rw;
mod send;
mod setters;
mod socket;
mod splice;
mod stat;
mod target;
mod time;
mod xattr;

pub use cancel::CancelFlags;
pub use cmd::{SocketCmd, TxStage, TxTimestamp, UringCmdFlags};
pub use dir::{LinkFlags, RenameFlags, UnlinkFlags};
pub use file::{FallocateFlags, FsyncFlags, SyncFileRangeFlags};
pub use fixed::{InstallFlags, SKIP_FILE};
pub use futex::{FUTEX_MATCH_ANY, FutexFlags, FutexWaitv};
pub use msg::MsgRingFlags;
pub use nop::Nop;
pub use open::{OpenHow, ResolveFlags};
pub use poll::PollFlags;
pub use recv::{ControlMessage, ControlMessages, RecvFlags, RecvmsgOut, ZcrxCqe};
pub use rw::{CURRENT_POSITION, IoPriority, PiAttribute, PiFlags, RwFlags};
pub use send::{SendFlags, ZcUsage};
pub use socket::AcceptFlags;
pub use splice::SpliceFlags;
pub use stat::StatxFlags;
pub use target::{Dir, Direct, Fixed, Target};
pub use time::{TimeoutFlags, TimeoutUpdateFlags, Timespec};
pub use xattr::XattrFlags;

impl Sqe {
    /// Overwrites all 64 bytes: the one store that every prep ends in.
    #[inline(always)]
    fn reset_to(&mut self, sqe: Sqe) -> &mut Sqe {
        *self = sqe;
        self
    }
}

/// The address as the kernel takes it. The kernel will follow it, which the compiler
/// cannot see: so the pointer is exposed, not only read.
#[inline(always)]
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

#[cfg(test)]
mod tests;
