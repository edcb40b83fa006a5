//! The folders of the sessions that run, as the disk's thread has them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis_folder::{File, FileEntry, FolderKey, FolderSeal, HeadChain, Manifest, SESSIONS, day_of, open_regular};
use portcullis_index::Writer as Indexer;
use time::OffsetDateTime;
use uuid::Uuid;

use super::heads::Sealing;
use super::interrupted;
use super::sealer::{ToSealer, ToSign};
use super::task::{Entry, FolderTask};
use crate::evidence::error::EvidenceError;
use crate::evidence::outlet::{Outlets, ToldEvent};

/// The open folders, by their sessions.
#[derive(Debug)]
pub(in crate::evidence) struct FolderDisk {
    evidence: PathBuf,
    /// The name of the key that signs, which is the origin's first part.
    authority: String,
    open: HashMap<Uuid, OpenFolder>,
    /// Those in which something may stand that no head on its way covers: most are idle.
    dirty: HashSet<Uuid>,
    sealer: ToSealer,
    sealing: Arc<Sealing>,
    /// Where sessions are found; it has what the folders have.
    index: Option<Indexer>,
    /// Where evidence goes besides.
    outlets: Outlets,
    /// Bytes of the file system that evidence leaves free.
    reserve: u64,
    /// What was free, and when that was looked up.
    free: Option<(Instant, u64)>,
}

/// One of them.
#[derive(Debug)]
struct OpenFolder {
    path: PathBuf,
    /// `<day>/<session>`, as the journal calls it.
    name: String,
    /// Where it is encrypted. It is gone when the folder is sealed.
    key: Option<FolderKey>,
    files: Vec<OpenFile>,
    seal: FolderSeal,
    /// Since when something stands in it that no head on its way covers.
    dirty: Option<Instant>,
    /// A head of it is on its way.
    signing: Arc<Signing>,
    /// Its directory was not given to the disk yet.
    is_new: bool,
    /// Who, and where, for those who are told of it; not known yet where a killed gateway left it.
    whose: Option<Whose>,
}

/// Who, and the node's id.
#[derive(Clone, Debug)]
struct Whose {
    person: String,
    node: String,
}

impl Whose {
    fn of(manifest: &Manifest) -> Self {
        Self { person: manifest.person.clone(), node: manifest.node.id.clone() }
    }
}

/// Where bytes stand in a file, and as which line, where that is not as they are.
struct Stands {
    offset: u64,
    encrypted: Option<Vec<u8>>,
}

/// Who is told of what is written.
struct Tells<'a> {
    index: Option<&'a Indexer>,
    outlets: &'a Outlets,
    /// It is a session's end.
    last: bool,
}

/// A file that is being written.
#[derive(Debug)]
struct OpenFile {
    file: File,
    handle: fs::File,
    /// How long it is.
    bytes: u64,
}

/// How it goes with the heads of one folder.
#[derive(Debug, Default)]
pub(in crate::evidence) struct Signing {
    pub(in crate::evidence) busy: AtomicBool,
    /// Those that stand. The sealer's alone; it waits for nobody.
    pub(super) heads: Mutex<HeadChain>,
    /// Why no head could be signed: nothing more is written then.
    pub(super) failed: std::sync::OnceLock<String>,
}

impl Signing {
    /// That of a file of heads which goes on behind these.
    pub(in crate::evidence) fn after(heads: HeadChain) -> Arc<Self> {
        Arc::new(Self { heads: Mutex::new(heads), ..Self::default() })
    }
}

/// A head is asked for so long after the first byte that it is to cover: with the signing, less than a second.
pub(in crate::evidence) const HEAD_AFTER: Duration = Duration::from_millis(500);

/// How long a head may take, as a write may.
const LONGEST_HEAD: Duration = crate::evidence::writer::LONGEST_WRITE;

/// How old a look at the free space may be.
const FREE_FOR: Duration = Duration::from_secs(1);

impl FolderDisk {
    pub(in crate::evidence) fn new(
        evidence: &Path,
        authority: &str,
        reserve: u64,
        sealer: ToSealer,
        sealing: Arc<Sealing>,
        index: Option<Indexer>,
        outlets: Outlets,
    ) -> Self {
        Self {
            evidence: evidence.to_owned(),
            authority: authority.to_owned(),
            open: HashMap::new(),
            dirty: HashSet::new(),
            sealer,
            sealing,
            index,
            outlets,
            reserve,
            free: None,
        }
    }

