//! What a recording may send to a real terminal.

use crate::utf8::Decoder;

/// The longest control sequence that is passed on; no program sends longer ones.
const LONGEST: usize = 64;

/// Passes what draws (text, colours, the cursor, erasing, scrolling, the alternate screen) and drops the rest of what a
/// node said: operating system commands (titles, the clipboard, links, notifications), device control strings,
/// questions that a terminal would answer into the person's own shell, and modes that would stay after the replay.
///
/// Bytes may be cut anywhere: a sequence is passed on when it is whole.
#[derive(Clone, Default)]
pub struct Sanitizer {
    decoder: Decoder,
    state: State,
    sequence: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// `ESC` and intermediates, such as the choice of a character set.
    EscapeIntermediate,
    Control,
    /// OSC, DCS, SOS, PM, APC: until ST, BEL, CAN or SUB.
    String,
    StringEscape,
}

impl Sanitizer {
    /// Nothing has been passed on yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `to` what of `bytes` a terminal may get.
    pub fn pass(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        let mut text = String::with_capacity(bytes.len());
        self.decoder.decode(bytes, &mut text);
        let mut out = String::with_capacity(text.len());
        for character in text.chars() {
            self.step(character, &mut out);
        }
        to.extend_from_slice(out.as_bytes());
    }

    /// What puts a terminal back after the last of it: the main screen, no colours, a visible cursor, all rows scrolling.
    #[must_use]
    pub fn restore() -> &'static [u8] {
        b"\x1b[?1049l\x1b[?7h\x1b[?6l\x1b[4l\x1b[r\x1b[m\x1b(B\x0f\x1b[?25h\r\n"
    }

    fn step(&mut self, character: char, out: &mut String) {
        match (self.state, character) {
            (_, '\x18' | '\x1a') => self.state = State::Ground,
            (State::String, '\x1b') => self.state = State::StringEscape,
            (State::String, '\x07' | '\u{9c}') | (State::StringEscape, '\\') => self.state = State::Ground,
            (State::String, _) => {}
            (_, '\x1b') => self.begin(State::Escape, "\x1b"),
            (_, '\u{9b}') => self.begin(State::Control, "\x1b["),
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => self.state = State::String,
            // other C1: next line, index and reverse index draw; the rest does not
            (_, '\u{84}' | '\u{85}' | '\u{8d}') => {
                self.state = State::Ground;
                out.push('\x1b');
                out.extend(char::from_u32(u32::from(character) - 0x40));
            }
            (_, '\u{80}'..='\u{9f}') => self.state = State::Ground,
            // a control character inside a sequence is carried out, and the sequence goes on; enquiry (5) makes a terminal answer
            (_, '\x08'..='\x0f') => out.push(character),
            (_, '\0'..='\x1f' | '\x7f') => {}
            (State::Ground, _) => out.push(character),
            (State::Escape | State::StringEscape, '[') => self.begin(State::Control, "\x1b["),
            (State::Escape | State::StringEscape, ']' | 'P' | 'X' | '^' | '_') => self.state = State::String,
            (State::Escape, ' '..='/') => {
                self.sequence.push(character);
                self.state = State::EscapeIntermediate;
            }
            (State::EscapeIntermediate, ' '..='/') => self.lengthen(character),
            (State::Escape | State::StringEscape, _) => {
                self.state = State::Ground;
                // save and restore cursor, index, next line, reverse index
                if matches!(character, '7' | '8' | 'D' | 'E' | 'M') {
                    out.push('\x1b');
                    out.push(character);
                }
            }
            (State::EscapeIntermediate, _) => {
                self.state = State::Ground;
                // character sets G0 and G1: lines of boxes; restored at the end
                if matches!(self.sequence.as_str(), "\x1b(" | "\x1b)") && matches!(character, '0' | 'A' | 'B') {
                    out.push_str(&self.sequence);
                    out.push(character);
                }
            }
            (State::Control, '\u{20}'..='\u{3f}') => self.lengthen(character),
            (State::Control, '\u{40}'..='\u{7e}') => {
                self.state = State::Ground;
                if self.draws(character) {
                    out.push_str(&self.sequence);
                    out.push(character);
                }
            }
            (State::Control, _) => self.state = State::Ground,
        }
    }

    fn begin(&mut self, state: State, start: &str) {
        self.state = state;
        self.sequence.clear();
        self.sequence.push_str(start);
    }

    fn lengthen(&mut self, character: char) {
        // one over the limit is kept, so that it is seen to be too long
        if self.sequence.len() <= LONGEST {
            self.sequence.push(character);
        }
    }

    /// Whether the control sequence in hand, ended by `end`, only draws.
    fn draws(&self, end: char) -> bool {
        let Some(parameters) = self.sequence.strip_prefix("\x1b[") else { return false };
        if self.sequence.len() > LONGEST {
            return false;
        }
        if let Some(modes) = parameters.strip_prefix('?') {
            // cursor keys and bracketed paste, the mouse and focus reports stay behind and change what keys send
            return matches!(end, 'h' | 'l')
                && !modes.is_empty()
                && modes
                    .split(';')
                    .all(|mode| matches!(mode, "6" | "7" | "12" | "25" | "47" | "1047" | "1048" | "1049"));
        }
        let plain = parameters.chars().all(|character| character.is_ascii_digit() || matches!(character, ';' | ':'));
        match end {
            'h' | 'l' => parameters == "4",
            // 3 would erase what the person's own terminal has scrolled away
            'J' => matches!(parameters, "" | "0" | "1" | "2"),
            '@'..='M' | 'P' | 'S' | 'X' | 'Z' | '`' | 'a' | 'b' | 'd' | 'e' | 'f' | 'm' | 'r' | 's' | 'u' => plain,
            // with more than one parameter `T` would start highlight mouse tracking
            'T' => plain && !parameters.contains(';'),
            _ => false,
        }
    }
}

/// All of `bytes` at once; see [`Sanitizer`].
#[must_use]
pub fn sanitize_for_replay(bytes: &[u8]) -> Vec<u8> {
    let mut passed = Vec::with_capacity(bytes.len());
    Sanitizer::new().pass(bytes, &mut passed);
    passed
}
