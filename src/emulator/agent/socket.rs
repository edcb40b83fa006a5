//! What keeps a websocket: opening a data channel's, the pulse that tells whether it is alive, and the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::SinkExt as _;
use portcullis_protocol::Time;
use portcullis_protocol::open::{OpenDataChannel, Token};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::Context;
use super::endpoint::{CallError, Socket};

/// Keeps a websocket alive: a ping every 54 s, and a deadline for its answer.
#[derive(Debug)]
pub(super) struct Pulse {
    ping: Instant,
    deadline: Instant,
}

impl Pulse {
    pub(super) fn start() -> Self {
        let ping = Instant::now() + PING_EVERY;
        Self { ping, deadline: ping + PONG_WITHIN }
    }

    /// Waits until something is to be done; a ping only if one can be sent.
    pub(super) async fn due(&self, can_send: bool) {
        let due = if can_send { self.ping.min(self.deadline) } else { self.deadline };
        tokio::time::sleep_until(due).await;
    }

    /// What to do now that it is due: send this, or give up.
    pub(super) fn beat(&mut self) -> Option<Message> {
        let now = Instant::now();
        if now >= self.deadline {
            return None;
        }
        self.ping = now + PING_EVERY;
        Some(Message::Ping(Bytes::from_static(b"keepalive")))
    }

    pub(super) fn answered(&mut self) {
        self.deadline = Instant::now() + PONG_WITHIN;
    }
}

/// A token, a websocket and the open message; five attempts.
pub(super) async fn connect(context: &Context, session_id: &str) -> Result<Socket, CallError> {
    let mut delay = Duration::from_millis(100 + u64::from(Uuid::new_v4().as_bytes()[0]) * 100 / 256);
    for _ in 1..ATTEMPTS {
        match connect_once(context, session_id).await {
            Ok(socket) => return Ok(socket),
            Err(error) if error.is_terminated() => return Err(error),
            Err(error) => tracing::debug!(session = %session_id, "{error}; trying again"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(Duration::from_secs(5));
    }
    connect_once(context, session_id).await
}

async fn connect_once(context: &Context, session_id: &str) -> Result<Socket, CallError> {
    let path = format!("/v1/data-channel/{session_id}");
    let token: Token = context.endpoint.create_channel("CreateDataChannel", &path, Some("")).await?;
    let url = format!("{path}?role=publish_subscribe");
    let mut socket = context.endpoint.websocket("OpenDataChannel", &url).await?;
    let open = OpenDataChannel::agent(Uuid::new_v4(), token, &context.config.instance_id);
    match socket.send(Message::text(open.encode())).await {
        Ok(()) => Ok(socket),
        Err(error) => Err(CallError::Failed { what: "OpenDataChannel", why: error.to_string() }),
    }
}

/// Wall-clock time that never goes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: Duration,
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch, started: Instant::now() }
    }

    pub(super) fn now(&self) -> Time {
        self.epoch + self.started.elapsed()
    }

    pub(super) fn instant(&self, time: Time) -> Instant {
        self.started + time.saturating_sub(self.epoch)
    }
}

/// Waits until then, or for ever.
pub(super) async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

const ATTEMPTS: u32 = 5;
const PING_EVERY: Duration = Duration::from_secs(54);
const PONG_WITHIN: Duration = Duration::from_secs(60);
