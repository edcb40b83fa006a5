//! File events in the session's log.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::ledger::{Content, FileEvent, FileEvents, FileLedger, Hashed, Outcome};
use crate::evidence::{
    EvidenceError, FileAsked, FileClosed, FileDigest, FileOpened, FileOperation, FileOutcome, FileRecord, Paths,
};

impl FileLedger {
    /// Recorded where the session is.
    pub fn new(record: FileRecord) -> Self {
        Self { events: Arc::new(RecordedFiles { record }) }
    }
}

/// Writes file events into the record of the session they belong to.
#[derive(Debug)]
struct RecordedFiles {
    record: FileRecord,
}

impl RecordedFiles {
    async fn write(&self, event: &FileEvent) -> Result<(), EvidenceError> {
        let action = event.action.name();
        let paths = Paths {
            path: &event.path,
            real_path: event.real_path.as_deref(),
            second_path: event.second.as_deref(),
            second_real_path: event.second_real.as_deref(),
        };
        let outcome = match &event.outcome {
            Outcome::Asked => return self.record.asked(FileAsked { action, paths }).await,
            Outcome::Opened => return self.record.opened(FileOpened { action, paths }).await,
            Outcome::Done => FileOutcome::Done,
            Outcome::Unfinished => FileOutcome::Unfinished,
            Outcome::Denied(denial) => {
                FileOutcome::Denied { code: denial.code, policy: &denial.policy, why: &denial.text }
            }
            Outcome::Failed { errno, message } => FileOutcome::Failed { errno: *errno, why: message },
        };
        match &event.content {
            Some(Content { bytes, hashed }) => {
                let digest = digest(hashed);
                self.record.closed(FileClosed { action, paths, outcome, bytes: *bytes, digest }).await
            }
            None => self.record.operation(FileOperation { action, paths, outcome }).await,
        }
    }
}

impl FileEvents for RecordedFiles {
    fn record(&self, event: FileEvent) -> BoxFuture<'_, Result<(), String>> {
        async move { self.write(&event).await.map_err(|error| error.to_string()) }.boxed()
    }
}

fn digest(hashed: &Hashed) -> FileDigest {
    match *hashed {
        Hashed::Whole(sha256) => FileDigest::Whole(sha256),
        Hashed::Part { offset, sha256 } => FileDigest::Part { offset, sha256 },
        Hashed::No => FileDigest::None,
    }
}
