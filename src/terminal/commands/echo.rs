//! What the terminal itself echoes of a line, where no editor draws it.
//!
//! On the screen such an echo is not always the line: erasing stops at the left edge of a row, takes one cell of a character that has
//! two, and a change of the size moves what was before. The bytes of it are simple enough to be followed: characters, and `BS SP BS`
//! for each that was taken back.

/// The echo of one line, for as long as it is nothing else.
#[derive(Default)]
pub(super) struct Echo {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    /// A backspace, and then a space.
    Back,
    Blank,
    /// Its row is left.
    Return,
    /// Something else came.
    Broken,
}

/// No terminal takes a longer line.
const LONGEST: usize = 4096;

impl Echo {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Plain, b' '..=b'~' | 0x80..) if self.bytes.len() < LONGEST => {
                    self.bytes.push(byte);
                    State::Plain
                }
                (State::Plain, 8) => State::Back,
                (State::Back, b' ') => State::Blank,
                (State::Blank, 8) if !self.bytes.is_empty() => {
                    while self.bytes.pop().is_some_and(|byte| (0x80..0xc0).contains(&byte)) {}
                    State::Plain
                }
                (State::Plain | State::Return, b'\r') => State::Return,
                _ => State::Broken,
            };
            if self.state == State::Broken {
                self.bytes = Vec::new();
                return;
            }
        }
    }

    /// What was typed, if nothing but its echo came.
    pub(super) fn line(&self) -> Option<&str> {
        let whole = matches!(self.state, State::Plain | State::Return);
        std::str::from_utf8(&self.bytes).ok().filter(|_| whole)
    }

    /// What is kept in little room can't follow any more.
    pub(super) fn give_up(&mut self) {
        *self = Self { bytes: Vec::new(), state: State::Broken };
    }
}

#[cfg(test)]
mod tests {
    use super::Echo;

    fn of(bytes: &[&[u8]]) -> Option<String> {
        let mut echo = Echo::default();
        for bytes in bytes {
            echo.push(bytes);
        }
        echo.line().map(str::to_owned)
    }

    #[test]
    fn what_is_taken_back_is_gone_wherever_the_row_ended() {
        assert_eq!(of(&[b"echo abx", b"\x08 ", b"\x08c\r"]).as_deref(), Some("echo abc"));
        assert_eq!(of(&["cat 数据".as_bytes(), b"\x08 \x08"]).as_deref(), Some("cat 数"));
    }

    #[test]
    fn anything_else_is_no_echo() {
        assert_eq!(of(&[b"ab\x1b[J"]), None);
        assert_eq!(of(&[b"ab\x08c"]), None);
        assert_eq!(of(&[b"20%\r30%"]), None);
        assert_eq!(of(&[b"\x08 \x08"]), None);
        assert_eq!(of(&["数".as_bytes().split_at(2).0]), None);
    }
}
