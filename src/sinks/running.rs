//! The sinks of a gateway, while it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::AGENT_LOGS;
use crate::aws::{self, AwsFor, AwsSource};
use crate::backoff::Backoff;
use crate::config::{SinkConfig, SpoolConfig};
use crate::error::SinkError;
use crate::health::{FOLDERS, LIVE, SinkHealth, SinksState, Statuses};
use crate::logs::Group;
use crate::s3::Bucket;
use crate::spool::{
    AgentLog, Cursor, FolderQueue, Item, LiveLog, LiveWriter, Receipt, Record, Room, SessionName, Spool, SpoolPlace,
    forget_incomplete, quarantined, queued, session_of,
};
use crate::syslog::{Connector, Header};
use crate::worker::{FolderWorker, FoldersTo, LiveWorker, Outlet, SyslogOutlet};

/// How many sessions are remembered whose folder a queue did not take; of one beyond that the end is told twice, which is well.
const HALF_TOLD: usize = 10_000;

/// How sinks are started.
#[derive(Clone)]
pub struct Options {
    /// The name of the gateway's key, which stands in the names of anchors.
    pub gateway: String,
    /// The sinks besides the disk.
    pub sinks: Vec<SinkConfig>,
    /// The spool's bounds.
    pub limits: SpoolConfig,
    /// Where the spool and the folders are.
    pub place: SpoolPlace,
    /// Credentials.
    pub aws: AwsSource,
    /// Another endpoint than AWS's for logs that accounts' preferences ask for.
    pub agent_log_endpoint: Option<String>,
    /// The pause after a first failure, and the longest.
    pub pauses: (Duration, Duration),
}

impl Options {
    /// With what nobody needs to say.
    pub fn new(gateway: &str, sinks: Vec<SinkConfig>, place: SpoolPlace, aws: AwsSource) -> Self {
        Self {
            gateway: gateway.to_owned(),
            sinks,
            limits: SpoolConfig::default(),
            place,
            aws,
            agent_log_endpoint: None,
            pauses: (Duration::from_millis(500), Duration::from_secs(60)),
        }
    }
}

/// The sinks. Dropped, they stop where they are: what was not delivered is on disk, and delivered after the next start.
pub struct Sinks {
    spool: Spool,
    writer: LiveWriter,
    statuses: Arc<Statuses>,
    queues: BTreeMap<String, (FolderQueue, Arc<Notify>)>,
    required: Vec<String>,
    takes_events: bool,
    takes_anchors: bool,
    state: watch::Receiver<SinksState>,
    /// Sessions whose end stands in the live log although a queue did not take their folder: it is not told twice.
    half_told: Mutex<VecDeque<Uuid>>,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks").field("spool", &self.spool).field("required", &self.required).finish_non_exhaustive()
    }
}

impl Sinks {
    /// Starts them, in a runtime of tokio. What an earlier run left in the spool is delivered first.
    ///
    /// # Errors
    ///
    /// A configuration that can't be used, and a spool that can't be read or written. That a sink does not answer is none:
    /// see [`health`](Self::health).
    pub fn start(options: Options) -> Result<Self, SinkError> {
        check(&options.sinks)?;
        let spool = Spool::open(&options.place)?;
        let mut readers = BTreeMap::new();
        for sink in &options.sinks {
            if gets_live(sink) {
                let cursor = Cursor::load(&spool.cursor(sink.name()))?;
                readers.insert(sink.name().to_owned(), (cursor, sink.required()));
            }
        }
        let log = LiveLog::open(&spool.live(), options.limits.max_bytes.max(1 << 16), readers.clone())?;
        let writer = LiveWriter::start(log)?;
        let statuses = Arc::new(Statuses::default());
        let mut starting = Starting {
            options: &options,
            spool: &spool,
            writer: &writer,
            statuses: &statuses,
            queues: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for sink in &options.sinks {
            statuses.add(sink.name(), sink.required(), Duration::from_secs(sink.max_outage_seconds()));
            starting.sink(sink, readers.get(sink.name()).map(|(cursor, _)| *cursor))?;
        }
        statuses.add(AGENT_LOGS, false, Duration::MAX);
        let to = FoldersTo::AgentLogs { source: options.aws.clone(), endpoint: options.agent_log_endpoint.clone() };
        starting.folders(AGENT_LOGS, to)?;
        let Starting { queues, mut tasks, .. } = starting;
        let (told, state) = watch::channel(SinksState::Fine);
        let watch = Watch {
            statuses: Arc::clone(&statuses),
            writer: writer.clone(),
            spool: spool.clone(),
            queues: queues.iter().map(|(name, (queue, _))| (name.clone(), queue.clone())).collect(),
            age: age(&options.limits),
        };
        tasks.spawn(watch.over(told));
        let required = options.sinks.iter().filter(|sink| sink.required()).map(|sink| sink.name().to_owned()).collect();
        let takes_events = options.sinks.iter().any(|sink| !matches!(sink, SinkConfig::S3(_)));
        let takes_anchors = options.sinks.iter().any(SinkConfig::anchor);
        let half_told = Mutex::default();
        Ok(Self {
            spool,
            writer,
            statuses,
            queues,
            required,
            takes_events,
            takes_anchors,
            state,
            half_told,
            _tasks: tasks,
        })
    }

    /// A line of a session's `events.jsonl`, without its newline. Returns once `write(2)` has given it to the spool, so that a killed
    /// gateway tells it after its next start; it waits for no network and no `fsync`.
    ///
    /// # Errors
    ///
    /// [`SinkError::Full`] where a sink that is required has been down for as long as the spool's bound.
    pub fn event(&self, session: &SessionName, time: OffsetDateTime, name: &str, line: &str) -> Result<(), SinkError> {
        self.tell(session, time, name, line, Room::Bounded)
    }

    /// The same of the end of a session, which has some room beyond the bound.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn last_event(
        &self,
        session: &SessionName,
        time: OffsetDateTime,
        name: &str,
        line: &str,
    ) -> Result<(), SinkError> {
        self.tell(session, time, name, line, Room::Beyond)
    }

