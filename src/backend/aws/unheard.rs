//! Sessions whose start was not heard of. `StartSession` may be done although its answer is an error or none; a session
//! that nobody knows would go on at the node. So before another is started the service is asked, and what is there ends.
//!
//! ```text
//!   start ─▶ 500, 503, no answer ─▶ wait until no other start is on its way ─▶ DescribeSessions(Active, this node)
//!                                   ─▶ ours, since then, and nobody's here ─▶ TerminateSession ─▶ start again
//! ```

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_ssm as ssm;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::error::explain;
use super::sessions::Start;
use super::shared::Inner;
use crate::backend::BackendError;
use crate::model::SessionId;

/// Which sessions this program has heard of.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Held by every start on its way: while somebody looks, every session that is there has either been heard of here or
    /// belongs to nobody.
    starting: RwLock<()>,
    sessions: Mutex<VecDeque<SessionId>>,
}

impl Heard {
    /// A start is on its way until this is dropped.
    pub(super) async fn starting(&self) -> RwLockReadGuard<'_, ()> {
        self.starting.read().await
    }

    /// That start was heard of.
    pub(super) fn note(&self, session: &SessionId) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST_NOTED {
            sessions.pop_front();
        }
        sessions.push_back(session.clone());
    }

    fn knows(&self, session: &str) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().any(|known| known.0 == session)
    }
}

impl Inner {
    /// Ends what a start has begun that was not heard of. `since`: when it was asked for.
    pub(super) async fn end_unheard(&self, start: &Start, since: SystemTime) -> Result<(), BackendError> {
        let until = SystemTime::now() + SKEW;
        let found = {
            let _nobody_starts = self.heard.starting.write().await;
            let on_node = ssm::types::SessionFilter::builder()
                .key(ssm::types::SessionFilterKey::TargetId)
                .value(&start.node.0)
                .build()
                .map_err(|error| BackendError::Unreachable(error.to_string()))?;
            let active = self.clients.ssm.describe_sessions().state(ssm::types::SessionState::Active);
            let answer = active.filters(on_node).send().await;
            let answer = answer.map_err(|error| explain(self.call("DescribeSessions", &start.node.0), &error))?;
            let began_then = |session: &ssm::types::Session| {
                let at = session.start_date().and_then(|date| SystemTime::try_from(*date).ok());
                at.is_some_and(|at| at + SKEW >= since && at <= until)
            };
            let is_it = |session: &&ssm::types::Session| {
                session.document_name() == Some(&start.request.document)
                    && session.reason().unwrap_or_default()
                        == start.reason.as_ref().map_or("", |reason| reason.as_str())
                    && began_then(session)
                    && session.session_id().is_some_and(|id| !self.heard.knows(id))
            };
            let sessions = answer.sessions().iter().filter(is_it);
            sessions.filter_map(|session| session.session_id()).map(|id| SessionId(id.to_owned())).collect::<Vec<_>>()
        };
        for session in found {
            tracing::warn!(%session, "a session was started that nobody heard of; it is ended");
            self.terminate(&session).await?;
        }
        Ok(())
    }
}

/// More than can be on their way at once.
const MOST_NOTED: usize = 4096;
/// How far the service's clock may be from ours, and a date from its second.
const SKEW: Duration = Duration::from_secs(2);
