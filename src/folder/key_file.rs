//! A gateway's key on its disk: the signing key in a file that is its user's alone, and the verifier keys, the newest first, in
//! `<file>.pub`. Both are replaced whole, so that there is no moment in which half of one stands there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::key::{KeyError, SigningKey, VerifyingKey};
use crate::open;

/// Why a file of keys can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the evidence key {path}: {why}")]
pub struct KeyFileError {
    /// Which file.
    pub path: String,
    /// Why.
    #[source]
    pub why: KeyFileProblem,
}

/// What is wrong with a file of keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileProblem {
    /// It is not there.
    #[error("it is not there; `portcullis serve` makes one when it starts")]
    Missing,
    /// It can't be opened, read or written, or is no regular file.
    #[error("{0}")]
    Io(io::Error),
    /// Others can read or write it, or it is theirs.
    #[error("it must belong to the user that runs this, alone; chown it to that user and chmod 600 it")]
    NotPrivate,
    /// Others can change whose heads are believed.
    #[error("others can change it, and with it whose heads are believed; chmod go-w it")]
    Writable,
    /// There is already a key.
    #[error("there is a key already, which is not replaced")]
    Exists,
    /// What is in it is no key.
    #[error("line {line}: {error}")]
    NoKey {
        /// The line, from 1.
        line: usize,
        /// Why not.
        error: KeyError,
    },
    /// It has no key at all, or more than can be.
    #[error("it has no verifier key, or more than {MAX_KEYS}")]
    Number,
}

impl SigningKey {
    /// The key in a file, which must be regular, no link, and this user's alone (mode 0600).
    ///
    /// # Errors
    /// Why it can't be used; never a part of what it has.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        load(path).map_err(|why| KeyFileError::of(path, why))
    }

    /// Makes a key and puts it into a new file, and its verifier key into `<path>.pub`. The directory must be there.
    ///
    /// # Errors
    /// [`KeyFileProblem::Exists`] where there is a file already.
    pub fn create(path: &Path, name: &str) -> Result<Self, KeyFileError> {
        place(path, name, Place::New).map_err(|why| KeyFileError::of(path, why))
    }

    /// The key in a file, or a new one where there is none.
    ///
    /// # Errors
    /// As [`SigningKey::load`] and [`SigningKey::create`].
    pub fn load_or_create(path: &Path, name: &str) -> Result<Self, KeyFileError> {
        let not_there = |error: &KeyFileError| matches!(error.why, KeyFileProblem::Missing);
        match Self::load(path) {
            Err(error) if not_there(&error) => match Self::create(path, name) {
                // another process was faster
                Err(KeyFileError { why: KeyFileProblem::Exists, .. }) => Self::load(path),
                made => made,
            },
            loaded => loaded,
        }
    }

    /// Makes a key in place of the one in the file, whose verifier key stays in `<path>.pub`: what it signed is still to be
    /// verified. What runs goes on with the old one until it starts again.
    ///
    /// # Errors
    /// As [`SigningKey::load`]; without a key there is nothing to rotate.
    pub fn rotate(path: &Path, name: &str) -> Result<Self, KeyFileError> {
        let rotated = load(path).and_then(|old| place(path, name, Place::Over(old)));
        rotated.map_err(|why| KeyFileError::of(path, why))
    }
}

impl VerifyingKey {
    /// The keys in a file: one a line, the newest first; empty lines and those that begin with `#` are passed over. It may be a
    /// link and anybody's, but not be for others to change.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn load_all(path: &Path) -> Result<Vec<Self>, KeyFileError> {
        load_public(path).map_err(|why| KeyFileError::of(path, why))
    }
}

/// Where the verifier keys of a key file are.
pub fn public_path(path: &Path) -> PathBuf {
    with_ending(path, ".pub")
}

impl KeyFileError {
    fn of(path: &Path, why: KeyFileProblem) -> Self {
        Self { path: path.display().to_string(), why }
    }
}

