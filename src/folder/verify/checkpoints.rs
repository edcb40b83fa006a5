//! `checkpoints`: which heads were signed, by whom, and whether they follow each other.

use std::collections::HashSet;
use std::io::{self, Read};

use time::OffsetDateTime;
use uuid::Uuid;

use super::ahead::{Piece, look_ahead};
use super::fault::{Code, Fault, Faults, shown};
use super::notes::{Between, Chunk, Notes};
use crate::checkpoint::{Checkpoint, FileHead, of_origin};
use crate::hash::Hash;
use crate::key::VerifyingKey;
use crate::layout::File;
use crate::note::{Note, NoteError};

/// What was signed: as much of it as files are compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heads {
    /// Whose folder it is.
    pub(crate) session: Option<Uuid>,
    /// How many heads there are with a good signature.
    pub(crate) count: u64,
    /// By which key how many.
    pub(crate) signers: Vec<(VerifyingKey, u64)>,
    pub(crate) first: Option<OffsetDateTime>,
    /// The last one.
    pub(crate) last: Option<(Hash, Checkpoint)>,
    /// Where its note ends in the file.
    pub(crate) end: u64,
    /// For each of [`File::ALL`] its lengths and the hashes there, growing.
    points: Vec<Vec<Point<Hash>>>,
    /// The sizes of the tree, growing, each with the root, the length of events.jsonl and the head's time.
    pub(crate) trees: Vec<Point<TreeHead>>,
    /// Lengths that were named by the last but one head: what a gateway that was killed had signed.
    pub(crate) before_last: Vec<FileHead>,
    /// The hashes of all of them.
    pub(crate) hashes: HashSet<Hash>,
}

/// What was signed of the first so many bytes, or lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point<T> {
    pub(crate) at: u64,
    pub(crate) is: T,
}

/// What was signed of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeHead {
    pub(crate) root: Hash,
    pub(crate) bytes: u64,
    pub(crate) time: OffsetDateTime,
}

/// A checkpoint whose signature is good.
#[derive(Clone, Debug)]
pub(crate) struct Signed<'k> {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) hash: Hash,
    pub(crate) key: &'k VerifyingKey,
}

impl Heads {
    /// Those of a session that has none.
    pub(crate) fn none(session: Uuid) -> Self {
        Self { session: Some(session), ..Self::default() }
    }

