//! What a person pressed: only the few things that matter, and never what was typed.

/// What of the input a watch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character of ASCII, which would be shown if echo is on.
    Shown,
    /// Another character.
    NotAscii,
    /// The character before the cursor is taken back.
    Erase,
    /// A line's end within a paste.
    PastedLine,
    /// Enter, or ^O, which enters a line in some editors.
    Enter,
    /// ^C.
    Interrupt,
    /// ^D.
    End,
    /// Any other key: an arrow, ^R, Tab.
    Other,
}

/// Tells keys from the answers that a terminal gives by itself. Its state is where in a sequence it is: no byte is kept.
#[derive(Clone, Default)]
pub(super) struct Keys {
    state: State,
    /// The number of a control sequence, as far as it was read: 200 and 201 frame a paste.
    number: u32,
    pasting: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Control,
    /// `ESC O` and one character: a key of the keypad.
    Single,
    /// An answer as a string: OSC, DCS, APC.
    String,
    StringEscape,
}

impl Keys {
    /// The keys in `bytes`, in order.
    pub(super) fn read(&mut self, bytes: &[u8], mut key: impl FnMut(Key)) {
        for &byte in bytes {
            if let Some(pressed) = self.step(byte) {
                key(pressed);
            }
        }
    }

    fn step(&mut self, byte: u8) -> Option<Key> {
        match self.state {
            State::Ground => match byte {
                0x1b => {
                    self.state = State::Escape;
                    None
                }
                b'\r' | b'\n' if self.pasting => Some(Key::PastedLine),
                b'\r' | b'\n' | 0x0f => Some(Key::Enter),
                3 | 0x1c => Some(Key::Interrupt),
                4 => Some(Key::End),
                0x7f | 8 => Some(Key::Erase),
                0..0x20 => Some(Key::Other),
                // the rest of a character
                0x80..=0xbf => None,
                0xc0.. => Some(Key::NotAscii),
                _ => Some(Key::Shown),
            },
            State::Escape => match byte {
                b'[' => {
                    self.state = State::Control;
                    self.number = 0;
                    None
                }
                b'O' => {
                    self.state = State::Single;
                    None
                }
                b']' | b'P' | b'_' | b'^' | b'X' => {
                    self.state = State::String;
                    None
                }
                0x1b => Some(Key::Other),
                _ => {
                    self.state = State::Ground;
                    Some(Key::Other)
                }
            },
            State::Control => match byte {
                b'0'..=b'9' => {
                    self.number = self.number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
                    None
                }
                0x1b => {
                    self.state = State::Escape;
                    None
                }
                0x40..=0x7e => {
                    self.state = State::Ground;
                    match (byte, self.number) {
                        (b'~', 200) => self.pasting = true,
                        (b'~', 201) => self.pasting = false,
                        // reports: position, status, attributes, size, modes, the mouse, focus
                        (b'R' | b'n' | b'c' | b't' | b'y' | b'M' | b'm' | b'I' | b'O', _) => {}
                        _ => return Some(Key::Other),
                    }
                    None
                }
                _ => None,
            },
            State::Single => {
                self.state = State::Ground;
                Some(Key::Other)
            }
            State::String => {
                match byte {
                    0x1b => self.state = State::StringEscape,
                    7 => self.state = State::Ground,
                    // a person who pressed Esc and a letter types no terminator: Enter ends it
                    b'\r' => {
                        self.state = State::Ground;
                        return Some(Key::Enter);
                    }
                    _ => {}
                }
                None
            }
            State::StringEscape => {
                self.state = State::Ground;
                if byte == b'\\' { None } else { Some(Key::Other) }
            }
        }
    }
}
