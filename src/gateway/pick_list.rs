//! A list on a terminal, of which one line is chosen: type to filter, arrows to move, Enter to choose. It only says what to show.
//!
//! ```text
//!   node> db prod▁             what is typed; each word must be somewhere in the line
//!   db-1   i-0d…  online …     the lines that have them all, the chosen one in reverse
//!   db-2   i-0e…  online …
//!   2 of 14                    how many there are
//! ```
//!
//! The terminal is asked for what every one has since the VT100: up, erase to the end of the screen, reverse video. Lines that would
//! wrap are cut, since a wrapped one is two.

use unicode_width::UnicodeWidthChar as _;

use crate::model::{BELL, Key, Keys, WindowSize};

const PROMPT: &str = "node> ";
/// What is typed may be so long, in characters.
const LONGEST_FILTER: usize = 64;
/// So many lines are shown at most: more are not looked through but filtered.
const MOST_SHOWN: usize = 15;
/// Of a terminal that does not say its size.
const COLUMNS: usize = 80;
const ROWS: usize = 24;

/// The list, and what was typed.
#[derive(Debug)]
pub(super) struct PickList {
    lines: Vec<String>,
    /// The lines that have all that was typed.
    found: Vec<usize>,
    filter: String,
    /// Which of those found is chosen, and which is the first that is shown.
    at: usize,
    top: usize,
    columns: usize,
    rows: usize,
    keys: Keys,
}

/// What came of a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Picked {
    /// This is to be shown; it may be nothing.
    Shown(String),
    /// The line of this place was chosen; this clears the list.
    Line(usize, String),
    /// None will be; this clears the list.
    GivenUp(String),
}

impl PickList {
    /// Of lines without control characters, on a terminal of this size.
    pub(super) fn new(lines: Vec<String>, size: WindowSize) -> Self {
        let or = |value: u16, other: usize| if value == 0 { other } else { usize::from(value) };
        let mut list = Self {
            lines,
            found: Vec::new(),
            filter: String::new(),
            at: 0,
            top: 0,
            columns: or(size.cols, COLUMNS),
            // the prompt and the count have a line each
            rows: or(size.rows, ROWS).saturating_sub(2).clamp(1, MOST_SHOWN),
            keys: Keys::default(),
        };
        list.look();
        list
    }

    /// All of it, from the beginning of a line on.
    pub(super) fn show(&mut self) -> String {
        self.top = self.top.min(self.at).max((self.at + 1).saturating_sub(self.rows));
        let prompt = self.cut(&format!("{PROMPT}{}", self.filter));
        let mut text = format!("{CLEAR}{prompt}");
        let shown: Vec<usize> = (self.top..self.found.len()).take(self.rows).collect();
        for &place in &shown {
            let line = self.cut(&self.lines[self.found[place]]);
            match place == self.at {
                true => text.push_str(&format!("\r\n\u{1b}[7m{line}\u{1b}[0m")),
                false => text.push_str(&format!("\r\n{line}")),
            }
        }
        let count = format!("{} of {}", self.found.len(), self.lines.len());
        text.push_str(&format!("\r\n{}", self.cut(&count)));
        // back to where is typed
        text.push_str(&format!("\u{1b}[{}A\r{prompt}", shown.len() + 1));
        text
    }

    /// The next byte of what is typed.
    pub(super) fn take(&mut self, byte: u8) -> Picked {
        match self.keys.take(byte) {
            None | Some(Key::Other) => return Picked::Shown(String::new()),
            Some(Key::Enter) => {
                return match self.found.get(self.at) {
                    Some(&line) => Picked::Line(line, CLEAR.to_owned()),
                    None => Picked::Shown(BELL.to_owned()),
                };
            }
            Some(Key::Interrupt | Key::EndOfInput) => return Picked::GivenUp(CLEAR.to_owned()),
            Some(Key::Up) => self.at = self.at.saturating_sub(1),
            Some(Key::Down) => self.at = (self.at + 1).min(self.found.len().saturating_sub(1)),
            Some(Key::Erase) => self.edit(|filter| {
                filter.pop();
            }),
            Some(Key::EraseLine) => self.edit(String::clear),
            Some(Key::EraseWord) => self.edit(|filter| {
                let rest = filter.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
                filter.truncate(rest);
            }),
            Some(Key::Character(character)) if self.filter.chars().count() < LONGEST_FILTER => {
                self.edit(|filter| filter.push(character));
            }
            Some(Key::Character(_) | Key::Refused) => return Picked::Shown(BELL.to_owned()),
        }
        Picked::Shown(self.show())
    }

