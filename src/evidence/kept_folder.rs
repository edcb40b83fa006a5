//! A session's folder, as its record has it: what of each event and each byte goes there, and the manifest as it grows.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_folder::{
    Algorithms, Aws, AwsSession, CommandRecord, Decision, Ended, File, FileRecord, FolderKey, ForwardEntry, HopEntry,
    How, Manifest, NodeEntry, Stream as StreamEntry, Streams, timestamp,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::EvidenceError;
use super::event::{ByHop, CommandRun, Event, RecordingGap, SessionClosed, Total};
use super::event_log::EventLog;
use super::file_event::{FileClosed, FileDigest, FileOperation, FileOutcome, Paths};
use super::folder::{Entry, FolderTask, Recording, record};
use super::ocsf::{Body, Context};
use super::record::{Opening, Shared, lock};
use super::redaction::Redaction;
use super::views::Stream;
use crate::identity::Acting;
use crate::model::{Exit, LOCALHOST, WindowSize};
use crate::policy::{Action, Denial, Grant, JudgedLine, way_out};

/// The version of `manifest.json`.
const MANIFEST_VERSION: u32 = 1;

/// What a session's record keeps for its folder.
#[derive(Debug)]
pub(super) struct KeptFolder {
    context: Context,
    manifest: Mutex<Box<Manifest>>,
    recording: Mutex<Recording>,
    redaction: Arc<Redaction>,
    /// A session that can't be recorded ends.
    required: bool,
    /// Of commands no more is kept than a hash.
    hashed_commands: bool,
    /// What went by without being recorded, where that is allowed.
    gap: Mutex<Option<Gap>>,
}

/// What is missing of a recording.
#[derive(Clone, Debug)]
struct Gap {
    bytes: u64,
    why: String,
}

impl KeptFolder {
    /// The folder of what a decision allowed, and what stands in it first.
    pub(super) fn new(
        session: Uuid,
        grant: &Grant,
        opening: &Opening<'_>,
        opened: OffsetDateTime,
        log: &EventLog,
    ) -> (Self, Option<Entry>) {
        let keeping = log.keeping();
        let identity = grant.identity();
        let context = Context::new(session, identity, opening.source, grant.node_facts(), grant.node_name().as_str());
        let title = format!("{} on {}", identity.person(), grant.node_name());
        let (recording, first) = match opening.terminal {
            Some(size) => {
                let (recording, first) = Recording::of_terminal(size, opened, &title, opening.marks, log.redaction());
                (recording, Some(first))
            }
            // of files there are their own records, of forwards no byte is kept, and of a hop there is only what is encrypted for others
            None if matches!(
                grant.action(),
                Action::Files
                    | Action::Forward { .. }
                    | Action::ForwardSocket { .. }
                    | Action::Tunnel { .. }
                    | Action::Hop
            ) =>
            {
                (Recording::of_streams(0, 0, log.redaction()), None)
            }
            None => {
                let input = if grant.terms().recording.input { keeping.output_head } else { 0 };
                (Recording::of_streams(keeping.output_head, input, log.redaction()), None)
            }
        };
        let gateway = log.authority().to_owned();
        let manifest = Box::new(Manifest { gateway, ..manifest(session, grant, opening, opened, log.redaction()) });
        let folder = Self {
            context,
            manifest: Mutex::new(manifest),
            recording: Mutex::new(recording),
            redaction: log.redaction().clone(),
            required: keeping.required,
            hashed_commands: grant.terms().recording.hashed_commands,
            gap: Mutex::default(),
        };
        (folder, first)
    }

    /// Puts away what takes memory, where nothing has passed for a while.
    pub(super) fn rest(&self, at: Duration) {
        lock(&self.recording).rest(at);
    }

