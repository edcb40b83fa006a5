//! File events in the session's log.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::ledger::{FileEvent, FileEvents, Hashed, Outcome};
use crate::evidence::{Event, EventCode, Recorder};

/// Writes file events into the log of the session they belong to.
#[derive(Debug)]
pub(super) struct RecordedFiles {
    recorder: Mutex<Recorder>,
}

impl RecordedFiles {
    pub(super) fn new(recorder: Recorder) -> Self {
        Self { recorder: Mutex::new(recorder) }
    }
}

impl FileEvents for RecordedFiles {
    fn record(&self, event: FileEvent) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
            recorder.event(|id| line(&event, Event::new(code(&event), id))).map_err(|error| error.to_string())
        }
        .boxed()
    }
}

fn code(event: &FileEvent) -> EventCode {
    match (&event.outcome, &event.content) {
        (Outcome::Asked, _) => EventCode::FileAsked,
        (Outcome::Opened, _) => EventCode::FileOpened,
        (_, Some(_)) => EventCode::FileClosed,
        _ => EventCode::FileOperation,
    }
}

fn line(event: &FileEvent, line: Event) -> Event {
    let mut line = line.text("action", event.action.name());
    line = path(line, "path", Some(&event.path));
    line = path(line, "real_path", event.real_path.as_ref());
    line = path(line, "second_path", event.second.as_ref());
    line = path(line, "second_real_path", event.second_real.as_ref());
    line = match &event.outcome {
        Outcome::Asked => line.text("outcome", "asked"),
        Outcome::Opened => line.text("outcome", "opened"),
        Outcome::Done => line.text("outcome", "done"),
        Outcome::Unfinished => line.text("outcome", "unfinished"),
        Outcome::Denied(denial) => {
            line.text("outcome", "denied").text("policy", &denial.policy).text("why", &denial.text)
        }
        Outcome::Failed { errno, message } => {
            let line = line.text("outcome", "failed").text("why", message);
            match errno {
                Some(errno) => line.value("errno", *errno),
                None => line,
            }
        }
    };
    let Some(content) = &event.content else { return line };
    line = line.value("bytes", content.bytes);
    match &content.hashed {
        Hashed::Whole(sha256) => line.text("sha256", &hex(sha256)),
        Hashed::Part { offset, sha256 } => line.text("sha256_of_part", &hex(sha256)).value("part_offset", *offset),
        Hashed::No => line.value("sha256", serde_json::Value::Null),
    }
}

/// A path as text; one that isn't UTF-8 is there in base64, too.
fn path(line: Event, name: &str, path: Option<&Vec<u8>>) -> Event {
    let Some(path) = path else { return line };
    let line = line.text(name, &String::from_utf8_lossy(path));
    match std::str::from_utf8(path) {
        Ok(_) => line,
        Err(_) => line.text(&format!("{name}_base64"), &STANDARD.encode(path)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::ledger::{Content, FileAction};
    use super::*;

    #[test]
    fn an_event_says_what_was_transferred_and_where() {
        let event = FileEvent {
            action: FileAction::Upload,
            path: b"caf\xe9".to_vec(),
            real_path: Some(b"/home/ada/x".to_vec()),
            second: None,
            second_real: None,
            outcome: Outcome::Done,
            content: Some(Content { bytes: 5, hashed: Hashed::Part { offset: 7, sha256: [0xab; 32] } }),
        };
        let line = line(&event, Event::new(code(&event), Uuid::nil()));
        let line = serde_json::to_value(line).unwrap();
        assert_eq!(line["event"], "file.closed");
        assert_eq!(line["action"], "Upload");
        assert_eq!(line["path"], "caf\u{fffd}");
        assert_eq!(line["path_base64"], "Y2Fm6Q==");
        assert_eq!(line["real_path"], "/home/ada/x");
        assert_eq!(line["bytes"], 5);
        assert_eq!(line["sha256_of_part"], "ab".repeat(32));
        assert_eq!(line["part_offset"], 7);
        assert!(line.get("sha256").is_none());
    }
}
