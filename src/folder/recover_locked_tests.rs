//! The same of an encrypted folder.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::encrypted::{Contents, NoKeyring};
use crate::layout::File;
use crate::recover::{Interrupted, RecoverError, Recovered, recover, recover_with};
use crate::testing::{OpenKeyring, SESSION, Session, key};
use crate::verify::{InMemory, Verdict, verify_folder, verify_folder_with};

type Folder = BTreeMap<String, Vec<u8>>;

const FILES: [File; 5] = [File::Events, File::Terminal, File::Commands, File::Files, File::StdoutHead];

fn put(dir: &TempDir, folder: &Folder) -> PathBuf {
    let path = dir.path().join(SESSION.hyphenated().to_string());
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    for (name, bytes) in folder {
        std::fs::write(path.join(name), bytes).unwrap();
    }
    path
}

fn place() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn read(path: &Path) -> Folder {
    let entries = path.read_dir().unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

fn interrupted(path: &Path) -> Interrupted {
    match recover_with(path, &key(1), &[key(1).verifying_key().clone()], &OpenKeyring) {
        Ok(Recovered::Interrupted(interrupted)) => *interrupted,
        other => panic!("{other:?}"),
    }
}

/// What the files and `torn.jsonl` have together, by file.
fn joined(folder: &Folder) -> Folder {
    let mut all = folder.clone();
    let torn = all.remove("torn.jsonl").unwrap_or_default();
    for line in torn.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap();
        let file = all.entry(line["file"].as_str().unwrap().to_owned()).or_default();
        assert_eq!(line["offset"], file.len());
        file.extend(STANDARD.decode(line["base64"].as_str().unwrap()).unwrap());
    }
    all.retain(|_, bytes| !bytes.is_empty());
    all
}

/// What a folder says, file by file.
fn plain(path: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let contents = Contents::open(path, &OpenKeyring).unwrap();
    let mut all = BTreeMap::new();
    for file in FILES {
        if let Ok(mut from) = contents.file(file) {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            all.insert(file.name(), bytes);
        }
    }
    all
}

/// Ends a session as the gateway does at its next start, under the key that it got back, and verifies it.
fn sealed(path: &Path, interrupted: Interrupted) {
    let before = plain(path);
    let mut session = Session::new();
    session.lock = interrupted.key;
    (session.seal, session.heads) = (interrupted.seal, interrupted.heads);
    session.folder = InMemory(read(path));
    let event = session.event(4007, "SSH Activity: Close", json!({ "status": "Failure" }));
    session.close("interrupted", Some(interrupted.checkpoints));
    for (name, bytes) in &session.folder.0 {
        std::fs::write(path.join(name), bytes).unwrap();
    }
    let keys = [key(1).verifying_key().clone()];
    for report in [verify_folder(path, &keys), verify_folder_with(path, &keys, &OpenKeyring)] {
        assert_eq!((report.faults, report.verdict), (vec![], Verdict::Whole));
    }
    let mut expected = before;
    expected.entry("events.jsonl").or_default().extend_from_slice(event.as_bytes());
    assert_eq!(plain(path), expected);
}

fn writes() -> Vec<(String, Vec<u8>)> {
    let mut session = Session::encrypted(SESSION, key(1), 9).with_example();
    session.close("finished", None);
    session.log
}

#[test]
fn a_gateway_that_is_killed_at_any_byte_loses_nothing() {
    let dir = place();
    let mut before = Folder::new();
    let writes = writes();
    let (first, rest) = writes.split_first().unwrap();
    assert_eq!(first.0, "key.json");
    // half a key is none: what could not be read again is left as it is
    let half = Folder::from([(first.0.clone(), first.1[..first.1.len() / 2].to_vec())]);
    let path = put(&dir, &half);
    let error = recover_with(&path, &key(1), &[key(1).verifying_key().clone()], &OpenKeyring).unwrap_err();
    assert!(matches!(error, RecoverError::Locked(_)), "{error}");
    assert_eq!(read(&path), half);
    before.insert(first.0.clone(), first.1.clone());
    for (at, (name, bytes)) in rest.iter().enumerate() {
        // of a line one byte in three, and its ends
        let near_the_end = bytes.len().saturating_sub(3);
        for length in (0..bytes.len()).filter(|length| length % 3 == 0 || *length >= near_the_end) {
            let mut folder = before.clone();
            if length > 0 {
                folder.entry(name.clone()).or_default().extend_from_slice(&bytes[..length]);
            }
            let path = put(&dir, &folder);
            let recovered = interrupted(&path);
            let after = read(&path);
            assert_eq!(joined(&after), folder, "write {at}, {length} bytes");
            // just what is torn, which of a file that is lines of its own is never more
            let torn = recovered.torn.iter().filter(|torn| torn.file == *name).map(|torn| torn.to - torn.from);
            assert_eq!(torn.sum::<u64>(), length as u64, "write {at} of {name}, {length} bytes: {:?}", recovered.torn);
            if length % 21 == 0 {
                sealed(&path, recovered);
            }
        }
        before.entry(name.clone()).or_default().extend_from_slice(bytes);
    }
}

