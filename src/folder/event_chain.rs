//! The chain of a session's events: what each line of `events.jsonl` says of the one before, as `docs/formats.md`
//! ("Fingerprints of events") has it.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::hash::{Hash, Running};
use crate::tree::Tree;

/// Gives lines their fingerprints, and keeps the tree over those that stand in the file.
///
/// A line is attested before it is written and counts once it is: [`EventChain::attest`] and [`EventChain::wrote`] go in the same
/// order, and lines that could not be written are taken back with [`EventChain::forget_unwritten`].
#[derive(Clone, Debug)]
pub struct EventChain {
    /// Up to the open end of the object: `,"attestation":{"authority_uid":"…","chain_uid":"…"`.
    opening: Box<str>,
    /// As if all that was attested were written.
    attested: End,
    written: End,
    tree: Tree,
    /// The latest time that was given out, milliseconds since 1970.
    time: i64,
}

/// Where a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    lines: u64,
    fingerprint: Option<Hash>,
}

/// What the next event says of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// `metadata.sequence`.
    pub sequence: u64,
    /// `time`, in milliseconds since 1970: now, or that of the event before where the clock went back.
    pub time: i64,
}

/// A line that can't be attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is one JSON object on one line")]
pub struct NoEvent;

impl EventChain {
    /// One without events, for a session and the key that signs its heads.
    pub fn new(key_name: &str, session: Uuid) -> Self {
        let end = End { lines: 0, fingerprint: None };
        Self {
            opening: opening(key_name, session).into(),
            attested: end,
            written: end,
            tree: Tree::new(),
            time: i64::MIN,
        }
    }

    /// The place of the event that is attested next. Times never go back in a chain, whatever the clock does.
    pub fn next(&mut self, now: OffsetDateTime) -> Place {
        let now = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        self.time = self.time.max(now);
        Place { sequence: self.attested.lines + 1, time: self.time }
    }

    /// Ends an event, one JSON object without a newline, with its `attestation`.
    ///
    /// # Errors
    /// [`NoEvent`] where it is no object or has a newline; the line is as it was then, and the chain too.
    pub fn attest(&mut self, line: &mut Vec<u8>) -> Result<(), NoEvent> {
        let is_object = line.first() == Some(&b'{') && line.last() == Some(&b'}') && line.len() > 2;
        if !is_object || line.contains(&b'\n') {
            return Err(NoEvent);
        }
        line.pop();
        line.extend_from_slice(self.opening.as_bytes());
        if let Some(before) = self.attested.fingerprint {
            line.extend_from_slice(PREVIOUS.as_bytes());
            push_hex(line, &before);
            line.extend_from_slice(PREVIOUS_END.as_bytes());
        }
        let fingerprint = fingerprint(line);
        line.extend_from_slice(FINGERPRINT.as_bytes());
        push_hex(line, &fingerprint);
        line.extend_from_slice(ENDING.as_bytes());
        self.attested = End { lines: self.attested.lines + 1, fingerprint: Some(fingerprint) };
        Ok(())
    }

    /// A line stands in the file: as [`EventChain::attest`] made it, with or without its newline.
    pub fn wrote(&mut self, line: &[u8]) {
        self.wrote_encrypted(line, line);
    }

    /// The same of a line that is encrypted: the tree is over what stands in the file, and fingerprints are of what it says.
    pub fn wrote_encrypted(&mut self, plain: &[u8], line: &[u8]) {
        self.tree.push(line.strip_suffix(b"\n").unwrap_or(line));
        let fingerprint = fingerprint_in(plain.strip_suffix(b"\n").unwrap_or(plain));
        self.written = End { lines: self.written.lines + 1, fingerprint };
        // a chain that is rebuilt from its file attests nothing
        if self.attested.lines < self.written.lines {
            self.attested = self.written;
        }
    }

    /// Nothing that was attested after the last line that stands will be written: the next line follows that one.
    pub fn forget_unwritten(&mut self) {
        self.attested = self.written;
    }

    /// How many lines stand in the file.
    pub fn lines(&self) -> u64 {
        self.written.lines
    }

    /// The root of the tree over them.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// What it holds besides itself.
    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.opening.len() + self.tree.heap_bytes()
    }

    /// The latest time that was given out.
    pub(crate) fn time(&self) -> OffsetDateTime {
        let nanos = i128::from(self.time) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The session goes on after this time, so that no event of a chain that is rebuilt is earlier.
    pub(crate) fn not_before(&mut self, time: i64) {
        self.time = self.time.max(time);
    }
}

/// Where a line has its fingerprint, if it ends as an attested one does: the hash, and how much of the line stands before.
pub(crate) fn split_fingerprint(line: &[u8]) -> Option<(&[u8], Hash)> {
    let rest = line.strip_suffix(ENDING.as_bytes())?;
    let (rest, hex) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
    let hash = Hash::from_hex(std::str::from_utf8(hex).ok()?)?;
    Some((rest.strip_suffix(FINGERPRINT.as_bytes())?, hash))
}

