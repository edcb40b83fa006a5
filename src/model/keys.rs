//! The keys of a terminal in raw mode: characters in UTF-8, control characters, and the sequences of keys that are neither.
//!
//! A lone Escape is not told from the beginning of a sequence, since that takes a clock; no key here needs it.

/// Tells keys in what a client sends, byte by byte.
#[derive(Debug, Default)]
pub struct Keys {
    /// The beginning of a character whose other bytes have not come.
    begun: Vec<u8>,
    sequence: Sequence,
}

/// A key, by what it means where a line is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One that can be shown.
    Character(char),
    /// Return, or a line feed.
    Enter,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
    /// Backspace, whichever of its two codes.
    Erase,
    /// Ctrl-W.
    EraseWord,
    /// Ctrl-U.
    EraseLine,
    /// The arrow, or Ctrl-P.
    Up,
    /// The arrow, or Ctrl-N.
    Down,
    /// A key that is no character, and none of these.
    Other,
    /// Another control character, or bytes that are no UTF-8.
    Refused,
}

/// What is said to a key that does nothing.
pub const BELL: &str = "\u{7}";

/// Where in the sequence of a key that is no character (ECMA-48, section 5.4; xterm's keys are of two forms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sequence {
    #[default]
    None,
    /// Behind an ESC.
    Escape,
    /// Behind `ESC O`, which one character ends.
    Single,
    /// Behind `ESC [`, which a character from `@` to `~` ends; whether any stood before that.
    Control { parameters: bool },
}

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const NEWLINE: u8 = b'\n';
const RETURN: u8 = b'\r';
const NEXT: u8 = 0x0e;
const PREVIOUS: u8 = 0x10;
const KILL_LINE: u8 = 0x15;
const KILL_WORD: u8 = 0x17;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

impl Keys {
    /// The next byte; the key that it ends, if it ends one.
    pub fn take(&mut self, byte: u8) -> Option<Key> {
        if !self.begun.is_empty() && !is_continuation(byte) {
            // half a character is none
            self.begun.clear();
        }
        let control = byte < 0x20 || byte == DELETE;
        match std::mem::take(&mut self.sequence) {
            Sequence::None => {}
            // a control character is itself wherever it comes: Enter must end the line
            _ if control => {}
            Sequence::Escape => {
                self.sequence = match byte {
                    b'[' => Sequence::Control { parameters: false },
                    b'O' => Sequence::Single,
                    _ => return Some(Key::Other),
                };
                return None;
            }
            Sequence::Single => return Some(arrow(byte)),
            Sequence::Control { parameters } => match byte {
                b'@'..=b'~' if parameters => return Some(Key::Other),
                b'@'..=b'~' => return Some(arrow(byte)),
                _ => {
                    self.sequence = Sequence::Control { parameters: true };
                    return None;
                }
            },
        }
        Some(match byte {
            RETURN | NEWLINE => Key::Enter,
            INTERRUPT => Key::Interrupt,
            END => Key::EndOfInput,
            BACKSPACE | DELETE => Key::Erase,
            KILL_LINE => Key::EraseLine,
            KILL_WORD => Key::EraseWord,
            PREVIOUS => Key::Up,
            NEXT => Key::Down,
            ESCAPE => {
                self.sequence = Sequence::Escape;
                return None;
            }
            _ if control => Key::Refused,
            _ => return self.character(byte),
        })
    }

    fn character(&mut self, byte: u8) -> Option<Key> {
        self.begun.push(byte);
        match std::str::from_utf8(&self.begun) {
            // the rest may come
            Err(error) if error.error_len().is_none() => None,
            read => {
                let character = read.ok().and_then(|text| text.chars().next()).filter(|found| !found.is_control());
                self.begun.clear();
                Some(character.map_or(Key::Refused, Key::Character))
            }
        }
    }
}

fn arrow(last: u8) -> Key {
    match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        _ => Key::Other,
    }
}

fn is_continuation(byte: u8) -> bool {
    (0x80..0xc0).contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: impl AsRef<[u8]>) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.as_ref().iter().filter_map(|&byte| keys.take(byte)).collect()
    }

    #[test]
    fn arrows_are_keys_in_both_of_their_forms_and_with_a_modifier_they_are_none_of_these() {
        use Key::{Character, Down, Enter, Other, Refused, Up};
        assert_eq!(keys("\u{1b}[A\u{1b}OB\u{10}\u{e}"), [Up, Down, Up, Down]);
        assert_eq!(keys("\u{1b}[1;5Ax\u{1b}[3~\u{1b}x"), [Other, Character('x'), Other, Other]);
        assert_eq!(keys("\u{1b}[\r\u{1}"), [Enter, Refused]);
        assert_eq!(keys("é\u{85}".as_bytes()), [Character('é'), Refused]);
        assert_eq!(keys([0xc3, b'a', 0xff]), [Character('a'), Refused]);
    }

    proptest! {
        #[test]
        fn little_is_kept_of_whatever_comes_and_characters_come_as_they_are(
            bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,40}",
        ) {
            let mut keys = Keys::default();
            for byte in bytes {
                if let Some(Key::Character(character)) = keys.take(byte) {
                    prop_assert!(!character.is_control());
                }
                prop_assert!(keys.begun.len() < 4);
            }
            let found: Vec<Key> = super::tests::keys(&text);
            prop_assert_eq!(found, text.chars().map(Key::Character).collect::<Vec<_>>());
        }
    }
}
