//! New keys and certificates, in the text forms that OpenSSH reads. For the gateway's own authorities, the demo and tests; an operator's
//! own host keys come from `ssh-keygen`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{Algorithm, Certificate, EcdsaCurve, LineEnding, PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// A key pair, ed25519 or ECDSA.
pub struct KeyPair {
    key: PrivateKey,
}

/// Why a key or certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct MintError {
    what: &'static str,
    reason: String,
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> MintError {
    move |error| MintError { what, reason: error.to_string() }
}

impl KeyPair {
    /// A new ed25519 pair from the system's randomness.
    pub fn new(comment: &str) -> Result<Self, MintError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(failed("the system gives no randomness"))?;
        let pair = Ed25519Keypair::from_seed(&seed);
        let key = PrivateKey::new(KeypairData::Ed25519(pair), comment).map_err(failed("the key can't be made"))?;
        Ok(Self { key })
    }

    /// A new pair on NIST's P-256 (RFC 5656), for hosts that must be known to clients without ed25519.
    pub fn new_ecdsa(comment: &str) -> Result<Self, MintError> {
        let curve = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
        let mut key = PrivateKey::random(&mut safe_rng(), curve).map_err(failed("the key can't be made"))?;
        key.set_comment(comment);
        Ok(Self { key })
    }

    /// A pair from the text that [`KeyPair::private`] gave.
    pub fn parse(text: &str) -> Result<Self, MintError> {
        let key = PrivateKey::from_openssh(text).map_err(failed("the key can't be read"))?;
        Ok(Self { key })
    }

    /// The pair, for whoever signs with it.
    pub fn into_key(self) -> PrivateKey {
        self.key
    }

    /// The private half in OpenSSH's format.
    pub fn private(&self) -> Result<Zeroizing<String>, MintError> {
        self.key.to_openssh(LineEnding::LF).map_err(failed("the key can't be written"))
    }

    /// The public half as one line of `authorized_keys` or, after a name, of `known_hosts`.
    pub fn public(&self) -> Result<String, MintError> {
        self.key.public_key().to_openssh().map_err(failed("the key can't be written"))
    }

    /// Signs another pair's public half as the host key of these names.
    pub fn certify_host(&self, host: &Self, names: &[&str], lasts: Duration) -> Result<String, MintError> {
        // clocks differ a little between machines
        let counts = Counts { before: Duration::from_secs(300), after: lasts };
        let certificate = certificate_of_host(&self.key, host.key.public_key(), names, counts)?;
        certificate.to_openssh().map_err(failed("the certificate can't be written"))
    }
}

/// How long before and after now a certificate counts.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Before.
    pub before: Duration,
    /// After.
    pub after: Duration,
}

/// A host key's certificate, for these names.
pub fn certificate_of_host(
    ca: &PrivateKey,
    host: &PublicKey,
    names: &[&str],
    counts: Counts,
) -> Result<Certificate, MintError> {
    certificate(ca, host, counts, |builder| {
        builder.cert_type(CertType::Host)?.key_id(names.join(","))?;
        for name in names {
            builder.valid_principal(*name)?;
        }
        Ok(())
    })
}

/// A key's certificate by which it is this user of a machine, and may have a terminal there and nothing else: no forwarding, and no
/// `~/.ssh/rc`. `id` is what the machine's log calls it by.
pub fn certificate_of_user(
    ca: &PrivateKey,
    key: &PublicKey,
    user: &str,
    id: &str,
    counts: Counts,
) -> Result<Certificate, MintError> {
    certificate(ca, key, counts, |builder| {
        builder.cert_type(CertType::User)?.key_id(id)?.valid_principal(user)?;
        builder.extension("permit-pty", "")?;
        Ok(())
    })
}

fn certificate(
    ca: &PrivateKey,
    key: &PublicKey,
    counts: Counts,
    fill: impl FnOnce(&mut Builder) -> Result<(), russh::keys::ssh_key::Error>,
) -> Result<Certificate, MintError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (from, until) = (now.saturating_sub(counts.before).as_secs(), now.saturating_add(counts.after).as_secs());
    let mut nonce = vec![0; Builder::RECOMMENDED_NONCE_SIZE];
    getrandom::fill(&mut nonce).map_err(failed("the system gives no randomness"))?;
    let build = || {
        let mut builder = Builder::new(nonce, key.key_data().clone(), from, until)?;
        fill(&mut builder)?;
        builder.sign(ca)
    };
    build().map_err(failed::<russh::keys::ssh_key::Error>("the certificate can't be made"))
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("public", self.key.public_key()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_survives_its_text_and_hides_its_private_half() {
        let kinds = [
            (KeyPair::new("demo").unwrap(), "ssh-ed25519 "),
            (KeyPair::new_ecdsa("demo").unwrap(), "ecdsa-sha2-nistp256 "),
        ];
        for (pair, kind) in kinds {
            let private = pair.private().unwrap();
            let again = KeyPair::parse(&private).unwrap();
            assert_eq!(pair.public().unwrap(), again.public().unwrap());
            assert!(pair.public().unwrap().starts_with(kind) && pair.public().unwrap().ends_with(" demo"));
            let secret = private.lines().nth(3).unwrap();
            assert!(!format!("{pair:?}").contains(secret));
        }
    }

    #[test]
    fn openssh_reads_key_and_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let ca = KeyPair::new("ca").unwrap();
        for host in [KeyPair::new("host").unwrap(), KeyPair::new_ecdsa("host").unwrap()] {
            let certificate = ca.certify_host(&host, &["gate"], Duration::from_secs(3600)).unwrap();
            let path = dir.path().join("host-cert.pub");
            std::fs::write(&path, certificate).unwrap();
            let shown = std::process::Command::new("ssh-keygen").arg("-Lf").arg(&path).output().unwrap();
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(shown.contains("host certificate") && shown.contains("gate"), "{shown}");
        }
    }
}
