//! Opens the Session Manager sessions of one channel, for as long as the channel lives: it keeps the grant, since lanes
//! that break are opened again. The evidence has each of them before anybody can use it, and also those that come too
//! late to be used.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::backend::BackendError;
use crate::backend::lanes::{Fate, Lane, Lanes, SessionRequest};
use crate::evidence::LaneRecord;
use crate::model::SessionId;
use crate::policy::Grant;

/// What opens lanes for one channel, on whose grant, and where that is noted.
#[derive(Clone, Debug)]
pub(super) struct LaneOpener {
    lanes: Arc<dyn Lanes>,
    /// Shared by the tasks of the channel and what is served over it; the grant itself can't be copied.
    grant: Arc<Grant>,
    evidence: LaneRecord,
}

impl LaneOpener {
    pub(super) fn new(lanes: Arc<dyn Lanes>, grant: Arc<Grant>, evidence: LaneRecord) -> Self {
        Self { lanes, grant, evidence }
    }

    /// What the channel was allowed.
    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Opens a session on the grant's node.
    pub(super) async fn open(&self, request: SessionRequest) -> Result<Lane, BackendError> {
        self.begin(request).done().await
    }

    /// Begins to open a session on the grant's node.
    pub(super) fn begin(&self, request: SessionRequest) -> Opening {
        let opener = self.clone();
        Opening(tokio::spawn(async move { opener.open_and_note(request).await }))
    }

    async fn open_and_note(&self, request: SessionRequest) -> Result<Lane, BackendError> {
        let opened = self.lanes.open(&self.grant, request).await;
        let begun = match &opened {
            Ok(lane) => Some((&lane.id, &lane.calls)),
            Err(BackendError::Ended { session, calls, .. }) => Some((session, calls)),
            Err(_) => None,
        };
        if let Some((session, calls)) = begun {
            // a session that can't be noted is dropped, which ends it
            self.evidence.opened(session, calls).await.map_err(|error| BackendError::Refused(error.to_string()))?;
        }
        opened
    }

    /// What became of a session of the channel, as the service has it.
    pub(super) async fn fate(&self, session: &SessionId) -> Result<Fate, BackendError> {
        self.lanes.fate(&self.grant, session).await
    }
}

/// A lane on its way, in a task of its own: a caller that is cut off half-way must not leave a session that no event
/// names. A lane that nobody waits for any more is noted, and ended when it is dropped.
#[derive(Debug)]
pub(super) struct Opening(JoinHandle<Result<Lane, BackendError>>);

impl Opening {
    /// The lane, when it is there or can't be. Not to be asked again after that.
    pub(super) async fn done(&mut self) -> Result<Lane, BackendError> {
        (&mut self.0).await.unwrap_or_else(|_| {
            Err(BackendError::Unreachable("opening the session failed inside Portcullis; see its log".to_owned()))
        })
    }
}
