//! The life of a session in the service: started once, driven, terminated when it is let go of; and what the history says
//! of it afterwards.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ssm as ssm;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::operation::RequestId as _;
use portcullis_protocol::channel::{ClientRole, Role};
use portcullis_protocol::open::Token;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connector::AwsConnector;
use super::error::{CallContext, Kind, explain, kind};
use super::persons::Caller;
use super::shared::Inner;
use crate::backend::lanes::{Fate, Lane, SessionRequest};
use crate::backend::{BackendError, Lapse};
use crate::data_channel::{self, CLIENT_VERSION, ChannelOptions, ChannelReader, ConnectError};
use crate::model::{CallIds, NodeId, ReasonText, SessionId};
use crate::policy::Grant;

/// The longest that a session waits to be started because AWS throttles, or fails.
const MAX_THROTTLED: Duration = Duration::from_secs(30);
/// The pause after the service failed for the first time; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often, and how far apart, the history is asked for a session that has just ended.
const HISTORY_ATTEMPTS: u32 = 6;
const HISTORY_WAIT: Duration = Duration::from_millis(500);

/// What a session is started with: as whom, where to and why as the grant says, the rest as asked.
pub(super) struct Start {
    caller: Caller,
    node: NodeId,
    reason: Option<ReasonText>,
    request: SessionRequest,
}

impl Start {
    pub(super) fn new(caller: Caller, grant: &Grant, request: SessionRequest) -> Self {
        Self { caller, node: grant.node().id.clone(), reason: grant.reason().cloned(), request }
    }
}

impl Inner {
    pub(super) async fn open(self: Arc<Self>, start: Start, token: TaskTrackerToken) -> Result<Lane, BackendError> {
        let started = self.start(&start).await?;
        let (id, calls) = (SessionId(started.id), started.calls);
        let caller = start.caller;
        let connector = AwsConnector::new(Arc::clone(&self), caller.clone(), id.clone(), started.url, started.token);
        let mut options = ChannelOptions {
            silent: start.request.silent,
            reconnect: self.reconnect.clone(),
            ..ChannelOptions::default()
        };
        options.limits.payload = start.request.payload;
        let role = Role::Client(ClientRole { version: CLIENT_VERSION.to_owned() });
        match data_channel::open(Arc::new(connector), role, options).await {
            Ok(channel) => {
                // The token is dropped when the session is out of the way.
                let (telling, lapse) = Lapse::new();
                let task = tokio::spawn(async move {
                    let _token = token;
                    tokio::select! {
                        ended = channel.task => if ended.is_err() {
                            tracing::error!("the task of a data channel has panicked");
                        },
                        // never comes to an end by itself
                        () = caller.keep(&self.clients, telling) => {}
                    }
                });
                Ok(Lane { id, calls, writer: channel.writer, reader: ChannelReader::new(channel.reader), task, lapse })
            }
            Err(ConnectError::SessionEnded(why)) => Err(BackendError::Ended { session: id, calls, why }),
            Err(ConnectError::Transient(sentence) | ConnectError::Permanent(sentence)) => {
                if let Err(error) = self.terminate(&caller, &id).await {
                    tracing::warn!(session = %id, %error, "a session that could not be used was not terminated");
                }
                Err(BackendError::Unreachable(sentence))
            }
        }
    }

