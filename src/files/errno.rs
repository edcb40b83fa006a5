//! The numbers by which the node's kernel refuses, as Linux has them on every architecture that Systems Manager knows
//! (`asm-generic/errno.h`). The gateway may run elsewhere, so they are the node's and not this machine's.

pub(super) const EPERM: i32 = 1;
pub(super) const ENOENT: i32 = 2;
pub(super) const EBADF: i32 = 9;
pub(super) const EACCES: i32 = 13;
pub(super) const EFAULT: i32 = 14;
pub(super) const ENOTDIR: i32 = 20;
pub(super) const EINVAL: i32 = 22;
pub(super) const ENAMETOOLONG: i32 = 36;
pub(super) const ENOSYS: i32 = 38;
pub(super) const ELOOP: i32 = 40;
