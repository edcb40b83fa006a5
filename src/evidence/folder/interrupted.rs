//! Sessions whose gateway was killed: the next start ends their folders at what stands there, and seals them.
//!
//! Which folders are open is told by `open/`, which has an empty file for each of them: made before the folder is, and removed once its
//! last head is on the disk.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_folder::{
    AwsSession, Contents, Counts, Ended, File as FolderFile, Interrupted, Keyring, Manifest, NoKeyring, Recovered,
    SigningKey, VerifyingKey, open_regular, recover_with, timestamp,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::task::{Entry, FolderTask};
use crate::evidence::event::{Event, SessionInterrupted};
use crate::evidence::ocsf::{Body, Context};
use crate::evidence::outlet::Outlets;

/// The names of the open folders.
const OPEN: &str = "open";

/// The first event of a folder is no longer than this.
const LONGEST_EVENT: u64 = 1 << 20;

/// So is a manifest.
const LONGEST_MANIFEST: u64 = 4 << 20;

/// What the event is called that names a session of Session Manager; and how many of them one session of ours is said to have had.
const LANE: &[u8] = b"session.lane";
const MOST_LANES: usize = 1000;

/// What became of one folder.
#[derive(Debug)]
pub(in crate::evidence) struct Found {
    /// `<day>/<session>`.
    pub(in crate::evidence) name: String,
    /// What is to be done to it; or why it is left as it is.
    pub(in crate::evidence) tasks: Result<Vec<FolderTask>, String>,
}

/// Notes that a folder is open. Its name says which: `<day>_<session>`.
pub(super) fn opened(evidence: &Path, name: &str) -> io::Result<()> {
    let directory = evidence.join(OPEN);
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).open(mark(evidence, name)).map(drop)
}

/// Notes that a folder is sealed.
pub(super) fn sealed(evidence: &Path, name: &str) {
    if let Err(error) = fs::remove_file(mark(evidence, name)) {
        // the next start finds that it is sealed
        tracing::warn!(%error, folder = name, "a folder that is sealed can't be noted as such");
    }
}

fn mark(evidence: &Path, name: &str) -> PathBuf {
    evidence.join(OPEN).join(name.replace('/', "_"))
}

/// The folders that a killed gateway left open, and what is to be done to them.
pub(in crate::evidence) fn find(
    evidence: &Path,
    key: &SigningKey,
    keys: &[VerifyingKey],
    keyring: &dyn Keyring,
    outlets: &Outlets,
) -> io::Result<Vec<Found>> {
    let entries = match fs::read_dir(evidence.join(OPEN)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().replace('_', "/");
        let path = evidence.join(portcullis_folder::SESSIONS).join(&name);
        let Some(session) = session_of(&name) else { continue };
        let tasks = match path.symlink_metadata() {
            // it was killed before it had made the folder
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => go_on(&path, &name, session, key, keys, keyring).and_then(|tasks| {
                // it was killed before it had handed it on
                if tasks.is_empty() {
                    hand_on(&path, &name, outlets)?;
                }
                Ok(tasks)
            }),
        };
        if tasks.as_ref().is_ok_and(Vec::is_empty) {
            sealed(evidence, &name);
        }
        found.push(Found { name, tasks });
    }
    Ok(found)
}

/// Hands a folder that is sealed to where evidence goes besides.
fn hand_on(path: &Path, name: &str, outlets: &Outlets) -> Result<(), String> {
    let Some(outlet) = outlets.get() else { return Ok(()) };
    let file = open_regular(&path.join(FolderFile::Manifest.name()), OpenOptions::new().read(true));
    let mut text = Vec::new();
    let read = file.and_then(|file| file.take(LONGEST_MANIFEST).read_to_end(&mut text));
    read.map_err(|error| format!("manifest.json can't be read: {error}"))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| format!("manifest.json is no manifest: {error}"))?;
    outlet.sealed(&manifest, name)
}

/// The session of `<day>/<session>`; nothing of any other name.
fn session_of(name: &str) -> Option<Uuid> {
    let (day, session) = name.split_once('/')?;
    let is_day = day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let number = Uuid::parse_str(session).ok().filter(|number| number.hyphenated().to_string() == session);
    number.filter(|_| is_day)
}

fn go_on(
    path: &Path,
    name: &str,
    session: Uuid,
    key: &SigningKey,
    keys: &[VerifyingKey],
    keyring: &dyn Keyring,
) -> Result<Vec<FolderTask>, String> {
    let interrupted = match recover_with(path, key, keys, keyring).map_err(|error| error.to_string())? {
        Recovered::Sealed => return Ok(Vec::new()),
        Recovered::Interrupted(interrupted) => *interrupted,
    };
    let Interrupted { seal, heads, checkpoints, key, .. } = interrupted;
    let contents = match &key {
        Some(key) => Contents::by(path, key.key.clone()),
        None => Contents::open(path, &NoKeyring),
    };
    let contents = contents.map_err(|error| error.to_string())?;
    let First { context, mut manifest } = first(&contents, session)?;
    // the first event was written before anything carried it
    manifest.aws.sessions = carried_by(&contents)?;
    let event = Event::SessionInterrupted(SessionInterrupted { checkpoints });
    let entries = Body::of(&event, &context).into_iter().map(Entry::Event).collect();
    let ended = Ended {
        outcome: "interrupted".to_owned(),
        checkpoints: Some(checkpoints),
        ..manifest.ended.unwrap_or_default()
    };
    let counts = Counts {
        commands: lines(&contents, FolderFile::Commands)?,
        files: lines(&contents, FolderFile::Files)?,
        ..manifest.counts
    };
    let closed = Some(timestamp(OffsetDateTime::now_utc()));
    let manifest = Box::new(Manifest { ended: Some(ended), closed, counts, ..manifest });
    let (path, name) = (path.to_owned(), name.to_owned());
    Ok(vec![
        FolderTask::GoOn { session, path, name, seal: Box::new(seal), heads, key },
        FolderTask::Seal { session, entries, manifest },
    ])
}

