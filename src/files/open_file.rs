//! Something that a client has open: what policy says of it now, and what was transferred.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::access::{Answering, Refusal};
use super::ledger::{FileEvent, FileLedger, Outcome, Tally};
use crate::policy::{Action, Denial, FileAction, Grant, PolicyVersion};
use crate::transport::file_service::errno::EINVAL;
use crate::transport::file_service::{FileError, Handle};

/// A file or directory that the client has open. One that is dropped without its end having been recorded (the whole
/// session was) records that itself.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) handle: Handle,
    pub(super) is_directory: bool,
    pub(super) real_path: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) actions: Vec<FileAction>,
    pub(super) judged: Mutex<Judged>,
    pub(super) progress: Mutex<Progress>,
    pub(super) ledger: FileLedger,
}

/// What policy says of something open, and when it was asked.
#[derive(Debug)]
pub(super) struct Judged {
    by: PolicyVersion,
    at: Instant,
    /// What it was opened for, and may be used for no more.
    denied: Vec<(FileAction, Denial)>,
    /// Of which of that it is in the record.
    said: Vec<FileAction>,
    /// How much may be uploaded in the session by the leave of the policies that let it be, and this file be open.
    pub(super) upload_limits: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) ended: bool,
    pub(super) read: Tally,
    pub(super) written: Tally,
    pub(super) truncation: Option<Answering>,
    pub(super) not_truncated: Option<Refusal>,
}

impl Judged {
    /// By these policies, a moment ago: it may be used, and be uploaded to within these limits.
    pub(super) fn new(by: PolicyVersion, at: Instant, upload_limits: BTreeMap<String, u64>) -> Self {
        Self { by, at, denied: Vec::new(), said: Vec::new(), upload_limits }
    }
}

impl OpenFile {
    /// Whether the client opened both by the same name, or by two that lead to one place, or they are the same.
    pub(super) fn is_called_like(&self, other: &Self) -> bool {
        self.handle == other.handle || self.path == other.path || self.real_path == other.real_path
    }

    /// Why policy lets it be used for this no more, if it does not, and whether that is still to be recorded. Policy is asked again when
    /// others are in force, and each second: who somebody is and what time it is changes as well.
    pub(super) fn judge_again(&self, grant: &Grant, action: FileAction) -> (Option<Denial>, bool) {
        let mut judged = self.judged();
        let by = grant.in_force();
        if judged.by != by || judged.at.elapsed() >= ASKED_AGAIN {
            (judged.by, judged.at) = (by, Instant::now());
            self.ask_again(grant, &mut judged);
        }
        let denied = judged.denied.iter().find(|(denied, _)| *denied == action).map(|(_, denial)| denial.clone());
        let is_new = denied.is_some() && !judged.said.contains(&action);
        if is_new {
            judged.said.push(action);
        }
        (denied, is_new)
    }

    fn ask_again(&self, grant: &Grant, judged: &mut Judged) {
        judged.denied.clear();
        for &action in &self.actions {
            match grant.judge(&Action::File { action, path: self.real_path.clone() }) {
                Ok(terms) => {
                    judged.said.retain(|said| *said != action);
                    if action == FileAction::Upload {
                        judged.upload_limits = grant.terms().and(terms).upload_limits;
                    }
                }
                Err(denial) => judged.denied.push((action, denial)),
            }
        }
    }

    pub(super) fn judged(&self) -> MutexGuard<'_, Judged> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that were read and go to the client.
    pub(super) fn count_read(&self, offset: u64, bytes: &[u8]) {
        self.progress().read.add(offset, bytes);
    }

    /// Counts bytes that the node has confirmed.
    pub(super) fn count_written(&self, offset: u64, bytes: &[u8]) {
        self.progress().written.add(offset, bytes);
    }

    /// Whether emptying the file on opening went well, as far as is known. What can't be emptied (a device, a pipe)
    /// needn't be, as in `open(2)`.
    pub(super) fn truncated(&self) -> Result<(), Refusal> {
        let mut progress = self.progress();
        if let Some(Ok(result)) = progress.truncation.as_mut().map(oneshot::Receiver::try_recv) {
            progress.truncation = None;
            if let Err(FileError::Node { errno, .. }) = result
                && errno != EINVAL
            {
                let message = "the file could not be emptied before it was written".to_owned();
                progress.not_truncated = Some(Refusal::Node { errno, message });
            }
        }
        match &progress.not_truncated {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(()),
        }
    }

    /// What to record about its end; nothing the second time.
    pub(super) fn end(&self, outcome: &Outcome, size: Option<u64>) -> Vec<FileEvent> {
        let mut progress = self.progress();
        if std::mem::replace(&mut progress.ended, true) {
            return Vec::new();
        }
        let event = |&action: &FileAction| FileEvent {
            content: match action {
                FileAction::Download => Some(progress.read.content(size)),
                FileAction::Upload => Some(progress.written.content(size)),
                _ => None,
            },
            ..self.event(action, outcome.clone())
        };
        self.actions.iter().map(event).collect()
    }

    /// What to record about a use of it.
    pub(super) fn event(&self, action: FileAction, outcome: Outcome) -> FileEvent {
        FileEvent {
            action,
            path: self.path.clone(),
            real_path: Some(self.real_path.clone()),
            second: None,
            second_real: None,
            outcome,
            content: None,
        }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        for event in self.end(&Outcome::Unfinished, None) {
            // there is nobody left to wait for it, or to be refused anything because of it; and a task that has used up its
            // turn must not be told that the log has no room
            let _ = tokio::task::unconstrained(self.ledger.events.record(event)).now_or_never();
        }
    }
}

/// How long policy's word on something open counts while nothing else is in force.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
