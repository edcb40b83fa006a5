//! A file against what was signed of it: one pass, whatever the number of heads.

use std::io::{self, Read};

use memchr::memchr_iter;

use super::checkpoints::Point;
use super::fault::{Code, Fault, Faults};
use crate::hash::{Hash, Running};

/// What is compared, byte by byte as they come.
pub(crate) struct FileCheck<'a> {
    points: &'a [Point<Hash>],
    hash: Running,
    newlines: u64,
    /// Whether the last byte was no newline.
    in_line: bool,
    /// Where the last good point was: bytes, and lines before.
    good: (u64, u64),
    bad: Option<Bad>,
}

/// The first point at which the hash was another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The bytes since the last good one.
    pub(crate) bytes: (u64, u64),
    /// And the lines.
    pub(crate) lines: (u64, u64),
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The file's length and hash.
    pub(crate) bytes: u64,
    pub(crate) hash: Hash,
    /// What was signed, and has the hash that was signed.
    pub(crate) good: u64,
    /// How much was signed.
    pub(crate) signed: u64,
    pub(crate) bad: Option<Bad>,
    /// Lines that end before `good`, and in all.
    good_lines: u64,
    lines: u64,
}

impl<'a> FileCheck<'a> {
    pub(crate) fn new(points: &'a [Point<Hash>]) -> Self {
        Self { points, hash: Running::new(), newlines: 0, in_line: false, good: (0, 0), bad: None }
    }

    /// Reads all of a file.
    pub(crate) fn read(points: &'a [Point<Hash>], mut read: impl Read) -> io::Result<Checked> {
        let mut check = Self::new(points);
        let signed = check.signed();
        let mut buffer = vec![0; BUFFER];
        loop {
            match read.read(&mut buffer) {
                Ok(0) => return Ok(check.finish(signed)),
                Ok(length) => check.update(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How much of the file was signed.
    pub(crate) fn signed(&self) -> u64 {
        self.points.last().map_or(0, |point| point.at)
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while let Some((point, later)) = self.points.split_first() {
            let Some((before, rest)) = usize::try_from(point.at - self.hash.bytes().min(point.at))
                .ok()
                .and_then(|length| bytes.split_at_checked(length))
            else {
                break;
            };
            self.take(before);
            self.compare(point);
            (self.points, bytes) = (later, rest);
        }
        self.take(bytes);
    }

    pub(crate) fn finish(mut self, signed: u64) -> Checked {
        // a point at the very end was compared when its last byte came; one of an empty file never is
        self.update(b"");
        let Self { hash, newlines, in_line, good, bad, .. } = self;
        let (bytes, hash) = (hash.bytes(), hash.finish());
        Checked { bytes, hash, good: good.0, signed, bad, good_lines: good.1, lines: newlines + u64::from(in_line) }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.newlines += memchr_iter(b'\n', bytes).count() as u64;
        self.in_line = bytes.last().map_or(self.in_line, |last| *last != b'\n');
    }

    fn compare(&mut self, point: &Point<Hash>) {
        if self.bad.is_some() {
            return;
        }
        if self.hash.hash() == point.is {
            self.good = (point.at, self.newlines);
        } else {
            let first = self.good.1 + 1;
            let last = self.newlines + u64::from(self.in_line);
            self.bad = Some(Bad { bytes: (self.good.0, point.at), lines: (first, last.max(first)) });
        }
    }
}

impl Checked {
    /// Whether all of it was signed, and is as it was.
    pub(crate) fn is_as_signed(&self) -> bool {
        self.bad.is_none() && self.bytes == self.signed
    }

    /// What is wrong, in a file of this name. Every head has all that the ones before have, so that what follows the first
    /// difference can't be told from it.
    pub(crate) fn tell(&self, name: &str, has_lines: bool, faults: &mut Faults) {
        let place = |fault: Fault, lines: (u64, u64), bytes: (u64, u64)| {
            let fault = fault.file(name).bytes(bytes.0, bytes.1);
            if has_lines { fault.lines(lines.0, lines.1) } else { fault }
        };
        let rest = (self.good_lines + 1, self.lines.max(self.good_lines + 1));
        if let Some(Bad { bytes, lines }) = self.bad {
            let fault = match self.signed.saturating_sub(self.bytes) {
                0 => Fault::new(
                    Code::Edited,
                    "these are not the bytes that were signed; they were changed here, or what follows was moved",
                ),
                short => Fault::new(
                    Code::Deleted,
                    format!(
                        "these are not the bytes that were signed; the file has {short} bytes fewer than were signed"
                    ),
                ),
            };
            faults.add(place(fault, lines, bytes));
        } else if self.bytes < self.signed {
            let what = format!("the file ends here, and {} bytes more were signed", self.signed - self.bytes);
            faults.add(place(Fault::new(Code::Truncated, what), rest, (self.bytes, self.signed)));
        } else if self.bytes > self.signed {
            let what = match self.signed {
                0 => "nobody has signed any of this".to_owned(),
                _ => "this stands after the last head that was signed".to_owned(),
            };
            faults.add(place(Fault::new(Code::UnsignedTail, what), rest, (self.signed, self.bytes)));
        }
    }
}

/// What is read at once.
const BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(points: &[usize], signed: &[u8], is: &[u8]) -> Option<Fault> {
        let points: Vec<_> = points.iter().map(|&at| Point { at: at as u64, is: Hash::of(&signed[..at]) }).collect();
        let mut faults = Faults::default();
        let checked = FileCheck::read(&points, is).unwrap();
        assert_eq!(checked.hash, Hash::of(is));
        // the same byte by byte
        let mut slow = FileCheck::new(&points);
        for byte in is {
            slow.update(&[*byte]);
        }
        assert_eq!(slow.finish(checked.signed), checked);
        checked.tell("f", true, &mut faults);
        let (kept, more) = faults.into_parts();
        assert!(kept.len() < 2 && more == 0);
        kept.into_iter().next()
    }

    #[test]
    fn the_first_difference_is_placed_between_two_heads() {
        let signed = b"one\ntwo\nthree\n";
        let points = [4, 8, 14];
        let code =
            |is: &[u8]| told(&points, signed, is).map(|fault| (fault.code, fault.lines.unwrap(), fault.bytes.unwrap()));
        assert_eq!(code(signed), None);
        assert_eq!(code(b"one\ntwx\nthree\n"), Some((Code::Edited, (2, 2), (4, 8))));
        assert_eq!(code(b"one\ntwo\nthrex\n"), Some((Code::Edited, (3, 3), (8, 14))));
        assert_eq!(code(b"one\ntwo!\nthree\n"), Some((Code::Edited, (2, 2), (4, 8))));
        assert_eq!(code(b"one\nthree\n"), Some((Code::Deleted, (2, 2), (4, 8))));
        assert_eq!(code(b"one\ntwo\n"), Some((Code::Truncated, (3, 3), (8, 14))));
        assert_eq!(code(b"one\ntwo\nthr"), Some((Code::Truncated, (3, 3), (11, 14))));
        assert_eq!(code(b""), Some((Code::Truncated, (1, 1), (0, 14))));
        assert_eq!(code(b"one\ntwo\nthree\nfour\n"), Some((Code::UnsignedTail, (4, 4), (14, 19))));
        let unsigned = told(&[], b"", b"x").unwrap();
        assert_eq!((unsigned.code, unsigned.bytes), (Code::UnsignedTail, Some((0, 1))));
        assert_eq!(told(&[], b"", b""), None);
    }
}
