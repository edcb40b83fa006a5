//! The sessions of a journal, and their folders.

use std::collections::HashMap;
use std::path::Path;

use time::OffsetDateTime;
use uuid::Uuid;

use super::checkpoints::Heads;
use super::fault::{Code, Fault, Faults, shown, shown_name};
use super::folder::{only_heads, with_heads};
use super::journal::Depth;
use super::journal_heads::SessionAnchor;
use super::journal_line::JournalLine;
use super::journal_report::Sessions;
use super::report::Verdict;
use crate::checkpoint::timestamp;
use crate::hash::Hash;
use crate::key::VerifyingKey;
use crate::layout::{SESSIONS, day_of};

/// What the journal has of each.
#[derive(Default)]
pub(crate) struct Seen(HashMap<Uuid, Session>);

#[derive(Default)]
struct Session {
    /// `2026-11-30/8b1f…`
    folder: Option<String>,
    /// Whether the journal has a head of it. One that was only opened may not have been recorded.
    named: bool,
    /// What it was sealed with, and its latest head; `Some(None)` what is no hash, and no head's.
    sealed: Option<Option<Hash>>,
    latest: Option<Option<Hash>>,
    deleted: bool,
    /// Heads that were kept elsewhere.
    anchored: Vec<SessionAnchor>,
}

impl Seen {
    /// Takes what a line says of sessions.
    pub(crate) fn take(&mut self, line: &JournalLine, name: &str, number: u64, faults: &mut Faults) {
        let mut odd = |folder: &str| {
            let what = format!("{} is no folder of a session", shown(folder));
            faults.add(Fault::new(Code::Malformed, what).file(name).line(number));
        };
        match (line.event.as_str(), line.id) {
            ("session.opened", Some(id)) => {
                let session = self.0.entry(id).or_default();
                let day = line.time.get(..10).filter(|day| is_day(day));
                session.folder = day.map(|day| format!("{day}/{}", id.hyphenated()));
            }
            ("session.sealed", Some(id)) => match line.folder.as_deref() {
                Some(folder) if id_of(folder) == Some(id) => {
                    let session = self.named(id, folder);
                    session.sealed = Some(line.head.as_deref().and_then(Hash::from_hex));
                }
                folder => odd(folder.unwrap_or_default()),
            },
            ("session.deleted", Some(id)) => self.0.entry(id).or_default().deleted = true,
            ("sessions.heads", _) => {
                for live in &line.heads {
                    match id_of(&live.folder) {
                        Some(id) => self.named(id, &live.folder).latest = Some(Hash::from_hex(&live.head)),
                        None => odd(&live.folder),
                    }
                }
            }
            _ => {}
        }
    }

    /// A session whose folder the journal names: it must be there.
    fn named(&mut self, id: Uuid, folder: &str) -> &mut Session {
        let session = self.0.entry(id).or_default();
        session.folder = Some(folder.to_owned());
        session.named = true;
        session
    }

    /// Heads of sessions that were kept elsewhere.
    pub(crate) fn anchor(&mut self, anchors: Vec<SessionAnchor>) {
        for anchor in anchors {
            self.0.entry(anchor.session).or_default().anchored.push(anchor);
        }
    }

    /// Looks at the folders; `since` is the first line's time, where older logs were not given.
    pub(crate) fn verify(
        &self,
        evidence: &Path,
        since: Option<OffsetDateTime>,
        depth: Depth,
        keys: &[VerifyingKey],
        faults: &mut Faults,
    ) -> Sessions {
        let mut counts = self.counts();
        let root = evidence.join(SESSIONS);
        for (id, session) in &self.0 {
            match &session.folder {
                _ if session.deleted => {}
                Some(folder) => counts.verified += u64::from(session.verify(*id, folder, &root, depth, keys, faults)),
                None if !session.anchored.is_empty() => {
                    let what = format!("the journal has nothing of session {id}, of which a head was kept elsewhere");
                    faults.add(Fault::new(Code::MissingSession, what));
                }
                None => {}
            }
        }
        counts.before = self.strangers(&root, since.map(day_of), faults);
        counts
    }

    pub(crate) fn counts(&self) -> Sessions {
        let all = self.0.values().filter(|session| session.named);
        Sessions {
            known: all.clone().count() as u64,
            sealed: all.clone().filter(|session| session.sealed.is_some()).count() as u64,
            deleted: self.0.values().filter(|session| session.deleted).count() as u64,
            ..Sessions::default()
        }
    }

