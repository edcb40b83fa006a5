//! The log's file: one gateway's at a time, whole lines only, never larger than its limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use portcullis_folder::{Checkpoint, Hash, HeadChain, JournalSeal, Note, set_aside};
use rustix::fs::{Access, FlockOperation, OFlags, access, flock};

use time::OffsetDateTime;
use uuid::Uuid;

use super::error::EvidenceError;
use super::folder::{HEAD_AFTER, JournalToSign, Signing, ToSealer};

/// The file that is being written.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    limit: u64,
    file: File,
    chain: Option<Chain>,
}

/// What makes a journal of the log: each line has the hash of the one before, and heads of all of them are signed.
#[derive(Debug)]
struct Chain {
    seal: JournalSeal,
    sealer: ToSealer,
    /// Since when lines stand in it that no head on its way covers.
    dirty: Option<Instant>,
    /// The head that covers them is kept outside this host.
    anchored: bool,
    signing: Arc<Signing>,
}

/// A line with its number, as it goes into the file.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) line: Vec<u8>,
    /// Where in it the hash of the line before goes.
    pub(super) link: usize,
    /// Whether it must leave room for others.
    pub(super) noise: bool,
    /// Whether the head that covers it is kept outside this host.
    pub(super) anchored: bool,
}

/// Of the log's room, the part that anybody's noise may fill, in tenths: strangers who knock must not be able to stop
/// sessions.
const NOISE_TENTHS: u64 = 9;

/// The signed heads of the journal, beside it.
const HEADS: &str = "events.checkpoints";

/// Ends of it that were torn, each with its place.
const TORN: &str = "events.torn.jsonl";

/// Of a log that is there already so much is looked at for its last line: more than any line takes.
const LONGEST_LINE: u64 = 1 << 20;

/// The same of heads.
const LONGEST_NOTE: u64 = 16 << 10;

