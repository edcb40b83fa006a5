//! `portcullis verify`: whether folders, or a journal and all its folders, are as the gateway signed them.

use std::path::{Path, PathBuf};

use portcullis_folder::{
    Depth, FolderReport, Journal, JournalReport, Keyring, NoKeyring, VerifyingKey, verify_folder_with, verify_journal,
};
use serde_json::{Value, json};

use super::keys::{believed, keyring};
use super::screen;
use crate::cli::args::VerifyArgs;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::model::counted;

pub(in crate::cli) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let verified: Vec<PathBuf> = args.folders.iter().chain(&args.journal).cloned().collect();
    let keys = believed(&args.key, &args.config, &verified)?;
    if args.journal.is_empty() { folders(args, &keys) } else { journal(args, &keys) }
}

fn folders(args: &VerifyArgs, keys: &[VerifyingKey]) -> Result<(), Failure> {
    let mut odd = 0;
    let mut answers = Vec::new();
    let kms = keyring(&args.key, &args.config);
    let opens: &dyn Keyring = if args.decrypt { &kms } else { &NoKeyring };
    for (at, folder) in args.folders.iter().enumerate() {
        let report = verify_folder_with(folder, keys, opens);
        odd += usize::from(!report.is_whole());
        if args.json {
            answers.push(folder_json(folder, &report)?);
        } else {
            let between = if at == 0 { "" } else { "\n" };
            output::print(&format!("{between}{}", screen::folder(&folder.display().to_string(), &report)))?;
        }
    }
    if args.json {
        output::print(&format!("{:#}\n", json!({ "whole": odd == 0, "folders": answers })))?;
    }
    outcome(odd, "folder")
}

fn journal(args: &VerifyArgs, keys: &[VerifyingKey]) -> Result<(), Failure> {
    let found = found(&args.journal)?;
    let report = verify_journal(&Journal {
        logs: &found.logs,
        checkpoints: &found.checkpoints,
        evidence: found.evidence.as_deref(),
        anchors: &args.anchor,
        keys,
        depth: if args.heads_only { Depth::Heads } else { Depth::Whole },
    });
    if args.json {
        output::print(&format!("{:#}\n", json!({ "whole": report.is_whole(), "journal": journal_json(&report)? })))?;
    } else {
        output::print(&screen::journal(&report))?;
    }
    outcome(usize::from(!report.is_whole()), "journal")
}

fn outcome(odd: usize, what: &str) -> Result<(), Failure> {
    match odd {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Differs, format!("{} not whole", counted_are(count, what)))),
    }
}

fn counted_are(count: usize, what: &str) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb}", counted(count, what))
}

/// What of a journal is there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    logs: Vec<PathBuf>,
    checkpoints: Vec<PathBuf>,
    evidence: Option<PathBuf>,
}

/// Directories stand for all logs in them, and for the folders.
fn found(given: &[PathBuf]) -> Result<Found, Failure> {
    let mut found = Found::default();
    for path in given {
        let directory =
            if path.is_dir() { path.clone() } else { path.parent().map(Path::to_owned).unwrap_or_default() };
        let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        let names = names(&directory)?;
        let of = |stem: &str| -> Vec<PathBuf> {
            let is = |name: &&String| {
                **name == stem || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(['.', '-']))
            };
            names.iter().filter(is).map(|name| directory.join(name)).collect()
        };
        match path.is_dir() {
            true => found.logs.extend(of("events.jsonl")),
            false => found.logs.push(path.clone()),
        }
        found.checkpoints.extend(of("events.checkpoints"));
        if directory.join(portcullis_folder::SESSIONS).is_dir() {
            found.evidence.get_or_insert(directory);
        }
    }
    for paths in [&mut found.logs, &mut found.checkpoints] {
        paths.sort();
        paths.dedup();
    }
    // `.1` is older than none, and `.2` than `.1`
    found.checkpoints.reverse();
    if found.logs.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "--journal: there is no events.jsonl; give the evidence directory, or its logs",
        ));
    }
    Ok(found)
}

fn names(directory: &Path) -> Result<Vec<String>, Failure> {
    let listed = directory.read_dir().and_then(|entries| {
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<Vec<_>, _>>()
    });
    listed.map_err(|error| {
        Failure::new(Exit::Usage, format!("--journal: {} can't be listed: {error}", directory.display()))
    })
}

fn folder_json(folder: &Path, report: &FolderReport) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(report).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    if let Some(object) = value.as_object_mut() {
        object.insert("folder".to_owned(), folder.display().to_string().into());
        object.insert("unproved".to_owned(), json!(report.unproved()));
    }
    Ok(value)
}

fn journal_json(report: &JournalReport) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(report).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    if let Some(object) = value.as_object_mut() {
        object.insert("unproved".to_owned(), json!(report.unproved()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_logs_heads_and_folders() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in [
            "events.jsonl",
            "events.jsonl.1",
            "events.jsonl-20261130",
            "events.jsonlx",
            "events.checkpoints",
            "events.checkpoints.1",
            "other",
        ] {
            std::fs::write(path(name), "").unwrap();
        }
        let expected = Found {
            logs: vec![path("events.jsonl"), path("events.jsonl-20261130"), path("events.jsonl.1")],
            checkpoints: vec![path("events.checkpoints.1"), path("events.checkpoints")],
            evidence: None,
        };
        assert_eq!(found(&[dir.path().to_owned()]).unwrap(), expected);
        std::fs::create_dir(path("sessions")).unwrap();
        let one = found(&[path("events.jsonl.1")]).unwrap();
        assert_eq!((one.logs, one.evidence), (vec![path("events.jsonl.1")], Some(dir.path().to_owned())));
        assert_eq!(one.checkpoints.len(), 2);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(found(&[empty.path().to_owned()]).unwrap_err().exit, Exit::Usage);
    }
}
