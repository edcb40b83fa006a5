//! Each attack by its name, and every byte.

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::event_chain::{EventChain, fingerprint, split_fingerprint};
use crate::key::SigningKey;
use crate::layout::File;
use crate::testing::{Found, SESSION, Session, faults, key, verified};

type Expected = (&'static str, &'static str, Option<(u64, u64)>);

/// What is wrong with the example after a change.
fn after(change: impl FnOnce(&mut InMemory)) -> Vec<Found> {
    let mut folder = Session::whole();
    change(&mut folder);
    let report = verified(&folder);
    assert!(!report.is_whole());
    faults(&report)
}

fn is(found: &[Found], expected: &[Expected]) {
    let found: Vec<_> = found.iter().map(|(code, file, lines)| (*code, file.as_str(), *lines)).collect();
    assert_eq!(found, expected);
}

const EVENTS: &str = "events.jsonl";
const TERMINAL: &str = "terminal.cast";
const HEADS: &str = "checkpoints";

#[test]
fn a_folder_as_it_was_written_is_whole() {
    let folder = Session::whole();
    let report = verified(&folder);
    assert_eq!(report.faults, []);
    assert!(report.is_whole());
    assert_eq!((report.session, report.checkpoints, report.events), (Some(SESSION), 5, 8));
    assert_eq!(report.signed_by, [SignedBy { key: key(1).verifying_key().to_string(), checkpoints: 5 }]);
    assert_eq!(report.first.as_deref(), Some("2026-11-30T07:12:34.083Z"));
    assert_eq!(report.outcome.as_deref(), Some("finished"));
    let names: Vec<_> = report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [EVENTS, TERMINAL, "commands.jsonl", "files.jsonl", "stdout.head", "manifest.json"]);
    assert!(report.files.iter().all(|file| file.verified == file.bytes));
    assert_eq!(
        report.bytes(),
        folder.0.iter().filter(|(name, _)| *name != HEADS).map(|(_, file)| file.len() as u64).sum::<u64>()
    );
    assert!(report.unproved().iter().any(|line| line.contains("clock")));
}

#[test]
fn every_single_byte_that_is_changed_is_found_in_its_file() {
    let folder = Session::whole();
    let keys = [key(1).verifying_key().clone()];
    for (name, bytes) in &folder.0 {
        let mut changed = folder.clone();
        for at in 0..bytes.len() {
            let bit = 1 << (at % 8);
            changed.0.get_mut(name).unwrap()[at] ^= bit;
            let report = verify_files(&changed, Some(SESSION), &keys);
            changed.0.get_mut(name).unwrap()[at] ^= bit;
            assert!(report.verdict != Verdict::Whole, "{name} byte {at} bit {bit}");
            let files: Vec<_> = report.faults.iter().filter_map(|fault| fault.file.as_deref()).collect();
            assert!(files.contains(&name.as_str()), "{name} byte {at} bit {bit}: {:?}", report.faults);
            let others = files.iter().filter(|file| **file != name);
            // without its last head a folder is not sealed, and what stood after the one before is not signed
            let allowed = |file: &&str| name == HEADS || **file == *HEADS;
            assert!(others.clone().all(allowed), "{name} byte {at} bit {bit}: {:?}", report.faults);
            if name != HEADS {
                let fault = report.faults.iter().find(|fault| fault.file.as_deref() == Some(name)).unwrap();
                let (from, to) = fault.bytes.unwrap_or((0, bytes.len() as u64));
                assert!((from..to).contains(&(at as u64)), "{name} byte {at}: {fault}");
                let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
                let (first, last) = fault.lines.unwrap_or((1, u64::MAX));
                assert!((first..=last).contains(&line), "{name} byte {at}, line {line}: {fault}");
                if name == EVENTS {
                    // a changed newline spoils two lines
                    assert!(last - first <= 1, "{fault}");
                }
            }
        }
    }
}

#[test]
fn every_byte_that_is_taken_out_or_put_in_is_found() {
    let folder = Session::whole();
    for (name, bytes) in &folder.0 {
        for at in 0..=bytes.len() {
            let mut changed = folder.clone();
            changed.0.get_mut(name).unwrap().insert(at, b'\n');
            assert!(!verified(&changed).is_whole(), "{name}, a newline at {at}");
            if at < bytes.len() {
                let mut changed = folder.clone();
                changed.0.get_mut(name).unwrap().remove(at);
                assert!(!verified(&changed).is_whole(), "{name} without {at}");
                let mut changed = folder.clone();
                changed.0.get_mut(name).unwrap().truncate(at);
                assert!(!verified(&changed).is_whole(), "{name} up to {at}");
            }
        }
    }
}

