//! After a gateway was killed, or the power failed: a folder without a last head is made one that can be gone on with.
//!
//! What was signed must be as it was signed; of a folder where it is not, nothing is touched. What stands after the last head is
//! kept as long as it is whole lines that follow each other. From the first that is not (torn, or never given to the disk) to the
//! end, it is moved to `torn.jsonl`, where it keeps its bytes and its place: nothing is lost, and the file has lines only.
//!
//! ```text
//!  events.jsonl   ▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░▒▒▒        ▓ signed   ░ whole lines, not signed   ▒ torn ──▶ torn.jsonl
//!                             ▲ the last head
//! ```
//!
//! A copy of it is on the disk before it is cut off, so that this can be killed as well, and done again.

use std::collections::HashSet;
use std::fs::File as DiskFile;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::OFlags;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::encrypted::{Keyring, NoKeyring};
use crate::event_chain::opening;
use crate::folder_seal::{FolderSeal, Signed};
use crate::hash::Hash;
use crate::key::{SigningKey, VerifyingKey};
use crate::layout::File;
use crate::lines::{Line, Lines, State};
use crate::manifest::Manifest;
use crate::signed_head::HeadChain;
use crate::torn::{self, CopyError, is_torn};
use crate::verify::{
    Code, Directory, Fault, Faults, FileCheck, FoundLater, Heads, MAX_EVENT_BYTES, MAX_MANIFEST_BYTES, Parsed,
    parse_event,
};

/// What a folder is now.
#[derive(Debug)]
pub enum Recovered {
    /// It has its last head: nothing was done.
    Sealed,
    /// It had none, and can be gone on with.
    Interrupted(Box<Interrupted>),
}

/// A session whose gateway was killed. To be ended by an event, a manifest whose outcome is `interrupted` and whose
/// `ended.checkpoints` is [`Interrupted::checkpoints`], and the last head, the only one that is signed now.
#[derive(Debug)]
pub struct Interrupted {
    /// Of an encrypted folder: what it is gone on with.
    pub key: Option<FolderKey>,
    /// What stands in the folder, to be gone on with.
    pub seal: FolderSeal,
    /// The heads that stand in it.
    pub heads: HeadChain,
    /// How many heads its gateway had signed.
    pub checkpoints: u64,
    /// What stands after the last of them and is whole: nobody can say that it was not changed before now.
    pub after_head: Vec<FoundLater>,
    /// What was moved to `torn.jsonl`.
    pub torn: Vec<FoundLater>,
    /// A manifest that had been written without a last head; it was moved as well.
    pub manifest: Option<Box<Manifest>>,
}

/// Why a folder was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It can't be read or written.
    #[error("{file} can't be read or written: {error}")]
    Io {
        /// Which file.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// Its name is no session's number.
    #[error("the folder's name is not a session's number")]
    NoSession,
    /// Its contents are encrypted, and its key is not to be had: a sentence.
    #[error("{0}; the folder is left as it is, and the next start tries again")]
    Locked(String),
    /// Its heads are signed by a key that was not given.
    #[error("{0}; without its verifier key the folder is left as it is")]
    UnknownKey(Fault),
    /// What was signed is not as it was signed.
    #[error("{}; the folder is left as it is", first(.0))]
    Altered(Vec<Fault>),
}

fn first(faults: &[Fault]) -> String {
    faults.first().map_or_else(|| "what was signed was changed".to_owned(), Fault::to_string)
}

/// Makes a folder that has no last head one that can be gone on with, under `key`; `keys` are those that may have signed before.
///
/// Only one process may do this, and none may write to the folder meanwhile.
///
/// # Errors
/// Why nothing was done; of an I/O error, what was not finished can be done again. An encrypted folder is none that this can do it to.
pub fn recover(path: &Path, key: &SigningKey, keys: &[VerifyingKey]) -> Result<Recovered, RecoverError> {
    recover_with(path, key, keys, &NoKeyring)
}

