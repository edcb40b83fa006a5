//! A journal whose end was torn, at every byte at which that can be.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use portcullis_folder::{Depth, Journal, SigningKey, VerifyingKey, verify_journal};
use uuid::Uuid;

use super::LogFile;
use crate::evidence::event::{Event, SessionLane};
use crate::evidence::event_log::{EventLog, Place};
use crate::model::CallIds;

const CALLS: CallIds = CallIds { start: None, assume_role: None };

/// The one that all runs of a test sign with.
fn key() -> Arc<SigningKey> {
    static KEY: OnceLock<Arc<SigningKey>> = OnceLock::new();
    KEY.get_or_init(|| Arc::new(SigningKey::generate("portcullis/test").unwrap().0)).clone()
}

/// One run of a gateway that writes so many lines.
async fn run(directory: &Path, lines: usize) {
    let place = Place { directory, limit: 1 << 20, reserve: 0, key: key(), index: None };
    let log = EventLog::open_at(place).unwrap();
    for at in 0..lines {
        let id = format!("ada-{at}");
        let event = Event::SessionLane(SessionLane { session_manager_id: &id, calls: &CALLS });
        log.record(Uuid::nil(), &event).await.unwrap();
    }
    log.flush().await;
}

/// What is wrong with the journal.
fn faults(directory: &Path) -> Vec<String> {
    let keys: Vec<VerifyingKey> = vec![key().verifying_key().clone()];
    let (log, heads) = (directory.join("events.jsonl"), directory.join("events.checkpoints"));
    let (logs, checkpoints) = ([log], [heads]);
    let (evidence, anchors, depth) = (None, [], Depth::Heads);
    let journal = Journal { logs: &logs, checkpoints: &checkpoints, evidence, anchors: &anchors, keys: &keys, depth };
    verify_journal(&journal).faults.iter().map(ToString::to_string).collect()
}

fn put(directory: &Path, log: &[u8], heads: &[u8]) {
    let _ = std::fs::remove_file(directory.join("events.torn.jsonl"));
    std::fs::write(directory.join("events.jsonl"), log).unwrap();
    std::fs::write(directory.join("events.checkpoints"), heads).unwrap();
}

/// All that was moved aside.
fn torn(directory: &Path) -> Vec<u8> {
    use base64::Engine as _;
    let text = std::fs::read_to_string(directory.join("events.torn.jsonl")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let bytes = lines.map(|line| base64::engine::general_purpose::STANDARD.decode(line["base64"].as_str().unwrap()));
    bytes.flat_map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_line_that_was_torn_at_any_byte_is_moved_aside_and_the_journal_verifies() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 3).await;
    let log = std::fs::read(dir.path().join("events.jsonl")).unwrap();
    let heads = std::fs::read(dir.path().join("events.checkpoints")).unwrap();
    assert_eq!(faults(dir.path()), [""; 0]);
    // another line, which no head has yet
    let more = br#"{"time":"2026-11-30T07:12:33.123Z","v":1,"run":"00000000-0000-0000-0000-000000000007","seq":1,"event":"x"}"#;
    for length in 0..=more.len() {
        let half = more.get(..length).unwrap();
        put(dir.path(), &[log.as_slice(), half].concat(), &heads);
        run(dir.path(), 1).await;
        assert_eq!(torn(dir.path()), half, "{length}");
        let now = std::fs::read(dir.path().join("events.jsonl")).unwrap();
        assert!(now.starts_with(&log) && now.len() > log.len() && now.ends_with(b"\n"), "{length}");
        assert_eq!(faults(dir.path()), [""; 0], "{length}");
    }
}

#[tokio::test]
async fn a_head_that_was_torn_at_any_byte_is_moved_aside_and_the_next_run_starts() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 1).await;
    let first = std::fs::read(dir.path().join("events.checkpoints")).unwrap();
    run(dir.path(), 1).await;
    let log = std::fs::read(dir.path().join("events.jsonl")).unwrap();
    let heads = std::fs::read(dir.path().join("events.checkpoints")).unwrap();
    assert!(heads.len() > first.len() + 100);
    // the first note of all as well: then there is none
    for length in (0..heads.len()).filter(|length| length % 7 == 0 || (first.len()..first.len() + 3).contains(length)) {
        let half = heads.get(..length).unwrap();
        put(dir.path(), &log, half);
        run(dir.path(), 1).await;
        let whole = if length < first.len() { 0 } else { first.len() };
        assert_eq!(torn(dir.path()), &half[whole..], "{length}");
        let now = std::fs::read(dir.path().join("events.checkpoints")).unwrap();
        assert!(now.starts_with(&half[..whole]) && now.len() > whole + 100, "{length}");
        // no head is malformed; that those are missing which were torn off shows
        assert!(
            !faults(dir.path()).iter().any(|fault| fault.contains("malformed")),
            "{length}: {:?}",
            faults(dir.path())
        );
    }
}

#[test]
fn a_log_that_is_one_torn_line_is_moved_aside_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    for length in [1, 70_000, 3 << 20] {
        let line = vec![b'x'; length];
        put(dir.path(), &line, b"");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let file = LogFile::open(&path, 1 << 20).unwrap();
        assert_eq!(file.last_line().unwrap(), None);
        assert_eq!((std::fs::read(&path).unwrap().len(), torn(dir.path())), (0, line));
    }
}
