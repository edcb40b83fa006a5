//! The event log, as everybody else has it: a place to put events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_folder::{Keyring, Manifest, SigningKey, VerifyingKey};
use portcullis_index::{Settings as IndexSettings, Writer as Indexer};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::encryption::Encryption;
use super::error::EvidenceError;
use super::event::{Event, LeftOut, SessionDeleted, SessionSealed, SessionsHeads};
use super::fields::Line;
use super::folder::{
    FolderDisk, FolderTask, Found, Heads, LiveHead, Sealer, Sealing, Told as SealerTold, find_interrupted,
};
use super::live::Live;
use super::log_file::LogFile;
use super::outlet::{Outlet, Outlets};
use super::redaction::Redaction;
use super::share::{Room, SessionUse, Shares, Used};
use super::writer::{Disk, GONE, Job, LONGEST_WRITE, QUEUE, Told, Writer};

/// An append-only log of events.
///
/// Dropping it waits until everything that it was given is written.
#[derive(Debug)]
pub struct EventLog {
    #[cfg(test)]
    path: PathBuf,
    // before the writer: that ends when this has
    queue: mpsc::Sender<Job>,
    lost: Arc<AtomicU64>,
    used: Used,
    /// What is used of the parts of folders.
    recorded: Used,
    questions_a_minute: u32,
    keeping: Keeping,
    /// The name of the key that signs.
    authority: String,
    live: Live,
    redaction: Arc<Redaction>,
    encryption: Encryption,
    heads: Heads,
    sealing: Arc<Sealing>,
    index: Option<Indexer>,
    outlets: Outlets,
    // before the sealer: that ends when nobody can ask it for anything
    _writer: Writer,
    _sealer: Sealer,
}

/// What is kept of sessions in their folders.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// A session whose recording fails ends; otherwise it goes on, and the gap is recorded.
    pub required: bool,
    /// Every session has one; else those of which policy wants something recorded.
    pub folders: bool,
    /// How many bytes are kept of what a command without a terminal says, of each stream.
    pub output_head: usize,
    /// What folders may take.
    pub shares: Shares,
}

/// What those who cause events may fill of a log.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Their parts of it.
    pub shares: Shares,
    /// How many questions about files one session has listed in a minute; more are counted.
    pub questions_a_minute: u32,
    /// What is kept of sessions in their folders.
    pub keeping: Keeping,
}

/// What a log is opened with.
#[derive(Debug)]
pub struct Place<'a> {
    /// Where it is.
    pub directory: &'a Path,
    /// Bytes that the log may take.
    pub limit: u64,
    /// Bytes of the file system that folders leave free.
    pub reserve: u64,
    /// What heads are signed with.
    pub key: Arc<SigningKey>,
    /// Where sessions are found, if anywhere. It is written from now on, in a runtime of tokio.
    pub index: Option<IndexSettings>,
}

/// A line that is on its way.
#[derive(Debug)]
pub(super) struct Pending(oneshot::Receiver<Result<(), EvidenceError>>);

/// How many places in the queue are kept from what strangers cause.
const NOT_FOR_NOISE: usize = QUEUE / 2;

impl EventLog {
    /// The log's name in its directory.
    pub const FILE: &'static str = "events.jsonl";

    /// Opens the log in a directory, or makes it. The file must belong to this user alone, be no link, and not be in use
    /// by another gateway; and nobody else may put another in its place. The folders of sessions are made beside it.
    pub fn open_at(place: Place<'_>) -> Result<Self, EvidenceError> {
        let Place { directory, limit, reserve, key, index } = place;
        let path = directory.join(Self::FILE);
        let file = LogFile::open(&path, limit)?;
        Self::of(file, path, directory, reserve, key, index)
    }

    fn of(
        file: LogFile,
        path: PathBuf,
        directory: &Path,
        reserve: u64,
        key: Arc<SigningKey>,
        index: Option<IndexSettings>,
    ) -> Result<Self, EvidenceError> {
        let no_thread = |error: std::io::Error| EvidenceError::Unusable {
            path: path.display().to_string(),
            why: format!("no thread for it: {error}"),
        };
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (lost, run) = (Arc::new(AtomicU64::new(0)), Uuid::new_v4());
        // only now that the log is this gateway's alone
        let index = index.map(|settings| Indexer::start(settings).0);
        let (heads, sealing) = (Heads::default(), Arc::new(Sealing::default()));
        let told = Box::new(ToJournal {
            queue: queue.downgrade(),
            lost: lost.clone(),
            sealing: sealing.clone(),
            index: index.clone(),
        });
        let authority = key.verifying_key().name().to_owned();
        let outlets = Outlets::default();
        let (sealer, to_sealer) = Sealer::start(key, heads.clone(), told, outlets.clone()).map_err(no_thread)?;
        let (to, waiting) = (to_sealer.clone(), sealing.clone());
        let folders = FolderDisk::new(directory, &authority, reserve, to, waiting, index.clone(), outlets.clone());
        let disk = Disk { log: file.journal(&authority, run, to_sealer)?, folders };
        let writer = Writer::start(run, disk, jobs, lost.clone(), LONGEST_WRITE).map_err(no_thread)?;
        Ok(Self {
            #[cfg(test)]
            path,
            queue,
            lost,
            used: Used::new(Shares::UNLIMITED),
            recorded: Used::new(Shares::UNLIMITED),
            questions_a_minute: u32::MAX,
            keeping: Keeping { required: true, folders: true, output_head: 0, shares: Shares::UNLIMITED },
            authority,
            live: Live::default(),
            redaction: Arc::new(Redaction::known()),
            encryption: Encryption::default(),
            heads,
            sealing,
            index,
            outlets,
            _writer: writer,
            _sealer: sealer,
        })
    }

