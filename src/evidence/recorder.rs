//! What is recorded of one session: its opening, its lanes, how much went which way and what its hash is, its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::event::{Event, EventCode, Opening};
use super::event_log::{EventLog, EvidenceError};
use crate::model::{Exit, SessionId};
use crate::policy::{Action, Grant};

/// Between two progress events of one session: what a killed gateway can't say any more.
const PROGRESS_EVERY: Duration = Duration::from_secs(60);

/// Which of a session's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal; for files, what was read.
    Stdout,
    /// Standard error.
    Stderr,
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
}

/// Takes what one channel says and does. A field of every open channel, so that no byte passes it by.
#[derive(Debug)]
pub struct Recorder {
    shared: Shared,
}

/// The transport's hold on the record of a session: which sessions of Session Manager carry it.
#[derive(Clone, Debug)]
pub struct LaneLog {
    shared: Shared,
}

/// The session's own hold on its record: what the client sends, and the end. Dropping it without
/// [`close`](Ledger::close) records an interruption.
#[derive(Debug)]
pub struct Ledger {
    shared: Shared,
}

/// Opens the record of what a decision allowed; the event is written when this returns.
pub fn open(journal: &Arc<EventLog>, grant: &Grant, opening: Opening) -> Result<(Recorder, Ledger), EvidenceError> {
    let id = Uuid::new_v4();
    let mut event = Event::new(EventCode::SessionOpened, id)
        .text("connection", &opening.connection.to_string())
        .text("source", &opening.source.to_string())
        .text("person", grant.identity().person())
        .text("proof", grant.identity().proof())
        .text("node", &grant.node().0)
        .text("node_name", grant.node_name().as_str())
        .maybe("os_user", grant.os_user())
        .text("policy", grant.policy())
        .text("action", grant.action().name())
        .maybe("reason", grant.reason().map(|reason| reason.as_str()))
        .value("pty", opening.pty);
    if let Action::Exec { command } = grant.action() {
        event = event.text("command", &String::from_utf8_lossy(command)).text("command_sha256", &hex(command));
    }
    journal.record(&event)?;
    let state = State { id, ..State::empty(journal.clone()) };
    let shared = Shared(Arc::new(Mutex::new(state)));
    Ok((Recorder { shared: shared.clone() }, Ledger { shared }))
}

impl Recorder {
    /// The node said this.
    pub fn output(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), EvidenceError> {
        let mut state = self.shared.lock();
        match stream {
            Stream::Stdout => state.stdout.add(bytes),
            Stream::Stderr => state.stderr.add(bytes),
        }
        state.progress()
    }

    /// The client said this, where the transport sees it and the session does not (file contents).
    pub fn input(&mut self, bytes: &[u8]) -> Result<(), EvidenceError> {
        let mut state = self.shared.lock();
        state.stdin.add(bytes);
        state.progress()
    }

    /// The command ended so. The first one counts.
    pub fn exit(&mut self, exit: &Exit) -> Result<(), EvidenceError> {
        self.shared.lock().exit(exit)
    }

    /// The transport's hold on the same record.
    pub fn lane_log(&self) -> LaneLog {
        LaneLog { shared: self.shared.clone() }
    }

    /// An event of the session that has a code of its own (a file was opened, a name removed).
    pub fn event(&mut self, event: impl FnOnce(Uuid) -> Event) -> Result<(), EvidenceError> {
        let mut state = self.shared.lock();
        let event = event(state.id);
        state.write(&event)
    }

    /// The session's number in the log.
    pub fn id(&self) -> Uuid {
        self.shared.lock().id
    }

    /// The session is over. Only the first word on that counts, the ledger's or the recorder's.
    pub fn close(&mut self, outcome: &Outcome) -> Result<(), EvidenceError> {
        self.shared.lock().close(outcome)
    }

    /// A recorder whose events go nowhere, for tests of what records into it.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::for_test_in(Arc::new(EventLog::of_device("/dev/null")))
    }

    /// A recorder into this journal.
    #[cfg(test)]
    pub(crate) fn for_test_in(journal: Arc<EventLog>) -> Self {
        Self { shared: Shared(Arc::new(Mutex::new(State::empty(journal)))) }
    }
}

impl LaneLog {
    /// This Session Manager session was started to carry part of it. One that comes too late to be used may be noted after
    /// the session's end.
    pub fn opened(&self, session: &SessionId) -> Result<(), EvidenceError> {
        let mut state = self.shared.lock();
        let event = Event::new(EventCode::SessionLane, state.id).text("session_manager_id", &session.0);
        state.write(&event)
    }
}

impl Ledger {
    /// The client said this.
    pub fn input(&self, bytes: &[u8]) -> Result<(), EvidenceError> {
        let mut state = self.shared.lock();
        state.stdin.add(bytes);
        state.progress()
    }

    /// The command ended so. The first one counts.
    pub fn exit(&self, exit: &Exit) -> Result<(), EvidenceError> {
        self.shared.lock().exit(exit)
    }

    /// Another recorder of the same session, for what the gateway itself does in it (files).
    pub fn recorder(&self) -> Recorder {
        Recorder { shared: self.shared.clone() }
    }

    /// The session is over. Only the first word on that counts.
    pub fn close(&self, outcome: &Outcome) -> Result<(), EvidenceError> {
        self.shared.lock().close(outcome)
    }

