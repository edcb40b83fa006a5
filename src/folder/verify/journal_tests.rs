//! What was done to a journal, by its name: each with the journal alone, and with anchors and folders.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::vector_tests::{is_vector, vectors};
use super::*;
use crate::checkpoint::timestamp;
use crate::journal_seal::JournalSeal;
use crate::key::SigningKey;
use crate::layout::{File, path_of};
use crate::signed_head::HeadChain;
use crate::testing::{GATE, Session, key};

/// A gateway that writes a journal, and folders beside it.
struct Gateway {
    dir: TempDir,
    key: SigningKey,
    seal: JournalSeal,
    run: Uuid,
    seq: u64,
    heads: HeadChain,
    last: (Option<Vec<u8>>, Option<OffsetDateTime>),
    now: OffsetDateTime,
    anchor: String,
}

const OPENED: OffsetDateTime = datetime!(2026-11-30 07:12:33.123 UTC);

impl Gateway {
    fn new() -> Self {
        let run = Uuid::from_u128(100);
        Self {
            dir: tempfile::tempdir().unwrap(),
            key: key(1),
            seal: JournalSeal::new(GATE, run, None, None),
            run,
            seq: 0,
            heads: HeadChain::default(),
            last: (None, None),
            now: OPENED,
            anchor: String::new(),
        }
    }

    /// Two runs with a session each, the first of which was killed; an anchor at the end.
    fn example() -> Self {
        let mut gateway = Self::new();
        gateway.line("configuration.loaded", json!({ "id": Uuid::nil() }));
        gateway.session(Uuid::from_u128(1));
        gateway.head();
        gateway.line("login.refused", json!({ "id": Uuid::from_u128(50) }));
        gateway.restart(Uuid::from_u128(101));
        gateway.line("configuration.loaded", json!({ "id": Uuid::nil() }));
        gateway.head();
        gateway.session(Uuid::from_u128(2));
        gateway.head();
        gateway.line("login.refused", json!({ "id": Uuid::from_u128(51) }));
        gateway.head();
        gateway.anchor = gateway.last_note();
        gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        let mut all = fs::read(self.path(name)).unwrap_or_default();
        all.extend_from_slice(bytes);
        fs::write(self.path(name), all).unwrap();
    }

    fn line(&mut self, event: &str, more: Value) {
        self.now += Duration::milliseconds(100);
        self.seq += 1;
        let mut line = json!({ "time": timestamp(self.now), "v": 1, "run": self.run, "seq": self.seq, "event": event });
        let prev = self.seal.prev().map(|prev| json!({ "prev": prev })).unwrap_or(json!({}));
        for (key, value) in more.as_object().unwrap().iter().chain(prev.as_object().unwrap()) {
            line[key] = value.clone();
        }
        let line = line.to_string();
        self.seal.wrote(line.as_bytes());
        self.last.0 = Some(line.clone().into_bytes());
        self.append("events.jsonl", format!("{line}\n").as_bytes());
    }

    fn head(&mut self) {
        let head = self.seal.head(self.now);
        self.seal.signed(&head);
        let signed = self.heads.sign(&self.key, head);
        self.append("events.checkpoints", signed.lines().as_bytes());
        self.heads.stands(&signed);
        self.last.1 = Some(signed.checkpoint().time);
    }

    fn restart(&mut self, run: Uuid) {
        self.seal = JournalSeal::new(GATE, run, self.last.0.as_deref(), self.last.1);
        (self.run, self.seq) = (run, 0);
    }

    /// A session from its beginning to its end.
    fn session(&mut self, id: Uuid) {
        let path = path_of(self.dir.path(), OPENED, id);
        let folder = format!("2026-11-30/{id}");
        self.line("session.opened", json!({ "id": id }));
        let mut session = Session::of(id, key(1));
        session.event(1007, "x", json!({}));
        session.head();
        let live = json!([{ "folder": folder, "head": session.heads.last().unwrap().hex() }]);
        self.line("sessions.heads", json!({ "id": Uuid::nil(), "heads": live }));
        session.event(4007, "x", json!({}));
        session.close("finished", None);
        put(&path, &session.folder);
        let head = session.heads.last().unwrap().hex();
        self.line("session.sealed", json!({ "id": id, "folder": folder, "head": head }));
    }

