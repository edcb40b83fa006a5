//! The gateway's own keys, loaded from private files.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, PrivateKey};

use super::auth::publickey;
use super::mint::MintError;
use crate::config::Algorithms;

/// Host keys, the preferred one first, and certificates that a host CA gave for them.
#[derive(Clone)]
pub struct HostKeys {
    keys: Vec<PrivateKey>,
    /// Shown where `legacy` is spoken, behind the others.
    legacy: Vec<PrivateKey>,
    certificates: Vec<Certificate>,
}

/// What is wrong with a host key's file.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {why}")]
pub struct HostKeyError {
    what: &'static str,
    path: String,
    why: Wrong,
}

/// What is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error(
        "there is none, and none can be made there: {0}; make the directory the gateway's own, or name another file in gateway.host_ca"
    )]
    NotMade(std::io::Error),
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

impl HostKeys {
    /// Loads keys from files that only their owner can read.
    pub fn load(paths: &[PathBuf]) -> Result<Self, HostKeyError> {
        let keys = load_all(paths, modern)?;
        Ok(Self { keys, legacy: Vec::new(), certificates: Vec::new() })
    }

    /// The same, and RSA keys for clients that know no other kind.
    pub fn with_legacy(mut self, paths: &[PathBuf]) -> Result<Self, HostKeyError> {
        self.legacy = load_all(paths, |key| match key.public_key().key_data() {
            KeyData::Rsa(rsa) => publickey::rsa_size(rsa).map(|_| key).map_err(|_| Wrong::RsaSize),
            _ => Err(Wrong::NotRsa(key.algorithm())),
        })?;
        Ok(self)
    }

    /// The same keys with these certificates, each of which must be a host's and for one of the keys.
    pub fn with_certificates(mut self, paths: &[PathBuf]) -> Result<Self, HostKeyError> {
        for path in paths {
            let certificate = load_certificate(path, &self.keys).map_err(|why| HostKeyError::of(path, why))?;
            self.certificates.push(certificate);
        }
        Ok(self)
    }

    /// The same keys with other certificates for them.
    pub(super) fn certified_by(&self, certificates: Vec<Certificate>) -> Self {
        Self { keys: self.keys.clone(), legacy: self.legacy.clone(), certificates }
    }

    /// The public keys, each as in a `.pub` file; those of old clients come last.
    pub fn public_lines(&self) -> Vec<String> {
        self.keys.iter().chain(&self.legacy).filter_map(|key| key.public_key().to_openssh().ok()).collect()
    }

    /// All of them but for those of old clients.
    pub(super) fn for_certificates(&self) -> &[PrivateKey] {
        &self.keys
    }

    pub(super) fn are_none(&self) -> bool {
        self.keys.is_empty()
    }

    /// Those that are shown where these algorithms are spoken: who speaks modern ones knows ed25519, and needs no curve of NIST's.
    pub(super) fn keys(&self, algorithms: Algorithms) -> Vec<PrivateKey> {
        let ed25519 = |key: &&PrivateKey| key.algorithm() == Algorithm::Ed25519;
        let all = !self.keys.iter().any(|key| ed25519(&key)) || algorithms != Algorithms::Modern;
        let legacy = self.legacy.iter().filter(|_| algorithms == Algorithms::Legacy);
        self.keys.iter().filter(|key| all || ed25519(key)).chain(legacy).cloned().collect()
    }

    pub(super) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }
}

impl HostKeyError {
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

    fn of(path: &Path, why: Wrong) -> Self {
        Self::of_a("host key", path, why)
    }

    pub(super) fn of_a(what: &'static str, path: &Path, why: Wrong) -> Self {
        Self { what, path: path.display().to_string(), why }
    }
}

/// Never the keys themselves.
impl std::fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().chain(&self.legacy).map(|key| key.algorithm().to_string())).finish()
    }
}

/// What a service's key wants, with the user's name that `deploy/systemd` gives it.
const OWNER: &str = "give it to the user that runs the gateway (chown portcullis: FILE)";

fn load_all(
    paths: &[PathBuf],
    takes: impl Fn(PrivateKey) -> Result<PrivateKey, Wrong>,
) -> Result<Vec<PrivateKey>, HostKeyError> {
    let load = |path: &PathBuf| load_one(path).and_then(&takes).map_err(|why| HostKeyError::of(path, why));
    paths.iter().map(load).collect()
}

/// A key of a kind that every client of today knows.
pub(super) fn modern(key: PrivateKey) -> Result<PrivateKey, Wrong> {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        other => Err(Wrong::Kind(other)),
    }
}

