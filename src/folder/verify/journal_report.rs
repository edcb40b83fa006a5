//! What somebody is told of a journal.

use serde::Serialize;
use uuid::Uuid;

use super::fault::Fault;
use super::report::{SignedBy, Verdict};

/// What was found in a journal.
#[derive(Clone, Debug, Serialize)]
pub struct JournalReport {
    /// In a word; a journal goes on, and is never [`Verdict::Unsealed`].
    pub verdict: Verdict,
    /// Its logs, in the order of their lines.
    pub logs: Vec<String>,
    /// How many lines there are.
    pub lines: u64,
    /// Lines at the beginning that are from before there were chains: nothing is proved of them.
    pub unchained: u64,
    /// Of the last run, lines after its last head. A gateway that runs signs them within a second.
    pub unsigned: u64,
    /// How many runs of a gateway there are.
    pub runs: u64,
    /// Runs whose beginning was not given: their heads can't be compared.
    pub runs_in_part: u64,
    /// Whether the first line follows one that was not given.
    pub begins_later: bool,
    /// The time of the first line, and of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The time of the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Who signed its heads.
    pub signed_by: Vec<SignedBy>,
    /// How many heads there are.
    pub checkpoints: u64,
    /// How many anchors are in agreement with it.
    pub anchors: u64,
    /// Anchors of a time before the first line.
    pub anchors_before: u64,
    /// Numbers that no line has, although the chain goes on over them: the gateway could not write those.
    pub not_written: Vec<NotWritten>,
    /// Its sessions.
    pub sessions: Sessions,
    /// What is wrong; the first hundred.
    pub faults: Vec<Fault>,
    /// How many more faults there are.
    pub more_faults: u64,
}

/// Lines that a gateway could not write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotWritten {
    /// In which run.
    pub run: Uuid,
    /// The first number.
    pub from: u64,
    /// The last one.
    pub to: u64,
}

/// What became of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sessions {
    /// Those that have a folder by the journal.
    pub known: u64,
    /// Those that are sealed.
    pub sealed: u64,
    /// Those whose folder went by retention.
    pub deleted: u64,
    /// Folders that were looked at.
    pub verified: u64,
    /// Folders from before the first line.
    pub before: u64,
}

impl JournalReport {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.verdict == Verdict::Whole
    }

    /// What a journal and a key can't prove.
    pub fn unproved(&self) -> Vec<String> {
        let mut unproved = Vec::new();
        if self.anchors == 0 {
            unproved.push(
                "that its end is not cut off, nor all of it an older state: that takes an anchor (--anchor)".to_owned(),
            );
        } else {
            unproved.push("what happened after the latest anchor".to_owned());
        }
        if self.unchained > 0 {
            unproved.push(format!(
                "anything of its first {} lines, which are from before there were chains",
                self.unchained
            ));
        }
        if self.begins_later {
            unproved.push("what stood before its first line: older logs were not given".to_owned());
        }
        if self.unsigned > 0 {
            unproved.push(format!("the last {} lines, which no head has yet", self.unsigned));
        }
        unproved.push("that the gateway's clock was right, and that nobody else had its key".to_owned());
        unproved
    }
}