/// The same; of encrypted folders, those whose keys this has.
///
/// # Errors
/// Those of [`recover`].
pub fn recover_with(
    path: &Path,
    key: &SigningKey,
    keys: &[VerifyingKey],
    keyring: &dyn Keyring,
) -> Result<Recovered, RecoverError> {
    let name = path.components().next_back().and_then(|name| name.as_os_str().to_str());
    let session = name.and_then(|name| Uuid::parse_str(name).ok()).ok_or(RecoverError::NoSession)?;
    let directory = Directory::open(path).map_err(|error| io_error("the folder", error))?;
    let folder = Folder { directory, session };
    let heads = folder.heads(keys)?;
    if heads.is_final() {
        return Ok(Recovered::Sealed);
    }
    let mut signers: Vec<&str> = keys.iter().chain([key.verifying_key()]).map(VerifyingKey::name).collect();
    signers.dedup();
    let openings: Vec<String> = signers.into_iter().map(|name| opening(name, session)).collect();

    let locked = folder.key(&heads, keyring)?;
    let mut ends = Vec::new();
    match &locked {
        None => {
            for file in LINES {
                ends.extend(folder.end_of_lines(file, &heads, &openings)?);
            }
            for file in HEADS {
                ends.extend(folder.end_of_bytes(file, &heads)?);
            }
        }
        Some(locked) => {
            ends.extend(folder.end_of_bytes(File::Key, &heads)?);
            for file in LINES.into_iter().chain(HEADS) {
                ends.extend(folder.end_of_locked_lines(file, &heads, &openings, &locked.key)?);
            }
        }
    }
    let time = ends.iter().find(|end| end.file == File::Events).map_or(i64::MIN, |end| end.time);
    let manifest = folder.manifest()?;
    // the heads themselves, and a manifest that no head has
    ends.extend(folder.end_at(File::Checkpoints, heads.end)?);
    ends.extend(folder.end_at(File::Manifest, 0)?);
    folder.cut(&ends, &heads)?;

    let mut seal = FolderSeal::new(key.verifying_key().name(), session);
    for file in File::ALL.into_iter().filter(|file| !matches!(file, File::Checkpoints | File::Manifest)) {
        match locked.as_ref().filter(|_| file.is_encrypted()) {
            None => folder.replay(file, &mut seal)?,
            Some(locked) => folder.replay_locked(file, &mut seal, &locked.key)?,
        }
    }
    let signed = heads.last.as_ref().map_or(time::OffsetDateTime::UNIX_EPOCH, |(_, checkpoint)| checkpoint.time);
    seal.resume(Signed { count: heads.count, time: signed }, time);
    let later = |file: File, from: u64, to: u64| FoundLater { file: file.name().to_owned(), from, to };
    let signed = |file: File| heads.points(file).last().map_or(0, |point| point.at);
    let after_head = ends.iter().filter(|end| !matches!(end.file, File::Checkpoints | File::Manifest));
    Ok(Recovered::Interrupted(Box::new(Interrupted {
        after_head: after_head.map(|end| later(end.file, signed(end.file), end.at)).filter(|l| l.from < l.to).collect(),
        torn: ends.iter().filter(|end| end.at < end.length).map(|end| later(end.file, end.at, end.length)).collect(),
        checkpoints: heads.count,
        manifest: manifest.map(Box::new),
        seal,
        heads: HeadChain::after(heads.last.map(|(hash, _)| hash)),
        key: locked,
    })))
}

/// Where what stands of a file ends.
#[derive(Clone, Copy, Debug)]
struct End {
    file: File,
    at: u64,
    length: u64,
    /// The time of the last event.
    time: i64,
}

struct Folder {
    directory: Directory,
    session: Uuid,
}

