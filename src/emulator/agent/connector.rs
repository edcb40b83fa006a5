//! How an agent makes its data channel's websockets: a token, the upgrade, the open message, and five attempts.
//!
//! ```text
//!   CreateDataChannel ─▶ token ─▶ OpenDataChannel ─▶ open message        again after 100–200 ms, ×2, at most 5 times
//!       └─ "Session is already terminated": never again
//! ```
//!
//! The patience is the agent's own (agent/session/config/config.go), so its driver has none: whenever the
//! websocket is lost it asks once, and what is said here is the last word.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_protocol::open::{OpenDataChannel, Token};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;
use uuid::Uuid;

use super::context::Context;
use super::endpoint::CallError;
use crate::data_channel::{ConnectError, ConnectFuture, Connected, Connector, Finish, Keepalive};

/// `DataChannelNumMaxAttempts`: attempts to open a data channel before its session is left alone.
const ATTEMPTS: u32 = 5;
/// `DataChannelRetryInitialDelayMillis`: the least wait before the second attempt; up to twice that at random, and twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// `DataChannelRetryMaxIntervalMillis`.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The pings of the agent's websockets, and how long it reads on without an answer
/// (agent/session/communicator/websocketchannel.go).
pub(super) const KEEPALIVE: Keepalive = Keepalive::answered_within(Duration::from_secs(54), Duration::from_secs(60));

/// Makes the websockets of one session's data channel.
pub(super) struct AgentConnector {
    context: Arc<Context>,
    session_id: String,
}

impl AgentConnector {
    pub(super) fn new(context: Arc<Context>, session_id: String) -> Self {
        Self { context, session_id }
    }

    async fn attempts(&self) -> Result<Connected<MaybeTlsStream<TcpStream>>, ConnectError> {
        let random = u32::from(Uuid::new_v4().as_bytes()[0]);
        let mut wait = FIRST_WAIT + FIRST_WAIT * random / 256;
        let mut attempt = 1;
        loop {
            match self.attempt().await {
                Ok(connected) => return Ok(connected),
                Err(error) if error.is_terminated() => return Err(ConnectError::SessionEnded(error.to_string())),
                Err(error) if attempt == ATTEMPTS => return Err(ConnectError::Permanent(error.to_string())),
                Err(error) => tracing::debug!(session = %self.session_id, "{error}; trying again"),
            }
            attempt += 1;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&self) -> Result<Connected<MaybeTlsStream<TcpStream>>, CallError> {
        let endpoint = &self.context.endpoint;
        let path = format!("/v1/data-channel/{}", self.session_id);
        let token: Token = endpoint.create_channel("CreateDataChannel", &path, Some("")).await?;
        let socket = endpoint.websocket("OpenDataChannel", &format!("{path}?role=publish_subscribe")).await?;
        let open = OpenDataChannel::agent(Uuid::new_v4(), token, &self.context.config.instance_id);
        Ok(Connected { socket, open: open.encode() })
    }
}

impl Connector for AgentConnector {
    type Io = MaybeTlsStream<TcpStream>;

    fn connect(self: Arc<Self>) -> ConnectFuture<Self::Io> {
        Box::pin(async move { self.attempts().await })
    }

    /// An agent tells the end of a session on its control channel, not here.
    fn finish(self: Arc<Self>, _how: Finish) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
