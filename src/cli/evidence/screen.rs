//! What a person reads of a verification: what holds, what does not and where, and what it can't prove.

use portcullis_folder::{Fault, FolderReport, JournalReport, SignedBy, Verdict};

use crate::model::{counted, plain_text, size_text};

/// A folder, in a screenful.
pub(super) fn folder(path: &str, report: &FolderReport) -> String {
    let verdict = match report.verdict {
        Verdict::Whole => "whole",
        Verdict::Unsealed => "NOT WHOLE: it has no last head, and what was signed so far is as it was signed",
        Verdict::Broken => "NOT WHOLE",
    };
    let mut page = Page::new(format!("{path}: {verdict}"));
    if let Some(session) = report.session {
        let outcome = report.outcome.as_ref().map(|outcome| format!(", {outcome}")).unwrap_or_default();
        page.row("session", format!("{session}{outcome}"));
    }
    page.signers(&report.signed_by);
    if let (Some(first), Some(last)) = (&report.first, &report.last) {
        page.row("heads", format!("{}, from {first} to {last}", report.checkpoints));
    }
    for (at, file) in report.files.iter().enumerate() {
        let is = match file.verified == file.bytes {
            true => "as it was signed".to_owned(),
            false => format!("{} of it as it was signed", size_text(file.verified)),
        };
        let events =
            if file.name == "events.jsonl" { format!(", {}", counted(report.events, "event")) } else { String::new() };
        let line = format!("{:<15} {:>9}  {is}{events}", file.name, size_text(file.bytes));
        page.row(if at == 0 { "files" } else { "" }, line);
    }
    if let Some(encryption) = &report.encryption {
        page.row("encrypted", format!("by {}", encryption.kms_key.as_deref().unwrap_or("a key that is not known")));
        page.row(
            "",
            match (&encryption.why, encryption.opened) {
                (_, true) => "opened, line by line".to_owned(),
                (Some(why), false) => format!("not opened: {}", plain_text(why)),
                (None, false) => "not opened".to_owned(),
            },
        );
    }
    page.faults(&report.faults, report.more_faults);
    for (at, later) in report.found_later.iter().enumerate() {
        let line = format!(
            "{}, bytes {} to {}: found when the gateway started again, and signed then",
            later.file,
            later.from,
            later.to.saturating_sub(1)
        );
        page.row(if at == 0 { "later" } else { "" }, line);
    }
    if report.is_whole() {
        page.row("proved", "no byte was changed, added, moved or taken out since it was signed, up to the last head");
    }
    page.unproved(report.unproved());
    page.text
}

