//! What is known of a session's folder while it is written: enough to sign a head at any moment, in less than 2 KiB.
//!
//! ```text
//!  attest(line) ─▶ write(2) ─▶ wrote(file, bytes)           for each record
//!  head(now) ─▶ fsync ─▶ sign ─▶ write(2), signed(&head)    at least once in a second in which there was one
//! ```
//!
//! A head is taken before the files are given to the disk and signed after, so that what it names is there.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::checkpoint::{Checkpoint, FileHead, Head, session_origin, whole_millis};
use crate::event_chain::{EventChain, NoEvent, Place};
use crate::hash::{Hash, Running};
use crate::layout::File;

/// The heads of a session's folder.
#[derive(Clone, Debug)]
pub struct FolderSeal {
    origin: Box<str>,
    chain: EventChain,
    files: Vec<Written>,
    signed: Signed,
    /// Whether something was written since the last head was signed.
    changed: bool,
}

/// What a file has.
#[derive(Clone, Debug)]
struct Written {
    file: File,
    hash: Running,
    /// The beginning of a line whose end is still to come. A head has whole lines only.
    open: Vec<u8>,
    /// Lines, where it is encrypted.
    lines: u64,
}

/// What was signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    pub(crate) count: u64,
    pub(crate) time: OffsetDateTime,
}

impl FolderSeal {
    /// That of an empty folder, to be signed by the key of this name.
    pub fn new(key_name: &str, session: Uuid) -> Self {
        Self {
            origin: session_origin(key_name, session).into(),
            chain: EventChain::new(key_name, session),
            files: Vec::new(),
            signed: Signed { count: 0, time: OffsetDateTime::UNIX_EPOCH },
            changed: false,
        }
    }

    /// What the next event says of its place; [`EventChain::next`].
    pub fn next(&mut self, now: OffsetDateTime) -> Place {
        self.chain.next(now)
    }

    /// Ends an event with its attestation; [`EventChain::attest`].
    ///
    /// # Errors
    /// [`NoEvent`] where the line is none.
    pub fn attest(&mut self, line: &mut Vec<u8>) -> Result<(), NoEvent> {
        self.chain.attest(line)
    }

    /// Events that were attested since, and not written, never will be; [`EventChain::forget_unwritten`].
    pub fn forget_unwritten(&mut self) {
        self.chain.forget_unwritten();
    }

    /// `write(2)` has taken these bytes at the end of a file: any number of lines, newlines included, also a part of one. Nothing
    /// is told of [`File::Checkpoints`], which no head names.
    pub fn wrote(&mut self, file: File, bytes: &[u8]) {
        if file == File::Checkpoints || bytes.is_empty() {
            return;
        }
        self.changed = true;
        let at = self.at(file);
        if let Some(written) = self.files.get_mut(at) {
            written.take(bytes, &mut self.chain);
        }
    }

    /// The number of the line that stands next in a file of an encrypted folder.
    pub fn next_line(&self, file: File) -> u64 {
        self.files.iter().find(|written| written.file == file).map_or(1, |written| written.lines + 1)
    }

    /// The same as [`FolderSeal::wrote`] of one encrypted line, with its newline, and what it says.
    pub fn wrote_encrypted(&mut self, file: File, plain: &[u8], line: &[u8]) {
        self.changed = true;
        let at = self.at(file);
        if let Some(written) = self.files.get_mut(at) {
            written.hash.update(line);
            written.lines += 1;
        }
        if file == File::Events {
            self.chain.wrote_encrypted(plain, line);
        }
    }

    fn at(&mut self, file: File) -> usize {
        self.files.iter().position(|written| written.file == file).unwrap_or_else(|| {
            self.files.push(Written { file, hash: Running::new(), open: Vec::new(), lines: 0 });
            self.files.len() - 1
        })
    }

    /// Whether something stands in the files that no signed head has.
    pub fn is_ahead(&self) -> bool {
        self.changed
    }

    /// How many heads were signed.
    pub fn checkpoints(&self) -> u64 {
        self.signed.count
    }