    /// What an event leaves in the folder: its lines of `events.jsonl`, and what it says of files.
    pub(super) fn entries_of(&self, event: &Event<'_>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Body::of(event, &self.context).into_iter().map(Entry::Event).collect();
        let file = match event {
            Event::FileClosed(closed) => Some(file_closed(closed)),
            Event::FileOperation(done) => Some(file_done(done)),
            Event::SessionLane(lane) => {
                lock(&self.manifest).aws.sessions.push(AwsSession {
                    id: lane.session_manager_id.to_owned(),
                    request_id: lane.calls.start.clone(),
                    assume_role_request_id: lane.calls.assume_role.clone(),
                });
                None
            }
            Event::ForwardConnected(connected) => {
                if let Some(forward) = &mut lock(&self.manifest).forward {
                    forward.way = Some(connected.way.to_owned());
                    forward.address = connected.address.map(str::to_owned);
                    forward.end_to_end = connected.end_to_end;
                }
                None
            }
            Event::ForwardInside(inside) => {
                if let Some(forward) = &mut lock(&self.manifest).forward {
                    forward.inside = Some(inside.protocol.to_owned());
                }
                None
            }
            Event::SessionExit(exit) => {
                let ended = ended(exit.exit);
                lock(&self.manifest).ended = Some(ended);
                None
            }
            _ => None,
        };
        if let Some(file) = file {
            let mut manifest = lock(&self.manifest);
            manifest.counts.files += 1;
            manifest.counts.refused += u64::from(file.outcome == "denied");
            entries.extend(line_of(File::Files, &file));
        }
        entries
    }

    fn command(&self, mut record: CommandRecord, sha256: [u8; 32]) -> Vec<Entry> {
        record.way_out = way_out(record.command.as_bytes()).map(str::to_owned);
        record.command = self.redaction.text(&record.command).into_owned();
        if self.hashed_commands {
            record.command_sha256 = Some(hex::encode(sha256));
            (record.command, record.names) = (String::new(), Vec::new());
        }
        let how = match record.how {
            How::Exec => "exec",
            How::Marks => "marks",
            How::UnprovedMarks => "unproved-marks",
            How::Screen => "screen",
        };
        let event = Event::CommandRun(CommandRun {
            command: record.command_sha256.is_none().then_some(record.command.as_str()),
            sha256,
            how,
            confidence: record.confidence,
            verdict: record.verdict.as_deref(),
            way_out: record.way_out.as_deref(),
            exit: record.exit,
        });
        let mut manifest = lock(&self.manifest);
        manifest.counts.commands += 1;
        manifest.counts.refused += u64::from(record.verdict.as_deref() == Some("refused"));
        drop(manifest);
        let mut entries: Vec<Entry> = Body::of(&event, &self.context).into_iter().map(Entry::Event).collect();
        entries.extend(line_of(File::Commands, &record));
        entries
    }

    /// The manifest as it is at the end.
    fn closing(&self, closed: &SessionClosed<'_>) -> Box<Manifest> {
        let mut manifest = lock(&self.manifest).clone();
        manifest.closed = Some(timestamp(OffsetDateTime::now_utc()));
        let ended = manifest.ended.get_or_insert_default();
        ended.outcome = closed.outcome.to_owned();
        ended.why = closed.why.map(str::to_owned);
        let stream = |total: &Total| StreamEntry { bytes: total.bytes, sha256: hex::encode(total.sha256) };
        let (stdin, stdout, stderr) = (stream(&closed.stdin), stream(&closed.stdout), stream(&closed.stderr));
        manifest.streams = Some(Streams { stdin, stdout, stderr });
        manifest
    }
}

