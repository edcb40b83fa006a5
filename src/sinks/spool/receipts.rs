//! What was delivered: kept beside the spool, so that a restart repeats nothing, and retention knows.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk::{read_small, remove, write_whole};
use crate::error::SinkError;

/// A folder that a sink has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this format: 1.
    pub v: u32,
    /// The session.
    pub session: Uuid,
    /// The sink.
    pub sink: String,
    /// When it was acknowledged, milliseconds since 1970. Of syslog, which acknowledges nothing: when its last line had been
    /// written for `resend_seconds` on a connection that stood.
    pub delivered: i64,
    /// What is there; of sinks that get events, nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectEntry>,
}

/// An object in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Its key.
    pub key: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// Its version, where the bucket has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl Receipt {
    fn path(receipts: &Path, folder: &str) -> PathBuf {
        receipts.join(format!("{folder}.json"))
    }

    /// Keeps it. `folder` is `2026-11-30/<session>`, which has been looked at.
    pub(crate) fn store(&self, receipts: &Path, folder: &str) -> Result<(), SinkError> {
        let bytes = serde_json::to_vec(self).map_err(|_| SinkError::TooLong(0))?;
        write_whole(&Self::path(receipts, folder), &bytes)
    }

    /// The one of a folder. One that can't be read is none: then it is delivered again.
    pub(crate) fn load(receipts: &Path, folder: &str) -> Result<Option<Self>, SinkError> {
        let bytes = read_small(&Self::path(receipts, folder))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Forgets it, with its folder.
    pub(crate) fn forget(receipts: &Path, folder: &str) -> Result<(), SinkError> {
        remove(&Self::path(receipts, folder))
    }
}