    fn tell(
        &self,
        session: &SessionName,
        time: OffsetDateTime,
        name: &str,
        line: &str,
        room: Room,
    ) -> Result<(), SinkError> {
        if !self.takes_events {
            return Ok(());
        }
        let (session, name, line) = (session.clone(), name.to_owned(), line.to_owned());
        self.append(&Record::Event { time: ms(time), session, name, line }, room)
    }

    /// A checkpoint: the text of the signed note.
    ///
    /// # Errors
    ///
    /// As [`event`](Self::event).
    pub fn anchor(&self, time: OffsetDateTime, note: &str) -> Result<(), SinkError> {
        if note.len() > crate::anchors::LONGEST_NOTE {
            return Err(SinkError::TooLong(note.len()));
        }
        if !self.takes_anchors {
            return Ok(());
        }
        self.append(&Record::Anchor { time: ms(time), note: note.to_owned() }, Room::Beyond)
    }

    fn append(&self, record: &Record, room: Room) -> Result<(), SinkError> {
        let appended = self.writer.append(record, room);
        if let Err(full @ SinkError::Full { sink, .. }) = &appended {
            self.statuses.full(sink, LIVE, full.to_string());
        }
        appended
    }

    /// A session's folder, `2026-11-30/<session>`, is sealed, and all its events have been told. The same again is well: what has it
    /// already does not get it twice. Returns once the disk has it.
    ///
    /// # Errors
    ///
    /// The disk's, and [`SinkError::FullOfFolders`]: the first. All others have it then; it is to be told again.
    pub fn sealed(&self, session: Uuid, folder: &str) -> Result<(), SinkError> {
        let now = crate::clock::now_ms();
        let mut failed = None;
        for (sink, (queue, wake)) in self.queues.iter().filter(|(sink, _)| *sink != AGENT_LOGS) {
            let item = Item { v: 1, queued: now, session, folders: vec![folder.to_owned()], agent_log: None };
            // one that is full keeps it from no other
            if let Err(error) = self.put(sink, queue, wake, &item) {
                failed = failed.or(Some(error));
            }
        }
        if self.takes_events {
            let told = self.tell_sealed(session, folder, now, failed.is_some());
            failed = failed.or(told.err());
        }
        failed.map_or(Ok(()), Err)
    }

    fn tell_sealed(&self, session: Uuid, folder: &str, time: i64, half: bool) -> Result<(), SinkError> {
        let mut half_told = self.half_told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = half_told.len();
        half_told.retain(|other| *other != session);
        if half_told.len() == before {
            self.append(&Record::Sealed { time, session, folder: folder.to_owned() }, Room::Beyond)?;
        }
        if half {
            half_told.push_back(session);
            if half_told.len() > HALF_TOLD {
                half_told.pop_front();
            }
        }
        Ok(())
    }

    /// A session of Session Manager has ended, whose log the account's preferences want; `folders` are those of our sessions that it
    /// carried, in order.
    ///
    /// # Errors
    ///
    /// As [`sealed`](Self::sealed).
    pub fn agent_log(&self, session: Uuid, folders: Vec<String>, log: AgentLog) -> Result<(), SinkError> {
        let Some((queue, wake)) = self.queues.get(AGENT_LOGS) else { return Ok(()) };
        let item = Item { v: 1, queued: crate::clock::now_ms(), session, folders, agent_log: Some(log) };
        self.put(AGENT_LOGS, queue, wake, &item)
    }

