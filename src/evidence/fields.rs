//! An event's fields on their way to a line, and the line itself.
//!
//! ```text
//!  {"time":"…","v":1,"run":"…","seq":17,"event":"session.lane","id":"…","session_manager_id":"…"}
//!   └ when it happened  └ the writer's, given in the order of the file └ the event's own
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_folder::timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::encryption::withhold;
use super::event::{ByHop, Event, Total};
use super::log_file::Bytes;
use crate::identity::{CertificateFacts, SecondFactorFacts, SignInFacts};

/// The version of the lines: another number means that a field has another meaning or is gone.
pub(super) const VERSION: u32 = 1;

/// The longest text that one field keeps, in bytes; the rest is cut, and the event says so.
const MAX_TEXT: usize = 4096;

/// Linux's `PATH_MAX`: what is longer names no file. Of such a one only a beginning is kept, and the hash of all of it.
const MAX_PATH: usize = 4096;

/// How much of it: enough to see what was meant.
const PATH_BEGINNING: usize = 256;

/// The longest text of an event that anybody can cause: longer than a login that names a node, a user and a reason.
const MAX_NOISE: usize = 1024;

/// What the writer puts in front of a line, about.
const BEGINNING: usize = 200;

/// The fields of one event.
#[derive(Debug)]
pub(super) struct Fields {
    map: Map<String, Value>,
    longest: usize,
}

/// After these the journal's next head is kept outside this host: where sessions begin and end, and each minute.
const ANCHORED: [&str; 4] = ["session.opened", "session.sealed", "session.deleted", "sessions.heads"];

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
        Self::of(id, event, false)
    }

    /// The same; where evidence is encrypted without what the journal has not then.
    pub(super) fn of(id: Uuid, event: &Event<'_>, encrypted: bool) -> Self {
        let mut fields = if event.is_noise() { Fields::up_to(MAX_NOISE) } else { Fields::new() };
        fields.text("event", event.name());
        fields.text("id", &id.to_string());
        event.write(&mut fields);
        if encrypted {
            fields.map = withhold(event, std::mem::take(&mut fields.map));
        }
        Self {
            name: event.name(),
            noise: event.is_noise(),
            time: timestamp(OffsetDateTime::now_utc()),
            body: fields.into_json().to_string(),
        }
    }

    /// How much of the log it takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.body.len() + BEGINNING) as u64
    }

    /// The line's bytes, with its number.
    pub(super) fn numbered(&self, run: Uuid, number: u64) -> Bytes {
        let rest = self.body.strip_prefix('{').unwrap_or(&self.body);
        let mut line = Vec::with_capacity(self.body.len() + BEGINNING);
        // writing to a vector can't fail
        let _ = write!(line, r#"{{"time":"{}","v":{VERSION},"run":"{run}","seq":{number},"#, self.time);
        let link = line.len();
        let _ = writeln!(line, "{rest}");
        Bytes { line, link, noise: self.noise, anchored: ANCHORED.contains(&self.name) }
    }
}

impl Fields {
    pub(super) fn new() -> Self {
        Self::up_to(MAX_TEXT)
    }

    /// Whose texts are cut at so many bytes.
    pub(super) fn up_to(longest: usize) -> Self {
        Self { map: Map::new(), longest }
    }

    pub(super) fn into_json(self) -> Value {
        Value::Object(self.map)
    }

    /// A text; what is longer than a field may be is cut, and its length is told.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        let end = value.floor_char_boundary(self.longest);
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

    /// A path, where there is one; what isn't UTF-8 is there in base64, too. What is too long to be a path is cut, with its
    /// length and hash beside it.
    pub(super) fn path(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        let kept = match value.get(..PATH_BEGINNING) {
            Some(beginning) if value.len() > MAX_PATH => beginning,
            _ => value,
        };
        self.value(name, String::from_utf8_lossy(kept));
        if std::str::from_utf8(kept).is_err() {
            self.value(&format!("{name}_base64"), STANDARD.encode(kept));
        }
        if kept.len() < value.len() {
            self.value(&format!("{name}_bytes"), value.len());
            self.digest_of(&format!("{name}_sha256"), value);
        }
    }

    /// How somebody has proved who they are.
    pub(super) fn proof(
        &mut self,
        proof: &str,
        second: Option<SecondFactorFacts>,
        certificate: Option<&CertificateFacts>,
        user_verified: bool,
    ) {
        self.text("proof", proof);
        self.second_factor(second);
        self.certificate(certificate);
        if user_verified {
            self.value("user_verified", true);
        }
    }

    /// The hop that a connection came by, where it came by one.
    pub(super) fn hop(&mut self, hop: Option<ByHop>) {
        if let Some(ByHop { connection, session }) = hop {
            self.text("hop_connection", &connection.to_string());
            self.text("hop_session", &session.to_string());
        }
    }

    /// What is told of a second factor, where somebody has logged in with one.
    pub(super) fn second_factor(&mut self, second: Option<SecondFactorFacts>) {
        let Some(SecondFactorFacts { kind, at }) = second else { return };
        let mut fields = Self::up_to(self.longest);
        fields.text("kind", kind);
        fields.text("at", &timestamp(at.into()));
        self.value("second_factor", fields.into_json());
    }

