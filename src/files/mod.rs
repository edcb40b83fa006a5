//! SFTP and SCP, answered by the gateway itself and mapped on the node's file service.
//!
//! ```text
//!  sftp subsystem ─▶ sftp (version 3) ─┐
//!                                      ├─▶ access: resolve ─▶ decide ─▶ carry out ─▶ record ─▶ FileService ─▶ node
//!  exec "scp -t …" ─▶ scp (1.0) ───────┘                        │                       │
//!                                                          Grant::judge             FileEvents
//! ```
//!
//! There is one way to the node's files, `access`: an operation is decided on the path that is really meant (links
//! resolved; for an open, the path the node's kernel opened), and recorded with what came of it. File names are bytes
//! throughout: nothing here needs them to be UTF-8.

mod access;
mod error;
mod ledger;
mod mode;
mod open_file;
mod paths;
mod read_ahead;
mod record;
pub mod scp;
pub mod sftp;
#[cfg(test)]
mod tests;

pub use error::FilesError;
pub use ledger::FileLedger;
#[cfg(test)]
pub(crate) use ledger::{FileEvent, FileEvents, Hashed, Outcome};
pub use scp::{ScpCommand, parse_scp_command, serve_scp};
pub use sftp::{refuse_sftp, serve_sftp};