impl LogFile {
    /// Opens the log, or makes it. The file must belong to this user alone, be no link, and not be in use by another
    /// gateway; and nobody else may put another in its place.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, EvidenceError> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let file = is_private(directory).and_then(|()| open(path)).map_err(|error| unusable(path, &error))?;
        Ok(Self { path: path.to_owned(), limit, file, chain: None })
    }

    /// The same as a journal, whose lines are of this run from here on.
    pub(super) fn journal(mut self, authority: &str, run: Uuid, sealer: ToSealer) -> Result<Self, EvidenceError> {
        let unusable = |error: io::Error| unusable(&self.path, &error);
        let line = self.last_line().map_err(unusable)?;
        let head = last_head(&self.path.with_file_name(HEADS)).map_err(unusable)?;
        let (hash, time) = head.unzip();
        let seal = JournalSeal::new(authority, run, line.as_deref(), time);
        let signing = Signing::after(HeadChain::after(hash));
        self.chain = Some(Chain { seal, sealer, dirty: None, anchored: false, signing });
        Ok(self)
    }

    /// The line that the next one follows. What a killed gateway left half written is no line: it is moved aside, so that the log has
    /// whole ones only.
    fn last_line(&self) -> io::Result<Option<Vec<u8>>> {
        let reader = OpenOptions::new().read(true).open(&self.path)?;
        let length = reader.metadata()?.len();
        let end = end_of_lines(&reader, length)?;
        if end < length {
            let aside = self.path.with_file_name(TORN);
            set_aside(&self.path, end, &aside)?;
            let (bytes, aside) = (length - end, aside.display());
            tracing::warn!(bytes, %aside, "the last line of the event log was torn, and is kept beside it");
        }
        let from = end.saturating_sub(LONGEST_LINE);
        let mut lines = vec![0; usize::try_from(end - from).map_err(io::Error::other)?];
        reader.read_exact_at(&mut lines, from)?;
        lines.pop();
        let line = lines.rsplit(|byte| *byte == b'\n').next().filter(|line| !line.is_empty());
        Ok(line.map(<[u8]>::to_vec))
    }

    /// Has a head signed, where there is something new; when it is to be asked again.
    pub(super) fn heads(&mut self, now: Instant) -> Option<Duration> {
        let chain = self.chain.as_ref()?;
        let age = now.saturating_duration_since(chain.dirty?);
        if chain.signing.busy.load(Ordering::Acquire) {
            return Some(HEAD_AFTER);
        }
        if age < HEAD_AFTER {
            return Some(HEAD_AFTER - age);
        }
        self.ask_for_head(now);
        None
    }

    /// Has a head signed of all that stands in it.
    pub(super) fn ask_for_head(&mut self, now: Instant) {
        let Some(chain) = self.chain.as_mut() else { return };
        if chain.dirty.take().is_none() {
            return;
        }
        let Ok(file) = self.file.try_clone() else { return };
        chain.signing.busy.store(true, Ordering::Release);
        let head = chain.seal.head(OffsetDateTime::now_utc());
        // as if it were there already: a next one is asked for when it is
        chain.seal.signed(&head);
        let path = self.path.with_file_name(HEADS);
        let (signing, anchored) = (chain.signing.clone(), std::mem::take(&mut chain.anchored));
        chain.sealer.send_journal(JournalToSign { path, file, head, anchored, asked: now, signing });
    }

    /// What [`LogFile::open`] would refuse, but for a log that is in use. Makes nothing.
    pub(super) fn check(path: &Path) -> Result<(), EvidenceError> {
        match private(path, OpenOptions::new().append(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = path.parent().unwrap_or(Path::new("."));
                access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| unusable(path, &error.into()))
            }
            opened => opened.map(drop).map_err(|error| unusable(path, &error)),
        }
    }

    /// Goes on in a new file if the one it writes was moved away. If none can be opened, the log goes on where it is
    /// and the caller tries again: a moved file is better than none.
    pub(super) fn reopen(&mut self) -> Result<(), EvidenceError> {
        let reopened = is_at(&self.file, &self.path).and_then(|is_there| match is_there {
            true => Ok(None),
            false => open(&self.path).map(Some),
        });
        if let Some(new) = reopened.map_err(|error| unusable(&self.path, &error))? {
            self.file = new;
        }
        Ok(())
    }

    /// Writes lines, as many at once as go; what became of each.
    pub(super) fn append(&mut self, lines: &[Bytes]) -> Vec<Result<(), EvidenceError>> {
        let mut results = Vec::with_capacity(lines.len());
        while results.len() < lines.len() {
            let rest = lines.get(results.len()..).unwrap_or_default();
            let (written, error) = self.write(rest);
            results.extend((0..written).map(|_| Ok(())));
            // the line that it came to is lost; those after it may be shorter, or be allowed more room
            results.extend(error.map(|why| Err(EvidenceError::Write(why))));
        }
        results
    }

    /// Writes the first few lines with one `write(2)`: how many of them stand in the file, and what stopped the next.
    fn write(&mut self, lines: &[Bytes]) -> (usize, Option<String>) {
        // looked at each time: whoever rotates may have emptied or deleted the file under our hands
        let metadata = match self.file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return (0, Some(error.to_string())),
        };
        let (start, path) = (metadata.len(), self.path.display());
        if metadata.nlink() == 0 {
            return (0, Some(format!("{path} was deleted; SIGHUP lets the gateway make a new one")));
        }
        let (mut together, mut ends) = (Vec::new(), Vec::new());
        let mut seal = self.chain.as_ref().map(|chain| chain.seal.clone());
        for line in lines {
            let room = if line.noise { self.limit / 10 * NOISE_TENTHS } else { self.limit };
            let begins = together.len();
            line.put(seal.as_ref(), &mut together);
            if start + together.len() as u64 > room {
                together.truncate(begins);
                break;
            }
            if let Some(seal) = &mut seal {
                seal.wrote(together.get(begins..).unwrap_or_default().trim_ascii_end());
            }
            ends.push(together.len() as u64);
        }
        if ends.is_empty() {
            return (0, Some(format!("{path} has reached its limit")));
        }
        match self.file.write_all(&together) {
            Ok(()) => {
                self.written(seal, lines.iter().take(ends.len()).any(|line| line.anchored));
                (ends.len(), None)
            }
            Err(error) => {
                let whole = self.cut(start, &ends);
                // of those that stand
                let mut seal = self.chain.as_ref().map(|chain| chain.seal.clone());
                let stands = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or_default();
                let stands = together.get(..usize::try_from(stands).unwrap_or_default()).unwrap_or_default();
                for line in stands.split_inclusive(|byte| *byte == b'\n') {
                    if let Some(seal) = &mut seal {
                        seal.wrote(line.trim_ascii_end());
                    }
                }
                self.written(seal, lines.iter().take(whole).any(|line| line.anchored));
                (whole, Some(error.to_string()))
            }
        }
    }

    /// Lines stand in the file.
    fn written(&mut self, seal: Option<JournalSeal>, anchored: bool) {
        if let (Some(chain), Some(seal)) = (&mut self.chain, seal) {
            chain.seal = seal;
            chain.anchored |= anchored;
            chain.dirty.get_or_insert_with(Instant::now);
        }
    }

    /// After a write that was stopped: half a line would spoil the next one, whole ones stay. How many stand.
    fn cut(&self, start: u64, ends: &[u64]) -> usize {
        let now = self.file.metadata().map_or(0, |now| now.len());
        let whole = ends.iter().take_while(|&&end| start + end <= now).count();
        let end = start + whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or_default();
        if now > end {
            let _ = self.file.set_len(end);
        }
        whole
    }

    /// For tests: what is no regular file can't be opened as a log.
    #[cfg(test)]
    pub(super) fn of_device(path: &str) -> Self {
        let file = OpenOptions::new().append(true).open(path).unwrap();
        Self { path: path.into(), limit: 1 << 20, file, chain: None }
    }
}

