//! Proofs: values that exist only because something was verified.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::certificate::Certificate;

/// The SHA-256 of a public key's wire form, as OpenSSH prints it: `SHA256:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyFingerprint(String);

impl KeyFingerprint {
    /// The fingerprint of a key in its wire form (RFC 4253, section 6.6).
    pub fn of(wire: &[u8]) -> Self {
        Self(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(wire))))
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key whose owner has signed this very connection: the signature is over its session identifier (RFC 4252,
/// section 7). The gateway's verifier alone makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedKey {
    wire: Vec<u8>,
    user_verified: bool,
}

impl VerifiedKey {
    /// To be called where the signature has been checked, and nowhere else: `gateway::auth` does, with a value that the
    /// SSH library makes only then. Whether it is a security key that says in it who touched it, the signature says.
    pub(crate) fn signature_checked(wire: Vec<u8>, user_verified: bool) -> Self {
        Self { wire, user_verified }
    }

    /// The key in its wire form.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether a security key knew who touched it, by a PIN or a finger.
    pub(super) fn user_verified(&self) -> bool {
        self.user_verified
    }
}

/// A certificate whose holder has signed this very connection, and which its authority has signed. Whether that is one to trust is
/// not said by that. The gateway's verifier alone makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    certificate: Certificate,
    user_verified: bool,
}

impl VerifiedCertificate {
    /// To be called where both signatures have been checked, and nowhere else.
    pub(crate) fn signatures_checked(certificate: Certificate, user_verified: bool) -> Self {
        Self { certificate, user_verified }
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether a security key knew who touched it.
    pub(super) fn user_verified(&self) -> bool {
        self.user_verified
    }
}
