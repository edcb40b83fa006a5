//! The keys of whoever watches, and their terminal, which is what it was before on every way out.

use std::io::{IsTerminal as _, Read as _, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use super::replay::LEAVE;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Pause,
    Step,
    Back,
    Forth,
    Quit,
}

/// A terminal that gives each key at once; dropping it gives it back as it was.
#[derive(Debug)]
pub(super) struct Keyboard {
    before: Option<Termios>,
    keys: mpsc::Receiver<Asked>,
    /// Where nobody has keys, none are waited for.
    open: bool,
}

impl Keyboard {
    /// Of standard input, where it is a terminal.
    pub(super) fn open() -> Self {
        let (send, keys) = mpsc::channel(16);
        let stdin = std::io::stdin();
        let before = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        let mut open = false;
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            open = tcsetattr(&stdin, OptionalActions::Now, &raw).is_ok();
            // it ends with the process: a read of a terminal can't be called back
            open = open && std::thread::Builder::new().name("keys".to_owned()).spawn(move || read(&send)).is_ok();
        }
        Self { before, keys, open }
    }

    /// The next key that means something; never, where there are none.
    pub(super) async fn next(&mut self) -> Asked {
        if self.open {
            match self.keys.recv().await {
                Some(asked) => return asked,
                // the terminal has hung up
                None => return Asked::Quit,
            }
        }
        std::future::pending().await
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
        }
    }
}

fn read(send: &mpsc::Sender<Asked>) {
    let mut keys = Keys::default();
    let mut byte = [0];
    while let Ok(1) = std::io::stdin().lock().read(&mut byte) {
        let [byte] = byte;
        if let Some(asked) = keys.take(byte)
            && send.blocking_send(asked).is_err()
        {
            return;
        }
    }
}

/// Keys out of bytes: an arrow is `ESC [ C` or `ESC O C`.
#[derive(Debug, Default)]
pub(in crate::cli) struct Keys {
    sequence: u8,
}

impl Keys {
    pub(super) fn take(&mut self, byte: u8) -> Option<Asked> {
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
