//! The third rung: an inner SSH client to the node's own sshd, over Session Manager's port session for SSH. For nodes on which no helper
//! runs, since they have neither Python nor a usable shell.
//!
//! ```text
//!   channel ⇄ run ⇄ NodeChannel ┬─ Connection ═ russh ═ AWS-StartSSHSession ═ agent ═ sshd
//!   channel ⇄ run ⇄ NodeChannel ┘
//! ```
//!
//! docs/decisions/0048 says why.
//!
//! | file | what |
//! | --- | --- |
//! | `options` | what the configuration says of it |
//! | `credential` | what is logged in with |
//! | `host_key` | whether a node is who it should be |
//! | `client` | what the SSH library calls |
//! | `inbox` | what was said on a channel and nobody has taken |
//! | `connect` | a connection, and the channels on it |
//! | `connections` | one SSH client's connections: who may share one |
//! | `begin` | a terminal, variables, and what to run |
//! | `open` | a shell or a command on its way |
//! | `files` | its SFTP server, as the file service |
//! | `run` | the task between a channel there and its client |

mod begin;
mod client;
mod connect;
mod connections;
mod credential;
mod error;
mod files;
mod host_key;
mod inbox;
mod open;
mod options;
mod run;
#[cfg(test)]
mod tests;

pub(super) use connections::Connections;
pub use credential::{Credential, UserCa};
pub use error::SshdError;
pub use host_key::HostKeyRules;
pub use options::SshdOptions;
