//! Why a channel failed, by whose fault it is. A failed channel stays failed: every later call returns the same error.

use core::time::Duration;

use crate::payload::{ActionStatus, PayloadError, PayloadType};

/// The channel is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Too long without a sign from the other end.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// Our own program used the channel wrongly.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The other end asks for something that we have not, or has not what we ask for.
    #[error(transparent)]
    PeerIncompatible(#[from] PeerIncompatible),
    /// The other end broke the protocol.
    #[error(transparent)]
    PeerMisbehaved(#[from] PeerMisbehaved),
}

/// Too long without a sign from the other end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The websocket went away and did not come back.
    #[error("the websocket has been gone for {} s, and the session was not resumed", after.as_secs())]
    Disconnected {
        /// How long.
        after: Duration,
    },
    /// The agent's request for a handshake was not answered. The text is the agent's
    /// (agent/session/plugins/sessionplugin/sessionplugin.go, Execute, around PerformHandshake's).
    #[error(
        "Encountered error while initiating handshake. Handshake timed out. Please ensure that you have the latest \
         version of the session manager plugin."
    )]
    Handshake,
    /// The agent began a handshake with this client and never ended it.
    #[error("the node's agent began a handshake, but did not complete it within {} s of the connection", after.as_secs())]
    Incomplete {
        /// How long.
        after: Duration,
    },
    /// The client has heard nothing of a session: no handshake, no output.
    #[error("the node sent neither a handshake nor output within {} s of the connection", after.as_secs())]
    Silent {
        /// How long.
        after: Duration,
    },
    /// Frames were sent and sent again, and none was acknowledged.
    #[error(
        "nothing was acknowledged for {} s: frame {sequence}, sent {sends} times, is the oldest of {outstanding} \
         outstanding", after.as_secs()
    )]
    Unacknowledged {
        /// How long.
        after: Duration,
        /// The oldest frame.
        sequence: i64,
        /// How often it was sent.
        sends: u32,
        /// How many frames wait for acknowledgement.
        outstanding: usize,
    },
}

/// Our own program used the channel wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// The handshake is the channel's own business.
    #[error("payloads of type {0:?} belong to the handshake and are not for the application to write")]
    Reserved(PayloadType),
}

/// The other end asks for something that we have not, or has not what we ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerIncompatible {
    /// The client did not do what the agent asked. This is the text the agent reports
    /// (agent/session/datachannel/datachannel.go, handleHandshakeResponse).
    #[error("{name} failed on client with status {} error: {error}", u32::from(*status))]
    ActionFailed {
        /// The action.
        name: String,
        /// What the client said.
        status: ActionStatus,
        /// Its reason.
        error: String,
    },
    /// The agent asks for an action that this client does not know.
    #[error("the node's agent asks for the action {0:?}, which this client does not know")]
    Action(String),
    /// The agent wants the session's data encrypted with a KMS key.
    #[error(
        "the session's document asks for encryption with the KMS key {key_id:?}, which this client does not do yet"
    )]
    Encryption {
        /// The key.
        key_id: String,
    },
    /// The agent asks for a handshake, but the channel was opened silently and data is already on its way: the agent
    /// would acknowledge and discard it.
    #[error("the node's agent asks for a handshake after data was sent without one, and has discarded that data")]
    HandshakeAfterData,
    /// The agent offers a type of session that this client does not know.
    #[error("the node's agent offers a session of type {0:?}, which this client does not know")]
    SessionType(String),
}

/// The other end broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerMisbehaved {
    /// A body that cannot be read, in a frame whose digest is right.
    #[error("frame {sequence} makes no sense: {error}")]
    BadPayload {
        /// The frame.
        sequence: i64,
        /// What is wrong with it.
        error: PayloadError,
    },
    /// A part of the handshake at the wrong time or from the wrong end.
    #[error("frame {sequence} is of type {kind:?}, which does not belong here: {state}")]
    UnexpectedHandshake {
        /// The frame.
        sequence: i64,
        /// Its type.
        kind: PayloadType,
        /// Where the channel was.
        state: &'static str,
    },
}
