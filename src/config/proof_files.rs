//! The files that somebody's proof is in, as bytes. One that can't be used proves nothing, and neither does it stop the others:
//! whoever takes a key away must not have to mend another's file first.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::check::{ProofFault, ProofPlace};
use super::load::{Trust, in_words};
use super::{Config, ConfigError, Problem, ownership};

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProofFiles {
    /// People's keys, and authorities'.
    pub keys: Vec<KeyFile>,
    /// What is revoked.
    pub revoked: Vec<RevokedFile>,
    /// What people's codes are made by.
    pub secrets: Option<SecretsFile>,
}

/// The file of secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretsFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it; none where it can't be used.
    pub content: Option<Zeroizing<Vec<u8>>>,
}

/// Nothing of what is in it.
impl fmt::Debug for SecretsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A list of what is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedFile {
    /// Of the certificates of this authority, by its place in the list; none is everybody's.
    pub authority: Option<usize>,
    /// Where it is.
    pub path: PathBuf,
    /// What is in it; none where it can't be used.
    pub content: Option<Vec<u8>>,
}

/// Whose keys are in a file, by their place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Somebody's.
    Person(usize),
    /// An authority's of certificates.
    Authority(usize),
}

/// Keys of one person or authority, in the form of `authorized_keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// Whose.
    pub whose: Whose,
    /// Where it is.
    pub path: PathBuf,
    /// What is in it; none where it can't be used.
    pub content: Option<Vec<u8>>,
}

/// How a file of keys in a directory ends.
const ENDING: &str = "pub";

/// Their paths, for who only looks whether they have changed.
pub(super) fn named(config: &Config) -> Vec<PathBuf> {
    let keys = key_paths(config).into_iter().flat_map(|(_, path, within)| within.unwrap_or_else(|_| vec![path]));
    let others = revoked_paths(config).map(|(_, path)| path).chain(&config.second_factor.totp_secrets);
    keys.chain(others.cloned()).collect()
}

fn revoked_paths(config: &Config) -> impl Iterator<Item = (Option<usize>, &PathBuf)> {
    let everybody = config.revocation.files.iter().map(|path| (None, path));
    let authorities = config.certificate_authorities.iter().enumerate();
    everybody.chain(authorities.flat_map(|(index, of)| of.revoked.iter().map(move |path| (Some(index), path))))
}

/// Whose keys are where: what is named, and the files that are meant by it.
fn key_paths(config: &Config) -> Vec<(Whose, PathBuf, io::Result<Vec<PathBuf>>)> {
    let people = config.people.iter().enumerate().map(|(index, person)| (Whose::Person(index), &person.keys_from));
    let authorities = config.certificate_authorities.iter().enumerate();
    let authorities = authorities.map(|(index, authority)| (Whose::Authority(index), &authority.keys_from));
    let named = people.chain(authorities).flat_map(|(whose, paths)| paths.iter().map(move |path| (whose, path)));
    named.map(|(whose, path)| (whose, path.clone(), within(path))).collect()
}

/// The file itself, or those of the directory.
fn within(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|ending| ending == ENDING) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads them; what can't be used is said.
pub(super) fn read(config: &Config, trust: Trust) -> (ProofFiles, Vec<Problem>) {
    let (mut files, mut refused) = (ProofFiles::default(), Vec::new());
    for (whose, path, within) in key_paths(config) {
        let paths = within.unwrap_or_else(|error| {
            refused.push(unreadable(&path, KEYS, &error));
            Vec::new()
        });
        for path in paths {
            let content = plain(&path, trust, KEYS).map_err(|problems| refused.extend(problems)).ok();
            files.keys.push(KeyFile { whose, path, content });
        }
    }
    for (authority, path) in revoked_paths(config) {
        let content = plain(path, trust, REVOKED).map_err(|problems| refused.extend(problems)).ok();
        files.revoked.push(RevokedFile { authority, path: path.clone(), content });
    }
    files.secrets = config.second_factor.totp_secrets.as_ref().map(|path| {
        let content = one(path, trust, SECRETS).map_err(|problems| refused.extend(problems)).ok();
        SecretsFile { path: path.clone(), content }
    });
    (files, refused)
}

/// What a file is for: how large it may be, and what becomes of one that can't be used.
#[derive(Clone, Copy)]
struct Use {
    most_bytes: u64,
    what: &'static str,
    therefore: &'static str,
    named_by: &'static str,
    is_secret: bool,
}

