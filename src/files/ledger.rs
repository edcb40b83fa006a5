//! What is kept of every file operation: what was asked, and what came of it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

use crate::policy::{Denial, FileAction, Grant};
use crate::transport::file_service::Operation;

/// The record of one file session. What may be done in it, the service's grant says.
#[derive(Clone, Debug)]
pub struct FileLedger {
    /// Told about every operation.
    pub events: Arc<dyn FileEvents>,
}

/// Keeps what happens. An event is awaited before its answer goes to the client; an error ends the session. Only where a
/// session is cut short is an event polled no more than once.
pub trait FileEvents: Send + Sync + fmt::Debug {
    /// Keeps one event, or says in a sentence why it can't.
    fn record(&self, event: FileEvent) -> BoxFuture<'_, Result<(), String>>;

    /// What was permitted may be something that somebody is to know at once. Comes before its event.
    fn raise_alerts<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<(), String>>;
}

/// The action of an operation that is neither an open nor its consequence.
pub(super) fn action_of(operation: &Operation) -> FileAction {
    match operation {
        Operation::Open { flags, .. } if !flags.write => FileAction::Download,
        Operation::Open { .. } | Operation::Write { .. } => FileAction::Upload,
        Operation::Read { .. } | Operation::Close { .. } => FileAction::Download,
        Operation::Stat { .. } | Operation::Lstat { .. } | Operation::Fstat { .. } => FileAction::Stat,
        Operation::SetStat { .. } | Operation::LsetStat { .. } | Operation::FsetStat { .. } => FileAction::Change,
        Operation::OpenDir { .. } | Operation::ReadDir { .. } => FileAction::List,
        Operation::Remove { .. } => FileAction::Remove,
        Operation::MakeDir { .. } => FileAction::MakeDirectory,
        Operation::RemoveDir { .. } => FileAction::RemoveDirectory,
        Operation::RealPath { .. } | Operation::ExpandPath { .. } => FileAction::Resolve,
        Operation::Rename { .. } => FileAction::Rename,
        Operation::ReadLink { .. } => FileAction::ReadLink,
        Operation::Symlink { .. } => FileAction::Symlink,
        Operation::Link { .. } => FileAction::Link,
        Operation::Fsync { .. } => FileAction::Sync,
        Operation::Copy { .. } => FileAction::Copy,
        Operation::HomeDirectory { .. } | Operation::NamesOf { .. } => FileAction::Resolve,
        Operation::FileSystem { .. } | Operation::FileSystemOf { .. } | Operation::MostOpen { .. } => {
            FileAction::FileSystem
        }
    }
}

/// One thing that was done, or refused. What changes the node makes one more, [`Outcome::Asked`], before that. A transfer
/// makes two: [`Outcome::Opened`] before its first byte, and one with its [`Content`] at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEvent {
    /// What.
    pub action: FileAction,
    /// The path as the client gave it.
    pub path: Vec<u8>,
    /// The path that was meant, links resolved, where it is known. For an open file it is what the kernel opened.
    pub real_path: Option<Vec<u8>>,
    /// The second path of a rename or link, as the client gave it; the target of a symbolic link.
    pub second: Option<Vec<u8>>,
    /// The second path, links resolved, where it is known.
    pub second_real: Option<Vec<u8>>,
    /// What came of it.
    pub outcome: Outcome,
    /// What was transferred.
    pub content: Option<Content>,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet: the node is about to be asked for it. Where no other event follows, nobody waited for what came of it.
    Asked,
    /// The file is open; its transfer begins.
    Opened,
    /// Done.
    Done,
    /// The session ended while the file was open.
    Unfinished,
    /// Policy refused.
    Denied(Denial),
    /// The node refused, or was lost.
    Failed {
        /// The Linux `errno`, where the node gave one.
        errno: Option<i32>,
        /// In words.
        message: String,
    },
}

/// The bytes of a transfer that the node and the client agreed on: read and handed over, or written and confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// How many, those counted twice that went over twice.
    pub bytes: u64,
    /// Their digest, as far as there is an honest one.
    pub hashed: Hashed,
}