/// What the first event of a folder says of its session.
struct First {
    context: Context,
    manifest: Manifest,
}

#[derive(Deserialize)]
struct FirstEvent {
    unmapped: Opened,
    #[serde(flatten)]
    members: Map<String, Value>,
}

#[derive(Deserialize)]
struct Opened {
    manifest: Manifest,
}

fn first(contents: &Contents, session: Uuid) -> Result<First, String> {
    let file = contents.file(FolderFile::Events);
    let mut line = String::new();
    let read = file.and_then(|file| BufReader::new(file.take(LONGEST_EVENT)).read_line(&mut line));
    read.map_err(|error| format!("events.jsonl can't be read: {error}"))?;
    let first: FirstEvent =
        serde_json::from_str(&line).map_err(|error| format!("the first event says nothing of the session: {error}"))?;
    Ok(First { context: Context::again(session, first.members), manifest: first.unmapped.manifest })
}

#[derive(Deserialize)]
struct LaneEvent {
    unmapped: Lane,
}

#[derive(Deserialize)]
struct Lane {
    event: String,
    session_manager_id: String,
    aws_request_id: Option<String>,
    aws_assume_role_request_id: Option<String>,
}

/// The sessions of Session Manager that carried it, by the events that say so.
fn carried_by(contents: &Contents) -> Result<Vec<AwsSession>, String> {
    let wrong = |error: io::Error| format!("events.jsonl can't be read: {error}");
    let mut reader = BufReader::new(contents.file(FolderFile::Events).map_err(wrong)?);
    let (mut sessions, mut line, mut begins) = (Vec::new(), Vec::new(), true);
    while sessions.len() < MOST_LANES {
        line.clear();
        // a longer line comes in pieces, of which none is such an event
        if reader.by_ref().take(LONGEST_EVENT).read_until(b'\n', &mut line).map_err(wrong)? == 0 {
            break;
        }
        let is_whole = std::mem::replace(&mut begins, line.ends_with(b"\n")) && begins;
        if !is_whole || memchr::memmem::find(&line, LANE).is_none() {
            continue;
        }
        // what a person typed may have the name in it too, and half a line may stand at the end
        let Ok(LaneEvent { unmapped: lane }) = serde_json::from_slice(&line) else { continue };
        if lane.event.as_bytes() == LANE {
            sessions.push(AwsSession {
                id: lane.session_manager_id,
                request_id: lane.aws_request_id,
                assume_role_request_id: lane.aws_assume_role_request_id,
            });
        }
    }
    Ok(sessions)
}

/// How many lines a file has; none where it is not there.
fn lines(contents: &Contents, file: FolderFile) -> Result<u64, String> {
    let file = match contents.file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file.map_err(|error| error.to_string())?,
    };
    let (mut reader, mut count) = (BufReader::new(file), 0);
    loop {
        let buffer = reader.fill_buf().map_err(|error| error.to_string())?;
        if buffer.is_empty() {
            return Ok(count);
        }
        count += memchr::memchr_iter(b'\n', buffer).count() as u64;
        let length = buffer.len();
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sessions_that_carried_it_are_those_that_its_events_name() {
        let dir = tempfile::tempdir().unwrap();
        let lane = |id: &str| {
            format!(
                "{{\"time\":1,\"unmapped\":{{\"event\":\"session.lane\",\"session_manager_id\":\"{id}\",\"aws_request_id\":\"r-1\"}}}}\n"
            )
        };
        let typed =
            "{\"unmapped\":{\"event\":\"command.run\",\"session_manager_id\":\"x\",\"command\":\"session.lane\"}}\n";
        let long = format!("{}{}", " ".repeat(LONGEST_EVENT as usize), lane("in-a-long-line"));
        let torn = lane("torn");
        let text = [&*lane("ada-1"), typed, &long, &lane("ada-2"), &torn[..torn.len() - 4]].concat();
        std::fs::write(dir.path().join("events.jsonl"), text).unwrap();
        let contents = Contents::open(dir.path(), &NoKeyring).unwrap();
        let sessions = carried_by(&contents).unwrap();
        assert_eq!(sessions.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(), ["ada-1", "ada-2"]);
        assert_eq!(sessions[0].request_id.as_deref(), Some("r-1"));
    }

    #[test]
    fn only_a_folder_s_name_is_one() {
        let number = "00000000-0000-0000-0000-000000000000";
        assert_eq!(session_of(&format!("2026-11-30/{number}")), Some(Uuid::nil()));
        for none in ["", "..", "../..", "2026-11-30/..", &format!("../../../x/{number}"), "2026-11-30/0000"] {
            assert_eq!(session_of(none), None, "{none}");
        }
    }
}