    /// Reads the file. `session` is the one that it should be of, where that is known.
    pub(crate) fn read(
        read: impl Read,
        keys: &[VerifyingKey],
        session: Option<Uuid>,
        faults: &mut Faults,
    ) -> io::Result<Self> {
        let mut heads = Self { session, ..Self::default() };
        heads.points = vec![Vec::new(); File::ALL.len()];
        let mut notes = Notes::new(read, Between::EmptyLine);
        let (mut unknown, mut order) = (Unknown::default(), Order::default());
        let take = |chunk: &Chunk, signed: Result<Signed<'_>, SignedError>| match signed {
            Ok(signed) => heads.take(signed, chunk, &mut order, faults),
            Err(error) => {
                order.after_broken = true;
                match error {
                    SignedError::UnknownKey(by) => unknown.note(by, chunk),
                    SignedError::Other(code, what) => faults.add(at(Fault::new(code, what), chunk)),
                }
            }
        };
        // a signature is what takes longest
        look_ahead(|| notes.next(), |chunks| signed_in_a_row(chunks, keys), take)?;
        unknown.tell(faults);
        order.tell(&heads, faults);
        Ok(heads)
    }

    /// What was signed of a file.
    pub(crate) fn points(&self, file: File) -> &[Point<Hash>] {
        let at = File::ALL.into_iter().position(|other| other == file);
        at.and_then(|at| self.points.get(at)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether there is a last head, and nothing after it.
    pub(crate) fn is_final(&self) -> bool {
        self.last.as_ref().is_some_and(|(_, checkpoint)| checkpoint.last)
    }

    fn take(&mut self, signed: Signed<'_>, chunk: &Chunk, order: &mut Order, faults: &mut Faults) {
        let Signed { checkpoint, hash, key } = signed;
        let Some(session) = of_origin(&checkpoint.origin, key.name(), "session") else {
            let what = format!("this is no head of a session of {}, but {}", key.name(), shown(&checkpoint.origin));
            return faults.add(at(Fault::new(Code::Spliced, what), chunk));
        };
        if *self.session.get_or_insert(session) != session {
            let what = format!("this is a head of another session, {session}");
            return faults.add(at(Fault::new(Code::Spliced, what), chunk));
        }
        if !self.hashes.insert(hash) {
            // it says nothing that is not said
            return faults.add(at(Fault::new(Code::Repeated, "this checkpoint is there twice"), chunk));
        }
        let before = self.last.as_ref().map(|(hash, _)| *hash);
        order.follow(&checkpoint, before, &self.hashes, chunk);
        if let Some((_, before)) = self.last.as_ref().filter(|_| checkpoint.previous == before)
            && let Some((code, what)) = contradiction(before, &checkpoint)
        {
            faults.add(at(Fault::new(code, what), chunk));
        }
        self.count += 1;
        match self.signers.iter_mut().find(|(signer, _)| signer == key) {
            Some((_, count)) => *count += 1,
            None => self.signers.push((key.clone(), 1)),
        }
        self.first.get_or_insert(checkpoint.time);
        self.end = chunk.bytes.1;
        let bytes = checkpoint.file(File::Events).map_or(0, |head| head.bytes);
        let tree = TreeHead { root: checkpoint.root, bytes, time: checkpoint.time };
        if self.trees.last().is_none_or(|point| point.at < checkpoint.size) {
            self.trees.push(Point { at: checkpoint.size, is: tree });
        }
        for (points, file) in self.points.iter_mut().zip(File::ALL) {
            // a file that said nothing since takes no memory
            if let Some(head) = checkpoint.file(file)
                && points.last().is_none_or(|point| point.at < head.bytes)
            {
                points.push(Point { at: head.bytes, is: head.hash });
            }
        }
        if let Some((_, before)) = self.last.replace((hash, checkpoint)) {
            self.before_last = before.files;
        }
    }
}

impl Piece for Chunk {
    fn bytes(&self) -> usize {
        self.note.as_ref().map_or(0, Vec::len)
    }
}

/// A checkpoint that can't be believed.
pub(crate) enum SignedError {
    /// Signed by these only.
    UnknownKey(String),
    /// What else is wrong, in a sentence.
    Other(Code, String),
}

/// The same for each of some pieces that stand behind each other. What was signed names the note before with its signature, so where
/// a note is the very one that the next one names there is nothing left to compute.
fn signed_in_a_row<'k>(chunks: &[Chunk], keys: &'k [VerifyingKey]) -> Vec<Result<Signed<'k>, SignedError>> {
    let mut named = None;
    let from_the_last = chunks.iter().rev().map(|chunk| {
        let found = signed_or_named(chunk, keys, named);
        named = found.as_ref().ok().and_then(|next| Some((next.checkpoint.previous?, next.key)));
        found
    });
    let mut found: Vec<_> = from_the_last.collect();
    found.reverse();
    found
}

/// The checkpoint in a piece of a file, if one of these keys has signed it.
pub(crate) fn signed<'k>(chunk: &Chunk, keys: &'k [VerifyingKey]) -> Result<Signed<'k>, SignedError> {
    signed_or_named(chunk, keys, None)
}

