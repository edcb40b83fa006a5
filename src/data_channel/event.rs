//! What a data channel tells whoever uses it: in order, and past everything that waits to be read.

use bytes::Bytes;
pub use portcullis_protocol::channel::Stall;
use portcullis_protocol::channel::{ChannelError, Event};
use portcullis_protocol::payload::ExitCode;
use portcullis_protocol::{Flag, PayloadType};

/// What comes out of a data channel, in the client's role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// The handshake is done, or the first output has come: data may be sent.
    Established,
    /// Output (payload type 1).
    Output(Bytes),
    /// Standard error (payload type 11).
    StdErr(Bytes),
    /// `EXIT_CODE: n` (payload type 12).
    ExitCode(i32),
    /// The agent could not connect to the port (flag 3).
    ConnectFailed,
    /// The websocket was lost and is back; nothing of the channel was lost. But the service may have paused the agent
    /// meanwhile, which kills a NonInteractiveCommands session with separate streams: ask whoever is there for a sign.
    Reconnected,
    /// The service has asked not to publish, or to go on: the other end is, or was, away, and what was on its way to it may
    /// be lost.
    Interrupted,
    /// A sign that the channel is worse than slow; it goes on all the same.
    Stalled(Stall),
    /// The service or the agent closed the channel, with the text it gave.
    Closed(String),
    /// The channel broke and could not be resumed; the sentence says why. Nothing follows.
    Lost(String),
}

/// What comes out of a data channel, as the core says it: for the agent's role.
#[derive(Clone, Debug, PartialEq)]
pub enum DriverEvent {
    /// News of the core.
    Channel(Event),
    /// The websocket was lost and is back.
    Reconnected,
    /// The channel broke. Nothing follows.
    Lost(Loss),
}

/// Why a channel broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The websocket was lost and did not come back; the sentence says why.
    #[error("{0}")]
    Disconnected(String),
    /// The protocol's core gave the channel up.
    #[error(transparent)]
    Failed(ChannelError),
}

/// How a channel stands, told past what waits to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelStatus {
    /// The service asks not to publish. Only an agent obeys.
    pub paused: bool,
    /// How often it has asked so: a pause may be over before anybody looks.
    pub pauses: u64,
    /// The channel is over.
    pub end: Option<ChannelEnd>,
}

/// How a channel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEnd {
    /// The service closed it.
    Closed,
    /// It broke.
    Lost(Loss),
}

impl ChannelEvent {
    /// A driver's news in a client's words; what means nothing to a client (types unknown here) is nothing.
    pub(super) fn from_driver(event: DriverEvent) -> Option<Self> {
        match event {
            DriverEvent::Reconnected => Some(Self::Reconnected),
            DriverEvent::Lost(loss) => Some(Self::Lost(loss.to_string())),
            DriverEvent::Channel(event) => match event {
                Event::Established { .. } => Some(Self::Established),
                Event::Data { kind: PayloadType::Output, bytes } => Some(Self::Output(bytes)),
                Event::Data { kind: PayloadType::StdErr, bytes } => Some(Self::StdErr(bytes)),
                Event::Data { kind: PayloadType::ExitCode, bytes } => Some(match ExitCode::decode(&bytes) {
                    Ok(ExitCode(code)) => Self::ExitCode(code),
                    Err(error) => Self::Lost(format!("the node reported an exit code that makes no sense: {error}")),
                }),
                Event::Flag(Flag::ConnectToPortError) => Some(Self::ConnectFailed),
                Event::Closed { output } => Some(Self::Closed(output)),
                Event::Paused | Event::Resumed => Some(Self::Interrupted),
                Event::Stalled(stall) => Some(Self::Stalled(stall)),
                Event::Data { .. } | Event::Flag(_) | Event::Size(_) => None,
            },
        }
    }
}
