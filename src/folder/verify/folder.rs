//! A session's folder: the story of its verification.

use std::io::{self, Read};
use std::path::Path;

use uuid::Uuid;

use super::ahead::{Piece, look_ahead};
use super::checkpoints::Heads;
use super::events::{EventLook, EventsCheck, MAX_EVENT_BYTES};
use super::fault::{Code, Fault, Faults, shown_name};
use super::file_check::{Checked, FileCheck};
use super::locked::{LockedLines, Locks};
use super::manifest_check;
use super::report::{FileReport, FolderReport, SignedBy, Verdict};
use super::source::{Directory, Files};
use crate::checkpoint::timestamp;
use crate::encrypted::{Keyring, MAX_LOCKED_BYTES, NoKeyring};
use crate::key::VerifyingKey;
use crate::layout::File;
use crate::lines::{Line, Lines, OwnedLine};

/// Verifies a folder on the disk. Where it is named by a session's number, as the gateway does, it must be of that session.
///
/// Only these keys are believed, and no file of the folder can add to them. Nothing is written.
pub fn verify_folder(path: &Path, keys: &[VerifyingKey]) -> FolderReport {
    verify_folder_with(path, keys, &NoKeyring)
}

/// The same; and of an encrypted folder, whose key this has, what its lines say.
pub fn verify_folder_with(path: &Path, keys: &[VerifyingKey], keyring: &dyn Keyring) -> FolderReport {
    with_heads(path, keys, keyring).0
}

/// The same, and the heads.
pub(crate) fn with_heads(path: &Path, keys: &[VerifyingKey], keyring: &dyn Keyring) -> (FolderReport, Heads) {
    let name = path.components().next_back().and_then(|name| name.as_os_str().to_str());
    let session = name.and_then(|name| Uuid::parse_str(name).ok());
    match Directory::open(path) {
        Ok(directory) => files_with_heads(&directory, session, keys, keyring),
        Err(error) => {
            let mut faults = Faults::default();
            faults.add(Fault::new(Code::Unreadable, format!("the folder can't be opened: {error}")));
            (report(&Heads::default(), Found::default(), faults), Heads::default())
        }
    }
}

/// Verifies a folder wherever its files are. `session` is the one that it should be of, where that is known.
pub fn verify_files(files: &impl Files, session: Option<Uuid>, keys: &[VerifyingKey]) -> FolderReport {
    verify_files_with(files, session, keys, &NoKeyring)
}

/// The same; and of an encrypted folder, whose key this has, what its lines say.
pub fn verify_files_with(
    files: &impl Files,
    session: Option<Uuid>,
    keys: &[VerifyingKey],
    keyring: &dyn Keyring,
) -> FolderReport {
    files_with_heads(files, session, keys, keyring).0
}

/// Only the heads of a folder: whether they are signed and follow each other.
pub(crate) fn only_heads(path: &Path, session: Uuid, keys: &[VerifyingKey]) -> (Faults, Heads) {
    let mut faults = Faults::default();
    let heads = match Directory::open(path) {
        Ok(directory) => heads(&directory, Some(session), keys, &mut faults),
        Err(error) => {
            faults.add(Fault::new(Code::Unreadable, format!("the folder can't be opened: {error}")));
            Heads::default()
        }
    };
    (faults, heads)
}

