//! Where it is shown, and the keys of whoever watches.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::Trouble;

/// A terminal, a pipe or a channel.
pub trait Screen: Send {
    /// Shows lines of text, each ended by a line feed.
    fn print<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, Result<(), Trouble>>;
    /// Shows bytes as they are.
    fn show(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), Trouble>>;
    /// Says something beside what was asked for; nobody listening is fine.
    fn note<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, ()>;
    /// The next key that means something; never, where there are none. Whoever stops waiting loses none.
    fn asked(&mut self) -> BoxFuture<'_, Asked>;
    /// How many columns there are; of a pipe or a file all fits.
    fn width(&self) -> usize;
    /// Whether a terminal would obey what is shown.
    fn is_terminal(&self) -> bool;
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To wait, or to go on.
    Pause,
    /// To go on to the next output.
    Step,
    /// To go back.
    Back,
    /// To go forth.
    Forth,
    /// To end.
    Quit,
}

/// Keys out of bytes: an arrow is `ESC [ C` or `ESC O C`.
#[derive(Debug, Default)]
pub struct Keys {
    sequence: u8,
}

impl Keys {
    /// What the byte asks for, with those before it.
    pub fn take(&mut self, byte: u8) -> Option<Asked> {
        let before = std::mem::take(&mut self.sequence);
        match (before, byte) {
            (_, 0x1b) => {
                self.sequence = 1;
                None
            }
            (1, b'[' | b'O') => {
                self.sequence = 2;
                None
            }
            (2, b'C') | (0, b'+') => Some(Asked::Forth),
            (2, b'D') | (0, b'-') => Some(Asked::Back),
            (2, _) => None,
            (_, b' ') => Some(Asked::Pause),
            (_, b'.') => Some(Asked::Step),
            // q, Ctrl-C, Ctrl-D, Ctrl-backslash
            (_, b'q' | 0x03 | 0x04 | 0x1c) => Some(Asked::Quit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_anything_else_is_none() {
        let mut keys = Keys::default();
        let asked: Vec<Asked> = b" .\x1b[C\x1bOD+-zzz\x1b[Aq\x03".iter().filter_map(|byte| keys.take(*byte)).collect();
        use Asked::{Back, Forth, Pause, Quit, Step};
        assert_eq!(asked, [Pause, Step, Forth, Back, Forth, Back, Quit, Quit]);
    }
}
