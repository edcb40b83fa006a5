//! What became of a lane's session that nobody here had ended. The data channel does not say: TerminateSession, a limit, an
//! agent that lost its way and a worker that was killed look alike. The service does: a session that broke has failed.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::lane_opener::LaneOpener;
use crate::backend::lanes::Fate;
use crate::model::SessionId;

/// The service is being asked, while the channel goes on.
#[derive(Debug)]
pub(super) struct EndCause {
    asking: JoinHandle<Fate>,
}

impl EndCause {
    /// Begins to ask.
    pub(super) fn of(session: SessionId, opener: LaneOpener) -> Self {
        Self { asking: tokio::spawn(async move { fate(&opener, &session).await }) }
    }

    /// The answer.
    pub(super) async fn fate(&mut self) -> Fate {
        (&mut self.asking).await.unwrap_or(Fate::Unknown)
    }
}

/// The answer that is waited for, if there is a question.
pub(super) async fn answered(cause: &mut Option<EndCause>) -> Fate {
    match cause {
        Some(cause) => cause.fate().await,
        None => std::future::pending().await,
    }
}

/// The same of a session that nobody waits beside.
pub(super) async fn fate(opener: &LaneOpener, session: &SessionId) -> Fate {
    match tokio::time::timeout(LONGEST, opener.fate(session)).await {
        Ok(Ok(fate)) => fate,
        Ok(Err(error)) => {
            tracing::warn!(%session, %error, "what became of a session can't be told");
            Fate::Unknown
        }
        Err(_) => Fate::Unknown,
    }
}

/// How long the service may take to say how a session ended.
const LONGEST: Duration = Duration::from_secs(8);