fn files_with_heads(
    files: &impl Files,
    session: Option<Uuid>,
    keys: &[VerifyingKey],
    keyring: &dyn Keyring,
) -> (FolderReport, Heads) {
    let mut faults = Faults::default();
    match files.names() {
        Ok(names) => strangers(&names, &mut faults),
        Err(error) => faults.add(Fault::new(Code::Unreadable, format!("the folder can't be listed: {error}"))),
    }
    let heads = heads(files, session, keys, &mut faults);
    let mut found = Found::default();
    for file in File::ALL.into_iter().filter(|file| *file != File::Checkpoints) {
        let checked = one(files, file, &heads, &mut found, &mut faults);
        if file == File::Key {
            // the first of them: what follows may be encrypted
            found.locks = Locks::of(files, &heads, checked.as_ref(), keyring, &mut faults);
        }
        found.files.extend(checked.map(|checked| (file, checked)));
    }
    if heads.is_final() {
        sealed(files, &heads, &mut found, &mut faults);
    } else {
        let what = match heads.count {
            0 => "there is no head that is signed by a key that was given: nothing in this folder is proved",
            _ => "there is no last head: the session goes on, or its gateway was killed, or its end was taken away",
        };
        faults.add(Fault::new(Code::Unsealed, what).file(File::Checkpoints.name()));
    }
    (report(&heads, found, faults), heads)
}

/// What was read besides the heads.
#[derive(Default)]
struct Found {
    files: Vec<(File, Checked)>,
    events: u64,
    locks: Option<Locks>,
    manifest: Option<crate::manifest::Manifest>,
}

fn strangers(names: &[String], faults: &mut Faults) {
    for name in names.iter().filter(|name| File::of_name(name).is_none()) {
        faults.add(Fault::new(Code::UnknownFile, "no session has such a file").file(shown_name(name)));
    }
}

fn heads(files: &impl Files, session: Option<Uuid>, keys: &[VerifyingKey], faults: &mut Faults) -> Heads {
    let read = match open(files, File::Checkpoints, faults) {
        Opened::Read(read) => Heads::read(read, keys, session, faults),
        Opened::Missing => {
            let what = "it is not there: nothing in this folder is signed";
            faults.add(Fault::new(Code::MissingFile, what).file(File::Checkpoints.name()));
            Ok(Heads::default())
        }
        Opened::Told => Ok(Heads::default()),
    };
    read.unwrap_or_else(|error| {
        faults.add(unreadable(File::Checkpoints, &error));
        Heads::default()
    })
}

/// Reads one file and compares it with what was signed of it.
fn one(files: &impl Files, file: File, heads: &Heads, found: &mut Found, faults: &mut Faults) -> Option<Checked> {
    let points = heads.points(file);
    let read = match open(files, file, faults) {
        Opened::Read(read) => read,
        Opened::Missing => {
            if !points.is_empty() {
                faults.add(Fault::new(Code::MissingFile, "it was signed, and is not there").file(file.name()));
            }
            return None;
        }
        Opened::Told => return None,
    };
    let locks = found.locks.as_ref();
    let limit = if locks.is_some() { MAX_LOCKED_BYTES } else { MAX_EVENT_BYTES };
    let checked = if file == File::Events {
        let (look, mut check) = (EventLook::new(heads, locks), EventsCheck::new(heads, locks));
        let checked = read_lines(
            read,
            FileCheck::new(points),
            limit,
            |line| look.look(line),
            |line, found| check.line(line, found),
        );
        found.events = check.lines();
        checked.inspect(|checked| check.tell(checked, faults))
    } else if let Some(locks) = locks.filter(|_| file.is_encrypted()) {
        let mut lines = LockedLines::new(locks, file);
        let checked = read_lines(read, FileCheck::new(points), limit, |_| (), |line, ()| lines.line(line));
        checked.inspect(|checked| {
            // a line that can be named says more than the heads that it stands between
            lines.tell(faults);
            checked.tell(file.name(), true, faults);
        })
    } else {
        FileCheck::read(points, read).inspect(|checked| checked.tell(file.name(), file.has_lines(), faults))
    };
    checked.map_err(|error| faults.add(unreadable(file, &error))).ok()
}

