//! One session's evidence as a folder: what its files are, how they are sealed while they are written, and how somebody who has
//! nothing but the folder and a public key verifies it.
//!
//! ```text
//!  <evidence>/sessions/2026-11-30/<session>/
//!     events.jsonl     every event, in OCSF; each line has the fingerprint of the one before   ┐
//!     terminal.cast    what the terminal showed (asciicast v2)                                 │ append only; covered
//!     commands.jsonl   each command, and how it was learnt                                     ├ by each checkpoint
//!     files.jsonl      each file operation                                                     │
//!     stdout.head …    the beginnings of streams                                               ┘
//!     checkpoints      C2SP checkpoints, one after the other: signed heads, at least every second in which something is written
//!     manifest.json    the session on one page; made at its end, covered by the last checkpoint
//! ```
//!
//! `docs/formats.md` has the formats byte by byte.

mod layout;
mod manifest;
mod records;

pub use layout::{File, day_of, path_of};
pub use manifest::{
    Algorithms, Aws, AwsSession, Counts, Decision, Ended, FileEntry, Manifest, NodeEntry, Stream, Streams,
};
pub use records::{CommandRecord, FileRecord, How};
