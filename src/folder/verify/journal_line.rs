//! A line of the gateway's journal: its place, and what it says of sessions.

use serde::Deserialize;
use uuid::Uuid;

use crate::hash::Hash;

/// Of a line what its place needs, and what it says of sessions' folders.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct JournalLine {
    pub(crate) time: String,
    // lines from before there were versions have neither
    #[serde(default)]
    pub(crate) run: Option<Uuid>,
    #[serde(default)]
    pub(crate) seq: Option<u64>,
    pub(crate) event: String,
    #[serde(default)]
    pub(crate) id: Option<Uuid>,
    #[serde(default)]
    prev: Option<String>,
    #[serde(default)]
    pub(crate) head: Option<String>,
    #[serde(default)]
    pub(crate) folder: Option<String>,
    #[serde(default)]
    pub(crate) heads: Vec<HeadOf>,
}

/// A session that is live, and its latest head.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HeadOf {
    pub(crate) folder: String,
    pub(crate) head: String,
}

impl JournalLine {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// What it says of the line before: none where it says nothing, `Some(None)` what is no hash.
    pub(crate) fn prev(&self) -> Option<Option<Hash>> {
        self.prev.as_deref().map(Hash::from_hex)
    }
}

/// The longest line that is taken: a minute's heads of ten thousand sessions.
pub(crate) const MAX_LINE_BYTES: usize = 4 << 20;
