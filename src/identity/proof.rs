//! Proofs: values that exist only because something was verified.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};

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
}

impl VerifiedKey {
    /// To be called where the signature has been checked, and nowhere else: `gateway::auth` does, with a value that the
    /// SSH library makes only then.
    pub(crate) fn signature_checked(wire: Vec<u8>) -> Self {
        Self { wire }
    }

    /// The key in its wire form.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }
}
