//! How an out lane ended that nobody here had ended. The data channel does not say: TerminateSession, a limit and an agent
//! that lost its way look alike. The service's history does: a session that broke has failed.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::lane_opener::LaneOpener;
use crate::model::SessionId;

/// The service is being asked, while the channel goes on.
#[derive(Debug)]
pub(super) struct EndCause {
    asking: JoinHandle<bool>,
}

impl EndCause {
    /// Begins to ask.
    pub(super) fn of(session: SessionId, opener: LaneOpener) -> Self {
        Self { asking: tokio::spawn(async move { has_failed(&opener, &session).await }) }
    }

    /// Whether the session failed. What can't be found out was no failure.
    pub(super) async fn has_failed(&mut self) -> bool {
        (&mut self.asking).await.unwrap_or(false)
    }
}

/// The same of a session that nobody waits beside.
pub(super) async fn has_failed(opener: &LaneOpener, session: &SessionId) -> bool {
    match tokio::time::timeout(LONGEST, opener.has_failed(session)).await {
        Ok(Ok(failed)) => failed,
        Ok(Err(error)) => {
            tracing::warn!(%session, %error, "how a session ended can't be told, so its end is taken for final");
            false
        }
        Err(_) => false,
    }
}

/// How long the service may take to say how a session ended.
const LONGEST: Duration = Duration::from_secs(8);
