//! What the program prints. A reader that went away (`portcullis man | head`) is no failure.

use std::io::{IsTerminal as _, Write as _};

use super::exit::{Exit, Failure};

/// Prints to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Tells the person something on standard error; nobody listening is fine.
pub(super) fn note(text: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Whether standard error wants colour: a terminal whose owner has not said NO_COLOR.
pub(super) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