    fn put(&self, sink: &str, queue: &FolderQueue, wake: &Notify, item: &Item) -> Result<(), SinkError> {
        let put = queue.put(sink, item);
        if let Err(full @ SinkError::FullOfFolders { .. }) = &put {
            self.statuses.full(sink, FOLDERS, full.to_string());
        }
        wake.notify_one();
        put
    }

    /// The sessions of which something waits for a sink: their folders are still needed.
    ///
    /// # Errors
    ///
    /// The disk's: then it is not known what is needed.
    pub fn waiting(&self) -> Result<BTreeSet<Uuid>, SinkError> {
        let mut waiting = BTreeSet::new();
        for (queue, _) in self.queues.values() {
            waiting.extend(queue.names()?.iter().filter_map(|name| session_of(name)));
        }
        Ok(waiting)
    }

    /// How each sink is. Reads the spool's folders: not for every request.
    pub fn health(&self) -> Vec<SinkHealth> {
        let mut all = self.statuses.health();
        for health in &mut all {
            if let Some((queue, _)) = self.queues.get(&health.name) {
                let names = queue.names().unwrap_or_default();
                health.waiting = names.len() as u64;
                let oldest = names.first().and_then(|name| queued(name));
                health.oldest = oldest.and_then(|ms| OffsetDateTime::from_unix_timestamp(ms / 1000).ok());
            }
            let log = self.writer.log();
            (health.bytes, health.dropped) = (log.behind(&health.name), log.dropped(&health.name));
            drop(log);
            health.quarantined = quarantined(&self.spool.quarantine(&health.name));
        }
        all
    }

    /// Whether evidence reaches those sinks that it must reach; changes are told.
    pub fn state(&self) -> watch::Receiver<SinksState> {
        self.state.clone()
    }

    /// When the last of the sinks that are required acknowledged a folder; none where one of them has not.
    pub fn delivered(&self, folder: &str) -> Result<Option<OffsetDateTime>, SinkError> {
        let mut last = 0;
        if self.spool.folder(folder).is_none() {
            return Ok(None);
        }
        for sink in &self.required {
            match Receipt::load(&self.spool.receipts(sink), folder)? {
                Some(receipt) => last = last.max(receipt.delivered),
                None => return Ok(None),
            }
        }
        Ok(OffsetDateTime::from_unix_timestamp_nanos(i128::from(last) * 1_000_000).ok())
    }

    /// Forgets the receipts of a folder that was deleted.
    pub fn forget(&self, folder: &str) -> Result<(), SinkError> {
        if let Some(session) = self.spool.folder(folder).as_deref().and_then(session_at) {
            for sink in self.statuses.health() {
                Receipt::forget(&self.spool.receipts(&sink.name), folder)?;
                forget_incomplete(&self.spool.incomplete(&sink.name), session)?;
            }
        }
        Ok(())
    }

