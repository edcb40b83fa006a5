//! What the gateway tells the index: put into a queue, never waited for. The folders have everything, so what finds no place, or
//! what the database does not take, is noted as stale and read from the folder later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_folder::{CommandRecord, FileRecord, Manifest, path_of};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::chunks::{Chunk, Chunks};
use super::error::IndexError;
use super::index::{Index, Lines, Location};
use super::lines;
use super::moment;
use super::rebuild::Told;

/// How much may wait.
const QUEUE: usize = 8192;

/// How many bytes may.
const BYTES: usize = 32 << 20;

/// How many are taken at once.
const BATCH: usize = 512;

/// How often what is stale is looked at, and a database that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// How an index is kept by a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub location: Location,
    /// Where the folders are.
    pub evidence: PathBuf,
    /// This gateway's name, as in its manifests.
    pub gateway: String,
}

/// The gateway's end of the queue. Nothing here waits or fails.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    stale: Mutex<BTreeSet<Uuid>>,
}

#[derive(Debug)]
enum Job {
    Opened(Box<Manifest>),
    Command(Uuid, Box<CommandRecord>),
    File(Uuid, Box<FileRecord>),
    Text(Uuid, f64, String),
    Sealed(Box<Manifest>, String),
    Deleted(Uuid),
}

impl Job {
    fn session(&self) -> Uuid {
        match self {
            Self::Opened(manifest) | Self::Sealed(manifest, _) => manifest.session,
            Self::Command(session, _) | Self::File(session, _) | Self::Text(session, ..) | Self::Deleted(session) => {
                *session
            }
        }
    }

    fn bytes(&self) -> usize {
        let more = match self {
            Self::Command(_, record) => record.command.len(),
            Self::File(_, record) => record.path.len(),
            Self::Text(_, _, text) => text.len(),
            Self::Opened(_) | Self::Sealed(..) => 4096,
            Self::Deleted(_) => 0,
        };
        more + 256
    }
}

impl Writer {
    /// Starts what writes, which first catches up with the folders. It ends once every writer is dropped and all is written.
    pub fn start(settings: Settings) -> (Self, JoinHandle<()>) {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            settings,
            shared: Arc::clone(&shared),
            index: None,
            caught_up: false,
            live: BTreeMap::new(),
            told: false,
        };
        (Self { queue, shared }, tokio::spawn(worker.run(jobs)))
    }

    /// A session was opened; the manifest as far as it is known.
    pub fn opened(&self, manifest: &Manifest) {
        self.put(Job::Opened(Box::new(manifest.clone())));
    }

    /// A command of a live session.
    pub fn command(&self, session: Uuid, record: &CommandRecord) {
        self.put(Job::Command(session, Box::new(record.clone())));
    }

    /// A file operation of a live session.
    pub fn file(&self, session: Uuid, record: &FileRecord) {
        self.put(Job::File(session, Box::new(record.clone())));
    }

    /// What a live session showed or said, `at` seconds after it was opened, escape sequences and all.
    pub fn text(&self, session: Uuid, at: f64, shown: &str) {
        self.put(Job::Text(session, at, shown.to_owned()));
    }

    /// A session was sealed, with the hash of its last checkpoint in hex.
    pub fn sealed(&self, manifest: &Manifest, head: &str) {
        self.put(Job::Sealed(Box::new(manifest.clone()), head.to_owned()));
    }

    /// A session's folder is gone.
    pub fn deleted(&self, session: Uuid) {
        self.put(Job::Deleted(session));
    }

    /// How many sessions the index has only in part, until they are read from their folders.
    pub fn stale(&self) -> usize {
        self.shared.stale().len()
    }

    /// How many bytes wait to be written; about.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    fn put(&self, job: Job) {
        let (session, bytes) = (job.session(), job.bytes());
        let waiting = self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting > BYTES || self.queue.try_send(job).is_err() {
            self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.stale().insert(session);
        }
    }
}

