//! What a channel's user decides about its driving: sizes, patience, and when to let go.

use std::time::Duration;

use portcullis_protocol::channel::Limits;

use super::keepalive::Keepalive;
use super::reconnect::ReconnectPolicy;

/// A single frame that was lost comes again in a fifth of a second; what is not there after this long was a row of them,
/// which comes back at ten a second.
const GAP_PATIENCE: Duration = Duration::from_secs(1);
/// An agent acknowledges what it has written to a terminal or a port at once; it sends again what it misses twice a second.
const ACK_PATIENCE: Duration = Duration::from_secs(2);
/// A small node under load may take half a minute to start a worker, and several do so at once.
const ESTABLISH_PATIENCE: Duration = Duration::from_secs(120);

/// How to drive a channel.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Frame size, buffers and timers of the core.
    pub limits: Limits,
    /// Client: send without waiting for the node to speak first, for InteractiveCommands sessions whose command is silent.
    pub silent: bool,
    /// What to do when the websocket is lost.
    pub reconnect: ReconnectPolicy,
    /// When a websocket that says nothing is dead.
    pub keepalive: Keepalive,
    /// How many bytes writers may have waiting in front of the core.
    pub outbox: usize,
    /// How many bytes may wait for the reader; as many again are in the reader's own batch. One event always may.
    pub inbox: usize,
    /// After an exit code has come, how long the service has to close the channel by itself when nobody is left here.
    pub linger: Duration,
}

impl Default for ChannelOptions {
    /// What a client wants.
    fn default() -> Self {
        // What waits in the core can't be overtaken by a size or a flag, so most of it waits in front.
        let limits = Limits {
            send_buffer: 64 << 10,
            receive_buffer: 256 << 10,
            gap_patience: Some(GAP_PATIENCE),
            ack_patience: Some(ACK_PATIENCE),
            establish_timeout: Some(ESTABLISH_PATIENCE),
            ..Limits::default()
        };
        Self {
            limits,
            silent: false,
            reconnect: ReconnectPolicy::default(),
            keepalive: Keepalive::every(Duration::from_secs(25)),
            outbox: 256 << 10,
            inbox: 256 << 10,
            linger: Duration::from_secs(3),
        }
    }
}
