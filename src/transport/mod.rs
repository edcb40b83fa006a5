//! How one SSH channel reaches the node: a command, a shell, a file service or a relay over Session Manager sessions (lanes).

mod account;
mod agent_shell;
mod channel;
mod context;
mod descent;
mod end_cause;
mod environment;
mod error;
pub mod file_service;
mod forward;
pub mod helper;
mod herald;
mod ladder;
mod lane_opener;
mod lanes;
mod limits;
mod node_places;
mod open;
mod options;
pub mod parameter;
mod plain_port;
pub mod relay;
pub mod ride;
mod sharing;
mod sshd;
#[cfg(test)]
pub(crate) mod tests;

pub use channel::{Addresses, ChannelSetup, Input, OpenChannel, Output, PtyRequest, Said};
#[cfg(test)]
pub(crate) use channel::{Control, InputData, Out};
pub use error::TransportError;
pub use forward::{DialError, ForwardLimits, ForwardReader, ForwardStream, ForwardWriter, Ports};
pub use helper::program::{OUT_DOCUMENT, documents};
pub use herald::{Herald, News};
pub use limits::{Lifetime, LimitReached};
pub use ride::Commands;
pub use sshd::{Credential, HostKeyRules, SshdOptions, UserCa};

pub use open::{Transport, TransportOptions};
