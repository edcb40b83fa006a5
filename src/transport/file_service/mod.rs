//! The file service on a node: what SFTP and SCP are mapped on.
//!
//! ```text
//!  FileService::issue(Operation) ──▶ wire ──▶ the helper's input
//!        ▲ Answer, FileError         wire ◀── the helper's output
//! ```

mod code;
mod operation;
mod service;
mod wire;

#[cfg(test)]
pub(super) use code::Code;
#[cfg(test)]
pub(crate) use operation::Opened;
pub use operation::{
    Answer, Attributes, Entry, FileError, FileSystem, Handle, LARGEST_READ, LARGEST_WRITE, LONGEST_LISTING, OpenFlags,
    Operation,
};
#[cfg(test)]
pub(crate) use service::Call;
pub use service::FileService;
pub(super) use wire::start;
