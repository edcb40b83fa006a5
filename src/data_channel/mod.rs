//! Driving the protocol core with tokio: one task per data channel.
//!
//! ```text
//!   open(connector, role) ──▶ ChannelWriter, ChannelReader ──▶ whoever uses the session
//!                │
//!                └─ driver: socket ⇄ core ⇄ queues        (driver, queue)
//!                       └─ lost? Connector::connect again  (reconnect)
//!                             └─ TCP, proxy, TLS, upgrade   (websocket, proxy)
//! ```
//!
//! The gateway uses it in the client's role; the agent's role differs in its [`Connector`] and in using [`EventReader`].

mod driver;
mod proxy;
mod queue;
mod reconnect;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use portcullis_protocol::channel::{DataChannel, Event, Limits, Role};
use portcullis_protocol::payload::{ExitCode, SessionState};
use portcullis_protocol::{Flag, PayloadType, Size};
use tokio::task::JoinHandle;

use driver::Driver;
use queue::{Control, Inbox, Outbox};

pub use proxy::{Proxy, ProxyRules};
pub use reconnect::{ConnectError, ConnectFuture, Connected, Connector, Finish, ReconnectPolicy};
pub use websocket::{DialError, Dialer, Socket, websocket_config};

/// What AWS supports at least, and what we are: this client signs its upgrades.
pub const CLIENT_VERSION: &str = "1.2.764.0";

/// How long the first websocket may take, with retries.
const FIRST_DEADLINE: Duration = Duration::from_secs(15);

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
    /// The channel broke; the sentence says why. Nothing follows.
    Lost(String),
}

/// How to drive a channel.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Frame size, buffers and timers of the core.
    pub limits: Limits,
    /// Send without waiting for the node to speak first: for InteractiveCommands sessions whose command is silent.
    pub silent: bool,
    /// What to do when the websocket is lost.
    pub reconnect: ReconnectPolicy,
    /// A ping this often keeps middle boxes from forgetting the connection, and finds out that it is dead.
    pub ping_every: Duration,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        // What waits in the core can't be overtaken by a size or a flag, so most of it waits in front.
        let limits = Limits { send_buffer: 64 << 10, receive_buffer: 256 << 10, ..Limits::default() };
        Self { limits, silent: false, reconnect: ReconnectPolicy::default(), ping_every: Duration::from_secs(25) }
    }
}

/// Towards the other end. The last clone's drop is the end of writing.
#[derive(Clone, Debug)]
pub struct ChannelWriter {
    end: Arc<WriterEnd>,
}

/// From the node. Not reading it stops the socket: there is no queue without a bound behind it.
#[derive(Debug)]
pub struct ChannelReader {
    link: EventReader,
}

/// From the other end, in the core's words.
#[derive(Debug)]
pub struct EventReader {
    inbox: Arc<Inbox>,
    batch: VecDeque<DriverEvent>,
}

/// A channel that is driven by a task of its own. Dropping writer and reader hangs up.
#[derive(Debug)]
pub struct Channel {
    /// Towards the other end.
    pub writer: ChannelWriter,
    /// From the other end.
    pub reader: EventReader,
    /// Ends when the channel is over and [`Connector::finish`] has returned.
    pub task: JoinHandle<()>,
}

#[derive(Debug)]
struct WriterEnd {
    outbox: Arc<Outbox>,
}

/// The channel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data channel has ended")]
pub struct ChannelGone;

/// Opens a data channel: the first websocket, then a task that drives it for as long as it lasts. Returns as soon as the
/// websocket is open.
pub async fn open<C: Connector>(
    connector: Arc<C>,
    role: Role,
    options: ChannelOptions,
) -> Result<Channel, ConnectError> {
    let first = reconnect::first(&connector, &options.reconnect, FIRST_DEADLINE).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut core = DataChannel::new(role, options.limits, seed(), now);
    if options.silent {
        core.open_silently(now);
    }
    let (outbox, inbox) = (Outbox::new(), Inbox::new());
    let writer = ChannelWriter { end: Arc::new(WriterEnd { outbox: Arc::clone(&outbox) }) };
    let reader = EventReader { inbox: Arc::clone(&inbox), batch: VecDeque::new() };
    let driver = Driver::new(core, connector, first, options.reconnect, options.ping_every, outbox, inbox);
    let task = tokio::spawn(driver.run());
    Ok(Channel { writer, reader, task })
}

