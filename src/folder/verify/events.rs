//! `events.jsonl`, line by line: that each follows the one before, and that the tree over them is the one that was signed.
//!
//! What is wrong with a line is told by that line, and what is odd of a file because of it (its hash, its tree) is not told again.

use uuid::Uuid;

use super::checkpoints::{Heads, Point, TreeHead};
use super::event_line::{Parsed, Wrong, parse};
use super::fault::{Code, Fault, Faults};
use super::file_check::Checked;
use super::locked::Locks;
use crate::event_chain;
use crate::hash::Hash;
use crate::layout::File;
use crate::lines::{Line, State};
use crate::tree::{Tree, leaf};

/// What a line alone says.
pub(crate) struct EventLook<'a> {
    session: Option<Uuid>,
    /// Of an encrypted folder.
    locks: Option<&'a Locks>,
    /// How the attestation of a line begins, for each key that signed.
    openings: Vec<String>,
}

/// What was found in one.
pub(crate) struct Found {
    parsed: Result<Parsed, Wrong>,
    leaf: Hash,
}

/// What is known of the lines so far.
pub(crate) struct EventsCheck<'a> {
    locks: Option<&'a Locks>,
    trees: &'a [Point<TreeHead>],
    signed: u64,
    tree: Tree,
    /// Lines up to the last root that was as signed, and those up to the first that was not.
    good: u64,
    bad: Option<(u64, u64)>,
    head: Head,
    gaps: Vec<Gap>,
    /// The first line that is not as it should be.
    odd: Option<u64>,
    faults: Faults,
}

/// The event with the greatest number so far.
#[derive(Clone, Copy, Debug)]
struct Head {
    sequence: u64,
    /// None where a line before was spoilt, and what it should have said is not known.
    fingerprint: Option<Hash>,
    time: i64,
    /// Lines since whose number could not be read.
    spoilt: u64,
}

/// Numbers that are not there, and before which line.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: u64,
    to: u64,
    line: u64,
}

impl<'a> EventLook<'a> {
    pub(crate) fn new(heads: &Heads, locks: Option<&'a Locks>) -> Self {
        let of = |session: Uuid| heads.signers.iter().map(move |(key, _)| event_chain::opening(key.name(), session));
        let mut openings: Vec<String> = heads.session.into_iter().flat_map(of).collect();
        openings.dedup();
        Self { session: heads.session, locks, openings }
    }

    /// Looks at a line.
    pub(crate) fn look(&self, line: &Line<'_>) -> Found {
        let parsed = match line.state {
            State::Whole => self.parsed(line.bytes),
            _ => Err(Wrong::Malformed("it is longer than an event can be".to_owned())),
        };
        Found { parsed, leaf: leaf(line.bytes) }
    }

    /// What a line says. Of one that can't be opened no more is known than its number, and that of nobody but itself.
    fn parsed(&self, line: &[u8]) -> Result<Parsed, Wrong> {
        let Some(locks) = self.locks else { return parse(line, &self.openings, self.session) };
        match locks.line(File::Events, line)? {
            (sequence, None) => Ok(Parsed { sequence, time: i64::MIN, previous: None, own: Hash::of(line) }),
            (number, Some(plain)) => {
                let plain = plain.strip_suffix(b"\n").unwrap_or(&plain);
                let parsed = parse(plain, &self.openings, self.session)?;
                match parsed.sequence == number {
                    true => Ok(parsed),
                    false => Err(Wrong::Malformed(format!("it is line {number}, and event {}", parsed.sequence))),
                }
            }
        }
    }
}

impl<'a> EventsCheck<'a> {
    pub(crate) fn new(heads: &'a Heads, locks: Option<&'a Locks>) -> Self {
        let mut check = Self {
            locks,
            trees: &heads.trees,
            signed: heads.trees.last().map_or(0, |point| point.at),
            tree: Tree::new(),
            good: 0,
            bad: None,
            head: Head { sequence: 0, fingerprint: None, time: i64::MIN, spoilt: 0 },
            gaps: Vec::new(),
            odd: None,
            faults: Faults::default(),
        };
        check.compare(0);
        check
    }

    /// The next line. One without an end is none: no head has it.
    pub(crate) fn line(&mut self, line: &Line<'_>, found: Found) {
        if line.state == State::Torn {
            return;
        }
        match found.parsed {
            Ok(parsed) => self.event(&parsed, line.number),
            // whoever put it there, the others go on without it
            Err(Wrong::Spliced(what)) => self.tell_line(Code::Spliced, what, line.number),
            Err(wrong) => self.spoilt(wrong, line.number),
        }
        self.tree.push_hash(found.leaf);
        self.compare(line.offset + line.length);
    }

    /// How many lines there were.
    pub(crate) fn lines(&self) -> u64 {
        self.tree.size()
    }