#[test]
fn without_its_key_a_folder_is_left_as_it_is_and_the_next_start_tries_again() {
    let dir = place();
    let mut folder = Session::encrypted(SESSION, key(1), 9).with_example().folder.0;
    folder.get_mut("terminal.cast").unwrap().extend_from_slice(b"eyJ");
    let path = put(&dir, &folder);
    let keys = [key(1).verifying_key().clone()];
    for error in
        [recover(&path, &key(1), &keys).unwrap_err(), recover_with(&path, &key(1), &keys, &NoKeyring).unwrap_err()]
    {
        assert!(error.to_string().contains("the key is not to be had"), "{error}");
        assert!(error.to_string().contains("the next start tries again"), "{error}");
        assert_eq!(read(&path), folder);
    }
    sealed(&path, interrupted(&path));
    // and whose signed part was changed is left as it is, whoever has the key
    for name in ["key.json", "events.jsonl", "stdout.head"] {
        let mut folder = Session::encrypted(SESSION, key(1), 9).with_example();
        folder.head();
        let mut folder = folder.folder.0;
        folder.get_mut(name).unwrap()[20] ^= 1;
        let path = put(&dir, &folder);
        let error = recover_with(&path, &key(1), &keys, &OpenKeyring).unwrap_err();
        assert!(matches!(error, RecoverError::Altered(_)) && error.to_string().contains(name), "{error}");
        assert_eq!(read(&path), folder);
    }
}

#[test]
fn lines_that_nobody_signed_stay_only_in_their_place_and_under_their_key() {
    let dir = place();
    let mut session = Session::encrypted(SESSION, key(1), 9).with_example();
    session.head();
    let stranger = Session::encrypted(SESSION, key(1), 8).lock.unwrap();
    let lock = session.lock.clone().unwrap();
    let next = session.seal.next_line(File::Commands);
    let good = b"{\"command\":\"id\"}\n";
    for (line, stays) in [
        (lock.key.line(File::Commands, next, good), true),
        (lock.key.line(File::Commands, next, b"{\"command\":\"id\"}\n{\"command\":\"who\"}\n"), true),
        (lock.key.line(File::Commands, next + 1, good), false),
        (lock.key.line(File::Commands, next - 1, good), false),
        (lock.key.line(File::Files, next, good), false),
        (stranger.key.line(File::Commands, next, good), false),
        // what it says is no line of such a file
        (lock.key.line(File::Commands, next, b"{\"command\":\"id\"}"), false),
        (lock.key.line(File::Commands, next, b"command\n"), false),
    ] {
        let mut folder = session.folder.0.clone();
        folder.get_mut("commands.jsonl").unwrap().extend_from_slice(&line.unwrap());
        let path = put(&dir, &folder);
        let recovered = interrupted(&path);
        assert_eq!(recovered.torn.is_empty(), stays, "{:?}", recovered.torn);
        assert_eq!(joined(&read(&path)), folder);
        sealed(&path, recovered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// What was not given to the disk before a head may be there in part, in any combination, and may be zeros.
    #[test]
    fn a_power_cut_leaves_what_was_signed_and_nothing_that_is_there_is_lost(
        writes_done in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 9),
    ) {
        let dir = place();
        let all = writes();
        let done = 1 + writes_done.index(all.len() - 1);
        let (mut folder, mut synced) = (Folder::new(), Folder::new());
        for (name, bytes) in &all[..done] {
            if name == "checkpoints" {
                synced = folder.clone();
            }
            folder.entry(name.clone()).or_default().extend_from_slice(bytes);
        }
        for ((keep, zero, zeros), (name, bytes)) in cuts.into_iter().zip(&mut folder) {
            // without its key nothing of it is read again; that is told elsewhere
            if name == "key.json" {
                continue;
            }
            let safe = synced.get(name).map_or(0, Vec::len);
            let length = bytes.len();
            bytes.truncate(safe + keep.index(length - safe + 1));
            if zeros {
                bytes.truncate(safe + zero.index(length - safe + 1));
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
