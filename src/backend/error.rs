//! Why Systems Manager did not do what it was asked.

use crate::model::SessionId;

/// Why Systems Manager did not do it, in a sentence for the person; never with a token or a key in it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackendError {
    /// The node is unknown or not connected.
    #[error("{0}")]
    Target(String),
    /// IAM or the service refused.
    #[error("{0}")]
    Refused(String),
    /// The session was started, and over before the gateway was there.
    #[error("{why}")]
    Ended {
        /// The service's name for it.
        session: SessionId,
        /// The sentence.
        why: String,
    },
    /// A document is missing or not what it must be.
    #[error("{0}")]
    Document(String),
    /// The network, TLS, throttling or the service's own fault: later it may work.
    #[error("{0}")]
    Unreachable(String),
}
