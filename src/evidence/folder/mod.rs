//! The folders of sessions, while they are written.
//!
//! ```text
//!  SessionRecord ──FolderTask──▶ the writer's queue ──▶ disk: write(2), running hashes ──head──▶ sealer: fsync, sign, append
//!    └ Recording: what of a stream is kept          └▶ whoever waits for it                      └▶ journal: session.sealed
//! ```
//!
//! A byte that is recorded is in the file before it goes on, and covered by a signed head at most a second later. What is written
//! where, and how heads are signed, is `portcullis_folder`'s; when, and what becomes of a session that can't be recorded, is said here.

mod disk;
mod heads;
mod interrupted;
mod recording;
mod sealer;
mod task;

pub(super) use disk::{FolderDisk, HEAD_AFTER, Signing};
pub(super) use heads::{Heads, LiveHead, Sealing};
pub(super) use interrupted::{Found, find as find_interrupted};
pub(super) use recording::{Recording, record};
pub(super) use sealer::{JournalToSign, Sealer, ToSealer, Told};
pub(super) use task::{Entry, FolderTask};