impl Bytes {
    /// The line behind others, with the hash of the one before.
    fn put(&self, seal: Option<&JournalSeal>, to: &mut Vec<u8>) {
        let (head, rest) = self.line.split_at_checked(self.link).unwrap_or((&self.line, &[]));
        to.extend_from_slice(head);
        if let Some(prev) = seal.and_then(JournalSeal::prev) {
            to.extend_from_slice(format!(r#""prev":"{prev}","#).as_bytes());
        }
        to.extend_from_slice(rest);
    }
}

/// Where the last whole line of a file ends; looked for from its end on, however long what is torn may be.
fn end_of_lines(file: &File, length: u64) -> io::Result<u64> {
    let (mut end, mut piece) = (length, vec![0; 64 << 10]);
    while end > 0 {
        let from = end.saturating_sub(piece.len() as u64);
        let part = usize::try_from(end - from).map_err(io::Error::other)?;
        let part = piece.get_mut(..part).unwrap_or_default();
        file.read_exact_at(part, from)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

fn open(path: &Path) -> io::Result<File> {
    let file = private(path, OpenOptions::new().append(true).create(true).mode(0o600))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::other("another gateway is writing to it; give each its own directory"))?;
    Ok(file)
}

/// The last of the heads in a file, where there is one. What stands behind it is one that was torn, and is moved aside.
fn last_head(path: &Path) -> io::Result<Option<(Hash, OffsetDateTime)>> {
    let file = match private(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_NOTE);
    let mut end = vec![0; usize::try_from(length - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut end, from)?;
    let found = whole_note(&end);
    if found.is_none() && from > 0 {
        return Err(io::Error::other("it does not end with a signed head; move it away, and keep it"));
    }
    let whole = from + found.as_ref().map_or(0, |(end, ..)| *end as u64);
    if whole < length {
        let aside = path.with_file_name(TORN);
        set_aside(path, whole, &aside)?;
        let (bytes, aside) = (length - whole, aside.display());
        tracing::warn!(bytes, %aside, "the last head of the event log was torn, and is kept beside it");
    }
    Ok(found.map(|(_, hash, time)| (hash, time)))
}

/// The last note in some bytes that is whole, and where it ends.
fn whole_note(bytes: &[u8]) -> Option<(usize, Hash, OffsetDateTime)> {
    // a note is its text, an empty line and its signature; the next one begins with the empty line between the two
    let ends = memchr::memrchr_iter(b'\n', bytes).map(|at| at + 1);
    ends.into_iter().find_map(|end| {
        let text = std::str::from_utf8(bytes.get(..end)?).ok().filter(|text| !text.ends_with("\n\n"))?;
        let mut parts = text.rsplit("\n\n");
        let (signature, head) = (parts.next()?, parts.next()?);
        let note = Note::parse(format!("{head}\n\n{signature}").as_bytes()).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        Some((end, note.hash(), checkpoint.time))
    })
}

/// Opens a file that must be this user's alone, and no link.
fn private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // a FIFO would keep the gateway waiting for a reader; to a file it makes no difference
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    // rustix's flags and the standard library's are the same number in two types
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = options.custom_flags(flags).open(path).map_err(|error| match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => io::Error::other("it is a symbolic link; remove it"),
        Ok(found) if !found.is_file() => io::Error::other(NOT_REGULAR),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(NOT_REGULAR));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("it must belong to the gateway's user alone; chmod 600 it"));
    }
    Ok(file)
}

/// Whether nobody but this user, or root, can rename or remove what is in a directory.
fn is_private(directory: &Path) -> io::Result<()> {
    let found = directory.metadata()?;
    if ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) || found.mode() & 0o022 != 0 {
        let why = "its directory must be writable by the gateway's user alone; chown and chmod 700 the directory";
        return Err(io::Error::other(why));
    }
    Ok(())
}