    /// Does one thing.
    pub(in crate::evidence) fn run(&mut self, task: FolderTask) -> Result<(), EvidenceError> {
        let session = task.session();
        let done = match task {
            FolderTask::Open { opened, manifest, entries, key, .. } => {
                let made = self.has_room().and_then(|()| self.make(session, opened, *manifest, key));
                let made = made.and_then(|()| self.write(session, entries));
                if made.is_err() {
                    // nobody comes back to it: what stands there is sealed by the next start
                    self.open.remove(&session);
                }
                made
            }
            FolderTask::Write { entries, .. } => self.has_room().and_then(|()| self.write(session, entries)),
            FolderTask::GoOn { path, name, seal, heads, key, .. } => {
                self.go_on(session, path, name, (*seal, heads), key)
            }
            // the end is worth a try, whatever is left of the disk
            FolderTask::Seal { entries, manifest, .. } => self.seal(session, entries, manifest),
        };
        done.map_err(|error| EvidenceError::Write(format!("the folder of session {session}: {error}")))
    }

    /// Has heads signed of what needs one; when it is to be asked again.
    pub(in crate::evidence) fn heads(&mut self, now: Instant) -> Option<Duration> {
        let mut next = None;
        self.dirty.retain(|session| {
            let Some(folder) = self.open.get_mut(session) else { return false };
            let Some(since) = folder.dirty else { return false };
            let age = now.saturating_duration_since(since);
            let wait = match folder.signing.busy.load(Ordering::Acquire) {
                true => HEAD_AFTER,
                false if age < HEAD_AFTER => HEAD_AFTER - age,
                false => {
                    let asked = folder.ask_for_head(*session, &self.evidence, &self.sealer, None, now);
                    if let Err(error) = asked {
                        let _ = folder.signing.failed.set(error.to_string());
                    }
                    return folder.dirty.is_some();
                }
            };
            next = Some(next.map_or(wait, |next: Duration| next.min(wait)));
            true
        });
        next
    }