    /// How many events stand in the file.
    pub fn events(&self) -> u64 {
        self.chain.lines()
    }

    /// How many bytes a file has, and their hash: what the manifest says of it.
    pub fn file(&self, file: File) -> Option<(u64, Hash)> {
        let written = self.files.iter().find(|written| written.file == file)?;
        (written.hash.bytes() > 0).then(|| (written.hash.bytes(), written.hash.hash()))
    }

    /// What stands now. To be signed once the files are on the disk; the last one after the manifest. Where the clock went back, its
    /// time is that of the head before, or of the last event.
    pub fn head(&self, now: OffsetDateTime, last: bool) -> Head {
        let in_order = File::ALL.into_iter();
        let files =
            in_order.filter_map(|file| self.file(file).map(|(bytes, hash)| FileHead { file, bytes, hash })).collect();
        Head::new(Checkpoint {
            origin: self.origin.to_string(),
            size: self.chain.lines(),
            root: self.chain.root(),
            time: whole_millis(now).max(self.signed.time).max(self.chain.time()),
            previous: None,
            files,
            last,
        })
    }

    /// The checkpoint of this head stands in `checkpoints`, or is to.
    pub fn signed(&mut self, head: &Head) {
        let checkpoint = head.checkpoint();
        self.signed = Signed { count: self.signed.count + 1, time: checkpoint.time };
        let stands = |written: &Written| {
            let named = checkpoint.file(written.file).map_or(0, |head| head.bytes);
            named == written.hash.bytes() && written.open.is_empty()
        };
        self.changed = !self.files.iter().all(stands);
    }

    /// Goes on after these checkpoints, which were read from the folder.
    pub(crate) fn resume(&mut self, signed: Signed, event_time: i64) {
        self.signed = signed;
        self.chain.not_before(event_time);
    }
}

