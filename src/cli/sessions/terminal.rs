//! This process's own terminal, or what stands in its place.

use std::io::{IsTerminal as _, Write as _};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::keyboard::Keyboard;
use crate::audit::{Asked, Kind, Screen, Trouble};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;

/// Standard output, standard error, and the keys of a terminal where somebody watches.
#[derive(Debug, Default)]
pub(super) struct Terminal {
    keys: Option<Keyboard>,
}

impl Terminal {
    /// One whose keys come at once.
    pub(super) fn with_keys() -> Self {
        Self { keys: Some(Keyboard::open()) }
    }
}

impl Screen for Terminal {
    fn print<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async { output::print(text).map_err(|failure| Trouble::new(Kind::Failed, failure.text)) })
    }

    fn show(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async move {
            let mut out = std::io::stdout().lock();
            out.write_all(&bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
                std::io::ErrorKind::BrokenPipe => Trouble::new(Kind::Gone, ""),
                _ => Trouble::new(Kind::Failed, format!("standard output can't be written: {error}")),
            })
        })
    }

    fn note<'a>(&'a mut self, text: &'a str) -> BoxFuture<'a, ()> {
        output::note(text);
        Box::pin(std::future::ready(()))
    }

    fn asked(&mut self) -> BoxFuture<'_, Asked> {
        match &mut self.keys {
            Some(keys) => Box::pin(keys.next()),
            None => Box::pin(std::future::pending()),
        }
    }

    fn width(&self) -> usize {
        match rustix::termios::tcgetwinsize(std::io::stdout()) {
            Ok(size) if size.ws_col >= 40 => size.ws_col.into(),
            _ => usize::MAX,
        }
    }

    fn is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let exit = match trouble.kind {
            Kind::Usage => Exit::Usage,
            Kind::Directory => Exit::Directory,
            Kind::Failed | Kind::Denied => Exit::Failed,
            // a reader that went away is no failure
            Kind::Gone => Exit::Done,
        };
        Self::new(exit, trouble.text)
    }
}
