//! The gateway's own keys, loaded from private files.

use std::path::{Path, PathBuf};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, PrivateKey};

use super::auth::publickey;
use crate::config::Algorithms;
use crate::ssh::{KeyFileError, Wrong, load_one, modern};

/// Host keys, the preferred one first, and certificates that a host CA gave for them.
#[derive(Clone)]
pub struct HostKeys {
    keys: Vec<PrivateKey>,
    /// Shown where `legacy` is spoken, behind the others.
    legacy: Vec<PrivateKey>,
    certificates: Vec<Certificate>,
}

impl HostKeys {
    /// Loads keys from files that only their owner can read.
    pub fn load(paths: &[PathBuf]) -> Result<Self, KeyFileError> {
        let keys = load_all(paths, modern)?;
        Ok(Self { keys, legacy: Vec::new(), certificates: Vec::new() })
    }

    /// The same, and RSA keys for clients that know no other kind.
    pub fn with_legacy(mut self, paths: &[PathBuf]) -> Result<Self, KeyFileError> {
        self.legacy = load_all(paths, |key| match key.public_key().key_data() {
            KeyData::Rsa(rsa) => publickey::rsa_size(rsa).map(|_| key).map_err(|_| Wrong::RsaSize),
            _ => Err(Wrong::NotRsa(key.algorithm())),
        })?;
        Ok(self)
    }

    /// The same keys with these certificates, each of which must be a host's and for one of the keys.
    pub fn with_certificates(mut self, paths: &[PathBuf]) -> Result<Self, KeyFileError> {
        for path in paths {
            let certificate =
                load_certificate(path, &self.keys).map_err(|why| KeyFileError::of_a(HOST_KEY, path, why))?;
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

/// Never the keys themselves.
impl std::fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().chain(&self.legacy).map(|key| key.algorithm().to_string())).finish()
    }
}

const HOST_KEY: &str = "host key";

fn load_all(
    paths: &[PathBuf],
    takes: impl Fn(PrivateKey) -> Result<PrivateKey, Wrong>,
) -> Result<Vec<PrivateKey>, KeyFileError> {
    let load = |path: &PathBuf| load_one(path).and_then(&takes).map_err(|why| KeyFileError::of_a(HOST_KEY, path, why));
    paths.iter().map(load).collect()
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
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        use std::fs::OpenOptions;
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;

        use crate::ssh::mint::KeyPair;

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

    use super::*;
    use crate::ssh::mint::KeyPair;

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
