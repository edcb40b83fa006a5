//! The files of policies that a configuration names, as text.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::file::PolicyFiles;
use super::load::{Trust, in_words};
use super::{Config, ConfigError, Problem, ownership};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// What a look at the files' names and times shows, without reading them: another one, and something has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature(Vec<(PathBuf, Option<[i64; 5]>)>);

impl Signature {
    /// Of a configuration file and the policies that it names. Links are followed, and what takes a file's place is another one:
    /// so neither an editor that renames nor a link that is turned to another directory goes unseen.
    pub fn of(file: &Path, config: &Config) -> Self {
        let named = &config.policy;
        let mut paths = vec![file.to_owned()];
        if let Some(directory) = &named.directory {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
            let mut within: Vec<PathBuf> = entries.filter(|path| is_policy(path)).collect();
            within.sort();
            paths.extend(within);
        }
        paths.extend(named.files.iter().cloned());
        let seen = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            let (device, inode) = (found.dev().cast_signed(), found.ino().cast_signed());
            Some([device, inode, found.ctime(), found.ctime_nsec(), found.size().cast_signed()])
        };
        Self(paths.into_iter().map(|path| (path.clone(), seen(&path))).collect())
    }
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
    fn whatever_way_a_file_changes_it_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for inner in ["one", "two"] {
            std::fs::create_dir(at(inner)).unwrap();
            std::fs::write(at(inner).join("a.cedar"), "same").unwrap();
        }
        std::os::unix::fs::symlink("one", at("link")).unwrap();
        std::fs::write(at("gateway.toml"), "").unwrap();
        let policy = PolicyFiles { directory: Some(at("link")), files: vec![at("more.cedar")] };
        let config = Config { policy, ..Config::default() };
        let look = || Signature::of(&at("gateway.toml"), &config);
        let mut last = look();
        assert_eq!(last, look());
        let mut changes = |what: &str, change: &dyn Fn()| {
            change();
            let now = look();
            assert_ne!(std::mem::replace(&mut last, now.clone()), now, "{what}");
        };
        changes("written", &|| std::fs::write(at("link/a.cedar"), "other").unwrap());
        changes("renamed into its place", &|| {
            std::fs::write(at("new"), "other").unwrap();
            std::fs::rename(at("new"), at("link/a.cedar")).unwrap();
        });
        changes("one more", &|| std::fs::write(at("link/b.cedar"), "").unwrap());
        changes("one less", &|| std::fs::remove_file(at("link/b.cedar")).unwrap());
        changes("the link leads elsewhere", &|| {
            std::os::unix::fs::symlink("two", at("turned")).unwrap();
            std::fs::rename(at("turned"), at("link")).unwrap();
        });
        changes("the one that is named", &|| std::fs::write(at("more.cedar"), "").unwrap());
        changes("the configuration", &|| std::fs::write(at("gateway.toml"), "[gateway]").unwrap());
        std::fs::write(at("link/notes.md"), "").unwrap();
        assert_eq!(last, look(), "what is none of them changes nothing");
    }

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