    /// What is wrong with the lines and, where they say nothing of it, with the file.
    pub(crate) fn tell(mut self, checked: &Checked, faults: &mut Faults) {
        for Gap { from, to, line } in std::mem::take(&mut self.gaps) {
            let what = match from == to {
                true => format!("event {from}, which should stand before this, is missing"),
                false => format!("events {from} to {to}, which should stand before this, are missing"),
            };
            self.tell_line(Code::Deleted, what, line);
        }
        if let Some((first, last)) = self.bad.filter(|(_, last)| self.odd.is_none_or(|odd| odd > *last)) {
            let what = "these are not the events that were signed: they were made anew";
            self.faults.add(fault(Code::Edited, what.to_owned()).lines(first, last));
        }
        let (last, lines) = (self.head.sequence + self.head.spoilt, self.tree.size());
        let line_by_line = !self.faults.is_empty();
        faults.extend(self.faults);
        let intact = checked.bad.is_none();
        if last < self.signed && (line_by_line || intact) {
            let what = format!("events up to number {} were signed, and none after number {last} is here", self.signed);
            faults.add(fault(Code::Truncated, what).line(lines + 1));
        } else if !line_by_line || (intact && checked.bytes > checked.signed) {
            checked.tell(File::Events.name(), true, faults);
        }
    }

    /// A line that says what it should, in the right place or not.
    fn event(&mut self, event: &Parsed, line: u64) {
        let next = self.head.sequence + 1;
        if event.sequence < next {
            return self.behind(event.sequence, line);
        }
        let missing = event.sequence - next;
        if missing > self.head.spoilt {
            self.odd.get_or_insert(line);
            // whether they are missing or stand later is known at the end
            if self.gaps.len() < MAX_GAPS {
                self.gaps.push(Gap { from: next + self.head.spoilt, to: event.sequence - 1, line });
            }
        } else if !self.follows(event) {
            match self.head.sequence {
                0 => self.tell_line(Code::Deleted, "it follows an event that is not here".to_owned(), line),
                _ => {
                    let what = "it is not the event that the next one follows: it was made anew";
                    self.tell_line(Code::Edited, what.to_owned(), line - 1);
                }
            }
        }
        if event.time < self.head.time {
            self.tell_line(Code::ClockRollback, "its time is earlier than that of the event before".to_owned(), line);
        }
        let time = self.head.time.max(event.time);
        self.head = Head { sequence: event.sequence, fingerprint: Some(event.own), time, spoilt: 0 };
    }

    fn follows(&self, event: &Parsed) -> bool {
        if self.locks.is_some_and(|locks| !locks.is_open()) {
            return true;
        }
        let Head { sequence, fingerprint, spoilt, .. } = self.head;
        match fingerprint {
            _ if spoilt > 0 => true,
            None => sequence > 0 || event.previous.is_none(),
            before => event.previous == before,
        }
    }

    /// A number that had its turn.
    fn behind(&mut self, sequence: u64, line: u64) {
        let Some(at) = self.gaps.iter().position(|gap| (gap.from..=gap.to).contains(&sequence)) else {
            return self.tell_line(Code::Repeated, format!("event {sequence} stands here once more"), line);
        };
        let gap = self.gaps.swap_remove(at);
        let parts = [(gap.from, sequence - 1), (sequence + 1, gap.to)].into_iter().filter(|(from, to)| from <= to);
        self.gaps.extend(parts.map(|(from, to)| Gap { from, to, line: gap.line }));
        self.tell_line(Code::Reordered, format!("event {sequence} stands after event {}", self.head.sequence), line);
    }

    fn spoilt(&mut self, wrong: Wrong, line: u64) {
        self.head.spoilt += 1;
        let (code, what) = match wrong {
            Wrong::Malformed(what) => (Code::Malformed, what),
            Wrong::Edited(what) | Wrong::Spliced(what) => (Code::Edited, what),
        };
        self.tell_line(code, what, line);
    }

    fn tell_line(&mut self, code: Code, what: String, line: u64) {
        self.odd = Some(self.odd.map_or(line, |odd| odd.min(line)));
        self.faults.add(fault(code, what).line(line));
    }

    /// Compares roots where one was signed; `end` is where the last line ends in the file.
    fn compare(&mut self, end: u64) {
        let size = self.tree.size();
        let Some((point, later)) = self.trees.split_first().filter(|(point, _)| point.at == size) else {
            return;
        };
        self.trees = later;
        let TreeHead { root, bytes, time } = point.is;
        if self.bad.is_some() || self.odd.is_some() {
            return;
        }
        if root != self.tree.root() || bytes != end {
            self.bad = Some((self.good + 1, size.max(self.good + 1)));
            return;
        }
        self.good = size;
        if i128::from(self.head.time) > time.unix_timestamp_nanos() / 1_000_000 {
            let what = "its time is later than that of the head that has it";
            self.tell_line(Code::ClockRollback, what.to_owned(), size);
        }
    }
}

fn fault(code: Code, what: String) -> Fault {
    Fault::new(code, what).file(File::Events.name())
}

/// So many places are remembered at which numbers are missing.
const MAX_GAPS: usize = 1000;

/// The longest line that an event can be. Its texts are cut at 4 KiB, and it has few.
pub(crate) const MAX_EVENT_BYTES: usize = 1 << 20;
