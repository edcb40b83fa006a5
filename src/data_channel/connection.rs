//! The websocket of a driver: there, lost and on its way back, or over. What the core has to send goes out here.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Sink as _;
use portcullis_protocol::Time;
use portcullis_protocol::channel::DataChannel;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::keepalive::{Keepalive, Pulse};
use super::reconnect::{ConnectFuture, Connected};

/// Frames sent in one round.
const SENDS: usize = 256;

/// What both ends of AWS say in a ping (amazon-ssm-agent: agent/session/communicator/websocketchannel.go).
pub const PING: Bytes = Bytes::from_static(b"keepalive");

/// Where the websocket is.
pub(super) enum Connection<Io> {
    Up(Box<Up<Io>>),
    /// Lost; to be connected again at this time.
    Waiting(Instant),
    Dialling(ConnectFuture<Io>),
    /// For good.
    Over,
}

/// A websocket that is open.
pub(super) struct Up<Io> {
    pub(super) socket: WebSocketStream<Io>,
    pub(super) since: Instant,
    pub(super) pulse: Pulse,
    /// It has carried something or has lasted: losing it is no failed attempt.
    pub(super) good: bool,
    /// Something was fed and not flushed.
    pub(super) unflushed: bool,
    /// The socket takes nothing now; it wakes the task when it does again.
    pub(super) blocked: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Up<Io> {
    /// A websocket that was just opened; the open message is fed.
    pub(super) fn new(connected: Connected<Io>, keepalive: Keepalive) -> Self {
        let now = Instant::now();
        let pulse = Pulse::start(keepalive, now);
        let mut up = Self { socket: connected.socket, since: now, pulse, good: false, unflushed: true, blocked: false };
        // A new socket takes a message without asking; if it can't, the first read says why.
        if let Err(error) = Pin::new(&mut up.socket).start_send(Message::text(connected.open)) {
            tracing::debug!(%error, "the open message could not be written");
        }
        up
    }

    /// Feeds what the core has, then flushes once.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, core: &mut DataChannel, now: Time) -> Result<bool, WsError> {
        let mut socket = Pin::new(&mut self.socket);
        let mut moved = false;
        for _ in 0..SENDS {
            let ready = socket.as_mut().poll_ready(cx);
            self.blocked = ready.is_pending();
            match ready {
                Poll::Ready(ready) => ready?,
                Poll::Pending => break,
            }
            if self.pulse.take_ping(Instant::now()) {
                socket.as_mut().start_send(Message::Ping(PING))?;
                self.unflushed = true;
            }
            let Some(frame) = core.poll_transmit(now) else { break };
            socket.as_mut().start_send(Message::Binary(frame))?;
            self.unflushed = true;
            moved = true;
        }
        if self.unflushed
            && let Poll::Ready(flushed) = socket.poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(moved)
    }

    /// Everything that was fed has left this program, and the socket would take more.
    pub(super) fn is_flushed(&self) -> bool {
        !self.unflushed && !self.blocked
    }
}
