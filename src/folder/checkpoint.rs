//! C2SP checkpoints, <https://c2sp.org/tlog-checkpoint>, with the extension lines that `docs/formats.md` ("Checkpoints") has.

use std::str::FromStr as _;

use time::{Month, OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::hash::Hash;
use crate::layout::File;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose head it is: [`session_origin`] or [`journal_origin`].
    pub origin: String,
    /// How many lines its tree has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// When, to the millisecond, in UTC.
    pub time: OffsetDateTime,
    /// The hash of the checkpoint before, [`crate::Note::hash`]; of a head that is not signed yet none.
    pub previous: Option<Hash>,
    /// What stands in the files; in the order of [`File::ALL`], each once.
    pub files: Vec<FileHead>,
    /// Whether it is the last one.
    pub last: bool,
}

/// So many bytes of a file have this hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// Which file; never [`File::Checkpoints`].
    pub file: File,
    /// How many bytes; never 0.
    pub bytes: u64,
    /// Their hash.
    pub hash: Hash,
}

/// A checkpoint that is about to be signed: all of it but which one it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head(Checkpoint);

/// Why a note's text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the checkpoint is not {expected}")]
pub struct CheckpointError {
    /// The line, from 1.
    pub line: usize,
    /// What should stand there.
    pub expected: &'static str,
}

impl Checkpoint {
    /// The text of its note, the last newline included.
    pub fn text(&self) -> String {
        let Self { origin, size, root, time, previous, files, last } = self;
        let previous = previous.map_or_else(|| NONE.to_owned(), |hash| hash.base64());
        let mut text = format!("{origin}\n{size}\n{}\ntime {}\nprevious {previous}\n", root.base64(), timestamp(*time));
        for FileHead { file, bytes, hash } in files {
            text.push_str(&format!("file {} {bytes} {}\n", file.name(), hash.base64()));
        }
        if *last {
            text.push_str("final\n");
        }
        text
    }

    /// Reads the text of a note. Only the very form that [`Checkpoint::text`] writes is one: a head can't be said in two ways.
    ///
    /// # Errors
    /// Which line is not as it should be.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = Lines { lines: text.split_terminator('\n'), line: 0 };
        let origin = lines.next("an origin", |line| (!line.is_empty()).then(|| line.to_owned()))?;
        let size = lines.next("a number of lines", number)?;
        let root = lines.next("the root of a tree", Hash::from_base64)?;
        let time = lines.next("a time", |line| parse_timestamp(line.strip_prefix("time ")?))?;
        let previous =
            lines.next("the hash of the checkpoint before", |line| match line.strip_prefix("previous ")? {
                NONE => Some(None),
                hash => Hash::from_base64(hash).map(Some),
            })?;
        let mut checkpoint = Self { origin, size, root, time, previous, files: Vec::new(), last: false };
        let expected = "the head of a file, or the end";
        while let Some(line) = lines.rest() {
            let before = checkpoint.files.last().map(|head| head.file);
            let file = FileHead::parse(line).filter(|head| before.is_none_or(|before| before < head.file));
            match file {
                _ if checkpoint.last => return Err(lines.not(expected)),
                Some(file) => checkpoint.files.push(file),
                None if line == "final" => checkpoint.last = true,
                None => return Err(lines.not(expected)),
            }
        }
        if checkpoint.text() == text { Ok(checkpoint) } else { Err(lines.not("the end")) }
    }

    /// What it says of a file.
    pub fn file(&self, file: File) -> Option<&FileHead> {
        self.files.iter().find(|head| head.file == file)
    }
}

impl FileHead {
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("file ")?.split_once(' ')?;
        let (bytes, hash) = rest.split_once(' ')?;
        let file = File::of_name(name).filter(|file| *file != File::Checkpoints)?;
        let bytes = number(bytes).filter(|bytes| *bytes > 0)?;
        Some(Self { file, bytes, hash: Hash::from_base64(hash)? })
    }
}

impl Head {
    pub(crate) fn new(checkpoint: Checkpoint) -> Self {
        Self(checkpoint)
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0
    }

    pub(crate) fn into_checkpoint(self) -> Checkpoint {
        self.0
    }
}

/// The origin of a session's checkpoints.
pub fn session_origin(key_name: &str, session: Uuid) -> String {
    format!("{key_name}/session/{}", session.hyphenated())
}

/// The origin of the checkpoints of one run of a gateway's journal.
pub fn journal_origin(key_name: &str, run: Uuid) -> String {
    format!("{key_name}/journal/{}", run.hyphenated())
}

/// The number at the end of an origin, where the rest is this key's and this kind's (`session`, `journal`).
pub(crate) fn of_origin(origin: &str, key_name: &str, kind: &str) -> Option<Uuid> {
    let text = origin.strip_prefix(key_name)?.strip_prefix('/')?.strip_prefix(kind)?.strip_prefix('/')?;
    // one form only
    Uuid::from_str(text).ok().filter(|uuid| uuid.hyphenated().to_string() == text)
}

/// `2026-11-30T07:12:33.123Z`.
pub fn timestamp(time: OffsetDateTime) -> String {
    let utc = time.to_offset(UtcOffset::UTC);
    let (year, month, day) = utc.to_calendar_date();
    let (hour, minute, second, milli) = utc.to_hms_milli();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", u8::from(month))
}

/// The time of which `text` is the [`timestamp`].
pub(crate) fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
    let byte = |at: usize| u8::try_from(digits(at, at + 2)?).ok();
    let month = Month::try_from(byte(5)?).ok()?;
    let date = time::Date::from_calendar_date(digits(0, 4)?.into(), month, byte(8)?).ok()?;
    let clock = time::Time::from_hms_milli(byte(11)?, byte(14)?, byte(17)?, digits(20, 23)?).ok()?;
    let time = date.with_time(clock).assume_utc();
    (timestamp(time) == text).then_some(time)
}

