//! Which class of OCSF an event is of, and what that class says of it. Numbers of activities and of `type_id`, `auth_type_id` and
//! `status_id` are those of the schema, version 1.8.0.

use serde_json::{Map, Value, json};

use super::context::Context;
use crate::evidence::decision_event::SessionOpened;
use crate::evidence::event::{CommandRun, Event, SessionClosed, SessionExit, SessionProgress};
use crate::evidence::file_event::{FileClosed, FileDigest, FileOutcome, Paths};
use crate::model::Exit;

/// A class of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// 3002
    Authentication,
    /// 4007
    Ssh,
    /// 1007
    Process,
    /// 1001
    File,
}

/// What an event is in its class.
pub(super) struct Mapped {
    pub(super) class: Class,
    pub(super) activity: u8,
    /// The activity in words.
    pub(super) name: &'static str,
    pub(super) message: String,
    pub(super) severity: u8,
    pub(super) status: Option<u8>,
    /// What only this class has.
    pub(super) members: Map<String, Value>,
}

/// `activity_id` 99, where OCSF has none of its own; `activity_name` says what it is.
const OTHER: u8 = 99;

const INFORMATIONAL: u8 = 1;
const HIGH: u8 = 4;
const SUCCESS: u8 = 1;
const FAILURE: u8 = 2;

/// `fingerprint.algorithm_id` of SHA-256.
const SHA_256: u8 = 3;

impl Class {
    pub(super) fn uid(self) -> u32 {
        match self {
            Self::Authentication => 3002,
            Self::Ssh => 4007,
            Self::Process => 1007,
            Self::File => 1001,
        }
    }

    pub(super) fn category(self) -> u32 {
        self.uid() / 1000
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Authentication => "Authentication",
            Self::Ssh => "SSH Activity",
            Self::Process => "Process Activity",
            Self::File => "File System Activity",
        }
    }

    /// What of the session's context the class has a place for.
    pub(super) fn shared(self) -> &'static [&'static str] {
        match self {
            Self::Authentication | Self::Ssh => &["actor", "device", "src_endpoint", "dst_endpoint"],
            Self::Process | Self::File => &["actor", "device"],
        }
    }

    /// Every line that an event makes.
    pub(super) fn of(event: &Event<'_>, context: &Context) -> Vec<Mapped> {
        match event {
            Event::SessionOpened(opened) => session_opened(opened, context),
            Event::SessionProgress(progress) => vec![session_progress(*progress)],
            Event::SessionExit(exit) => vec![session_exit(exit, context)],
            Event::SessionClosed(closed) => vec![session_closed(closed)],
            Event::SessionInterrupted(_) => {
                vec![ssh(3, "Reset", "its gateway was killed; what stands here was found at its next start".to_owned())]
            }
            Event::CommandRun(command) => vec![command_run(command, context)],
            Event::AlertRaised(alert) => {
                vec![Mapped { severity: HIGH, ..ssh(OTHER, "Alert", alert.text.to_owned()) }]
            }
            Event::SessionJudged(judged) => {
                let message = format!("judged again, by the policies {}, and goes on", judged.policy_set);
                vec![ssh(OTHER, "Judged", message)]
            }
            Event::SessionLane(lane) => {
                vec![ssh(OTHER, "Session Manager Session", format!("carried by {}", lane.session_manager_id))]
            }
            Event::SessionSshd(sshd) => {
                let message = format!("by the node's own sshd, as {}, known by {}", sshd.user, sshd.host_key);
                vec![ssh(OTHER, "Node Login", message)]
            }
            Event::ForwardConnected(forward) => {
                let address = forward.address.map(|address| format!(" to {address}")).unwrap_or_default();
                let unseen = if forward.end_to_end { ", end to end, so that nobody sees what is done" } else { "" };
                let message = format!("the node has connected{address}, by the {}{unseen}", forward.way);
                vec![ssh(OTHER, "Connected", message)]
            }
            Event::ForwardInside(inside) => {
                let message = format!("{} inside, in which nobody sees what is done", inside.protocol);
                vec![Mapped { severity: HIGH, ..ssh(OTHER, "Protocol Inside", message) }]
            }
            Event::FileAsked(asked) => vec![file(asked.action, &asked.paths, "Asked", None)],
            Event::FileOpened(opened) => vec![file(opened.action, &opened.paths, "Opened", None)],
            Event::FileClosed(closed) => vec![file_closed(closed)],
            Event::FileOperation(done) => vec![file(done.action, &done.paths, "", Some(&done.outcome))],
            // what is in no session's folder comes here only if somebody puts it there
            event => vec![ssh(OTHER, "Event", event.name().to_owned())],
        }
    }
}

