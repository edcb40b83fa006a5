//! The record of one session: its opening, its lanes, how much went which way and what its hash is, its end.
//!
//! Bytes are counted and hashed in memory by whoever carries them, each direction under a lock of its own; only events go to
//! the log, and only they are waited for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use portcullis_terminal::Nonce;
use time::OffsetDateTime;
use uuid::Uuid;

use super::decision_event::{AlertRaised, SessionOpened};
use super::error::EvidenceError;
use super::event::{ByHop, Event, SessionClosed, SessionExit, SessionProgress};
use super::event_log::EventLog;
use super::file_event::{FileOperation, FilesSummed};
use super::kept_folder::KeptFolder;
use super::progress::Progress;
use super::questions::Questions;
use super::share::SessionUse;
use super::tally::Tally;
use super::views::{FileRecord, ForwardRecord, InputRecord, LaneRecord, OutputRecord};
use crate::identity::Acting;
use crate::model::{ClientFacts, Exit, LOCALHOST, WindowSize};
use crate::policy::{Action, Grant, JudgedLine};

/// Where a session comes from: what the decision does not know.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The SSH connection.
    pub connection: Uuid,
    /// The hop that it came by, where it came by one.
    pub hop: Option<ByHop>,
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// The client's program and what the connection is protected by.
    pub client: &'a ClientFacts,
    /// The terminal's size, where one was asked for.
    pub terminal: Option<WindowSize>,
    /// The variables that the client has set for it.
    pub variables: &'a [(String, Vec<u8>)],
    /// What the shell puts into its marks, where it was told to make some.
    pub marks: Option<&'a Nonce>,
    /// What the client asked for, and as which command line, where its proof starts something else.
    pub original: Option<(&'static str, Option<&'a [u8]>)>,
}

#[cfg(test)]
impl Opening<'static> {
    /// From nowhere, of nobody.
    pub(crate) fn for_test() -> Self {
        Self {
            connection: Uuid::nil(),
            hop: None,
            source: "192.0.2.1:5".parse().unwrap(),
            login: "web-1",
            client: Box::leak(Box::default()),
            terminal: None,
            variables: &[],
            marks: None,
            original: None,
        }
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, and the client was told so.
    Finished,
    /// The client went away, or closed the channel.
    ClientGone,
    /// Something broke; the sentence is what the person was told.
    Failed(String),
    /// The gateway ended it; the sentence is what the person was told.
    Killed(String),
}

/// The record of one session, and the end of it: dropping it without [`close`](Self::close) records an interruption.
///
/// Whoever carries a part of the session gets a view that can do just that.
#[derive(Debug)]
pub struct SessionRecord {
    shared: Arc<Shared>,
}

/// What the views have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Arc<EventLog>,
    pub(super) id: Uuid,
    pub(super) used: SessionUse,
    pub(super) started: Instant,
    pub(super) stdin: Mutex<Tally>,
    pub(super) stdout: Mutex<Tally>,
    pub(super) stderr: Mutex<Tally>,
    progress: Mutex<Progress>,
    questions: Mutex<Questions>,
    exited: AtomicBool,
    closed: AtomicBool,
    failure: OnceLock<EvidenceError>,
    /// Its folder.
    pub(super) folder: Option<KeptFolder>,
}

impl SessionRecord {
    /// Opens the record of what a decision allowed; the event is written when this returns.
    pub async fn open(log: &Arc<EventLog>, grant: &Grant, opening: Opening<'_>) -> Result<Self, EvidenceError> {
        log.may_begin()?;
        let id = Uuid::new_v4();
        let recording = grant.terms().recording;
        // what is guarded is read off a recording
        let is_kept = log.keeping().folders || recording.guarded || recording.input;
        // first of all: nothing is made, or told of, before there is a key for it
        let key = if is_kept { log.encryption().key_of(id, log.authority()).await? } else { None };
        let opened = OffsetDateTime::now_utc();
        let (folder, first) = is_kept.then(|| KeptFolder::new(id, grant, &opening, opened, log)).unzip();
        let shared = Shared { folder, ..Shared::new(log.clone(), id, grant.identity().person()) };
        let command = match grant.action() {
            Action::Exec { command } => Some(command.as_slice()),
            _ => None,
        };
        let acting = Acting::of(grant.identity(), &grant.node().realm, Some(&grant.node().id));
        let event = Event::SessionOpened(SessionOpened {
            connection: opening.connection,
            hop: opening.hop,
            source: opening.source,
            person: grant.identity().person(),
            groups: grant.identity().groups(),
            proof: grant.identity().proof(),
            second_factor: grant.identity().second_factor(),
            certificate: grant.identity().certificate(),
            sign_in: grant.identity().sign_in(),
            user_verified: grant.identity().user_verified(),
            node: grant.node_facts(),
            node_name: grant.node_name().as_str(),
            os_user: grant.os_user(),
            policy: &grant.policy(),
            policy_set: grant.version().sha256(),
            action: grant.action().name(),
            forward: match grant.action() {
                Action::Forward { host, port } => Some((host.as_str(), *port)),
                Action::Tunnel { port } => Some((LOCALHOST, *port)),
                _ => None,
            },
            socket: match grant.action() {
                Action::ForwardSocket { path } => Some(path.as_slice()),
                _ => None,
            },
            command,
            redaction: log.redaction(),
            hashed: grant.terms().recording.hashed_commands,
            commands: grant.commands().map(JudgedLine::each).unwrap_or_default(),
            reason: grant.reason().map(|reason| reason.as_str()),
            pty: opening.terminal.is_some(),
            variables: opening.variables,
            original: opening.original,
            acting: acting.as_ref(),
        });
        // made before the line is written: one that is cut off while it waits for that has an end as well
        let record = Self { shared: Arc::new(shared) };
        log.live().enter(id, &record.shared);
        let made = record.shared.open_folder(opened, first.flatten(), key, &event).await;
        let noted = match made {
            Ok(()) => log.record_of(&record.shared.used, record.shared.id, &event).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            // what was never opened has no end to tell of in the journal; its folder, if it was made, is not left open
            record.shared.closed.store(true, Ordering::Relaxed);
            record.shared.abandon(&error);
            return Err(error);
        }
        if let Some(line) = command {
            record.shared.command_sent(line, grant.commands()).await?;
        }
        record.shared.raise_alerts(grant).await?;
        Ok(record)
    }