/// Reads a file once, for what was signed of it and for its lines.
fn read_lines<T: Send>(
    read: impl Read,
    mut file: FileCheck<'_>,
    limit: usize,
    look: impl Fn(&Line<'_>) -> T + Sync,
    mut each: impl FnMut(&Line<'_>, T),
) -> io::Result<Checked> {
    let signed = file.signed();
    let mut lines = Lines::new(Tee { read, file: &mut file }, limit);
    let next = || Ok(lines.next()?.map(Line::to_owned));
    let look = |lines: &[OwnedLine]| lines.iter().map(|line| look(&line.line())).collect();
    look_ahead(next, look, |line: &OwnedLine, found| each(&line.line(), found))?;
    drop(lines);
    Ok(file.finish(signed))
}

impl Piece for OwnedLine {
    fn bytes(&self) -> usize {
        self.line().bytes.len()
    }
}

struct Tee<'t, 'p, R> {
    read: R,
    file: &'t mut FileCheck<'p>,
}

impl<R: Read> Read for Tee<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.read.read(buffer)?;
        self.file.update(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

/// What only a folder with a last head has: a manifest that fits it.
fn sealed(files: &impl Files, heads: &Heads, found: &mut Found, faults: &mut Faults) {
    let Some((_, manifest)) = found.files.iter().find(|(file, _)| *file == File::Manifest) else {
        if heads.points(File::Manifest).is_empty() {
            faults.add(Fault::new(Code::MissingFile, "the last head has no manifest").file(File::Manifest.name()));
        }
        return;
    };
    // of one that was changed nothing is believed
    if !manifest.is_as_signed() {
        return;
    }
    if let Opened::Read(read) = open(files, File::Manifest, faults) {
        found.manifest = manifest_check::check(read, heads, found.locks.as_ref(), faults);
    }
}

enum Opened<'f> {
    Read(Box<dyn Read + 'f>),
    Missing,
    /// A fault says why not.
    Told,
}

fn open<'f>(files: &'f impl Files, file: File, faults: &mut Faults) -> Opened<'f> {
    match files.open(file.name()) {
        Ok(read) => Opened::Read(read),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Opened::Missing,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let what = "it is a link or something else that is no regular file, and is not read";
            faults.add(Fault::new(Code::NotAFile, what).file(file.name()));
            Opened::Told
        }
        Err(error) => {
            faults.add(unreadable(file, &error));
            Opened::Told
        }
    }
}

fn unreadable(file: File, error: &io::Error) -> Fault {
    Fault::new(Code::Unreadable, format!("it can't be read: {error}")).file(file.name())
}

fn report(heads: &Heads, found: Found, faults: Faults) -> FolderReport {
    let verdict = match () {
        () if faults.is_empty() => Verdict::Whole,
        () if faults.is_only_open() && heads.count > 0 => Verdict::Unsealed,
        () => Verdict::Broken,
    };
    let (faults, more_faults) = faults.into_parts();
    let file = |(file, checked): &(File, Checked)| FileReport {
        name: file.name().to_owned(),
        bytes: checked.bytes,
        sha256: checked.hash.hex(),
        verified: checked.good,
    };
    let signed_by =
        |(key, checkpoints): &(VerifyingKey, u64)| SignedBy { key: key.to_string(), checkpoints: *checkpoints };
    FolderReport {
        verdict,
        session: heads.session,
        signed_by: heads.signers.iter().map(signed_by).collect(),
        checkpoints: heads.count,
        first: heads.first.map(timestamp),
        last: heads.last.as_ref().map(|(_, checkpoint)| timestamp(checkpoint.time)),
        head: heads.last.as_ref().map(|(hash, _)| hash.hex()),
        outcome: found
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.ended.as_ref())
            .map(|ended| shown_plain(&ended.outcome)),
        events: found.events,
        files: found.files.iter().map(file).collect(),
        found_later: found
            .manifest
            .as_ref()
            .map(|manifest| manifest_check::found_later(manifest, heads))
            .unwrap_or_default(),
        encryption: found.locks.as_ref().map(Locks::report),
        faults,
        more_faults,
    }
}

fn shown_plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