impl Shared {
    /// Makes the folder; the first of what happened stands in it when this returns.
    pub(super) async fn open_folder(
        &self,
        opened: OffsetDateTime,
        first: Option<Entry>,
        key: Option<FolderKey>,
        event: &Event<'_>,
    ) -> Result<(), EvidenceError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let manifest = lock(&folder.manifest).clone();
        let written = serde_json::to_value(&manifest).unwrap_or_default();
        let bodies = Body::opening(event, &folder.context, written);
        let mut entries: Vec<Entry> = bodies.into_iter().map(Entry::Event).collect();
        entries.extend(first);
        self.log.keep(&self.used, FolderTask::Open { session: self.id, opened, manifest, entries, key }).await
    }

    /// Puts away what its recording holds in memory, where nothing has passed for a while.
    pub(super) fn rest(&self) {
        if let Some(folder) = &self.folder {
            folder.rest(self.started.elapsed());
        }
    }

    /// Something for the folder.
    pub(super) fn task(&self, entries: Vec<Entry>) -> FolderTask {
        FolderTask::Write { session: self.id, entries }
    }

    /// What of what the node said is for the client, where that is not all of it.
    pub(super) fn without_marks(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        lock(&self.folder.as_ref()?.recording).without_marks(self.started.elapsed(), bytes)
    }

    /// What of it was held back, once nothing more comes.
    pub(super) fn held_back(&self) -> Option<Vec<u8>> {
        lock(&self.folder.as_ref()?.recording).held_back()
    }

    /// What is to be kept of what the node said, and what was learnt by it.
    pub(super) fn entries_of_output(&self, stream: Stream, bytes: &[u8]) -> Vec<Entry> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let at = self.started.elapsed();
        let (entry, commands) = {
            let mut recording = lock(&folder.recording);
            (recording.output(at, stream, bytes), recording.commands())
        };
        let mut entries: Vec<Entry> = entry.into_iter().collect();
        for command in &commands {
            let record = record(command, timestamp(OffsetDateTime::now_utc()));
            entries.extend(folder.command(record, Sha256::digest(&command.line).into()));
        }
        entries
    }

    /// What the client said has been looked at, and is in the folder as far as it is kept.
    pub(super) async fn keep_input(&self, bytes: &[u8]) -> Result<(), EvidenceError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let entry = lock(&folder.recording).input(self.started.elapsed(), bytes);
        match entry {
            None => Ok(()),
            // boxed: of a shell's input nothing is kept
            Some(entry) => Box::pin(self.keep_recorded(vec![entry], bytes.len())).await,
        }
    }

    /// The terminal's size.
    pub(super) async fn keep_resize(&self, size: WindowSize) -> Result<(), EvidenceError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let entry = lock(&folder.recording).resize(self.started.elapsed(), size);
        match entry {
            None => Ok(()),
            Some(entry) => Box::pin(self.keep_recorded(vec![entry], 0)).await,
        }
    }

    /// A command line was sent as one.
    pub(super) async fn command_sent(&self, line: &[u8], judged: Option<&JudgedLine>) -> Result<(), EvidenceError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let judged = judged.map(JudgedLine::each).unwrap_or_default();
        let record = CommandRecord {
            time: timestamp(OffsetDateTime::now_utc()),
            at: self.started.elapsed().as_secs_f64(),
            command: String::from_utf8_lossy(line).into_owned(),
            command_sha256: None,
            how: How::Exec,
            confidence: 1.0,
            names: judged.iter().map(|command| command.name.clone()).collect(),
            verdict: Some("allowed".to_owned()),
            policy: None,
            way_out: None,
            exit: None,
        };
        let entries = folder.command(record, Sha256::digest(line).into());
        let kept = self.log.keep(&self.used, self.task(entries)).await;
        kept.map_err(|error| self.fail(error))
    }

    /// A line that was typed is not run.
    pub(super) async fn line_refused(&self, line: &str, denial: &Denial) -> Result<(), EvidenceError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let record = CommandRecord {
            time: timestamp(OffsetDateTime::now_utc()),
            at: self.started.elapsed().as_secs_f64(),
            command: line.to_owned(),
            command_sha256: None,
            how: How::Screen,
            confidence: 1.0,
            names: Vec::new(),
            verdict: Some("refused".to_owned()),
            policy: Some(denial.policy.clone()),
            way_out: None,
            exit: None,
        };
        let entries = folder.command(record, Sha256::digest(line).into());
        let kept = self.log.keep(&self.used, self.task(entries)).await;
        kept.map_err(|error| self.fail(error))
    }

    /// The line at a prompt.
    pub(super) fn line(&self) -> Option<String> {
        lock(&self.folder.as_ref()?.recording).line()
    }

    /// Whether a shell waits for a line.
    pub(super) fn waits(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| lock(&folder.recording).waits())
    }

    /// How long the terminal has shown nothing new.
    pub(super) fn silent_for(&self) -> Duration {
        let last = self.folder.as_ref().map(|folder| lock(&folder.recording).last_output());
        self.started.elapsed().saturating_sub(last.unwrap_or_default())
    }

    /// The end of the folder; nothing where there is none.
    pub(super) fn last_task(&self, summed: Option<&Event<'_>>, closing: &Event<'_>) -> Option<FolderTask> {
        let folder = self.folder.as_ref()?;
        let Event::SessionClosed(closed) = closing else { return None };
        let mut entries = Vec::new();
        {
            let at = self.started.elapsed();
            let mut recording = lock(&folder.recording);
            entries.extend(recording.finish(at));
            for command in recording.commands() {
                let record = record(&command, timestamp(OffsetDateTime::now_utc()));
                entries.extend(folder.command(record, Sha256::digest(&command.line).into()));
            }
        }
        for event in summed.into_iter().chain([closing]) {
            entries.extend(folder.entries_of(event));
        }
        Some(FolderTask::Seal { session: self.id, entries, manifest: folder.closing(closed) })
    }

    /// Writes a part of the recording. Where that is not required, what can't be is a gap, which is told of when it can again.
    pub(super) async fn keep_recorded(&self, mut entries: Vec<Entry>, passed: usize) -> Result<(), EvidenceError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if entries.is_empty() {
            return Ok(());
        }
        let gap = lock(&folder.gap).clone();
        if let Some(gap) = &gap {
            let told = Event::RecordingGap(RecordingGap { bytes: gap.bytes, why: &gap.why });
            entries.splice(..0, folder.entries_of(&told));
        }
        match self.log.keep(&self.used, self.task(entries)).await {
            Ok(()) => {
                if gap.is_some() {
                    *lock(&folder.gap) = None;
                }
                Ok(())
            }
            Err(error) if folder.required => Err(self.fail(error)),
            Err(error) => {
                let bytes = gap.map_or(0, |gap| gap.bytes).saturating_add(passed as u64);
                *lock(&folder.gap) = Some(Gap { bytes, why: error.to_string() });
                Ok(())
            }
        }
    }
}

