//! An encrypted folder: what is proved without its key, and what with it.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::encrypted::NoKeyring;
use crate::key::SigningKey;
use crate::layout::File;
use crate::testing::{Found, OpenKeyring, SESSION, Session, faults, key};

/// The example, encrypted, with its end.
fn whole() -> InMemory {
    let mut session = Session::encrypted(SESSION, key(1), 9).with_example();
    session.close("finished", None);
    session.folder
}

fn without_key(folder: &InMemory) -> FolderReport {
    verify_files(folder, Some(SESSION), &[key(1).verifying_key().clone()])
}

fn with_key(folder: &InMemory) -> FolderReport {
    verify_files_with(folder, Some(SESSION), &[key(1).verifying_key().clone()], &OpenKeyring)
}

/// What is wrong after a change, in one file: without the key, and with it.
fn after(file: File, change: impl FnOnce(&mut Vec<String>)) -> (Vec<Found>, Vec<Found>) {
    let mut folder = whole();
    folder.lines(file, change);
    let (without, with) = (without_key(&folder), with_key(&folder));
    assert!(!without.is_whole() && !with.is_whole());
    (faults(&without), faults(&with))
}

fn has(found: &[Found], code: &str, file: File, line: u64) {
    let is = |(one, name, lines): &Found| {
        *one == code && name == file.name() && lines.is_some_and(|(first, last)| (first..=last).contains(&line))
    };
    assert!(found.iter().any(is), "{code} on line {line} of {}: {found:?}", file.name());
}

const ENCRYPTED: [File; 5] = [File::Events, File::Terminal, File::Commands, File::Files, File::StdoutHead];

#[test]
fn a_folder_as_it_was_written_is_whole_without_its_key_and_with_it() {
    let folder = whole();
    let report = without_key(&folder);
    assert_eq!(report.faults, []);
    assert!(report.is_whole());
    assert_eq!((report.checkpoints, report.events), (5, 8));
    let encryption = report.encryption.as_ref().unwrap();
    assert_eq!(encryption.kms_key.as_deref(), Some("arn:aws:kms:eu-west-1:111122223333:key/1234"));
    assert!(!encryption.opened && encryption.why.is_some());
    assert!(report.unproved().iter().any(|line| line.contains("encrypted")));
    let report = with_key(&folder);
    assert_eq!(report.faults, []);
    let encryption = report.encryption.as_ref().unwrap();
    assert!(report.is_whole() && encryption.opened && encryption.why.is_none());
    assert!(!report.unproved().iter().any(|line| line.contains("encrypted")));
    // and of a plain folder nothing of it is said
    assert_eq!(crate::testing::verified(&Session::whole()).encryption, None);
}

#[test]
fn nothing_that_was_said_stands_in_any_file() {
    let folder = whole();
    for (name, bytes) in &folder.0 {
        let text = String::from_utf8(bytes.clone()).unwrap();
        for canary in ["make", "Makefile", "SSH Activity", "Process", "$ ", "cmd_line"] {
            assert!(!text.contains(canary), "{name}: {canary}");
        }
    }
    // the same is there where it is not encrypted: this would be found
    assert!(Session::whole().text(File::Commands).contains("make 1"));
}

#[test]
fn every_single_byte_that_is_changed_is_found_in_its_file_by_whoever_has_no_key() {
    let folder = whole();
    for (name, bytes) in &folder.0 {
        let mut changed = folder.clone();
        for at in 0..bytes.len() {
            let bit = 1 << (at % 8);
            changed.0.get_mut(name).unwrap()[at] ^= bit;
            let report = without_key(&changed);
            changed.0.get_mut(name).unwrap()[at] ^= bit;
            assert!(report.verdict != Verdict::Whole, "{name} byte {at} bit {bit}");
            let found = report.faults.iter().any(|fault| fault.file.as_deref() == Some(name.as_str()));
            assert!(found, "{name} byte {at} bit {bit}: {:?}", report.faults);
        }
    }
}

#[test]
fn with_the_key_a_changed_byte_is_found_to_the_line() {
    let folder = whole();
    for file in ENCRYPTED {
        let bytes = &folder.0[file.name()];
        let mut changed = folder.clone();
        for at in (0..bytes.len()).filter(|at| bytes[*at] != b'\n') {
            changed.0.get_mut(file.name()).unwrap()[at] ^= 1;
            let found = faults(&with_key(&changed));
            changed.0.get_mut(file.name()).unwrap()[at] ^= 1;
            let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            let names = |(_, name, lines): &Found| name == file.name() && *lines == Some((line, line));
            assert!(found.iter().any(names), "{} byte {at}, line {line}: {found:?}", file.name());
        }
    }
}

#[test]
fn lines_that_were_swapped_doubled_or_taken_out_are_told_without_the_key() {
    for file in [File::Events, File::Terminal, File::Commands] {
        let (without, with) = after(file, |lines| lines.swap(1, 2));
        for found in [without, with] {
            has(&found, "reordered", file, 3);
        }
        let (without, with) = after(file, |lines| {
            lines.remove(1);
        });
        for found in [without, with] {
            has(&found, "deleted", file, 2);
        }
        let (without, with) = after(file, |lines| lines.insert(2, lines[1].clone()));
        for found in [without, with] {
            has(&found, if file == File::Events { "repeated" } else { "reordered" }, file, 3);
        }
        let (without, with) = after(file, |lines| {
            lines.pop();
        });
        for found in [without, with] {
            assert!(found.iter().any(|(code, name, _)| *code == "truncated" && name == file.name()), "{found:?}");
        }
    }
}

