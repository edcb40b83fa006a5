//! The file service over a node's own SFTP server: the gateway is its client, and asks in version 3 with OpenSSH's
//! extensions where they are offered.
//!
//! ```text
//!  Call ─▶ carry_out: one after the other ─▶ connection: ids, room ─▶ stream ─▶ sftp-server
//!            │ opening, transfer, listing       │
//!  Answer ◀──┴── a task for each ◀──────────────┴── answers, by their ids ◀──── stream
//! ```
//!
//! A server carries requests out in the order in which it got them, so it is enough to send them in the order of the
//! operations. What takes several requests, each knowing what the last one said (an open, a copy), is done before the next
//! operation is begun.
//!
//! **Which file was opened.** The protocol can't tell of a handle what it is. So a path is resolved by the server, the real
//! path is opened, and then the handle and the path are compared: it must lead over no link still, and be the same file by
//! all that the protocol tells (type, permissions, owner, and size and time as far as they hold still). Anything else is
//! closed and refused. What is left is in docs/threats.md.
//!
//! **What the protocol can't do** is refused as unsupported (`ENOSYS`), and nothing is made up. Its statuses say less than
//! `errno`: what is only a "failure" is an `EIO` with the server's words, unless it is clear that a name was there already
//! (`EEXIST`).

mod carry_out;
mod connection;
mod error;
mod greeting;
mod listing;
#[cfg(test)]
mod meanwhile_tests;
mod opening;
#[cfg(test)]
mod tests;
mod transfer;

#[cfg(test)]
use carry_out::serve;
pub use carry_out::start;
pub use connection::Why;
