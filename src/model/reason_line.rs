//! A reason as it is typed on a terminal in raw mode: what a terminal's line discipline does elsewhere.
//!
//! ```text
//!  bytes of the client ─▶ keys ─▶ the text so far, and what to show of it
//! ```
//!
//! It is bounded by a reason's length, whatever comes.

use unicode_width::UnicodeWidthChar as _;

use super::{BELL, Key, Keys, ReasonText};

/// A line that is being typed.
#[derive(Debug, Default)]
pub struct ReasonLine {
    text: String,
    characters: usize,
    keys: Keys,
}

/// What came of a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// This is to be shown; it may be nothing.
    Shown(String),
    /// Enter.
    Line(ReasonText),
    /// No reason will come.
    GivenUp,
}

impl ReasonLine {
    /// The next byte.
    pub fn take(&mut self, byte: u8) -> Typed {
        match self.keys.take(byte) {
            None | Some(Key::Up | Key::Down | Key::Other) => Typed::Shown(String::new()),
            Some(Key::Enter) => ReasonText::new(&self.text).map_or_else(bell, Typed::Line),
            Some(Key::Interrupt) => Typed::GivenUp,
            Some(Key::EndOfInput) if self.text.is_empty() => Typed::GivenUp,
            Some(Key::Erase) => Typed::Shown(self.erase()),
            Some(Key::EraseLine) => Typed::Shown(self.erase_while(|_| true)),
            Some(Key::EraseWord) => {
                let blanks = self.erase_while(char::is_whitespace);
                Typed::Shown(blanks + &self.erase_while(|character| !character.is_whitespace()))
            }
            Some(Key::Character(character)) => self.add(character),
            Some(Key::EndOfInput | Key::Refused) => bell(),
        }
    }

    fn add(&mut self, character: char) -> Typed {
        if self.characters >= ReasonText::MAX_CHARS {
            return bell();
        }
        self.text.push(character);
        self.characters += 1;
        Typed::Shown(character.to_string())
    }

    /// Takes back the last character, with what was written over it.
    fn erase(&mut self) -> String {
        while let Some(character) = self.pop() {
            let width = character.width().unwrap_or(0);
            if width > 0 {
                return "\u{8} \u{8}".repeat(width);
            }
        }
        String::new()
    }

    fn erase_while(&mut self, which: impl Fn(char) -> bool) -> String {
        let mut shown = String::new();
        while self.text.chars().next_back().is_some_and(&which) {
            shown.push_str(&self.erase());
        }
        shown
    }

    fn pop(&mut self) -> Option<char> {
        let character = self.text.pop()?;
        self.characters -= 1;
        Some(character)
    }
}

fn bell() -> Typed {
    Typed::Shown(BELL.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What all of it shows, and how it ends.
    fn typed(bytes: impl AsRef<[u8]>) -> (String, Option<Typed>) {
        let mut line = ReasonLine::default();
        let mut all = String::new();
        for &byte in bytes.as_ref() {
            match line.take(byte) {
                Typed::Shown(shown) => all.push_str(&shown),
                end => return (all, Some(end)),
            }
        }
        (all, None)
    }

    fn line(bytes: impl AsRef<[u8]>) -> String {
        match typed(bytes) {
            (_, Some(Typed::Line(reason))) => reason.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_is_shown_and_is_the_reason() {
        for text in ["INC-42 disk full", "そこにセッションがあるから", "größer – e\u{301}", "👩‍🚒 Feuer"]
        {
            assert_eq!(typed(text), (text.to_owned(), None));
            assert_eq!(line(format!("{text}\r")), text);
            assert_eq!(line(format!("{text}\n")), text);
        }
    }

    #[test]
    fn keys_edit_and_take_back_as_many_columns_as_there_were() {
        let wipe = "\u{8} \u{8}";
        assert_eq!(typed("ab\u{7f}c").0, format!("ab{wipe}c"));
        assert_eq!(line("ab\u{8}c\r"), "ac");
        // two columns each
        assert_eq!(typed("理由\u{7f}").0, format!("理由{wipe}{wipe}"));
        assert_eq!(line("理由\u{7f}\r"), "理");
        // what was written over a character goes with it
        assert_eq!(typed("xe\u{301}\u{7f}").0, format!("xe\u{301}{wipe}"));
        assert_eq!(line("xe\u{301}\u{7f}\r"), "x");
        assert_eq!(line("one two  \u{17}three\r"), "one three");
        assert_eq!(line("one two\u{15}three\r"), "three");
        assert_eq!(typed("\u{7f}\u{15}\u{17}").0, "");
    }

    #[test]
    fn control_characters_are_refused_and_keys_that_are_none_leave_nothing() {
        for refused in ["\u{0}", "\t", "\u{1}", "\u{85}", "\u{9b}"] {
            assert_eq!(typed(format!("a{refused}b")).0, format!("a{BELL}b"), "{refused:?}");
            assert_eq!(line(format!("a{refused}b\r")), "ab");
        }
        // arrows, F1, Delete, a paste between brackets, Alt+x
        for key in ["\u{1b}[A", "\u{1b}OP", "\u{1b}[3~", "\u{1b}[1;5C", "\u{1b}x"] {
            assert_eq!(line(format!("a{key}b\r")), "ab", "{key:?}");
        }
        assert_eq!(line("\u{1b}[200~INC-7\u{1b}[201~\r"), "INC-7");
        // and none of them swallows Enter
        for begun in ["\u{1b}", "\u{1b}[", "\u{1b}O", "\u{1b}[1;"] {
            assert_eq!(line(format!("a{begun}\r")), "a", "{begun:?}");
        }
        assert_eq!(typed([b'a', 0xff, 0xe7, b'b']).0, format!("a{BELL}b"));
    }

    #[test]
    fn an_empty_line_is_none_and_who_gives_up_has_said_so() {
        assert_eq!(typed("\r  \r"), (format!("{BELL}  {BELL}"), None));
        assert_eq!(typed("abc\u{3}").1, Some(Typed::GivenUp));
        assert_eq!(typed("\u{4}").1, Some(Typed::GivenUp));
        assert_eq!(typed("a\u{4}"), (format!("a{BELL}"), None));
    }

    #[test]
    fn it_is_as_long_as_a_reason_may_be_in_characters() {
        let longest = "理".repeat(ReasonText::MAX_CHARS);
        assert_eq!(typed(format!("{longest}理")).0, format!("{longest}{BELL}"));
        assert_eq!(line(format!("{longest}由\r")), longest);
        assert_eq!(line(format!("{longest}\u{7f}由\r")), format!("{}由", "理".repeat(ReasonText::MAX_CHARS - 1)));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_it_is_bounded_and_writes_nothing_but_characters(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(0x7f), Just(b'[')], 0..2000),
        ) {
            let mut line = ReasonLine::default();
            for byte in bytes {
                if let Typed::Shown(shown) = line.take(byte) {
                    prop_assert!(shown.chars().all(|c| !c.is_control() || c == '\u{7}' || c == '\u{8}'), "{shown:?}");
                }
                prop_assert!(line.characters == line.text.chars().count() && line.characters <= ReasonText::MAX_CHARS);
            }
        }

        #[test]
        fn a_reason_that_is_pasted_is_that_reason(text in "\\PC{1,256}") {
            prop_assume!(ReasonText::new(&text).is_some());
            prop_assert_eq!(line(format!("{text}\r")), text.trim());
        }
    }
}
