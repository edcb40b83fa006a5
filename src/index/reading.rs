//! Reading a session's folder, whose bytes are anybody's: nothing is followed that is a link, and nothing is read without a
//! limit.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek as _, SeekFrom};
use std::path::Path;

use portcullis_folder::{CommandRecord, Contents, File, FileRecord, Manifest, Note, Plain};
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;

use super::chunks::{Chunk, Chunks};
use super::error::IndexError;
use super::moment;
use super::schema::LINES;

/// The longest line that is read; what is longer is left out, and told.
const LINE: usize = 4 << 20;

/// The largest manifest.
const MANIFEST: u64 = 16 << 20;

/// How much of a stream's beginning is searched.
const HEAD: u64 = 1 << 20;

/// How much of the end of `checkpoints` is read for the last one.
const CHECKPOINT: u64 = 1 << 20;

/// How many records come together.
const BATCH: usize = 500;

/// Some of what is in a folder, with the number of each line.
#[derive(Debug)]
pub(crate) enum Part {
    Commands(Vec<(u64, CommandRecord)>),
    Files(Vec<(u64, f64, FileRecord)>),
    Texts(Vec<(u64, Chunk)>),
}

/// The records of a folder, as far as they were wanted.
#[derive(Debug, Default)]
pub struct FolderRecords {
    /// Its commands.
    pub commands: Vec<CommandRecord>,
    /// Its file operations, each with its time in seconds since the session was opened.
    pub files: Vec<(f64, FileRecord)>,
    /// What can't be read; where and why, in sentences.
    pub unreadable: Vec<String>,
}

/// Reads the commands and file operations of a folder, encrypted or not, up to so many of each.
pub fn read_records(contents: &Contents, opened: &str, limit: usize) -> FolderRecords {
    let mut read = FolderRecords::default();
    let named = |file: File| (Path::new(file.name()), plain(contents, file));
    let FolderRecords { commands, files, unreadable } = &mut read;
    lines(named(File::Commands), &mut |why| unreadable.push(why), |_, line| {
        json(line).map(|record| {
            commands.push(record);
            commands.len() < limit
        })
    });
    let opened = moment::milliseconds(opened).unwrap_or_default();
    lines(named(File::Files), &mut |why| unreadable.push(why), |_, line| {
        json::<FileRecord>(line).map(|record| {
            files.push((after(opened, &record.time), record));
            files.len() < limit
        })
    });
    read
}

/// The manifest of a folder; none where it has none yet.
///
/// # Errors
/// It can't be read, is none, or is not this folder's.
pub fn manifest(folder: &Path) -> Result<Option<Manifest>, IndexError> {
    let path = folder.join(File::Manifest.name());
    let Some(file) = open(&path)? else { return Ok(None) };
    let mut text = Vec::new();
    file.take(MANIFEST + 1).read_to_end(&mut text).map_err(|error| told(&path, &error.to_string()))?;
    if text.len() as u64 > MANIFEST {
        return Err(told(&path, "it is larger than any manifest"));
    }
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| told(&path, &format!("it is no manifest: {error}")))?;
    if folder.file_name().and_then(|name| name.to_str()) != Some(&manifest.session.hyphenated().to_string()) {
        return Err(told(&path, "it is another session's: it does not name its folder"));
    }
    Ok(Some(manifest))
}

/// The hash of the last checkpoint, in hex; none where there is none that is whole.
pub(crate) fn head(folder: &Path) -> Option<String> {
    let mut file = open(&folder.join(File::Checkpoints.name())).ok().flatten()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(CHECKPOINT))).ok()?;
    let mut bytes = Vec::new();
    file.take(CHECKPOINT).read_to_end(&mut bytes).ok()?;
    head_of(&String::from_utf8_lossy(&bytes))
}

/// Of a text that ends with notes: a note's text, an empty line and signatures, with an empty line between one note and the next.
fn head_of(notes: &str) -> Option<String> {
    let (before, signature) = notes.trim_end_matches('\n').rsplit_once("\n\n")?;
    if !signature.starts_with('\u{2014}') {
        return None;
    }
    let text = before.rsplit_once("\n\n").map_or(before, |(_, text)| text);
    Some(Note::parse(format!("{text}\n\n{signature}\n").as_bytes()).ok()?.hash().hex())
}