    async fn start(&self, start: &Start) -> Result<Started, BackendError> {
        let Start { caller, node, reason, request } = start;
        let deadline = Instant::now() + MAX_THROTTLED;
        let (mut pause, mut renewed) = (FIRST_PAUSE, false);
        loop {
            let wait = self.throttle.acquire(Instant::now());
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
                    .target(&node.0)
                    .document_name(&request.document)
                    .set_reason(reason.as_ref().map(|reason| reason.as_str().to_owned()))
                    .set_parameters((!request.parameters.is_empty()).then(|| {
                        request.parameters.iter().map(|(name, values)| (name.clone(), values.clone())).collect()
                    }));
            // One attempt: the SDK's retries would start a second session when an answer was lost.
            let (config, assume_role) = caller.config(&self.clients).await?;
            let once = config.retry_config(RetryConfig::disabled());
            let error = match call.customize().config_override(once).send().await {
                Ok(answer) => return Started::new(answer, assume_role),
                Err(error) => error,
            };
            match kind(&error) {
                // Nothing was started.
                Kind::Throttled => self.throttle.refused(Instant::now()),
                // Perhaps something was, and nobody has heard of it. It is left alone: whose a session is that the service
                // lists can't be told, and another gateway's must not be ended. Without a client's handshake nothing is
                // run in it, and the agent gives up after 15 s (agent/session/datachannel/datachannel.go,
                // PerformHandshake); and a helper's directory keeps the same command from being started twice.
                Kind::Transient if Instant::now() + pause < deadline => {
                    tracing::debug!(error = %explain(self.call("StartSession", &node.0), &error), "tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                // somebody may have ended what the role had given out before, which is no reason not to ask it again
                Kind::Credentials if matches!(caller, Caller::Person(_)) && !renewed => {
                    renewed = true;
                    caller.forget(&self.clients).await;
                }
                Kind::NotConnected => {
                    let sentence = self.targets.describe_absence(&self.clients, node).await;
                    return Err(BackendError::Target(sentence));
                }
                Kind::NoSuchDocument => {
                    return Err(explain(caller.call(&self.clients, "StartSession", &request.document), &error));
                }
                _ => return Err(explain(caller.call(&self.clients, "StartSession", &node.0), &error)),
            }
        }
    }

    /// TerminateSession; one that is gone already is fine.
    pub(super) async fn terminate(&self, caller: &Caller, session: &SessionId) -> Result<(), BackendError> {
        let _permit = self.terminations.acquire().await;
        let (config, _) = caller.config(&self.clients).await?;
        let call = self.clients.ssm.terminate_session().session_id(&session.0);
        match call.customize().config_override(config).send().await {
            Ok(_) => Ok(()),
            Err(error) if kind(&error) == Kind::NoSuchThing => Ok(()),
            Err(error) => Err(explain(caller.call(&self.clients, "TerminateSession", &session.0), &error)),
        }
    }

    /// What the history says, which may learn of an end a moment after the data channel.
    pub(super) async fn fate(&self, session: &SessionId) -> Result<Fate, BackendError> {
        for attempt in 0..HISTORY_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(HISTORY_WAIT).await;
            }
            if let Some(status) = self.last_status(session).await? {
                let failed = status == ssm::types::SessionStatus::Failed;
                return Ok(if failed { Fate::Failed } else { Fate::Ended });
            }
        }
        Ok(Fate::Unknown)
    }

    async fn last_status(&self, session: &SessionId) -> Result<Option<ssm::types::SessionStatus>, BackendError> {
        let only = ssm::types::SessionFilter::builder()
            .key(ssm::types::SessionFilterKey::SessionId)
            .value(&session.0)
            .build()
            .map_err(|error| BackendError::Unreachable(error.to_string()))?;
        let history = self.clients.ssm.describe_sessions().state(ssm::types::SessionState::History);
        let asked = history.filters(only).send().await;
        let answer = asked.map_err(|error| explain(self.call("DescribeSessions", &session.0), &error))?;
        let found = answer.sessions().iter().find(|found| found.session_id() == Some(&session.0));
        Ok(found.and_then(|found| found.status().cloned()))
    }

    fn call<'a>(&'a self, call: &'static str, on: &'a str) -> CallContext<'a> {
        self.clients.call(call, on)
    }
}

/// What StartSession gives. No `Debug`: the token opens the session.
struct Started {
    id: String,
    calls: CallIds,
    url: String,
    token: Token,
}

impl Started {
    fn new(
        answer: ssm::operation::start_session::StartSessionOutput,
        assume_role: Option<String>,
    ) -> Result<Self, BackendError> {
        let calls = CallIds { start: answer.request_id().map(str::to_owned), assume_role };
        match (answer.session_id, answer.stream_url, answer.token_value) {
            (Some(id), Some(url), Some(token)) => Ok(Self { id, calls, url, token: Token::new(token) }),
            _ => Err(BackendError::Unreachable(
                "Systems Manager started a session without saying where its data channel is".to_owned(),
            )),
        }
    }
}
