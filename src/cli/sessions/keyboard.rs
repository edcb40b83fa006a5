//! The keys of whoever watches, and their terminal, which is what it was before on every way out.

use std::io::{IsTerminal as _, Read as _, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use crate::audit::{Asked, Keys, LEAVE};

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