    fn make(
        &mut self,
        session: Uuid,
        opened: OffsetDateTime,
        mut manifest: Manifest,
        key: Option<FolderKey>,
    ) -> io::Result<()> {
        let day = day_of(opened);
        let name = format!("{day}/{session}");
        let sessions = self.evidence.join(SESSIONS);
        let path = sessions.join(&day).join(session.to_string());
        let mut directory = DirBuilder::new();
        directory.mode(0o700);
        for parent in [&sessions, &sessions.join(&day)] {
            match directory.create(parent) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        interrupted::opened(&self.evidence, &name)?;
        // nothing is overwritten: a folder of this number that is there already is somebody else's
        directory.create(&path)?;
        let wrapped = key.as_ref().map(|key| key.wrapped.to_line()).transpose().map_err(io::Error::other)?;
        let mut folder = OpenFolder {
            path,
            name,
            key,
            files: Vec::new(),
            seal: FolderSeal::new(&self.authority, session),
            dirty: None,
            signing: Arc::default(),
            is_new: true,
            whose: Some(Whose::of(&manifest)),
        };
        // before whatever it opens
        let written = wrapped.map_or(Ok(()), |line| folder.append(File::Key, &line).map(drop));
        if let Some(FolderKey { key, wrapped }) = &folder.key {
            // whoever reads the index need not be let to the key
            manifest.hide(key, wrapped).map_err(io::Error::other)?;
        }
        self.open.insert(session, folder);
        if let Some(index) = &self.index {
            index.opened(&manifest);
        }
        written
    }

    /// Goes on with a folder that is there. Its files are opened as they are needed.
    fn go_on(
        &mut self,
        session: Uuid,
        path: PathBuf,
        name: String,
        (seal, heads): (FolderSeal, HeadChain),
        key: Option<FolderKey>,
    ) -> io::Result<()> {
        let mut files = Vec::new();
        for file in File::ALL {
            // every file that has something in it is in the last head, and synced before
            if let Some((bytes, _)) = seal.file(file) {
                let handle = open_regular(&path.join(file.name()), OpenOptions::new().append(true))?;
                files.push(OpenFile { file, handle, bytes });
            }
        }
        let signing = Signing::after(heads);
        let folder = OpenFolder { path, name, key, files, seal, dirty: None, signing, is_new: true, whose: None };
        self.open.insert(session, folder);
        Ok(())
    }

    /// One of them, and who is told of what is written there.
    fn folder(&mut self, session: Uuid, last: bool) -> io::Result<(&mut OpenFolder, Tells<'_>)> {
        let folder = self.open.get_mut(&session).ok_or_else(|| io::Error::other("it is not open"))?;
        Ok((folder, Tells { index: self.index.as_ref(), outlets: &self.outlets, last }))
    }

    fn write(&mut self, session: Uuid, entries: Vec<Entry>) -> io::Result<()> {
        let (folder, tells) = self.folder(session, false)?;
        folder.can_go_on()?;
        let written = folder.write(session, entries, &tells);
        // what was written before an error is to be covered as well
        self.dirty.insert(session);
        written
    }

    fn seal(&mut self, session: Uuid, entries: Vec<Entry>, mut manifest: Box<Manifest>) -> io::Result<()> {
        let (folder, tells) = self.folder(session, true)?;
        let mut told = Ok(());
        if folder.whose.is_none() {
            folder.whose = Some(Whose::of(&manifest));
            told = folder.tell_last_again(session, &tells);
        }
        let written = folder.write(session, entries, &tells);
        manifest.files = folder.entries();
        if let Some(FolderKey { key, wrapped }) = &folder.key {
            manifest.hide(key, wrapped).map_err(io::Error::other)?;
        }
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
        text.push(b'\n');
        // what stands in it is sealed, even where its last lines found no room
        let sealed = folder.append(File::Manifest, &text);
        let sealed =
            sealed.and_then(|_| folder.signing.failed.get().map_or(Ok(()), |why| Err(io::Error::other(why.clone()))));
        if let Some(mut folder) = self.open.remove(&session) {
            sealed?;
            self.sealing.begins();
            let asked = folder.ask_for_head(session, &self.evidence, &self.sealer, Some(manifest), Instant::now());
            asked.inspect_err(|_| self.sealing.ends())?;
        }
        written.and(told)
    }

    /// Whether the file system has more free than the reserve.
    fn has_room(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let free = match self.free {
            Some((at, free)) if now.saturating_duration_since(at) < FREE_FOR => free,
            _ => {
                let found = rustix::fs::statvfs(&self.evidence)?;
                let free = found.f_bavail.saturating_mul(found.f_frsize);
                self.free = Some((now, free));
                free
            }
        };
        if free < self.reserve {
            let (left, reserve) = (free >> 20, self.reserve >> 20);
            let why =
                format!("its file system has {left} MiB left, and {reserve} are kept free (evidence.reserve_bytes)");
            return Err(io::Error::other(why));
        }
        Ok(())
    }
}

impl OpenFolder {
    /// Nothing is written that no head will cover in time.
    fn can_go_on(&self) -> io::Result<()> {
        if let Some(why) = self.signing.failed.get() {
            return Err(io::Error::other(why.clone()));
        }
        let waits = self.dirty.is_some_and(|since| since.elapsed() > LONGEST_HEAD);
        if waits && self.signing.busy.load(Ordering::Acquire) {
            return Err(io::Error::other("the disk does not take it (fsync)"));
        }
        Ok(())
    }

    fn write(&mut self, session: Uuid, entries: Vec<Entry>, tells: &Tells<'_>) -> io::Result<()> {
        let mut untold = Ok(());
        for entry in entries {
            match entry {
                Entry::Event(body) => {
                    let place = self.seal.next(OffsetDateTime::now_utc());
                    let mut line = body.line(session, place.time, place.sequence);
                    self.seal.attest(&mut line).map_err(io::Error::other)?;
                    line.push(b'\n');
                    // a line that could not be written is no link of the chain
                    let stands = self.append(File::Events, &line).inspect_err(|_| self.seal.forget_unwritten())?;
                    // others get what is encrypted here as it stands here
                    let line = stands.encrypted.unwrap_or(line);
                    // what stands here stands, and the rest of it is to stand here as well
                    untold = untold.and(self.tell(session, place.time, body.name, &line, tells));
                }
                Entry::Bytes(file, bytes) => {
                    let stands = self.append(file, &bytes)?;
                    if let Some(index) = tells.index.filter(|_| stands.encrypted.is_none()) {
                        index.wrote(session, file, stands.offset, bytes);
                    }
                }
            }
            self.dirty.get_or_insert_with(Instant::now);
        }
        untold
    }

    fn tell(&self, session: Uuid, time: i64, name: &str, line: &[u8], tells: &Tells<'_>) -> io::Result<()> {
        let (Some(outlet), Some(whose)) = (tells.outlets.get(), &self.whose) else { return Ok(()) };
        let line = str::from_utf8(line).map_err(io::Error::other)?.trim_end_matches('\n');
        let (person, node, last) = (whose.person.as_str(), whose.node.as_str(), tells.last);
        outlet.event(ToldEvent { session, person, node, time, name, line, last }).map_err(io::Error::other)
    }

