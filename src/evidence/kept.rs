//! What was in force, kept beside the event log: the texts of policies, who was in which group, and the legal holds, each once under its hash.
//!
//! ```text
//!  configuration.loaded   policy_set ──▶ in-force/policies-<hash>.json   what they said
//!                         people_set ──▶ in-force/people-<hash>.json     whom they said it of; no keys
//!  holds.changed          holds_set  ──▶ in-force/holds-<hash>.json      what must not be deleted
//! ```
//!
//! Whoever asks later who could reach what has no need of yesterday's files.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::EvidenceError;

/// One file of policies that was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPolicies {
    /// Its name.
    pub file: String,
    /// What was in it.
    pub text: String,
}

/// Somebody who could log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPerson {
    /// The name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
}

/// Everybody who could.
pub type KeptPeople = Vec<KeptPerson>;

const FOLDER: &str = "in-force";

/// Keeps policies in the log's directory, under the hash that events call them by.
pub fn keep_policies(directory: &Path, sha256: &str, files: &[KeptPolicies]) -> Result<(), EvidenceError> {
    keep(directory, "policies", sha256, &text_of(files)?)
}

/// Keeps people; gives the hash that events call them by.
pub fn keep_people(directory: &Path, people: &[KeptPerson]) -> Result<String, EvidenceError> {
    let text = text_of(people)?;
    let sha256 = hex::encode(Sha256::digest(&text));
    keep(directory, "people", &sha256, &text)?;
    Ok(sha256)
}

/// Keeps the text of the legal holds; gives the hash that events call them by.
pub fn keep_holds(directory: &Path, text: &[u8]) -> Result<String, EvidenceError> {
    let sha256 = hex::encode(Sha256::digest(text));
    keep(directory, "holds", &sha256, text)?;
    Ok(sha256)
}

/// The policies that an event calls by this hash; or a sentence. That they are those, whoever compiles them sees.
pub fn kept_policies(directory: &Path, sha256: &str) -> Result<Vec<KeptPolicies>, String> {
    kept(directory, "policies", sha256).map(|(policies, _)| policies)
}

/// The people.
pub fn kept_people(directory: &Path, sha256: &str) -> Result<KeptPeople, String> {
    let (people, text) = kept(directory, "people", sha256)?;
    match hex::encode(Sha256::digest(text)) == sha256 {
        true => Ok(people),
        false => {
            Err("the people that were kept there are not those of that hash: somebody has changed the file".to_owned())
        }
    }
}

fn text_of<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EvidenceError> {
    serde_json::to_vec(value).map_err(|error| EvidenceError::Write(error.to_string()))
}

fn place(directory: &Path, kind: &str, sha256: &str) -> PathBuf {
    directory.join(FOLDER).join(format!("{kind}-{sha256}.json"))
}

fn keep(directory: &Path, kind: &str, sha256: &str, text: &[u8]) -> Result<(), EvidenceError> {
    let path = place(directory, kind, sha256);
    let kept = || -> io::Result<()> {
        if std::fs::read(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        match DirBuilder::new().mode(0o700).create(directory.join(FOLDER)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // whole or not at all
        let unfinished = path.with_extension("unfinished");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)
    };
    kept().map_err(|error| EvidenceError::Unusable { path: path.display().to_string(), why: error.to_string() })
}

fn kept<T: DeserializeOwned>(directory: &Path, kind: &str, sha256: &str) -> Result<(T, Vec<u8>), String> {
    let sane = !sha256.is_empty() && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = place(directory, kind, if sane { sha256 } else { "none" });
    let said = |why: String| format!("{}: {why}", path.display());
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|mut file| io::Read::read_to_end(&mut file, &mut text));
    read.map_err(|error| said(error.to_string()))?;
    let value = serde_json::from_slice(&text).map_err(|error| said(error.to_string()))?;
    Ok((value, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_force_is_found_again_by_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let files = [KeptPolicies { file: "a.cedar".to_owned(), text: "// ä".to_owned() }];
        let people = vec![KeptPerson { name: "ada".to_owned(), groups: vec!["ops".to_owned()] }];
        for _ in 0..2 {
            keep_policies(dir.path(), "ab12", &files).unwrap();
            let hash = keep_people(dir.path(), &people).unwrap();
            assert_eq!(kept_policies(dir.path(), "ab12").unwrap(), files);
            assert_eq!(kept_people(dir.path(), &hash).unwrap(), people);
        }
        let hash = keep_people(dir.path(), &people).unwrap();
        std::fs::write(place(dir.path(), "people", &hash), "[]").unwrap();
        assert!(kept_people(dir.path(), &hash).unwrap_err().contains("somebody has changed"));
        // and one that was changed is put right
        assert_eq!(keep_people(dir.path(), &people).unwrap(), hash);
        assert!(kept_people(dir.path(), &hash).is_ok());
        for none in ["cd", "", "../ab12"] {
            assert!(kept_policies(dir.path(), none).is_err(), "{none}");
        }
    }

    #[test]
    fn where_nothing_can_be_kept_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FOLDER), "a file").unwrap();
        assert!(keep_policies(dir.path(), "ab", &[]).is_err());
    }
}
