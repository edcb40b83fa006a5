//! Why evidence could not be kept.

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
    /// The disk refused or does not answer, or the limit is reached.
    #[error("evidence can't be written ({0}), so the session ends; tell whoever runs this gateway")]
    Write(String),
}