/// The same, where a key is known to have signed the note of a hash as well.
fn signed_or_named<'k>(
    chunk: &Chunk,
    keys: &'k [VerifyingKey],
    named: Option<(Hash, &'k VerifyingKey)>,
) -> Result<Signed<'k>, SignedError> {
    let malformed = |what: String| SignedError::Other(Code::Malformed, what);
    let bytes = chunk.note.as_deref().ok_or_else(|| malformed("this is no checkpoint".to_owned()))?;
    let note = Note::parse(bytes).map_err(|error| malformed(error.to_string()))?;
    // of several signatures the next note names one only
    let vouched = named.filter(|(hash, key)| *hash == note.hash() && note.is_by_alone(key));
    let key = match vouched.map_or_else(|| note.verify(keys), |(_, key)| Ok(vec![key])) {
        Ok(signers) => signers.first().copied(),
        Err(NoteError::UnknownKey(by)) => return Err(SignedError::UnknownKey(by)),
        Err(error) => return Err(SignedError::Other(Code::WrongSignature, error.to_string())),
    };
    let key = key.ok_or_else(|| malformed("it has no signature".to_owned()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| malformed(error.to_string()))?;
    Ok(Signed { checkpoint, hash: note.hash(), key })
}

fn at(fault: Fault, chunk: &Chunk) -> Fault {
    fault.file(File::Checkpoints.name()).lines(chunk.lines.0, chunk.lines.1).bytes(chunk.bytes.0, chunk.bytes.1)
}

/// What a head can't say after the one before it.
fn contradiction(before: &Checkpoint, now: &Checkpoint) -> Option<(Code, String)> {
    if before.last {
        return Some((Code::Contradiction, "it was signed after the last one".to_owned()));
    }
    if now.time < before.time {
        return Some((Code::ClockRollback, "its time is earlier than that of the one before".to_owned()));
    }
    if now.size < before.size || (now.size == before.size && now.root != before.root) {
        return Some((Code::Contradiction, "events that the one before has are not in it".to_owned()));
    }
    let shrunk = before.files.iter().find(|then| {
        let now = now.file(then.file);
        now.is_none_or(|now| now.bytes < then.bytes || (now.bytes == then.bytes && now.hash != then.hash))
    });
    let name = shrunk?.file.name();
    Some((Code::Contradiction, format!("what the one before has of {name} is not in it")))
}

/// Whether each names the one before.
#[derive(Default)]
struct Order {
    /// Those that name another one: which, and where they stand.
    odd: Vec<(Option<Hash>, Chunk)>,
    /// Whether the one before can't be read: that it is not found is told there.
    after_broken: bool,
}

impl Order {
    fn follow(&mut self, checkpoint: &Checkpoint, before: Option<Hash>, all: &HashSet<Hash>, chunk: &Chunk) {
        let after_broken = std::mem::take(&mut self.after_broken);
        let is_told = after_broken && checkpoint.previous.is_some_and(|hash| !all.contains(&hash));
        if checkpoint.previous != before && !is_told && self.odd.len() < MAX_ODD {
            self.odd.push((checkpoint.previous, Chunk { note: None, ..*chunk }));
        }
    }

    fn tell(self, heads: &Heads, faults: &mut Faults) {
        for (previous, chunk) in &self.odd {
            let fault = match previous {
                Some(hash) if heads.hashes.contains(hash) => {
                    Fault::new(Code::Reordered, "the checkpoint that it follows stands elsewhere")
                }
                Some(_) => Fault::new(Code::Deleted, "the checkpoint that it follows is missing"),
                None => Fault::new(Code::Reordered, "it is the first one, and others stand before it"),
            };
            faults.add(at(fault, chunk));
        }
    }
}

/// Notes by keys that were not given: one fault for all.
#[derive(Default)]
struct Unknown {
    first: Option<(String, Chunk)>,
    count: u64,
}

impl Unknown {
    fn note(&mut self, by: String, chunk: &Chunk) {
        self.count += 1;
        self.first.get_or_insert((by, Chunk { note: None, ..*chunk }));
    }

    fn tell(self, faults: &mut Faults) {
        let Some((by, chunk)) = self.first else {
            return;
        };
        let many = match self.count {
            1 => "this checkpoint is".to_owned(),
            count => format!("this and {} more checkpoints are", count - 1),
        };
        let what = format!("{many} signed by {}, and no such key was given", shown(&by));
        faults.add(at(Fault::new(Code::UnknownKey, what), &chunk));
    }
}

/// So many are told one by one.
const MAX_ODD: usize = 100;