#[test]
fn an_edited_event_is_found_by_its_line() {
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines[3] = lines[3].replace("make", "rm -"))),
        &[("edited", EVENTS, Some((4, 4)))],
    );
    // also where its fingerprint was made anew: the next one names the old
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines[3] = remade(&lines[3].replace("make", "rm -"))))[..],
        &[("edited", EVENTS, Some((4, 4)))],
    );
    // and where all after it were made anew, by the tree
    let found = after(|folder| {
        folder.lines(File::Events, |lines| {
            lines[3] = lines[3].replace("make", "rm -");
            let mut chain = EventChain::new("portcullis/gate-1", SESSION);
            for line in lines {
                let start = line.find(",\"attestation\"").unwrap();
                let mut new = format!("{}}}", &line[..start]).into_bytes();
                chain.attest(&mut new).unwrap();
                chain.wrote(&new);
                *line = String::from_utf8(new).unwrap() + "\n";
            }
        });
    });
    is(&found, &[("edited", EVENTS, Some((4, 5)))]);
}

/// A line whose fingerprint is that of what it says now.
fn remade(line: &str) -> String {
    let (before, old) = split_fingerprint(line.trim_end().as_bytes()).unwrap();
    line.replace(&old.hex(), &fingerprint(before).hex())
}

#[test]
fn an_edited_recording_is_found_between_two_heads() {
    let change =
        |folder: &mut InMemory| folder.lines(File::Terminal, |lines| lines[2] = lines[2].replace("make", "rm -"));
    is(&after(change), &[("edited", TERMINAL, Some((3, 3)))]);
    let mut folder = Session::whole();
    change(&mut folder);
    let bytes = verified(&folder).faults[0].bytes.unwrap();
    let lines: Vec<_> = folder.text(File::Terminal).split_inclusive('\n').map(|line| line.len() as u64).collect();
    assert_eq!(bytes, (lines[0] + lines[1], lines[0] + lines[1] + lines[2]));
    for (file, name) in [(File::Commands, "commands.jsonl"), (File::Files, "files.jsonl")] {
        let found = after(|folder| folder.lines(file, |lines| lines[1].insert(1, ' ')));
        is(&found, &[("edited", name, Some((2, 2)))]);
    }
    is(&after(|folder| folder.0.get_mut("stdout.head").unwrap()[0] = b'M'), &[("edited", "stdout.head", None)]);
    is(
        &after(|folder| folder.lines(File::Manifest, |lines| lines[7] = lines[7].replace("alice", "mallo"))),
        &[("edited", "manifest.json", None)],
    );
}

#[test]
fn reordered_events_and_heads_are_told_from_edited_ones() {
    is(&after(|folder| folder.lines(File::Events, |lines| lines.swap(3, 4))), &[("reordered", EVENTS, Some((5, 5)))]);
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines.rotate_left(1))),
        &[("reordered", EVENTS, Some((8, 8)))],
    );
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines[2..6].reverse())),
        &[
            ("reordered", EVENTS, Some((4, 4))),
            ("reordered", EVENTS, Some((5, 5))),
            ("reordered", EVENTS, Some((6, 6))),
        ],
    );
    let found = after(|folder| folder.notes(|notes| notes.swap(1, 2)));
    assert!(found.iter().all(|(code, file, _)| (*code, file.as_str()) == ("reordered", HEADS)), "{found:?}");
    // lines of a recording have no number: their bytes are others
    is(&after(|folder| folder.lines(File::Terminal, |lines| lines.swap(2, 3))), &[("edited", TERMINAL, Some((3, 3)))]);
}

#[test]
fn deleted_events_and_heads_are_told_with_their_numbers() {
    is(
        &after(|folder| folder.lines(File::Events, |lines| drop(lines.remove(3)))),
        &[("deleted", EVENTS, Some((4, 4)))],
    );
    is(
        &after(|folder| folder.lines(File::Events, |lines| drop(lines.drain(0..2)))),
        &[("deleted", EVENTS, Some((1, 1)))],
    );
    let mut folder = Session::whole();
    folder.lines(File::Events, |lines| drop(lines.drain(3..5)));
    assert!(verified(&folder).faults[0].what.contains("events 4 to 5"));
    let found = after(|folder| folder.notes(|notes| drop(notes.remove(2))));
    is(&found, &[("deleted", HEADS, Some((22, 32)))]);
    let found = after(|folder| folder.notes(|notes| drop(notes.remove(0))));
    is(&found, &[("deleted", HEADS, Some((1, 11)))]);
    is(
        &after(|folder| folder.lines(File::Terminal, |lines| drop(lines.remove(2)))),
        &[("deleted", TERMINAL, Some((3, 3)))],
    );
}

