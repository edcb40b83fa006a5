//! What is read is what was said, whole or while it is written; and nothing else is.

use std::io::Write as _;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::encrypted::NoKeyring;
use crate::testing::{OpenKeyring, SESSION, Session, key};
use crate::verify::InMemory;

fn put(folder: &InMemory) -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SESSION.hyphenated().to_string());
    std::fs::create_dir(&path).unwrap();
    for (name, bytes) in &folder.0 {
        std::fs::write(path.join(name), bytes).unwrap();
    }
    (dir, path)
}

fn encrypted() -> Session {
    let mut session = Session::encrypted(SESSION, key(1), 9).with_example();
    session.close("finished", None);
    session
}

fn read(contents: &Contents, file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    contents.file(file)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn an_encrypted_folder_reads_as_the_plain_one() {
    let (_plain, plain) = put(&Session::whole());
    let (_locked, locked) = put(&encrypted().folder);
    // nobody is asked for the key of a plain folder
    let plain = Contents::open(&plain, &NoKeyring).unwrap();
    let locked = Contents::open(&locked, &OpenKeyring).unwrap();
    assert!(!plain.is_encrypted() && locked.is_encrypted());
    for file in [File::Events, File::Terminal, File::Commands, File::Files, File::StdoutHead] {
        assert_eq!(read(&plain, file).unwrap(), read(&locked, file).unwrap(), "{}", file.name());
    }
    assert_eq!(read(&locked, File::StdinHead).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_a_manifest_hides_is_there_for_whoever_has_the_key() {
    let session = encrypted();
    let (_dir, path) = put(&session.folder);
    let mut manifest: Manifest = serde_json::from_slice(&session.folder.0["manifest.json"]).unwrap();
    assert_eq!((manifest.command.as_ref(), manifest.person.as_str()), (None, "alice"));
    assert!(manifest.private.is_some() && manifest.encryption.is_some());
    let contents = Contents::open(&path, &OpenKeyring).unwrap();
    contents.reveal(&mut manifest).unwrap();
    assert_eq!((manifest.command.as_deref(), manifest.private.as_ref()), (Some("make 1"), None));
    // of another line of the session it is none
    manifest.private = Some(session.folder.text(File::Commands).lines().next().unwrap().to_owned());
    assert_eq!(contents.reveal(&mut manifest), Err(NotOpened));
}

#[test]
fn without_a_key_it_is_a_sentence() {
    let (_dir, path) = put(&encrypted().folder);
    let why = Contents::open(&path, &NoKeyring).unwrap_err().to_string();
    assert!(why.starts_with("its contents are encrypted, and the key is not to be had: "), "{why}");
    std::fs::write(path.join("key.json"), "{}").unwrap();
    let why = Contents::open(&path, &OpenKeyring).unwrap_err().to_string();
    assert!(why.starts_with("key.json can't be used"), "{why}");
    std::fs::write(path.join("key.json"), vec![b' '; 100_000]).unwrap();
    assert!(matches!(Contents::open(&path, &OpenKeyring), Err(ContentsError::Io(_))));
    // one of another session is none of this folder's
    let other = Session::encrypted(uuid::Uuid::from_u128(3), key(1), 9).folder.0["key.json"].clone();
    std::fs::write(path.join("key.json"), other).unwrap();
    assert!(matches!(Contents::open(&path, &OpenKeyring), Err(ContentsError::Key(WrappedKeyError::Session))));
}

#[test]
fn a_line_that_is_not_as_it_was_is_an_error_with_its_place_and_what_stood_before_is_read() {
    let mut folder = encrypted().folder;
    folder.lines(File::Commands, |lines| lines.swap(1, 2));
    let (_dir, path) = put(&folder);
    let contents = Contents::open(&path, &OpenKeyring).unwrap();
    let mut bytes = Vec::new();
    let error = contents.file(File::Commands).unwrap().read_to_end(&mut bytes).unwrap_err().to_string();
    assert!(error.contains("line 2 of commands.jsonl"), "{error}");
    assert_eq!(bytes, b"{\"at\":1.25,\"command\":\"make 1\"}\n");
    // and one without an end is none, however long it is
    std::fs::write(path.join("commands.jsonl"), vec![b'A'; 4 << 20]).unwrap();
    assert!(read(&contents, File::Commands).unwrap_err().to_string().contains("longer"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever follows a live session gets each line once all of it is there, however the file grows and whatever is asked for.
    #[test]
    fn a_file_that_grows_is_read_line_by_line(
        texts in prop::collection::vec("[ -~]{0,40}", 1..12), step in 1_usize..400, room in 1_usize..100,
    ) {
        let session = Session::encrypted(SESSION, key(1), 9);
        let lock = session.lock.as_ref().unwrap();
        let lines: Vec<Vec<u8>> = (1..).zip(&texts)
            .map(|(number, text)| lock.key.line(File::Terminal, number, format!("{text}\n").as_bytes()).unwrap())
            .collect();
        let (_dir, path) = put(&session.folder);
        std::fs::write(path.join("terminal.cast"), "").unwrap();
        let contents = Contents::open(&path, &OpenKeyring).unwrap();
        let mut file = contents.file(File::Terminal).unwrap();
        let mut grows = std::fs::OpenOptions::new().append(true).open(path.join("terminal.cast")).unwrap();
        let (mut got, mut buffer) = (Vec::new(), vec![0; room]);
        let all = lines.concat();
        let mut written = 0;
        for piece in all.chunks(step) {
            grows.write_all(piece).unwrap();
            written += piece.len();
            loop {
                match file.read(&mut buffer).unwrap() {
                    0 => break,
                    length => got.extend_from_slice(&buffer[..length]),
                }
            }
            let whole = lines.iter().scan(0, |end, line| { *end += line.len(); Some(*end) }).take_while(|end| *end <= written).count();
            let expected: String = texts[..whole].iter().map(|text| format!("{text}\n")).collect();
            prop_assert_eq!(String::from_utf8_lossy(&got), expected);
        }
    }
}