fn line_of<T: serde::Serialize>(file: File, record: &T) -> Option<Entry> {
    let mut line = serde_json::to_vec(record).ok()?;
    line.push(b'\n');
    Some(Entry::Bytes(file, line))
}

fn manifest(
    session: Uuid,
    grant: &Grant,
    opening: &Opening<'_>,
    opened: OffsetDateTime,
    redaction: &Redaction,
) -> Manifest {
    let (identity, facts) = (grant.identity(), grant.node_facts());
    let acting = Acting::of(identity, &grant.node().realm, Some(&grant.node().id));
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    Manifest {
        v: MANIFEST_VERSION,
        session,
        gateway: String::new(),
        connection: opening.connection,
        hop: opening.hop.map(|ByHop { connection, session }| HopEntry { connection, session }),
        source: opening.source.to_string(),
        client: opening.client.version.clone(),
        algorithms: opening.client.algorithms.as_ref().map(|names| Algorithms {
            profile: names.profile.to_owned(),
            kex: names.kex.clone(),
            host_key: names.host_key.clone(),
            cipher: names.cipher.clone(),
            mac: names.mac.clone(),
        }),
        login: opening.login.to_owned(),
        person: identity.person().to_owned(),
        groups: identity.groups().to_vec(),
        proof: identity.proof().to_owned(),
        node: NodeEntry {
            id: facts.node.id.0.clone(),
            realm: facts.node.realm.as_str().to_owned(),
            name: grant.node_name().as_str().to_owned(),
            called: facts.called.clone(),
        },
        os_user: grant.os_user().map(str::to_owned),
        action: grant.action().name().to_owned(),
        command: match grant.action() {
            Action::Exec { command } if !grant.terms().recording.hashed_commands => {
                Some(redaction.text(&text(command)).into_owned())
            }
            _ => None,
        },
        forward: match grant.action() {
            Action::Forward { host, port } => {
                Some(ForwardEntry { host: host.clone(), port: *port, ..ForwardEntry::default() })
            }
            Action::Tunnel { port } => {
                Some(ForwardEntry { host: LOCALHOST.to_owned(), port: *port, ..ForwardEntry::default() })
            }
            Action::ForwardSocket { path } => Some(ForwardEntry { path: Some(text(path)), ..ForwardEntry::default() }),
            _ => None,
        },
        pty: opening.terminal.is_some(),
        reason: grant.reason().map(|reason| reason.as_str().to_owned()),
        decision: Decision {
            policy: grant.policy(),
            policy_set: grant.version().sha256().to_owned(),
            obligations: grant.terms().written(),
        },
        aws: match &acting {
            None => Aws { identity: "gateway".to_owned(), ..Aws::default() },
            Some(acting) => Aws {
                identity: "person".to_owned(),
                role: Some(acting.role.arn.as_str().to_owned()),
                session_name: Some(acting.session_name.clone()),
                source_identity: acting.seen_as().map(str::to_owned),
                sessions: Vec::new(),
            },
        },
        opened: timestamp(opened),
        closed: None,
        ended: None,
        streams: None,
        counts: portcullis_folder::Counts::default(),
        encryption: None,
        private: None,
        files: Vec::new(),
    }
}