#[test]
fn lines_of_another_file_session_or_key_are_told() {
    let mut other = Session::encrypted(Uuid::from_u128(5), key(1), 9).with_example();
    other.close("finished", None);
    let (without, with) = after(File::Commands, |lines| {
        lines[1] = other.folder.text(File::Commands).split_inclusive('\n').nth(1).unwrap().to_owned();
    });
    for found in [without, with] {
        has(&found, "spliced", File::Commands, 2);
    }
    let (without, with) = after(File::Events, |lines| {
        lines[1] = other.folder.text(File::Events).split_inclusive('\n').nth(1).unwrap().to_owned();
    });
    for found in [without, with] {
        has(&found, "spliced", File::Events, 2);
    }
    let files = whole().text(File::Files);
    let (without, with) = after(File::Commands, |lines| {
        lines[1] = files.split_inclusive('\n').nth(1).unwrap().to_owned();
    });
    for found in [without, with] {
        has(&found, "spliced", File::Commands, 2);
    }
    // the same place under another key is another line to whoever has the key, and other bytes to everybody
    let mut forged = Session::encrypted(SESSION, key(1), 8).with_example();
    forged.close("finished", None);
    let (without, with) = after(File::Terminal, |lines| {
        lines[1] = forged.folder.text(File::Terminal).split_inclusive('\n').nth(1).unwrap().to_owned();
    });
    has(&without, "edited", File::Terminal, 2);
    has(&with, "edited", File::Terminal, 2);
    assert!(with.contains(&("edited", File::Terminal.name().to_owned(), Some((2, 2)))));
}

#[test]
fn what_the_signer_has_signed_and_the_key_does_not_open_is_told_to_whoever_has_it() {
    // whoever has the signing key, and not the data key, makes a folder whose lines are noise
    let mut session = Session::encrypted(SESSION, key(1), 9);
    let other = Session::encrypted(SESSION, key(1), 8);
    session.lock.as_mut().unwrap().key = other.lock.unwrap().key;
    let mut session = session.with_example();
    session.close("finished", None);
    assert!(without_key(&session.folder).is_whole());
    let found = faults(&with_key(&session.folder));
    for file in ENCRYPTED {
        has(&found, "edited", file, 1);
    }
    assert!(found.iter().any(|(code, name, _)| *code == "contradiction" && name == "manifest.json"), "{found:?}");
}

#[test]
fn a_key_file_that_is_not_the_signed_one_opens_nothing() {
    let found = |folder: &InMemory| {
        let report = with_key(folder);
        assert!(!report.is_whole() && !report.encryption.as_ref().unwrap().opened);
        faults(&report)
    };
    let mut folder = whole();
    folder.0.remove("key.json");
    assert!(found(&folder).contains(&("missing-file", "key.json".to_owned(), None)));
    let mut folder = whole();
    let other = Session::encrypted(SESSION, key(1), 8).folder.0["key.json"].clone();
    folder.0.insert("key.json".to_owned(), other);
    assert!(found(&folder).iter().all(|(code, name, _)| (*code, name.as_str()) == ("edited", "key.json")));
    // one of another session, or another gateway, that was signed so
    let signed = |of: Uuid, by: &SigningKey| {
        let mut session = Session::new();
        let lock = Session::encrypted(of, SigningKey::from_seed(by.verifying_key().name(), &[3; 32]).unwrap(), 9);
        session.write(File::Key, &lock.folder.0["key.json"]);
        session.event(4007, "SSH Activity: Open", json!({}));
        session.head();
        session.folder
    };
    let others = found(&signed(Uuid::from_u128(5), &key(1)));
    assert!(others.iter().any(|(code, name, _)| *code == "spliced" && name == "key.json"), "{others:?}");
    let stranger = SigningKey::from_seed("portcullis/other", &[1; 32]).unwrap();
    let others = faults(&with_key(&signed(SESSION, &stranger)));
    assert!(others.iter().any(|(code, name, _)| *code == "spliced" && name == "key.json"), "{others:?}");
    // and one that was put into a plain folder makes it no encrypted one
    let mut folder = Session::whole();
    folder.0.insert("key.json".to_owned(), whole().0["key.json"].clone());
    let report = with_key(&folder);
    assert_eq!(report.encryption, None);
    assert_eq!(faults(&report), [("unsigned-tail", "key.json".to_owned(), None)]);
}

#[test]
fn whoever_has_no_permission_is_told_so_in_a_sentence() {
    let report = verify_files_with(&whole(), Some(SESSION), &[key(1).verifying_key().clone()], &NoKeyring);
    let why = report.encryption.unwrap().why.unwrap();
    assert!(why.contains("arn:aws:kms:eu-west-1:111122223333:key/1234"), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_done_to_the_lines_of_a_file_is_found(
        file in prop::sample::select(ENCRYPTED.to_vec()), from: prop::sample::Index, to: prop::sample::Index, kind in 0..4,
    ) {
        let mut folder = whole();
        let before = folder.text(file);
        folder.lines(file, |lines| {
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            match kind {
                0 => lines.swap(from, to),
                1 => drop(lines.remove(from)),
                2 => lines.insert(to, lines[from].clone()),
                _ => lines.truncate(from),
            }
        });
        prop_assume!(folder.text(file) != before);
        for report in [without_key(&folder), with_key(&folder)] {
            prop_assert!(report.faults.iter().any(|fault| fault.file.as_deref() == Some(file.name())));
            prop_assert_eq!(report.verdict, Verdict::Broken);
        }
    }
}
