//! What is told of a command.

use std::time::Duration;

/// A command whose confidence is below this is unsure: most of those are not what was run. What is promised of precision and
/// recall counts only the others.
pub const UNSURE_BELOW: f64 = 0.5;

/// A line that somebody entered at a shell's prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// When it was entered, since the session's start.
    pub at: Duration,
    /// The line as it stood when it was entered: aliases and variables as they were typed, and lines that go on with it after a
    /// newline. Characters that act on a terminal can't be in it; those that reorder text can (see [`crate::neutral()`]).
    pub line: String,
    /// What it was told from.
    pub how: How,
    /// 0 to 1: the share of such lines that are what was run. See [`UNSURE_BELOW`].
    pub confidence: f64,
    /// What it ended with, where marks with the session's nonce tell it.
    pub exit: Option<i32>,
}

/// What a command was told from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Marks of the shell (OSC 133) that had this session's nonce.
    Marks,
    /// The screen. There were marks too, but without the nonce: anything that prints can make those.
    UnprovedMarks,
    /// The screen.
    Screen,
}

/// The line at the prompt just now, before it is entered.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// As it stands.
    pub line: String,
    /// 0 to 1: that this is a shell's prompt, and its line.
    pub confidence: f64,
    /// What was entered of the same command before, with a newline after each line: this one goes on with it.
    pub before: String,
}