#[test]
fn repeated_events_and_heads_are_told() {
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines.insert(5, lines[3].clone()))),
        &[("repeated", EVENTS, Some((6, 6)))],
    );
    let found = after(|folder| folder.notes(|notes| notes.insert(2, notes[1].clone())));
    assert_eq!((found[0].0, found[0].1.as_str()), ("repeated", HEADS));
}

#[test]
fn records_of_another_session_or_gateway_are_told() {
    let mut other = Session::of(Uuid::from_u128(9), key(1));
    let foreign = other.event(1007, "Process Activity: Launch", json!({ "process": { "cmd_line": "id" } }));
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines.insert(4, foreign.clone()))),
        &[("spliced", EVENTS, Some((5, 5)))],
    );
    // in place of one: that one is missing
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines[4] = foreign.clone())),
        &[("spliced", EVENTS, Some((5, 5))), ("deleted", EVENTS, Some((6, 6)))],
    );
    let mut elsewhere = Session::of(SESSION, SigningKey::from_seed("portcullis/gate-2", &[1; 32]).unwrap());
    let foreign = elsewhere.event(1007, "Process Activity: Launch", json!({}));
    is(
        &after(|folder| folder.lines(File::Events, |lines| lines.insert(4, foreign))),
        &[("spliced", EVENTS, Some((5, 5)))],
    );
    // a head of another session, by the same key
    other.head();
    let head = other.folder.text(File::Checkpoints);
    let found = after(|folder| folder.notes(|notes| notes.insert(2, head)));
    assert_eq!((found[0].0, found[0].1.as_str()), ("spliced", HEADS));
    // a whole folder under another's number
    let report = verify_files(&Session::whole(), Some(Uuid::from_u128(9)), &[key(1).verifying_key().clone()]);
    assert!(report.faults.iter().any(|fault| fault.code == Code::Spliced));
    assert_eq!(report.verdict, Verdict::Broken);
}

#[test]
fn a_truncated_tail_is_told_for_each_file() {
    is(&after(|folder| folder.lines(File::Events, |lines| lines.truncate(6))), &[("truncated", EVENTS, Some((7, 7)))]);
    is(&after(|folder| folder.lines(File::Events, |lines| lines.truncate(7))), &[("truncated", EVENTS, Some((8, 8)))]);
    let mut folder = Session::whole();
    folder.0.get_mut(EVENTS).unwrap().pop();
    is(&faults(&verified(&folder)), &[("truncated", EVENTS, Some((8, 8)))]);
    is(
        &after(|folder| folder.lines(File::Terminal, |lines| lines.truncate(3))),
        &[("truncated", TERMINAL, Some((4, 4)))],
    );
    is(&after(|folder| folder.0.get_mut(TERMINAL).unwrap().clear()), &[("truncated", TERMINAL, Some((1, 1)))]);
    is(&after(|folder| drop(folder.0.remove(TERMINAL))), &[("missing-file", TERMINAL, None)]);
    is(&after(|folder| drop(folder.0.remove("manifest.json"))), &[("missing-file", "manifest.json", None)]);
    is(&after(|folder| drop(folder.0.remove(HEADS)))[..1], &[("missing-file", HEADS, None)]);
}

#[test]
fn an_end_that_was_taken_away_whole_leaves_a_folder_unsealed_and_not_whole() {
    let mut session = Session::example();
    let before = session.folder.clone();
    let report = verified(&before);
    // as a killed gateway leaves it: the last event and stdout.head had no head yet
    is(
        &faults(&report),
        &[("unsigned-tail", EVENTS, Some((8, 8))), ("unsigned-tail", "stdout.head", None), ("unsealed", HEADS, None)],
    );
    assert_eq!(report.verdict, Verdict::Unsealed);
    assert!(report.unproved()[0].contains("nothing is missing after its last head"));
    session.head();
    let report = verified(&session.folder);
    is(&faults(&report), &[("unsealed", HEADS, None)]);
    assert_eq!((report.verdict, report.is_whole()), (Verdict::Unsealed, false));
}

