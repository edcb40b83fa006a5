//! Systems Manager through the AWS SDK: the real service, a private endpoint, or the embedded one on loopback. Nothing
//! here knows which.
//!
//! ```text
//!   open ─▶ turn of the throttle ─▶ StartSession ─▶ stream URL checked ─▶ signed upgrade ─▶ open message ─▶ driver
//!             (one attempt: a second one might start a second session)                        │
//!                                              lost: ResumeSession, the same way again ◀──────┤
//!                                              let go of: TerminateSession             ◀──────┘
//! ```

mod clients;
mod connector;
mod documents;
#[cfg(test)]
mod embedded_tests;
mod error;
mod sign;
mod stream_url;
mod targets;
#[cfg(test)]
mod tests;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ssm as ssm;
use aws_sdk_ssm::config::retry::RetryConfig;
use portcullis_protocol::channel::{ClientRole, Role};
use portcullis_protocol::open::Token;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Backend, BackendError, BoxFuture, Lane, Node, SessionRequest};
use crate::data_channel::{self, CLIENT_VERSION, ChannelOptions, ChannelReader, ConnectError, ReconnectPolicy};
use crate::model::SessionId;

use clients::Clients;
use connector::AwsConnector;
use error::{Doing, Kind, explain, kind};
use targets::Targets;
use throttle::Throttle;

pub use clients::AwsOptions;

/// What of the SDK is logged when nobody says. At `info` it tells of every profile and key that it has looked at.
pub const LOG_FILTER: &str = "aws_config=warn";

/// The longest that a session waits to be started because AWS throttles.
const MAX_THROTTLED: Duration = Duration::from_secs(30);

/// How often, and how far apart, the history is asked for a session that has just ended.
const HISTORY_ATTEMPTS: u32 = 6;
const HISTORY_WAIT: Duration = Duration::from_millis(500);

/// TerminateSession calls at once.
const MAX_TERMINATIONS: usize = 8;

/// Systems Manager in one account and region.
#[derive(Clone, Debug)]
pub struct AwsBackend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clients: Clients,
    targets: Targets,
    throttle: Throttle,
    reconnect: ReconnectPolicy,
    terminations: Semaphore,
    /// Sessions that are not out of the way yet.
    sessions: TaskTracker,
}

impl AwsBackend {
    /// Reads the configuration of the SDK; makes no call.
    pub async fn new(options: AwsOptions) -> Result<Self, BackendError> {
        let mut reconnect = ReconnectPolicy::default();
        if let Some(deadline) = options.reconnect_deadline {
            reconnect.deadline = deadline;
        }
        let inner = Inner {
            clients: Clients::build(&options).await?,
            targets: Targets::default(),
            throttle: Throttle::new(options.starts_per_second),
            reconnect,
            terminations: Semaphore::new(MAX_TERMINATIONS),
            sessions: TaskTracker::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The region in use.
    pub fn region(&self) -> &str {
        &self.inner.clients.region
    }
}

impl Backend for AwsBackend {
    fn open(&self, request: SessionRequest) -> BoxFuture<'_, Result<Lane, BackendError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            // In a task of its own: a caller that goes away half-way must not leave a session behind.
            let token = inner.sessions.token();
            let opening = tokio::spawn(inner.open(request, token));
            opening.await.unwrap_or_else(|_| {
                Err(BackendError::Unreachable("opening the session failed inside Portcullis; see its log".to_owned()))
            })
        })
    }

    fn terminate(&self, session: &SessionId) -> BoxFuture<'_, Result<(), BackendError>> {
        let session = session.clone();
        Box::pin(async move { self.inner.terminate(&session).await })
    }

    fn has_failed(&self, session: &SessionId) -> BoxFuture<'_, Result<bool, BackendError>> {
        let session = session.clone();
        Box::pin(async move { self.inner.has_failed(&session).await })
    }

    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Node, BackendError>> {
        let name = name.to_owned();
        Box::pin(async move { self.inner.targets.resolve(&self.inner.clients, &name).await })
    }

    fn document(&self, name: &str) -> BoxFuture<'_, Result<Option<String>, BackendError>> {
        let name = name.to_owned();
        Box::pin(async move { documents::get(&self.inner.clients, &name).await })
    }

    fn put_document(&self, name: &str, content: &str) -> BoxFuture<'_, Result<(), BackendError>> {
        let (name, content) = (name.to_owned(), content.to_owned());
        Box::pin(async move { documents::put(&self.inner.clients, &name, &content).await })
    }

    fn drain(&self, patience: Duration) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            let sessions = &self.inner.sessions;
            sessions.close();
            let _ = tokio::time::timeout(patience, sessions.wait()).await;
            sessions.reopen();
            sessions.len()
        })
    }
}

