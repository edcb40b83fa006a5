//! Starts the Session Manager sessions of one channel. The evidence has each of them before anybody can use it, and also
//! those that come too late to be used.

use std::sync::Arc;

use crate::backend::{Backend, BackendError, Lane, SessionRequest};
use crate::evidence::LaneLog;

/// What starts sessions for one channel, and where that is noted.
#[derive(Clone, Debug)]
pub(super) struct Starter {
    pub backend: Arc<dyn Backend>,
    pub evidence: LaneLog,
}

impl Starter {
    pub(super) async fn start(&self, request: SessionRequest) -> Result<Lane, BackendError> {
        let started = self.backend.open(request).await;
        let session = match &started {
            Ok(lane) => Some(&lane.id),
            Err(BackendError::Ended { session, .. }) => Some(session),
            Err(_) => None,
        };
        if let Some(session) = session {
            // a session that can't be noted is dropped, which ends it
            self.evidence.opened(session).map_err(|error| BackendError::Refused(error.to_string()))?;
        }
        started
    }
}
