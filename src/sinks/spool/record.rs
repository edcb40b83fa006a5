//! A line of the live log.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest line of the live log. An event is a few KiB; one with a command line of megabytes fits.
pub(crate) const LONGEST_LINE: usize = 4 << 20;

/// What is told while it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// A line of a session's `events.jsonl`.
    Event {
        /// Milliseconds since 1970.
        time: i64,
        /// Whose.
        #[serde(flatten)]
        session: SessionName,
        /// The event's name.
        name: String,
        /// The line, without its newline.
        line: String,
    },
    /// A checkpoint, of the journal or of a session.
    Anchor {
        /// Milliseconds since 1970.
        time: i64,
        /// The signed note, with its newline.
        note: String,
    },
    /// A session's folder is sealed: all its events stand before this.
    Sealed {
        /// Milliseconds since 1970.
        time: i64,
        /// The session.
        session: Uuid,
        /// `2026-11-30/<session>`.
        folder: String,
    },
}

impl Record {
    /// Milliseconds since 1970.
    pub fn time(&self) -> i64 {
        match self {
            Self::Event { time, .. } | Self::Anchor { time, .. } | Self::Sealed { time, .. } => *time,
        }
    }

    /// The session of which it is an event.
    pub(crate) fn of_session(&self) -> Option<Uuid> {
        match self {
            Self::Event { session, .. } => Some(session.session),
            Self::Anchor { .. } | Self::Sealed { .. } => None,
        }
    }
}

/// Whose an event is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionName {
    /// The session's number.
    pub session: Uuid,
    /// Who.
    pub person: String,
    /// Where.
    pub node: String,
}