/// A SHA-256, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hashed {
    /// Of the whole file, as it was when it was closed.
    Whole([u8; 32]),
    /// Of the bytes from `offset` on, as many as were transferred: a part of the file (a resumed transfer, say).
    Part {
        /// Where the part starts.
        offset: u64,
        /// Its digest.
        sha256: [u8; 32],
    },
    /// None: the bytes did not go over in one run from start to end, or not through here at all.
    No,
}

/// Counts and hashes the bytes of one direction of one open file.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bytes: u64,
    start: u64,
    next: u64,
    run: Run,
}

#[derive(Debug, Default)]
enum Run {
    #[default]
    Empty,
    Unbroken(Sha256),
    Broken,
}

impl Tally {
    /// Takes bytes that were transferred, in the order of their confirmation.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        match &mut self.run {
            Run::Empty => {
                self.start = offset;
                self.run = Run::Unbroken(Sha256::new_with_prefix(bytes));
            }
            Run::Unbroken(hasher) if offset == self.next => hasher.update(bytes),
            _ => self.run = Run::Broken,
        }
        self.next = offset.saturating_add(bytes.len() as u64);
    }

    /// Counts bytes that the node copied by itself: they did not pass here, so there is nothing to hash.
    pub(super) fn add_unseen(&mut self, bytes: u64) {
        if bytes > 0 {
            self.bytes = self.bytes.saturating_add(bytes);
            self.run = Run::Broken;
        }
    }

    /// What to record, given the file's size at its end.
    pub(super) fn content(&self, size: Option<u64>) -> Content {
        let hashed = match &self.run {
            Run::Empty if size == Some(0) => Hashed::Whole(Sha256::digest([]).into()),
            Run::Empty | Run::Broken => Hashed::No,
            Run::Unbroken(hasher) => {
                let sha256 = hasher.clone().finalize().into();
                match self.start == 0 && size == Some(self.next) {
                    true => Hashed::Whole(sha256),
                    false => Hashed::Part { offset: self.start, sha256 },
                }
            }
        };
        Content { bytes: self.bytes, hashed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn a_file_transferred_from_start_to_end_is_hashed_whole() {
        let mut tally = Tally::default();
        tally.add(0, b"hello ");
        tally.add(6, b"world");
        assert_eq!(tally.content(Some(11)), Content { bytes: 11, hashed: Hashed::Whole(sha256(b"hello world")) });
        // without knowing the size it can't be said to be the whole
        assert_eq!(tally.content(None).hashed, Hashed::Part { offset: 0, sha256: sha256(b"hello world") });
        assert_eq!(tally.content(Some(20)).hashed, Hashed::Part { offset: 0, sha256: sha256(b"hello world") });
    }

    #[test]
    fn a_resumed_transfer_is_hashed_as_a_part() {
        let mut tally = Tally::default();
        tally.add(1000, b"rest");
        assert_eq!(tally.content(Some(1004)).hashed, Hashed::Part { offset: 1000, sha256: sha256(b"rest") });
    }

    #[test]
    fn bytes_out_of_order_with_a_hole_or_twice_are_not_hashed() {
        for offsets in [[4, 0], [0, 8], [0, 0]] {
            let mut tally = Tally::default();
            for offset in offsets {
                tally.add(offset, b"1234");
            }
            assert_eq!(tally.content(Some(8)), Content { bytes: 8, hashed: Hashed::No }, "{offsets:?}");
        }
    }

    #[test]
    fn what_the_node_copied_by_itself_is_counted_and_not_hashed() {
        let mut tally = Tally::default();
        tally.add(0, b"1234");
        tally.add_unseen(0);
        assert!(matches!(tally.content(Some(4)).hashed, Hashed::Whole(_)));
        tally.add_unseen(4);
        assert_eq!(tally.content(Some(8)), Content { bytes: 8, hashed: Hashed::No });
    }

    #[test]
    fn an_empty_file_has_the_digest_of_nothing() {
        assert_eq!(Tally::default().content(Some(0)).hashed, Hashed::Whole(sha256(b"")));
        assert_eq!(Tally::default().content(Some(3)).hashed, Hashed::No);
    }
}
