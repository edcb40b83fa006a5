//! The vectors under `docs/formats/`: written again they have the same bytes, they verify, and what was done to each of the tampered
//! ones is told as they say. `WRITE_VECTORS=1 cargo test -p portcullis-folder vectors` writes them anew.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::encrypted::Contents;
use crate::key::{SigningKey, VerifyingKey};
use crate::layout::File;
use crate::testing::{GATE, OpenKeyring, SESSION, Session, key};

pub(super) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats")
}

fn session_folder() -> PathBuf {
    vectors().join("session").join(SESSION.hyphenated().to_string())
}

/// Compares a vector with what it must be; or writes it.
pub(super) fn is_vector(path: &Path, bytes: &[u8]) {
    if std::env::var_os("WRITE_VECTORS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let found = fs::read(path).unwrap_or_default();
    assert!(found == bytes, "{} is not as it is written now; formats that change take another version", path.display());
}

fn published() -> Vec<VerifyingKey> {
    let text = fs::read_to_string(vectors().join("key.pub")).unwrap();
    vec![VerifyingKey::parse(text.trim_end()).unwrap()]
}

#[test]
fn the_key_and_the_folder_have_the_same_bytes_when_they_are_written_again() {
    // not a secret: its seed is 32 times 0x01
    let text =
        format!("PRIVATE+KEY+{GATE}+{:08x}+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", key(1).verifying_key().id());
    assert_eq!(SigningKey::parse(&text).unwrap().verifying_key(), key(1).verifying_key());
    is_vector(&vectors().join("key"), format!("{text}\n").as_bytes());
    is_vector(&vectors().join("key.pub"), format!("{}\n", key(1).verifying_key()).as_bytes());
    let folder = Session::whole();
    for (name, bytes) in &folder.0 {
        is_vector(&session_folder().join(name), bytes);
    }
    assert_eq!(session_folder().read_dir().unwrap().count(), folder.0.len());
}

/// Its IVs are random, so it is not written again as it is; `WRITE_VECTORS` writes another one.
#[test]
fn the_encrypted_folder_verifies_without_its_key_and_says_with_it_what_the_plain_one_says() {
    let path = vectors().join("encrypted").join(SESSION.hyphenated().to_string());
    if std::env::var_os("WRITE_VECTORS").is_some() {
        let mut session = Session::encrypted(SESSION, key(1), 9).with_example();
        session.close("finished", None);
        fs::create_dir_all(&path).unwrap();
        for (name, bytes) in &session.folder.0 {
            fs::write(path.join(name), bytes).unwrap();
        }
    }
    for report in [verify_folder(&path, &published()), verify_folder_with(&path, &published(), &OpenKeyring)] {
        assert_eq!((report.faults, report.verdict), (vec![], Verdict::Whole));
    }
    let contents = Contents::open(&path, &OpenKeyring).unwrap();
    let plain = Session::whole();
    for file in [File::Events, File::Terminal, File::Commands, File::Files, File::StdoutHead] {
        let mut said = Vec::new();
        contents.file(file).unwrap().read_to_end(&mut said).unwrap();
        assert_eq!(said, plain.0[file.name()], "{}", file.name());
    }
}

#[test]
fn the_folder_verifies_with_the_key_that_is_published_and_with_no_other() {
    let report = verify_folder(&session_folder(), &published());
    assert_eq!((report.faults, report.verdict), (vec![], Verdict::Whole));
    assert!(!verify_folder(&session_folder(), &[key(2).verifying_key().clone()]).is_whole());
}

/// What is done to the folder, and what is told of it.
#[derive(Deserialize)]
struct Tampered {
    name: String,
    edits: Vec<Edit>,
    faults: Value,
}

/// One change of a file: of its lines, which are counted from 1 and have their newlines, or of all of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Edit {
    file: String,
    #[serde(default)]
    line: Option<usize>,
    /// The first of these texts becomes the second.
    #[serde(default)]
    replace: Option<(String, String)>,
    /// The line goes; or the file, where there is no line.
    #[serde(default)]
    remove: bool,
    /// These lines trade places.
    #[serde(default)]
    swap: Option<(usize, usize)>,
    /// This is put before the line, or at the end.
    #[serde(default)]
    insert: Option<String>,
    /// So many lines stay.
    #[serde(default)]
    keep: Option<usize>,
}

