//! The end of a session: how it is asked for, and how it is written down.

use tokio::sync::watch;
use uuid::Uuid;

use super::registry::Registration;
pub use crate::evidence::Outcome;
use crate::evidence::{EvidenceError, SessionRecord};
use crate::model::Exit;
use crate::policy::Standing;

/// What a session ends by: its record, and its place among those that run. Whoever carries the session closes it; one
/// that is dropped is recorded as interrupted.
#[derive(Debug)]
pub struct SessionEnd {
    // first: as long as it is not written that it is over, it is among those that run
    record: SessionRecord,
    registration: Registration,
}

impl SessionEnd {
    pub(super) fn new(record: SessionRecord, registration: Registration) -> Self {
        Self { record, registration }
    }

    pub(super) fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// The session's number in the log.
    pub fn id(&self) -> Uuid {
        self.record.id()
    }

    /// Whether its folder has what it does.
    pub fn is_recorded(&self) -> bool {
        self.record.is_recorded()
    }

    /// What it goes on by.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.registration.standing()
    }

    /// Waits until somebody ends the session from outside: why, in a sentence for the person.
    pub async fn killed(&self) -> String {
        self.registration.killed().await
    }

    /// Why nothing more is let through, where an event could not be written.
    pub fn lost(&self) -> Option<&EvidenceError> {
        self.record.failure()
    }

    /// The command ended so; written before the client is told. The first one counts.
    pub async fn exit(&self, exit: &Exit) -> Result<(), EvidenceError> {
        self.record.exit(exit).await
    }

    /// The session is over. An end that can't be written is only logged: there is nothing left to stop.
    pub async fn close(self, outcome: &Outcome) {
        drop(self.close_in_place(outcome).await);
    }

    /// The same, for one whose person is still to be told: it keeps its place until then.
    pub(super) async fn close_in_place(self, outcome: &Outcome) -> Registration {
        let id = self.id();
        let Self { record, registration } = self;
        // boxed, so that what runs has no room for it until then
        if let Err(error) = Box::pin(record.close(outcome)).await {
            tracing::error!(%error, session = %id, "the session's end is not in evidence");
        }
        registration
    }
}
