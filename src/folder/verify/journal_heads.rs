//! What was signed of a journal, and what was kept of it elsewhere.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use uuid::Uuid;

use super::checkpoints::{SignedError, signed};
use super::fault::{Code, Fault, Faults, shown};
use super::notes::{Between, Notes};
use crate::checkpoint::of_origin;
use crate::hash::Hash;
use crate::key::VerifyingKey;
use crate::open;

/// Of each run the sizes of its tree that somebody vouches for, and of sessions heads that were kept elsewhere.
#[derive(Default)]
pub(crate) struct JournalHeads {
    pub(crate) runs: HashMap<Uuid, Vec<RunPoint>>,
    pub(crate) sessions: Vec<SessionAnchor>,
    pub(crate) signers: Vec<(VerifyingKey, u64)>,
    pub(crate) count: u64,
    /// Those that follow another than the one before: which, and where they stand.
    odd: Vec<(Option<Hash>, String, (u64, u64))>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPoint {
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) time: OffsetDateTime,
    pub(crate) kind: Kind,
}

/// A head of a session's folder that was kept elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionAnchor {
    pub(crate) session: Uuid,
    pub(crate) head: Hash,
    pub(crate) time: OffsetDateTime,
}

/// Where a head was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Beside the journal.
    Checkpoint,
    /// Elsewhere.
    Anchor,
}

impl JournalHeads {
    /// Reads checkpoints and anchors.
    pub(crate) fn read(
        checkpoints: &[PathBuf],
        anchors: &[PathBuf],
        keys: &[VerifyingKey],
        faults: &mut Faults,
    ) -> Self {
        let mut heads = Self::default();
        let mut all = HashSet::new();
        for path in checkpoints {
            heads.file(path, Kind::Checkpoint, keys, &mut all, faults);
        }
        for (previous, name, lines) in std::mem::take(&mut heads.odd) {
            let (code, what) = match previous.is_none_or(|hash| all.contains(&hash)) {
                true => (Code::Reordered, "the checkpoint that it follows stands elsewhere"),
                false => (Code::Deleted, "the checkpoint that it follows is missing"),
            };
            faults.add(Fault::new(code, what).file(name).lines(lines.0, lines.1));
        }
        let mut anchored = HashSet::new();
        for path in anchors {
            heads.file(path, Kind::Anchor, keys, &mut anchored, faults);
        }
        for points in heads.runs.values_mut() {
            points.sort_by_key(|point| point.size);
        }
        heads
    }

    fn file(&mut self, path: &Path, kind: Kind, keys: &[VerifyingKey], all: &mut HashSet<Hash>, faults: &mut Faults) {
        let name = name_of(path);
        let between = if kind == Kind::Anchor { Between::Anything } else { Between::EmptyLine };
        let mut notes = match open::to_read(path) {
            Ok(file) => Notes::new(file, between),
            Err(error) => {
                return faults.add(Fault::new(Code::Unreadable, format!("it can't be read: {error}")).file(name));
            }
        };
        let (mut before, mut first) = (None, true);
        loop {
            let chunk = match notes.next() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return,
                Err(error) => return faults.add(Fault::new(Code::Unreadable, error.to_string()).file(name)),
            };
            let at = |code, what: String| Fault::new(code, what).file(&name).lines(chunk.lines.0, chunk.lines.1);
            let (checkpoint, hash, key) = match signed(&chunk, keys) {
                Ok(signed) => (signed.checkpoint, signed.hash, signed.key),
                Err(error) => {
                    faults.add(match error {
                        SignedError::UnknownKey(by) => {
                            at(Code::UnknownKey, format!("it is signed by {}, and no such key was given", shown(&by)))
                        }
                        SignedError::Other(code, what) => at(code, what),
                    });
                    first = true;
                    continue;
                }
            };
            let fresh = all.insert(hash);
            let run = of_origin(&checkpoint.origin, key.name(), "journal");
            match (run, kind, of_origin(&checkpoint.origin, key.name(), "session")) {
                _ if !fresh && kind == Kind::Anchor => {}
                _ if !fresh => faults.add(at(Code::Repeated, "this checkpoint is there twice".to_owned())),
                (Some(run), _, _) => {
                    if kind == Kind::Checkpoint {
                        if !first && checkpoint.previous != before && self.odd.len() < MAX_ODD {
                            self.odd.push((checkpoint.previous, name.clone(), chunk.lines));
                        }
                        (before, first) = (Some(hash), false);
                        self.signed_by(key);
                    }
                    let point = RunPoint { size: checkpoint.size, root: checkpoint.root, time: checkpoint.time, kind };
                    self.runs.entry(run).or_default().push(point);
                }
                (None, Kind::Anchor, Some(session)) => {
                    self.sessions.push(SessionAnchor { session, head: hash, time: checkpoint.time });
                }
                _ => faults
                    .add(at(Code::Spliced, format!("it is no head of a journal, but {}", shown(&checkpoint.origin)))),
            }
        }
    }

    fn signed_by(&mut self, key: &VerifyingKey) {
        self.count += 1;
        match self.signers.iter_mut().find(|(signer, _)| signer == key) {
            Some((_, count)) => *count += 1,
            None => self.signers.push((key.clone(), 1)),
        }
    }
}

/// A file's name as it is shown.
pub(crate) fn name_of(path: &Path) -> String {
    let name = path.display().to_string();
    if name.chars().any(char::is_control) { shown(&name) } else { name }
}

/// So many are told one by one.
const MAX_ODD: usize = 100;
