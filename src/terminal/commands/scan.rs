//! Where in the output something happens that a watch acts on. It reads bytes as the models do, without drawing.

use super::marks::{Mark, Nonce, Proof, parse};

/// A place in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Just before a line feed.
    BeforeLineFeed,
    /// A line editor turned bracketed paste on (`CSI ? 2004 h`): it begins to read.
    Reads,
    /// It turned it off: the line was entered or given up.
    HasRead,
    /// `CSI 6 n`: an editor asks where the cursor is, as busybox does after its prompt.
    AsksPosition,
    /// The alternate screen, on or off.
    Alternate(bool),
    /// A mark of a shell, and whose it is.
    Mark(Mark, Proof),
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// A byte 0xC2, which may begin a C1 control character.
    Latin,
    Escape,
    Control,
    Command,
    CommandEscape,
    /// DCS, SOS, PM, APC.
    String,
    StringEscape,
}

/// The longest body of an operating system command that may be a mark, and the most parameters of a control sequence.
const LONGEST_BODY: usize = 256;
const LONGEST_PARAMETERS: usize = 48;

#[derive(Clone, Default)]
pub(super) struct Scanner {
    state: State,
    body: Vec<u8>,
    /// Something was printed since the last line feed, outside of sequences.
    pub printed: bool,
    /// How many sequences began since then.
    pub escapes: u32,
    /// Modes were set under which what scrolled away still matters: a scrolling region, insertion, origin, other character sets.
    pub odd: bool,
    /// Something but text, its colours, CR, LF and tabs has come since this was last put to false.
    pub moved: bool,
}

impl Scanner {
    /// Whether it is between sequences.
    pub(super) fn at_rest(&self) -> bool {
        self.state == State::Ground
    }

    /// Where the next sign is: how many of `bytes` come before the point at which it takes effect, and the sign. For a line feed
    /// that is before it, and the caller has to step over it (see [`Scanner::line_feed`]).
    pub(super) fn next(&mut self, bytes: &[u8], nonce: Option<&Nonce>) -> Option<(usize, Sign)> {
        let mut signs = [None; 1];
        for (place, &byte) in bytes.iter().enumerate() {
            if self.state == State::Ground {
                match byte {
                    b'\n' => return Some((place, Sign::BeforeLineFeed)),
                    b'\r' | b'\t' => {}
                    0x20..=0x7e | 0x80..=0xc1 | 0xc3..=0xff => self.printed = true,
                    0xc2 => self.state = State::Latin,
                    0x1b => {
                        self.state = State::Escape;
                        self.escapes = self.escapes.saturating_add(1);
                    }
                    _ => {
                        self.moved = true;
                        self.odd |= byte == 0x0e;
                    }
                }
                continue;
            }
            self.step(byte, nonce, &mut signs);
            if let [Some(sign)] = signs {
                return Some((place + 1, sign));
            }
        }
        None
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        self.body.shrink_to_fit();
    }

    /// The line feed of [`Sign::BeforeLineFeed`] is passed.
    pub(super) fn line_feed(&mut self) {
        self.printed = false;
        self.escapes = 0;
    }

    fn step(&mut self, byte: u8, nonce: Option<&Nonce>, sign: &mut [Option<Sign>; 1]) {
        let [sign] = sign;
        match (self.state, byte) {
            (State::Latin, 0x80..=0x9f) => {
                self.moved = true;
                self.enter(byte - 0x40);
            }
            (State::Latin, 0x1b) => {
                self.state = State::Escape;
                self.moved = true;
            }
            (State::Latin, b'\n') => {
                // cut by a line feed: an invalid byte. The line feed is not a place to look at
                self.state = State::Ground;
                self.moved = true;
            }
            (State::Latin, 0xc2) => self.printed = true,
            (State::Latin, _) => {
                self.state = State::Ground;
                self.printed = true;
            }
            (_, 0x18 | 0x1a) => {
                self.state = State::Ground;
                self.moved = true;
            }
            (State::Command, 7) => *sign = self.command(nonce),
            (State::Command, 0x1b) => self.state = State::CommandEscape,
            (State::Command, _) => {
                if self.body.len() <= LONGEST_BODY {
                    self.body.push(byte);
                }
            }
            (State::CommandEscape, b'\\') => *sign = self.command(nonce),
            (State::String, 0x1b) => self.state = State::StringEscape,
            (State::String, 7) => self.state = State::Ground,
            (State::String, _) => {}
            (_, 0x1b) => {
                self.state = State::Escape;
                self.moved = true;
            }
            (State::Escape | State::StringEscape | State::CommandEscape, _) => self.enter(byte),
            (State::Control, 0x20..=0x3f) => {
                if self.body.len() <= LONGEST_PARAMETERS {
                    self.body.push(byte);
                } else {
                    self.moved = true;
                }
            }
            (State::Control, 0x40..=0x7e) => {
                self.state = State::Ground;
                *sign = self.control(byte);
            }
            // control characters inside a sequence, and what is no byte of one
            (State::Control, _) | (State::Ground, _) => self.moved = true,
        }
    }

    /// The byte after ESC.
    fn enter(&mut self, byte: u8) {
        self.body.clear();
        self.moved |= byte != b'[';
        self.state = match byte {
            b'[' => State::Control,
            b']' => State::Command,
            b'P' | b'X' | b'^' | b'_' => State::String,
            0x20..=0x2f => {
                self.odd = true;
                State::Escape
            }
            0..0x20 => State::Escape,
            b'c' => {
                self.odd = false;
                State::Ground
            }
            _ => State::Ground,
        };
    }

    fn command(&mut self, nonce: Option<&Nonce>) -> Option<Sign> {
        self.state = State::Ground;
        if self.body.len() > LONGEST_BODY {
            return None;
        }
        parse(&self.body, nonce).map(|(mark, proof)| Sign::Mark(mark, proof))
    }

    fn control(&mut self, end: u8) -> Option<Sign> {
        if end == b'm' && self.body.iter().all(|byte| b"0123456789;:".contains(byte)) {
            return None;
        }
        self.moved = true;
        if end == b'r' {
            self.odd = true;
        }
        if self.body == b"6" && end == b'n' {
            return Some(Sign::AsksPosition);
        }
        let on = match end {
            b'h' => true,
            b'l' => false,
            _ => return None,
        };
        let modes = self.body.strip_prefix(b"?").map(<[u8]>::to_vec);
        let Some(modes) = modes else {
            self.odd = true;
            return None;
        };
        let mut found = None;
        for mode in modes.split(|&byte| byte == b';') {
            match mode {
                b"2004" => found = Some(if on { Sign::Reads } else { Sign::HasRead }),
                b"1049" | b"1047" | b"47" => found = Some(Sign::Alternate(on)),
                b"6" | b"7" => self.odd = true,
                _ => {}
            }
        }
        found
    }
}