fn apply(folder: &mut InMemory, edit: Edit) {
    let mut lines: Vec<String> = match folder.0.remove(&edit.file) {
        Some(bytes) => String::from_utf8(bytes).unwrap().split_inclusive('\n').map(str::to_owned).collect(),
        None => Vec::new(),
    };
    if edit.remove && edit.line.is_none() {
        return;
    }
    let at = edit.line.map_or(lines.len(), |line| line - 1);
    if let Some((from, to)) = edit.replace {
        assert!(lines[at].contains(&from), "{from}");
        lines[at] = lines[at].replacen(&from, &to, 1);
    }
    if edit.remove {
        lines.remove(at);
    }
    if let Some((one, other)) = edit.swap {
        lines.swap(one - 1, other - 1);
    }
    if let Some(text) = edit.insert {
        lines.insert(at, text);
    }
    lines.truncate(edit.keep.unwrap_or(usize::MAX));
    folder.0.insert(edit.file, lines.concat().into_bytes());
}

#[test]
fn each_tampered_copy_is_told_as_it_says() {
    let path = vectors().join("tampered.json");
    let text = fs::read_to_string(&path).unwrap();
    let all: Vec<Tampered> = serde_json::from_str(&text).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let mut told = Vec::new();
    for (at, Tampered { name, edits, faults }) in all.into_iter().enumerate() {
        let mut folder = Session::whole();
        for edit in edits {
            apply(&mut folder, edit);
        }
        let report = verify_files(&folder, Some(SESSION), &published());
        assert!(!report.is_whole(), "{name}");
        let mut found = serde_json::to_value(&report.faults).unwrap();
        // sentences may be said better
        for fault in found.as_array_mut().unwrap() {
            fault.as_object_mut().unwrap().remove("what");
        }
        if std::env::var_os("WRITE_VECTORS").is_some() {
            value[at]["faults"] = found.clone();
        } else {
            assert_eq!(found, faults, "{name}");
        }
        told.extend(report.faults.into_iter().map(|fault| fault.code.as_str()));
    }
    if std::env::var_os("WRITE_VECTORS").is_some() {
        fs::write(&path, format!("{value:#}\n")).unwrap();
    }
    for code in [
        "edited",
        "reordered",
        "repeated",
        "spliced",
        "deleted",
        "truncated",
        "unsigned-tail",
        "wrong-signature",
        "unknown-key",
        "malformed",
        "missing-file",
        "unknown-file",
        "unsealed",
    ] {
        assert!(told.contains(&code), "no vector is {code}");
    }
    assert!(!told.contains(&"unreadable") && File::ALL.len() == 11);
}

/// Without any code of ours: `docs/formats/check.py`, under the Python that has `cryptography` for another test.
#[test]
fn another_implementation_finds_the_vectors_as_they_should_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let setup = Command::new("scripts/setup.sh").arg("moto_server").current_dir(&root).output().unwrap();
    assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    let check = |vectors: &Path| {
        let mut python = Command::new(root.join("target/moto/bin/python3"));
        python.arg(vectors.join("check.py")).current_dir(&root).output().unwrap()
    };
    let ran = check(&vectors());
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // and can tell one that is not
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(vectors().join(".")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    let events = dir.path().join("session").join(SESSION.hyphenated().to_string()).join("events.jsonl");
    fs::write(&events, fs::read_to_string(&events).unwrap().replace("make 2", "make 3")).unwrap();
    assert!(!check(dir.path()).status.success());
}