    /// Folders that the journal doesn't have; how many are older than its first line.
    fn strangers(&self, root: &Path, since: Option<String>, faults: &mut Faults) -> u64 {
        let mut before = 0;
        for day in names(root, faults) {
            let at = root.join(&day);
            if !is_day(&day) {
                faults.add(Fault::new(Code::UnknownFile, "this is no day").file(shown_name(&day)));
                continue;
            }
            for name in names(&at, faults) {
                let known = Uuid::parse_str(&name).ok().and_then(|id| self.0.get(&id));
                let folder = format!("{day}/{name}");
                let is_known =
                    known.is_some_and(|session| session.deleted || session.folder.as_deref() == Some(&folder));
                if is_known {
                    continue;
                }
                if since.as_ref().is_some_and(|since| day < *since) {
                    before += 1;
                } else {
                    let what = "the journal has nothing of this folder";
                    faults.add(Fault::new(Code::UnknownSession, what).file(shown_name(&folder)));
                }
            }
        }
        before
    }
}

impl Session {
    /// Whether its folder could be looked at.
    fn verify(
        &self,
        id: Uuid,
        folder: &str,
        root: &Path,
        depth: Depth,
        keys: &[VerifyingKey],
        faults: &mut Faults,
    ) -> bool {
        let path = root.join(folder);
        if path.symlink_metadata().is_err() {
            if !self.named && self.anchored.is_empty() {
                return false;
            }
            let what = "the journal has this session, and its folder is not there";
            faults.add(Fault::new(Code::MissingSession, what).file(folder));
            return false;
        }
        let heads = match depth {
            Depth::Heads => {
                let (found, heads) = only_heads(&path, id, keys);
                within(folder, found.into_parts().0, faults);
                heads
            }
            Depth::Whole => {
                let (report, heads) = with_heads(&path, keys, &crate::encrypted::NoKeyring);
                // one that goes on is compared by its heads
                if report.verdict == Verdict::Broken || (report.verdict == Verdict::Unsealed && self.sealed.is_some()) {
                    within(folder, report.faults, faults);
                }
                heads
            }
        };
        self.compare(folder, &heads, faults);
        true
    }

    fn compare(&self, folder: &str, heads: &Heads, faults: &mut Faults) {
        let last = heads.last.as_ref().map(|(hash, _)| *hash);
        let mut add = |what: String| faults.add(Fault::new(Code::OtherHead, what).file(folder));
        match self.sealed {
            Some(sealed) if last == sealed && last.is_some() => {}
            Some(sealed) if sealed.is_some_and(|sealed| heads.hashes.contains(&sealed)) => {
                add("its last head is another than the one that it was sealed with: something was added".to_owned());
            }
            Some(_) => {
                add("the head that it was sealed with is not there: its end was taken away, or it was made anew"
                    .to_owned())
            }
            None => {}
        }
        let has = |hash: Option<Hash>| hash.is_some_and(|hash| heads.hashes.contains(&hash));
        if self.latest.is_some_and(|latest| !has(latest)) {
            add("the latest head that the journal has of it is not there: its end was taken away, or it was made anew"
                .to_owned());
        }
        for anchor in self.anchored.iter().filter(|anchor| !heads.hashes.contains(&anchor.head)) {
            add(format!("a head of {} that was kept elsewhere is not there", timestamp(anchor.time)));
        }
    }
}

/// Faults in a folder, under its name.
fn within(folder: &str, found: Vec<Fault>, faults: &mut Faults) {
    for mut fault in found {
        fault.file = Some(fault.file.map_or_else(|| folder.to_owned(), |file| format!("{folder}/{file}")));
        faults.add(fault);
    }
}

/// The names in a directory, in order.
fn names(path: &Path, faults: &mut Faults) -> Vec<String> {
    let entries = path.read_dir().and_then(|entries| {
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<Vec<_>, _>>()
    });
    match entries {
        Ok(mut names) => {
            names.sort();
            names
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            faults.add(
                Fault::new(Code::Unreadable, format!("it can't be listed: {error}"))
                    .file(shown_name(&path.display().to_string())),
            );
            Vec::new()
        }
    }
}

/// The session of `<day>/<session>`. It becomes a path: only what the gateway writes is taken.
fn id_of(folder: &str) -> Option<Uuid> {
    let (day, session) = folder.split_once('/')?;
    let id = Uuid::parse_str(session).ok()?;
    (is_day(day) && id.hyphenated().to_string() == session).then_some(id)
}

fn is_day(text: &str) -> bool {
    let form = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(form)
}