/// Whether the file at this path is the one that is open.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.symlink_metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn unusable(path: &Path, error: &io::Error) -> EvidenceError {
    let why = match (error.kind(), path.parent()) {
        // the file itself would be made
        (io::ErrorKind::NotFound, Some(directory)) => {
            let directory = directory.display();
            format!("its directory is not there; make it with: install -d -m 0700 -o portcullis {directory}")
        }
        (io::ErrorKind::ReadOnlyFilesystem, _) => {
            format!("{error}; under systemd a directory of its own has to be in the unit's ReadWritePaths=")
        }
        _ => error.to_string(),
    };
    EvidenceError::Unusable { path: path.display().to_string(), why }
}

const NOT_REGULAR: &str = "it is not a regular file";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Bytes> {
        let line = |text: &&str| Bytes {
            line: format!("{text}\n").into_bytes(),
            link: 0,
            noise: text.starts_with('?'),
            anchored: false,
        };
        texts.iter().map(line).collect()
    }

    fn outcome(file: &mut LogFile, texts: &[&str]) -> Vec<bool> {
        file.append(&lines(texts)).iter().map(Result::is_ok).collect()
    }

    #[test]
    fn each_line_of_many_learns_its_own_fate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut file = LogFile::open(&path, 40).unwrap();
        let long = "x".repeat(30);
        assert_eq!(
            outcome(&mut file, &["one", &long, "two", &long, "three", "?noise", "four"]),
            [true, true, true, false, false, false, false]
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("one\n{long}\ntwo\n"));
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        // noise keeps off the last tenth
        let near = "x".repeat(34);
        assert_eq!(outcome(&mut file, &[&near, "?", "y"]), [true, false, true]);
    }

    #[test]
    fn a_full_disk_fails_every_line_and_leaves_none() {
        let mut file = LogFile::of_device("/dev/full");
        for result in file.append(&lines(&["one", "two"])) {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("No space left") && error.contains("the session ends"), "{error}");
        }
    }

    #[test]
    fn what_stands_whole_of_a_write_that_was_stopped_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut file = LogFile::open(&path, 1 << 20).unwrap();
        // as if `one\n` had stood before, and the disk had taken so much of `two\n` and `three\n`
        for (stands, whole, left) in [("one\ntwo\nth", 1, "one\ntwo\n"), ("one\nt", 0, "one\n"), ("one\n", 0, "one\n")]
        {
            std::fs::write(&path, stands).unwrap();
            assert_eq!(file.cut(4, &[4, 10]), whole);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
        }
        assert_eq!(outcome(&mut file, &["four"]), [true]);
    }
}

#[cfg(test)]
#[path = "log_file_tests.rs"]
mod torn_tests;
