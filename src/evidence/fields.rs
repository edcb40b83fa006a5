//! An event's fields on their way to a line, and the line itself.
//!
//! ```text
//!  {"time":"…","v":1,"run":"…","seq":17,"event":"session.lane","id":"…","session_manager_id":"…"}
//!   └ when it happened  └ the writer's, given in the order of the file └ the event's own
//! ```

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::event::{Event, Total};

/// The version of the lines: another number means that a field has another meaning or is gone.
pub(super) const VERSION: u32 = 1;

/// The longest text that one field keeps, in bytes; the rest is cut, and the event says so.
const MAX_TEXT: usize = 4096;

/// The fields of one event.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

/// An event that waits to be numbered and written.
#[derive(Debug)]
pub(super) struct Line {
    /// The event's name.
    pub(super) name: &'static str,
    /// Whether it must leave room for others.
    pub(super) noise: bool,
    time: String,
    /// An object, from `event` on.
    body: String,
}

impl Line {
    /// An event of now.
    pub(super) fn new(id: Uuid, event: &Event<'_>) -> Self {
        let mut fields = Fields(Map::new());
        fields.text("event", event.name());
        fields.text("id", &id.to_string());
        event.write(&mut fields);
        Self {
            name: event.name(),
            noise: event.is_noise(),
            time: written(OffsetDateTime::now_utc()),
            body: Value::Object(fields.0).to_string(),
        }
    }

    /// The line's bytes, with its number.
    pub(super) fn numbered(&self, run: Uuid, number: u64) -> Vec<u8> {
        let rest = self.body.strip_prefix('{').unwrap_or(&self.body);
        let mut line = Vec::with_capacity(self.body.len() + 128);
        // writing to a vector can't fail
        let _ = writeln!(line, r#"{{"time":"{}","v":{VERSION},"run":"{run}","seq":{number},{rest}"#, self.time);
        line
    }
}

impl Fields {
    /// A text; what is longer than a field may be is cut, and its length is told.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        let mut end = value.len().min(MAX_TEXT);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.value(name, value.get(..end).unwrap_or_default());
        if end < value.len() {
            self.value(&format!("{name}_bytes"), value.len());
        }
    }

    /// A text, where there is one.
    pub(super) fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Bytes that are mostly text, where there are any; what isn't UTF-8 is there in base64, too.
    pub(super) fn bytes(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        self.text(name, &String::from_utf8_lossy(value));
        if std::str::from_utf8(value).is_err() {
            self.text(&format!("{name}_base64"), &STANDARD.encode(value));
        }
    }

    /// A SHA-256.
    pub(super) fn digest(&mut self, name: &str, sha256: &[u8; 32]) {
        self.value(name, hex::encode(sha256));
    }

    /// The SHA-256 of this.
    pub(super) fn digest_of(&mut self, name: &str, bytes: &[u8]) {
        self.digest(name, &Sha256::digest(bytes).into());
    }

    /// A stream's length and digest.
    pub(super) fn total(&mut self, name: &str, total: &Total) {
        self.value(name, json!({ "bytes": total.bytes, "sha256": hex::encode(total.sha256) }));
    }

    /// Any other value.
    pub(super) fn value(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
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
    use crate::evidence::event::{ChannelRefused, FileClosed, FileDigest, FileOutcome, Paths, SessionLane};
    use crate::model::RefusalCode;

    fn parsed(event: &Event<'_>) -> Value {
        let line = Line::new(Uuid::nil(), event).numbered(Uuid::nil(), 7);
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with("}\n") && line.trim_end().chars().all(|c| !c.is_control()), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    fn refused<'a>(login: &'a str, asked: &'a str) -> Event<'a> {
        let source = "192.0.2.1:5".parse().unwrap();
        Event::ChannelRefused(ChannelRefused {
            source,
            login,
            person: None,
            asked,
            code: RefusalCode::NoRule,
            reason: "no",
        })
    }

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
    fn a_line_is_json_whatever_is_in_it_and_begins_with_its_time() {
        let login = "a\"b\\c\n\u{1b}]0;x\u{7}\u{2028}";
        let back = parsed(&refused(login, "}"));
        let names: Vec<&String> = back.as_object().unwrap().keys().collect();
        assert_eq!(names[..6], ["time", "v", "run", "seq", "event", "id"]);
        assert_eq!((&back["v"], &back["seq"], &back["event"]), (&1.into(), &7.into(), &"channel.refused".into()));
        assert_eq!((&back["login"], &back["asked"]), (&login.into(), &"}".into()));
        assert!(back.get("person").is_none());
    }

    #[test]
    fn long_text_is_cut_at_a_character_and_says_so() {
        let long = "é".repeat(MAX_TEXT);
        let event = parsed(&Event::SessionLane(SessionLane { session_manager_id: &long }));
        let kept = event["session_manager_id"].as_str().unwrap();
        assert!(kept.len() <= MAX_TEXT && kept.len() > MAX_TEXT - 2);
        assert_eq!(event["session_manager_id_bytes"], long.len());
    }

    #[test]
    fn a_transfer_says_what_went_over_and_where() {
        let line = parsed(&Event::FileClosed(FileClosed {
            action: "Upload",
            paths: Paths { path: b"caf\xe9", real_path: Some(b"/home/ada/x"), ..Paths::default() },
            outcome: FileOutcome::Done,
            bytes: 5,
            digest: FileDigest::Part { offset: 7, sha256: [0xab; 32] },
        }));
        assert_eq!(line["event"], "file.closed");
        assert_eq!(line["action"], "Upload");
        assert_eq!(line["path"], "caf\u{fffd}");
        assert_eq!(line["path_base64"], "Y2Fm6Q==");
        assert_eq!(line["real_path"], "/home/ada/x");
        assert_eq!(line["bytes"], 5);
        assert_eq!(line["sha256_of_part"], "ab".repeat(32));
        assert_eq!(line["part_offset"], 7);
        assert!(line.get("sha256").is_none() && line.get("second_path").is_none());
    }
}
