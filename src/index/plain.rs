//! What a terminal showed, as text to search: without escape sequences and control characters. It is for finding, not for
//! showing: where the cursor went is not followed.

/// Takes escape sequences out of what comes in pieces, as ECMA-48 (section 5.4) and xterm have them.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate, such as `ESC ( B`.
    Intermediate,
    /// In CSI … until its final byte.
    Control,
    /// In OSC, DCS, APC, PM or SOS until ST or BEL.
    String,
    /// ESC within such a string.
    StringEscape,
}

impl Plain {
    /// Adds what is text of this piece.
    pub fn take(&mut self, piece: &str, into: &mut String) {
        let mut rest = piece;
        while !rest.is_empty() {
            // most of it is text
            let plain = match self.state {
                State::Text => rest.bytes().position(|byte| !matches!(byte, b' '..=b'~')).unwrap_or(rest.len()),
                _ => 0,
            };
            let (before, after) = rest.split_at(plain);
            into.push_str(before);
            let mut characters = after.chars();
            if let Some(found) = characters.next() {
                self.state = self.next(found, into);
            }
            rest = characters.as_str();
        }
    }

    fn next(&self, found: char, into: &mut String) -> State {
        match (self.state, found) {
            // cancelled, ECMA-48 8.3.6 and 8.3.148
            (_, '\x18' | '\x1a') => State::Text,
            (State::String, '\x07' | '\u{9c}') => State::Text,
            (State::String, '\x1b') => State::StringEscape,
            (State::String, _) => State::String,
            (State::StringEscape, '\\') => State::Text,
            (_, '\x1b') => State::Escape,
            (State::Escape | State::StringEscape, '[') => State::Control,
            (State::Escape | State::StringEscape, ']' | 'P' | '_' | '^' | 'X') => State::String,
            (State::Escape | State::StringEscape, '\x20'..='\x2f') => State::Intermediate,
            (State::Escape | State::StringEscape, _) => State::Text,
            (State::Intermediate, '\x20'..='\x2f') => State::Intermediate,
            (State::Intermediate, _) => State::Text,
            (State::Control, '\x40'..='\x7e') => State::Text,
            (State::Control, '\x20'..='\x3f') => State::Control,
            (State::Control, '\x00'..='\x1f') => State::Control,
            (State::Control, _) => State::Text,
            (State::Text, '\u{9b}') => State::Control,
            (State::Text, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => State::String,
            (State::Text, _) => {
                text(found, into);
                State::Text
            }
        }
    }
}

fn text(found: char, into: &mut String) {
    match found {
        '\n' | '\r' => {
            if !into.is_empty() && !into.ends_with('\n') {
                into.push('\n');
            }
        }
        '\t' => into.push(' '),
        // somebody corrects what they have typed
        '\x08' => {
            if !into.ends_with('\n') {
                into.pop();
            }
        }
        found if found.is_control() => {}
        found => into.push(found),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(pieces: &[&str]) -> String {
        let (mut plain, mut text) = (Plain::default(), String::new());
        for piece in pieces {
            plain.take(piece, &mut text);
        }
        text
    }

    #[test]
    fn colours_titles_and_corrections_are_taken_out_wherever_the_pieces_are_cut() {
        assert_eq!(plain(&["\x1b[1;3", "1mred\x1b[0m\r\n\x1b]0;ti", "tle\x07$ lx\x08s\r\n"]), "red\n$ ls\n");
        assert_eq!(plain(&["\x1bP1$r0m\x1b", "\\a\x1b(Bb\u{9b}2Jc"]), "abc");
    }

    proptest! {
        #[test]
        fn nothing_but_text_comes_out(pieces in proptest::collection::vec("[\\x00-\\x7f\u{80}-\u{a0}ä]{0,12}", 0..8)) {
            let whole = pieces.concat();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let text = plain(&pieces);
            prop_assert_eq!(&text, &plain(&[&whole]));
            prop_assert!(text.chars().all(|found| found == '\n' || !found.is_control()));
            prop_assert!(text.len() <= whole.len());
        }
    }
}
