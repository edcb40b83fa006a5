//! Why evidence could not be kept.

use crate::model::size_text;

/// Why evidence could not be kept.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvidenceError {
    /// The file can't be opened, or is not what it must be.
    #[error("the event log {path} can't be used: {why}")]
    Unusable {
        /// Which file.
        path: String,
        /// Why, in words.
        why: String,
    },
    /// The key that heads are signed with.
    #[error("the key that evidence is signed with can't be used: {0}")]
    Key(String),
    /// Evidence is to be encrypted, and there is no key for this session.
    #[error(
        "this session's evidence can't be encrypted, so it does not open; tell whoever runs this gateway, whose log says why"
    )]
    Unencrypted,
    /// What is not to be kept can't be told.
    #[error("evidence.redact can't be used: {0}")]
    Pattern(String),
    /// The disk refused or does not answer, or the limit is reached.
    #[error("evidence can't be written ({0}), so the session ends; tell whoever runs this gateway")]
    Write(String),
    /// It does not reach where it must.
    #[error("evidence does not reach where it has to ({0}), so no session may go on; tell whoever runs this gateway")]
    Away(String),
    /// The session has written as many events as one may.
    #[error(
        "this session's events have filled its part of the event log ({}), so it ends; another one can be opened. Whoever runs this gateway can allow more in evidence.session_bytes", size_text(*.bytes)
    )]
    SessionShare {
        /// Its part.
        bytes: u64,
    },
    /// The person's sessions have.
    #[error(
        "the events of your sessions have filled your part of the event log ({} a day), so the session ends; wait a while, or tell whoever runs this gateway, who can allow more in evidence.person_bytes", size_text(*.bytes)
    )]
    PersonShare {
        /// Their part.
        bytes: u64,
    },
    /// The session has recorded as much as one may.
    #[error(
        "the recording of this session has filled its part ({}), so it ends; another one can be opened. Whoever runs this gateway can allow more in evidence.session_recording_bytes", size_text(*.bytes)
    )]
    SessionRecording {
        /// Its part.
        bytes: u64,
    },
    /// The person's sessions have.
    #[error(
        "the recordings of your sessions have filled your part ({} a day), so the session ends; wait a while, or tell whoever runs this gateway, who can allow more in evidence.person_recording_bytes", size_text(*.bytes)
    )]
    PersonRecording {
        /// Their part.
        bytes: u64,
    },
}