    /// The session's number in the log.
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// Whether it has a folder.
    pub fn is_recorded(&self) -> bool {
        self.shared.folder.is_some()
    }

    /// For what the client sends.
    pub fn input(&self) -> InputRecord {
        InputRecord::new(self.shared.clone())
    }

    /// For what the client gets.
    pub fn output(&self) -> OutputRecord {
        OutputRecord::new(self.shared.clone())
    }

    /// For the sessions of Session Manager that carry it.
    pub fn lanes(&self) -> LaneRecord {
        LaneRecord::new(self.shared.clone())
    }

    /// For what is known of a forward.
    pub fn forward(&self) -> ForwardRecord {
        ForwardRecord::new(self.shared.clone())
    }

    /// For what is done to files.
    pub fn files(&self) -> FileRecord {
        FileRecord::new(self.shared.clone())
    }

    /// Why nothing more is let through, where a line was lost.
    pub fn failure(&self) -> Option<&EvidenceError> {
        self.shared.failure.get()
    }

    /// The command ended so. The first one counts.
    pub async fn exit(&self, exit: &Exit) -> Result<(), EvidenceError> {
        self.shared.exit(exit).await
    }

    /// The session is over.
    pub async fn close(self, outcome: &Outcome) -> Result<(), EvidenceError> {
        let (outcome, why) = match outcome {
            Outcome::Finished => ("finished", None),
            Outcome::ClientGone => ("client-gone", None),
            Outcome::Failed(why) => ("failed", Some(why.as_str())),
            Outcome::Killed(why) => ("killed", Some(why.as_str())),
        };
        self.shared.closed.store(true, Ordering::Relaxed);
        let (log, used, id) = (&self.shared.log, &self.shared.used, self.shared.id);
        // the end is worth a try even after a line was lost, and even where the session has used up its part
        let summed = self.shared.left_to_sum();
        let told = match &summed {
            Some(summed) => log.record_end(used, id, summed).await,
            None => Ok(()),
        };
        let closing = self.shared.closing(outcome, why);
        // whatever became of the line before: a folder is not left open
        let sealed = match self.shared.last_task(summed.as_ref(), &closing) {
            Some(task) => log.keep(used, task).await,
            None => Ok(()),
        };
        log.record_end(used, id, &closing).await.and(sealed).and(told)
    }

    /// A record into this log that begins without an event.
    #[cfg(test)]
    pub(crate) fn for_test_in(log: Arc<EventLog>) -> Self {
        Self { shared: Arc::new(Shared::new(log, Uuid::new_v4(), "tester")) }
    }

    /// A record whose events go nowhere, for tests of what records into it.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::for_test_in(Arc::new(EventLog::of_device("/dev/null")))
    }
}

impl Drop for SessionRecord {
    fn drop(&mut self) {
        self.shared.log.live().leave(self.shared.id);
        if !self.shared.closed.load(Ordering::Relaxed) {
            let (log, used, id) = (&self.shared.log, &self.shared.used, self.shared.id);
            let summed = self.shared.left_to_sum();
            if let Some(summed) = &summed {
                log.note_end(used, id, summed);
            }
            let closing = self.shared.closing("interrupted", None);
            if let Some(task) = self.shared.last_task(summed.as_ref(), &closing) {
                log.keep_later(task);
            }
            log.note_end(used, id, &closing);
        }
    }
}