    /// Waits until every sink has what is for it, at most so long: at the end of a gateway. What is left is delivered after its next
    /// start. Says whether all was.
    pub async fn drain(&self, patience: Duration) -> bool {
        let drained = async {
            while self.health().iter().any(|sink| sink.waiting > 0 || sink.bytes > 0) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(patience, drained).await.is_ok()
    }
}

/// The session whose folder this is.
fn session_at(path: &std::path::Path) -> Option<Uuid> {
    Uuid::try_parse(path.file_name()?.to_str()?).ok()
}

fn ms(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

fn age(limits: &SpoolConfig) -> Duration {
    Duration::from_secs(u64::from(limits.max_days.max(1)) * 86_400)
}

fn check(sinks: &[SinkConfig]) -> Result<(), SinkError> {
    let mut names = std::collections::BTreeSet::new();
    for sink in sinks {
        sink.check().map_err(SinkError::Configuration)?;
        if !names.insert(sink.name()) {
            return Err(SinkError::Configuration(format!("two sinks are called {}", sink.name())));
        }
    }
    Ok(())
}

/// Whether a sink can be started, as far as that is known on this machine: its text, and its files.
///
/// # Errors
///
/// What is wrong, in a sentence.
pub fn look_at(sink: &SinkConfig) -> Result<(), SinkError> {
    sink.check().map_err(SinkError::Configuration)?;
    match sink {
        SinkConfig::Syslog(syslog) => Connector::new(syslog).map(drop),
        SinkConfig::S3(_) | SinkConfig::CloudWatch(_) => Ok(()),
    }
}

fn gets_live(sink: &SinkConfig) -> bool {
    // a bucket gets events with their folder
    !matches!(sink, SinkConfig::S3(_)) || sink.anchor()
}

/// What is known while sinks are started.
struct Starting<'a> {
    options: &'a Options,
    spool: &'a Spool,
    writer: &'a LiveWriter,
    statuses: &'a Arc<Statuses>,
    queues: BTreeMap<String, (FolderQueue, Arc<Notify>)>,
    tasks: JoinSet<()>,
}

impl Starting<'_> {
    fn sink(&mut self, sink: &SinkConfig, taken: Option<Cursor>) -> Result<(), SinkError> {
        let gateway = &self.options.gateway;
        let aws = || (self.options.aws)(AwsFor::Sink(sink.name())).map_err(SinkError::Configuration);
        let (outlet, window) = match sink {
            SinkConfig::S3(s3) => {
                let client = aws::s3(&aws()?, s3.region.as_deref(), s3.endpoint.as_deref(), s3.path_style);
                let (bucket, prefix) = (Bucket::new(client, s3), s3.prefix.clone());
                self.folders(&s3.name, FoldersTo::S3 { bucket: bucket.clone(), prefix: prefix.clone() })?;
                (Outlet::S3 { bucket, prefix, gateway: gateway.clone() }, Duration::ZERO)
            }
            SinkConfig::CloudWatch(logs) => {
                let client = aws::logs(&aws()?, logs.region.as_deref(), logs.endpoint.as_deref());
                let group = Group { client, name: logs.group.clone(), create: logs.create_group };
                let anchor_stream = logs.anchor.then(|| crate::names::anchor_stream(gateway));
                (Outlet::Logs { group, anchor_stream }, Duration::ZERO)
            }
            SinkConfig::Syslog(syslog) => {
                let connector = Connector::new(syslog)?;
                let (facility, severity) = (syslog.facility, syslog.severity);
                let header = Header { facility, severity, hostname: gateway.clone() };
                let (anchors, longest) = (syslog.anchor, syslog.max_message_bytes);
                let outlet = SyslogOutlet { connector, connection: None, header, anchors, longest };
                (Outlet::Syslog(outlet), Duration::from_secs(syslog.resend_seconds))
            }
        };
        let Some(taken) = taken else { return Ok(()) };
        let worker = LiveWorker {
            sink: sink.name().to_owned(),
            outlet,
            spool: self.spool.clone(),
            writer: self.writer.clone(),
            statuses: Arc::clone(self.statuses),
            backoff: self.backoff(),
            window,
            // a bucket's receipt is that of the folder
            receipts: !matches!(sink, SinkConfig::S3(_)),
            taken,
            unnoted: None,
        };
        self.tasks.spawn(worker.run());
        Ok(())
    }

    fn folders(&mut self, sink: &str, to: FoldersTo) -> Result<(), SinkError> {
        let limits = &self.options.limits;
        let queue = FolderQueue::open(self.spool.pending(sink), self.spool.quarantine(sink), limits.max_folders)?;
        let wake = Arc::new(Notify::new());
        self.queues.insert(sink.to_owned(), (queue.clone(), Arc::clone(&wake)));
        let worker = FolderWorker {
            sink: sink.to_owned(),
            to,
            spool: self.spool.clone(),
            queue,
            statuses: Arc::clone(self.statuses),
            wake,
            backoff: self.backoff(),
            max_age: age(limits),
            refused: HashMap::new(),
            delivered: 0,
        };
        self.tasks.spawn(worker.run());
        Ok(())
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.options.pauses.0, self.options.pauses.1)
    }
}

/// Says when a required sink has been down for too long, and puts aside what is too old.
struct Watch {
    statuses: Arc<Statuses>,
    writer: LiveWriter,
    spool: Spool,
    queues: Vec<(String, FolderQueue)>,
    age: Duration,
}

impl Watch {
    async fn over(self, told: watch::Sender<SinksState>) {
        let mut ticks: u64 = 0;
        loop {
            self.look_for_room().await;
            let now = self.statuses.state();
            told.send_if_modified(|state| std::mem::replace(state, now.clone()) != now);
            if ticks.is_multiple_of(3600) {
                let (writer, aside, age) = (self.writer.clone(), self.spool.quarantine("expired"), self.age);
                let expired = tokio::task::spawn_blocking(move || writer.log().expire(age, &aside)).await;
                if let Ok(Err(error)) = expired {
                    tracing::warn!(%error, "what is too old in the spool can't be put aside");
                }
            }
            ticks += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Nothing is opened while the spool is full, so nobody else notices that it is no more.
    async fn look_for_room(&self) {
        let (live, folders) = (self.statuses.full_ones(LIVE), self.statuses.full_ones(FOLDERS));
        if !live.is_empty() && self.writer.log().has_room() {
            live.iter().for_each(|sink| self.statuses.has_room(sink, LIVE));
        }
        for sink in folders {
            let Some((_, queue)) = self.queues.iter().find(|(name, _)| *name == sink) else { continue };
            let queue = queue.clone();
            if tokio::task::spawn_blocking(move || queue.has_room()).await.unwrap_or(false) {
                self.statuses.has_room(&sink, FOLDERS);
            }
        }
    }
}
