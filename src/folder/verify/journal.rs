//! A gateway's journal: the story of its verification.

use std::path::{Path, PathBuf};

use super::fault::Faults;
use super::journal_heads::{JournalHeads, name_of};
use super::journal_log::{LogCheck, in_order, moment};
use super::journal_report::JournalReport;
use super::journal_sessions::Seen;
use super::report::{SignedBy, Verdict};
use crate::key::VerifyingKey;

/// What of a journal is there.
#[derive(Clone, Copy, Debug)]
pub struct Journal<'a> {
    /// Its logs, in any order, those that were rotated away included.
    pub logs: &'a [PathBuf],
    /// The files of its heads, the oldest first.
    pub checkpoints: &'a [PathBuf],
    /// The directory that has `sessions`, where the folders are to be looked at.
    pub evidence: Option<&'a Path>,
    /// Files of notes that were kept elsewhere: heads of the journal, and of sessions.
    pub anchors: &'a [PathBuf],
    /// Whose heads are believed.
    pub keys: &'a [VerifyingKey],
    /// How closely folders are looked at.
    pub depth: Depth,
}

/// How closely folders are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Every byte.
    #[default]
    Whole,
    /// Whether their heads are those that the journal has.
    Heads,
}

/// Verifies a journal, and the folders that it has. Nothing is written. In memory are the heads (some 90 bytes for each) and what
/// is known of each session.
pub fn verify_journal(journal: &Journal<'_>) -> JournalReport {
    let mut faults = Faults::default();
    let mut heads = JournalHeads::read(journal.checkpoints, journal.anchors, journal.keys, &mut faults);
    let mut seen = Seen::default();
    let mut check = LogCheck::default();
    let logs = in_order(journal.logs, &mut faults);
    for log in &logs {
        let mut of_sessions = Faults::default();
        check.log(&log.path, &mut heads, &mut faults, |line, name, number| {
            seen.take(line, name, number, &mut of_sessions)
        });
        faults.extend(of_sessions);
    }
    check.finish(&mut heads, &mut faults);
    let anchored = heads.sessions.len() as u64;
    seen.anchor(std::mem::take(&mut heads.sessions));
    let since = check.first.as_deref().filter(|_| check.begins_later || check.unchained > 0).and_then(moment);
    let sessions = match journal.evidence {
        Some(evidence) => seen.verify(evidence, since, journal.depth, journal.keys, &mut faults),
        None => seen.counts(),
    };
    let verdict = if faults.is_empty() { Verdict::Whole } else { Verdict::Broken };
    let (faults, more_faults) = faults.into_parts();
    JournalReport {
        verdict,
        logs: logs.iter().map(|log| name_of(&log.path)).collect(),
        lines: check.lines,
        unchained: check.unchained,
        unsigned: check.unsigned,
        runs: check.runs,
        runs_in_part: check.runs_in_part,
        begins_later: check.begins_later,
        first: check.first,
        last: check.last,
        signed_by: heads
            .signers
            .iter()
            .map(|(key, checkpoints)| SignedBy { key: key.to_string(), checkpoints: *checkpoints })
            .collect(),
        checkpoints: heads.count,
        anchors: check.anchors + if journal.evidence.is_some() { anchored } else { 0 },
        anchors_before: check.anchors_before,
        not_written: check.not_written,
        sessions,
        faults,
        more_faults,
    }
}
