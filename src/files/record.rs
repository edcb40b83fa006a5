//! File events in the session's log.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::ledger::{Content, FileEvent, FileEvents, FileLedger, Hashed, Outcome};
use super::paths::may_change;
use crate::evidence::{
    EvidenceError, FileAsked, FileClosed, FileDigest, FileOpened, FileOperation, FileOutcome, FileRecord, Paths,
};
use crate::policy::Grant;

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
            // what came of a change stands beside its `file.asked`; all else may be asked as fast as the node answers
            None if leaves_the_node_alone(event) => {
                self.record.question(FileOperation { action, paths, outcome }).await
            }
            None => self.record.operation(FileOperation { action, paths, outcome }).await,
        }
    }
}

/// Whether nothing was, or will be, other than before. A refusal of policy comes before the node is asked for anything.
fn leaves_the_node_alone(event: &FileEvent) -> bool {
    matches!(event.outcome, Outcome::Denied(_)) || !may_change(event.action)
}

impl FileEvents for RecordedFiles {
    fn record(&self, event: FileEvent) -> BoxFuture<'_, Result<(), String>> {
        async move { self.write(&event).await.map_err(|error| error.to_string()) }.boxed()
    }

    fn raise_alerts<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<(), String>> {
        async move { self.record.raise_alerts(grant).await.map_err(|error| error.to_string()) }.boxed()
    }
}

fn digest(hashed: &Hashed) -> FileDigest {
    match *hashed {
        Hashed::Whole(sha256) => FileDigest::Whole(sha256),
        Hashed::Part { offset, sha256 } => FileDigest::Part { offset, sha256 },
        Hashed::No => FileDigest::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Bounds, EventLog, Keeping, SessionRecord, Shares};
    use crate::policy::FileAction;
    use crate::transport::file_service::errno::ENOENT;

    /// Where no question is listed, what came of a change still is.
    #[tokio::test]
    async fn questions_are_counted_and_changes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let keeping = Keeping { required: true, folders: true, output_head: 0, shares: Shares::UNLIMITED };
        let bounds = Bounds { shares: Shares::UNLIMITED, questions_a_minute: 0, keeping };
        let log = Arc::new(EventLog::open(dir.path(), 1 << 20).unwrap().bounded(bounds));
        let record = SessionRecord::for_test_in(log.clone());
        let ledger = FileLedger::new(record.files());
        let failed = Outcome::Failed { errno: Some(ENOENT), message: "No such file or directory".to_owned() };
        for action in [FileAction::Stat, FileAction::Remove, FileAction::Download, FileAction::Upload] {
            let event = FileEvent {
                action,
                path: b"/x".to_vec(),
                real_path: None,
                second: None,
                second_real: None,
                outcome: failed.clone(),
                content: None,
            };
            ledger.events.record(event).await.unwrap();
        }
        drop(record);
        log.flush().await;
        let text = std::fs::read_to_string(log.path()).unwrap();
        let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(told, ["file.operation", "file.operation", "file.summed", "session.closed"]);
        assert_eq!((&events[0]["action"], &events[1]["action"]), (&"Remove".into(), &"Upload".into()));
        assert_eq!(events[2]["operations"].as_array().map(Vec::len), Some(2));
    }
}