impl From<io::Error> for KeyFileProblem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(error),
        }
    }
}

/// What may be at the place of a new key.
enum Place {
    /// Nothing.
    New,
    /// The key before.
    Over(SigningKey),
}

fn load(path: &Path) -> Result<SigningKey, KeyFileProblem> {
    let file = open::to_read(path)?;
    let is = file.metadata()?;
    if is.uid() != rustix::process::geteuid().as_raw() || is.mode() & 0o077 != 0 {
        return Err(KeyFileProblem::NotPrivate);
    }
    // as large as it may be, so that nothing of it is left behind where it grew
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    let no_key = |error| KeyFileProblem::NoKey { line: 1, error };
    let text = std::str::from_utf8(&bytes).map_err(|_| no_key(KeyError::Form))?;
    SigningKey::parse(text.strip_suffix('\n').unwrap_or(text)).map_err(no_key)
}

fn load_public(path: &Path) -> Result<Vec<VerifyingKey>, KeyFileProblem> {
    let file = File::open(path)?;
    let is = file.metadata()?;
    if !is.is_file() {
        return Err(KeyFileProblem::Io(io::Error::other("it is not a regular file")));
    }
    if is.mode() & 0o022 != 0 {
        return Err(KeyFileProblem::Writable);
    }
    let mut text = String::new();
    file.take(MAX_PUBLIC_FILE + 1).read_to_string(&mut text)?;
    let mut keys = Vec::new();
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if !text.is_empty() && !text.starts_with('#') {
            keys.push(VerifyingKey::parse(text).map_err(|error| KeyFileProblem::NoKey { line, error })?);
        }
    }
    if keys.is_empty() || keys.len() > MAX_KEYS || text.len() as u64 > MAX_PUBLIC_FILE {
        return Err(KeyFileProblem::Number);
    }
    Ok(keys)
}

/// The verifier key is published before the key that it belongs to may sign: no head is ever signed by an unknown key. One that
/// never came to sign does no harm, as nobody has its other half.
fn place(path: &Path, name: &str, over: Place) -> Result<SigningKey, KeyFileProblem> {
    if matches!(over, Place::New) && path.symlink_metadata().is_ok() {
        return Err(KeyFileProblem::Exists);
    }
    let no_key = |error| KeyFileProblem::NoKey { line: 1, error };
    let (key, text) = SigningKey::generate(name).map_err(no_key)?;
    let public = public_path(path);
    let mut keys = match load_public(&public) {
        Ok(keys) => keys,
        Err(KeyFileProblem::Missing) => Vec::new(),
        Err(why) => return Err(why),
    };
    if let Place::Over(old) = &over
        && !keys.contains(old.verifying_key())
    {
        keys.insert(0, old.verifying_key().clone());
    }
    keys.insert(0, key.verifying_key().clone());
    if keys.len() > MAX_KEYS {
        return Err(KeyFileProblem::Number);
    }
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();

    let new = with_ending(path, ".new");
    // what a crash left
    let _ = fs::remove_file(&new);
    write_new(&new, 0o600, text.as_bytes())?;
    let new_public = with_ending(&public, ".new");
    let _ = fs::remove_file(&new_public);
    write_new(&new_public, 0o644, lines.as_bytes())?;
    fs::rename(&new_public, &public)?;
    sync_directory(path)?;
    match over {
        Place::Over(_) => fs::rename(&new, path)?,
        // unlike a rename, a link never replaces what is there
        Place::New => {
            let linked = fs::hard_link(&new, path);
            fs::remove_file(&new)?;
            linked.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => KeyFileProblem::Exists,
                _ => error.into(),
            })?;
        }
    }
    sync_directory(path)?;
    Ok(key)
}

