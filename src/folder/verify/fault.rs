//! What can be wrong with evidence, and where.

use serde::Serialize;

/// The kinds of faults. Their codes are stable: tools may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// Bytes are others than those that were signed.
    Edited,
    /// Records are there, in another order.
    Reordered,
    /// A record is there twice.
    Repeated,
    /// A record belongs to another chain: another session, or another gateway.
    Spliced,
    /// Something is missing between what is there.
    Deleted,
    /// The end of what was signed is missing.
    Truncated,
    /// A time is earlier than the one before.
    ClockRollback,
    /// Bytes after the last signed head: nobody has vouched for them.
    UnsignedTail,
    /// Signed by a key that was not given.
    UnknownKey,
    /// Not signed by the key that it names.
    WrongSignature,
    /// Not in the form that it must have.
    Malformed,
    /// What was signed contradicts itself: the gateway did not do as it should, or its key was misused.
    Contradiction,
    /// A file that was signed is not there.
    MissingFile,
    /// A file that is none of a session's.
    UnknownFile,
    /// A link, or something else that is no regular file.
    NotAFile,
    /// A file can't be read.
    Unreadable,
    /// There is no last head: the session still goes on, its gateway was killed, or its end was taken away.
    Unsealed,
    /// The journal is another, or shorter, than one that was seen elsewhere.
    RolledBack,
    /// The journal has a session whose folder is not there.
    MissingSession,
    /// A folder's heads are others than the journal has of it.
    OtherHead,
    /// A folder of which the journal has nothing.
    UnknownSession,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What kind it is of.
    pub code: Code,
    /// The file, by its name in the folder; none of what concerns all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The lines, from 1, the first and the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<(u64, u64)>,
    /// The bytes: where they begin, and where what follows them begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
    /// A sentence, without control characters whatever was read.
    pub what: String,
}

/// What was found; the first of them, and how many more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    kept: Vec<Fault>,
    more: u64,
    /// Whether all are such as a session that goes on has.
    only_open: bool,
    any: bool,
}

impl Code {
    /// The code, as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Reordered => "reordered",
            Self::Repeated => "repeated",
            Self::Spliced => "spliced",
            Self::Deleted => "deleted",
            Self::Truncated => "truncated",
            Self::ClockRollback => "clock-rollback",
            Self::UnsignedTail => "unsigned-tail",
            Self::UnknownKey => "unknown-key",
            Self::WrongSignature => "wrong-signature",
            Self::Malformed => "malformed",
            Self::Contradiction => "contradiction",
            Self::MissingFile => "missing-file",
            Self::UnknownFile => "unknown-file",
            Self::NotAFile => "not-a-file",
            Self::Unreadable => "unreadable",
            Self::Unsealed => "unsealed",
            Self::RolledBack => "rolled-back",
            Self::MissingSession => "missing-session",
            Self::OtherHead => "other-head",
            Self::UnknownSession => "unknown-session",
        }
    }

    /// What a session that goes on, or whose gateway was killed, has without anybody's doing.
    fn is_of_open(self) -> bool {
        matches!(self, Self::UnsignedTail | Self::Unsealed)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fault {
    /// A fault of a whole folder or journal.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, file: None, lines: None, bytes: None, what: what.into() }
    }

    /// In this file.
    pub(crate) fn file(mut self, name: impl Into<String>) -> Self {
        self.file = Some(name.into());
        self
    }

    /// On this line.
    pub(crate) fn line(self, line: u64) -> Self {
        self.lines(line, line)
    }

    /// On these lines.
    pub(crate) fn lines(mut self, first: u64, last: u64) -> Self {
        self.lines = Some((first, last.max(first)));
        self
    }

    /// In these bytes.
    pub(crate) fn bytes(mut self, from: u64, to: u64) -> Self {
        self.bytes = Some((from, to));
        self
    }
}

/// `edited: terminal.cast, lines 12 to 14, bytes 300 to 411: …`
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut place: Vec<String> = self.file.iter().cloned().collect();
        place.extend(self.lines.map(|(first, last)| match first == last {
            true => format!("line {first}"),
            false => format!("lines {first} to {last}"),
        }));
        place.extend(self.bytes.map(|(from, to)| match to.saturating_sub(from) {
            0 => format!("at byte {from}"),
            1 => format!("byte {from}"),
            _ => format!("bytes {from} to {}", to - 1),
        }));
        if place.is_empty() {
            write!(f, "{}: {}", self.code, self.what)
        } else {
            write!(f, "{}: {}: {}", self.code, place.join(", "), self.what)
        }
    }
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.only_open = fault.code.is_of_open() && (self.only_open || !self.any);
        self.any = true;
        if self.kept.len() < MAX_FAULTS {
            self.kept.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for fault in other.kept {
            self.add(fault);
        }
        self.more += other.more;
        self.only_open &= other.only_open || other.more == 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    pub(crate) fn is_only_open(&self) -> bool {
        self.only_open
    }

    /// Those that are kept, and how many more there were.
    pub(crate) fn into_parts(self) -> (Vec<Fault>, u64) {
        (self.kept, self.more)
    }
}

/// A text that was read, as it may be shown: cut, in quotes, and without anything that a terminal would obey.
pub(crate) fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// A name that was read: as it is where it is an ordinary one.
pub(crate) fn shown_name(name: &str) -> String {
    let ordinary = name.len() <= SHOWN && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if ordinary { name.to_owned() } else { shown(name) }
}

/// So many faults are told one by one.
const MAX_FAULTS: usize = 100;

/// So much is shown of a text.
const SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_and_where_in_a_line() {
        let fault = Fault::new(Code::Edited, "it was changed").file("events.jsonl").line(3);
        assert_eq!(fault.to_string(), "edited: events.jsonl, line 3: it was changed");
        let fault = Fault::new(Code::Edited, "it was changed").file("terminal.cast").lines(3, 5).bytes(100, 200);
        assert_eq!(fault.to_string(), "edited: terminal.cast, lines 3 to 5, bytes 100 to 199: it was changed");
        assert_eq!(Fault::new(Code::Unsealed, "no end").to_string(), "unsealed: no end");
        let json = serde_json::to_string(&Fault::new(Code::ClockRollback, "x")).unwrap();
        assert_eq!(json, r#"{"code":"clock-rollback","what":"x"}"#);
        assert_eq!(shown("a\u{1b}]0;x\u{7}"), r#""a\u{1b}]0;x\u{7}""#);
        assert_eq!(shown(&"é".repeat(90)).chars().count(), 83);
    }

    #[test]
    fn only_the_first_faults_are_kept_and_none_is_forgotten() {
        let mut faults = Faults::default();
        assert!(faults.is_empty() && !faults.is_only_open());
        for _ in 0..MAX_FAULTS {
            faults.add(Fault::new(Code::UnsignedTail, "x"));
        }
        assert!(faults.is_only_open());
        faults.add(Fault::new(Code::Edited, "x"));
        assert!(!faults.is_only_open());
        faults.add(Fault::new(Code::Unsealed, "x"));
        assert!(!faults.is_only_open());
        let mut other = Faults::default();
        other.add(Fault::new(Code::Unsealed, "x"));
        other.extend(faults);
        assert!(!other.is_only_open());
        let (kept, more) = other.into_parts();
        assert_eq!((kept.len(), more), (MAX_FAULTS, 3));
    }
}
