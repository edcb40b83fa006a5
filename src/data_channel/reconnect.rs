//! Coming back after the websocket was lost: how often to try, and when to give up.
//!
//! ```text
//!   lost ─▶ connect ─▶ failed ─▶ wait 100–200 ms ─▶ connect ─▶ failed ─▶ wait ×2 … 5 s ─▶ …   at most 2 minutes
//!                   └▶ up, and something heard: the next loss starts from the beginning
//!                   └▶ "that session has ended": no more tries
//! ```
//!
//! The service closes every data channel's websocket about once an hour; with the sequence state kept and a fresh token
//! nobody notices.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;

/// Makes the websockets of one data channel, and is told when the channel is over. The client resumes its session, the
/// agent asks for its channel anew; a test joins two ends of a pipe.
pub trait Connector: Send + Sync + 'static {
    /// What a websocket runs on.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a websocket, each time with a token of its own.
    fn connect(self: Arc<Self>) -> ConnectFuture<Self::Io>;

    /// The channel is over. Called exactly once for every channel that was opened; what it does is given a few seconds.
    fn finish(self: Arc<Self>, how: Finish) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What [`Connector::connect`] gives.
pub type ConnectFuture<Io> = Pin<Box<dyn Future<Output = Result<Connected<Io>, ConnectError>> + Send>>;

/// A websocket, and the text to say on it first.
pub struct Connected<Io> {
    /// The websocket.
    pub socket: WebSocketStream<Io>,
    /// The open message with its token.
    pub open: String,
}

/// Why there is no websocket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It may work later: network, throttling, a fault of the service.
    #[error("{0}")]
    Transient(String),
    /// It never will, but the session may still be there: we may not, or what is there is not the service.
    #[error("{0}")]
    Permanent(String),
    /// The session has ended.
    #[error("{0}")]
    SessionEnded(String),
}

/// How a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The service or the agent closed it: the session is over.
    Closed,
    /// The session is known to have ended.
    SessionEnded,
    /// We let go of it, or it broke: the session may still be there and must be terminated.
    Abandoned,
}

/// How patient to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// The least wait after the first failure; the most is twice that.
    pub first: Duration,
    /// The longest wait.
    pub cap: Duration,
    /// How long the websocket may be gone in all.
    pub deadline: Duration,
}

impl ReconnectPolicy {
    /// For a [`Connector`] that is patient by itself: lost, it connects at once, and what it says then is the last word.
    pub const AT_ONCE: Self = Self { first: Duration::ZERO, cap: Duration::ZERO, deadline: Duration::MAX };
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), cap: Duration::from_secs(5), deadline: Duration::from_secs(120) }
    }
}

/// The tries of one outage.
#[derive(Debug)]
pub(super) struct Attempts {
    policy: ReconnectPolicy,
    /// When the websocket was lost; none while all is well.
    since: Option<Instant>,
    wait: Option<Duration>,
    last_error: Option<String>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Connect at this time.
    At(Instant),
    /// Too long: the sentence says so.
    GiveUp(String),
}

impl Attempts {
    pub(super) fn new(policy: ReconnectPolicy) -> Self {
        Self { policy, since: None, wait: None, last_error: None }
    }

    /// The connection is good: it has carried something, or has lasted.
    pub(super) fn healthy(&mut self) {
        if self.since.is_some() {
            self.since = None;
            self.wait = None;
            self.last_error = None;
        }
    }

    /// A good connection was lost, one that never was good was lost, or a try failed. `jitter` is random.
    pub(super) fn failed(&mut self, now: Instant, error: Option<String>, jitter: u8) -> Next {
        self.last_error = error.or_else(|| self.last_error.take());
        let Some(since) = self.since else {
            self.since = Some(now);
            return Next::At(now);
        };
        let gone = now.saturating_duration_since(since);
        if gone >= self.policy.deadline {
            let why = self.last_error.as_deref().unwrap_or("the service closes the websocket at once");
            return Next::GiveUp(format!(
                "the connection to Session Manager was lost {} s ago and did not come back: {why}",
                gone.as_secs()
            ));
        }
        let wait = match self.wait {
            None => self.policy.first + self.policy.first * u32::from(jitter) / 255,
            Some(wait) => (wait * 2).min(self.policy.cap),
        };
        self.wait = Some(wait);
        Next::At(now + wait.min(self.policy.deadline - gone))
    }
}

/// The first websocket of a channel. Whoever asked waits for it, so it is given up sooner than one that was good.
pub(super) async fn first<C: Connector>(
    connector: &Arc<C>,
    policy: &ReconnectPolicy,
    deadline: Duration,
) -> Result<Connected<C::Io>, ConnectError> {
    let deadline = Instant::now() + deadline.min(policy.deadline);
    let mut wait = policy.first;
    loop {
        match Arc::clone(connector).connect().await {
            Err(ConnectError::Transient(_)) if Instant::now() + wait < deadline => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(policy.cap);
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_end_at_the_deadline() {
        let start = Instant::now();
        let mut attempts = Attempts::new(ReconnectPolicy::default());
        assert_eq!(attempts.failed(start, None, 255), Next::At(start));
        let (mut now, mut waits) = (start, Vec::new());
        let last = loop {
            match attempts.failed(now, Some("could not connect to x:443: refused".into()), 255) {
                Next::At(at) => {
                    waits.push((at - now).as_millis());
                    now = at;
                }
                Next::GiveUp(sentence) => break sentence,
            }
        };
        assert_eq!(&waits[..7], &[200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(now - start, Duration::from_secs(120));
        assert!(last.contains("120 s ago") && last.ends_with("refused"), "{last}");
    }

    #[test]
    fn a_good_connection_starts_over_and_a_bad_one_does_not() {
        let now = Instant::now();
        let mut attempts = Attempts::new(ReconnectPolicy::default());
        assert_eq!(attempts.failed(now, None, 0), Next::At(now));
        // It came up and was closed at once: no tight loop.
        assert_eq!(attempts.failed(now, None, 0), Next::At(now + Duration::from_millis(100)));
        attempts.healthy();
        assert_eq!(attempts.failed(now, None, 0), Next::At(now));
    }
}