fn write_new(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let ending: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
    file.write_all(text)?;
    file.write_all(ending)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// How many keys a gateway may have had.
const MAX_KEYS: usize = 1000;

/// No key file is longer.
const MAX_FILE: usize = 1024;

/// No file of verifier keys is longer.
const MAX_PUBLIC_FILE: u64 = 512 << 10;

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NAME: &str = "portcullis/gate-1";

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_read_again_and_rotated_with_the_old_ones_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence-key");
        assert!(SigningKey::load(&path).unwrap_err().to_string().contains("is not there"));
        assert!(SigningKey::rotate(&path, NAME).is_err());
        let first = SigningKey::load_or_create(&path, NAME).unwrap();
        let again = SigningKey::load_or_create(&path, "another-name").unwrap();
        assert_eq!(again.verifying_key(), first.verifying_key());
        assert!(matches!(SigningKey::create(&path, NAME).unwrap_err().why, KeyFileProblem::Exists));
        assert_eq!((mode(&path), mode(&public_path(&path))), (0o600, 0o644));

        let second = SigningKey::rotate(&path, NAME).unwrap();
        let third = SigningKey::rotate(&path, "portcullis/gate-2").unwrap();
        assert_eq!(SigningKey::load(&path).unwrap().verifying_key(), third.verifying_key());
        let keys = VerifyingKey::load_all(&public_path(&path)).unwrap();
        let expected = [&third, &second, &first].map(|key| key.verifying_key().clone());
        assert_eq!(keys, expected);
        let mut names: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["evidence-key", "evidence-key.pub"], "nothing is left behind");
    }

    #[test]
    fn a_lost_list_of_verifier_keys_gets_the_old_key_at_the_next_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence-key");
        let first = SigningKey::create(&path, NAME).unwrap();
        fs::remove_file(public_path(&path)).unwrap();
        let second = SigningKey::rotate(&path, NAME).unwrap();
        let keys = VerifyingKey::load_all(&public_path(&path)).unwrap();
        assert_eq!(keys, [second.verifying_key().clone(), first.verifying_key().clone()]);
    }

    #[test]
    fn a_key_that_others_can_read_or_put_there_is_refused_without_a_word_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evidence-key");
        SigningKey::create(&path, NAME).unwrap();
        for bad in [0o640, 0o604, 0o620, 0o700 | 0o010] {
            set_permissions(&path, Permissions::from_mode(bad)).unwrap();
            let error = SigningKey::load(&path).unwrap_err();
            assert!(matches!(error.why, KeyFileProblem::NotPrivate), "{bad:o}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(SigningKey::load(&link).unwrap_err().to_string().contains("symbolic link"));
        assert!(matches!(SigningKey::create(&link, NAME).unwrap_err().why, KeyFileProblem::Exists));
        let text = fs::read_to_string(&path).unwrap();
        let secret = text.trim_end().splitn(5, '+').last().unwrap();
        for spoilt in [
            text.replace("gate-1", "gate-2"),
            text.replace("PRIVATE", "private"),
            "x".repeat(4096),
            format!("{text}\n"),
        ] {
            fs::write(&path, spoilt).unwrap();
            let error = SigningKey::load(&path).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("line 1") && !shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn verifier_keys_may_have_comments_and_must_not_be_for_others_to_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let (key, _) = SigningKey::generate(NAME).unwrap();
        fs::write(&path, format!("# of the gateway in Dublin\n\n{}\n", key.verifying_key())).unwrap();
        assert_eq!(VerifyingKey::load_all(&path).unwrap(), [key.verifying_key().clone()]);
        set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(VerifyingKey::load_all(&path).unwrap_err().why, KeyFileProblem::Writable));
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        for none in ["", "# nothing\n"] {
            fs::write(&path, none).unwrap();
            assert!(matches!(VerifyingKey::load_all(&path).unwrap_err().why, KeyFileProblem::Number));
        }
        fs::write(&path, format!("\n{}x\n", key.verifying_key())).unwrap();
        assert!(matches!(VerifyingKey::load_all(&path).unwrap_err().why, KeyFileProblem::NoKey { line: 2, .. }));
    }
}
