//! What is asked of the index, and what it answers.

use serde::Serialize;
use time::OffsetDateTime;

use super::session::Session;

/// Which sessions; all that is said must be so. The newest come first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// By this person.
    pub person: Option<String>,
    /// On this node: its id, or its name as it was asked for or as AWS has it.
    pub node: Option<String>,
    /// Opened then or later.
    pub since: Option<OffsetDateTime>,
    /// Opened before then.
    pub until: Option<OffsetDateTime>,
    /// With this in a command; capitals or not, three characters at least, as in the next two.
    pub command: Option<String>,
    /// With this in what was shown or said.
    pub output: Option<String>,
    /// With this in a path of a file.
    pub path: Option<String>,
    /// With a file, or a part of one, of this SHA-256 in hex.
    pub sha256: Option<String>,
    /// Of this action: `Shell`, `Exec`, `Files`.
    pub action: Option<String>,
    /// That ended so: `finished`, `client-gone`, `failed`, `killed`, `interrupted`.
    pub outcome: Option<String>,
    /// Live ones, or sealed ones.
    pub live: Option<bool>,
    /// How many at most; [`MOST`] are given in any case at most. 0 is taken as that.
    pub limit: usize,
    /// Where to go on: [`Page::next`] of the page before.
    pub after: Option<Cursor>,
}

/// The most sessions of one page.
pub const MOST: usize = 1000;

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub(crate) i64);

impl Cursor {
    /// As a text that somebody keeps.
    pub fn to_text(self) -> String {
        self.0.to_string()
    }

    /// Of such a text.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|n| *n >= 0).map(Self)
    }
}

/// Some of the sessions that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// They, the newest first.
    pub found: Vec<Found>,
    /// Where to go on; none where there are no more.
    pub next: Option<Cursor>,
}

/// A session, and what of it was searched for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// It.
    pub session: Session,
    /// For each text that was searched for, the last place where it is.
    pub hits: Vec<Hit>,
}

/// A place in a session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// `command`, `output`, `file`.
    pub kind: &'static str,
    /// Seconds since the session was opened: from where it can be played.
    pub at: f64,
    /// The text around it, on one line. It is the node's or a person's own: show it with its control characters made visible.
    pub text: String,
}
