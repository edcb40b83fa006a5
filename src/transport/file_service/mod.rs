//! The file service on a node: what SFTP and SCP are mapped on.
//!
//! ```text
//!                                 ┌─▶ wire ──────▶ the helper's input
//!  FileService::issue(Operation) ─┤   wire ◀────── the helper's output
//!        ▲ Answer, FileError      └─▶ over_sftp ◀─▶ the node's own SFTP server
//! ```

mod code;
pub mod errno;
mod operation;
pub mod over_sftp;
mod service;
pub mod sftp;
mod wire;

#[cfg(test)]
pub(super) use code::Code;
pub use operation::{
    Answer, Attributes, Entry, FileError, Handle, LARGEST_READ, LARGEST_WRITE, LONGEST_LISTING, OpenFlags, Operation,
};
#[cfg(test)]
pub use operation::{FileSystem, Opened};
#[cfg(test)]
pub use service::Call;
pub use service::FileService;
pub(super) use wire::start;
