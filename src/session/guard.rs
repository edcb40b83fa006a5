//! A guard-rail in a shell: what is typed at its prompt is held at Enter until policy has looked at it.
//!
//! ```text
//!  typed ──▶ to the shell, which shows it ──Enter──▶ the line as the terminal shows it ──▶ policy ─yes─▶ Enter goes on
//!                                                     │ no prompt: a program reads it            └no─▶ ^C, and the sentence
//!                                                     └──▶ Enter goes on
//! ```
//!
//! It is no wall. It sees what the terminal shows: a script, an alias, an editor's shell, a program that reads commands are all ways
//! around it (docs/threats.md). Of several lines that come at once each waits for the one before.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::evidence::InputRecord;
use crate::policy::{Denial, Policies, Standing};

/// What looks at the lines of one shell.
#[derive(Debug)]
pub(super) struct Guard {
    standing: watch::Receiver<Standing>,
    policies: Policies,
    /// When something was typed that its terminal has yet to show.
    typed: Mutex<Option<Instant>>,
}

/// A piece of what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Anything.
    Text(Bytes),
    /// What runs a line at a prompt.
    Enter(Bytes),
}

/// The terminal has shown what was typed when it has been silent for so long.
const SILENT: Duration = Duration::from_millis(30);

/// It is not waited for longer: a shell that is busy shows nothing.
const LONGEST_ECHO: Duration = Duration::from_secs(1);

/// So long the rest of what came at once waits for the shell to read again. What runs longer may itself read it.
const LONGEST_RUN: Duration = Duration::from_secs(2);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What ends a line without running it, and has the shell begin another.
pub(super) const ABANDON: &[u8] = b"\x03";

impl Guard {
    pub(super) fn new(standing: watch::Receiver<Standing>, policies: Policies) -> Self {
        Self { standing, policies, typed: Mutex::default() }
    }

    /// Something was typed.
    pub(super) fn typed(&self) {
        *self.typed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the line that stands at the prompt may be run; also where none does.
    pub(super) async fn judge(&self, record: &InputRecord) -> Result<(), Held> {
        let typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(line) = shown(record, typed).await else { return Ok(()) };
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        let judged = self.standing.borrow().judge_typed(&self.policies, line.as_bytes());
        judged.map_err(|denial| Held { line: line.to_owned(), denial })
    }
}

/// Whether the shell reads again after a line, before what came with it and is behind it goes on.
pub(super) async fn reads_again(record: &InputRecord) -> bool {
    let until = Instant::now() + LONGEST_RUN;
    while !(record.waits() && record.silent_for() >= SILENT) {
        if Instant::now() >= until {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

/// A line that is not run.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) line: String,
    pub(super) denial: Denial,
}

/// The line at the prompt once all is shown that was typed.
async fn shown(record: &InputRecord, typed: Option<Instant>) -> Option<String> {
    let until = Instant::now() + LONGEST_ECHO;
    let is_shown = || {
        let silent = record.silent_for();
        silent >= SILENT && typed.is_none_or(|typed| silent < typed.elapsed())
    };
    while !is_shown() && Instant::now() < until {
        sleep(LOOK).await;
    }
    record.line()
}

/// What runs a line: Enter, and in readline Ctrl-O as well.
const ENTERS: &[u8] = b"\r\n\x0f";

/// What was typed, cut at each Enter.
pub(super) fn pieces(mut bytes: Bytes) -> Vec<Typed> {
    let mut pieces = Vec::new();
    while let Some(at) = bytes.iter().position(|byte| ENTERS.contains(byte)) {
        let text = bytes.split_to(at);
        if !text.is_empty() {
            pieces.push(Typed::Text(text));
        }
        // both together are one
        let enter = if bytes.starts_with(b"\r\n") { 2 } else { 1 };
        pieces.push(Typed::Enter(bytes.split_to(enter)));
    }
    if !bytes.is_empty() {
        pieces.push(Typed::Text(bytes));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_typed_is_cut_at_each_enter_and_nothing_of_it_is_lost(typed in "[a\r\n]{0,12}") {
            let bytes = Bytes::from(typed.clone());
            let pieces = pieces(bytes);
            let all: Vec<u8> = pieces.iter().flat_map(|piece| match piece {
                Typed::Text(bytes) | Typed::Enter(bytes) => bytes.to_vec(),
            }).collect();
            prop_assert_eq!(all, typed.into_bytes());
            for piece in pieces {
                match piece {
                    Typed::Text(text) => prop_assert!(!text.is_empty() && text.iter().all(|byte| *byte == b'a')),
                    Typed::Enter(enter) => prop_assert!(["\r", "\n", "\r\n"].iter().any(|known| enter == *known)),
                }
            }
        }
    }
}
