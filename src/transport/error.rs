//! Why a channel could not open, or ended before its command did. Each is a sentence for the person.

use super::lanes::LaneError;
use super::limits::LimitReached;
use super::parameter::NulInCommand;
use super::sshd::SshdError;
use crate::backend::BackendError;
use crate::evidence::EvidenceError;
use crate::model::counted;
use crate::policy::Denial;

/// Why there is no channel, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The channel has ended already.
    #[error("the channel to the node has ended")]
    Gone,
    /// Whoever asked for it has gone before anything was started.
    #[error("it was given up before there was a way to the node")]
    GivenUp,
    /// The grant is for something else than what it was brought for.
    #[error("{}", .0.text)]
    Denied(Denial),
    /// The grant is for files.
    #[error("what was allowed is neither a shell nor a command")]
    NothingToRun,
    /// The grant is for no forward.
    #[error("what was allowed is no connection through the node")]
    NothingToRelay,
    /// The person's command.
    #[error(transparent)]
    Command(#[from] NulInCommand),
    /// A user was named where only the agent's own shell is opened.
    #[error("this gateway opens the agent's own shell, which can't be opened as {0}; leave the user out")]
    AgentShellUser(String),
    /// The node carries as many channels as the configuration allows.
    #[error("{node} carries {} already, the most that this gateway allows", counted(*.most, "channel"))]
    NodeFull {
        /// The node, as the person wrote it.
        node: String,
        /// How many it carries.
        most: usize,
    },
    /// The person has as many channels there as the configuration allows one person.
    #[error("you have {} on {node} already, the most that one person may have there; close one", counted(*.most, "channel"))]
    NodeShareTaken {
        /// The node, as the person wrote it.
        node: String,
        /// How many they have.
        most: usize,
    },
    /// The gateway's own machine.
    #[error("the gateway's system has no random numbers: {0}")]
    NoRandomness(String),
    /// Systems Manager did not open a session, or did not say what the account asks of sessions.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A time limit ended it.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The lanes, or the helper at their other end.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// The node's own sshd.
    #[error(transparent)]
    Sshd(#[from] SshdError),
    /// No helper runs on the node; what is opened next goes another way.
    #[error("{0}; from now on the node's own sshd is tried there, so try again")]
    BySshdNext(String),
    /// What carries it and others is gone, or did not come.
    #[error("{0}")]
    HelperLost(String),
    /// The agent's own shell session was lost; the text is the data channel's.
    #[error("{0}")]
    ShellLost(String),
    /// It can't be recorded, so it can't go on.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}