    /// The last event of a killed gateway may stand here, and have been told nobody.
    fn tell_last_again(&self, session: Uuid, tells: &Tells<'_>) -> io::Result<()> {
        #[derive(serde::Deserialize)]
        struct Told {
            time: i64,
            #[serde(default)]
            unmapped: Unmapped,
        }
        #[derive(Default, serde::Deserialize)]
        struct Unmapped {
            #[serde(default)]
            event: String,
        }
        let Some(line) = last_line(&self.path.join(File::Events.name()))? else { return Ok(()) };
        match serde_json::from_slice::<Told>(&line) {
            Ok(told) => self.tell(session, told.time, &told.unmapped.event, &line, tells),
            Err(_) if self.key.is_some() => {
                let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
                self.tell(session, i64::try_from(now).unwrap_or_default(), "event", &line, tells)
            }
            // whoever verifies the folder is told of that
            Err(_) => Ok(()),
        }
    }

    /// Writes at a file's end, all of it or nothing: of an encrypted folder one line that says this.
    fn append(&mut self, file: File, bytes: &[u8]) -> io::Result<Stands> {
        match self.key.as_ref().filter(|_| file.is_encrypted()) {
            None => {
                let offset = put(&self.path, &mut self.files, file, bytes)?;
                self.seal.wrote(file, bytes);
                Ok(Stands { offset, encrypted: None })
            }
            Some(key) => {
                let line = key.key.line(file, self.seal.next_line(file), bytes).map_err(io::Error::other)?;
                let offset = put(&self.path, &mut self.files, file, &line)?;
                self.seal.wrote_encrypted(file, bytes, &line);
                Ok(Stands { offset, encrypted: Some(line) })
            }
        }
    }

    /// The folder's files as they are.
    fn entries(&self) -> Vec<FileEntry> {
        let entry = |file: File| {
            let (bytes, sha256) = self.seal.file(file)?;
            Some(FileEntry { name: file.name().to_owned(), bytes, sha256: sha256.hex() })
        };
        File::ALL.into_iter().filter_map(entry).collect()
    }

    fn ask_for_head(
        &mut self,
        session: Uuid,
        evidence: &Path,
        sealer: &ToSealer,
        last: Option<Box<Manifest>>,
        now: Instant,
    ) -> io::Result<()> {
        let head = self.seal.head(OffsetDateTime::now_utc(), last.is_some());
        // as if it were there already: where it can't be signed, nothing more is
        self.seal.signed(&head);
        let files = self.files.iter().map(|file| file.handle.try_clone()).collect::<io::Result<Vec<_>>>()?;
        self.signing.busy.store(true, Ordering::Release);
        let (path, name, signing) = (self.path.clone(), self.name.clone(), self.signing.clone());
        let is_new = std::mem::take(&mut self.is_new);
        sealer.send(ToSign {
            session,
            evidence: evidence.to_owned(),
            path,
            name,
            files,
            head,
            last,
            is_new,
            asked: now,
            signing,
        });
        self.dirty = None;
        Ok(())
    }
}

/// Writes all of it at a file's end, or nothing; where that was.
fn put(path: &Path, files: &mut Vec<OpenFile>, file: File, bytes: &[u8]) -> io::Result<u64> {
    let place = match files.iter().position(|open| open.file == file) {
        Some(place) => place,
        None => {
            files.push(OpenFile { file, handle: create(&path.join(file.name()))?, bytes: 0 });
            files.len() - 1
        }
    };
    let Some(open) = files.get_mut(place) else { return Err(io::ErrorKind::NotFound.into()) };
    match open.handle.write_all(bytes) {
        Ok(()) => {
            let offset = open.bytes;
            open.bytes += bytes.len() as u64;
            Ok(offset)
        }
        Err(error) => {
            // half a line would spoil the next, and is in no head
            let _ = open.handle.set_len(open.bytes);
            Err(error)
        }
    }
}

/// The last line of a file of whole lines.
fn last_line(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match open_regular(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    let mut end = vec![0; usize::try_from(length - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut end, from)?;
    let line = end.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().filter(|line| !line.is_empty());
    Ok(line.map(<[u8]>::to_vec))
}

/// No event is longer.
const LONGEST_LINE: u64 = 4 << 20;

/// A file that nobody has made before, for this user alone.
fn create(path: &Path) -> io::Result<fs::File> {
    open_regular(path, OpenOptions::new().append(true).create_new(true).mode(0o600))
}
