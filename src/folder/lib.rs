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

mod checkpoint;
mod encrypted;
mod event_chain;
mod folder_seal;
mod hash;
mod journal_seal;
mod key;
mod key_file;
mod layout;
mod lines;
mod manifest;
mod note;
mod open;
mod records;
mod recover;
mod signed_head;
#[cfg(test)]
mod testing;
mod torn;
mod tree;
mod verify;

pub use checkpoint::{Checkpoint, CheckpointError, FileHead, Head, journal_origin, session_origin, timestamp};
#[cfg(feature = "fuzzing")]
pub use encrypted::fuzz as fuzz_encrypted_line;
pub use encrypted::{
    Contents, ContentsError, DataKey, EncryptError, Keyring, KeyringError, NoKeyring, NotOpened, Plain, Private,
    WrappedKey, WrappedKeyError,
};
pub use event_chain::{EventChain, NoEvent, Place};
pub use folder_seal::FolderSeal;
pub use hash::{Hash, Running};
pub use journal_seal::JournalSeal;
pub use key::{KeyError, MAX_NAME_BYTES, SigningKey, VerifyingKey, is_key_name};
pub use key_file::{KeyFileError, KeyFileProblem, public_path};
pub use layout::{File, SESSIONS, day_of, path_of};
pub use manifest::{
    Algorithms, Aws, AwsSession, Counts, Decision, Ended, FileEntry, ForwardEntry, HopEntry, Manifest, NodeEntry,
    Stream, Streams,
};
pub use note::{MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteSignature, sign as sign_note};
pub use open::regular as open_regular;
pub use records::{CommandRecord, FileRecord, How};
pub use recover::{FolderKey, Interrupted, RecoverError, Recovered, recover, recover_with};
pub use signed_head::{HeadChain, SignedHead};
pub use torn::set_aside;
pub use tree::{Tree, leaf as leaf_hash};
pub use verify::{
    Code, Depth, Directory, EncryptionReport, Fault, FileReport, Files, FolderReport, FoundLater, InMemory, Journal,
    JournalReport, NotWritten, Sessions, SignedBy, Verdict, verify_files, verify_files_with, verify_folder,
    verify_folder_with, verify_journal,
};
