//! What a channel tells the application, and its figures.

use core::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::payload::{Flag, PayloadType, Size};

use super::stall::Stall;

/// News for the application, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Data may flow. Comes once, before any data; a second time only if a channel that was opened silently is offered
    /// a handshake after all.
    Established {
        /// `Port`, `NonInteractiveCommands`, …; `None` if there was no handshake.
        session_type: Option<String>,
        /// The properties of the session's document; null unless it is a port session.
        properties: Value,
        /// The agent's version, if it is known.
        agent_version: Option<String>,
        /// The client's version, if it is known.
        client_version: Option<String>,
        /// Whether there was a handshake.
        handshake: bool,
        /// A text for the user, often empty.
        customer_message: String,
    },
    /// Data of the stream: output, standard error, an exit code, or a type that this crate does not know.
    Data {
        /// What it is.
        kind: PayloadType,
        /// The body of one frame.
        bytes: Bytes,
    },
    /// The terminal has a new size.
    Size(Size),
    /// See [`Flag`].
    Flag(Flag),
    /// The service asks not to publish: the peer is away. An agent stops sending
    /// (agent/session/datachannel/datachannel.go, SendStreamDataMessage); a client goes on
    /// (src/datachannel/streaming.go, OutputMessageHandler).
    Paused,
    /// Publication goes on.
    Resumed,
    /// A sign that the channel is worse than slow; it goes on all the same.
    Stalled(Stall),
    /// The service ended the session. Nothing comes after it.
    Closed {
        /// A text for the user, often empty.
        output: String,
    },
}

impl Event {
    /// What it counts for in the receive buffer: small frames cost more than their bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len() + OVERHEAD,
            _ => OVERHEAD,
        }
    }
}

/// A channel's figures since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Smoothed round trip; `None` before the first measurement.
    pub rtt: Option<Duration>,
    /// The least round trip of the last minutes.
    pub rtt_min: Option<Duration>,
    /// How long an acknowledgement may take before a frame is sent again.
    pub rto: Duration,
    /// The send window in bytes.
    pub window: usize,
    /// Bytes on their way, neither acknowledged nor given up.
    pub in_flight: usize,
    /// Frames not acknowledged.
    pub outstanding: usize,
    /// Bytes that wait to be cut into frames and sent.
    pub queued: usize,
    /// Frames of stream data sent, each counted once.
    pub frames_sent: u64,
    /// Frames sent again.
    pub retransmits: u64,
    /// Frames of stream data taken in order.
    pub frames_received: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// Frames that wait for an earlier one now.
    pub reorder_frames: usize,
    /// Frames dropped because too many waited for an earlier one.
    pub overflows: u64,
    /// Frames of stream data refused because the application was not ready (agent).
    pub rejected: u64,
    /// Frames acknowledged and discarded because the handshake was not finished (agent).
    pub early: u64,
    /// Websocket messages that were no frame, or damaged, or of a type that means nothing here.
    pub ignored: u64,
    /// Acknowledgements sent.
    pub acks_sent: u64,
    /// Acknowledgements that took a frame off the list.
    pub acks_received: u64,
    /// Acknowledgements that wait to be sent.
    pub acks_owed: usize,
    /// How often the websocket came up.
    pub connections: u64,
}

/// Bytes that an event counts for besides its body: about what it takes in the queue.
const OVERHEAD: usize = 64;
