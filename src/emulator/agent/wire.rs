//! A session's end of its data channel: what the shared driver says, in the agent's words.
//!
//! ```text
//!               ┌─ send, flag, drain ─▶ ChannelWriter ─┐
//!    session ───┤                                      driver ⇄ websocket, again after a loss (connector)
//!               ├◀─ Arrivals ───────── EventReader ────┤
//!               └◀─ paused, over ───── status ─────────┘
//! ```
//!
//! The driver stops reading the websocket while the session does not take what arrived, so a terminal that does not read
//! holds its client back, and no one else: every session has a driver of its own.
//!
//! What is the agent's own: frames are lost as the real one loses them, unless it is in a hurry (`manner`); it waits at most two seconds for acknowledgements; a channel that the service closed or that
//! broke the rules cancels its session; one whose websocket does not come back does not: the session runs on without its
//! client, and what it writes waits, until the control channel ends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use portcullis_protocol::channel::{AgentRole, Event, Limits, Role};
use portcullis_protocol::payload::{SessionState, SessionType};
use portcullis_protocol::{Flag, PayloadType, Size};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connector::{AgentConnector, KEEPALIVE};
use super::context::{Context, VERSION};
use crate::data_channel::{
    ChannelEnd, ChannelOptions, ChannelStatus, ChannelWriter, ConnectError, DriverEvent, EventReader, Loss,
    ReconnectPolicy, open_prepared,
};

/// How long an agent waits for acknowledgements when a session ends (agent/session/datachannel/datachannel.go).
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// The session's end of its data channel. When it and the arrivals are dropped the websocket closes without a word, as
/// the real agent's does.
#[derive(Debug)]
pub(super) struct Wire {
    writer: ChannelWriter,
    status: watch::Receiver<ChannelStatus>,
    session_id: String,
    cancel: CancellationToken,
}

/// What arrives for the session, in order.
#[derive(Debug)]
pub(super) struct Arrivals {
    events: EventReader,
}

/// One thing from the client.
#[derive(Debug)]
pub(super) enum Arrival {
    Data(Bytes),
    Size(Size),
    Flag(Flag),
}

/// Nothing can be sent any more, and the session is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// How a data channel is opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) session_id: String,
    /// Told in a handshake; `None` for sessions that have none.
    pub(super) handshake: Option<SessionType>,
    pub(super) separate_streams: bool,
    /// Whether input is taken before [`Wire::ready`] was called.
    pub(super) ready: bool,
    /// Cancelled when the service closes the channel.
    pub(super) cancel: CancellationToken,
}

impl Wire {
    /// Gets a token, opens the websocket and starts the driver.
    pub(super) async fn open(context: &Arc<Context>, opening: Opening) -> Result<(Self, Arrivals), ConnectError> {
        let Opening { session_id, handshake, separate_streams, ready, cancel } = opening;
        let role = Role::Agent(AgentRole {
            version: VERSION.to_owned(),
            handshake,
            asks_old_clients_to_update: separate_streams,
            resends: context.manner.resends,
            ..AgentRole::default()
        });
        let connector = Arc::new(AgentConnector::new(Arc::clone(context), session_id.clone()));
        let channel = open_prepared(connector, role, options(context), |core, now| {
            // Only after the first websocket, and before anything else on it: not after a reconnection.
            core.send_session_state(now, SessionState::Connected, &session_id);
            core.set_ready(ready);
        });
        let channel = channel.await?;
        tokio::spawn(cancel_at_end(channel.status.clone(), cancel.clone()));
        let wire = Self { writer: channel.writer, status: channel.status, session_id, cancel };
        Ok((wire, Arrivals { events: channel.reader }))
    }

    /// Why the channel failed, if it did.
    pub(super) fn fault(&self) -> Option<String> {
        match &self.status.borrow().end {
            Some(ChannelEnd::Lost(Loss::Failed(error))) => Some(error.to_string()),
            _ => None,
        }
    }

    /// Sends data; waits while the client does not keep up. Nothing is sent of nothing.
    pub(super) async fn send(&self, kind: PayloadType, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() || self.writer.send_as(kind, bytes).await.is_ok() { Ok(()) } else { self.gone().await }
    }

    /// For what is sent from a task of its own.
    pub(super) fn writer(&self) -> ChannelWriter {
        self.writer.clone()
    }

