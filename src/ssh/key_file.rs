//! Files of private keys: read only where their owner alone can, and wrong in words.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use russh::keys::{Algorithm, PrivateKey};

use super::mint::MintError;

/// What is wrong with a key's file.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {why}")]
pub struct KeyFileError {
    what: &'static str,
    path: String,
    why: Wrong,
}

/// What is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each is its sentence")]
pub enum Wrong {
    #[error(
        "there is none, and none can be made there: {error}; make the directory the gateway's own, or name another file in {key}"
    )]
    NotMade { error: std::io::Error, key: &'static str },
    #[error(transparent)]
    NotMinted(#[from] MintError),
    // whoever made it was root, as a rule
    #[error("can't be opened: {0}; {OWNER}")]
    NotAllowed(std::io::Error),
    #[error("can't be opened: {0}")]
    NotOpened(std::io::Error),
    #[error("{0}")]
    NotLookedAt(std::io::Error),
    #[error("others can read it; chmod 600 it, and {OWNER}")]
    Public,
    #[error("it belongs to another user; {OWNER}")]
    OfAnother,
    #[error("can't be read: {0}")]
    NotRead(std::io::Error),
    #[error("it is no private key in OpenSSH's format; make one with ssh-keygen -t ed25519")]
    NoKey,
    #[error("it has a passphrase; remove it with ssh-keygen -p -N ''")]
    Encrypted,
    #[error(
        "{0} host keys are not used here; make one with ssh-keygen -t ed25519 or -t ecdsa (one of RSA for old clients goes to legacy_host_keys)"
    )]
    Kind(Algorithm),
    #[error("{0} is no key for old clients, which know RSA; make one with ssh-keygen -t rsa -b 3072")]
    NotRsa(Algorithm),
    #[error("an RSA key has 2048 to 8192 bits here; make one with ssh-keygen -t rsa -b 3072")]
    RsaSize,
    #[error("it is no certificate; the CA's ssh-keygen -s -h makes one")]
    NoCertificate,
    #[error("it is a user's certificate; sign the host key with ssh-keygen -s -h")]
    UserCertificate,
    #[error("it is for none of the host keys")]
    NotOurs,
}

impl KeyFileError {
    /// What to do about it, where the sentence does not say so itself.
    pub fn help(&self) -> Option<String> {
        match &self.why {
            Wrong::NotOpened(error) if self.what == "host key" && error.kind() == ErrorKind::NotFound => {
                // named as OpenSSH names its own: ssh_host_ecdsa_key
                let kinds = ["ecdsa", "rsa"].into_iter().find(|kind| self.path.contains(kind));
                let kind = kinds.unwrap_or("ed25519");
                let path = &self.path;
                Some(format!(
                    "make it with: ssh-keygen -t {kind} -N '' -f {path}; its owner is the user that runs the gateway (chown portcullis: {path})"
                ))
            }
            Wrong::NotAllowed(_) | Wrong::OfAnother => {
                Some("check as the user that runs the gateway, such as: sudo -u portcullis portcullis check".to_owned())
            }
            _ => None,
        }
    }

    /// Of a file that is to hold this.
    pub fn of_a(what: &'static str, path: &Path, why: Wrong) -> Self {
        Self { what, path: path.display().to_string(), why }
    }
}

/// What a service's key wants, with the user's name that `deploy/systemd` gives it.
const OWNER: &str = "give it to the user that runs the gateway (chown portcullis: FILE)";

/// A key of a kind that every client of today knows.
pub fn modern(key: PrivateKey) -> Result<PrivateKey, Wrong> {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        other => Err(Wrong::Kind(other)),
    }
}

/// The key in a file that its owner alone can read.
pub fn load_one(path: &Path) -> Result<PrivateKey, Wrong> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Wrong::NotAllowed(error),
        _ => Wrong::NotOpened(error),
    })?;
    let is = file.metadata().map_err(Wrong::NotLookedAt)?;
    if is.mode() & 0o077 != 0 {
        return Err(Wrong::Public);
    }
    let euid = rustix::process::geteuid().as_raw();
    if is.uid() != euid && is.uid() != 0 {
        return Err(Wrong::OfAnother);
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(Wrong::NotRead)?;
    let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|_| Wrong::NoKey)?;
    if key.is_encrypted() { Err(Wrong::Encrypted) } else { Ok(key) }
}