/// Reads all records of a folder, a batch at a time; gives whether that was all of it. What can't be read is told, and the rest
/// read all the same. `part` says whether anybody wants more.
pub(crate) fn records(
    folder: &Path,
    manifest: &Manifest,
    mut part: impl FnMut(Part) -> bool,
    mut told_of: impl FnMut(String),
) -> bool {
    // what an encrypted folder says is nobody's who has no key, and would be everybody's who reads the index
    if manifest.encryption.is_some() {
        return true;
    }
    let mut complete = true;
    let named = |file: File| {
        let path = folder.join(file.name());
        let from = open(&path);
        (path, from)
    };
    let opened = moment::milliseconds(&manifest.opened).unwrap_or_default();
    let mut commands = Batches::new(Part::Commands);
    complete &= lines(named(File::Commands), &mut told_of, |number, line| {
        json(line).map(|record| commands.add((number, record), &mut part))
    });
    commands.rest(&mut part);

    let mut files = Batches::new(Part::Files);
    complete &= lines(named(File::Files), &mut told_of, |number, line| {
        json::<FileRecord>(line).map(|record| files.add((number, after(opened, &record.time), record), &mut part))
    });
    files.rest(&mut part);

    let mut texts = Batches::new(Part::Texts);
    let mut piece = 0;
    let mut chunks = Chunks::default();
    complete &= lines(named(File::Terminal), &mut told_of, |number, line| {
        if number == 0 {
            return Ok(true);
        }
        let (at, kind, data) = cast_line(line)?;
        let mut more = !chunks.is_full();
        if kind == "o" {
            for chunk in chunks.take(at, &data) {
                more &= texts.add((piece, chunk), &mut part);
                piece += 1;
            }
        }
        Ok(more)
    });
    for head in [File::StdoutHead, File::StderrHead, File::StdinHead] {
        if let Some(chunk) = chunks.finish() {
            texts.add((piece, chunk), &mut part);
            piece += 1;
        }
        for chunk in chunks.take(0.0, &head_text(&folder.join(head.name()), &mut told_of)) {
            texts.add((piece, chunk), &mut part);
            piece += 1;
        }
    }
    if let Some(chunk) = chunks.finish() {
        texts.add((piece, chunk), &mut part);
    }
    texts.rest(&mut part);
    complete && !chunks.is_full()
}

/// An event of an asciicast: its time as it stands there, its kind and its data.
///
/// # Errors
/// It is none; why, in words.
pub fn cast_line(line: &str) -> Result<(f64, String, String), String> {
    let (at, kind, data): (f64, String, String) =
        serde_json::from_str(line).map_err(|error| format!("it is no event of an asciicast: {error}"))?;
    if !at.is_finite() || at < 0.0 {
        return Err("its time is none".to_owned());
    }
    Ok((at, kind, data))
}

/// Seconds from a session's opening to a time.
fn after(opened: i64, time: &str) -> f64 {
    moment::milliseconds(time).map_or(0, |time| time.saturating_sub(opened).max(0)) as f64 / 1000.0
}

/// Records that are given away some hundred at a time.
struct Batches<T> {
    waiting: Vec<T>,
    part: fn(Vec<T>) -> Part,
}

impl<T> Batches<T> {
    fn new(part: fn(Vec<T>) -> Part) -> Self {
        Self { waiting: Vec::new(), part }
    }

    fn add(&mut self, record: T, to: &mut impl FnMut(Part) -> bool) -> bool {
        self.waiting.push(record);
        self.waiting.len() < BATCH || self.give(to)
    }

    fn rest(&mut self, to: &mut impl FnMut(Part) -> bool) {
        if !self.waiting.is_empty() {
            self.give(to);
        }
    }

    fn give(&mut self, to: &mut impl FnMut(Part) -> bool) -> bool {
        to((self.part)(std::mem::take(&mut self.waiting)))
    }
}

fn json<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| format!("it is no such record: {error}"))
}

/// Reads a file line by line; false where not all of it was read. `line` says whether anybody wants more.
fn lines<R: Read>(
    (path, from): (impl AsRef<Path>, Result<Option<R>, IndexError>),
    told_of: &mut impl FnMut(String),
    mut line: impl FnMut(u64, &str) -> Result<bool, String>,
) -> bool {
    let path = path.as_ref();
    let file = match from {
        Ok(Some(file)) => file,
        Ok(None) => return true,
        Err(error) => {
            told_of(error.to_string());
            return false;
        }
    };
    let (mut reader, mut number, mut wrong) = (BufReader::new(file), 0_u64, 0_u64);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let length = match (&mut reader).take(LINE as u64 + 1).read_until(b'\n', &mut buffer) {
            Ok(length) => length,
            Err(error) => {
                told_of(format!("{}: {error}", path.display()));
                return false;
            }
        };
        if length == 0 {
            break;
        }
        let read = if length > LINE && !buffer.ends_with(b"\n") {
            if skip_line(&mut reader).is_err() {
                return false;
            }
            Err(format!("it has more than {LINE} bytes"))
        } else {
            // a line without its end was being written when its gateway was killed
            match std::str::from_utf8(&buffer) {
                Ok(text) => line(number, text.trim_end_matches(['\n', '\r'])),
                Err(_) => Err("it is no UTF-8".to_owned()),
            }
        };
        match read {
            Ok(true) => {}
            Ok(false) => return false,
            Err(why) => {
                wrong += 1;
                if wrong == 1 {
                    told_of(format!("{}: line {}: {why}", path.display(), number + 1));
                }
            }
        }
        number += 1;
        if number >= LINES {
            told_of(format!("{}: only its first {LINES} lines can be found", path.display()));
            return false;
        }
    }
    if wrong > 1 {
        told_of(format!("{}: {wrong} lines in all can't be read", path.display()));
    }
    wrong == 0
}

fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let (used, ended) = {
            let bytes = reader.fill_buf()?;
            match bytes.iter().position(|byte| *byte == b'\n') {
                Some(place) => (place + 1, true),
                None => (bytes.len(), bytes.is_empty()),
            }
        };
        reader.consume(used);
        if ended {
            return Ok(());
        }
    }
}

fn head_text(path: &Path, told_of: &mut impl FnMut(String)) -> String {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| match file {
        None => Ok(0),
        Some(file) => file.take(HEAD).read_to_end(&mut bytes).map_err(|error| told(path, &error.to_string())),
    });
    if let Err(error) = read {
        told_of(error.to_string());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Opens a file that is one: no link, no pipe that would keep somebody waiting. None where there is none.
fn open(path: &Path) -> Result<Option<fs::File>, IndexError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from) {
        Ok(file) => fs::File::from(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(told(path, "it is a link, and is not followed"));
        }
        Err(error) => return Err(told(path, &error.to_string())),
    };
    match file.metadata() {
        Ok(about) if about.is_file() => Ok(Some(file)),
        Ok(_) => Err(told(path, "it is no file")),
        Err(error) => Err(told(path, &error.to_string())),
    }
}

/// The same of a folder's contents.
fn plain(contents: &Contents, file: File) -> Result<Option<Plain>, IndexError> {
    match contents.file(file) {
        Ok(plain) => Ok(Some(plain)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told(Path::new(file.name()), &error.to_string())),
    }
}

fn told(path: &Path, why: &str) -> IndexError {
    IndexError::Folder { place: path.display().to_string(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use portcullis_folder::Hash;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_head_is_the_hash_of_the_last_note_with_its_signature() {
        let one = "a/session/x\n1\nroot=\nprevious none\n\n\u{2014} a Az3gAAAA\n";
        let two = "a/session/x\n2\nroot=\nfinal\n\n\u{2014} a Bz3gAAAA\n";
        assert_eq!(head_of(&format!("{one}\n{two}")), Some(Hash::of(two.as_bytes()).hex()));
        assert_eq!(head_of(one), Some(Hash::of(one.as_bytes()).hex()));
        assert_eq!(head_of("no note"), None);
        assert_eq!(head_of(&format!("{one}\na/session/x\n2\nroot=\nfinal\n")), None);
    }

    #[test]
    fn a_link_in_a_folder_is_not_followed_and_a_pipe_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("commands.jsonl")).unwrap();
        let error = open(&dir.path().join("commands.jsonl")).unwrap_err().to_string();
        assert!(error.contains("is a link"), "{error}");
        let pipe = dir.path().join("files.jsonl");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(open(&pipe).unwrap_err().to_string().contains("is no file"));
    }

    #[test]
    fn nothing_that_an_encrypted_folder_says_comes_into_the_index() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("commands.jsonl"),
            "{\"time\":\"\",\"at\":1,\"command\":\"id\",\"how\":\"exec\",\"confidence\":1}\n",
        )
        .unwrap();
        fs::write(dir.path().join("stdout.head"), "said").unwrap();
        let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
            "v": 1, "session": uuid::Uuid::nil(), "gateway": "portcullis/gate-1", "connection": uuid::Uuid::nil(),
            "source": "192.0.2.7:50022", "login": "web-1", "person": "ada", "proof": "publickey SHA256:0000", "node": {},
            "action": "Exec", "pty": false, "decision": {}, "aws": {}, "opened": "2026-11-30T07:12:33.123Z", "files": [],
        }))
        .unwrap();
        let parts = |manifest: &Manifest| {
            let mut parts = 0;
            let complete = records(
                dir.path(),
                manifest,
                |_| {
                    parts += 1;
                    true
                },
                |why| panic!("{why}"),
            );
            (parts, complete)
        };
        assert_eq!(parts(&manifest), (2, true));
        let wrapped = portcullis_folder::WrappedKey::new(uuid::Uuid::nil(), "portcullis/gate-1", "arn:aws:kms:…", b"x");
        manifest.encryption = Some(Box::new(wrapped));
        assert_eq!(parts(&manifest), (0, true));
    }

    proptest! {
        #[test]
        fn any_line_is_an_event_or_a_sentence(line in "\\PC{0,80}") {
            if let Ok((at, _, _)) = cast_line(&line) {
                prop_assert!(at >= 0.0);
            }
        }

        #[test]
        fn any_file_gives_records_and_sentences_and_no_more_lines_than_it_has(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let dir = tempfile::tempdir().unwrap();
            for file in [File::Commands, File::Files, File::Terminal, File::Manifest, File::Checkpoints, File::StdoutHead] {
                fs::write(dir.path().join(file.name()), &bytes).unwrap();
            }
            prop_assert!(manifest(dir.path()).is_err());
            let _ = head(dir.path());
            let path = dir.path().join(File::Commands.name());
            let mut seen = 0;
            lines((&path, open(&path)), &mut |_| {}, |_, _| { seen += 1; Ok(true) });
            prop_assert!(seen <= bytes.iter().filter(|byte| **byte == b'\n').count() + 1);
        }
    }
}