fn ssh(activity: u8, name: &'static str, message: String) -> Mapped {
    Mapped { class: Class::Ssh, activity, name, message, severity: INFORMATIONAL, status: None, members: Map::new() }
}

/// The login that led here, and the channel that was opened by its leave.
fn session_opened(opened: &SessionOpened<'_>, context: &Context) -> Vec<Mapped> {
    let (method, auth_type) = auth_type(opened.proof);
    let mut login = Map::new();
    login.insert("user".to_owned(), context.user());
    login.insert("session".to_owned(), json!({ "uid": opened.connection, "is_remote": true }));
    login.insert("auth_protocol".to_owned(), "SSH".into());
    login.insert("auth_protocol_id".to_owned(), OTHER.into());
    login.insert("is_remote".to_owned(), true.into());
    login.insert("is_mfa".to_owned(), opened.second_factor.is_some().into());
    login.insert("logon_type".to_owned(), method.into());
    login.insert("logon_type_id".to_owned(), OTHER.into());
    login.insert("status_detail".to_owned(), opened.proof.into());
    let login = Mapped {
        class: Class::Authentication,
        activity: 1,
        name: "Logon",
        message: format!("{} logged in by {method}", opened.person),
        severity: INFORMATIONAL,
        status: Some(SUCCESS),
        members: login,
    };
    let mut channel = ssh(1, "Open", format!("{}: {} on {}", opened.person, opened.action, opened.node_name));
    channel.status = Some(SUCCESS);
    channel.members.insert("auth_type".to_owned(), method.into());
    channel.members.insert("auth_type_id".to_owned(), auth_type.into());
    channel.members.insert("protocol_ver".to_owned(), "2.0".into());
    // the channel first: the event's own fields are its
    vec![channel, login]
}

/// `auth_type_id` of a proof as events write it.
fn auth_type(proof: &str) -> (&'static str, u8) {
    match proof.split(' ').next() {
        Some("certificate") => ("certificate", 1),
        Some("publickey") => ("public key", 6),
        Some("password") => ("password", 5),
        _ => ("keyboard-interactive", 4),
    }
}

fn session_progress(progress: SessionProgress) -> Mapped {
    let mut mapped = ssh(6, "Traffic", "bytes so far".to_owned());
    let (read, written) = (progress.stdin, progress.stdout.saturating_add(progress.stderr));
    mapped.members.insert("traffic".to_owned(), traffic(read, written));
    mapped
}

fn traffic(read: u64, written: u64) -> Value {
    json!({ "bytes_in": read, "bytes_out": written, "bytes": read.saturating_add(written) })
}

fn session_exit(exit: &SessionExit<'_>, context: &Context) -> Mapped {
    let mut members = Map::new();
    members.insert("process".to_owned(), json!({ "uid": context.session() }));
    let message = match exit.exit {
        Exit::Code(code) => {
            members.insert("exit_code".to_owned(), (*code).into());
            format!("ended with status {code}")
        }
        Exit::Signal { name, .. } => format!("ended by SIG{name}"),
        Exit::Unknown => "ended, and nobody knows how".to_owned(),
    };
    process(2, "Terminate", message, members)
}

fn process(activity: u8, name: &'static str, message: String, members: Map<String, Value>) -> Mapped {
    let severity = INFORMATIONAL;
    Mapped { class: Class::Process, activity, name, message, severity, status: None, members }
}

fn command_run(command: &CommandRun<'_>, context: &Context) -> Mapped {
    let mut members = Map::new();
    let line = command.command.unwrap_or_default();
    members.insert("process".to_owned(), json!({ "uid": context.session(), "cmd_line": line }));
    let refused = command.verdict == Some("refused");
    let message = if refused { "a command that was refused" } else { "a command" };
    let message = match command.way_out {
        Some(way_out) => format!("{message}; {way_out} goes on where the gateway sees nothing"),
        None => message.to_owned(),
    };
    let mapped = process(1, "Launch", message, members);
    Mapped { status: refused.then_some(FAILURE), ..mapped }
}

