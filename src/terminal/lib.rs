//! What a terminal showed: recordings in asciicast, and the commands that were run in an interactive shell.
//!
//! * [`cast`]: writes, reads and converts [asciicast](https://docs.asciinema.org/manual/asciicast/v3/) files.
//! * [`CommandWatch`]: tells from what went over a terminal which commands were run, with a confidence for each.
//! * [`neutral()`] and [`Sanitizer`]: make what a node said safe for a person's own terminal.
//!
//! Nothing here has a socket, a file or a clock: bytes and times come in, and values go out.
//! Times are since the session's start.

#[cfg(test)]
mod tests;

pub mod cast;
mod commands;
mod neutral;
mod replay;
mod size;
mod utf8;

pub use commands::{Command, CommandWatch, How, Line, Nonce, UNSURE_BELOW, Unmarked};
pub use neutral::neutral;
pub use replay::{Sanitizer, sanitize_for_replay};
pub use size::Size;
