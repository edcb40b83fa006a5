//! Whether evidence is whole: what somebody can say who has the files and the public keys, and nothing else.
//!
//! ```text
//!  checkpoints ──▶ Heads: what was signed of each file, at which length     (checkpoints.rs)
//!                    │
//!                    ├─▶ each file, read once: its hash at each of them     (file_check.rs)
//!                    ├─▶ events.jsonl, line by line: tree, fingerprints     (events.rs)
//!                    └─▶ manifest.json against the files                    (manifest_check.rs)
//!                                  │
//!                                  ▼
//!                          FolderReport: Faults, each with its place        (folder.rs, report.rs, fault.rs)
//! ```
//!
//! Nothing is believed before a signature by a key that the caller gave, and nothing that was read is larger in memory than a
//! line, but for the hashes that heads have.

mod ahead;
mod checkpoints;
mod event_line;
mod events;
mod fault;
mod file_check;
mod folder;
mod journal;
mod journal_heads;
mod journal_line;
mod journal_log;
mod journal_report;
mod journal_sessions;
#[cfg(test)]
mod journal_tests;
mod locked;
#[cfg(test)]
mod locked_tests;
mod manifest_check;
mod notes;
mod report;
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vector_tests;

pub use fault::{Code, Fault};
pub use folder::{verify_files, verify_files_with, verify_folder, verify_folder_with};
pub use journal::{Depth, Journal, verify_journal};
pub use journal_report::{JournalReport, NotWritten, Sessions};
pub use report::{EncryptionReport, FileReport, FolderReport, FoundLater, SignedBy, Verdict};
pub use source::{Directory, Files, InMemory};

pub(crate) use checkpoints::Heads;
pub(crate) use event_line::{Parsed, parse as parse_event};
pub(crate) use events::MAX_EVENT_BYTES;
pub(crate) use fault::Faults;
pub(crate) use file_check::FileCheck;
pub(crate) use manifest_check::MAX_MANIFEST_BYTES;
