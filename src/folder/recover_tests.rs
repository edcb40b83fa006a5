//! Every point at which a gateway can be killed, and what a power cut leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::testing::{SESSION, Session, key};
use crate::verify::{InMemory, Verdict, verify_folder};

type Folder = BTreeMap<String, Vec<u8>>;

/// In memory where there is such a place: this is done thousands of times.
fn place() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn put(dir: &TempDir, folder: &Folder) -> PathBuf {
    let path = dir.path().join(SESSION.hyphenated().to_string());
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    for (name, bytes) in folder {
        std::fs::write(path.join(name), bytes).unwrap();
    }
    path
}

fn read(path: &Path) -> Folder {
    let entries = path.read_dir().unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

fn interrupted(path: &Path) -> Interrupted {
    let keys = [key(1).verifying_key().clone()];
    match recover(path, &key(1), &keys) {
        Ok(Recovered::Interrupted(interrupted)) => *interrupted,
        other => panic!("{other:?}"),
    }
}

/// Ends a session as the gateway does at its next start, and verifies it.
fn sealed(path: &Path, interrupted: Interrupted) -> Folder {
    let Interrupted { seal, heads, checkpoints, .. } = interrupted;
    let mut session = Session::new();
    (session.seal, session.heads) = (seal, heads);
    session.folder = InMemory(read(path));
    session.event(4007, "SSH Activity: Close", json!({ "status": "Failure" }));
    session.close("interrupted", Some(checkpoints));
    put_all(path, &session.folder.0);
    let report = verify_folder(path, &[key(1).verifying_key().clone()]);
    assert_eq!((report.faults, report.verdict), (vec![], Verdict::Whole));
    session.folder.0
}

fn put_all(path: &Path, folder: &Folder) {
    for (name, bytes) in folder {
        std::fs::write(path.join(name), bytes).unwrap();
    }
}

/// What the files and `torn.jsonl` have together, by file.
fn joined(folder: &Folder) -> Folder {
    let mut all = folder.clone();
    for line in
        all.remove("torn.jsonl").unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
    {
        let line: Value = serde_json::from_slice(line).unwrap();
        let file = all.entry(line["file"].as_str().unwrap().to_owned()).or_default();
        let bytes = STANDARD.decode(line["base64"].as_str().unwrap()).unwrap();
        assert_eq!(line["bytes"], bytes.len());
        assert_eq!(line["offset"], file.len());
        file.extend(bytes);
    }
    all.retain(|_, bytes| !bytes.is_empty());
    all
}

/// The example's writes, one after the other.
fn writes() -> Vec<(String, Vec<u8>)> {
    let mut session = Session::example();
    session.close("finished", None);
    session.log
}

#[test]
fn a_gateway_that_is_killed_at_any_byte_loses_nothing() {
    let dir = place();
    let writes = writes();
    let mut before = Folder::new();
    for (at, (name, bytes)) in writes.iter().enumerate() {
        for length in 0..bytes.len() {
            let mut folder = before.clone();
            if length > 0 {
                folder.entry(name.clone()).or_default().extend_from_slice(&bytes[..length]);
            }
            let path = put(&dir, &folder);
            let recovered = interrupted(&path);
            let after = read(&path);
            assert_eq!(joined(&after), folder, "write {at}, {length} bytes");
            for file in LINES {
                let text = after.get(file.name()).cloned().unwrap_or_default();
                assert!(text.is_empty() || text.ends_with(b"\n"));
            }
            // a torn line is only that line, or a torn head or manifest
            let torn: u64 =
                recovered.torn.iter().filter(|torn| torn.file == *name).map(|torn| torn.to - torn.from).sum();
            assert!(torn <= length as u64, "write {at}, {length} bytes: {:?}", recovered.torn);
            // now and then: sealing is the same for all
            if length % 7 == 0 {
                sealed(&path, recovered);
            }
        }
        before.entry(name.clone()).or_default().extend_from_slice(bytes);
    }
    let path = put(&dir, &before);
    assert!(matches!(recover(&path, &key(1), &[key(1).verifying_key().clone()]), Ok(Recovered::Sealed)));
    assert_eq!(read(&path), before);
}

#[test]
fn what_was_found_later_is_told_and_time_goes_on() {
    let dir = place();
    let mut session = Session::example();
    let checkpoints = session.seal.checkpoints();
    let lines = session.folder.text(File::Events).len() as u64;
    session.folder.0.get_mut("terminal.cast").unwrap().extend_from_slice(b"[4.0, \"o\", \"half");
    let path = put(&dir, &session.folder.0);
    let mut recovered = interrupted(&path);
    assert_eq!(recovered.checkpoints, checkpoints);
    let places: Vec<_> = recovered.after_head.iter().map(|later| (later.file.as_str(), later.to)).collect();
    assert_eq!(places, [("events.jsonl", lines), ("stdout.head", 8)]);
    assert_eq!(recovered.torn.iter().map(|torn| torn.file.as_str()).collect::<Vec<_>>(), ["terminal.cast"]);
    let then = recovered.seal.next(time::OffsetDateTime::UNIX_EPOCH).time;
    let last: Value = serde_json::from_str(session.folder.text(File::Events).lines().last().unwrap()).unwrap();
    assert_eq!(last["time"], then);
    let again = interrupted(&path);
    assert_eq!(again.torn, []);
    let sealed = sealed(&path, again);
    assert!(sealed.contains_key("torn.jsonl"));
    let report = verify_folder(&path, &[key(1).verifying_key().clone()]);
    assert_eq!(
        report.found_later.iter().map(|later| later.file.as_str()).collect::<Vec<_>>(),
        ["events.jsonl", "stdout.head", "torn.jsonl"]
    );
}

#[test]
fn a_manifest_without_a_last_head_is_kept_and_given_back() {
    let dir = place();
    let mut session = Session::example();
    let manifest = session.manifest("finished", None);
    session.write(File::Manifest, &manifest);
    let path = put(&dir, &session.folder.0);
    let recovered = interrupted(&path);
    assert_eq!(recovered.manifest.as_ref().unwrap().ended.as_ref().unwrap().outcome, "finished");
    assert!(!path.join("manifest.json").exists());
    assert_eq!(joined(&read(&path)), session.folder.0);
}

#[test]
fn a_recovery_that_was_killed_is_done_again_without_a_second_copy() {
    let dir = place();
    let mut session = Session::example();
    session.folder.0.get_mut("events.jsonl").unwrap().extend_from_slice(b"{\"torn\":");
    let before = session.folder.0.clone();
    let path = put(&dir, &before);
    interrupted(&path);
    let copy = read(&path)["torn.jsonl"].clone();
    for length in 0..=copy.len() {
        let mut folder = before.clone();
        folder.insert("torn.jsonl".to_owned(), copy[..length].to_vec());
        let path = put(&dir, &folder);
        let recovered = interrupted(&path);
        assert_eq!(read(&path)["torn.jsonl"], copy, "killed after {length} bytes");
        if length % 10 == 0 {
            sealed(&path, recovered);
        }
    }
}

#[test]
fn a_folder_whose_signed_part_was_changed_is_left_as_it_is() {
    let dir = place();
    let keys = [key(1).verifying_key().clone()];
    type Change = (&'static str, fn(&mut Vec<u8>));
    let changes: [Change; 6] = [
        ("events.jsonl", |bytes| bytes[100] ^= 1),
        ("events.jsonl", |bytes| bytes.truncate(300)),
        ("events.jsonl", Vec::clear),
        ("terminal.cast", |bytes| bytes[50] ^= 1),
        ("checkpoints", |bytes| bytes[10] ^= 1),
        ("checkpoints", |bytes| bytes[500] ^= 1),
    ];
    for (name, change) in changes {
        let mut folder = Session::example().folder.0;
        change(folder.get_mut(name).unwrap());
        folder.get_mut("terminal.cast").unwrap().extend_from_slice(b"[torn");
        let path = put(&dir, &folder);
        let error = recover(&path, &key(1), &keys).unwrap_err();
        assert!(matches!(error, RecoverError::Altered(_)), "{name}: {error}");
        assert!(error.to_string().contains(name) && error.to_string().contains("left as it is"), "{error}");
        assert_eq!(read(&path), folder);
    }
    let mut folder = Session::example().folder.0;
    folder.remove("terminal.cast");
    let path = put(&dir, &folder);
    assert!(matches!(recover(&path, &key(1), &keys), Err(RecoverError::Altered(_))));
    // the same where its key is not known: a list of keys that was lost must not cost the heads
    let folder = Session::example().folder.0;
    let path = put(&dir, &folder);
    assert!(matches!(recover(&path, &key(2), &[key(2).verifying_key().clone()]), Err(RecoverError::UnknownKey(_))));
    assert_eq!(read(&path), folder);
    // and of links nothing is read, nor cut
    std::fs::rename(path.join("stdout.head"), dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), path.join("stdout.head")).unwrap();
    assert!(matches!(recover(&path, &key(1), &keys), Err(RecoverError::Io { .. })));
}

#[test]
fn a_session_goes_on_under_a_new_key() {
    let dir = place();
    let session = Session::example();
    let path = put(&dir, &session.folder.0);
    let keys = [key(2).verifying_key().clone(), key(1).verifying_key().clone()];
    let Ok(Recovered::Interrupted(recovered)) = recover(&path, &key(2), &keys) else { panic!() };
    let mut new = Session::of(SESSION, key(2));
    (new.seal, new.heads) = (recovered.seal, recovered.heads);
    new.folder = InMemory(read(&path));
    new.event(4007, "SSH Activity: Close", json!({}));
    new.close("interrupted", Some(recovered.checkpoints));
    put_all(&path, &new.folder.0);
    let report = verify_folder(&path, &keys);
    assert_eq!((report.faults, report.signed_by.len()), (vec![], 2));
    assert!(!verify_folder(&path, &keys[..1]).is_whole());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What was not given to the disk before a head may be there in part, in any combination, and may be zeros.
    #[test]
    fn a_power_cut_leaves_what_was_signed_and_nothing_that_is_there_is_lost(
        writes_done in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 8),
    ) {
        let dir = place();
        let all = writes();
        let done = writes_done.index(all.len());
        let (mut folder, mut synced) = (Folder::new(), Folder::new());
        for (name, bytes) in &all[..done] {
            // a head is written after all that it names was given to the disk
            if name == "checkpoints" {
                synced = folder.clone();
            }
            folder.entry(name.clone()).or_default().extend_from_slice(bytes);
        }
        for ((keep, zero, zeros), (name, bytes)) in cuts.into_iter().zip(&mut folder) {
            let safe = synced.get(name).map_or(0, Vec::len);
            let length = bytes.len();
            let keep = safe + keep.index(length - safe + 1);
            bytes.truncate(keep);
            if zeros {
                let from = safe + zero.index(length - safe + 1);
                bytes.truncate(from);
                bytes.resize(length, 0);
            }
        }
        folder.retain(|_, bytes| !bytes.is_empty());
        let path = put(&dir, &folder);
        let recovered = interrupted(&path);
        prop_assert_eq!(joined(&read(&path)), folder);
        sealed(&path, recovered);
    }
}
