//! `portcullis password`: the hash of a password, for somebody's `password` in the configuration. The password is typed, or comes on
//! standard input; never on the command line, where every user of the machine could read it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Stdin, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use super::output;
use crate::identity::PasswordHash;

/// More than any password, so that whatever is on standard input is read to no end.
const LONGEST_LINE: u64 = 4096;

pub(super) fn run() -> Result<(), Failure> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let silent =
            Silent::begin(&stdin).map_err(|error| failed(format!("the terminal can't be made silent: {error}")))?;
        let password = asked(&stdin, "Password: ")?;
        let again = asked(&stdin, "Again: ")?;
        drop(silent);
        if *password != *again {
            return Err(failed("the two are not the same; nothing was made"));
        }
        password
    } else {
        line(&stdin)?
    };
    let hash = PasswordHash::line_of(&password).map_err(|error| failed(error.to_string()))?;
    output::print(&format!("{hash}\n"))
}

fn asked(stdin: &Stdin, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let mut err = io::stderr().lock();
    // nobody reading it is fine
    let _ = write!(err, "{prompt}").and_then(|()| err.flush());
    let password = line(stdin);
    let _ = writeln!(err);
    password
}

fn line(stdin: &Stdin) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_LINE as usize));
    let read = stdin.lock().take(LONGEST_LINE).read_line(&mut text);
    read.map_err(|error| failed(format!("no password could be read: {error}")))?;
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    Ok(text)
}

fn failed(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, text)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silent<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn begin(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &silent)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