    /// In a directory of a test's own, with a key that nobody has.
    #[cfg(any(test, feature = "testing"))]
    pub fn open(directory: &Path, limit: u64) -> Result<Self, EvidenceError> {
        let generated = SigningKey::generate("portcullis/test");
        let (key, _) = generated.map_err(|error| EvidenceError::Key(error.to_string()))?;
        Self::open_at(Place { directory, limit, reserve: 0, key: Arc::new(key), index: None })
    }

    /// The same, where nobody can fill it alone.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> Self {
        Self {
            used: Used::new(bounds.shares),
            recorded: Used::new(bounds.keeping.shares),
            questions_a_minute: bounds.questions_a_minute,
            keeping: bounds.keeping,
            ..self
        }
    }

    /// What [`EventLog::open`] would refuse, but for a log that is in use: for a look beside a gateway that runs. Makes
    /// nothing.
    pub fn check(directory: &Path) -> Result<(), EvidenceError> {
        LogFile::check(&directory.join(Self::FILE))
    }

    /// Where it is.
    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one event of a session; when this returns, `write(2)` has. None is written beyond its part of the log, or its
    /// person's.
    pub(super) async fn record_of(
        &self,
        session: &SessionUse,
        id: Uuid,
        event: &Event<'_>,
    ) -> Result<(), EvidenceError> {
        let line = self.line(id, event);
        self.used.take(session, line.bytes())?;
        self.write(line).await
    }

    /// Does something to a session's folder; when this returns, `write(2)` has. Nothing is written beyond its part, or its
    /// person's.
    pub(super) async fn keep(&self, session: &SessionUse, task: FolderTask) -> Result<(), EvidenceError> {
        let bytes = match &task {
            FolderTask::Open { entries, .. } | FolderTask::Write { entries, .. } => {
                let encrypted = self.encryption.is_on();
                entries.iter().map(|entry| if encrypted { entry.encrypted_bytes() } else { entry.bytes() }).sum()
            }
            // the end is written whatever is left
            FolderTask::GoOn { .. } | FolderTask::Seal { .. } => 0,
        };
        if bytes > 0 {
            self.recorded.take_recording(session, bytes)?;
        }
        self.ask("of a folder", |told| Job::Folder(task, Some(told))).await
    }

    /// Has something done to a folder, without waiting for it: its end, or what the gateway itself has to tell.
    pub(super) fn keep_later(&self, task: FolderTask) {
        match self.queue.try_reserve() {
            Ok(place) => place.send(Job::Folder(task, None)),
            Err(_) => self.lose("of a folder"),
        }
    }

    /// The name of the key that signs.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The same, where this is not kept.
    #[must_use]
    pub fn redacted(self, redaction: Redaction) -> Self {
        Self { redaction: Arc::new(redaction), ..self }
    }

    /// The same, where it is encrypted.
    #[must_use]
    pub fn encrypted(self, encryption: Encryption) -> Self {
        Self { encryption, ..self }
    }

    /// How it is encrypted.
    pub(super) fn encryption(&self) -> &Encryption {
        &self.encryption
    }

    fn line(&self, id: Uuid, event: &Event<'_>) -> Line {
        Line::of(id, event, self.encryption.is_on())
    }

    /// What is not kept.
    pub fn redaction(&self) -> &Arc<Redaction> {
        &self.redaction
    }

    /// The sessions whose records are open.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Has evidence told to whoever brings it elsewhere, from now on. To be called before anything is recorded, if ever.
    pub fn tell(&self, outlet: Arc<dyn Outlet>) {
        self.outlets.set(outlet);
    }

    /// Whether a session may begin: an error where evidence does not reach where it has to.
    pub(super) fn may_begin(&self) -> Result<(), EvidenceError> {
        self.outlets.get().and_then(|outlet| outlet.down()).map_or(Ok(()), |why| Err(EvidenceError::Away(why)))
    }

    /// Ends and seals the folders that a killed gateway has left open; what became of each. To be called once, before sessions open.
    pub async fn seal_interrupted(
        &self,
        evidence: &Path,
        key: &SigningKey,
        keys: &[VerifyingKey],
        keyring: &dyn Keyring,
    ) {
        let found = match find_interrupted(evidence, key, keys, keyring, &self.outlets) {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "folders that were left open can't be looked for"),
        };
        for Found { name, tasks } in found {
            match tasks {
                Ok(tasks) if tasks.is_empty() => {}
                Ok(tasks) => {
                    tracing::warn!(
                        folder = name,
                        "a session was interrupted by the end of its gateway; its folder is sealed now"
                    );
                    for task in tasks {
                        let done = self.ask("of a folder", |told| Job::Folder(task, Some(told))).await;
                        if let Err(error) = done {
                            tracing::error!(%error, folder = name, "a folder that was left open can't be sealed");
                        }
                    }
                }
                Err(why) => tracing::error!(why, folder = name, "a folder that was left open can't be sealed"),
            }
        }
    }

    /// What is kept in folders.
    pub(super) fn keeping(&self) -> Keeping {
        self.keeping
    }

    /// Puts away what recordings of terminals hold in memory where nothing has passed for a while.
    pub fn rest(&self) {
        self.live.rest();
    }

    /// Tells the heads of all sessions that run, in one event.
    pub fn note_heads(&self) {
        let heads = self.heads.all();
        let heads: Vec<_> = heads.into_iter().map(|(_, head)| (head.folder, head.hash)).collect();
        // an event has its bound, as any
        for heads in heads.chunks(HEADS_AN_EVENT) {
            self.note_own(&Event::SessionsHeads(SessionsHeads { heads }));
        }
    }

    /// Writes what must be said of a session, whatever is left of its part; when this returns, `write(2)` has.
    pub(super) async fn record_end(
        &self,
        session: &SessionUse,
        id: Uuid,
        event: &Event<'_>,
    ) -> Result<(), EvidenceError> {
        let line = self.line(id, event);
        self.used.count(session.person(), line.bytes());
        self.write(line).await
    }

    /// Writes that somebody looks at what was recorded; when this returns, `write(2)` has.
    pub async fn record_view(&self, connection: Uuid, event: &Event<'_>) -> Result<(), EvidenceError> {
        let line = Line::new(connection, event);
        if let Some(person) = event.person() {
            self.used.count(person, line.bytes());
        }
        self.write(line).await
    }

    async fn write(&self, line: Line) -> Result<(), EvidenceError> {
        self.ask(line.name, |told| Job::Write(line, Some(told))).await
    }

    async fn ask(&self, event: &'static str, job: impl FnOnce(Told) -> Job) -> Result<(), EvidenceError> {
        let (told, hears) = oneshot::channel();
        let unsent = Unsent { log: self, event };
        let Ok(place) = self.queue.reserve().await else { return Err(EvidenceError::Write(GONE.to_owned())) };
        std::mem::forget(unsent);
        place.send(job(told));
        hears.await.unwrap_or_else(|_| Err(EvidenceError::Write(GONE.to_owned())))
    }

    /// Has one event of a session written without waiting for it; none if too much waits already. There are few of them.
    pub(super) fn begin(&self, session: &SessionUse, id: Uuid, event: &Event<'_>) -> Option<Pending> {
        let place = self.queue.try_reserve().ok()?;
        let (told, hears) = oneshot::channel();
        let line = self.line(id, event);
        self.used.count(session.person(), line.bytes());
        place.send(Job::Write(line, Some(told)));
        Some(Pending(hears))
    }

    /// Writes an event that nothing depends on, and that nobody waits for: a failure is logged, and its number is missing.
    /// One of a person who has filled their part of the log, or of strangers who have filled theirs, is only counted.
    pub fn note(&self, id: Uuid, event: &Event<'_>) {
        let line = self.line(id, event);
        let person = event.person();
        match self.used.place(person, line.bytes()) {
            Room::Here { left_out: 0 } => {}
            Room::Here { left_out: count } => {
                self.put(Line::new(Uuid::nil(), &Event::LeftOut(LeftOut { person, count })));
            }
            Room::None => return,
        }
        self.put(line);
    }

    /// Writes what happened to a session that runs, in its folder as well: nobody waits for it.
    pub fn note_of(&self, id: Uuid, event: &Event<'_>) {
        if let Some(record) = self.live.get(id) {
            record.note(event);
        }
    }

    /// The same for what the gateway does itself, which is nobody's part.
    pub fn note_own(&self, event: &Event<'_>) {
        self.put(Line::new(Uuid::nil(), event));
    }

    /// Writes that a session's folder is about to be deleted; when this returns, `write(2)` has.
    pub async fn record_deletion(&self, session: Uuid, deleted: &SessionDeleted<'_>) -> Result<(), EvidenceError> {
        self.write(Line::new(session, &Event::SessionDeleted(*deleted))).await
    }

    /// The folder is gone.
    pub fn deleted(&self, session: Uuid) {
        if let Some(index) = &self.index {
            index.deleted(session);
        }
    }

    /// The same for the end of a session, which is written whatever is left of its part.
    pub(super) fn note_end(&self, session: &SessionUse, id: Uuid, event: &Event<'_>) {
        let line = self.line(id, event);
        self.used.count(session.person(), line.bytes());
        self.put(line);
    }

    /// How many questions about files one session has listed in a minute.
    pub(super) fn questions_a_minute(&self) -> u32 {
        self.questions_a_minute
    }

    fn put(&self, line: Line) {
        let room = if line.noise { NOT_FOR_NOISE } else { 0 };
        match self.queue.try_reserve() {
            Ok(place) if self.queue.capacity() >= room => place.send(Job::Write(line, None)),
            _ => self.lose(line.name),
        }
    }

    /// Goes on in a new file if the one it writes was moved away. If none can be opened, the log goes on where it is
    /// and the caller tries again: a moved file is better than none.
    pub async fn reopen(&self) -> Result<(), EvidenceError> {
        let (told, hears) = oneshot::channel();
        // no answer means that there is no writer, which shows at the next event
        let _ = self.queue.send(Job::Reopen(told)).await;
        hears.await.unwrap_or_else(|_| Err(EvidenceError::Write(GONE.to_owned())))
    }

    /// Waits until everything that it was given is written and sealed, or can't be.
    pub async fn flush(&self) {
        self.flush_queue().await;
        // what is sealed is told in the journal
        self.sealing.is_done().await;
        self.flush_queue().await;
    }

    /// Waits until where sessions are found has all that it was told.
    pub async fn flush_index(&self) {
        if let Some(index) = &self.index {
            index.flush().await;
        }
    }

    async fn flush_queue(&self) {
        let (told, hears) = oneshot::channel();
        let _ = self.queue.send(Job::Flush(told)).await;
        let _ = hears.await;
    }

    fn lose(&self, event: &'static str) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::error!(event, "evidence is missing an event: too many wait for the disk");
    }

    /// Writes one event; when this returns, `write(2)` has.
    #[cfg(test)]
    pub(super) async fn record(&self, id: Uuid, event: &Event<'_>) -> Result<(), EvidenceError> {
        self.write(Line::new(id, event)).await
    }

    /// For tests: what is no regular file can't be opened as a log.
    #[cfg(test)]
    pub(super) fn of_device(path: &str) -> Self {
        let (key, _) = SigningKey::generate("portcullis/test").unwrap();
        Self::of(LogFile::of_device(path), path.into(), Path::new("/dev/null/none"), 0, Arc::new(key), None).unwrap()
    }
}

