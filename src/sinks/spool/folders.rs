//! Folders that wait for a sink: a small file each, which points at the folder. Folders are not copied.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk::{create_dir, disk, read_small, remove, write_whole};
use crate::error::SinkError;

/// A delivery that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The version of this format: 1.
    pub v: u32,
    /// Milliseconds since 1970: when it came.
    pub queued: i64,
    /// The session, or of a log for AWS the first one in it.
    pub session: Uuid,
    /// `2026-11-30/<session>`; several where one session of Session Manager carried several of ours.
    pub folders: Vec<String>,
    /// It is for where the account's preferences say, and not for a configured sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_log: Option<AgentLog>,
}

/// A log as Session Manager's agent would have written it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentLog {
    /// The realm, whose credentials are used.
    pub realm: String,
    /// The id of the session of Session Manager, which names the log.
    pub aws_session: String,
    /// The region.
    pub region: String,
    /// The node's id.
    pub target: String,
    /// The ARN of who started it.
    pub owner: String,
    /// As which user of the node.
    pub run_as: String,
    /// Where to.
    pub to: AgentTarget,
}

/// Where the account's preferences want its logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum AgentTarget {
    /// `s3BucketName`, `s3KeyPrefix`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What its key begins with.
        prefix: String,
    },
    /// `cloudWatchLogGroupName`, `cloudWatchStreamingEnabled`.
    Logs {
        /// The group.
        group: String,
        /// As JSON, as the agent streams it.
        streaming: bool,
    },
}

/// What waits for one sink.
#[derive(Clone, Debug)]
pub(crate) struct FolderQueue {
    pending: PathBuf,
    quarantine: PathBuf,
    max: usize,
}

impl FolderQueue {
    pub(crate) fn open(pending: PathBuf, quarantine: PathBuf, max: u32) -> Result<Self, SinkError> {
        create_dir(&pending)?;
        create_dir(&quarantine)?;
        Ok(Self { pending, quarantine, max: max as usize })
    }

    /// Adds one; where it waits already it is well. A folder that comes again later is delivered once: by then there is a receipt.
    pub(crate) fn put(&self, sink: &str, item: &Item) -> Result<(), SinkError> {
        let names = self.names()?;
        let mut name = format!("{:013}-{}", item.queued.max(0), item.session.hyphenated());
        if let Some(log) = &item.agent_log {
            let to = match log.to {
                AgentTarget::S3 { .. } => "s3",
                AgentTarget::Logs { .. } => "logs",
            };
            name = format!("{name}-{to}-{}", crate::names::part(&log.aws_session, 120));
        }
        let name = format!("{name}.json");
        // all but when it came
        if names.iter().any(|other| other.get(13..) == name.get(13..)) {
            return Ok(());
        }
        if names.len() >= self.max {
            let (folders, max) = (names.len() as u64, self.max as u64);
            return Err(SinkError::FullOfFolders { folders, max, sink: sink.to_owned() });
        }
        let bytes = serde_json::to_vec(item).map_err(|_| SinkError::TooLong(0))?;
        write_whole(&self.pending.join(name), &bytes)
    }

    /// Whether another may wait.
    pub(crate) fn has_room(&self) -> bool {
        self.names().is_ok_and(|names| names.len() < self.max)
    }

    /// The names of those that wait, the oldest first.
    pub(crate) fn names(&self) -> Result<Vec<String>, SinkError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.pending).map_err(disk(&self.pending, "read"))? {
            let name = entry.map_err(disk(&self.pending, "read"))?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.ends_with(".json")) {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// One of them; none where it is not to be understood.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Item>, SinkError> {
        let bytes = read_small(&self.pending.join(name))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).filter(|item: &Item| item.v == 1))
    }

    pub(crate) fn done(&self, name: &str) -> Result<(), SinkError> {
        remove(&self.pending.join(name))
    }

    /// Puts one aside, with why. First the reason, then the item: a crash between the two repeats this.
    pub(crate) fn quarantine(&self, name: &str, why: &str) -> Result<(), SinkError> {
        let reason = self.quarantine.join(name).with_extension("reason");
        write_whole(&reason, format!("{why}\n").as_bytes())?;
        let to = self.quarantine.join(name);
        std::fs::rename(self.pending.join(name), &to).map_err(disk(&to, "written"))
    }
}

/// When an item came, by its name.
pub(crate) fn queued(name: &str) -> Option<i64> {
    name.split('-').next()?.parse().ok()
}

/// Of which session an item is, by its name.
pub(crate) fn session_of(name: &str) -> Option<Uuid> {
    Uuid::try_parse(name.get(14..50)?).ok()
}

/// How many items a folder of the quarantine has.
pub(crate) fn quarantined(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(".json")).count() as u64
}
