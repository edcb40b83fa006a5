//! What the gateway logs in to a node's sshd with: for each connection a key of its own, and for a minute or two the word of an authority
//! that the node trusts. The private half never leaves memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::Certificate;
use uuid::Uuid;

use super::error::SshdError;
use crate::policy::Grant;
use crate::ssh::mint::{Counts, KeyPair, certificate_of_user};
use crate::ssh::{CaKey, CaKind, KeyFileError};

/// The gateway's user CA: nodes that trust it (`TrustedUserCAKeys`) let the gateway in as whoever policy lets.
#[derive(Clone, Debug)]
pub struct UserCa(CaKey);

const KIND: CaKind = CaKind { name: "user CA", comment: "portcullis-user-ca", setting: "sshd.user_ca" };

/// A certificate is looked at when the gateway logs in, and never again; this is for clocks that are wrong.
const COUNTS: Counts = Counts { before: Duration::from_secs(120), after: Duration::from_secs(120) };

/// Why a node takes what is logged in with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A certificate by the gateway's user CA.
    UserCa(UserCa),
}

/// What one connection logs in with.
pub(super) struct Proof {
    pub(super) key: Arc<PrivateKey>,
    pub(super) certificate: Certificate,
}

impl UserCa {
    /// The key in a file that only its owner can read; none where there is no file.
    pub fn load(path: &Path) -> Result<Option<Self>, KeyFileError> {
        Ok(CaKey::load(path, &KIND)?.map(Self))
    }

    /// The key in a file, or a new one where there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        CaKey::load_or_create(path, &KIND).map(Self)
    }

    /// The public key, as nodes have it in the file of `TrustedUserCAKeys`.
    pub fn public_line(&self) -> String {
        self.0.public_line()
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self(CaKey::for_test())
    }
}

impl Credential {
    /// A key for one connection of a session, and what makes the node take it.
    pub(super) fn prove(&self, grant: &Grant, user: &str, session: Uuid) -> Result<Proof, SshdError> {
        let Self::UserCa(UserCa(ca)) = self;
        let key = KeyPair::new("portcullis")?.into_key();
        let id = format!("{} session {session}", grant.identity().person());
        let certificate = certificate_of_user(ca.private(), key.public_key(), user, &id, COUNTS)?;
        Ok(Proof { key: Arc::new(key), certificate })
    }

    /// As the configuration has it, for evidence.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::UserCa(_) => "user-ca",
        }
    }

    /// Where to look if the node does not take it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::UserCa(_) => {
                "see that the user exists there, and that its TrustedUserCAKeys has the line of `portcullis user-ca`"
            }
        }
    }
}

/// Never the key.
impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proof").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_certificate_is_for_one_user_and_allows_a_terminal_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let ca = UserCa::load_or_create(&dir.path().join("user-ca-key")).unwrap();
        let key = KeyPair::new("portcullis").unwrap().into_key();
        let certificate =
            certificate_of_user(ca.0.private(), key.public_key(), "deploy", "ada session 1", COUNTS).unwrap();
        let path = dir.path().join("key-cert.pub");
        std::fs::write(&path, certificate.to_openssh().unwrap()).unwrap();
        let shown = Command::new("ssh-keygen").arg("-Lf").arg(&path).output().unwrap().stdout;
        let shown = String::from_utf8(shown).unwrap();
        let (_, rest) = shown.split_once("Principals:").unwrap();
        let words: Vec<&str> = rest.split_whitespace().collect();
        assert_eq!(words, ["deploy", "Critical", "Options:", "(none)", "Extensions:", "permit-pty"], "{shown}");
        assert!(shown.contains("user certificate") && shown.contains("ada session 1"), "{shown}");
        assert_eq!(certificate.valid_before() - certificate.valid_after(), 240);
        assert!(ca.public_line().starts_with("ssh-ed25519 ") && ca.public_line().ends_with(" portcullis-user-ca"));
    }
}
