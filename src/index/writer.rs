//! What the gateway tells the index: put into a queue, never waited for. The folders have everything, so what finds no place, or
//! what the database does not take, is noted as stale and read from the folder later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_folder::{File, Manifest, path_of};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::chunks::{Chunk, MOST};
use super::error::IndexError;
use super::index::{Index, Lines, Location};
use super::live::{Live, Together};
use super::rebuild::Told;

/// So much of each file of text is taken while its session is live. What comes later is read when it is sealed.
const LIVE_TEXT: u64 = 2 * MOST as u64;

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
    Wrote(Uuid, File, Vec<u8>),
    Sealed(Box<Manifest>, String),
    Deleted(Uuid),
    Flush(oneshot::Sender<()>),
}

impl Job {
    fn session(&self) -> Uuid {
        match self {
            Self::Opened(manifest) | Self::Sealed(manifest, _) => manifest.session,
            Self::Wrote(session, ..) | Self::Deleted(session) => *session,
            Self::Flush(_) => Uuid::nil(),
        }
    }

    fn bytes(&self) -> usize {
        let more = match self {
            Self::Wrote(_, _, bytes) => bytes.capacity(),
            Self::Opened(_) | Self::Sealed(..) => 4096,
            Self::Deleted(_) | Self::Flush(_) => 0,
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

    /// This was written into one of a live session's files, `offset` bytes from its beginning: whole lines, or bytes of a stream.
    pub fn wrote(&self, session: Uuid, file: File, offset: u64, bytes: Vec<u8>) {
        match file {
            File::Commands | File::Files => {}
            // a flood fills what is kept of one session's text, and is no more work after that
            File::Terminal | File::StdoutHead | File::StderrHead | File::StdinHead if offset < LIVE_TEXT => {}
            File::Terminal | File::StdoutHead | File::StderrHead | File::StdinHead => {
                self.shared.stale().insert(session);
                return;
            }
            _ => return,
        }
        self.put(Job::Wrote(session, file, bytes));
    }

    /// A session was sealed, with the hash of its last checkpoint in hex.
    pub fn sealed(&self, manifest: &Manifest, head: &str) {
        self.put(Job::Sealed(Box::new(manifest.clone()), head.to_owned()));
    }

    /// A session's folder is gone.
    pub fn deleted(&self, session: Uuid) {
        self.put(Job::Deleted(session));
    }

    /// Waits until all that it was told so far is written, or left to the folders.
    pub async fn flush(&self) {
        let (told, written) = oneshot::channel();
        if self.queue.send(Job::Flush(told)).await.is_ok() {
            let _ = written.await;
        }
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

struct Worker {
    settings: Settings,
    shared: Arc<Shared>,
    index: Option<Index>,
    caught_up: bool,
    live: BTreeMap<Uuid, Live>,
    /// Whether it was told that the database does not answer.
    told: bool,
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
        let (mut together, mut asked) = (Together::default(), Vec::new());
        for job in batch {
            let job = match job {
                Job::Flush(told) => {
                    asked.push(told);
                    continue;
                }
                job => job,
            };
            let (session, bytes) = (job.session(), job.bytes());
            self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
            if let Err(error) = self.one(job, &mut together).await {
                self.failed(&error);
                self.shared.stale().insert(session);
            }
        }
        self.flush(&mut together).await;
        for told in asked {
            let _ = told.send(());
        }
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
                self.live.insert(id, Live::new(manifest, n));
                result
            }
            Job::Wrote(id, file, bytes) => {
                if let Some((live, n)) = self.line_of(id) {
                    together.whose.insert(id);
                    if !live.take(n, file, &bytes, together) {
                        self.shared.stale().insert(id);
                    }
                }
                Ok(())
            }
            Job::Sealed(manifest, head) => self.sealed(&manifest, &head, together).await,
            Job::Flush(_) => Ok(()),
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