    fn last_note(&self) -> String {
        let text = fs::read_to_string(self.path("events.checkpoints")).unwrap();
        let at = text.rfind(&format!("\n{GATE}/journal/")).map_or(0, |at| at + 1);
        text[at..].to_owned()
    }

    fn verify_with(&self, change: impl FnOnce(&mut Journal<'_>)) -> JournalReport {
        self.verify_logs(&[self.path("events.jsonl")], change)
    }

    fn verify_logs(&self, logs: &[PathBuf], change: impl FnOnce(&mut Journal<'_>)) -> JournalReport {
        fs::write(self.path("anchor"), &self.anchor).unwrap();
        let heads = [self.path("events.checkpoints")];
        let (anchors, keys) = ([self.path("anchor")], [self.key.verifying_key().clone()]);
        let mut journal = Journal {
            logs,
            checkpoints: &heads,
            evidence: Some(self.dir.path()),
            anchors: if self.anchor.is_empty() { &[] } else { &anchors },
            keys: &keys,
            depth: Depth::Whole,
        };
        change(&mut journal);
        verify_journal(&journal)
    }

    fn codes(&self) -> Vec<&'static str> {
        self.verify_with(|_| {}).faults.iter().map(|fault| fault.code.as_str()).collect()
    }

    fn lines(&self, change: impl FnOnce(&mut Vec<String>)) {
        let text = fs::read_to_string(self.path("events.jsonl")).unwrap();
        let mut lines = text.split_inclusive('\n').map(str::to_owned).collect();
        change(&mut lines);
        fs::write(self.path("events.jsonl"), lines.concat()).unwrap();
    }

    fn heads(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut folder = InMemory::default();
        let bytes = fs::read(self.path("events.checkpoints")).unwrap();
        folder.0.insert(File::Checkpoints.name().to_owned(), bytes);
        folder.notes(change);
        fs::write(self.path("events.checkpoints"), &folder.0[File::Checkpoints.name()]).unwrap();
    }
}

fn put(path: &Path, folder: &InMemory) {
    fs::create_dir_all(path).unwrap();
    for (name, bytes) in &folder.0 {
        fs::write(path.join(name), bytes).unwrap();
    }
}

#[test]
fn a_journal_as_it_was_written_is_whole() {
    let gateway = Gateway::example();
    let report = gateway.verify_with(|_| {});
    assert_eq!(report.faults, []);
    assert_eq!((report.lines, report.runs, report.checkpoints, report.anchors), (10, 2, 4, 1));
    assert_eq!((report.unsigned, report.unchained, report.begins_later), (0, 0, false));
    assert_eq!(report.sessions, Sessions { known: 2, sealed: 2, deleted: 0, verified: 2, before: 0 });
    assert!(report.unproved()[0].contains("latest anchor"));
    assert!(gateway.verify_with(|journal| journal.anchors = &[]).unproved()[0].contains("--anchor"));
    assert!(gateway.verify_with(|journal| journal.depth = Depth::Heads).is_whole());
}

/// The vectors under `docs/formats/journal`; see `vectors.rs`.
#[test]
fn the_journal_has_the_same_bytes_when_it_is_written_again_and_verifies() {
    let gateway = Gateway::example();
    let at = vectors().join("journal");
    for name in ["events.jsonl", "events.checkpoints"] {
        is_vector(&at.join(name), &fs::read(gateway.path(name)).unwrap());
    }
    is_vector(&at.join("anchor"), gateway.anchor.as_bytes());
    let (logs, checkpoints, anchors) =
        ([at.join("events.jsonl")], [at.join("events.checkpoints")], [at.join("anchor")]);
    let keys = [key(1).verifying_key().clone()];
    let (depth, evidence) = (Depth::Whole, None);
    let journal = Journal { logs: &logs, checkpoints: &checkpoints, evidence, anchors: &anchors, keys: &keys, depth };
    let report = verify_journal(&journal);
    assert_eq!((report.faults, report.anchors), (vec![], 1));
}

#[test]
fn logs_that_were_rotated_are_read_in_any_order() {
    let gateway = Gateway::example();
    let text = fs::read_to_string(gateway.path("events.jsonl")).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let names = ["events.jsonl.1", "events.jsonl.2", "events.jsonl.3", "events.jsonl.4"].map(|name| gateway.path(name));
    let order = [3, 0, 2, 1];
    for (part, at) in lines.chunks(3).zip(order) {
        fs::write(&names[at], part.concat()).unwrap();
    }
    let report = gateway.verify_logs(&names, |_| {});
    assert_eq!((report.faults, report.lines), (vec![], 10));
    // one in the middle is missing, and then the last one
    let without = |at: usize| {
        names
            .iter()
            .enumerate()
            .filter(|(name, _)| *name != order[at])
            .map(|(_, name)| name.clone())
            .collect::<Vec<_>>()
    };
    let middle = without(1);
    let report = gateway.verify_logs(&middle, |_| {});
    assert!(report.faults.iter().any(|fault| fault.code == Code::Deleted), "{:?}", report.faults);
    let last = without(3);
    let report = gateway.verify_logs(&last, |_| {});
    assert!(report.faults.iter().any(|fault| fault.code == Code::RolledBack), "{:?}", report.faults);
    // without the first, what is here is whole, and the rest is told as not proved
    let first = without(0);
    let report = gateway.verify_logs(&first, |_| {});
    assert_eq!(report.faults.iter().map(|fault| fault.code.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(report.begins_later && report.runs_in_part == 1);
    assert!(report.unproved().iter().any(|what| what.contains("older logs")));
}

#[test]
fn each_attack_on_lines_is_told_by_its_line() {
    let case = |change: fn(&mut Vec<String>), expected: &[&str]| {
        let gateway = Gateway::example();
        gateway.lines(change);
        let report = gateway.verify_with(|journal| journal.evidence = None);
        let found: Vec<_> = report.faults.iter().map(|fault| fault.code.as_str()).collect();
        assert_eq!(&found[..expected.len().min(found.len())], expected, "{:?}", report.faults);
        assert!(!report.is_whole());
    };
    case(|lines| lines[2] = lines[2].replace("sessions.heads", "sessions.headz"), &["edited"]);
    case(|lines| drop(lines.remove(2)), &["deleted"]);
    case(|lines| lines.swap(1, 2), &["deleted", "reordered"]);
    case(|lines| lines[2] = "{}\n".to_owned(), &["malformed"]);
    case(|lines| lines[9].truncate(20), &["malformed"]);
    case(|lines| drop(lines.remove(4)), &["deleted"]);
    // the last line of all: only what is kept elsewhere and the head show it
    case(|lines| drop(lines.pop()), &["rolled-back"]);
    let gateway = Gateway::example();
    gateway.lines(|lines| lines[2] = lines[2].replace("sessions.heads", "sessions.headz"));
    let fault = &gateway.verify_with(|journal| journal.evidence = None).faults[0];
    assert_eq!(fault.lines, Some((3, 3)));
}

#[test]
fn a_journal_that_was_rolled_back_is_whole_alone_and_found_with_an_anchor() {
    let gateway = Gateway::example();
    gateway.lines(|lines| lines.truncate(6));
    gateway.heads(|heads| heads.truncate(2));
    fs::remove_dir_all(path_of(gateway.dir.path(), OPENED, Uuid::from_u128(2))).unwrap();
    let alone = gateway.verify_with(|journal| journal.anchors = &[]);
    assert!(alone.is_whole(), "{:?}", alone.faults);
    assert_eq!(gateway.codes(), ["rolled-back"]);
    // the whole run is gone
    gateway.lines(|lines| lines.truncate(5));
    gateway.heads(|heads| heads.truncate(1));
    assert!(gateway.verify_with(|journal| journal.anchors = &[]).is_whole());
    assert_eq!(gateway.codes(), ["rolled-back"]);

    // another history under the same run, signed by whoever has the key
    let mut forged = Gateway::new();
    forged.anchor = Gateway::example().anchor;
    for _ in 0..5 {
        forged.line("login.refused", json!({ "id": Uuid::nil() }));
    }
    forged.restart(Uuid::from_u128(101));
    for _ in 0..9 {
        forged.line("login.refused", json!({ "id": Uuid::nil() }));
    }
    forged.head();
    assert!(forged.verify_with(|journal| journal.anchors = &[]).is_whole());
    assert_eq!(forged.codes(), ["rolled-back"]);
}

#[test]
fn numbers_that_the_gateway_could_not_write_are_no_fault() {
    let mut gateway = Gateway::new();
    gateway.line("login.refused", json!({ "id": Uuid::nil() }));
    gateway.seq += 2;
    gateway.line("login.refused", json!({ "id": Uuid::nil() }));
    gateway.head();
    let report = gateway.verify_with(|_| {});
    assert_eq!(report.faults, []);
    assert_eq!(report.not_written, [NotWritten { run: gateway.run, from: 2, to: 3 }]);
    gateway.line("login.refused", json!({ "id": Uuid::nil() }));
    assert_eq!(gateway.verify_with(|_| {}).unsigned, 1);
}

#[test]
fn lines_from_before_there_were_chains_are_counted_and_not_proved() {
    let mut gateway = Gateway::new();
    let old =
        r#"{"time":"2026-11-29T07:12:33.123Z","event":"login.refused","id":"00000000-0000-0000-0000-000000000000"}"#;
    gateway.append("events.jsonl", format!("{old}\n{old}\n").as_bytes());
    gateway.seal = JournalSeal::new(GATE, gateway.run, Some(old.as_bytes()), None);
    gateway.line("configuration.loaded", json!({ "id": Uuid::nil() }));
    gateway.head();
    let report = gateway.verify_with(|_| {});
    assert_eq!((report.faults.as_slice(), report.unchained), ([].as_slice(), 2));
    gateway.append("events.jsonl", format!("{old}\n").as_bytes());
    assert!(!gateway.verify_with(|_| {}).is_whole());
}

#[test]
fn folders_that_are_missing_strange_or_others_are_told() {
    let gateway = Gateway::example();
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let path = |id| path_of(gateway.dir.path(), OPENED, id);
    fs::rename(path(one), gateway.path("aside")).unwrap();
    assert_eq!(gateway.codes(), ["missing-session"]);
    // the folder of another session in its place, or one that was made anew with the key
    let mut forged = Session::of(one, key(1));
    forged.event(1007, "harmless", json!({}));
    forged.close("finished", None);
    put(&path(one), &forged.folder);
    assert_eq!(gateway.codes(), ["other-head", "other-head"]);
    assert_eq!(gateway.verify_with(|journal| journal.depth = Depth::Heads).faults.len(), 2);
    fs::remove_dir_all(path(one)).unwrap();
    fs::rename(gateway.path("aside"), path(one)).unwrap();
    assert_eq!(gateway.codes(), Vec::<&str>::new());
    // an edit in a folder is told with the folder's name
    let events = path(two).join("events.jsonl");
    let text = fs::read_to_string(&events).unwrap();
    fs::write(&events, text.replace("1007", "1008")).unwrap();
    let report = gateway.verify_with(|_| {});
    assert_eq!(report.faults[0].file, Some(format!("2026-11-30/{two}/events.jsonl")));
    fs::write(&events, text).unwrap();
    // its end taken away
    let heads = path(two).join("checkpoints");
    let text = fs::read_to_string(&heads).unwrap();
    fs::write(&heads, &text[..text.find("\n\n\n").or_else(|| text.rfind(&format!("\n{GATE}"))).unwrap()]).unwrap();
    assert!(gateway.codes().contains(&"other-head"));
    fs::write(&heads, text).unwrap();
    // one that nobody knows
    put(&path(Uuid::from_u128(77)), &forged.folder);
    fs::create_dir(gateway.path("sessions/extra")).unwrap();
    let mut codes = gateway.codes();
    codes.sort_unstable();
    assert_eq!(codes, ["unknown-file", "unknown-session"]);
}

#[test]
fn a_folder_that_went_by_retention_is_not_missing() {
    let mut gateway = Gateway::example();
    let one = Uuid::from_u128(1);
    fs::remove_dir_all(path_of(gateway.dir.path(), OPENED, one)).unwrap();
    gateway.line("session.deleted", json!({ "id": one, "folder": format!("2026-11-30/{one}") }));
    gateway.head();
    let report = gateway.verify_with(|_| {});
    assert_eq!((report.faults, report.sessions.deleted), (vec![], 1));
}

#[test]
fn heads_of_sessions_that_were_kept_elsewhere_are_looked_for() {
    let mut gateway = Gateway::example();
    let id = Uuid::from_u128(2);
    let heads = fs::read_to_string(path_of(gateway.dir.path(), OPENED, id).join("checkpoints")).unwrap();
    // joined without an empty line, as a collector may
    gateway.anchor.push_str(&heads);
    let report = gateway.verify_with(|_| {});
    assert_eq!((report.faults, report.anchors), (vec![], 3));
    // one of a session that is neither in the journal nor on the disk
    let mut gone = Session::of(Uuid::from_u128(99), key(1));
    gone.event(1007, "x", json!({}));
    gone.head();
    gateway.anchor.push_str(&gone.folder.text(File::Checkpoints));
    assert_eq!(gateway.codes(), ["missing-session"]);
}

#[test]
fn a_folder_in_the_journal_is_a_day_and_the_sessions_number_and_no_other_path() {
    for folder in
        ["../../etc", "2026-11-30/../x", "2026-11-30", "/etc/passwd", "2026-11-30/00000000-0000-0000-0000-000000000009"]
    {
        let mut gateway = Gateway::new();
        gateway.line("session.sealed", json!({ "id": Uuid::from_u128(1), "folder": folder, "head": "" }));
        gateway.head();
        assert_eq!(gateway.codes(), ["malformed"], "{folder}");
    }
}

#[test]
fn heads_of_a_journal_are_a_chain_signed_by_keys_that_are_given() {
    let gateway = Gateway::example();
    let unknown = gateway.verify_with(|journal| (journal.keys, journal.evidence) = (&[], None));
    assert!(unknown.faults.iter().all(|fault| fault.code == Code::UnknownKey) && unknown.checkpoints == 0);
    assert!(!unknown.is_whole());
    gateway.heads(|heads| drop(heads.remove(1)));
    assert_eq!(gateway.codes(), ["deleted"]);
    let gateway = Gateway::example();
    gateway.heads(|heads| heads.swap(1, 2));
    assert!(gateway.codes().iter().all(|code| *code == "reordered"));
    let gateway = Gateway::example();
    gateway.heads(|heads| heads[1] = heads[1].replace("\n1\n", "\n2\n"));
    assert_eq!(gateway.codes(), ["wrong-signature"]);
    // a head of a session is none of the journal
    let gateway = Gateway::example();
    let heads = path_of(gateway.dir.path(), OPENED, Uuid::from_u128(1)).join("checkpoints");
    gateway.append("events.checkpoints", format!("\n{}", fs::read_to_string(heads).unwrap()).as_bytes());
    assert_eq!(gateway.codes(), ["spliced", "spliced"]);
}