    /// The session's number in the log.
    pub fn id(&self) -> Uuid {
        self.shared.lock().id
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Err(error) = state.close_as("interrupted", None) {
            tracing::error!(%error, session = %state.id, "the session's end is not in evidence");
        }
    }
}

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct State {
    journal: Arc<EventLog>,
    id: Uuid,
    started: Instant,
    stdin: Tally,
    stdout: Tally,
    stderr: Tally,
    noted: Instant,
    exited: bool,
    closed: bool,
    failure: Option<EvidenceError>,
}

impl State {
    fn empty(journal: Arc<EventLog>) -> Self {
        Self {
            journal,
            id: Uuid::new_v4(),
            started: Instant::now(),
            stdin: Tally::default(),
            stdout: Tally::default(),
            stderr: Tally::default(),
            noted: Instant::now(),
            exited: false,
            closed: false,
            failure: None,
        }
    }

    /// Once a line is lost, nothing more is let through.
    fn write(&mut self, event: &Event) -> Result<(), EvidenceError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.journal.record(event).inspect_err(|error| self.failure = Some(error.clone()))
    }

    fn progress(&mut self) -> Result<(), EvidenceError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.noted.elapsed() < PROGRESS_EVERY {
            return Ok(());
        }
        self.noted = Instant::now();
        let event = Event::new(EventCode::SessionProgress, self.id)
            .value("stdin_bytes", self.stdin.bytes)
            .value("stdout_bytes", self.stdout.bytes)
            .value("stderr_bytes", self.stderr.bytes);
        self.write(&event)
    }

    fn exit(&mut self, exit: &Exit) -> Result<(), EvidenceError> {
        if std::mem::replace(&mut self.exited, true) {
            return Ok(());
        }
        let event = Event::new(EventCode::SessionExit, self.id);
        let event = match exit {
            Exit::Code(code) => event.value("code", *code),
            Exit::Signal { name, core_dumped } => event.text("signal", name).value("core_dumped", *core_dumped),
            Exit::Unknown => event.value("code", serde_json::Value::Null),
        };
        self.write(&event)
    }

    fn close(&mut self, outcome: &Outcome) -> Result<(), EvidenceError> {
        match outcome {
            Outcome::Finished => self.close_as("finished", None),
            Outcome::ClientGone => self.close_as("client-gone", None),
            Outcome::Failed(why) => self.close_as("failed", Some(why)),
        }
    }

    fn close_as(&mut self, outcome: &str, why: Option<&str>) -> Result<(), EvidenceError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let event = Event::new(EventCode::SessionClosed, self.id)
            .text("outcome", outcome)
            .maybe("why", why)
            .value("milliseconds", u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
            .value("stdin", self.stdin.json())
            .value("stdout", self.stdout.json())
            .value("stderr", self.stderr.json());
        // the end is worth a try even after a line was lost
        self.journal.record(&event)
    }
}

/// A stream's length and hash so far.
#[derive(Debug, Default)]
struct Tally {
    bytes: u64,
    hash: Sha256,
}

impl Tally {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn json(&self) -> serde_json::Value {
        json!({ "bytes": self.bytes, "sha256": digits(&self.hash.clone().finalize()) })
    }
}

fn hex(bytes: &[u8]) -> String {
    digits(&Sha256::digest(bytes))
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening { connection: Uuid::nil(), source: "192.0.2.1:5".parse().unwrap(), pty: false }
    }

    fn events(journal: &EventLog) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(journal.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_session_from_opening_to_close() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(EventLog::open(dir.path(), 1 << 20).unwrap());
        let grant = Grant::for_test("i-1", Action::Exec { command: b"echo hi".to_vec() });
        let (mut recorder, ledger) = open(&journal, &grant, opening()).unwrap();
        recorder.lane_log().opened(&SessionId("ada-123".to_owned())).unwrap();
        ledger.input(b"abc").unwrap();
        recorder.output(Stream::Stdout, b"hi").unwrap();
        recorder.output(Stream::Stdout, b"\n").unwrap();
        recorder.exit(&Exit::Code(3)).unwrap();
        ledger.exit(&Exit::Unknown).unwrap();
        ledger.close(&Outcome::Finished).unwrap();
        drop((recorder, ledger));
        let events = events(&journal);
        let codes: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(codes, ["session.opened", "session.lane", "session.exit", "session.closed"]);
        assert_eq!(events[0]["command"], "echo hi");
        assert_eq!(events[1]["session_manager_id"], "ada-123");
        assert_eq!(events[2]["code"], 3);
        assert_eq!(events[3]["outcome"], "finished");
        assert_eq!(events[3]["stdin"]["bytes"], 3);
        // printf 'hi\n' | sha256sum
        assert_eq!(events[3]["stdout"]["sha256"], "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4");
        assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
    }

    #[test]
    fn a_ledger_that_is_dropped_says_interrupted() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(EventLog::open(dir.path(), 1 << 20).unwrap());
        let (_recorder, ledger) = open(&journal, &Grant::for_test("i-1", Action::Shell), opening()).unwrap();
        drop(ledger);
        assert_eq!(events(&journal)[1]["outcome"], "interrupted");
    }

    #[test]
    fn once_a_line_is_lost_no_byte_is_let_through() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(EventLog::open(dir.path(), 1200).unwrap());
        let (mut recorder, _ledger) = open(&journal, &Grant::for_test("i-1", Action::Shell), opening()).unwrap();
        recorder.output(Stream::Stdout, b"fine").unwrap();
        let lane = SessionId("x".repeat(2000));
        assert!(recorder.lane_log().opened(&lane).is_err(), "over the limit");
        assert!(recorder.output(Stream::Stdout, b"no").is_err());
        assert!(recorder.exit(&Exit::Code(0)).is_err());
    }
}
