//! The lines of a file that may have been made by anybody: read in pieces, with a bound on each line, and with their places.

use std::io::{self, Read};

use memchr::memchr;

/// Reads lines.
pub(crate) struct Lines<R> {
    read: R,
    buffer: Vec<u8>,
    /// What is read and not yet given out.
    start: usize,
    end: usize,
    limit: usize,
    number: u64,
    offset: u64,
}

/// A line, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Of a line that is longer than the limit, its beginning.
    pub(crate) bytes: &'a [u8],
    /// From 1.
    pub(crate) number: u64,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// How many bytes it takes there, its newline included.
    pub(crate) length: u64,
    pub(crate) state: State,
}

/// A line that was taken along.
pub(crate) struct OwnedLine {
    bytes: Vec<u8>,
    number: u64,
    offset: u64,
    length: u64,
    state: State,
}

impl Line<'_> {
    /// The same, to take along.
    pub(crate) fn to_owned(self) -> OwnedLine {
        let Self { bytes, number, offset, length, state } = self;
        OwnedLine { bytes: bytes.to_vec(), number, offset, length, state }
    }
}

impl OwnedLine {
    /// As it stood in the file.
    pub(crate) fn line(&self) -> Line<'_> {
        let Self { number, offset, length, state, .. } = *self;
        Line { bytes: &self.bytes, number, offset, length, state }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It has its newline.
    Whole,
    /// The file ends before its newline.
    Torn,
    /// It is longer than lines may be.
    TooLong,
}

impl<R: Read> Lines<R> {
    /// The lines of `read`, each of at most `limit` bytes.
    pub(crate) fn new(read: R, limit: usize) -> Self {
        Self { read, buffer: vec![0; BUFFER], start: 0, end: 0, limit, number: 0, offset: 0 }
    }

    /// The next line; none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut looked_at = 0;
        let found = loop {
            let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(at) = memchr(b'\n', waiting.get(looked_at..).unwrap_or_default()) {
                break Some(looked_at + at);
            }
            looked_at = waiting.len();
            if looked_at > self.limit || !self.fill()? {
                break None;
            }
        };
        let waiting = self.end - self.start;
        let (length, state) = match found {
            Some(at) if at <= self.limit => (at, State::Whole),
            None if waiting == 0 => return Ok(None),
            None if waiting <= self.limit => (waiting, State::Torn),
            _ => (self.limit, State::TooLong),
        };
        self.number += 1;
        let (number, offset, start) = (self.number, self.offset, self.start);
        let taken = match state {
            State::Whole => length as u64 + 1,
            State::Torn => length as u64,
            State::TooLong => {
                let beginning = self.buffer.get(start..start + length).unwrap_or_default().to_vec();
                let taken = self.skip(found)?;
                // the beginning comes to where it can be lent from
                self.buffer.splice(0..0, beginning);
                self.start += length;
                self.end += length;
                self.offset = offset + taken;
                let bytes = self.buffer.get(..length).unwrap_or_default();
                return Ok(Some(Line { bytes, number, offset, length: taken, state }));
            }
        };
        self.start += usize::try_from(taken).unwrap_or(usize::MAX);
        self.offset += taken;
        let bytes = self.buffer.get(start..start + length).unwrap_or_default();
        Ok(Some(Line { bytes, number, offset, length: taken, state }))
    }

    /// Passes over the rest of a line; how many bytes it took in all. `newline` is where it ends, if that is known.
    fn skip(&mut self, newline: Option<usize>) -> io::Result<u64> {
        let mut taken = 0;
        let mut newline = newline;
        loop {
            if let Some(at) = newline {
                self.start += at + 1;
                break Ok(taken + at as u64 + 1);
            }
            taken += (self.end - self.start) as u64;
            (self.start, self.end) = (0, 0);
            self.buffer.truncate(BUFFER.max(self.limit));
            if !self.fill()? {
                break Ok(taken);
            }
            newline = memchr(b'\n', self.buffer.get(self.start..self.end).unwrap_or_default());
        }
    }

    /// Reads more behind what waits; whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < BUFFER / 2 {
            self.buffer.resize(self.buffer.len() + BUFFER, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.read.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        Ok(read > 0)
    }
}

/// What is read at once.
const BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn all(bytes: &[u8], step: usize, limit: usize) -> Vec<(Vec<u8>, u64, u64, u64, State)> {
        let mut lines = Lines::new(Slow(bytes, step), limit);
        let mut found = Vec::new();
        while let Some(Line { bytes, number, offset, length, state }) = lines.next().unwrap() {
            found.push((bytes.to_vec(), number, offset, length, state));
        }
        found
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_bytes_however_they_come(
            parts in prop::collection::vec((0_usize..3, 0_usize..40), 0..12), torn: bool, step in 1_usize..50,
        ) {
            // some lines are longer than what is read at once
            let mut bytes = Vec::new();
            for (large, length) in &parts {
                bytes.extend(std::iter::repeat_n(b'x', if *large == 0 { BUFFER / 3 + length } else { *length }));
                bytes.push(b'\n');
            }
            if torn { bytes.pop(); }
            let step = if bytes.len() > 10_000 { step * 5_000 } else { step };
            let limit = BUFFER / 2;
            let mut expected = Vec::new();
            let mut offset = 0;
            for (number, line) in (1..).zip(bytes.split_inclusive(|&b| b == b'\n')) {
                let (text, state) = match line.strip_suffix(b"\n") {
                    Some(text) => (text, State::Whole),
                    None => (line, State::Torn),
                };
                expected.push((text.to_vec(), number, offset, line.len() as u64, state));
                offset += line.len() as u64;
            }
            prop_assert_eq!(all(&bytes, step, limit), expected);
        }

        #[test]
        fn a_line_that_is_too_long_is_cut_and_passed_over(long in 11_usize..900_000, step in 1_usize..300_000, torn: bool) {
            let mut bytes = [b"a\n".as_slice(), &vec![b'x'; long]].concat();
            if !torn { bytes.extend_from_slice(b"\nb\n"); }
            let found = all(&bytes, step.max(1000), 10);
            let length = long as u64 + u64::from(!torn);
            prop_assert_eq!(&found[1], &(vec![b'x'; 10], 2, 2, length, State::TooLong));
            prop_assert_eq!(found.get(2).cloned(), (!torn).then(|| (b"b".to_vec(), 3, 2 + length, 2, State::Whole)));
        }
    }
}