const KEYS: Use = Use {
    most_bytes: 1 << 20,
    what: "these keys",
    therefore: "prove nothing",
    named_by: "keys_from",
    is_secret: false,
};

const SECRETS: Use = Use {
    most_bytes: 1 << 20,
    what: "these secrets",
    therefore: "nobody's code is right",
    named_by: "second_factor.totp_secrets",
    is_secret: true,
};

const CLIENT_SECRET: Use = Use {
    most_bytes: 1 << 20,
    what: "the client's secret",
    therefore: "nobody signs in",
    named_by: "oidc.client_secret_file",
    is_secret: true,
};

/// The client's secret at a provider, without the end of its line.
pub(super) fn client_secret(path: &Path, trust: Trust) -> Result<Zeroizing<String>, ConfigError> {
    let wrong = |problems| ConfigError { problems, warnings: Vec::new() };
    let content = one(path, trust, CLIENT_SECRET).map_err(wrong)?;
    let text = std::str::from_utf8(&content).map(str::trim).unwrap_or_default();
    if text.is_empty() || text.contains(char::is_control) {
        let help = "write the secret into it, as one line of text";
        return Err(wrong(vec![Problem::with_file(path, "there is no client's secret in it", help)]));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

const REVOKED: Use = Use {
    most_bytes: 16 << 20,
    what: "this list of what is revoked",
    therefore: "counts as if it revoked everything",
    named_by: "revoked, or revocation.files,",
    is_secret: false,
};

fn plain(path: &Path, trust: Trust, of: Use) -> Result<Vec<u8>, Vec<Problem>> {
    one(path, trust, of).map(|mut content| std::mem::take(&mut *content))
}

fn one(path: &Path, trust: Trust, of: Use) -> Result<Zeroizing<Vec<u8>>, Vec<Problem>> {
    let cannot = |error: io::Error| vec![unreadable(path, of, &error)];
    // a pipe would be waited for
    if !std::fs::metadata(path).map_err(cannot)?.is_file() {
        let message = format!("this is no file, so {} can't be read, and {}", of.what, of.therefore);
        return Err(vec![Problem::with_file(path, message, "name a file")]);
    }
    let mut file = File::open(path).map_err(cannot)?;
    if trust == Trust::Ours {
        ownership::check(path, &file).map_err(|error| error.problems)?;
    }
    let found = file.metadata().map_err(cannot)?;
    if of.is_secret && found.mode() & 0o077 != 0 {
        let message =
            format!("others can read it (mode {:04o}), so that {} {}", found.mode() & 0o7777, of.what, of.therefore);
        return Err(vec![Problem::with_file(path, message, format!("take that away: chmod 600 {}", path.display()))]);
    }
    // no reallocation leaves a copy of what is secret behind
    let mut content =
        Zeroizing::new(Vec::with_capacity(usize::try_from(found.len().min(of.most_bytes) + 1).unwrap_or(0)));
    file.by_ref().take(of.most_bytes + 1).read_to_end(&mut content).map_err(cannot)?;
    if content.len() as u64 > of.most_bytes {
        let message = format!("it has more than {} MiB, so that {} {}", of.most_bytes >> 20, of.what, of.therefore);
        return Err(vec![Problem::with_file(path, message, "split it up")]);
    }
    Ok(content)
}

fn unreadable(path: &Path, of: Use, error: &io::Error) -> Problem {
    let help = match error.kind() {
        io::ErrorKind::NotFound => format!("{} names it: write it, or take it out", of.named_by),
        io::ErrorKind::PermissionDenied => "it has to be readable for the gateway's user".to_owned(),
        _ => "see that the file can be read".to_owned(),
    };
    Problem::with_file(path, format!("{} can't be read, and {}: {}", of.what, of.therefore, in_words(error)), help)
}

/// What was found in files, at its places.
pub(super) fn told(faults: Vec<ProofFault>, files: &ProofFiles) -> Vec<Problem> {
    let at = |ProofFault { file, line, fault }: ProofFault| {
        let (path, content) = match file {
            ProofPlace::Keys(index) => files.keys.get(index).map(|file| (&file.path, &file.content)),
            ProofPlace::Revoked(index) => files.revoked.get(index).map(|file| (&file.path, &file.content)),
            // without the line itself, which is a secret
            ProofPlace::Secrets => {
                let path = &files.secrets.as_ref()?.path;
                let message = format!("line {}: {}", line.unwrap_or_default(), fault.message);
                return Some(Problem::with_file(path, message, "").help(fault.help));
            }
        }?;
        let text = String::from_utf8_lossy(content.as_deref().unwrap_or_default());
        let span = line.and_then(|line| line_span(&text, line));
        Some(Problem::at(path, &text, span, fault.message).help(fault.help))
    };
    faults.into_iter().filter_map(at).collect()
}

/// Where a line is in the text, by its number from 1.
fn line_span(text: &str, line: usize) -> Option<Range<usize>> {
    let mut start = 0;
    for (number, text) in text.split('\n').enumerate() {
        if number + 1 == line {
            return Some(start..start + text.trim_end().len());
        }
        start += text.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{Fault, Person};
    use super::*;

    fn config(paths: &[PathBuf]) -> Config {
        let person = Person {
            name: "ada".to_owned(),
            keys: Vec::new(),
            keys_from: paths.to_vec(),
            keys_from_iam: Vec::new(),
            password: None,
            groups: Vec::new(),
        };
        Config { people: vec![person], ..Config::default() }
    }

    #[test]
    fn a_file_is_itself_and_a_directory_its_public_keys() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("keys")).unwrap();
        for name in ["authorized_keys", "keys/b.pub", "keys/a.pub", "keys/a", "keys/a.pub~"] {
            std::fs::write(at(name), name).unwrap();
        }
        let config = config(&[at("authorized_keys"), at("keys")]);
        let (files, refused) = read(&config, Trust::Anybodys);
        let found = files.keys.iter().map(|file| String::from_utf8(file.content.clone().unwrap()).unwrap());
        assert_eq!(found.collect::<Vec<_>>(), ["authorized_keys", "keys/a.pub", "keys/b.pub"]);
        assert_eq!((refused.len(), named(&config).len()), (0, 3));
    }

    #[test]
    fn what_can_t_be_used_is_said_and_the_others_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("good"), "key").unwrap();
        std::fs::write(at("anybody's"), "key").unwrap();
        std::fs::set_permissions(at("anybody's"), std::fs::Permissions::from_mode(0o666)).unwrap();
        std::fs::write(at("long"), vec![b' '; 1 << 20 | 1]).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        let config = config(&["none", "anybody's", "long", "pipe", "good"].map(at));
        let (files, refused) = read(&config, Trust::Ours);
        let usable = files.keys.iter().filter(|file| file.content.is_some()).map(|file| file.path.clone());
        assert_eq!(usable.collect::<Vec<_>>(), [at("good")]);
        let said: Vec<String> = refused.iter().map(ToString::to_string).collect();
        for (said, wanted) in
            said.iter().zip(["none: these keys can't be read", "others can change it", "more than 1 MiB", "no file"])
        {
            assert!(said.contains(wanted), "{said}");
        }
        assert_eq!(said.len(), 4, "{said:?}");
    }

    #[test]
    fn a_file_of_secrets_that_others_can_read_is_nobody_s_and_no_message_has_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("totp");
        let secret = "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK";
        std::fs::write(&path, format!("ada {secret}\nbob {secret}1\n")).unwrap();
        let mut config = Config::default();
        config.second_factor.totp_secrets = Some(path.clone());
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        for (public, usable) in [(0o644, false), (0o640, false), (0o600, true), (0o400, true)] {
            mode(public);
            let (files, refused) = read(&config, Trust::Ours);
            let read = files.secrets.as_ref().unwrap();
            assert_eq!((read.content.is_some(), refused.is_empty()), (usable, usable), "{public:o}");
            assert!(usable || refused[0].to_string().contains("others can read it"), "{refused:?}");
            assert!(usable || refused[0].help.as_ref().unwrap().contains("chmod 600"), "{refused:?}");
            let fault = Fault { message: "the secret is not written in base32".to_owned(), help: None };
            let fault = ProofFault { file: ProofPlace::Secrets, line: Some(2), fault };
            let told = told(vec![fault], &files);
            assert!(told[0].to_string().contains("line 2: the secret is not"), "{told:?}");
            assert!(!format!("{told:?} {files:?} {refused:?}").contains(secret));
        }
        assert_eq!(named(&config), [path]);
    }

    #[test]
    fn a_line_has_its_place() {
        assert_eq!(line_span("a\nbcd\r\n\nx", 2), Some(2..5));
        assert_eq!(line_span("a\nbcd\r\n\nx", 4), Some(8..9));
        assert_eq!(line_span("a", 2), None);
    }
}