impl Folder {
    fn open(&self, file: File, flags: OFlags) -> Result<Option<DiskFile>, RecoverError> {
        match self.directory.file(file.name(), flags) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(file.name(), error)),
        }
    }

    /// The heads, if none of them was touched.
    fn heads(&self, keys: &[VerifyingKey]) -> Result<Heads, RecoverError> {
        let Some(file) = self.open(File::Checkpoints, OFlags::RDONLY)? else {
            return Ok(Heads::none(self.session));
        };
        let mut faults = Faults::default();
        let heads = Heads::read(file, keys, Some(self.session), &mut faults);
        let heads = heads.map_err(|error| io_error(File::Checkpoints.name(), error))?;
        let (faults, _) = faults.into_parts();
        if let Some(unknown) = faults.iter().find(|fault| fault.code == Code::UnknownKey) {
            return Err(RecoverError::UnknownKey(unknown.clone()));
        }
        // what stands after the last good one was torn
        let is_before = |fault: &Fault| fault.bytes.is_none_or(|(_, end)| end <= heads.end);
        let altered: Vec<Fault> = faults.into_iter().filter(is_before).collect();
        if altered.is_empty() { Ok(heads) } else { Err(RecoverError::Altered(altered)) }
    }

    /// Compares what was signed of a file, which goes on being read where that ends.
    fn signed(&self, file: File, heads: &Heads) -> Result<Option<(DiskFile, u64)>, RecoverError> {
        let points = heads.points(file);
        let Some(open) = self.open(file, OFlags::RDONLY)? else {
            let missing = Fault::new(Code::MissingFile, "it was signed, and is not there").file(file.name());
            return if points.is_empty() { Ok(None) } else { Err(RecoverError::Altered(vec![missing])) };
        };
        let signed = points.last().map_or(0, |point| point.at);
        let failed = |error| io_error(file.name(), error);
        let checked = FileCheck::read(points, (&open).take(signed)).map_err(failed)?;
        let mut faults = Faults::default();
        checked.tell(file.name(), file.has_lines(), &mut faults);
        let (faults, _) = faults.into_parts();
        if !faults.is_empty() {
            return Err(RecoverError::Altered(faults));
        }
        Ok(Some((open, signed)))
    }

    /// Up to where a file is whole lines, each of them as it should be.
    fn end_of_lines(&self, file: File, heads: &Heads, openings: &[String]) -> Result<Option<End>, RecoverError> {
        let failed = |error| io_error(file.name(), error);
        let Some((mut open, signed)) = self.signed(file, heads)? else {
            return Ok(None);
        };
        let length = open.metadata().map_err(failed)?.len();
        let mut last = None;
        if file == File::Events && signed > 0 {
            last =
                last_line(&mut open, signed).map_err(failed)?.and_then(|line| parse_event(&line, openings, None).ok());
            open.seek(SeekFrom::Start(signed)).map_err(failed)?;
        }
        let mut lines = Lines::new(&mut open, MAX_EVENT_BYTES);
        let mut at = signed;
        while let Some(line) = lines.next().map_err(failed)? {
            if line.state != State::Whole || !stands(file, &line, at, &mut last, openings, self.session) {
                break;
            }
            at += line.length;
        }
        Ok(Some(End { file, at, length, time: last.map_or(i64::MIN, |event| event.time) }))
    }

    /// Of a file without lines all stands.
    fn end_of_bytes(&self, file: File, heads: &Heads) -> Result<Option<End>, RecoverError> {
        let Some((open, _)) = self.signed(file, heads)? else {
            return Ok(None);
        };
        let length = open.metadata().map_err(|error| io_error(file.name(), error))?.len();
        Ok(Some(End { file, at: length, length, time: i64::MIN }))
    }

    fn end_at(&self, file: File, at: u64) -> Result<Option<End>, RecoverError> {
        let Some(open) = self.open(file, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let length = open.metadata().map_err(|error| io_error(file.name(), error))?.len();
        Ok(Some(End { file, at, length, time: i64::MIN }))
    }

    fn manifest(&self) -> Result<Option<Manifest>, RecoverError> {
        let Some(open) = self.open(File::Manifest, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        open.take(MAX_MANIFEST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| io_error(File::Manifest.name(), error))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Moves what stands after each end to `torn.jsonl`.
    fn cut(&self, ends: &[End], heads: &Heads) -> Result<(), RecoverError> {
        let torn: Vec<&End> = ends.iter().filter(|end| end.at < end.length && end.file != File::Torn).collect();
        let there = self.mend_torn(heads)?;
        let failed = |error| io_error(File::Torn.name(), error);
        if !torn.is_empty() {
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
            let into = self.directory.file(File::Torn.name(), flags).map_err(failed)?;
            for end in &torn {
                self.copy(end, &into, &there)?;
            }
            into.sync_all().map_err(failed)?;
            self.directory.sync().map_err(failed)?;
        }
        for end in torn {
            let failed = |error| io_error(end.file.name(), error);
            if end.file == File::Manifest {
                self.directory.remove(end.file.name()).map_err(failed)?;
            } else if let Some(file) = self.open(end.file, OFlags::WRONLY)? {
                file.set_len(end.at).map_err(failed)?;
                file.sync_all().map_err(failed)?;
            }
        }
        self.directory.sync().map_err(failed)
    }

    /// What `torn.jsonl` has already, by hash. Its own torn end is a copy of what still stands where it was torn.
    fn mend_torn(&self, heads: &Heads) -> Result<HashSet<Hash>, RecoverError> {
        let failed = |error| io_error(File::Torn.name(), error);
        let Some(End { at, length, .. }) = self.end_of_lines(File::Torn, heads, &[])? else {
            return Ok(HashSet::new());
        };
        if at < length
            && let Some(file) = self.open(File::Torn, OFlags::WRONLY)?
        {
            file.set_len(at).map_err(failed)?;
        }
        match self.open(File::Torn, OFlags::RDONLY)? {
            Some(file) => Ok(torn::kept(&file).map_err(failed)?.0),
            None => Ok(HashSet::new()),
        }
    }

    fn copy(&self, end: &End, into: &DiskFile, there: &HashSet<Hash>) -> Result<(), RecoverError> {
        let name = end.file.name();
        let Some(from) = self.open(end.file, OFlags::RDONLY)? else {
            return Ok(());
        };
        torn::copy(name, &from, end.at, end.length, into, there).map_err(|error| match error {
            CopyError::From(error) => io_error(name, error),
            CopyError::Into(error) => io_error(File::Torn.name(), error),
        })
    }

    fn replay(&self, file: File, seal: &mut FolderSeal) -> Result<(), RecoverError> {
        let Some(mut open) = self.open(file, OFlags::RDONLY)? else {
            return Ok(());
        };
        let mut buffer = vec![0; BUFFER];
        loop {
            match open.read(&mut buffer).map_err(|error| io_error(file.name(), error))? {
                0 => return Ok(()),
                length => seal.wrote(file, buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

/// Whether a line that nobody signed is what such a file has there.
fn stands(file: File, line: &Line<'_>, at: u64, last: &mut Option<Parsed>, openings: &[String], session: Uuid) -> bool {
    match file {
        File::Events => {
            let Ok(event) = parse_event(line.bytes, openings, Some(session)) else {
                return false;
            };
            let follows = match last {
                Some(before) => {
                    event.sequence == before.sequence + 1
                        && event.previous == Some(before.own)
                        && event.time >= before.time
                }
                None => event.sequence == 1 && event.previous.is_none(),
            };
            *last = Some(event);
            follows
        }
        File::Terminal if at > 0 => line.bytes.starts_with(b"[") && is_json(line.bytes),
        File::Torn => is_torn(line.bytes),
        _ => line.bytes.starts_with(b"{") && is_json(line.bytes),
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// The line that ends, with its newline, at `end`.
fn last_line(file: &mut DiskFile, end: u64) -> io::Result<Option<Vec<u8>>> {
    let from = end.saturating_sub(MAX_EVENT_BYTES as u64 + 2);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(end - from).read_to_end(&mut bytes)?;
    let Some(bytes) = bytes.strip_suffix(b"\n") else {
        return Ok(None);
    };
    Ok(bytes.rsplit(|byte| *byte == b'\n').next().map(<[u8]>::to_vec))
}

fn io_error(file: &str, error: io::Error) -> RecoverError {
    RecoverError::Io { file: file.to_owned(), error }
}

/// Files that are made of lines, but for `torn.jsonl`.
const LINES: [File; 4] = [File::Events, File::Terminal, File::Commands, File::Files];

/// Those that are bytes, where they are not encrypted.
const HEADS: [File; 3] = [File::StdinHead, File::StdoutHead, File::StderrHead];

const BUFFER: usize = 256 << 10;

#[path = "recover_locked.rs"]
mod locked;
pub use locked::FolderKey;

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "recover_locked_tests.rs"]
mod locked_tests;