    fn edit(&mut self, edit: impl FnOnce(&mut String)) {
        edit(&mut self.filter);
        self.look();
    }

    /// Finds the lines that have all words, and chooses the first.
    fn look(&mut self) {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let has_all = |line: &String| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(word))
        };
        self.found = (0..self.lines.len()).filter(|&place| has_all(&self.lines[place])).collect();
        (self.at, self.top) = (0, 0);
    }

    /// As much as a line of the terminal has room for, but for its last column: some wrap when that is filled.
    fn cut(&self, text: &str) -> String {
        let mut left = self.columns.saturating_sub(1);
        let fits = |character: &char| {
            let width = character.width().unwrap_or(0);
            let fits = width <= left;
            left = left.saturating_sub(if fits { width } else { left });
            fits
        };
        text.chars().take_while(fits).collect()
    }
}

/// From the beginning of the line to the end of the screen.
const CLEAR: &str = "\r\u{1b}[J";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(cols: u16, rows: u16) -> PickList {
        let lines = ["web-1  i-1  online", "web-2  i-2  online", "db-1  i-3  env=prod", "größe  i-4"];
        PickList::new(lines.map(str::to_owned).to_vec(), WindowSize { cols, rows, ..WindowSize::default() })
    }

    fn typed(list: &mut PickList, text: &str) -> Picked {
        text.bytes().fold(Picked::Shown(String::new()), |last, byte| match last {
            Picked::Shown(_) => list.take(byte),
            end => end,
        })
    }

    fn chosen(text: &str) -> Option<usize> {
        match typed(&mut list(80, 24), text) {
            Picked::Line(place, _) => Some(place),
            _ => None,
        }
    }

    #[test]
    fn what_is_typed_filters_and_arrows_move() {
        for (text, place) in [
            ("\r", Some(0)),
            ("web\u{1b}[B\r", Some(1)),
            ("WEB 2\r", Some(1)),
            ("prod\r", Some(2)),
            ("\u{1b}[B\u{1b}[B\u{1b}[B\u{1b}[B\u{1b}[B\r", Some(3)),
            ("\u{1b}[A\r", Some(0)),
            ("GRÖ\r", Some(3)),
            ("webx\u{7f}\u{1b}[B\u{1b}[A\r", Some(0)),
            ("db nothing\u{17}\r", Some(2)),
            ("nothing\u{15}i-3\r", Some(2)),
            ("nothing\r", None),
        ] {
            assert_eq!(chosen(text), place, "{text:?}");
        }
        assert_eq!(typed(&mut list(80, 24), "nothing\r"), Picked::Shown(BELL.to_owned()));
        assert_eq!(typed(&mut list(80, 24), "web\u{3}"), Picked::GivenUp(CLEAR.to_owned()));
        assert_eq!(typed(&mut list(80, 24), "\u{4}"), Picked::GivenUp(CLEAR.to_owned()));
    }

    #[test]
    fn a_small_terminal_shows_the_chosen_line_and_wraps_none() {
        let mut small = list(10, 4);
        let shown = small.show();
        assert_eq!(shown, "\r\u{1b}[Jnode> \r\n\u{1b}[7mweb-1  i-\u{1b}[0m\r\nweb-2  i-\r\n4 of 4\u{1b}[3A\rnode> ");
        let Picked::Shown(shown) = typed(&mut small, "\u{1b}[B\u{1b}[B") else { panic!() };
        assert!(shown.contains("\r\nweb-2  i-\r\n\u{1b}[7mdb-1  i-3\u{1b}[0m\r\n"), "{shown:?}");
        let mut none = PickList::new(Vec::new(), WindowSize::default());
        assert!(none.show().contains("\r\n0 of 0\u{1b}[1A"));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_no_line_is_wider_than_the_terminal_and_the_cursor_comes_back(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), b'a'..=b'z', Just(0x1b), Just(b'[')], 0..300),
            cols in 1_u16..100, rows in 1_u16..40,
        ) {
            let mut list = list(cols, rows);
            for byte in bytes {
                let Picked::Shown(shown) = list.take(byte) else { break };
                let Some((lines, _)) = shown.rsplit_once("\u{1b}[") else { continue };
                let plain = lines.replace("\r\u{1b}[J", "").replace("\u{1b}[7m", "").replace("\u{1b}[0m", "");
                let width = |line: &str| line.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>();
                prop_assert!(plain.split("\r\n").all(|line| width(line) < usize::from(cols).max(1) || line.is_empty()));
                let up = format!("\u{1b}[{}A", plain.matches("\r\n").count());
                prop_assert!(shown.contains(&up), "{shown:?}");
            }
        }
    }
}
