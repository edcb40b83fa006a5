//! What stands where when evidence is encrypted, and that nothing does when it can't be.

use std::path::Path;
use std::sync::Arc;

use portcullis_folder::{Contents, File, SigningKey, VerifyingKey, verify_folder, verify_folder_with};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::evidence::fields::Line;
use crate::evidence::file_event::{FileClosed, FileDigest, FileOperation, FileOutcome, Paths};
use crate::evidence::{ChannelRefused, EventLog, Opening, Outcome, Place, SessionRecord};
use crate::model::RefusalCode;
use crate::policy::{Action, Grant};
use crate::testing::{Moto, encryption, keys_at};

/// What must be nowhere but inside.
const CANARY: &str = "kanarienvogel";

fn written(event: &Event<'_>, encrypted: bool) -> String {
    String::from_utf8(Line::of(Uuid::nil(), event, encrypted).numbered(Uuid::nil(), 1).line).unwrap()
}

#[test]
fn the_journal_has_who_and_how_much_and_not_what() {
    let paths = Paths { path: CANARY.as_bytes(), real_path: Some(CANARY.as_bytes()), ..Paths::default() };
    let denied = FileOutcome::Denied { code: RefusalCode::NoRule, policy: "no-secrets", why: CANARY };
    let closed = FileClosed {
        action: "Upload",
        paths,
        outcome: FileOutcome::Done,
        bytes: 5,
        digest: FileDigest::Whole([0xab; 32]),
    };
    let refused = ChannelRefused {
        source: "192.0.2.1:5".parse().unwrap(),
        login: "web-1",
        person: Some("ada"),
        asked: "Exec on web-1",
        code: RefusalCode::NoRule,
        reason: CANARY,
        policy: Some(("no-secrets", "ab12")),
        decided: None,
    };
    let events = [
        Event::FileClosed(closed),
        Event::FileOperation(FileOperation { action: "Remove", paths, outcome: denied }),
        Event::ChannelRefused(refused),
    ];
    for event in events {
        let (plain, encrypted) = (written(&event, false), written(&event, true));
        // it is there where nothing is encrypted: this would be found
        assert!(plain.contains(CANARY), "{plain}");
        assert!(!encrypted.contains(CANARY) && !encrypted.contains("abab"), "{encrypted}");
        let (plain, encrypted): (Value, Value) =
            (serde_json::from_str(&plain).unwrap(), serde_json::from_str(&encrypted).unwrap());
        for name in ["event", "id", "action", "outcome", "code", "policy", "person", "source", "bytes"] {
            assert_eq!(plain.get(name), encrypted.get(name), "{name}");
        }
        // what is missing is named
        let withheld: Vec<&str> = encrypted["withheld"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let missing: Vec<&str> = plain
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .filter(|name| encrypted.get(name).is_none())
            .collect();
        assert_eq!(withheld, missing);
    }
}

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate("portcullis/test").unwrap().0)
}

fn log(directory: &Path, key: &Arc<SigningKey>, encryption: Encryption) -> Arc<EventLog> {
    let place = Place { directory, limit: 64 << 20, reserve: 0, key: key.clone(), index: None };
    Arc::new(EventLog::open_at(place).unwrap().encrypted(encryption))
}

/// Every file under a directory, and what is in it.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

fn assert_nowhere(directory: &Path, canary: &str) {
    let all = files(directory);
    assert!(all.len() > 3);
    for (name, bytes) in all {
        assert!(!bytes.windows(canary.len()).any(|part| part == canary.as_bytes()), "{name} has it");
    }
}

