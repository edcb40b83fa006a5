//! Driving the protocol core with tokio: one task per data channel.

use bytes::Bytes;
use portcullis_protocol as _;
use tokio::sync::mpsc;

/// What comes out of a data channel.
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
    /// The service or the agent closed the channel, with the text it gave.
    Closed(String),
    /// The socket broke and was joined again; what the service did in between is unknown.
    Reconnected,
    /// The channel broke and could not be resumed; the sentence says why. Nothing follows.
    Lost(String),
}

/// Towards the node.
#[derive(Clone, Debug)]
pub struct ChannelWriter {
    pub(crate) commands: mpsc::Sender<ChannelCommand>,
}

/// From the node. Not reading it stops the socket: there is no queue without a bound behind it.
#[derive(Debug)]
pub struct ChannelReader {
    pub(crate) events: mpsc::Receiver<ChannelEvent>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "the driver that reads them lands next")]
pub(crate) enum ChannelCommand {
    Data(Bytes),
    Size { cols: u32, rows: u32 },
    Flag(u32),
}

/// The channel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data channel has ended")]
pub struct ChannelGone;

impl ChannelWriter {
    /// Queues bytes; waits while the send window is full.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ChannelGone> {
        self.commands.send(ChannelCommand::Data(bytes)).await.map_err(|_| ChannelGone)
    }

    /// Sets the size of the session's terminal.
    pub async fn resize(&self, cols: u32, rows: u32) -> Result<(), ChannelGone> {
        self.commands.send(ChannelCommand::Size { cols, rows }).await.map_err(|_| ChannelGone)
    }

    /// Sends a flag: 1 disconnect from the port, 2 terminate the session.
    pub async fn flag(&self, flag: u32) -> Result<(), ChannelGone> {
        self.commands.send(ChannelCommand::Flag(flag)).await.map_err(|_| ChannelGone)
    }
}

impl ChannelReader {
    /// The next event; `None` when nothing will follow.
    pub async fn next(&mut self) -> Option<ChannelEvent> {
        self.events.recv().await
    }
}