impl Written {
    fn take(&mut self, bytes: &[u8], chain: &mut EventChain) {
        if !self.file.has_lines() {
            return self.hash.update(bytes);
        }
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let (mut whole, rest) = bytes.split_at_checked(end).unwrap_or_default();
        if whole.is_empty() {
            return self.open.extend_from_slice(rest);
        }
        // the usual case allocates nothing
        let joined;
        if !self.open.is_empty() {
            let mut line = std::mem::take(&mut self.open);
            line.extend_from_slice(whole);
            joined = line;
            whole = &joined;
        }
        self.hash.update(whole);
        if self.file == File::Events {
            for line in whole.split_inclusive(|&byte| byte == b'\n') {
                chain.wrote(line);
            }
        }
        self.open.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::key::SigningKey;
    use crate::note::Note;
    use crate::signed_head::HeadChain;
    use crate::tree::Tree;

    const NOW: OffsetDateTime = datetime!(2026-11-30 07:12:33.123456 UTC);

    fn seal() -> FolderSeal {
        FolderSeal::new("portcullis/gate-1", Uuid::from_u128(7))
    }

    fn event(seal: &mut FolderSeal) -> Vec<u8> {
        let place = seal.next(NOW);
        let mut line =
            format!(r#"{{"time":{},"metadata":{{"sequence":{}}}}}"#, place.time, place.sequence).into_bytes();
        seal.attest(&mut line).unwrap();
        line.push(b'\n');
        line
    }

    #[test]
    fn a_head_has_what_stands_in_each_file_and_follows_the_one_before() {
        let mut seal = seal();
        assert!(!seal.is_ahead());
        let line = event(&mut seal);
        seal.wrote(File::Terminal, b"{\"version\":2}\n");
        seal.wrote(File::Events, &line);
        let head = seal.head(NOW, false);
        let checkpoint = head.checkpoint();
        let mut tree = Tree::new();
        tree.push(line.strip_suffix(b"\n").unwrap());
        assert_eq!((checkpoint.size, checkpoint.root, checkpoint.previous), (1, tree.root(), None));
        assert_eq!(checkpoint.file(File::Events).unwrap().hash, Hash::of(&line));
        assert_eq!(checkpoint.files.iter().map(|head| head.file).collect::<Vec<_>>(), [File::Events, File::Terminal]);
        assert!(seal.is_ahead());
        seal.signed(&head);
        assert_eq!((seal.is_ahead(), seal.checkpoints()), (false, 1));
        seal.wrote(File::Checkpoints, b"a note");
        assert!(!seal.is_ahead());
        seal.wrote(File::StdoutHead, b"out");
        let next = seal.head(NOW - time::Duration::HOUR, true);
        assert!(next.checkpoint().last);
        assert_eq!(next.checkpoint().time, datetime!(2026-11-30 07:12:33.123 UTC), "the clock went back");
    }

    #[test]
    fn what_is_written_between_a_head_and_its_signature_is_still_ahead() {
        let mut seal = seal();
        seal.wrote(File::StdoutHead, b"a");
        let head = seal.head(NOW, false);
        seal.wrote(File::StdoutHead, b"b");
        seal.signed(&head);
        assert!(seal.is_ahead());
        let head = seal.head(NOW, false);
        seal.wrote(File::Commands, b"{}\n");
        seal.signed(&head);
        assert!(seal.is_ahead());
    }

    #[test]
    fn a_head_has_whole_lines_only_however_they_were_written() {
        let (mut one, mut other) = (seal(), seal());
        let lines: Vec<Vec<u8>> = (0..5).map(|_| event(&mut one)).collect();
        let all = lines.concat();
        one.wrote(File::Events, &all);
        for piece in all.chunks(7) {
            other.wrote(File::Events, piece);
        }
        assert_eq!(one.head(NOW, false), other.head(NOW, false));
        let whole = one.head(NOW, false);
        one.wrote(File::Events, b"{\"torn");
        assert_eq!(one.head(NOW, false), whole);
        one.signed(&whole);
        assert!(one.is_ahead());
        // of a head of a stream every byte counts
        one.wrote(File::StderrHead, b"no line");
        assert_eq!(one.file(File::StderrHead), Some((7, Hash::of(b"no line"))));
    }

    #[test]
    fn checkpoints_are_notes_with_an_empty_line_between() {
        let key = SigningKey::from_seed("portcullis/gate-1", &[1; 32]).unwrap();
        let (mut seal, mut chain) = (seal(), HeadChain::default());
        let mut file = String::new();
        for last in [false, false, true] {
            seal.wrote(File::StdoutHead, b"x");
            let head = chain.sign(&key, seal.head(NOW, last));
            file.push_str(&head.lines());
            chain.stands(&head);
        }
        // between notes, and within each before its signature
        assert_eq!(file.matches("\n\n").count(), 5);
        let parts: Vec<&str> = file.split("\n\n").collect();
        let mut previous = None;
        for part in parts.chunks(2) {
            let note = format!("{}\n\n{}\n", part[0], part[1].trim_end());
            let note = Note::parse(note.as_bytes()).unwrap();
            note.verify(std::slice::from_ref(key.verifying_key())).unwrap();
            let checkpoint = Checkpoint::parse(note.text()).unwrap();
            assert_eq!(checkpoint.previous, previous);
            previous = Some(note.hash());
        }
    }

    #[test]
    fn a_session_takes_less_than_two_kibibytes() {
        let mut seal =
            FolderSeal::new("portcullis/a-host-with-a-rather-long-name.example.internal", Uuid::from_u128(7));
        for _ in 0..10_000 {
            let line = event(&mut seal);
            seal.wrote(File::Events, &line);
        }
        for file in [File::Terminal, File::Commands, File::Files] {
            seal.wrote(file, b"line\n");
        }
        // what stands in it, and what the library has for a running SHA-256 (its SHA256_CTX takes 112 bytes)
        let inside = size_of::<FolderSeal>() + seal.files.capacity() * size_of::<Written>() + seal.origin.len();
        let total = inside + seal.files.len() * 128 + seal.chain.heap_bytes();
        assert!(total < 2048, "{total}");
    }
}
