//! What is known of the gateway's journal while it is written: what the next line says of the one before, and what a head says of
//! the run. `docs/formats.md`, "The journal's heads".

use time::OffsetDateTime;
use uuid::Uuid;

use crate::checkpoint::{Checkpoint, Head, journal_origin, whole_millis};
use crate::hash::Hash;
use crate::tree::Tree;

/// The heads of one run of a journal.
#[derive(Clone, Debug)]
pub struct JournalSeal {
    origin: Box<str>,
    tree: Tree,
    line: Option<Hash>,
    signed_lines: u64,
    time: OffsetDateTime,
}

impl JournalSeal {
    /// A run that begins. `line` is the last line of the run before, without its newline, and `signed` the time of the last
    /// checkpoint in `events.checkpoints`, each where there is one.
    pub fn new(key_name: &str, run: Uuid, line: Option<&[u8]>, signed: Option<OffsetDateTime>) -> Self {
        Self {
            origin: journal_origin(key_name, run).into(),
            tree: Tree::new(),
            line: line.map(Hash::of),
            signed_lines: 0,
            time: signed.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }
    }

    /// `prev` of the next line, in hex: the hash of the line before. None of the first line of all.
    pub fn prev(&self) -> Option<String> {
        self.line.map(|hash| hash.hex())
    }

    /// This line, as [`JournalSeal::prev`] of the next has it, where several are written at once.
    pub fn prev_after(line: &[u8]) -> String {
        Hash::of(without_newline(line)).hex()
    }

    /// `write(2)` has taken this line, whole; with or without its newline.
    pub fn wrote(&mut self, line: &[u8]) {
        let line = without_newline(line);
        self.line = Some(Hash::of(line));
        self.tree.push(line);
    }

    /// Whether lines stand in the journal that no signed head has.
    pub fn is_ahead(&self) -> bool {
        self.tree.size() > self.signed_lines
    }

    /// What stands now; to be signed once it is on the disk.
    pub fn head(&self, now: OffsetDateTime) -> Head {
        Head::new(Checkpoint {
            origin: self.origin.to_string(),
            size: self.tree.size(),
            root: self.tree.root(),
            time: whole_millis(now).max(self.time),
            previous: None,
            files: Vec::new(),
            last: false,
        })
    }

    /// The checkpoint of this head stands in `events.checkpoints`, or is to.
    pub fn signed(&mut self, head: &Head) {
        self.signed_lines = head.checkpoint().size;
        self.time = head.checkpoint().time;
    }
}

fn without_newline(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-30 07:12:33 UTC);

    #[test]
    fn lines_are_chained_over_runs_and_a_tree_is_one_runs() {
        let mut run = JournalSeal::new("portcullis/gate-1", Uuid::from_u128(1), None, None);
        assert_eq!((run.prev(), run.is_ahead()), (None, false));
        run.wrote(b"{\"seq\":1}\n");
        assert_eq!(run.prev(), Some(Hash::of(b"{\"seq\":1}").hex()));
        assert_eq!(run.prev(), Some(JournalSeal::prev_after(b"{\"seq\":1}\n")));
        run.wrote(b"{\"seq\":2}");
        let head = run.head(NOW);
        assert_eq!(head.checkpoint().size, 2);
        assert_eq!(head.checkpoint().origin, "portcullis/gate-1/journal/00000000-0000-0000-0000-000000000001");
        assert!(run.is_ahead());
        run.signed(&head);
        assert!(!run.is_ahead());

        let mut next = JournalSeal::new("portcullis/gate-1", Uuid::from_u128(2), Some(b"{\"seq\":2}"), Some(NOW));
        assert_eq!(next.prev(), Some(Hash::of(b"{\"seq\":2}").hex()));
        next.wrote(b"{\"seq\":1}");
        let second = next.head(NOW - time::Duration::HOUR);
        assert_eq!(second.checkpoint().size, 1);
        assert_eq!(second.checkpoint().time, NOW, "the clock went back");
    }
}
