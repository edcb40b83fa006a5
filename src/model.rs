//! The words everyone shares: small types that are valid by construction.

use std::fmt;

/// A Session Manager session, as the service names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub String);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A managed node as Session Manager wants it in `Target`: `i-…`, `mi-…` or `ecs:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub String);

impl NodeId {
    /// Whether a text may be an id. A name may look like one, but no id looks like anything else.
    pub fn is_like(text: &str) -> bool {
        ["i-", "mi-", "ecs:"].iter().any(|form| text.starts_with(form))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a session is opened; at most 256 characters (the limit of `StartSession.Reason`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonText(String);

impl ReasonText {
    /// The longest reason that `StartSession` takes, in characters.
    pub const MAX_CHARS: usize = 256;

    /// A reason, unless it is empty, too long or holds control characters.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= Self::MAX_CHARS;
        (fits && !text.chars().any(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A terminal's size in characters and pixels (RFC 4254, section 6.2); zero pixels mean unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WindowSize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Width in pixels.
    pub x_pixels: u16,
    /// Height in pixels.
    pub y_pixels: u16,
}

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
