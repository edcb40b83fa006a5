//! The numbers by which the node's kernel refuses, as Linux has them on every architecture that Systems Manager knows
//! (`asm-generic/errno.h`). The gateway may run elsewhere, so they are the node's and not this machine's.
#![allow(missing_docs, reason = "the names are those of `errno(3)`")]

pub const EPERM: i32 = 1;
pub const ENOENT: i32 = 2;
pub const EIO: i32 = 5;
pub const EBADF: i32 = 9;
pub const EACCES: i32 = 13;
pub const EFAULT: i32 = 14;
pub const EEXIST: i32 = 17;
pub const ENOTDIR: i32 = 20;
pub const EISDIR: i32 = 21;
pub const EINVAL: i32 = 22;
pub const EMFILE: i32 = 24;
pub const ENAMETOOLONG: i32 = 36;
pub const ENOSYS: i32 = 38;
pub const ELOOP: i32 = 40;
pub const EOPNOTSUPP: i32 = 95;
pub const ESTALE: i32 = 116;
