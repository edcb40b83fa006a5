//! Who has looked at evidence on this machine: a line of `looked.jsonl`, where the evidence directory can be written.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::control;
use crate::audit::{Kind, Leave, LiveSession, Subject, Trouble};

/// The file's name.
const FILE: &str = "looked.jsonl";

/// Whoever can read the evidence directory: who that is, is the file system's to say.
#[derive(Debug)]
pub(super) struct Anybody {
    pub(super) evidence: PathBuf,
}

impl Leave for Anybody {
    fn may<'a>(&'a self, _: &'a Subject) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn conceals(&self) -> bool {
        false
    }

    fn note<'a>(&'a self, what: &'static str, session: Option<&'a Subject>) -> BoxFuture<'a, Result<(), Trouble>> {
        note(&self.evidence, what, session.map(|session| session.id));
        Box::pin(std::future::ready(Ok(())))
    }

    fn live(&self) -> BoxFuture<'_, Result<Vec<LiveSession>, Trouble>> {
        let live = control::live(&self.evidence).map_err(|failure| Trouble::new(Kind::Failed, failure.text));
        Box::pin(std::future::ready(live))
    }
}

/// Leaves the line. Whoever may read and not write can't, and reads all the same: this is no guard, it is a note.
fn note(evidence: &Path, what: &str, session: Option<Uuid>) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(evidence.join(FILE), flags, Mode::RUSR | Mode::WUSR) else { return };
    let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let mut line = json!({ "time": time, "uid": rustix::process::getuid().as_raw(), "what": what });
    // the login that was before `sudo`, where somebody says so
    if let (Some(line), Ok(uid)) = (line.as_object_mut(), std::env::var("SUDO_UID")) {
        line.insert("sudo_uid".to_owned(), uid.chars().take(16).collect::<String>().into());
    }
    if let (Some(line), Some(session)) = (line.as_object_mut(), session) {
        line.insert("session".to_owned(), session.to_string().into());
    }
    let _ = std::fs::File::from(file).write_all(format!("{line}\n").as_bytes());
}
