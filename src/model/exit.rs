//! How what ran on a node ended.

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(u32),
    /// A signal ended it; the name is without `SIG`, as in RFC 4254, section 6.10.
    Signal {
        /// `TERM`, `KILL`, `SEGV` …
        name: String,
        /// Whether the node wrote a core.
        core_dumped: bool,
    },
    /// The transport can't know (the agent's own shell session has no status).
    Unknown,
}
