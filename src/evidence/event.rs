//! What the log says. Codes are stable: a program may rely on them, and on the fields beside them.

use std::net::SocketAddr;

use serde::Serialize;
use time::OffsetDateTime;
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
        Self { time: written(OffsetDateTime::now_utc()), event: code, id, facts: serde_json::Map::new() }
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

/// RFC 3339 in UTC with three digits of a second, zeros as well: lines sort as text.
fn written(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    let (hour, minute, second, milli) = clock.as_hms_milli();
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_width_and_sort_as_text() {
        let at = |nanoseconds: i128| OffsetDateTime::from_unix_timestamp_nanos(1_600_000_000_000_000_000 + nanoseconds);
        let times = [0, 9_999_999, 10_000_000, 100_000_000, 120_000_000, 999_999_999, 1_000_000_000];
        let written = times.map(|nanoseconds| written(at(nanoseconds).unwrap()));
        assert_eq!(written[0], "2020-09-13T12:26:40.000Z");
        assert_eq!(written[1], "2020-09-13T12:26:40.009Z");
        assert!(written.is_sorted() && written.iter().all(|time| time.len() == 24), "{written:?}");
        for time in written {
            use time::format_description::well_known::Rfc3339;
            assert!(OffsetDateTime::parse(&time, &Rfc3339).is_ok(), "{time}");
        }
    }

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
