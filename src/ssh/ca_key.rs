//! The key of an authority of the gateway's own: a private key in OpenSSH's format, made at the first start where there is none. Gateways
//! of a fleet have the same file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::PrivateKey;
use uuid::Uuid;

use super::key_file::{KeyFileError, Wrong, load_one, modern};
use super::mint::KeyPair;

/// Which authority it is.
#[derive(Clone, Copy, Debug)]
pub struct CaKind {
    /// What it is called in sentences.
    pub name: &'static str,
    /// The comment of a key that is made.
    pub comment: &'static str,
    /// The key of the configuration that names its file.
    pub setting: &'static str,
}

/// An authority's key.
#[derive(Clone)]
pub struct CaKey(Arc<PrivateKey>);

impl CaKey {
    /// The key in a file that only its owner can read; none where there is no file.
    pub fn load(path: &Path, kind: &CaKind) -> Result<Option<Self>, KeyFileError> {
        match load_one(path).and_then(modern) {
            Ok(key) => Ok(Some(Self(Arc::new(key)))),
            Err(Wrong::NotOpened(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(why) => Err(KeyFileError::of_a(kind.name, path, why)),
        }
    }

    /// The key in a file, or a new one where there is none.
    pub fn load_or_create(path: &Path, kind: &CaKind) -> Result<Self, KeyFileError> {
        if let Some(there) = Self::load(path, kind)? {
            return Ok(there);
        }
        create(path, kind).map_err(|why| KeyFileError::of_a(kind.name, path, why))?;
        // whoever was faster has made it
        let none = || KeyFileError::of_a(kind.name, path, Wrong::NotOpened(ErrorKind::NotFound.into()));
        Self::load(path, kind)?.ok_or_else(none)
    }

    /// What it signs with.
    pub fn private(&self) -> &PrivateKey {
        &self.0
    }

    /// The public key, as in a `.pub` file.
    pub fn public_line(&self) -> String {
        self.0.public_key().to_openssh().unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        let text = KeyPair::new("test").unwrap().private().unwrap();
        Self(Arc::new(PrivateKey::from_openssh(text.as_bytes()).unwrap()))
    }
}

/// Never the key itself.
impl std::fmt::Debug for CaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CaKey").field(&self.public_line()).finish()
    }
}

/// Makes a key in a new file, and its public half beside it. It is there whole, or not at all.
fn create(path: &Path, kind: &CaKind) -> Result<(), Wrong> {
    let not_made = |error| Wrong::NotMade { error, key: kind.setting };
    let pair = KeyPair::new(kind.comment)?;
    let (private, public) = (pair.private()?, pair.public()?);
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let fresh = beside(&format!(".{}", Uuid::new_v4().simple()));
    let write = |path: &Path, text: &str, mode: u32| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    let made = write(&fresh, &private, 0o600).and_then(|()| match fs::hard_link(&fresh, path) {
        // another gateway has just made one, which is as good
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        linked => linked.map(|()| true),
    });
    let gone = fs::remove_file(&fresh);
    if made.map_err(not_made)? {
        gone.map_err(not_made)?;
        let published = beside(".pub");
        // of an earlier key
        let _ = fs::remove_file(&published);
        write(&published, &format!("{public}\n"), 0o644).map_err(not_made)?;
    }
    Ok(())
}