/// A journal, in a screenful.
pub(super) fn journal(report: &JournalReport) -> String {
    let verdict = if report.is_whole() { "whole" } else { "NOT WHOLE" };
    let mut page = Page::new(format!("journal: {verdict}"));
    for (at, log) in report.logs.iter().enumerate() {
        page.row(if at == 0 { "logs" } else { "" }, log);
    }
    let (first, last) = (report.first.as_deref().unwrap_or("-"), report.last.as_deref().unwrap_or("-"));
    page.row("lines", format!("{} in {}, from {first} to {last}", report.lines, counted(report.runs, "run")));
    page.signers(&report.signed_by);
    let anchors = match report.anchors_before {
        0 => counted(report.anchors, "anchor"),
        before => format!("{}, and {before} of before the first line", counted(report.anchors, "anchor")),
    };
    page.row("heads", format!("{}; in agreement with {anchors}", report.checkpoints));
    let sessions = &report.sessions;
    page.row(
        "sessions",
        format!(
            "{} with a folder, {} sealed, {} deleted by retention; {} verified",
            sessions.known,
            sessions.sealed,
            sessions.deleted,
            counted(sessions.verified, "folder"),
        ),
    );
    for (at, gap) in report.not_written.iter().take(10).enumerate() {
        let line = format!(
            "lines {} to {} of run {}: the gateway could not write them, and the chain goes on over them",
            gap.from, gap.to, gap.run
        );
        page.row(if at == 0 { "holes" } else { "" }, line);
    }
    page.faults(&report.faults, report.more_faults);
    if report.is_whole() {
        page.row(
            "proved",
            "no line was changed, added, moved or taken out between those that are here, and each folder that",
        );
        page.row("", "a line names is there as it was sealed, or went by retention");
    }
    page.unproved(report.unproved());
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn new(title: String) -> Self {
        Self { text: format!("{title}\n") }
    }

    fn row(&mut self, name: &str, what: impl std::fmt::Display) {
        self.text.push_str(&format!("  {name:<10} {what}\n"));
    }

    fn signers(&mut self, signed_by: &[SignedBy]) {
        if signed_by.is_empty() {
            self.row("signed by", "no key that was given");
        }
        for (at, signer) in signed_by.iter().enumerate() {
            self.row(
                if at == 0 { "signed by" } else { "" },
                format!("{} ({})", signer.key, counted(signer.checkpoints, "head")),
            );
        }
    }

    fn faults(&mut self, faults: &[Fault], more: u64) {
        for (at, fault) in faults.iter().take(SHOWN).enumerate() {
            self.row(if at == 0 { "wrong" } else { "" }, fault);
        }
        let more = more + faults.len().saturating_sub(SHOWN) as u64;
        if more > 0 {
            self.row("", format!("and {more} more; --json has the first hundred"));
        }
    }

    fn unproved<T: AsRef<str>>(&mut self, unproved: impl IntoIterator<Item = T>) {
        for (at, what) in unproved.into_iter().enumerate() {
            self.row(if at == 0 { "not proved" } else { "" }, what.as_ref());
        }
    }
}

/// So many faults are shown: a screenful.
const SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portcullis_folder::{File, FolderSeal, HeadChain, InMemory, SigningKey, verify_files};
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_screen_says_what_holds_what_does_not_and_what_is_not_proved() {
        let (key, _) = SigningKey::generate("portcullis/gate-1").unwrap();
        let session = Uuid::from_u128(7);
        let mut seal = FolderSeal::new("portcullis/gate-1", session);
        let now = datetime!(2026-11-30 07:12:33 UTC);
        let place = seal.next(now);
        let mut line = format!(r#"{{"time":{},"metadata":{{"sequence":1}}}}"#, place.time).into_bytes();
        seal.attest(&mut line).unwrap();
        line.push(b'\n');
        seal.wrote(File::Events, &line);
        let head = seal.head(now, false);
        let note = HeadChain::default().sign(&key, head).lines().into_bytes();
        let mut files = BTreeMap::from([("events.jsonl".to_owned(), line), ("checkpoints".to_owned(), note)]);
        let keys = [key.verifying_key().clone()];
        let text = folder("8b1f", &verify_files(&InMemory(files.clone()), Some(session), &keys));
        assert!(text.starts_with("8b1f: NOT WHOLE: it has no last head"), "{text}");
        assert!(text.contains("as it was signed, 1 event\n"), "{text}");
        assert!(text.contains(&format!("  signed by  {} (1 head)\n", key.verifying_key())), "{text}");
        files.get_mut("events.jsonl").unwrap()[9] ^= 1;
        let text = folder("8b1f", &verify_files(&InMemory(files.clone()), Some(session), &keys));
        assert!(text.contains("  wrong      edited: events.jsonl, line 1: its fingerprint"), "{text}");
        assert!(text.contains("  not proved that no other session's folder is missing"), "{text}");
        let text = folder("8b1f", &verify_files(&InMemory(files), Some(session), &[]));
        assert!(text.contains("signed by  no key that was given"), "{text}");
        assert!(text.lines().count() < 24 && text.lines().all(|line| line.chars().count() < 200), "{text}");
    }
}
