//! The two ends of a session.

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The plugin, or a gateway.
    Client,
    /// The node.
    Agent,
}

impl End {
    /// The opposite end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Agent,
            Self::Agent => Self::Client,
        }
    }
}