    /// Input is taken from now on. A channel that is over takes none, and says so elsewhere.
    pub(super) fn ready(&self) {
        let _ = self.writer.set_ready(true);
    }

    /// Waits until the client has acknowledged everything, at most two seconds.
    pub(super) async fn drain(&self) {
        if tokio::time::timeout(DRAIN_MAX, self.writer.drain()).await.is_err() {
            tracing::debug!("the client has not acknowledged everything within {} s", DRAIN_MAX.as_secs());
        }
    }

    /// Tells the service, not the client, that the program has ended.
    pub(super) fn terminating(&self) {
        let _ = self.writer.session_state(SessionState::Terminating, &self.session_id);
    }

    /// Whether the service asks not to publish. This overtakes data that waits to be taken, as it does in the real agent.
    pub(super) fn is_paused(&self) -> bool {
        self.status.borrow().paused
    }

    /// How often it has asked so.
    pub(super) fn pauses(&self) -> u64 {
        self.status.borrow().pauses
    }

    /// Waits while publication is paused.
    pub(super) async fn until_active(&self) -> Result<(), Gone> {
        if !self.is_paused() {
            return Ok(());
        }
        let mut status = self.status.clone();
        let active = status.wait_for(|status| !status.paused).await.is_ok();
        if active { Ok(()) } else { self.gone().await }
    }

    /// Whoever finds the channel over finds the session cancelled as well: a pump must not take it for its source's end.
    async fn gone(&self) -> Result<(), Gone> {
        self.cancel.cancelled().await;
        Err(Gone)
    }
}

impl Arrivals {
    /// Waits until data may flow. Gives the client's version if there was a handshake, or a sentence why there is none.
    pub(super) async fn established(&mut self) -> Result<Option<String>, String> {
        loop {
            match self.events.next().await {
                Some(DriverEvent::Channel(Event::Established { client_version, .. })) => return Ok(client_version),
                Some(DriverEvent::Lost(Loss::Failed(error))) => return Err(error.to_string()),
                // The client may have told its terminal's size already, to nobody's use.
                Some(_) => {}
                // Closed, or without its websocket: the session is cancelled, now or at last.
                None => std::future::pending().await,
            }
        }
    }

    /// The next thing from the client; `None` when the channel is over. May be cancelled without losing any.
    pub(super) async fn recv(&mut self) -> Option<Arrival> {
        loop {
            match self.events.next().await? {
                // What the agent does not know it takes for data, but only data is data.
                DriverEvent::Channel(Event::Data { kind: PayloadType::Output, bytes }) => {
                    return Some(Arrival::Data(bytes));
                }
                DriverEvent::Channel(Event::Size(size)) => return Some(Arrival::Size(size)),
                DriverEvent::Channel(Event::Flag(flag)) => return Some(Arrival::Flag(flag)),
                DriverEvent::Channel(_) | DriverEvent::Reconnected | DriverEvent::Lost(_) => {}
            }
        }
    }
}

fn options(context: &Context) -> ChannelOptions {
    let manner = &context.manner;
    let limits = Limits {
        // What was held back of a character may come on top.
        payload: manner.payload + 3,
        send_buffer: manner.send_buffer,
        receive_buffer: manner.receive_buffer,
        window_min: (64 << 10).max(manner.payload * 4),
        ack_delay: manner.ack_delay,
        ack_timeout: None,
        reconnect_timeout: None,
        ..Limits::default()
    };
    ChannelOptions {
        limits,
        silent: false,
        reconnect: ReconnectPolicy::AT_ONCE,
        keepalive: KEEPALIVE,
        outbox: manner.outbox,
        inbox: manner.inbox,
        linger: Duration::ZERO,
    }
}

/// The service's word, or a broken rule, ends the session, whatever waits in its queues. A websocket that does not come
/// back does not.
async fn cancel_at_end(mut status: watch::Receiver<ChannelStatus>, cancel: CancellationToken) {
    let over =
        |status: &ChannelStatus| matches!(status.end, Some(ChannelEnd::Closed | ChannelEnd::Lost(Loss::Failed(_))));
    // An error: the session has let go of its channel.
    if status.wait_for(over).await.is_ok() {
        cancel.cancel();
    }
}
