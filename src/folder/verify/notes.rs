//! A file of notes, one after the other, read one by one: whatever it has, each piece that could be one is given out with its
//! place, so that one that was spoilt doesn't hide those after it.

use std::io::{self, Read};

use crate::lines::{Lines, State};
use crate::note::MAX_NOTE_BYTES;

/// Reads notes.
pub(crate) struct Notes<R> {
    lines: Lines<R>,
    between: Between,
    /// Read, and not yet part of a piece.
    kept: Option<Owned>,
}

/// What stands between one note and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// One empty line.
    EmptyLine,
    /// That or nothing: notes that were joined by whoever keeps them.
    Anything,
}

/// What could be a note. All bytes of a file are in one, but for the empty lines between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Its bytes; none where it is longer than notes are, or not parted from the next one.
    pub(crate) note: Option<Vec<u8>>,
    /// Its lines in the file, the first and the last.
    pub(crate) lines: (u64, u64),
    /// Its bytes in the file: where it begins, and where what follows begins.
    pub(crate) bytes: (u64, u64),
}

/// A line, its newline included if it has one.
struct Owned {
    bytes: Vec<u8>,
    number: u64,
    offset: u64,
    length: u64,
    fits: bool,
}

impl<R: Read> Notes<R> {
    pub(crate) fn new(read: R, between: Between) -> Self {
        Self { lines: Lines::new(read, MAX_NOTE_BYTES), between, kept: None }
    }

    /// The next piece; none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Chunk>> {
        let Some(first) = self.line()? else {
            return Ok(None);
        };
        let (mut empty, mut signed, mut fits) = (false, false, first.fits);
        let (from, start) = (first.number, first.offset);
        let (mut to, mut end) = (from, start + first.length);
        let mut bytes = first.bytes;
        while let Some(line) = self.line()? {
            let is_signature = line.bytes.starts_with("—".as_bytes());
            if signed && !is_signature {
                fits &= self.parts(line)?;
                break;
            }
            signed |= empty && is_signature;
            empty |= line.bytes == b"\n";
            fits &= line.fits && bytes.len() + line.bytes.len() <= MAX_NOTE_BYTES;
            if fits {
                bytes.extend_from_slice(&line.bytes);
            }
            (to, end) = (line.number, line.offset + line.length);
        }
        Ok(Some(Chunk { note: fits.then_some(bytes), lines: (from, to), bytes: (start, end) }))
    }

    /// A line that follows a note: whether it parts that from the next one.
    fn parts(&mut self, line: Owned) -> io::Result<bool> {
        if line.bytes != b"\n" {
            self.kept = Some(line);
            return Ok(self.between == Between::Anything);
        }
        // one that parts nothing from nothing is a piece of its own
        match self.line()? {
            Some(next) => self.kept = Some(next),
            None if self.between == Between::EmptyLine => self.kept = Some(line),
            None => {}
        }
        Ok(true)
    }

    fn line(&mut self) -> io::Result<Option<Owned>> {
        if let Some(line) = self.kept.take() {
            return Ok(Some(line));
        }
        let line = self.lines.next()?;
        Ok(line.map(|line| {
            let mut bytes = line.bytes.to_vec();
            if line.state == State::Whole {
                bytes.push(b'\n');
            }
            let fits = line.state != State::TooLong;
            Owned { bytes, number: line.number, offset: line.offset, length: line.length, fits }
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Piece = (Option<String>, (u64, u64), (u64, u64));

    fn chunks(text: &str, between: Between) -> Vec<Piece> {
        let mut notes = Notes::new(text.as_bytes(), between);
        let mut found = Vec::new();
        while let Some(Chunk { note, lines, bytes }) = notes.next().unwrap() {
            found.push((note.map(|note| String::from_utf8(note).unwrap()), lines, bytes));
        }
        found
    }

    #[test]
    fn notes_are_parted_by_one_empty_line_and_by_nothing_else() {
        let note = "a\nb\n\n— k AAAA\n— l BBBB\n";
        let size = note.len() as u64;
        let one = Some(note.to_owned());
        assert_eq!(chunks("", Between::EmptyLine), []);
        assert_eq!(chunks(note, Between::EmptyLine), [(one.clone(), (1, 5), (0, size))]);
        let two = [(one.clone(), (1, 5), (0, size)), (one.clone(), (7, 11), (size + 1, 2 * size + 1))];
        for between in [Between::EmptyLine, Between::Anything] {
            assert_eq!(chunks(&format!("{note}\n{note}"), between), two);
        }
        let joined = format!("{note}{note}");
        let [first, second] = &chunks(&joined, Between::Anything)[..] else { panic!() };
        assert_eq!((&first.0, &second.0), (&one, &one));
        assert_eq!(chunks(&joined, Between::EmptyLine)[0].0, None);
        // an empty line too many is told as well
        let ending = chunks(&format!("{note}\n"), Between::EmptyLine);
        assert_eq!(ending[1], (Some("\n".to_owned()), (6, 6), (size, size + 1)));
        assert_eq!(chunks(&format!("{note}\n"), Between::Anything).len(), 1);
        let doubled = chunks(&format!("{note}\n\n{note}"), Between::EmptyLine);
        assert_eq!(doubled[1].0, Some(format!("\n{note}")));
        // what was spoilt does not hide what follows
        let spoilt = chunks(&format!("{}\n{note}", note.replace("— k", "- k")), Between::EmptyLine);
        assert_eq!(spoilt.last().unwrap().0, one);
        let long = format!("{}\n\n— k AAAA\n", "x".repeat(MAX_NOTE_BYTES));
        let spoilt = chunks(&format!("{long}\n{note}"), Between::EmptyLine);
        assert_eq!(spoilt.iter().map(|chunk| chunk.0.clone()).collect::<Vec<_>>(), [None, one]);
    }

    proptest! {
        #[test]
        fn pieces_have_all_bytes_in_order(text in "(a|\n|— k A\n|x\n){0,30}") {
            let mut end = 0;
            for (note, lines, (from, to)) in chunks(&text, Between::EmptyLine) {
                prop_assert!(from >= end && from - end <= 1 && to > from && lines.1 >= lines.0);
                prop_assert_eq!(&text[end as usize..from as usize], &"\n"[..(from - end) as usize]);
                if let Some(note) = note {
                    prop_assert_eq!(note, &text[from as usize..to as usize]);
                }
                end = to;
            }
            prop_assert_eq!(end, text.len() as u64);
        }
    }
}
