//! What of a recording may reach somebody's terminal: text, colours, and where the cursor goes. A recording is whatever a node
//! sent; in it are answers that a terminal would give, titles, clipboards, links and files to write, and none of these is let through.

/// Lets through what only shows, of what comes in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Replay {
    state: State,
    /// The sequence that has begun.
    sequence: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    Charset,
    Control,
    Ignored,
    String,
    StringEscape,
}

/// The longest sequence that is let through, in characters.
const LONGEST: usize = 64;

/// What a terminal is left with: colours, scrolling region, wrapping, cursor and screen as they were.
pub const LEAVE: &str = "\x1b[0m\x1b(B\x1b[r\x1b[?7h\x1b[?47l\x1b[?25h\r\n";

/// A screen to begin on.
pub(super) const FRESH: &str = "\x1b[0m\x1b(B\x1b[r\x1b[?7h\x1b[?25h\x1b[2J\x1b[H";

impl Replay {
    /// What of this piece is let through.
    pub(super) fn take(&mut self, piece: &str) -> String {
        let mut out = String::with_capacity(piece.len());
        for found in piece.chars() {
            self.state = self.next(found, &mut out);
        }
        out
    }

    fn next(&mut self, found: char, out: &mut String) -> State {
        match (self.state, found) {
            (_, '\x18' | '\x1a') => State::Text,
            (State::String, '\x07' | '\u{9c}') | (State::StringEscape, '\\') => State::Text,
            (State::String, '\x1b') => State::StringEscape,
            (State::String, _) => State::String,
            (_, '\x1b') => State::Escape,
            (State::Escape | State::StringEscape, '[') => {
                self.sequence.clear();
                State::Control
            }
            (State::Escape | State::StringEscape, ']' | 'P' | '_' | '^' | 'X') => State::String,
            (State::Escape | State::StringEscape, '(' | ')') => {
                self.sequence = found.to_string();
                State::Charset
            }
            (State::Escape | State::StringEscape, '\x20'..='\x2f') => State::Ignored,
            (State::Escape, '7' | '8' | 'D' | 'E' | 'M') => {
                out.push('\x1b');
                out.push(found);
                State::Text
            }
            (State::Escape | State::StringEscape, _) => State::Text,
            (State::Charset, '0' | 'A' | 'B') => {
                out.push('\x1b');
                out.push_str(&self.sequence);
                out.push(found);
                State::Text
            }
            (State::Charset | State::Ignored, '\x20'..='\x2f') => State::Ignored,
            (State::Charset | State::Ignored, _) => State::Text,
            (State::Control, '\x40'..='\x7e') => {
                if self.sequence.chars().count() < LONGEST && shows(&self.sequence, found) {
                    out.push_str("\x1b[");
                    out.push_str(&self.sequence);
                    out.push(found);
                }
                State::Text
            }
            (State::Control, '\x20'..='\x3f') => {
                if self.sequence.len() < LONGEST {
                    self.sequence.push(found);
                }
                State::Control
            }
            // ECMA-48 lets controls stand in a sequence
            (State::Control, '\r' | '\n' | '\x08') => {
                out.push(found);
                State::Control
            }
            (State::Control, '\x00'..='\x1f') => State::Control,
            (State::Control, _) => State::Text,
            (State::Text, '\u{9b}') => {
                self.sequence.clear();
                State::Control
            }
            (State::Text, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => State::String,
            (State::Text, '\r' | '\n' | '\t' | '\x08' | '\x0e' | '\x0f') => {
                out.push(found);
                State::Text
            }
            (State::Text, _) => {
                if !found.is_control() {
                    out.push(found);
                }
                State::Text
            }
        }
    }
}

/// Whether a control sequence only shows something.
fn shows(parameters: &str, last: char) -> bool {
    let numbers = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'));
    match last {
        // movements, erasing, inserting, scrolling, colours, the scrolling region
        'A'..='H'
        | 'K'
        | 'L'
        | 'M'
        | 'P'
        | 'S'
        | 'T'
        | 'X'
        | '@'
        | 'I'
        | 'Z'
        | '`'
        | 'a'
        | 'd'
        | 'e'
        | 'f'
        | 'm'
        | 'r' => numbers(parameters),
        // not what was on the screen before (3)
        'J' => matches!(parameters, "" | "0" | "1" | "2"),
        // wrapping, the cursor, the other screen
        'h' | 'l' => parameters.strip_prefix('?').is_some_and(|modes| {
            modes.split(';').all(|mode| matches!(mode, "7" | "25" | "47" | "1047" | "1048" | "1049"))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replayed(pieces: &[&str]) -> String {
        let mut replay = Replay::default();
        pieces.iter().map(|piece| replay.take(piece)).collect()
    }

    #[test]
    fn what_shows_is_let_through_wherever_the_pieces_are_cut() {
        for text in [
            "\x1b[1;31mred\x1b[0m\r\n",
            "\x1b[?1049h\x1b[2J\x1b[10;5Hx\x1b[?25l",
            "\x1b(0lqk\x1b(B",
            "\x1b[38:2::1:2:3mä\x1b7\x1b8",
        ] {
            assert_eq!(replayed(&[text]), text);
            let each: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(replayed(&each.iter().map(String::as_str).collect::<Vec<_>>()), text);
        }
    }

    #[test]
    fn what_does_more_than_show_is_not() {
        for text in [
            "\x1b]0;title\x07",
            "\x1b]52;c;cm0gLXJmIC8K\x1b\\",
            "\x1b]8;;http://x\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_Gx\x1b\\",
            "\x1b[6n",
            "\x1b[c",
            "\x1b[>0c",
            "\x1b[5i",
            "\x1b[21t",
            "\x1b[?1000h",
            "\x1b[?2004h",
            "\x1b[3J",
            "\x1b[?69$p",
            "\x1bc",
            "\x05",
            "\x07",
            "\u{9d}0;x\u{9c}",
            "\u{9b}6n",
            "\x1b[!p",
            "\x1b#8",
            "\x1b[?1;1000h",
            "\x1b[ q",
            "\x1b%G",
        ] {
            assert_eq!(replayed(&[text]), "", "{text:?}");
        }
        assert_eq!(replayed(&["\x1b[1\x1b[6nx"]), "x");
    }

    proptest! {
        #[test]
        fn of_any_bytes_only_sequences_that_show_are_left(text in "[\\x00-\\x20\\x1b\\[\\]\\(;?0-9A-Za-z\u{80}-\u{a0}]{0,60}") {
            let once = replayed(&[&text]);
            // it is its own answer: nothing is made by leaving something out
            prop_assert_eq!(replayed(&[&once]), once.clone());
            let allowed = |found: char| !found.is_control() || matches!(found, '\x1b' | '\r' | '\n' | '\t' | '\x08' | '\x0e' | '\x0f');
            prop_assert!(once.chars().all(allowed));
        }
    }
}