fn session_closed(closed: &SessionClosed<'_>) -> Mapped {
    let failed = closed.outcome == "failed";
    let (activity, name) = match closed.outcome {
        "failed" => (4, "Fail"),
        "killed" | "interrupted" => (3, "Reset"),
        _ => (2, "Close"),
    };
    let mut mapped = ssh(activity, name, format!("the session is over: {}", closed.outcome));
    mapped.status = Some(if failed { FAILURE } else { SUCCESS });
    let written = closed.stdout.bytes.saturating_add(closed.stderr.bytes);
    mapped.members.insert("traffic".to_owned(), traffic(closed.stdin.bytes, written));
    mapped.members.insert("duration".to_owned(), closed.milliseconds.into());
    if let Some(why) = closed.why {
        mapped.members.insert("status_detail".to_owned(), why.into());
    }
    mapped
}

/// The activity of a file's class for what policies call it.
fn file_activity(action: &str) -> (u8, &'static str) {
    match action {
        "Download" => (2, "Read"),
        "Upload" | "Copy" => (3, "Update"),
        "MakeDirectory" | "Link" | "Symlink" => (1, "Create"),
        "Remove" | "RemoveDirectory" => (4, "Delete"),
        "Rename" => (5, "Rename"),
        "Change" => (6, "Set Attributes"),
        "Stat" | "ReadLink" | "Resolve" | "FileSystem" => (8, "Get Attributes"),
        "List" => (14, "Open"),
        _ => (OTHER, "Other"),
    }
}

fn file(action: &str, paths: &Paths<'_>, stage: &str, outcome: Option<&FileOutcome<'_>>) -> Mapped {
    let (activity, name) = file_activity(action);
    let path = String::from_utf8_lossy(paths.real_path.unwrap_or(paths.path)).into_owned();
    let directories = ["List", "MakeDirectory", "RemoveDirectory"];
    // 1 is a regular file, 2 a folder; of what is only named it is not known
    let kind = match action {
        "Download" | "Upload" => 1,
        action if directories.contains(&action) => 2,
        _ => 0,
    };
    let mut members = Map::new();
    let base = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/").to_owned();
    members.insert("file".to_owned(), json!({ "name": base, "path": path, "type_id": kind }));
    if let Some(second) = paths.second_real_path.or(paths.second_path) {
        let second = String::from_utf8_lossy(second).into_owned();
        let base = second.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/").to_owned();
        members.insert("file_result".to_owned(), json!({ "name": base, "path": second, "type_id": kind }));
    }
    let (status, detail) = match outcome {
        Some(FileOutcome::Done) => (Some(SUCCESS), None),
        Some(FileOutcome::Denied { why, .. } | FileOutcome::Failed { why, .. }) => (Some(FAILURE), Some(*why)),
        Some(FileOutcome::Unfinished) => (Some(FAILURE), Some("the session ended before it was done")),
        None => (None, None),
    };
    if let Some(detail) = detail {
        members.insert("status_detail".to_owned(), detail.into());
    }
    let message = if stage.is_empty() { action.to_owned() } else { format!("{action}: {}", stage.to_lowercase()) };
    Mapped { class: Class::File, activity, name, message, severity: INFORMATIONAL, status, members }
}

fn file_closed(closed: &FileClosed<'_>) -> Mapped {
    let mut mapped = file(closed.action, &closed.paths, "Closed", Some(&closed.outcome));
    let whole = match &closed.digest {
        FileDigest::Whole(sha256) => Some(hex::encode(sha256)),
        FileDigest::Part { .. } | FileDigest::None => None,
    };
    if let (Some(sha256), Some(file)) = (whole, mapped.members.get_mut("file").and_then(Value::as_object_mut)) {
        file.insert("size".to_owned(), closed.bytes.into());
        file.insert("hashes".to_owned(), json!([{ "algorithm_id": SHA_256, "algorithm": "SHA-256", "value": sha256 }]));
    }
    mapped
}