impl Pending {
    /// What became of it, if that is known.
    pub(super) fn outcome(&mut self) -> Option<Result<(), EvidenceError>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(EvidenceError::Write(GONE.to_owned()))),
        }
    }
}

/// How many heads stand in one event: some 100 bytes each.
const HEADS_AN_EVENT: usize = 500;

/// What the sealer says comes into the journal.
#[derive(Debug)]
struct ToJournal {
    // weak: the writer ends once nobody but the sealer has a way to it
    queue: mpsc::WeakSender<Job>,
    lost: Arc<AtomicU64>,
    sealing: Arc<Sealing>,
    index: Option<Indexer>,
}

impl SealerTold for ToJournal {
    fn sealed(&self, manifest: &Manifest, head: &LiveHead) {
        let session = manifest.session;
        if let Some(index) = &self.index {
            index.sealed(manifest, &head.hash);
        }
        let event = Event::SessionSealed(SessionSealed { folder: &head.folder, head: &head.hash });
        let put =
            self.queue.upgrade().and_then(|queue| queue.try_send(Job::Write(Line::new(session, &event), None)).ok());
        if put.is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%session, "evidence is missing an event: that a folder is sealed");
        }
        self.sealing.ends();
    }

    fn failed(&self, session: Uuid, last: bool, why: &str) {
        tracing::error!(%session, why, "a session's folder has no head that covers all of it");
        if last {
            self.sealing.ends();
        }
    }
}

/// An event that waits for a place: if whoever waits goes, it is lost.
struct Unsent<'a> {
    log: &'a EventLog,
    event: &'static str,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        self.log.lose(self.event);
    }
}
