//! The files of policies that a configuration names, as text.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::file::PolicyFiles;
use super::load::{Trust, in_words};
use super::{ConfigError, Problem, ownership};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// Their paths, for who only looks whether they have changed.
pub(super) fn named(named: &PolicyFiles) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some(directory) = &named.directory {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        paths.extend(entries.filter(|path| is_policy(path)));
        paths.sort();
    }
    paths.extend(named.files.iter().cloned());
    paths
}

fn is_policy(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == ENDING)
}

/// How a file of policies in the directory ends.
const ENDING: &str = "cedar";

/// More than anybody writes by hand; what is larger is something else.
const MOST_BYTES: u64 = 4 << 20;

/// Reads them, in the order of their names: those of the directory first. One that can't be read is a problem, since what it
/// forbids would be allowed without it. A directory that is not there has no files.
pub(super) fn read(named: &PolicyFiles, trust: Trust) -> Result<Vec<PolicyFile>, ConfigError> {
    let mut paths = Vec::new();
    if let Some(directory) = &named.directory {
        match std::fs::read_dir(directory) {
            Ok(entries) => {
                for entry in entries {
                    let path = entry.map_err(|error| unreadable(directory, &error))?.path();
                    if is_policy(&path) {
                        paths.push(path);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(directory, &error).into()),
        }
    }
    paths.sort();
    paths.extend(named.files.iter().cloned());
    paths.into_iter().map(|path| one(path, trust)).collect()
}

fn one(path: PathBuf, trust: Trust) -> Result<PolicyFile, ConfigError> {
    let mut file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    if trust == Trust::Ours {
        ownership::check(&path, &file)?;
    }
    let mut text = String::new();
    file.by_ref().take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(&path, &error))?;
    if text.len() as u64 > MOST_BYTES {
        let message = format!("a file of policies has at most {} MiB", MOST_BYTES >> 20);
        return Err(Problem::with_file(&path, message, "split it up").into());
    }
    Ok(PolicyFile { path, text })
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "[policy] names it: write it, or take it out of `files`",
        io::ErrorKind::PermissionDenied => "it has to be readable for the gateway's user",
        io::ErrorKind::InvalidData => "Cedar is UTF-8 text; save the file as that",
        _ => "see that the file can be read",
    };
    Problem::with_file(path, format!("these policies can't be read: {}", in_words(error)), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_of_the_directory_is_read_in_order_and_then_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["b.cedar", "a.cedar", "a.cedar~", ".c.cedar.swp", "readme.md"] {
            std::fs::write(at(name), name).unwrap();
        }
        let named = |files: &[&str]| PolicyFiles {
            directory: Some(dir.path().to_owned()),
            files: files.iter().map(|name| at(name)).collect(),
        };
        let read = |files: &[&str]| read(&named(files), Trust::Anybodys);
        let texts: Vec<String> = read(&["readme.md"]).unwrap().into_iter().map(|file| file.text).collect();
        assert_eq!(texts, ["a.cedar", "b.cedar", "readme.md"]);
        let error = read(&["none.cedar"]).unwrap_err().to_string();
        assert!(error.contains("none.cedar: these policies can't be read: No such file"), "{error}");
        std::fs::write(at("c.cedar"), b"\xff").unwrap();
        let error = read(&[]).unwrap_err();
        assert!(error.problems[0].help.as_ref().unwrap().contains("UTF-8"), "{error}");
        std::fs::write(at("c.cedar"), vec![b' '; 4 << 20 | 1]).unwrap();
        assert!(read(&[]).unwrap_err().to_string().contains("at most 4 MiB"));
        assert_eq!(
            super::read(&PolicyFiles { directory: Some(at("none")), files: Vec::new() }, Trust::Ours).unwrap(),
            []
        );
    }
}