#[test]
fn clocks_that_go_back_are_told() {
    // a gateway never writes this: its seal holds times
    let mut session = Session::new();
    for (sequence, time) in [(1, 1_796_022_753_123_i64), (2, 1_796_022_753_122)] {
        let text = format!(r#"{{"time":{time},"metadata":{{"sequence":{sequence}}}}}"#);
        let mut line = text.into_bytes();
        session.seal.attest(&mut line).unwrap();
        line.push(b'\n');
        session.write(File::Events, &line);
    }
    session.close("finished", None);
    is(&faults(&verified(&session.folder)), &[("clock-rollback", EVENTS, Some((2, 2)))]);

    let mut session = Session::new();
    session.event(1007, "x", json!({}));
    session.head();
    let mut forged = session.seal.head(session.now, false).checkpoint().clone();
    forged.time -= time::Duration::HOUR;
    let forged = crate::checkpoint::Head::new(forged);
    session.seal.signed(&forged);
    session.put(forged);
    session.close("finished", None);
    let found = faults(&verified(&session.folder));
    assert_eq!((found[0].0, found[0].1.as_str()), ("clock-rollback", HEADS));
}

#[test]
fn what_stands_after_the_last_head_is_not_signed() {
    let mut folder = Session::whole();
    folder.0.get_mut(TERMINAL).unwrap().extend_from_slice(b"[9, \"o\", \"x\"]\n");
    is(&faults(&verified(&folder)), &[("unsigned-tail", TERMINAL, Some((5, 5)))]);
    assert_eq!(verified(&folder).faults[0].bytes.unwrap().1, folder.0[TERMINAL].len() as u64);
    // an event that follows as it should
    let mut session = Session::example();
    session.close("finished", None);
    session.event(1007, "x", json!({}));
    is(&faults(&verified(&session.folder)), &[("unsigned-tail", EVENTS, Some((9, 9)))]);
    // or doesn't
    let mut folder = Session::whole();
    folder.0.get_mut(EVENTS).unwrap().extend_from_slice(b"{}\n");
    is(&faults(&verified(&folder)), &[("malformed", EVENTS, Some((9, 9))), ("unsigned-tail", EVENTS, Some((9, 9)))]);
    // a file that no head has
    let mut folder = Session::whole();
    folder.0.insert("stdin.head".to_owned(), b"x".to_vec());
    let found = faults(&verified(&folder));
    is(&found, &[("unsigned-tail", "stdin.head", None)]);
}

#[test]
fn only_keys_that_are_given_are_believed() {
    let folder = Session::whole();
    for keys in [vec![], vec![key(2).verifying_key().clone()]] {
        let report = verify_files(&folder, None, &keys);
        assert_eq!(report.verdict, Verdict::Broken);
        assert!(report.faults.iter().any(|fault| fault.code == Code::UnknownKey));
        assert_eq!((report.checkpoints, report.signed_by.len()), (0, 0));
    }
    // nor is one that lies in the folder, whatever it is called
    let mut forged = Session::of(SESSION, key(2));
    forged.event(1007, "x", json!({}));
    forged.close("finished", None);
    let public = format!("{}\n", key(2).verifying_key());
    for name in ["key.pub", "evidence-key.pub", "keys"] {
        forged.folder.0.insert(name.to_owned(), public.clone().into_bytes());
    }
    let report = verified(&forged.folder);
    assert_eq!(report.verdict, Verdict::Broken);
    assert!(report.faults.iter().any(|fault| fault.code == Code::UnknownKey));
    assert_eq!(report.faults.iter().filter(|fault| fault.code == Code::UnknownFile).count(), 3);
    // whoever has the key can make anything; more than one may have signed
    let both = [key(1).verifying_key().clone(), key(2).verifying_key().clone()];
    assert_eq!(verify_files(&folder, None, &both).verdict, Verdict::Whole);
}

#[test]
fn a_signature_of_another_text_is_told_from_an_unknown_key() {
    let found = after(|folder| {
        folder.notes(|notes| {
            let wrong = notes[1].lines().last().unwrap().to_owned();
            let right = notes[2].lines().last().unwrap().to_owned();
            notes[2] = notes[2].replace(&right, &wrong);
        });
    });
    is(&found, &[("wrong-signature", HEADS, Some((22, 32)))]);
}

#[test]
fn heads_that_contradict_each_other_are_told_although_they_are_signed() {
    let mut session = Session::example();
    session.head();
    session.seal.wrote(File::StdinHead, b"never written");
    session.head();
    session.close("finished", None);
    let found = faults(&verified(&session.folder));
    is(&found, &[("missing-file", "stdin.head", None)]);

    // after the last one none comes
    let mut session = Session::example();
    session.close("finished", None);
    session.event(1007, "x", json!({}));
    session.head();
    let found = faults(&verified(&session.folder));
    assert!(found.iter().any(|(code, file, _)| (*code, file.as_str()) == ("contradiction", HEADS)), "{found:?}");

    // a manifest that lists another file than the one that was signed
    let mut session = Session::example();
    let manifest = String::from_utf8(session.manifest("finished", None)).unwrap();
    let manifest =
        manifest.replace("\"name\": \"files.jsonl\"", "\"name\": \"filez.jsonl\"").replace("gate-1", "gate-7");
    session.write(File::Manifest, manifest.as_bytes());
    session.sign(true);
    let found = faults(&verified(&session.folder));
    is(
        &found,
        &[
            ("spliced", "manifest.json", None),
            ("contradiction", "manifest.json", None),
            ("contradiction", "manifest.json", None),
        ],
    );
}

#[test]
fn a_session_that_was_interrupted_says_what_was_found_later() {
    let mut session = Session::example();
    let signed = session.seal.checkpoints();
    let before = session.folder.0[EVENTS].len() as u64;
    session.event(4007, "SSH Activity: Close", json!({}));
    session.close("interrupted", Some(signed));
    let report = verified(&session.folder);
    assert_eq!((report.verdict, report.outcome.as_deref()), (Verdict::Whole, Some("interrupted")));
    let files: Vec<_> = report.found_later.iter().map(|later| later.file.as_str()).collect();
    assert_eq!(files, [EVENTS, "stdout.head"]);
    assert!(report.found_later[0].from < before && report.found_later[0].to > before);
    assert!(report.unproved()[0].contains("before its next start"));
    let mut session = Session::example();
    session.close("interrupted", Some(signed + 1));
    is(&faults(&verified(&session.folder)), &[("contradiction", "manifest.json", None)]);
}

#[test]
fn folders_on_the_disk_are_read_without_following_links() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(SESSION.hyphenated().to_string());
    std::fs::create_dir(&folder).unwrap();
    for (name, bytes) in &Session::whole().0 {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let keys = [key(1).verifying_key().clone()];
    assert!(verify_folder(&folder, &keys).is_whole());
    // the same folder under another number
    let other = dir.path().join(Uuid::from_u128(9).hyphenated().to_string());
    std::fs::rename(&folder, &other).unwrap();
    assert!(verify_folder(&other, &keys).faults.iter().any(|fault| fault.code == Code::Spliced));
    // under a name that is no number it is any session's
    let exported = dir.path().join("exported");
    std::fs::rename(&other, &exported).unwrap();
    assert!(verify_folder(&exported, &keys).is_whole());
    std::fs::rename(exported.join(TERMINAL), dir.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("moved"), exported.join(TERMINAL)).unwrap();
    is(&faults(&verify_folder(&exported, &keys)), &[("not-a-file", TERMINAL, None)]);
    std::fs::write(exported.join("\u{1b}[2J"), "").unwrap();
    let report = verify_folder(&exported, &keys);
    assert_eq!(report.faults[0].to_string(), r#"unknown-file: "\u{1b}[2J": no session has such a file"#);
    let none = verify_folder(&dir.path().join("none"), &keys);
    assert_eq!((none.verdict, none.faults[0].code), (Verdict::Broken, Code::Unreadable));
}

mod arbitrary {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_folder_makes_it_panic_and_no_change_is_missed(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..6),
        ) {
            let whole = Session::whole();
            let mut folder = whole.clone();
            for (file, at, byte, how) in edits {
                let name = file.get(&folder.0.keys().cloned().collect::<Vec<_>>()).clone();
                let bytes = folder.0.get_mut(&name).unwrap();
                if bytes.is_empty() { continue; }
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, byte),
                    _ => { let end = (at + usize::from(byte)).min(bytes.len()); bytes.drain(at..end); }
                }
            }
            prop_assume!(folder.0 != whole.0);
            prop_assert!(!verified(&folder).is_whole());
        }

        #[test]
        fn bytes_that_are_nothing_are_no_folder(files in prop::collection::btree_map("events.jsonl|checkpoints|manifest.json|x", prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
            prop_assert!(!verified(&InMemory(files)).is_whole());
        }
    }
}
