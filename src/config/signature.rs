//! What a configuration's files look like from outside, to see that one has changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Config, policy_files, proof_files};

/// What a look at the files' names and times shows, without reading them: another one, and something has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature(Vec<(PathBuf, Option<[i64; 5]>)>);

impl Signature {
    /// Of a configuration file and the files that it names. Links are followed, and what takes a file's place is another one:
    /// so neither an editor that renames nor a link that is turned to another directory goes unseen.
    pub fn of(file: &Path, config: &Config) -> Self {
        let mut paths = vec![file.to_owned()];
        paths.extend(policy_files::named(&config.policy));
        paths.extend(proof_files::named(config));
        let seen = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            let (device, inode) = (found.dev().cast_signed(), found.ino().cast_signed());
            Some([device, inode, found.ctime(), found.ctime_nsec(), found.size().cast_signed()])
        };
        Self(paths.into_iter().map(|path| (path.clone(), seen(&path))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Person;
    use super::super::file::PolicyFiles;
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
        let mut config = Config { policy, ..Config::default() };
        config.people = vec![Person {
            name: "ada".to_owned(),
            keys: Vec::new(),
            keys_from: vec![at("keys"), at("ada.keys")],
            keys_from_iam: Vec::new(),
            password: None,
            groups: Vec::new(),
        }];
        std::fs::create_dir(at("keys")).unwrap();
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
        changes("a key of a directory", &|| std::fs::write(at("keys/a.pub"), "").unwrap());
        changes("a key less", &|| std::fs::remove_file(at("keys/a.pub")).unwrap());
        changes("a file of keys", &|| std::fs::write(at("ada.keys"), "").unwrap());
        changes("the configuration", &|| std::fs::write(at("gateway.toml"), "[gateway]").unwrap());
        std::fs::write(at("link/notes.md"), "").unwrap();
        assert_eq!(last, look(), "what is none of them changes nothing");
    }
}