fn folder(directory: &Path, session: Uuid) -> std::path::PathBuf {
    let days = std::fs::read_dir(directory.join("sessions")).unwrap();
    days.map(|day| day.unwrap().path().join(session.to_string())).find(|path| path.is_dir()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(copied.success());
}

fn said(path: &Path, keyring: &dyn portcullis_folder::Keyring, file: File) -> String {
    let contents = Contents::open(path, keyring).unwrap();
    std::io::read_to_string(contents.file(file).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_session_is_anywhere_in_the_clear_and_all_of_it_is_there_for_whoever_has_the_key() {
    let moto = Moto::start().await;
    let keys = moto.keys(&moto.kms_key());
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let log = log(dir.path(), &key, encryption(keys.clone()));
    let command = format!("cat {CANARY}");
    let grant = Grant::for_test("i-0123456789abcdef0", Action::Exec { command: command.clone().into_bytes() });
    let record = SessionRecord::open(&log, &grant, Opening::for_test()).await.unwrap();
    let id = record.id();
    let paths = Paths { path: CANARY.as_bytes(), ..Paths::default() };
    let removed = FileOperation { action: "Remove", paths, outcome: FileOutcome::Done };
    record.files().operation(removed).await.unwrap();
    record.close(&Outcome::Failed(format!("{CANARY} has failed"))).await.unwrap();
    log.flush().await;
    assert_nowhere(dir.path(), CANARY);
    let path = folder(dir.path(), id);
    let keys_of_gate: Vec<VerifyingKey> = vec![key.verifying_key().clone()];
    for report in [verify_folder(&path, &keys_of_gate), verify_folder_with(&path, &keys_of_gate, &keys)] {
        assert_eq!((report.faults.len(), report.is_whole()), (0, true), "{:?}", report.faults);
    }
    assert!(said(&path, &keys, File::Commands).contains(&command));
    assert!(said(&path, &keys, File::Events).contains(CANARY));
    assert!(said(&path, &keys, File::Files).contains(CANARY));
    let mut manifest: portcullis_folder::Manifest =
        serde_json::from_slice(&std::fs::read(path.join("manifest.json")).unwrap()).unwrap();
    // found without the key: who, and how it ended
    let ended = manifest.ended.clone().unwrap();
    assert_eq!((manifest.command.as_ref(), ended.outcome.as_str(), ended.why), (None, "failed", None));
    Contents::open(&path, &keys).unwrap().reveal(&mut manifest).unwrap();
    assert_eq!(manifest.command.as_deref(), Some(command.as_str()));
    assert!(manifest.ended.unwrap().why.unwrap().contains(CANARY) && manifest.streams.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_no_session_opens_and_nothing_is_made() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let log = log(dir.path(), &key, encryption(keys_at(&closed, "alias/evidence")));
    let grant = Grant::for_test("i-0123456789abcdef0", Action::Exec { command: CANARY.into() });
    let error = SessionRecord::open(&log, &grant, Opening::for_test()).await.unwrap_err();
    assert_eq!(error, EvidenceError::Unencrypted);
    assert!(error.to_string().contains("can't be encrypted, so it does not open"), "{error}");
    log.flush().await;
    assert!(!dir.path().join("sessions").exists());
    let journal = std::fs::read_to_string(dir.path().join(EventLog::FILE)).unwrap_or_default();
    assert!(!journal.contains(CANARY) && !journal.contains("session.opened"), "{journal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_s_next_start_gets_the_key_back_and_seals_the_folder() {
    let moto = Moto::start().await;
    let keys = moto.keys(&moto.kms_key());
    let (dir, again, key) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), key());
    let before = log(dir.path(), &key, encryption(keys.clone()));
    let grant = Grant::for_test("i-0123456789abcdef0", Action::Exec { command: format!("cat {CANARY}").into_bytes() });
    let record = SessionRecord::open(&before, &grant, Opening::for_test()).await.unwrap();
    // what a killed gateway leaves is what is there while it runs; with a torn line behind it
    copy(dir.path(), again.path());
    let path = folder(again.path(), record.id());
    let mut torn = std::fs::read(path.join("commands.jsonl")).unwrap();
    let whole = torn.len();
    torn.extend_from_within(..whole / 2);
    std::fs::write(path.join("commands.jsonl"), &torn).unwrap();
    let published: Vec<VerifyingKey> = vec![key.verifying_key().clone()];
    // who does not get the key leaves it as it is, for the next start
    {
        let log = log(again.path(), &key, Encryption::default());
        log.seal_interrupted(again.path(), &key, &published, &portcullis_folder::NoKeyring).await;
        log.flush().await;
        assert!(!path.join("manifest.json").exists());
        assert_eq!(std::fs::read(path.join("commands.jsonl")).unwrap(), torn);
    }
    let log = log(again.path(), &key, encryption(keys.clone()));
    log.seal_interrupted(again.path(), &key, &published, &keys).await;
    log.flush().await;
    let report = verify_folder_with(&path, &published, &keys);
    assert_eq!((report.faults.len(), report.outcome.as_deref()), (0, Some("interrupted")), "{:?}", report.faults);
    assert!(report.encryption.unwrap().opened && path.join("torn.jsonl").exists());
    assert!(said(&path, &keys, File::Events).lines().last().unwrap().contains("session.interrupted"));
    let mut manifest: portcullis_folder::Manifest =
        serde_json::from_slice(&std::fs::read(path.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((manifest.counts.commands, manifest.command.as_ref()), (1, None));
    Contents::open(&path, &keys).unwrap().reveal(&mut manifest).unwrap();
    assert!(manifest.command.unwrap().contains(CANARY));
    assert_nowhere(again.path(), CANARY);
}
