//! Towards the other end: data, which waits for room, and what overtakes it.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_protocol::payload::SessionState;
use portcullis_protocol::{Flag, PayloadType, Size};
use tokio::sync::oneshot;

use super::queue::{ChannelGone, Command, Outbox};

/// Towards the other end. The last clone's drop is the end of writing.
#[derive(Clone, Debug)]
pub struct ChannelWriter {
    end: Arc<WriterEnd>,
}

#[derive(Debug)]
struct WriterEnd {
    outbox: Arc<Outbox>,
}

impl ChannelWriter {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self { end: Arc::new(WriterEnd { outbox }) }
    }

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

    /// Sends a flag. Overtakes the bytes that wait here.
    pub fn flag(&self, flag: Flag) -> Result<(), ChannelGone> {
        self.end.outbox.command(Command::Flag(flag))
    }

    /// Waits until the other end has acknowledged everything that was sent before.
    pub async fn drain(&self) -> Result<(), ChannelGone> {
        let (done, drained) = oneshot::channel();
        self.end.outbox.command(Command::Drain(done))?;
        drained.await.map_err(|_| ChannelGone)
    }

    /// Agent: whether the terminal or the port is there; while it is not, frames are refused.
    pub fn set_ready(&self, ready: bool) -> Result<(), ChannelGone> {
        self.end.outbox.command(Command::Ready(ready))
    }

    /// Agent: tells the service how the session stands.
    pub fn session_state(&self, state: SessionState, session: &str) -> Result<(), ChannelGone> {
        self.end.outbox.command(Command::State(state, session.to_owned()))
    }
}

impl Drop for WriterEnd {
    fn drop(&mut self) {
        self.outbox.writers_gone();
    }
}
