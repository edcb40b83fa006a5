//! What the log says. Codes are stable: a program may rely on them, and on the fields beside them.

use std::net::SocketAddr;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The longest text that one field keeps, in bytes; the rest is cut, and the event says so.
const MAX_TEXT: usize = 4096;

/// What happened. The text in the log is the code's name in `kebab-case` after a dot, as below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventCode {
    /// Somebody proved who they are.
    #[serde(rename = "login.accepted")]
    LoginAccepted,
    /// A connection ended without a proof.
    #[serde(rename = "login.refused")]
    LoginRefused,
    /// A channel, or what was asked of it, was refused.
    #[serde(rename = "channel.refused")]
    ChannelRefused,
    /// A decision allowed it, and a way to the node is being opened.
    #[serde(rename = "session.opened")]
    SessionOpened,
    /// A Session Manager session carries part of it.
    #[serde(rename = "session.lane")]
    SessionLane,
    /// Bytes so far.
    #[serde(rename = "session.progress")]
    SessionProgress,
    /// The node is about to be asked for a change of its files.
    #[serde(rename = "file.asked")]
    FileAsked,
    /// A file is open, and its transfer begins.
    #[serde(rename = "file.opened")]
    FileOpened,
    /// A transfer is over: how many bytes, and their hash.
    #[serde(rename = "file.closed")]
    FileClosed,
    /// Anything else that was done to a file, or refused.
    #[serde(rename = "file.operation")]
    FileOperation,
    /// The command ended.
    #[serde(rename = "session.exit")]
    SessionExit,
    /// It is over.
    #[serde(rename = "session.closed")]
    SessionClosed,
}

/// One line of the log.
#[derive(Debug, Serialize)]
pub struct Event {
    time: String,
    event: EventCode,
    /// The session, or for events outside one the connection.
    id: Uuid,
    #[serde(flatten)]
    facts: serde_json::Map<String, serde_json::Value>,
}

/// Where a session comes from: what the decision does not know.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The SSH connection.
    pub connection: Uuid,
    /// The client's address.
    pub source: SocketAddr,
    /// Whether a terminal was asked for.
    pub pty: bool,
}

/// A login or a channel that was refused.
#[derive(Clone, Debug)]
pub struct Refusal<'a> {
    /// The SSH connection.
    pub connection: Uuid,
    /// The client's address.
    pub source: SocketAddr,
    /// The SSH user name, as sent.
    pub login: &'a str,
    /// Who, where that was proved.
    pub person: Option<&'a str>,
    /// What was asked for: `Shell`, `forwarding`, a key's fingerprint.
    pub asked: &'a str,
    /// The sentence the person got.
    pub reason: &'a str,
}

impl Event {
    /// An event of now.
    pub fn new(code: EventCode, id: Uuid) -> Self {
        let time = OffsetDateTime::now_utc();
        let time = time.replace_nanosecond(time.nanosecond() / 1_000_000 * 1_000_000).unwrap_or(time);
        let time = time.format(&Rfc3339).unwrap_or_default();
        Self { time, event: code, id, facts: serde_json::Map::new() }
    }

    /// With a text; what is longer than a field may be is cut, and marked.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        let mut end = value.len().min(MAX_TEXT);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.facts.insert(name.to_owned(), value.get(..end).unwrap_or_default().into());
        if end < value.len() {
            self.facts.insert(format!("{name}_bytes"), value.len().into());
        }
        self
    }

    /// With a text, where there is one.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// With any other value.
    #[must_use]
    pub fn value(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// The refusal of a login or of a channel.
    pub fn refused(code: EventCode, refusal: &Refusal<'_>) -> Self {
        Self::new(code, refusal.connection)
            .text("source", &refusal.source.to_string())
            .text("login", refusal.login)
            .maybe("person", refusal.person)
            .text("asked", refusal.asked)
            .text("reason", refusal.reason)
    }

    /// What kind of event it is.
    pub fn code(&self) -> EventCode {
        self.event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_is_in_it() {
        let event = Event::new(EventCode::ChannelRefused, Uuid::nil())
            .text("login", "a\"b\\c\n\u{1b}]0;x\u{7}\u{2028}")
            .value("bytes", 3_u64);
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["event"], "channel.refused");
        assert_eq!(back["login"], "a\"b\\c\n\u{1b}]0;x\u{7}\u{2028}");
        assert_eq!(back["bytes"], 3);
    }

    #[test]
    fn long_text_is_cut_at_a_character_and_says_so() {
        let long = "é".repeat(MAX_TEXT);
        let event = Event::new(EventCode::SessionOpened, Uuid::nil()).text("command", &long);
        let kept = event.facts["command"].as_str().unwrap();
        assert!(kept.len() <= MAX_TEXT && kept.len() > MAX_TEXT - 2);
        assert_eq!(event.facts["command_bytes"], long.len());
    }
}
