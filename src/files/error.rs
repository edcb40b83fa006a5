//! Why a file session ended, where its client did not end it.

/// Why a file session ended before its client was done.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The client's side of the channel failed.
    #[error("the client's connection failed: {0}")]
    Client(#[from] std::io::Error),
    /// The client broke the protocol.
    #[error("the client sent something that is not {protocol}: {what}")]
    Protocol {
        /// Which protocol.
        protocol: &'static str,
        /// What came, and what was expected.
        what: String,
    },
    /// The way to the node is gone.
    #[error("the connection to the node's file service was lost: {0}")]
    NodeGone(String),
    /// What happened could not be recorded, so nothing more may happen.
    #[error("the session ends because it can't be recorded: {0}")]
    Evidence(String),
}