fn ended(exit: &Exit) -> Ended {
    match exit {
        Exit::Code(code) => Ended { code: Some(i64::from(*code)), ..Ended::default() },
        Exit::Signal { name, .. } => Ended { signal: Some(name.clone()), ..Ended::default() },
        Exit::Unknown => Ended::default(),
    }
}

fn file_of(action: &str, paths: &Paths<'_>, outcome: &FileOutcome<'_>) -> FileRecord {
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let (said, code, policy, why) = match outcome {
        FileOutcome::Done => ("done", None, None, None),
        FileOutcome::Unfinished => ("unfinished", None, None, None),
        FileOutcome::Denied { code, policy, why } => ("denied", Some(code.name()), Some(*policy), Some(*why)),
        FileOutcome::Failed { why, .. } => ("failed", None, None, Some(*why)),
    };
    FileRecord {
        time: timestamp(OffsetDateTime::now_utc()),
        action: action.to_owned(),
        path: text(paths.path),
        real_path: paths.real_path.map(text),
        second_path: paths.second_real_path.or(paths.second_path).map(text),
        direction: match action {
            "Download" => Some("from-node".to_owned()),
            "Upload" => Some("to-node".to_owned()),
            _ => None,
        },
        bytes: None,
        sha256: None,
        sha256_of_part: None,
        part_offset: None,
        outcome: said.to_owned(),
        code: code.map(str::to_owned),
        policy: policy.map(str::to_owned),
        why: why.map(str::to_owned),
    }
}

fn file_done(done: &FileOperation<'_>) -> FileRecord {
    file_of(done.action, &done.paths, &done.outcome)
}

fn file_closed(closed: &FileClosed<'_>) -> FileRecord {
    let mut file = file_of(closed.action, &closed.paths, &closed.outcome);
    file.bytes = Some(closed.bytes);
    match &closed.digest {
        FileDigest::Whole(sha256) => file.sha256 = Some(hex::encode(sha256)),
        FileDigest::Part { offset, sha256 } => {
            (file.sha256_of_part, file.part_offset) = (Some(hex::encode(sha256)), Some(*offset));
        }
        FileDigest::None => {}
    }
    file
}