pub(super) fn load_one(path: &Path) -> Result<PrivateKey, Wrong> {
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

fn load_certificate(path: &Path, keys: &[PrivateKey]) -> Result<Certificate, Wrong> {
    let text = std::fs::read_to_string(path).map_err(Wrong::NotRead)?;
    let certificate = Certificate::from_openssh(text.trim()).map_err(|_| Wrong::NoCertificate)?;
    if certificate.cert_type() != CertType::Host {
        return Err(Wrong::UserCertificate);
    }
    let ours = keys.iter().any(|key| key.public_key().key_data() == certificate.public_key());
    if ours { Ok(certificate) } else { Err(Wrong::NotOurs) }
}

/// Keys of a test's own.
#[cfg(test)]
impl HostKeys {
    /// Makes a new ed25519 key in a file of its own, and an ECDSA key beside it, unless they are there already; then loads
    /// them.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, HostKeyError> {
        use std::fs::OpenOptions;
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;

        use super::mint::KeyPair;

        let ecdsa = path.with_extension("ecdsa");
        let kinds = [(path.to_owned(), KeyPair::new("portcullis")), (ecdsa, KeyPair::new_ecdsa("portcullis"))];
        for (path, pair) in &kinds {
            if path.symlink_metadata().is_err() {
                let text = pair.as_ref().unwrap().private().unwrap();
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
                file.write_all(text.as_bytes()).unwrap();
            }
        }
        Self::load(&kinds.map(|(path, _)| path))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::super::mint::KeyPair;
    use super::*;

    fn keygen(dir: &Path, kind: &[&str], passphrase: &str) -> PathBuf {
        let path = dir.join(kind.join("-"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", passphrase, "-f"]).arg(&path).arg("-t").args(kind);
        assert!(keygen.status().unwrap().success());
        path
    }

    #[test]
    fn makes_private_keys_and_finds_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = HostKeys::load_or_create(&path).unwrap().public_lines();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(HostKeys::load_or_create(&path).unwrap().public_lines(), first);
        let printed = Command::new("ssh-keygen").arg("-y").arg("-f").arg(&path).output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        assert!(first[0].starts_with(printed.trim()), "{first:?} {printed}");
        assert!(!format!("{:?}", HostKeys::load_or_create(&path).unwrap()).contains("PRIVATE"));
    }

    #[test]
    fn a_certificate_must_be_a_hosts_and_for_a_key_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (key, other) = (dir.path().join("key"), dir.path().join("other"));
        let (ours, theirs) = (HostKeys::load_or_create(&key).unwrap(), HostKeys::load_or_create(&other).unwrap());
        let host = KeyPair::parse(&std::fs::read_to_string(&key).unwrap()).unwrap();
        let certificate =
            KeyPair::new("ca").unwrap().certify_host(&host, &["gate"], std::time::Duration::from_secs(60));
        let path = dir.path().join("key-cert.pub");
        std::fs::write(&path, certificate.unwrap() + "\n").unwrap();
        assert_eq!(ours.with_certificates(std::slice::from_ref(&path)).unwrap().certificates().len(), 1);
        let refused = theirs.with_certificates(&[path]).unwrap_err().to_string();
        assert!(refused.contains("none of the host keys"), "{refused}");
    }

    #[test]
    fn takes_ed25519_and_ecdsa_and_refuses_the_rest_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let load = |path: PathBuf| HostKeys::load(&[path]);
        load(keygen(dir.path(), &["ed25519"], "")).unwrap();
        let ecdsa = load(keygen(dir.path(), &["ecdsa", "-b", "384"], "")).unwrap();
        assert_eq!(
            Algorithms::ALL.map(|algorithms| ecdsa.keys(algorithms).len()),
            [1, 1, 1],
            "where there is no other"
        );
        let both = HostKeys::load_or_create(&dir.path().join("both")).unwrap();
        assert_eq!(Algorithms::ALL.map(|algorithms| both.keys(algorithms).len()), [1, 2, 2]);
        let rsa_key = keygen(dir.path(), &["rsa", "-b", "2048"], "");
        let rsa = load(rsa_key.clone()).unwrap_err().to_string();
        assert!(rsa.contains("host keys are not used here") && rsa.contains("legacy_host_keys"), "{rsa}");
        let ed25519 = dir.path().join("ed25519");
        let with =
            |legacy: &Path| HostKeys::load(std::slice::from_ref(&ed25519)).unwrap().with_legacy(&[legacy.to_owned()]);
        let keys = with(&rsa_key).unwrap();
        assert_eq!(Algorithms::ALL.map(|algorithms| keys.keys(algorithms).len()), [1, 1, 2], "RSA is for legacy alone");
        assert!(with(&ed25519).unwrap_err().to_string().contains("which know RSA"));
        let small = keygen(dir.path(), &["rsa", "-b", "1024"], "");
        assert!(with(&small).unwrap_err().to_string().contains("2048 to 8192 bits"));
        let locked = keygen(dir.path(), &["ed25519", "-C", "locked"], "secret");
        assert!(load(locked).unwrap_err().to_string().contains("passphrase"));
        let open = keygen(dir.path(), &["ed25519", "-C", "open"], "");
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(open).unwrap_err().to_string().contains("chmod 600"));
        assert!(load(dir.path().join("none")).unwrap_err().to_string().contains("can't be opened"));
    }
}
