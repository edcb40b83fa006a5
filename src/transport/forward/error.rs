//! Why nobody is connected. Each is a sentence for the person.

use std::net::IpAddr;

use crate::backend::BackendError;
use crate::evidence::EvidenceError;
use crate::model::{Forbidden, TargetError};
use crate::policy::Denial;
use crate::transport::error::TransportError;

/// Why there is no connection to a forward's target.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there.
    #[error("nobody answers at {0}: the node's connection was refused")]
    Refused(String),
    /// The node could not connect, and its agent does not say why.
    #[error("the node could not connect to {0}")]
    Failed(String),
    /// The node has no way there.
    #[error("the node has no way to {0}")]
    Unreachable(String),
    /// The user that the relay runs as may not.
    #[error("the node does not let the user of this session connect to {0}")]
    NotPermitted(String),
    /// It did not answer.
    #[error("{0} did not answer the node in time")]
    TimedOut(String),
    /// The node knows no such name.
    #[error("the node finds no address of {0}")]
    NoSuchName(String),
    /// A name that stands for an address where nobody is led.
    #[error("{name} stands for {address} on the node: {why}")]
    Forbidden {
        /// The name.
        name: String,
        /// What it stands for.
        address: IpAddr,
        /// Why not there.
        why: Forbidden,
    },
    /// The agent leads nobody there.
    #[error("the node's agent does not connect to {0}")]
    ForbiddenByAgent(String),
    /// It is no target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Policy, of what a name stands for.
    #[error("{}", .0.text)]
    Denied(Denial),
    /// A name, where only the agent could look it up.
    #[error(
        "host names are looked up by the node's agent here, where nobody can see what they stand for, and this gateway does not let it; \
         ask for the address"
    )]
    NamesNotServed,
    /// A name that stands for the node itself, at its sshd's port: what leads there has another name in the record.
    #[error(
        "{0} is the node itself there, and that port its own sshd's; ask for localhost, which is a tunnel and needs a policy for it"
    )]
    OwnSshd(String),
    /// A name that may, where nobody sees it.
    #[error(
        "{name} is looked up by the node's agent here, where nobody sees whether it is the node itself, and port {port} is its sshd's; \
         ask for the address"
    )]
    MayBeOwnSshd {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// A tunnel to nobody.
    #[error("the node's own sshd, on its port {0}, says nothing; see that it runs there")]
    NoSshd(u16),
    /// A socket, where only the agent's port sessions are there.
    #[error("sockets of this node are not reached: it has no Python for the gateway's helper; ask for a TCP port")]
    SocketsNotServed,
    /// What carries the forward was lost; the text is a sentence.
    #[error("{0}")]
    NodeGone(String),
    /// The node, or the person's part of it, carries as much as may be; the text is a sentence.
    #[error("{0}")]
    Full(String),
    /// So many are on their way to that place.
    #[error("there are {0} connections to that place already, the most that one session carries; close some")]
    TooMany(usize),
    /// The way to the node did not open.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl From<BackendError> for DialError {
    fn from(error: BackendError) -> Self {
        Self::Transport(error.into())
    }
}

impl From<EvidenceError> for DialError {
    fn from(error: EvidenceError) -> Self {
        Self::Transport(error.into())
    }
}

impl DialError {
    /// Whether it is a refusal by rule, and not by what is there: `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` of RFC 4254, section 5.1, and
    /// not `SSH_OPEN_CONNECT_FAILED`.
    pub fn is_prohibited(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Failed(_)
            | Self::Unreachable(_)
            | Self::NotPermitted(_)
            | Self::TimedOut(_)
            | Self::NoSuchName(_)
            | Self::NoSshd(_)
            | Self::NodeGone(_)
            | Self::Full(_)
            | Self::TooMany(_) => false,
            Self::Transport(error) => !matches!(
                error,
                TransportError::Gone
                    | TransportError::GivenUp
                    | TransportError::Lane(_)
                    | TransportError::Backend(
                        BackendError::Unreachable(_) | BackendError::Target(_) | BackendError::Ended { .. }
                    )
            ),
            Self::Forbidden { .. }
            | Self::ForbiddenByAgent(_)
            | Self::Target(_)
            | Self::Denied(_)
            | Self::NamesNotServed
            | Self::OwnSshd(_)
            | Self::MayBeOwnSshd { .. }
            | Self::SocketsNotServed => true,
        }
    }

    /// Whether there is only no room for it now: `SSH_OPEN_RESOURCE_SHORTAGE`.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_) | Self::TooMany(_))
    }
}