impl Shared {
    fn stale(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is live.
struct Live {
    manifest: Box<Manifest>,
    n: Option<i64>,
    commands: u64,
    files: u64,
    texts: u64,
    chunks: Chunks,
}

struct Worker {
    settings: Settings,
    shared: Arc<Shared>,
    index: Option<Index>,
    caught_up: bool,
    live: BTreeMap<Uuid, Live>,
    /// Whether it was told that the database does not answer.
    told: bool,
}

/// What of several jobs is written together.
#[derive(Default)]
struct Together {
    commands: Vec<(i64, Box<CommandRecord>)>,
    files: Vec<(i64, f64, Box<FileRecord>)>,
    texts: Vec<(i64, Chunk)>,
    whose: BTreeSet<Uuid>,
}

impl Worker {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        self.repair().await;
        let mut again = Instant::now() + AGAIN;
        loop {
            let mut batch = Vec::new();
            match timeout_at(again, jobs.recv_many(&mut batch, BATCH)).await {
                Ok(0) => break,
                Ok(_) => self.take(batch).await,
                Err(_) => {}
            }
            if Instant::now() >= again {
                self.repair().await;
                again = Instant::now() + AGAIN;
            }
        }
        self.repair().await;
    }

    /// Opens the database where it is not open, and reads from the folders what it has not.
    async fn repair(&mut self) {
        if self.index.is_none() {
            match Index::open_or_make_anew(&self.settings.location).await {
                Ok((index, anew)) => {
                    if anew {
                        tracing::warn!("the index was damaged, and is made again from the folders");
                    }
                    self.caught_up &= !anew;
                    self.index = Some(index);
                    self.told = false;
                }
                Err(error) => return self.failed(&error),
            }
        }
        if let Err(error) = self.read_folders().await {
            self.failed(&error);
        }
    }

    async fn read_folders(&mut self) -> Result<(), IndexError> {
        let Some(index) = &self.index else { return Ok(()) };
        let mut tell = |told: Told| {
            if let Told::Unreadable(why) = told {
                tracing::warn!("not in the index: {why}");
            }
        };
        if !self.caught_up {
            match index.catch_up(&self.settings.evidence, &self.settings.gateway, &mut tell).await {
                Ok(progress) => tracing::debug!(?progress, "the index has caught up with the folders"),
                // nothing was recorded yet
                Err(IndexError::Folder { .. }) => {}
                Err(error) => return Err(error),
            }
            self.caught_up = true;
        }
        for (id, live) in self.live.iter_mut().filter(|(_, live)| live.n.is_none()) {
            tracing::trace!(session = %id, "a live session comes into the index");
            live.n = Some(index.put_session(&live.manifest, true, None, false).await?);
        }
        let stale: Vec<Uuid> = self.shared.stale().iter().copied().collect();
        for id in stale {
            let known = index.session(&id.hyphenated().to_string()).await;
            let opened = match &known {
                Ok(session) => Some(session.opened),
                Err(IndexError::Unknown(_)) => None,
                Err(_) => return known.map(drop),
            };
            if let Some(opened) = opened {
                let folder = path_of(&self.settings.evidence, opened, id);
                match index.put_folder(&folder, &mut tell).await {
                    // whose end found no place in the queue
                    Ok(Some(_)) => drop(self.live.remove(&id)),
                    // gone by retention, or its end is not there yet
                    Ok(None) if !self.live.contains_key(&id) && !folder.exists() => index.remove(id).await?,
                    Ok(None) => continue,
                    Err(IndexError::Folder { place, why }) => tracing::warn!("not in the index: {place}: {why}"),
                    Err(error) => return Err(error),
                }
            } else {
                // not even its opening was taken: it is among the folders
                self.caught_up = false;
            }
            self.shared.stale().remove(&id);
        }
        Ok(())
    }

    fn failed(&mut self, error: &IndexError) {
        if !self.told {
            tracing::error!("sessions are recorded, but can't be found until the index takes them again: {error}");
        }
        self.told = true;
        self.index = None;
    }

    async fn take(&mut self, batch: Vec<Job>) {
        let mut together = Together::default();
        for job in batch {
            let (session, bytes) = (job.session(), job.bytes());
            self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
            if let Err(error) = self.one(job, &mut together).await {
                self.failed(&error);
                self.shared.stale().insert(session);
            }
        }
        self.flush(&mut together).await;
    }

    async fn one(&mut self, job: Job, together: &mut Together) -> Result<(), IndexError> {
        match job {
            Job::Opened(manifest) => {
                let id = manifest.session;
                let n = match &self.index {
                    Some(index) => Some(index.put_session(&manifest, true, None, false).await),
                    None => None,
                };
                let (n, result) = match n {
                    Some(Ok(n)) => (Some(n), Ok(())),
                    Some(Err(error)) => (None, Err(error)),
                    None => (None, Ok(())),
                };
                if n.is_none() {
                    self.shared.stale().insert(id);
                }
                self.live.insert(id, Live { manifest, n, commands: 0, files: 0, texts: 0, chunks: Chunks::default() });
                result
            }
            Job::Command(id, record) => {
                if let Some((live, n)) = self.line_of(id)
                    && let Some(key) = lines::key(n, live.commands)
                {
                    live.commands += 1;
                    together.whose.insert(id);
                    together.commands.push((key, record));
                }
                Ok(())
            }
            Job::File(id, record) => {
                if let Some((live, n)) = self.line_of(id)
                    && let Some(key) = lines::key(n, live.files)
                {
                    let at = live.after(&record.time);
                    live.files += 1;
                    together.whose.insert(id);
                    together.files.push((key, at, record));
                }
                Ok(())
            }
            Job::Text(id, at, shown) => {
                if let Some((live, n)) = self.line_of(id) {
                    let chunks = live.chunks.take(at, &shown);
                    live.add(n, chunks, together);
                    together.whose.insert(id);
                }
                Ok(())
            }
            Job::Sealed(manifest, head) => self.sealed(&manifest, &head, together).await,
            Job::Deleted(id) => {
                self.live.remove(&id);
                self.shared.stale().remove(&id);
                match &self.index {
                    Some(index) => index.remove(id).await,
                    None => {
                        self.shared.stale().insert(id);
                        Ok(())
                    }
                }
            }
        }
    }

    /// A live session of which everything was written; of another the line is left to its folder.
    fn line_of(&mut self, id: Uuid) -> Option<(&mut Live, i64)> {
        let is_open = self.index.is_some();
        let live = self.live.get_mut(&id);
        match live {
            Some(live) if is_open && live.n.is_some() => {
                let n = live.n?;
                Some((live, n))
            }
            _ => {
                self.shared.stale().insert(id);
                None
            }
        }
    }

    async fn sealed(&mut self, manifest: &Manifest, head: &str, together: &mut Together) -> Result<(), IndexError> {
        let id = manifest.session;
        let Some(mut live) = self.live.remove(&id) else {
            self.shared.stale().insert(id);
            return Ok(());
        };
        if let Some(n) = live.n {
            let rest: Vec<Chunk> = live.chunks.finish().into_iter().collect();
            live.add(n, rest, together);
            together.whose.insert(id);
        }
        self.flush(together).await;
        let Some(index) = &self.index else {
            self.shared.stale().insert(id);
            return Ok(());
        };
        if live.n.is_none() || self.shared.stale().contains(&id) {
            // where its opening was not taken, its row is there for whoever reads the folder
            index.put_session(manifest, true, None, false).await?;
            self.shared.stale().insert(id);
            return Ok(());
        }
        index.put_session(manifest, false, Some(head), !live.chunks.is_full()).await.map(drop)
    }

    async fn flush(&mut self, together: &mut Together) {
        let Together { commands, files, texts, whose } = std::mem::take(together);
        let Some(index) = &self.index else {
            return self.shared.stale().extend(whose);
        };
        let lines = Lines {
            commands: commands.iter().map(|(key, record)| (*key, &**record)).collect(),
            files: files.iter().map(|(key, at, record)| (*key, *at, &**record)).collect(),
            texts: texts.iter().map(|(key, chunk)| (*key, chunk)).collect(),
        };
        if let Err(error) = index.add(&lines).await {
            self.shared.stale().extend(whose);
            self.failed(&error);
        }
    }
}

impl Live {
    fn add(&mut self, n: i64, chunks: Vec<Chunk>, to: &mut Together) {
        for chunk in chunks {
            if let Some(key) = lines::key(n, self.texts) {
                self.texts += 1;
                to.texts.push((key, chunk));
            }
        }
    }

    /// Seconds from its opening to a time.
    fn after(&self, time: &str) -> f64 {
        let both = moment::milliseconds(time).zip(moment::milliseconds(&self.manifest.opened));
        both.map_or(0.0, |(time, opened)| time.saturating_sub(opened).max(0) as f64 / 1000.0)
    }
}
