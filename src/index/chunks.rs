//! What was shown, in pieces of a few KiB, each with the time at which it begins: a hit can be played from there.

use super::plain::Plain;

/// How long a piece is, in bytes; about.
const CHUNK: usize = 2048;

/// How much of a piece's end the next one begins with, in characters: so much is found across the border.
const OVERLAP: usize = 256;

/// How much text of one session is kept to be found. The recording has all of it.
pub(crate) const MOST: usize = 4 << 20;

/// A piece of text, and when it was shown, in seconds since the session was opened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk {
    pub(crate) at: f64,
    pub(crate) text: String,
}

/// Collects what comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunks {
    plain: Plain,
    open: String,
    /// How much of `open` was in the piece before.
    old: usize,
    at: f64,
    taken: usize,
    full: bool,
}

impl Chunks {
    /// Takes what was shown at this time; gives the pieces that are full.
    pub(crate) fn take(&mut self, at: f64, shown: &str) -> Vec<Chunk> {
        let mut done = Vec::new();
        let mut rest = shown;
        while !rest.is_empty() && !self.full {
            let (part, later) = rest.split_at(rest.floor_char_boundary(CHUNK).max(rest.ceil_char_boundary(1)));
            rest = later;
            if self.open.len() <= self.old {
                self.at = at;
            }
            self.plain.take(part, &mut self.open);
            if self.open.len() >= CHUNK {
                done.extend(self.cut());
            }
        }
        done
    }

    /// What is there so far of the piece that is not full, so that it can be found; the next one goes on with its end.
    pub(crate) fn so_far(&mut self) -> Option<Chunk> {
        if self.full { None } else { self.cut() }
    }

    /// What is there yet of the last piece.
    pub(crate) fn finish(&mut self) -> Option<Chunk> {
        let chunk = self.cut();
        self.open.clear();
        self.old = 0;
        chunk
    }

    /// Whether there was more than is kept.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    fn cut(&mut self) -> Option<Chunk> {
        if self.open.len() <= self.old || self.open.trim().is_empty() {
            return None;
        }
        self.taken = self.taken.saturating_add(self.open.len() - self.old);
        self.full = self.taken >= MOST;
        let border = self.open.char_indices().rev().nth(OVERLAP - 1).map_or(0, |(offset, _)| offset);
        let next = self.open.get(border..).unwrap_or_default().to_owned();
        self.old = next.len();
        let text = std::mem::replace(&mut self.open, next);
        Some(Chunk { at: self.at, text })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_piece_has_the_time_at_which_it_begins_and_what_is_across_a_border_is_in_one_of_them() {
        let mut chunks = Chunks::default();
        let mut all = Vec::new();
        for second in 0..60_u32 {
            all.extend(chunks.take(second.into(), &format!("{second:03}-{}\r\n", "x".repeat(200))));
        }
        all.extend(chunks.finish());
        assert_eq!(chunks.finish(), None);
        for second in 0..60 {
            let wanted = format!("{second:03}-{}\n", "x".repeat(200));
            let found: Vec<f64> = all.iter().filter(|one| one.text.contains(&wanted)).map(|one| one.at).collect();
            assert!(
                found.iter().any(|at| *at <= f64::from(second) && f64::from(second) - at <= 12.0),
                "{second} {found:?}"
            );
        }
    }

    #[test]
    fn a_flood_fills_its_part_and_no_more() {
        let mut chunks = Chunks::default();
        let flood = "y".repeat(1 << 20);
        let kept: usize = (0..8).flat_map(|_| chunks.take(0.0, &flood)).map(|chunk| chunk.text.len()).sum();
        assert!(chunks.is_full());
        assert!(kept < MOST + MOST / 4, "{kept}");
    }

    proptest! {
        #[test]
        fn all_text_is_in_the_pieces_in_order(pieces in proptest::collection::vec("[a-zäß]{0,700}", 0..20)) {
            let mut chunks = Chunks::default();
            let mut all: Vec<Chunk> = pieces.iter().flat_map(|piece| chunks.take(0.0, piece)).collect();
            all.extend(chunks.finish());
            let whole = pieces.concat();
            let mut place = 0;
            for chunk in &all {
                let found = whole[place..].find(&chunk.text);
                prop_assert!(found.is_some());
                place += found.unwrap();
            }
            prop_assert_eq!(whole.is_empty(), all.is_empty());
            prop_assert!(all.last().is_none_or(|last| whole.ends_with(&last.text)));
        }
    }
}
