//! What a channel is told when it is made: its role and its limits.

use core::time::Duration;

use crate::payload::SessionType;

/// Which end of the channel this is.
#[derive(Clone, Debug)]
pub enum Role {
    /// The end that asked for the session.
    Client(ClientRole),
    /// The end on the node.
    Agent(AgentRole),
}

/// What a client says about itself.
#[derive(Clone, Debug)]
pub struct ClientRole {
    /// Four components, such as `1.2.764.0`. Above 1.2.331.0 the agent leaves the multiplexer's keep-alive off
    /// ([`Version::CLIENT_WITH_KEEPALIVE`](crate::version::Version::CLIENT_WITH_KEEPALIVE)).
    pub version: String,
}

/// What an agent says about itself, and how it behaves.
#[derive(Clone, Debug)]
pub struct AgentRole {
    /// Four components, such as `3.3.0.0`; clients do not understand fewer (src/version/versionvalidator.go: what
    /// cannot be compared supports nothing).
    pub version: String,
    /// The session's type, told in a handshake. `None` is a session without one: Standard_Stream and
    /// InteractiveCommands, unless they are encrypted (agent/session/plugins/sessionplugin/sessionplugin.go, Execute).
    pub handshake: Option<SessionType>,
    /// A text for the user at the end of the handshake.
    pub customer_message: String,
    /// Ask clients up to 1.2.295 to update, as the agent does when a command has separate output streams
    /// (agent/session/datachannel/datachannel.go, buildHandshakeCompletePayload).
    pub asks_old_clients_to_update: bool,
    /// What becomes of frames that are not acknowledged.
    pub resends: Resends,
}

/// How an agent sends again what is not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resends {
    /// Whatever is found to be lost, at once, and everything after a new websocket; so nothing is sent that is known to
    /// arrive nowhere, and no more than the window.
    #[default]
    Lost,
    /// As AWS's agent does (agent/session/datachannel/datachannel.go): only the oldest one, and only when the clock of
    /// 100 ms ticks (ResendStreamDataMessageScheduler). While the websocket is away or publication is paused, frames are
    /// numbered and kept as if they had been sent (SendStreamDataMessage); nothing is sent again for a new websocket
    /// (Reconnect), acknowledgements neither. There is no window. And what it has delivered it still expects until the
    /// acknowledgement is written (handleStreamDataMessage): where the websocket goes in between, the frame is delivered
    /// twice (observed).
    OldestOnly,
}

impl Default for AgentRole {
    fn default() -> Self {
        Self {
            version: AGENT_VERSION.to_owned(),
            handshake: None,
            customer_message: String::new(),
            asks_old_clients_to_update: false,
            resends: Resends::default(),
        }
    }
}

/// How much a channel may hold, send and wait.
///
/// Memory is bounded by `send_buffer` + `window_max` outwards and by `receive_buffer` + `reorder_bytes` inwards, plus one
/// websocket message each.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of data per frame. Agent and client of AWS use 1024 (StreamDataPayloadSize in
    /// agent/session/config/config.go and src/config/config.go); what the service takes beyond is unknown.
    pub payload: usize,
    /// Bytes of data that [`super::DataChannel::write`] takes ahead of what is sent.
    pub send_buffer: usize,
    /// The send window at the start, and the least it ever shrinks to, in bytes on the wire.
    pub window_min: usize,
    /// The most the send window grows to, in bytes on the wire.
    pub window_max: usize,
    /// The most frames between the oldest unacknowledged and the newest one. The client of AWS has room for 10,000
    /// (IncomingMessageBufferCapacity in src/config/config.go).
    pub window_frames: usize,
    /// Undelivered bytes beyond which [`super::DataChannel::wants_input`] asks the driver to stop reading.
    pub receive_buffer: usize,
    /// Frames held because an earlier one is missing; more are dropped, unacknowledged. At most 40,000 in a client: an
    /// agent takes an acknowledgement that much later for one of everything before.
    pub reorder_frames: usize,
    /// Bytes held because an earlier frame is missing; more are dropped, unacknowledged.
    pub reorder_bytes: usize,
    /// How long an acknowledgement may wait for others, as in TCP (RFC 1122, 4.2.3.2): a few go at once, one alone lets
    /// the application go first, so that the echo of a key does not stand behind it.
    pub ack_delay: Duration,
    /// How long to wait for an acknowledgement before the first round trip is known: DefaultTransmissionTimeout in
    /// agent/session/config/config.go, and not the second of RFC 6298, section 2.1.
    pub rto_initial: Duration,
    /// The least time to wait for an acknowledgement. Agent and client have none; but they look only once in 100 ms
    /// (ResendSleepInterval). The second of RFC 6298, section 2.4, would be felt by whoever types.
    pub rto_min: Duration,
    /// The most time to wait for an acknowledgement: MaxTransmissionTimeout in agent/session/config/config.go. RFC
    /// 6298, section 2.5, allows for a maximum only from 60 s; but here a websocket, and not a network, is asked to
    /// carry more.
    pub rto_max: Duration,
    /// How long nothing at all may be acknowledged while something is outstanding and the websocket is up. The client
    /// of AWS gives up after 5 minutes (ResendMaxAttempt in src/config/config.go), the agent never
    /// (agent/session/datachannel/datachannel.go, ResendStreamDataMessageScheduler). A blocked terminal on the node
    /// does not acknowledge either.
    pub ack_timeout: Option<Duration>,
    /// How long a client waits for its peer's first frame, and for the end of the handshake.
    pub establish_timeout: Option<Duration>,
    /// How long an agent waits for the answer to its handshake request (agent/session/datachannel/datachannel.go,
    /// `handshakeTimeout`).
    pub handshake_timeout: Duration,
    /// How long a row of missing frames may keep later ones waiting, and frames come again without anything new, before
    /// [`super::Event::Stalled`] says so.
    pub gap_patience: Option<Duration>,
    /// How long nothing may be acknowledged before it says so.
    pub ack_patience: Option<Duration>,
    /// How long the websocket may be gone.
    pub reconnect_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload: STREAM_DATA_PAYLOAD_SIZE,
            send_buffer: 256 << 10,
            window_min: 64 << 10,
            window_max: 8 << 20,
            // with room to spare below the 10,000 of AWS's client
            window_frames: 8192,
            receive_buffer: 1 << 20,
            reorder_frames: 32 << 10,
            reorder_bytes: 32 << 20,
            // RFC 1122 allows for half a second; a key's echo takes less
            ack_delay: Duration::from_millis(2),
            rto_initial: Duration::from_millis(200),
            rto_min: Duration::from_millis(20),
            rto_max: Duration::from_secs(1),
            ack_timeout: Some(Duration::from_secs(300)),
            establish_timeout: Some(Duration::from_secs(60)),
            handshake_timeout: Duration::from_secs(15),
            gap_patience: None,
            ack_patience: None,
            reconnect_timeout: Some(Duration::from_secs(900)),
        }
    }
}

/// Bytes of data per frame: agent/session/config/config.go and src/config/config.go.
const STREAM_DATA_PAYLOAD_SIZE: usize = 1024;
/// The agent whose sources are cited here (its file VERSION).
const AGENT_VERSION: &str = "3.3.0.0";