/// How the attestation of a line begins, up to its open end.
pub(crate) fn opening(key_name: &str, session: Uuid) -> String {
    let name = serde_json::Value::from(key_name);
    format!(r#","attestation":{{"authority_uid":{name},"chain_uid":"{}""#, session.hyphenated())
}

/// Where what stands before a fingerprint names the event before, if it does.
pub(crate) fn split_prev_event(before: &[u8]) -> (&[u8], Option<Hash>) {
    let split = || {
        let rest = before.strip_suffix(PREVIOUS_END.as_bytes())?;
        let (rest, hex) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        let hash = Hash::from_hex(std::str::from_utf8(hex).ok()?)?;
        Some((rest.strip_suffix(PREVIOUS.as_bytes())?, Some(hash)))
    };
    split().unwrap_or((before, None))
}

fn fingerprint_in(line: &[u8]) -> Option<Hash> {
    split_fingerprint(line).map(|(_, hash)| hash)
}

/// The fingerprint of a line that stands up to `before`, and ends without it.
pub(crate) fn fingerprint(before: &[u8]) -> Hash {
    let mut running = Running::new();
    running.update(before);
    running.update(b"}}");
    running.finish()
}

fn push_hex(line: &mut Vec<u8>, hash: &Hash) {
    let mut digits = [0; 64];
    // 64 digits are just what 32 bytes take
    if hex::encode_to_slice(hash.as_bytes(), &mut digits).is_ok() {
        line.extend_from_slice(&digits);
    }
}

// algorithm 3 of OCSF's object `fingerprint` is SHA-256
const PREVIOUS: &str = r#","prev_event":{"fingerprint":{"algorithm_id":3,"value":""#;
const PREVIOUS_END: &str = r#""}}"#;
const FINGERPRINT: &str = r#","fingerprint":{"algorithm_id":3,"value":""#;
const ENDING: &str = r#""}}}"#;

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    fn chain() -> EventChain {
        EventChain::new("portcullis/gate-1", Uuid::from_u128(7))
    }

    fn attested(chain: &mut EventChain, text: &str) -> String {
        let mut line = text.as_bytes().to_vec();
        chain.attest(&mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_ends_with_its_fingerprint_and_names_that_of_the_one_before() {
        let mut chain = chain();
        let first = attested(&mut chain, r#"{"a":1}"#);
        let session = "00000000-0000-0000-0000-000000000007";
        let start = format!(r#"{{"a":1,"attestation":{{"authority_uid":"portcullis/gate-1","chain_uid":"{session}""#);
        let own = Hash::of(format!("{start}}}}}").as_bytes()).hex();
        assert_eq!(first, format!(r#"{start},"fingerprint":{{"algorithm_id":3,"value":"{own}"}}}}}}"#));
        let second = attested(&mut chain, r#"{"b":{}}"#);
        let value: Value = serde_json::from_str(&second).unwrap();
        assert_eq!(value["attestation"]["prev_event"]["fingerprint"]["value"], own);
        let (before, hash) = split_fingerprint(second.as_bytes()).unwrap();
        assert_eq!(fingerprint(before), hash);
        assert_eq!(value["attestation"]["fingerprint"]["value"], hash.hex());
    }

    #[test]
    fn only_lines_that_stand_are_in_the_tree_and_others_are_taken_back() {
        let mut chain = chain();
        let first = attested(&mut chain, r#"{"a":1}"#);
        assert_eq!((chain.lines(), chain.root()), (0, Hash::of(b"")));
        let lost = attested(&mut chain, r#"{"lost":1}"#);
        chain.wrote(format!("{first}\n").as_bytes());
        assert_eq!((chain.lines(), chain.root()), (1, crate::tree::leaf(first.as_bytes())));
        assert_eq!(chain.next(datetime!(2026-11-30 0:00 UTC)).sequence, 3);
        chain.forget_unwritten();
        assert_eq!(chain.next(datetime!(2026-11-30 0:00 UTC)).sequence, 2);
        let second = attested(&mut chain, r#"{"b":1}"#);
        let before = split_fingerprint(first.as_bytes()).unwrap().1.hex();
        assert!(second.contains(&before) && !second.contains(&split_fingerprint(lost.as_bytes()).unwrap().1.hex()));
        // one that is rebuilt from the lines goes on in the same way
        let mut rebuilt = super::tests::chain();
        rebuilt.wrote(first.as_bytes());
        assert_eq!(attested(&mut rebuilt, r#"{"b":1}"#), second);
    }

    #[test]
    fn times_never_go_back_and_sequences_count() {
        let mut chain = chain();
        let at = datetime!(2026-11-30 07:12:33.123456 UTC);
        assert_eq!(chain.next(at), Place { sequence: 1, time: 1_796_022_753_123 });
        assert_eq!(chain.next(at - time::Duration::HOUR).time, 1_796_022_753_123);
        assert_eq!(chain.next(at + time::Duration::HOUR).time, 1_796_026_353_123);
    }

    #[test]
    fn what_is_no_object_on_one_line_is_left_as_it_is() {
        let mut chain = chain();
        for text in ["", "{}", "[1]", "{\"a\":1}\n", "{\"a\":\n1}", "{\"a\":1"] {
            let mut line = text.as_bytes().to_vec();
            assert_eq!(chain.attest(&mut line), Err(NoEvent), "{text:?}");
            assert_eq!(line, text.as_bytes());
        }
        assert!(attested(&mut chain, r#"{"a":1}"#).find("prev_event").is_none());
    }
}