/// Without the digits that a text has no room for.
pub(crate) fn whole_millis(time: OffsetDateTime) -> OffsetDateTime {
    let utc = time.to_offset(UtcOffset::UTC);
    utc.replace_nanosecond(u32::from(utc.millisecond()) * 1_000_000).unwrap_or(utc)
}

/// Decimal, without zeros before it.
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

struct Lines<'a> {
    lines: std::str::SplitTerminator<'a, char>,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next<T>(&mut self, expected: &'static str, read: impl Fn(&'a str) -> Option<T>) -> Result<T, CheckpointError> {
        let found = self.rest().and_then(read);
        found.ok_or(CheckpointError { line: self.line.max(1), expected })
    }

    fn rest(&mut self) -> Option<&'a str> {
        self.line += 1;
        self.lines.next()
    }

    fn not(&self, expected: &'static str) -> CheckpointError {
        CheckpointError { line: self.line, expected }
    }
}

const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn example() -> Checkpoint {
        let file = |file, bytes| FileHead { file, bytes, hash: Hash::of(b"bytes") };
        Checkpoint {
            origin: session_origin("portcullis/gate-1", Uuid::from_u128(7)),
            size: 17,
            root: Hash::of(b"root"),
            time: datetime!(2026-11-30 07:12:33.123 UTC),
            previous: Some(Hash::of(b"previous")),
            files: vec![file(File::Events, 9312), file(File::Terminal, 18230)],
            last: false,
        }
    }

    #[test]
    fn a_checkpoint_reads_as_the_page_has_it() {
        let text = example().text();
        let expected = "portcullis/gate-1/session/00000000-0000-0000-0000-000000000007\n17\n\
            SBNJTRN+FjGhz5XgHjJQrQNYl8Yb2lkNOZlKqhUcKzE=\ntime 2026-11-30T07:12:33.123Z\nprevious ";
        let lines =
            |text: &str| text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(lines(&text)[..2], lines(expected)[..2]);
        assert_eq!(lines(&text)[3..], ["time", "previous", "file", "file"]);
        assert_eq!(Checkpoint::parse(&text).unwrap(), example());
        let first = Checkpoint { previous: None, files: Vec::new(), last: true, ..example() };
        assert!(first.text().ends_with("Z\nprevious none\nfinal\n"));
        assert_eq!(Checkpoint::parse(&first.text()).unwrap(), first);
    }

    #[test]
    fn what_is_not_in_that_very_form_is_refused_by_its_line() {
        let text = example().text();
        let changed = |from: &str, to: &str| {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            Checkpoint::parse(&changed).unwrap_err().line
        };
        assert_eq!(Checkpoint::parse("").unwrap_err().line, 1);
        assert_eq!(changed("\n17\n", "\n017\n"), 2);
        assert_eq!(changed("\n17\n", "\n+17\n"), 2);
        assert_eq!(changed("=\ntime", "\ntime"), 3);
        assert_eq!(changed("123Z", "123"), 4);
        assert_eq!(changed("T07:", "t07:"), 4);
        assert_eq!(changed("-30T", "-31T"), 4);
        assert_eq!(changed("previous ", "previous  "), 5);
        assert_eq!(changed("file events.jsonl 9312", "file events.jsonl 0"), 6);
        assert_eq!(changed("file events.jsonl", "file ../events.jsonl"), 6);
        assert_eq!(changed("file events.jsonl", "file checkpoints"), 6);
        // in their order, each once
        assert_eq!(changed("file events.jsonl", "file torn.jsonl"), 7);
        assert_eq!(changed("file events.jsonl", "file terminal.cast"), 7);
        for more in ["final\nfinal\n", "final\nfile manifest.json 1 AAAA\n", "\n", "note\n", "final"] {
            assert!(Checkpoint::parse(&format!("{text}{more}")).is_err(), "{more:?}");
        }
        assert!(Checkpoint::parse(text.trim_end()).is_err());
    }

    #[test]
    fn an_origin_tells_whose_head_it_is() {
        let session = Uuid::from_u128(7);
        let origin = session_origin("portcullis/gate-1", session);
        assert_eq!(of_origin(&origin, "portcullis/gate-1", "session"), Some(session));
        assert_eq!(of_origin(&origin, "portcullis/gate-1", "journal"), None);
        assert_eq!(of_origin(&origin, "portcullis/gate-2", "session"), None);
        assert_eq!(of_origin(&origin, "portcullis", "session"), None);
        assert_eq!(
            of_origin("portcullis/gate-1/session/00000000000000000000000000000007", "portcullis/gate-1", "session"),
            None
        );
    }

    proptest! {
        #[test]
        fn what_parses_is_its_own_text(text in "[a-z]{1,4}\n[0-9]{1,3}\n[A-Za-z0-9+/]{43}=\ntime 20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}Z\nprevious none\n(final\n)?", noise in ".{0,99}") {
            for text in [text, noise] {
                if let Ok(checkpoint) = Checkpoint::parse(&text) {
                    prop_assert_eq!(checkpoint.text(), text);
                }
            }
        }

        #[test]
        fn every_moment_is_read_as_it_is_written(millis in 0_i64..253_402_300_799_999) {
            let time = whole_millis(OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000 + 77).unwrap());
            prop_assert_eq!(parse_timestamp(&timestamp(time)), Some(time));
        }
    }
}