impl Shared {
    fn new(log: Arc<EventLog>, id: Uuid, person: &str) -> Self {
        let now = Instant::now();
        Self {
            questions: Mutex::new(Questions::new(log.questions_a_minute(), now)),
            log,
            id,
            used: SessionUse::new(person),
            started: now,
            stdin: Mutex::default(),
            stdout: Mutex::default(),
            stderr: Mutex::default(),
            progress: Mutex::new(Progress::from(now)),
            exited: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            failure: OnceLock::new(),
            folder: None,
        }
    }

    /// Once a line is lost, nothing more is let through.
    pub(super) fn intact(&self) -> Result<(), EvidenceError> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Writes an event of the session, and waits until that is done.
    pub(super) async fn write(&self, event: &Event<'_>) -> Result<(), EvidenceError> {
        self.intact()?;
        let kept = async {
            let is_closed = || self.closed.load(Ordering::Relaxed);
            match self.folder.as_ref().filter(|_| !is_closed()).map(|folder| folder.entries_of(event)) {
                Some(entries) => {
                    let kept = self.log.keep(&self.used, self.task(entries)).await;
                    // what comes after the end, as a lane that says goodbye, is the journal's alone
                    if is_closed() { Ok(()) } else { kept }
                }
                None => Ok(()),
            }
        };
        // side by side: neither is there before the other, and both are before whatever this is about. Boxed, since events are
        // few and whoever may write one has room for it all the time
        let both = Box::pin(async { tokio::join!(kept, self.log.record_of(&self.used, self.id, event)) });
        let (kept, written) = both.await;
        kept.and(written).map_err(|error| self.fail(error))
    }

    /// Writes an event of the gateway's own about the session, for which nobody waits.
    pub(super) fn note(&self, event: &Event<'_>) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        if let Some(folder) = &self.folder {
            self.log.keep_later(self.task(folder.entries_of(event)));
        }
        self.log.note_end(&self.used, self.id, event);
    }

    /// The session is not opened after all: its folder ends with why.
    fn abandon(&self, error: &EvidenceError) {
        let why = error.to_string();
        if let Some(task) = self.last_task(None, &self.closing("failed", Some(&why))) {
            self.log.keep_later(task);
        }
    }

    /// What the policies want somebody to know at once, of all that was done since the last time.
    pub(super) async fn raise_alerts(&self, grant: &Grant) -> Result<(), EvidenceError> {
        for (policy, text) in grant.take_alerts() {
            let raised = AlertRaised {
                policy: &policy,
                text: &text,
                person: grant.identity().person(),
                node: grant.node(),
                node_name: grant.node_name().as_str(),
                reason: grant.reason().map(|reason| reason.as_str()),
            };
            self.write(&Event::AlertRaised(raised)).await?;
        }
        Ok(())
    }

    /// Something that changed nothing was asked: listed, or counted where there are many.
    pub(super) async fn ask(&self, event: FileOperation<'_>) -> Result<(), EvidenceError> {
        let (listed, due) = {
            let (now, mut questions) = (Instant::now(), lock(&self.questions));
            (questions.asked(&event, now), questions.due(now))
        };
        if let Some(sums) = due {
            self.write(&Event::FilesSummed(FilesSummed { sums })).await?;
        }
        // one that is only counted learns as well that nothing may go on
        if listed { self.write(&Event::FileOperation(event)).await } else { self.intact() }
    }

    /// What was counted since the last sum.
    fn left_to_sum(&self) -> Option<Event<'static>> {
        lock(&self.questions).rest().map(|sums| Event::FilesSummed(FilesSummed { sums }))
    }

    /// Bytes of one stream go by. Waits for nothing.
    pub(super) fn pass(&self, stream: &Mutex<Tally>, bytes: &[u8]) -> Result<(), EvidenceError> {
        self.intact()?;
        lock(stream).add(bytes);
        let stepped = lock(&self.progress).step(Instant::now(), || self.log.begin(&self.used, self.id, &self.so_far()));
        stepped.map_err(|error| self.fail(error))
    }

    pub(super) async fn exit(&self, exit: &Exit) -> Result<(), EvidenceError> {
        if self.exited.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.write(&Event::SessionExit(SessionExit { exit })).await
    }

    pub(super) fn fail(&self, error: EvidenceError) -> EvidenceError {
        self.failure.get_or_init(|| error).clone()
    }

    fn so_far(&self) -> Event<'static> {
        let bytes = |stream: &Mutex<Tally>| lock(stream).bytes();
        let (stdin, stdout, stderr) = (bytes(&self.stdin), bytes(&self.stdout), bytes(&self.stderr));
        Event::SessionProgress(SessionProgress { stdin, stdout, stderr })
    }

    fn closing<'a>(&self, outcome: &'static str, why: Option<&'a str>) -> Event<'a> {
        let total = |stream: &Mutex<Tally>| lock(stream).total();
        Event::SessionClosed(SessionClosed {
            outcome,
            why,
            milliseconds: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            stdin: total(&self.stdin),
            stdout: total(&self.stdout),
            stderr: total(&self.stderr),
        })
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