/// For message ids, which nothing depends on.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

impl ChannelWriter {
    /// Queues bytes; waits while the node does not take them.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ChannelGone> {
        self.send_as(PayloadType::Output, bytes).await
    }

    /// The same for another type of payload: what an agent's standard error and exit code are.
    pub async fn send_as(&self, kind: PayloadType, bytes: Bytes) -> Result<(), ChannelGone> {
        self.end.outbox.send(kind, bytes).await
    }

    /// Sets the size of the session's terminal. Overtakes the bytes that wait here; of several sizes the last counts.
    pub async fn resize(&self, cols: u32, rows: u32) -> Result<(), ChannelGone> {
        self.end.outbox.resize(Size { cols, rows })
    }

    /// Sends a flag: 1 disconnect from the port, 2 terminate the session. Overtakes the bytes that wait here.
    pub async fn flag(&self, flag: u32) -> Result<(), ChannelGone> {
        let flag = match flag {
            1 => Flag::DisconnectToPort,
            2 => Flag::TerminateSession,
            3 => Flag::ConnectToPortError,
            other => Flag::Unknown(other),
        };
        self.end.outbox.control(Control::Flag(flag))
    }

    /// Agent: whether the terminal or the port is there; while it is not, frames are refused.
    pub fn set_ready(&self, ready: bool) -> Result<(), ChannelGone> {
        self.end.outbox.control(Control::Ready(ready))
    }

    /// Agent: tells the service how the session stands.
    pub fn session_state(&self, state: SessionState, session: &str) -> Result<(), ChannelGone> {
        self.end.outbox.control(Control::State(state, session.to_owned()))
    }
}

impl Drop for WriterEnd {
    fn drop(&mut self) {
        self.outbox.writers_gone();
    }
}

impl ChannelReader {
    /// The client's view of a channel.
    pub fn new(link: EventReader) -> Self {
        Self { link }
    }

    /// The next event; `None` when nothing will follow. May be cancelled without losing any.
    pub async fn next(&mut self) -> Option<ChannelEvent> {
        loop {
            // What means nothing to a client (pauses, types unknown here) is passed over.
            if let Some(event) = client_event(self.link.next().await?) {
                return Some(event);
            }
        }
    }
}

impl EventReader {
    /// The next event; `None` when nothing will follow. May be cancelled without losing any.
    pub async fn next(&mut self) -> Option<DriverEvent> {
        if self.batch.is_empty() {
            poll_fn(|cx| self.inbox.poll_batch(cx, &mut self.batch)).await?;
        }
        self.batch.pop_front()
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.inbox.reader_gone();
    }
}

fn client_event(event: DriverEvent) -> Option<ChannelEvent> {
    match event {
        DriverEvent::Reconnected => Some(ChannelEvent::Reconnected),
        DriverEvent::Lost(sentence) => Some(ChannelEvent::Lost(sentence)),
        DriverEvent::Channel(event) => match event {
            Event::Established { .. } => Some(ChannelEvent::Established),
            Event::Data { kind: PayloadType::Output, bytes } => Some(ChannelEvent::Output(bytes)),
            Event::Data { kind: PayloadType::StdErr, bytes } => Some(ChannelEvent::StdErr(bytes)),
            Event::Data { kind: PayloadType::ExitCode, bytes } => match ExitCode::decode(&bytes) {
                Ok(ExitCode(code)) => Some(ChannelEvent::ExitCode(code)),
                Err(error) => {
                    Some(ChannelEvent::Lost(format!("the node reported an exit code that makes no sense: {error}")))
                }
            },
            Event::Flag(Flag::ConnectToPortError) => Some(ChannelEvent::ConnectFailed),
            Event::Closed { output } => Some(ChannelEvent::Closed(output)),
            Event::Data { .. } | Event::Flag(_) | Event::Size(_) | Event::Paused | Event::Resumed => None,
        },
    }
}
