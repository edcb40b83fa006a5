//! The event log, as everybody else has it: a place to put events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::error::EvidenceError;
use super::event::{Event, LeftOut};
use super::fields::Line;
use super::log_file::LogFile;
use super::share::{Place, SessionUse, Shares, Used};
use super::writer::{GONE, Job, LONGEST_WRITE, QUEUE, Writer};

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
    questions_a_minute: u32,
    _writer: Writer,
}

/// What those who cause events may fill of a log.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Their parts of it.
    pub shares: Shares,
    /// How many questions about files one session has listed in a minute; more are counted.
    pub questions_a_minute: u32,
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
    /// by another gateway; and nobody else may put another in its place.
    pub fn open(directory: &Path, limit: u64) -> Result<Self, EvidenceError> {
        let path = directory.join(Self::FILE);
        let file = LogFile::open(&path, limit)?;
        Self::of(file, path)
    }

    fn of(file: LogFile, path: PathBuf) -> Result<Self, EvidenceError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer::start(file, jobs, lost.clone(), LONGEST_WRITE).map_err(|error| {
            EvidenceError::Unusable { path: path.display().to_string(), why: format!("no thread for it: {error}") }
        })?;
        Ok(Self {
            #[cfg(test)]
            path,
            queue,
            lost,
            used: Used::new(Shares::UNLIMITED),
            questions_a_minute: u32::MAX,
            _writer: writer,
        })
    }

    /// The same, where nobody can fill it alone.
    #[must_use]
    pub fn bounded(self, bounds: Bounds) -> Self {
        Self { used: Used::new(bounds.shares), questions_a_minute: bounds.questions_a_minute, ..self }
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
        let line = Line::new(id, event);
        self.used.take(session, line.bytes())?;
        self.write(line).await
    }

    /// Writes what must be said of a session, whatever is left of its part; when this returns, `write(2)` has.
    pub(super) async fn record_end(
        &self,
        session: &SessionUse,
        id: Uuid,
        event: &Event<'_>,
    ) -> Result<(), EvidenceError> {
        let line = Line::new(id, event);
        self.used.count(session.person(), line.bytes());
        self.write(line).await
    }

    async fn write(&self, line: Line) -> Result<(), EvidenceError> {
        let (told, hears) = oneshot::channel();
        let unsent = Unsent { log: self, event: line.name };
        let Ok(place) = self.queue.reserve().await else { return Err(EvidenceError::Write(GONE.to_owned())) };
        std::mem::forget(unsent);
        place.send(Job::Write(line, Some(told)));
        hears.await.unwrap_or_else(|_| Err(EvidenceError::Write(GONE.to_owned())))
    }

    /// Has one event of a session written without waiting for it; none if too much waits already. There are few of them.
    pub(super) fn begin(&self, session: &SessionUse, id: Uuid, event: &Event<'_>) -> Option<Pending> {
        let place = self.queue.try_reserve().ok()?;
        let (told, hears) = oneshot::channel();
        let line = Line::new(id, event);
        self.used.count(session.person(), line.bytes());
        place.send(Job::Write(line, Some(told)));
        Some(Pending(hears))
    }

    /// Writes an event that nothing depends on, and that nobody waits for: a failure is logged, and its number is missing.
    /// One of a person who has filled their part of the log, or of strangers who have filled theirs, is only counted.
    pub fn note(&self, id: Uuid, event: &Event<'_>) {
        let line = Line::new(id, event);
        let person = event.person();
        match self.used.place(person, line.bytes()) {
            Place::Here { left_out: 0 } => {}
            Place::Here { left_out: count } => {
                self.put(Line::new(Uuid::nil(), &Event::LeftOut(LeftOut { person, count })));
            }
            Place::None => return,
        }
        self.put(line);
    }

    /// The same for what the gateway does itself, which is nobody's part.
    pub fn note_own(&self, event: &Event<'_>) {
        self.put(Line::new(Uuid::nil(), event));
    }

    /// The same for the end of a session, which is written whatever is left of its part.
    pub(super) fn note_end(&self, session: &SessionUse, id: Uuid, event: &Event<'_>) {
        let line = Line::new(id, event);
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

    /// Waits until everything that it was given is written, or can't be.
    pub async fn flush(&self) {
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
        Self::of(LogFile::of_device(path), path.into()).unwrap()
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