impl Inner {
    async fn open(self: Arc<Self>, request: SessionRequest, token: TaskTrackerToken) -> Result<Lane, BackendError> {
        let started = self.start(&request).await?;
        let id = SessionId(started.id);
        let connector = AwsConnector::new(Arc::clone(&self), id.clone(), started.url, started.token);
        let mut options =
            ChannelOptions { silent: request.silent, reconnect: self.reconnect.clone(), ..ChannelOptions::default() };
        options.limits.payload = request.payload;
        let role = Role::Client(ClientRole { version: CLIENT_VERSION.to_owned() });
        match data_channel::open(Arc::new(connector), role, options).await {
            Ok(channel) => {
                // The token is dropped when the session is out of the way.
                let task = tokio::spawn(async move {
                    let _token = token;
                    if channel.task.await.is_err() {
                        tracing::error!("the task of a data channel has panicked");
                    }
                });
                Ok(Lane { id, writer: channel.writer, reader: ChannelReader::new(channel.reader), task })
            }
            Err(ConnectError::SessionEnded(why)) => Err(BackendError::Ended { session: id, why }),
            Err(ConnectError::Transient(sentence) | ConnectError::Permanent(sentence)) => {
                if let Err(error) = self.terminate(&id).await {
                    tracing::warn!(session = %id, %error, "a session that could not be used was not terminated");
                }
                Err(BackendError::Unreachable(sentence))
            }
        }
    }

    async fn start(&self, request: &SessionRequest) -> Result<Started, BackendError> {
        let deadline = Instant::now() + MAX_THROTTLED;
        loop {
            let wait = self.throttle.turn(Instant::now());
            let throttled = || {
                let region = &self.clients.region;
                BackendError::Unreachable(format!(
                    "Systems Manager in {region} is throttling StartSession: try again later"
                ))
            };
            if Instant::now() + wait > deadline {
                return Err(throttled());
            }
            tokio::time::sleep(wait).await;
            let call =
                self.clients
                    .ssm
                    .start_session()
                    .target(&request.target.0)
                    .document_name(&request.document)
                    .set_reason(request.reason.as_ref().map(|reason| reason.as_str().to_owned()))
                    .set_parameters((!request.parameters.is_empty()).then(|| {
                        request.parameters.iter().map(|(name, values)| (name.clone(), values.clone())).collect()
                    }));
            // One attempt: the SDK's retries would start a second session when an answer was lost.
            let once = ssm::config::Builder::new().retry_config(RetryConfig::disabled());
            let error = match call.customize().config_override(once).send().await {
                Ok(answer) => return Started::new(answer),
                Err(error) => error,
            };
            match kind(&error) {
                // Nothing was started.
                Kind::Throttled => self.throttle.refused(Instant::now()),
                Kind::NotConnected => {
                    let sentence = self.targets.describe_absence(&self.clients, &request.target).await;
                    return Err(BackendError::Target(sentence));
                }
                Kind::NoSuchDocument => {
                    return Err(explain(self.doing("StartSession", &request.document), &error));
                }
                _ => return Err(explain(self.doing("StartSession", &request.target.0), &error)),
            }
        }
    }

    /// TerminateSession; one that is gone already is fine.
    async fn terminate(&self, session: &SessionId) -> Result<(), BackendError> {
        let _turn = self.terminations.acquire().await;
        match self.clients.ssm.terminate_session().session_id(&session.0).send().await {
            Ok(_) => Ok(()),
            Err(error) if kind(&error) == Kind::NoSuchThing => Ok(()),
            Err(error) => Err(explain(self.doing("TerminateSession", &session.0), &error)),
        }
    }

    /// What the history says, which may learn of an end a moment after the data channel.
    async fn has_failed(&self, session: &SessionId) -> Result<bool, BackendError> {
        let only = ssm::types::SessionFilter::builder()
            .key(ssm::types::SessionFilterKey::SessionId)
            .value(&session.0)
            .build()
            .map_err(|error| BackendError::Unreachable(error.to_string()))?;
        for _ in 0..HISTORY_ATTEMPTS {
            let history = self.clients.ssm.describe_sessions().state(ssm::types::SessionState::History);
            let answer = history.filters(only.clone()).send().await;
            let answer = answer.map_err(|error| explain(self.doing("DescribeSessions", &session.0), &error))?;
            if let Some(found) = answer.sessions().iter().find(|found| found.session_id() == Some(&session.0)) {
                return Ok(found.status() == Some(&ssm::types::SessionStatus::Failed));
            }
            tokio::time::sleep(HISTORY_WAIT).await;
        }
        Ok(false)
    }

    fn doing<'a>(&'a self, call: &'static str, on: &'a str) -> Doing<'a> {
        Doing { call, on, region: &self.clients.region }
    }
}

/// What StartSession gives. No `Debug`: the token opens the session.
struct Started {
    id: String,
    url: String,
    token: Token,
}

impl Started {
    fn new(answer: ssm::operation::start_session::StartSessionOutput) -> Result<Self, BackendError> {
        match (answer.session_id, answer.stream_url, answer.token_value) {
            (Some(id), Some(url), Some(token)) => Ok(Self { id, url, token: Token::new(token) }),
            _ => Err(BackendError::Unreachable(
                "Systems Manager started a session without saying where its data channel is".to_owned(),
            )),
        }
    }
}