    /// What is told of a certificate, where somebody has logged in by one.
    pub(super) fn certificate(&mut self, certificate: Option<&CertificateFacts>) {
        let Some(facts) = certificate else { return };
        let mut fields = Self::up_to(self.longest);
        fields.text("key_id", &facts.key_id);
        // a number of 64 bits is more than most readers of JSON keep
        fields.text("serial", &facts.serial.to_string());
        fields.maybe("authority", facts.authority.as_deref());
        fields.text("authority_key", &facts.authority_key);
        fields.maybe("principal", facts.principal.as_deref());
        // what is so far away that it has no date never comes
        let end = facts.valid_before.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let end = end.and_then(|since| OffsetDateTime::from_unix_timestamp(i64::try_from(since.as_secs()).ok()?).ok());
        fields.maybe("valid_before", end.map(timestamp).as_deref());
        self.value("certificate", fields.into_json());
    }

    /// What is told of a sign-in at a provider, where somebody has logged in by one.
    pub(super) fn sign_in(&mut self, sign_in: Option<&SignInFacts>) {
        let Some(SignInFacts { issuer, subject, at, acr, amr }) = sign_in else { return };
        let mut fields = Self::up_to(self.longest);
        fields.text("issuer", issuer);
        fields.text("subject", subject);
        fields.text("at", &timestamp((*at).into()));
        fields.maybe("acr", acr.as_deref());
        fields.names("amr", amr);
        self.value("oidc", fields.into_json());
    }

    /// Names, where there are any.
    pub(super) fn names(&mut self, name: &str, names: &[String]) {
        if !names.is_empty() {
            let cut = |name: &String| name.get(..name.floor_char_boundary(self.longest)).map(str::to_owned);
            self.value(name, names.iter().filter_map(cut).collect::<Vec<_>>());
        }
    }

    /// Names with a text each; not at all where they are more than a field may be, and then their length is told.
    pub(super) fn map(&mut self, name: &str, pairs: &BTreeMap<String, String>) {
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        match bytes <= self.longest {
            true => {
                let pairs = pairs.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
                self.value(name, pairs.collect::<Map<_, _>>());
            }
            false => self.value(&format!("{name}_bytes"), bytes),
        }
    }

    /// Several of the same kind.
    pub(super) fn list(&mut self, name: &str, items: impl Iterator<Item = Self>) {
        self.value(name, items.map(Self::into_json).collect::<Vec<_>>());
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
        self.map.insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::ChannelRefused;
    use crate::evidence::event::SessionLane;
    use crate::evidence::file_event::{FileClosed, FileDigest, FileOperation, FileOutcome, Paths};
    use crate::model::{CallIds, RefusalCode};

    fn parsed(event: &Event<'_>) -> Value {
        let line = Line::new(Uuid::nil(), event).numbered(Uuid::nil(), 7).line;
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
            policy: None,
            decided: None,
        })
    }

    #[test]
    fn times_have_one_width_and_sort_as_text() {
        let at = |nanoseconds: i128| OffsetDateTime::from_unix_timestamp_nanos(1_600_000_000_000_000_000 + nanoseconds);
        let times = [0, 9_999_999, 10_000_000, 100_000_000, 120_000_000, 999_999_999, 1_000_000_000];
        let written = times.map(|nanoseconds| timestamp(at(nanoseconds).unwrap()));
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
        let event = parsed(&Event::SessionLane(SessionLane { session_manager_id: &long, calls: &CallIds::default() }));
        let kept = event["session_manager_id"].as_str().unwrap();
        assert!(kept.len() <= MAX_TEXT && kept.len() > MAX_TEXT - 2);
        assert_eq!(event["session_manager_id_bytes"], long.len());
    }

    #[test]
    fn what_anybody_can_cause_is_cut_shorter() {
        let event = parsed(&refused(&"x".repeat(100_000), "asked"));
        assert_eq!(event["login"].as_str().map(str::len), Some(MAX_NOISE));
        assert_eq!(event["login_bytes"], 100_000);
    }

    #[test]
    fn a_path_is_whole_or_too_long_to_be_one() {
        let stat = |path: &[u8]| {
            let paths = Paths { path, ..Paths::default() };
            let outcome = FileOutcome::Failed { errno: Some(36), why: "File name too long" };
            let event = Event::FileOperation(FileOperation { action: "Stat", paths, outcome });
            (parsed(&event), Line::new(Uuid::nil(), &event).bytes())
        };
        let (longest, _) = stat(&[b'x'; MAX_PATH]);
        assert_eq!(longest["path"].as_str().map(str::len), Some(MAX_PATH));
        assert!(longest.get("path_bytes").is_none());
        for byte in [b'x', 0xff] {
            let (cut, bytes) = stat(&[byte; 200_000]);
            assert!(cut["path"].as_str().unwrap().chars().count() == PATH_BEGINNING && bytes < 2048, "{bytes}");
            assert_eq!(cut["path_bytes"], 200_000);
            assert_eq!(cut["path_sha256"], hex::encode(Sha256::digest(vec![byte; 200_000])));
        }
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
