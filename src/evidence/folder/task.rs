//! What the disk is asked for.

use std::path::PathBuf;

use portcullis_folder::{File, FolderKey, FolderSeal, HeadChain, Manifest};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::evidence::ocsf::Body;

/// Something to be done to a session's folder.
#[derive(Debug)]
pub(in crate::evidence) enum FolderTask {
    /// Make it.
    Open {
        /// Whose.
        session: Uuid,
        /// When the session was opened.
        opened: OffsetDateTime,
        /// What is known of it.
        manifest: Box<Manifest>,
        /// What stands in it first.
        entries: Vec<Entry>,
        /// Its key, where it is encrypted.
        key: Option<FolderKey>,
    },
    /// Write into it; all or nothing of each entry.
    Write {
        /// Whose.
        session: Uuid,
        /// What.
        entries: Vec<Entry>,
    },
    /// Go on with one that a killed gateway has left.
    GoOn {
        /// Whose.
        session: Uuid,
        /// Where it is.
        path: PathBuf,
        /// `<day>/<session>`.
        name: String,
        /// What stands in it.
        seal: Box<FolderSeal>,
        /// Its heads.
        heads: HeadChain,
        /// Its key, where it is encrypted.
        key: Option<FolderKey>,
    },
    /// Write the last of it, and seal it.
    Seal {
        /// Whose.
        session: Uuid,
        /// What stands in it last.
        entries: Vec<Entry>,
        /// The session on one page, but for its files.
        manifest: Box<Manifest>,
    },
}

/// What goes into one of a folder's files.
#[derive(Debug)]
pub(in crate::evidence) enum Entry {
    /// A line of `events.jsonl`, which the disk dates, numbers and chains.
    Event(Body),
    /// Bytes of another file, as they are.
    Bytes(File, Vec<u8>),
}

/// What an encrypted line has besides what it says, about: its header, its IV and its tag.
const ENCRYPTED_LINE: u64 = 200;

impl FolderTask {
    pub(in crate::evidence) fn session(&self) -> Uuid {
        match self {
            Self::Open { session, .. }
            | Self::Write { session, .. }
            | Self::GoOn { session, .. }
            | Self::Seal { session, .. } => *session,
        }
    }
}

impl Entry {
    /// How much it takes of what folders may take. Events have their part of the journal, where they stand as well.
    pub(in crate::evidence) fn bytes(&self) -> u64 {
        match self {
            Self::Event(_) => 0,
            Self::Bytes(_, bytes) => bytes.len() as u64,
        }
    }

    /// The same of one that is encrypted: base64 of it, and what a line has besides.
    pub(in crate::evidence) fn encrypted_bytes(&self) -> u64 {
        match self.bytes() {
            0 => 0,
            bytes => bytes.saturating_add(bytes / 3).saturating_add(ENCRYPTED_LINE),
        }
    }
}
