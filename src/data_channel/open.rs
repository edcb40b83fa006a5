//! Opening a data channel: the first websocket, then a task that drives it for as long as it lasts.

use std::sync::Arc;
use std::time::Duration;

use portcullis_protocol::Time;
use portcullis_protocol::channel::{DataChannel, Role};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clock::Clock;
use super::driver::{Driver, Ends};
use super::event::ChannelStatus;
use super::options::ChannelOptions;
use super::queue::{Inbox, Outbox};
use super::reader::EventReader;
use super::reconnect::{self, ConnectError, Connector};
use super::writer::ChannelWriter;

/// What AWS supports at least, and what we are: this client signs its upgrades.
pub const CLIENT_VERSION: &str = "1.2.764.0";

/// How long the first websocket may take, with retries.
const FIRST_DEADLINE: Duration = Duration::from_secs(15);

/// A channel that is driven by a task of its own. Dropping writer and reader hangs up.
#[derive(Debug)]
pub struct Channel {
    /// Towards the other end.
    pub writer: ChannelWriter,
    /// From the other end.
    pub reader: EventReader,
    /// How it stands, past what waits in the reader.
    pub status: watch::Receiver<ChannelStatus>,
    /// Ends when the channel is over and [`Connector::finish`] has returned.
    pub task: JoinHandle<()>,
}

/// Opens a data channel and drives it. Returns as soon as the first websocket is open.
///
/// # Errors
///
/// Whatever [`Connector::connect`] said last: a transient error only after a quarter of a minute of attempts.
pub async fn open<C: Connector>(
    connector: Arc<C>,
    role: Role,
    options: ChannelOptions,
) -> Result<Channel, ConnectError> {
    open_prepared(connector, role, options, |_, _| {}).await
}

/// The same, with commands for the core from before its websocket is there: an agent's first session state goes before
/// its handshake, and what is not ready yet must not take a single frame.
///
/// # Errors
///
/// As [`open`].
pub async fn open_prepared<C: Connector>(
    connector: Arc<C>,
    role: Role,
    options: ChannelOptions,
    prepare: impl FnOnce(&mut DataChannel, Time),
) -> Result<Channel, ConnectError> {
    let first = reconnect::first(&connector, &options.reconnect, FIRST_DEADLINE).await?;
    let clock = Clock::start();
    let mut core = DataChannel::new(role, options.limits.clone(), seed(), clock.now());
    if options.silent {
        core.open_silently(clock.now());
    }
    prepare(&mut core, clock.now());
    let (outbox, inbox) = (Outbox::new(options.outbox), Inbox::new(options.inbox));
    let (report, status) = watch::channel(ChannelStatus::default());
    let writer = ChannelWriter::new(Arc::clone(&outbox));
    let reader = EventReader::new(Arc::clone(&inbox));
    let driver = Driver::new(core, clock, connector, first, options, Ends { outbox, inbox, status: report });
    let task = tokio::spawn(driver.run());
    Ok(Channel { writer, reader, status, task })
}

/// For message ids, which nothing depends on.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
